"""The three experiments: what they find, batches against single runs, and the library's door."""

import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from stylelab import load, reconstruct_content, reconstruct_style, transfer, transfer_batch
from stylelab.adam import RATE, adam
from stylelab.description import Transfer
from stylelab.engine.coarse_to_fine import transfer_coarse_to_fine
from stylelab.errors import NetworkError, SettingError
from stylelab.losses import gram_matrix
from stylelab.synthesis import balance, transfer_objective
from stylelab.vgg import resize

QUIET = {"steps": 6, "progress": False}


def picture(seed=0, height=32, width=40):
    """A smooth random image, (1, 3, H, W)."""
    maker = torch.manual_seed(seed)
    small = torch.rand(1, 3, 5, 5, generator=maker, dtype=torch.float64)
    return nn.functional.interpolate(small, (height, width), mode="bilinear")


def test_content_reconstruction_finds_the_image_again(tiny_network):
    network, content = tiny_network(), picture()
    layers = ["conv1_1", "conv3_1"]
    result = reconstruct_content(network, content, layers, steps=150, progress=False)
    assert result.images.shape == (2, 3, 32, 40)
    assert result.images.min() >= 0 and result.images.max() <= 1
    shallow, deep = (result.images - content).square().mean((1, 2, 3))
    assert shallow < 0.005 < 0.5 * deep  # six random filters do not tell all pixels
    assert (result.losses[-1] < 1e-2 * result.losses[0]).all()


def test_style_reconstruction_matches_style_and_not_position(tiny_network):
    network, style = tiny_network(), picture()
    subsets, asked = [["conv1_1"], ["conv1_1", "conv2_1"]], {"steps": 150, "progress": False}
    result = reconstruct_style(network, style, subsets, size=(32, 32), **asked)
    assert result.images.shape == (2, 3, 32, 32)
    found = network(result.images.double(), ["conv1_1"])["conv1_1"]
    wanted = network(style, ["conv1_1"])["conv1_1"]
    gram, target = gram_matrix(found) / (32 * 32), gram_matrix(wanted) / (32 * 40)
    torch.testing.assert_close(gram, target.expand_as(gram), atol=0.1 * target.abs().max(), rtol=0)
    assert set(result.history) == {"style conv1_1", "style conv2_1", "out of range"}
    assert (result.history["style conv2_1"][:, 0] == 0).all()  # not asked for in the first image


def test_a_batch_of_transfers_equals_each_made_alone(tiny_network):
    """Also where nothing is the same: images, layers, weights, starts."""
    network = tiny_network()
    batch = [
        Transfer(picture(), picture(1), alpha_beta=1e-3),
        Transfer(picture(2), picture(3, 36, 32), content_layers=["conv2_2"], init="noise", seed=7),
        Transfer(picture(), picture(1), style_layers=["conv2_1", "conv3_1"], init="style"),
        Transfer(picture(4), picture(4), style_layers={"conv1_2": 0.3, "conv4_1": 2.0}),
        Transfer(picture(2), picture(1), alpha_beta=0, init="noise", tv_weight=0.1),
        Transfer(picture(2), picture(1), content_layers={"conv2_2": 0.5, "conv4_2": 2}),
        Transfer(picture(2), picture(1), init=picture(3)),
    ]
    for optimiser in ("lbfgs", "adam"):
        together = transfer_batch(network, batch, optimiser=optimiser, **QUIET)
        for i, one in enumerate(batch):
            alone = transfer_batch(network, [one], optimiser=optimiser, **QUIET)
            torch.testing.assert_close(together.images[i], alone.images[0])
            torch.testing.assert_close(together.losses[:, i], alone.losses[:, 0])
    single = transfer(network, picture(), picture(1), alpha_beta=1e-3, **QUIET)
    assert torch.equal(single.images, transfer_batch(network, batch[:1], **QUIET).images)


