"""The three experiments: batches against single runs, starts, interrupts, refusals."""

import pytest
import torch

from stylelab import synthesis
from stylelab.errors import SettingError
from stylelab.images import resize
from stylelab.losses import gram_matrix


def picture(seed=0, height=32, width=40):
    """A smooth random image, (1, 3, H, W)."""
    maker = torch.manual_seed(seed)
    small = torch.rand(1, 3, 5, 5, generator=maker, dtype=torch.float64)
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear")


QUIET = {"steps": 12, "progress": False}


def test_content_reconstruction_finds_the_image_again(tiny_network):
    network, content = tiny_network(), picture()
    result = synthesis.reconstruct_content(
        network, content, ["conv1_1", "conv3_1"], steps=150, progress=False
    )
    assert result.images.shape == (2, 3, 32, 40)
    assert result.images.min() >= 0 and result.images.max() <= 1
    shallow = (result.images[0] - content[0]).square().mean()
    deep = (result.images[1] - content[0]).square().mean()
    assert shallow < 0.005 < 0.5 * deep  # six random filters do not tell all pixels
    assert (result.losses[-1] < 1e-2 * result.losses[0]).all()


def test_style_reconstruction_matches_style_and_not_position(tiny_network):
    network, style = tiny_network(), picture()
    result = synthesis.reconstruct_style(
        network,
        style,
        [["conv1_1"], ["conv1_1", "conv2_1"]],
        size=(32, 32),
        steps=80,
        progress=False,
    )
    assert result.images.shape == (2, 3, 32, 32)
    found = network(result.images.double(), ["conv1_1"])["conv1_1"]
    wanted = network(style, ["conv1_1"])["conv1_1"]
    gram, target = gram_matrix(found) / (32 * 32), gram_matrix(wanted) / (32 * 40)
    torch.testing.assert_close(gram, target.expand_as(gram), atol=0.1 * target.abs().max(), rtol=0)
    assert set(result.history) == {"style conv1_1", "style conv2_1"}
    assert (result.history["style conv2_1"][:, 0] == 0).all()  # not asked for in the first image


def test_each_transfer_of_a_batch_is_the_one_made_alone(tiny_network):
    network, content = tiny_network(), picture()
    styles, ratios, seeds = [picture(1), picture(2, 36, 32)], [1e-3, 1.0], [3, 4]
    together = synthesis.transfer(
        network, content, styles, alpha_beta=ratios, seed=seeds, init="noise", **QUIET
    )
    for i in range(2):
        alone = synthesis.transfer(
            network, content, styles[i], alpha_beta=ratios[i], seed=seeds[i], init="noise", **QUIET
        )
        torch.testing.assert_close(together.images[i : i + 1], alone.images, atol=1e-5, rtol=0)
        torch.testing.assert_close(together.losses[:, i : i + 1], alone.losses)


@pytest.mark.parametrize("init", ["content", "style", "noise"])
def test_starts(tiny_network, init):
    content, style = picture(), picture(1, 36, 32)
    result = synthesis.transfer(tiny_network(), content, style, init=init, steps=0, progress=False)
    assert result.steps == 0 and result.images.shape == content.shape
    if init == "content":
        torch.testing.assert_close(result.images, content.float())
    elif init == "style":
        torch.testing.assert_close(
            result.images.mean((2, 3)), style.float().mean((2, 3)), atol=0.02, rtol=0
        )
    else:
        assert result.images.std() == pytest.approx(0.2 / 12**0.5, rel=0.05)


def test_alpha_beta_weighs_content_against_style(tiny_network):
    content, style = picture(), picture(1)
    result = synthesis.transfer(
        tiny_network(),
        content,
        style,
        alpha_beta=[1e-4, 1e2],
        init="noise",
        steps=60,
        progress=False,
    )
    content_loss = result.history["content conv4_2"][-1] / torch.tensor([1e-4, 1e2])
    style_loss = sum(v[-1] for name, v in result.history.items() if name.startswith("style"))
    assert content_loss[1] < 0.1 * content_loss[0]
    assert style_loss[0] < 0.1 * style_loss[1]


def test_each_image_has_its_own_start_and_style_layers(tiny_network):
    """One batch is what two runs would be."""
    network = tiny_network()
    starts, subsets = ["noise", "style"], [["conv1_1"], ["conv2_1", "conv3_1"]]
    batch = synthesis.transfer(
        network, picture(), picture(1), init=starts, style_layers=subsets, steps=4, progress=False
    )
    for i, (start, subset) in enumerate(zip(starts, subsets, strict=True)):
        alone = synthesis.transfer(
            network, picture(), picture(1), init=start, style_layers=subset, steps=4, progress=False
        )
        torch.testing.assert_close(batch.images[i], alone.images[0])
        torch.testing.assert_close(batch.losses[:, i], alone.losses[:, 0])