def test_starts(tiny_network):
    network, content, style = tiny_network(), picture(), picture(1, 36, 32)
    asked = [Transfer(content, style, init=init) for init in ("content", "style", "noise")]
    images = transfer_batch(network, asked, steps=0, progress=False).images.double()
    torch.testing.assert_close(images[:1], content, atol=1e-6, rtol=0)
    torch.testing.assert_close(images[1:2], resize(style, (32, 40)), atol=1e-6, rtol=0)
    assert images[2].std() == pytest.approx(0.05 / 12**0.5, rel=0.05)
    own = Transfer(content, style, init=picture(2, 64, 80))  # of twice the content's size
    own = transfer_batch(network, [own], steps=0, progress=False).images
    expected = resize(picture(2, 64, 80), (32, 40))
    torch.testing.assert_close(own.double(), expected, atol=1e-6, rtol=0)
    for height in (31, 33):  # nearly the content's 32
        Transfer(content, style, init=picture(2, height, 40))
    for height in (30, 34):
        with pytest.raises(SettingError, match=f"40 x {height} pixels, and content 40 x 32"):
            Transfer(content, style, init=picture(2, height, 40))
    given = transfer_batch(network, asked, steps=0, start=images.flip(0), progress=False).images
    torch.testing.assert_close(given.double(), images.flip(0))


def test_alpha_beta_weighs_content_against_style(tiny_network):
    ratios = [1e-4, 1e2]
    batch = [Transfer(picture(), picture(1), alpha_beta=r, init="noise") for r in ratios]
    history = transfer_batch(tiny_network(), batch, steps=60, progress=False).history
    content = history["content conv4_2"][-1] / torch.tensor(ratios)
    style = sum(values[-1] for name, values in history.items() if name.startswith("style"))
    assert content[1] < 0.1 * content[0] and style[0] < 0.1 * style[1]


def test_coarse_to_fine_carries_each_level_up_to_the_next(tiny_network):
    network, starts, last = tiny_network(), [], []
    content, style = (torch.rand(1, 3, *s, dtype=torch.float64) for s in ((134, 150), (128, 130)))

    def watch(run, states):
        starts.append(run.start)
        for state in states:
            yield state
        last.append(state.best.clamp(0, 1).float())

    asked = {"steps": 3, "progress": False, "hooks": [watch]}
    result = transfer_coarse_to_fine(network, [Transfer(content, style)], levels=3, **asked)
    assert [tuple(start.shape[2:]) for start in starts] == [(33, 37), (67, 75), (134, 150)]
    torch.testing.assert_close(starts[0], resize(content, (33, 37)))
    for coarse, start in zip(last, starts[1:], strict=False):
        torch.testing.assert_close(start, resize(coarse, tuple(start.shape[2:])).double())
    assert torch.equal(result.images, last[-1]) and result.losses.shape == (4, 1)
    for levels, said in ((0, "levels"), (5, "5 levels .*side of 8 ")):
        with pytest.raises(SettingError, match=said):
            transfer_coarse_to_fine(network, [Transfer(content, style)], levels=levels, **asked)


def test_a_start_of_ones_own_is_resized_to_the_smallest_level(tiny_network):
    """Also where that level's aspect ratio is further from the start's than may be asked for."""
    starts = []

    def watch(run, states):
        starts.append(run.start)
        yield from states

    content, own = picture(0, 67, 160), picture(2, 70, 160)  # 67 is halved to 33: 4.5 %, then 6
    one = Transfer(content, picture(1), init=own, content_layers=["conv2_2"], style_layers=LOW)
    asked = {"steps": 1, "progress": False, "hooks": [watch]}
    transfer_coarse_to_fine(tiny_network(), [one], levels=2, **asked)
    torch.testing.assert_close(starts[0], resize(own, (33, 80)))


LOW = ["conv1_1", "conv2_1"]
GOOD = torch.full((1, 3, 32, 32), 0.25)
WRONG_IMAGES = {
    "uint8": (GOOD * 255).to(torch.uint8),
    "int64": GOOD.long(),
    "bool": GOOD.bool(),
    "complex64": GOOD.to(torch.complex64),
    "-0.5": GOOD - torch.eye(32) * 0.75,
    "nan": GOOD + torch.eye(32) * math.nan,
    "inf": GOOD / (1 - torch.eye(32)),
    "255": GOOD * 1020,
    "ndarray": np.full((1, 3, 32, 32), 0.5),
    "NoneType": None,
    "str": "photo.jpg",
    "list": [GOOD],
    "meta": GOOD.to("meta"),
    "sparse": GOOD.to_sparse(),
    "jagged": torch.nested.nested_tensor([GOOD[0]], layout=torch.jagged),
    "(3, 32, 32)": GOOD[0],
    "(1, 32, 32, 3)": GOOD.permute(0, 2, 3, 1),
    "(1, 1, 32, 32)": GOOD[:, :1],
    "(1, 4, 32, 32)": GOOD[:, [0, 1, 2, 0]],
    "(2, 3, 32, 32)": GOOD.repeat(2, 1, 1, 1),
    "(1, 3, 0, 32)": GOOD[:, :, :0],
}


@pytest.mark.parametrize("given", WRONG_IMAGES)
def test_what_is_no_image_is_named(tiny_network, given):
    network, wrong = tiny_network(), WRONG_IMAGES[given]
    calls = {
        "content": [lambda: transfer(network, wrong, GOOD), lambda: Transfer(wrong, GOOD)],
        "style": [lambda: transfer(network, GOOD, wrong)],
    }
    calls["content"].append(lambda: reconstruct_content(network, wrong, ["conv1_1"]))
    calls["style"].append(lambda: reconstruct_style(network, wrong, [["conv1_1"]]))
    for name, each in calls.items():
        for call in each:
            with pytest.raises(SettingError) as caught:
                call()
            said = str(caught.value)
            assert said.startswith(f"{name} must be") and "\n" not in said
            assert given in said.partition("got")[2]


NUMBERS = ("a", None, True, -1, math.nan, [1])
WRONG_SETTINGS = [
    *(("alpha_beta", value) for value in ("a", True, -1, math.inf, 1.01e30, torch.tensor(1.0))),
    *(("strength", value) for value in (*NUMBERS, 1.01)),
    *(("range_weight", value) for value in NUMBERS),
    *(("parametrisation", value) for value in ("wavelets", None, 3)),
    *(("tv_weight", value) for value in NUMBERS),
    *(("seed", value) for value in (*NUMBERS, 1.5, 2**63)),
    *(("steps", value) for value in (*NUMBERS, 1.5)),
    *(("init", value) for value in ("zeros", None, ["noise"])),
    *(
        (name, value)
        for name in ("content_layers", "style_layers")
        for value in ([], {}, None, 3, "conv1_1", [["conv1_1"]], ["fc6"])
    ),
    *(("style_layers", {"conv1_1": value}) for value in ("a", -1.0, math.nan)),
    *(("content_layers", {"conv4_2": value}) for value in ("a", -1.0, math.nan)),
    *(("init", value) for value in (GOOD[0], GOOD * 9, GOOD[..., :28])),
    *(("optimiser", value) for value in ("sgd", None, 3)),
    *(("alpha", 1.0), ("levels", 2), ("content_layer", "conv4_2")),
]


@pytest.mark.parametrize(("name", "value"), WRONG_SETTINGS)
def test_wrong_settings_are_named(tiny_network, name, value):
    with pytest.raises((SettingError, NetworkError)) as caught:
        transfer(tiny_network(), GOOD, GOOD, **QUIET | {name: value})
    said = str(caught.value)
    assert said.count("\n") == 0 and re.search(
        f"{name}|has no layer|(content|style) layer conv", said
    )