def test_same_seed_same_bytes_other_seed_other_image(tiny_network):
    network = tiny_network(dtype=torch.float32)

    def make(seed):
        return synthesis.transfer(network, picture(), picture(1), init="noise", seed=seed, **QUIET)

    assert torch.equal(make(0).images, make(0).images)
    assert not torch.allclose(make(0).images, make(1).images, atol=0.05)


def test_an_interrupt_leaves_the_best_image_so_far(tiny_network, monkeypatch):
    network, calls = tiny_network(), []
    convolve = network.convolve

    def interrupted(layer, x):
        calls.append(layer)
        if x.requires_grad and calls.count("conv1_1") == 12:
            raise KeyboardInterrupt
        return convolve(layer, x)

    whole = synthesis.transfer(network, picture(), picture(1), steps=8, progress=False)
    monkeypatch.setattr(network, "convolve", interrupted)
    result = synthesis.transfer(network, picture(), picture(1), steps=500, progress=False)
    assert result.interrupted and not whole.interrupted
    assert 1 < result.steps < 12
    assert len(result.losses) == result.steps + 1
    torch.testing.assert_close(result.losses, whole.losses[: result.steps + 1])


def test_white_noise_depends_on_its_seed_alone():
    noise = synthesis.white_noise(6, 7, [5, 6])
    assert torch.equal(noise[1:], synthesis.white_noise(6, 7, [6]))
    assert noise.min() >= 0.4 and noise.max() <= 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha_beta": -1.0}, "alpha_beta must be finite"),
        ({"alpha_beta": float("nan")}, "alpha_beta must be finite"),
        ({"alpha_beta": [1.0, 2.0], "seed": [1, 2, 3]}, "alpha_beta has 2 values; give 1 or 3"),
        ({"init": "zeros"}, "init must be one of content, style, noise"),
        ({"init": ["noise"] * 2, "seed": [1, 2, 3]}, "init has 2 values; give 1 or 3"),
        ({"style_layers": [["conv1_1"], []]}, "style_layers is empty"),
        ({"steps": -1}, "steps must be 0 or more"),
        ({"style_layers": []}, "style_layers is empty"),
    ],
)
def test_wrong_settings_are_named(tiny_network, options, message):
    with pytest.raises(SettingError, match=message):
        synthesis.transfer(tiny_network(), picture(), picture(1), **(QUIET | options))


def test_wrong_images_are_named(tiny_network):
    with pytest.raises(SettingError, match=r"content must be one image \(1, 3, H, W\)"):
        synthesis.transfer(tiny_network(), picture()[0], picture(1), **QUIET)
    with pytest.raises(SettingError, match="needs at least 32 pixels"):
        synthesis.transfer(tiny_network(), picture(), picture(1, 8, 8), **QUIET)


def test_coarse_to_fine_carries_each_level_up_to_the_next(tiny_network, monkeypatch):
    network = tiny_network()
    maker = torch.Generator().manual_seed(0)
    content = torch.rand(1, 3, 134, 150, generator=maker, dtype=torch.float64)
    style = torch.rand(1, 3, 128, 130, generator=maker, dtype=torch.float64)
    runs, run = [], synthesis.optimise

    def watched(objective, start, steps, **options):
        result = run(objective, start, steps, **options)
        runs.append((start, result))
        return result

    monkeypatch.setattr(synthesis, "optimise", watched)
    result = synthesis.transfer(network, content, style, steps=3, levels=3, progress=False)
    starts, results = zip(*runs, strict=True)
    assert [tuple(start.shape[2:]) for start in starts] == [(33, 37), (67, 75), (134, 150)]
    torch.testing.assert_close(starts[0], resize(content, (33, 37)))
    for coarse, start in zip(results, starts[1:], strict=False):
        torch.testing.assert_close(start, resize(coarse.images, start.shape[2:]).double())
    assert torch.equal(result.images, results[-1].images)
    assert torch.equal(result.losses, results[-1].losses)
    assert result.seconds >= sum(each.seconds for each in results)


def test_levels_that_leave_too_few_pixels_are_refused(tiny_network):
    image = torch.rand(1, 3, 100, 120, dtype=torch.float64)
    with pytest.raises(SettingError, match="with 3 levels the smallest image has a side of 25"):
        synthesis.transfer(tiny_network(), image, image, steps=1, levels=3, progress=False)
    with pytest.raises(SettingError, match="levels must be 1 or more, got 0"):
        synthesis.transfer(tiny_network(), image, image, steps=1, levels=0, progress=False)