def test_other_wrong_arguments_are_setting_errors(tiny_network):
    network, one = tiny_network(), Transfer(GOOD, GOOD)
    for wrong in ("vgg19-mini", None, nn.Linear(1, 1)):
        for call, *rest in (
            (transfer, GOOD, GOOD),
            (transfer_batch, [one]),
            (reconstruct_content, GOOD, ["conv1_1"]),
            (reconstruct_style, GOOD, [["conv1_1"]]),
        ):
            with pytest.raises(SettingError, match="network must be"):
                call(wrong, *rest)
    other = Transfer(torch.rand(1, 3, 40, 32), GOOD)
    for wrong in (None, [], one, GOOD, [GOOD], iter([one]), "ab", [one, other]):
        with pytest.raises(SettingError, match="transfers must be"):
            transfer_batch(network, wrong)
    for small in (GOOD[..., :31], GOOD[..., :31, :]):
        for pair in ((small, GOOD), (GOOD, small)):
            with pytest.raises(SettingError, match="at least 32 pixels"):
                transfer(network, *pair)
    for size in ("32", (0, 32), (32.0, 32), (1, 1)):
        with pytest.raises(SettingError, match="size|too small"):
            reconstruct_style(network, GOOD, [["conv2_1"]], size=size)
    with pytest.raises(SettingError, match="seed"):
        reconstruct_content(network, GOOD, ["conv1_1"], seed="1")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_any_floating_type_are_taken(tiny_network, dtype):
    network, asked = tiny_network(dtype=torch.float32), {"init": "style", **QUIET}
    pair = picture(0, 64, 64).to(dtype), picture(1, 72, 64).to(dtype)
    expected = transfer(network, *(image.float() for image in pair), **asked)
    assert torch.allclose(transfer(network, *pair, **asked).images, expected.images, atol=1e-2)
    fine = transfer_coarse_to_fine(network, [Transfer(*pair)], levels=2, **QUIET)
    assert fine.images.isfinite().all()


@pytest.mark.parametrize("name", ["tiny", "vgg19-mini"])
def test_inside_inference_mode_everything_works_and_gives_the_same_bytes(tiny_network, name):
    def everything():
        network = tiny_network(dtype=torch.float32) if name == "tiny" else load(name)
        pair = picture().float(), picture(1).float()
        batch = [Transfer(*pair), Transfer(*pair[::-1], init="style", tv_weight=1.0)]
        yield transfer(network, *pair, **QUIET)
        yield transfer_batch(network, batch, **QUIET)
        yield transfer_batch(network, batch[:1], start=pair[1], **QUIET)
        yield reconstruct_content(network, pair[0], ["conv1_1", "conv3_1"], **QUIET)
        yield reconstruct_style(network, pair[1], [["conv1_1"], ["conv2_1"]], **QUIET)

    expected = [result.images for result in everything()]
    with torch.inference_mode():  # the network and the images are made in it, too
        found = [result.images for result in everything()]
    for images, others in zip(found, expected, strict=True):
        assert torch.equal(images, others)


def mean_losses(network, image, content, style, layers=("conv1_1", "conv2_1")):
    """The mean style and content losses of an image, from their definitions."""

    def grams(x):
        found = network(x, layers)
        rows = {layer: maps[0].flatten(1) for layer, maps in found.items()}
        return [rows[layer] @ rows[layer].T / rows[layer].shape[1] for layer in layers]

    pairs = zip(grams(image), grams(style), strict=True)
    f, p = (network(x, ["conv3_1"])["conv3_1"] for x in (image, content))
    return sum((g - a).square().mean() / len(layers) for g, a in pairs), (f - p).square().mean()


def test_strength_measures_both_losses_in_units_of_the_pair(tiny_network):
    network, content, style = tiny_network(), picture(), picture(1)
    asked = {"content_layers": ["conv3_1"], "style_layers": ("conv1_1", "conv2_1")}
    expected, _ = mean_losses(network, content, content, style)
    features = network(content, ["conv3_1"])["conv3_1"]
    spread = features.flatten(2).var(2, correction=0).mean()
    for strength, times in ((0.0, 100.0), (0.5, 1.0), (0.75, 0.1), (1.0, 0.01)):
        one = balance(network, Transfer(content, style, strength=strength, **asked))
        assert one.alpha_beta == pytest.approx(float(0.05 * times * expected / spread), rel=1e-5)
    assert balance(network, Transfer(content, style, alpha_beta=0.3)).alpha_beta == 0.3


def test_strength_is_a_matter_of_the_pair_alone(tiny_network):
    """A network whose features are all k times as large gives the same pictures."""
    network, larger = tiny_network(), tiny_network()
    with torch.no_grad():
        larger.conv1_1.weight *= 3.0
        larger.conv1_1.bias *= 3.0
        for layer in larger.layers[1:]:
            larger.get_submodule(layer).bias *= 3.0
    one = Transfer(picture(), picture(1), range_weight=0.0)
    small, large = (balance(each, one).alpha_beta for each in (network, larger))
    assert large == pytest.approx(9 * small)  # content grows as k^2, style as k^4
    again = Transfer(picture(), picture(1), alpha_beta=large, range_weight=0.0)
    images = [transfer_batch(n, [t], **QUIET).images for n, t in ((network, one), (larger, again))]
    torch.testing.assert_close(*images, atol=1e-3, rtol=0)


def test_blank_images_have_a_ratio_too(tiny_network):
    grey = torch.full((1, 3, 32, 32), 0.5)
    assert balance(tiny_network(), Transfer(grey, GOOD)).alpha_beta < 1e6
    assert balance(tiny_network(), Transfer(grey, grey)).alpha_beta == 0.0


def test_saved_pictures_have_the_loss_that_was_optimised(tiny_network):
    """With the range's term; without it, pixels outside [0, 1] are cut off."""
    content, style = picture(), picture(1).round()  # a style of black and white
    ends = {}
    for weight in (0.0, 10.0):
        one = Transfer(content, style, alpha_beta=1e-3, range_weight=weight)
        result = transfer_batch(tiny_network(), [one], steps=80, progress=False)
        ends[weight] = float(sum(result.final.values()))
        print(weight, ends, result.losses.min())
    assert ends[10.0] < 0.5 * ends[0.0]


def test_content_layers_have_shares_of_alpha(tiny_network):
    """The loss and the ratio of a strength, from the definitions."""
    network, content, style = tiny_network(), picture(), picture(1)
    shares = {"conv2_2": 0.25, "conv3_1": 0.75}
    asked = {"content_layers": shares, "style_layers": ("conv1_1", "conv2_1")}
    one = Transfer(content, style, alpha_beta=10.0, **asked)
    image = picture(5)
    f, p = (network(x, list(shares)) for x in (image, content))
    errors = {layer: (f[layer] - p[layer]).square().mean() for layer in shares}
    losses = transfer_objective(network, [one]).losses(image)
    for layer, share in shares.items():
        expected = 10 * share * errors[layer][None]
        torch.testing.assert_close(losses[f"content {layer}"], expected)
    spread = sum(w * p[layer].flatten(2).var(2, correction=0).mean() for layer, w in shares.items())
    expected, _ = mean_losses(network, content, content, style)
    found = balance(network, Transfer(content, style, **asked)).alpha_beta
    assert found == pytest.approx(float(0.05 * expected / spread), rel=1e-5)
    several = Transfer(content, style, content_layers=["conv2_2", "conv3_1"])
    assert several.content_weights == {"conv2_2": 0.5, "conv3_1": 0.5}


def test_adam_lowers_the_loss_and_its_learning_rate_can_be_chosen(tiny_network):
    network, asked = tiny_network(), {"steps": 30, "progress": False}
    pair = picture(), picture(1)
    plain = transfer(network, *pair, optimiser="adam", **asked)
    same = transfer(network, *pair, optimiser=partial(adam, learning_rate=RATE), **asked)
    other = transfer(network, *pair, optimiser=partial(adam, learning_rate=RATE / 100), **asked)
    assert torch.equal(plain.images, same.images) and not torch.equal(plain.images, other.images)
    assert plain.losses[-1] < 0.5 * plain.losses[0]
    one = [Transfer(*pair)]
    fine = transfer_coarse_to_fine(network, one, levels=1, optimiser="adam", **asked)
    assert torch.equal(fine.images, plain.images)
