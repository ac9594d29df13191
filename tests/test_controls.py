"""Several styles, regions, colours and strokes, against computations by hand in float64."""

import math

import pytest
import torch
from torch import nn

from stylelab import Transfer, transfer_batch
from stylelab.controls.colours import LUMA, MODES, match_colours, match_luminance
from stylelab.controls.keeping import Keeping
from stylelab.controls.regions import cover, fitted, guides, shares
from stylelab.controls.scales import mix_strokes
from stylelab.controls.styles import Style
from stylelab.engine.checkpoint import Checkpoint
from stylelab.engine.coarse_to_fine import transfer_coarse_to_fine
from stylelab.errors import SettingError
from stylelab.losses import gram_matrix
from stylelab.parametrisation import FREQUENCIES, PIXELS
from stylelab.synthesis import balance, transfer_objective, transfer_start
from stylelab.vgg import STYLE_LAYERS

QUIET = {"steps": 5, "progress": False}
SIZE = (37, 51)  # nothing that 16 divides


def picture(seed=0, size=SIZE, low=0.0, high=1.0):
    """A smooth random image, (1, 3, H, W)."""
    small = torch.rand(1, 3, 5, 5, generator=torch.manual_seed(seed), dtype=torch.float64)
    small = low + (high - low) * small
    return nn.functional.interpolate(small, size, mode="bilinear", align_corners=True)


def left(size=SIZE, share=0.5, soft=6.0):
    """A mask of the left of an image, with a soft edge."""
    across = torch.arange(size[1], dtype=torch.float64) - share * size[1]
    return (0.5 - across / soft).clamp(0, 1).expand(1, 1, *size).contiguous()


def guided_gram(features, guide, readout=None):
    """The Gram matrix of T [F; 1], added up position by position."""
    count = len(features) + (readout is not None)
    total = torch.zeros(count, count, dtype=torch.float64)
    for i in range(features.shape[1]):
        for j in range(features.shape[2]):
            one = features[:, i, j]
            if readout is not None:
                one = torch.cat([one, one.new_ones(1)])
            total += torch.outer(one, one) * guide[i, j] ** 2
    return total if readout is None else readout @ total @ readout.T


def blocks(mask, poolings):
    """The mean of the mask over the square of pixels that each position of a layer stands for."""
    side = 2**poolings
    height, width = (length // side for length in mask.shape[2:])
    whole = mask[0, 0, : height * side, : width * side].double()
    return whole.reshape(height, side, width, side).mean((1, 3))


def test_a_guide_is_the_mean_of_the_mask_with_a_mean_square_of_one():
    mask = torch.rand(1, 1, *SIZE, dtype=torch.float64)
    found = guides(mask, SIZE, STYLE_LAYERS)
    for poolings, layer in enumerate(STYLE_LAYERS):
        expected = blocks(mask, poolings)
        expected = expected / expected.square().mean().sqrt()
        torch.testing.assert_close(found[layer][0].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("readouts", [False, True])
def test_a_guided_loss_and_its_gradient_are_those_of_the_definition(tiny_network, readouts):
    network, layers = tiny_network(readouts=readouts), ("conv1_1", "conv3_1", "conv4_1")
    image, content, art = picture(), picture(1), picture(2, (40, 33))
    here, there = left(), left((40, 33), 0.3)
    style = Style(art, 1.0, here, there)
    one = Transfer(content, [style], alpha_beta=0, style_layers=layers, range_weight=0)
    losses, gradient = transfer_objective(network, [one]).value_and_grad(image)

    def loss(image):
        total = 0
        for layer in layers:
            poolings, grams = int(layer[4]) - 1, []
            for shown, mask in ((image, here), (art, there)):
                features = network(shown, [layer])[layer][0]
                guide = blocks(mask, poolings)
                guide = guide / guide.square().mean().sqrt()
                grams.append(guided_gram(features, guide, network.readout(layer)) / guide.numel())
            total += (grams[0] - grams[1]).square().sum() / network.units[layer] ** 2 / len(layers)
        return float(left().mean()) * total  # the region's share

    wanted = image.clone().requires_grad_()
    value = loss(wanted)
    (expected,) = torch.autograd.grad(value, wanted)
    found = sum(value for name, value in losses.items() if name.startswith("style"))
    torch.testing.assert_close(found, value.detach()[None], rtol=1e-5, atol=0)
    scale = float(expected.abs().max())
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5 * scale)


def test_a_guide_of_ones_gives_the_plain_gram_matrix():
    features, readout = torch.rand(2, 5, 7, 9).double(), torch.rand(4, 6).double()
    for given in (None, readout):
        plain = gram_matrix(features, given)
        torch.testing.assert_close(
            gram_matrix(features, given, torch.ones(1, 7, 9).double()), plain
        )


def test_masks_that_cover_everything_and_weights_of_0_change_nothing(tiny_network):
    network, content, art = tiny_network(), picture(), picture(1)
    everywhere, other = torch.ones(1, 1, 20, 28), Style(picture(2), weight=0.0)
    plain = transfer_batch(network, [Transfer(content, art)], **QUIET)
    for styles in (
        [Style(art, 3.0)],
        [Style(art, 1.0), other],
        [Style(art, 1.0, everywhere, everywhere)],
        [Style(art, 1.0), Style(art, 1.0)],  # half and half of the same
    ):
        found = transfer_batch(network, [Transfer(content, styles)], **QUIET)
        torch.testing.assert_close(found.images, plain.images, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.losses, plain.losses)


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_a_batch_of_all_kinds_equals_each_made_alone(tiny_network, optimiser):
    network, content, art, other = tiny_network(), picture(), picture(1), picture(2, (40, 33))
    two = [Style(art, 2.0), Style(other)]
    regions = [Style(art, 1.0, left(), left()), Style(other, 1.0, 1 - left())]
    batch = [
        Transfer(content, art),
        Transfer(content, two, colours="luminance"),
        Transfer(content, regions, colours="match", init="style"),
        Transfer(picture(3), [*two, Style(picture(4), 1.0, left())], init="noise", seed=3),
        Transfer(content, regions[:1], colours="luminance"),
        Transfer(content, regions, init=picture(5), content_layers={"conv3_1": 2, "conv2_1": 1}),
    ]
    together = transfer_batch(network, batch, optimiser=optimiser, **QUIET)
    assert {"style conv1_1", "style 2 conv1_1", "style 3 conv5_1"} <= set(together.history)
    for i, one in enumerate(batch):
        alone = transfer_batch(network, [one], optimiser=optimiser, **QUIET)
        torch.testing.assert_close(together.images[i], alone.images[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.losses[:, i], alone.losses[:, 0])


def test_weights_are_relative_and_regions_count_by_area():
    half, quarter = left(share=0.5, soft=1e-9), torch.zeros(1, 1, 4, 4)
    quarter[:, :, :2, :2] = 1
    assert shares([2.0, 6.0], [None, None], SIZE) == pytest.approx([0.25, 0.75])
    area = float(half.mean())
    assert shares([1.0, 1.0], [half, 1 - half], SIZE) == pytest.approx([area, 1 - area], abs=1e-6)
    assert shares([5.0], [quarter], (8, 8)) == pytest.approx([0.25])  # the rest has no style
    found = shares([3.0, 1.0], [quarter, quarter.flip(3)], (8, 8))
    assert found == pytest.approx([0.375, 0.125])
    assert shares([1.0, 0.0], [quarter, None], (8, 8)) == pytest.approx([0.25, 0.0])


def test_a_strength_stands_for_the_same_ratio_whatever_the_area(tiny_network):
    """Of a region, as if it was alone: its share of the picture cancels."""
    network, asked = tiny_network(), {"style_layers": ["conv1_1"], "content_layers": ["conv2_1"]}
    content, art = (picture(seed, (32, 32)).mean((2, 3), keepdim=True) for seed in (0, 1))
    content = content.expand(1, 3, 32, 32).clone()
    content[:, :, ::2] += 0.1  # the same in every region
    art = art.expand(1, 3, 32, 32)
    mask = torch.zeros(1, 1, 32, 32)
    mask[:, :, :, 8:20] = 1
    whole = balance(network, Transfer(content, art, **asked)).alpha_beta
    part = balance(network, Transfer(content, [Style(art, 1.0, mask)], **asked)).alpha_beta
    assert part == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    ("parametrisation", "optimiser", "init"),
    [
        *(("pixels", "lbfgs", "noise"), ("frequencies", "lbfgs", "noise")),
        *(("pixels", "adam", picture(2, (64, 75))), ("frequencies", "adam", picture(2, (64, 75)))),
    ],
    ids=["pixels", "frequencies", "pixels-adam", "frequencies-adam"],
)
@pytest.mark.parametrize("colours", MODES)
def test_where_no_mask_is_the_photograph_stays(
    tiny_network, parametrisation, optimiser, init, colours
):
    content = picture(0, (64, 75), 0.1, 0.9)
    how = {"parametrisation": parametrisation, "optimiser": optimiser, **QUIET}
    style = Style(picture(1, (64, 64)), 1.0, mask := left((64, 75)))
    one = Transfer(content, [style], init=init, colours=colours)
    result = transfer_batch(tiny_network(), [one], **how)
    outside, inside = (mask == 0).expand_as(content), (mask == 1).expand_as(content)
    assert torch.equal(result.images[outside], content.float()[outside])
    assert not torch.allclose(result.images[inside], content.float()[inside], atol=1e-3)
    fine = transfer_coarse_to_fine(tiny_network(), [one], levels=2, **how)
    assert torch.equal(fine.images[outside], content.float()[outside])


@pytest.mark.parametrize("base", [PIXELS, FREQUENCIES])
def test_what_is_kept_is_a_parametrisation_like_others(base):
    photograph, z = picture(), torch.randn(1, 3, *SIZE, dtype=torch.float64)
    view = torch.tensor([[LUMA] * 3], dtype=torch.float64)
    for seen in (None, view):
        kept = Keeping(base, photograph, left(), seen)
        leaf = z.clone().requires_grad_()
        image = kept.to_image(leaf)
        change = base.to_image(leaf) - photograph
        if seen is not None:
            luma = sum(weight * change[:, i] for i, weight in enumerate(LUMA))
            change = torch.stack([luma] * 3, 1)
        torch.testing.assert_close(image, left() * change + photograph)
        gradient = torch.randn_like(image)
        (expected,) = torch.autograd.grad(image, leaf, gradient)
        torch.testing.assert_close(kept.pull_back(z, gradient), expected)
    torch.testing.assert_close(kept.to_image(kept.from_image(photograph)), photograph)


def test_luminance_keeps_the_photographs_chroma(tiny_network):
    """Exactly where nothing is cut off; the colours of the painting do not matter."""
    network, content, art = tiny_network(), picture(low=0.3, high=0.7), picture(1)
    asked = {"colours": "luminance", "init": "noise"}
    result = transfer_batch(network, [Transfer(content, art, **asked)], **QUIET)
    change = (result.images - content.float())[0]
    inside = ((result.images > 0) & (result.images < 1)).all(1)[0]
    assert inside.float().mean() > 0.9 and change.abs().max() > 0.02
    torch.testing.assert_close(change[0][inside], change[1][inside], atol=2e-6, rtol=0)
    torch.testing.assert_close(change[0][inside], change[2][inside], atol=2e-6, rtol=0)
    luma = sum(weight * art[:, i : i + 1] for i, weight in enumerate(LUMA)).expand_as(art)
    grey = transfer_batch(network, [Transfer(content, luma, **asked)], **QUIET)
    torch.testing.assert_close(grey.images, result.images, atol=1e-5, rtol=0)


def moments(image, weights=None):
    """Mean and covariance of colours, from numpy's definitions."""
    colours = image[0].flatten(1).double()
    weights = torch.ones_like(colours[0]) if weights is None else weights.flatten().double()
    mean = (colours * weights).sum(1) / weights.sum()
    return mean, torch.cov(colours, correction=0, aweights=weights)


def test_matched_colours_have_the_mean_and_covariance_of_the_photograph():
    content, art = picture(0, SIZE, 0.4, 0.6), picture(1, (40, 33), 0.2, 0.8)
    for found, wanted in zip(moments(match_colours(art, content)), moments(content), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)
    here, there = left(), left((40, 33), 0.3)
    matched = match_colours(art, content, there, here)
    pairs = zip(moments(matched, fitted(there, (40, 33))), moments(content, here), strict=True)
    for found, wanted in pairs:
        torch.testing.assert_close(found, wanted, atol=1e-7, rtol=0)


def test_matched_luminance_is_grey_with_the_mean_and_deviation_of_the_photographs():
    content, art = picture(0, SIZE, 0.4, 0.6), picture(1, (40, 33), 0.2, 0.8)
    found = match_luminance(art, content)
    assert torch.allclose(found, found[:, :1].expand_as(found))
    luma = sum(weight * content[:, i] for i, weight in enumerate(LUMA))
    assert float(found.mean()) == pytest.approx(float(luma.mean()))
    assert float(found[:, 0].std()) == pytest.approx(float(luma.std()), rel=1e-3)


@pytest.mark.parametrize("colours", MODES)
def test_grey_and_blank_images_have_colours_to_match_too(tiny_network, colours):
    blank, grey = torch.full((1, 3, 32, 32), 0.5), picture(1, (32, 32))[:, :1].repeat(1, 3, 1, 1)
    for pair in ((blank, grey), (grey, blank), (picture(), grey), (grey, picture())):
        result = transfer_batch(tiny_network(), [Transfer(*pair, colours=colours)], **QUIET)
        assert result.images.isfinite().all()


def test_colours_count_in_every_start_and_level(tiny_network):
    network, content, art = tiny_network(), picture(0, (64, 64), 0.3, 0.7), picture(1, (64, 64))
    start = transfer_start(network, [Transfer(content, art, init="style", colours="match")])
    torch.testing.assert_close(start, match_colours(art, content))
    one = Transfer(content, art, colours="luminance")
    fine = transfer_coarse_to_fine(network, [one], levels=2, **QUIET)
    change = (fine.images - content.float())[0]
    torch.testing.assert_close(change[0], change[2], atol=2e-6, rtol=0)


@pytest.mark.parametrize(("optimiser", "steps"), [("lbfgs", 60), ("adam", 300)])
def test_strokes_come_from_one_painting_and_the_size_from_the_other(tiny_network, optimiser, steps):
    network, forms, strokes = tiny_network(), picture(0), picture(1, (40, 33)).round()
    how = {"optimiser": optimiser, "steps": steps, "progress": False}
    result = mix_strokes(network, forms, strokes, **how)
    assert result.images.shape[2:] == SIZE
    assert set(result.history) == {"style conv1_1", "style conv2_1", "out of range"}

    def distance(image):
        grams = [network(x.double(), ["conv1_1"])["conv1_1"] for x in (image, strokes)]
        grams = [gram_matrix(x) / x[0, 0].numel() for x in grams]
        return float((grams[0] - grams[1]).norm())

    assert distance(result.images) < 0.2 * distance(forms)


CHANGES = {
    "target of style 2": {"second": picture(3)},
    "weight of style 2": {"weight": 2.0},
    "kept of the photograph": {"cut": 0.6},
    "target of style conv1_1": {"cut": 0.6},
    "colours": {"colours": "luminance"},
}


@pytest.mark.parametrize("said", CHANGES)
def test_checkpoints_resume_bit_for_bit_and_tell_other_regions_apart(tiny_network, tmp_path, said):
    network = tiny_network(dtype=torch.float32)

    def run(hooks, *, second=None, weight=1.0, cut=0.5, colours="style"):
        second = picture(2) if second is None else second
        styles = [Style(picture(1), 1.0, left(share=cut), left()), Style(second, weight, left())]
        one = Transfer(picture().float(), styles, colours=colours)
        return transfer_batch(network, [one], steps=8, progress=False, hooks=hooks)

    def interrupt(run, states):
        for state in states:
            if state.step == 4:
                raise KeyboardInterrupt
            yield state

    checkpoint, whole = Checkpoint(tmp_path / "c", seconds=0), run([])
    assert run([checkpoint, interrupt]).interrupted
    with pytest.raises(SettingError, match=said):
        run([Checkpoint(tmp_path / "c", seconds=0)], **CHANGES[said])
    again = run([Checkpoint(tmp_path / "c", seconds=0)])
    assert torch.equal(again.images, whole.images) and torch.equal(again.losses, whole.losses)


GOOD = torch.full((1, 3, 32, 48), 0.25)
MASK = torch.ones(1, 1, 32, 48)
WRONG = {
    "black everywhere": lambda: Style(GOOD, 1.0, None, 0 * MASK),
    "style_mask has 32 x 32 pixels, and its image 48 x 32": lambda: Style(
        GOOD, style_mask=MASK[..., :32]
    ),
    "content_mask has 10 x 32": lambda: Transfer(GOOD, [Style(GOOD, 1.0, MASK[..., :10])]),
    r"style_mask must be .* got the shape \(1, 3": lambda: Style(GOOD, style_mask=GOOD),
    "must be .* got torch.int64": lambda: Style(GOOD, style_mask=MASK.long()),
    "must be .* got values from 2": lambda: Style(GOOD, style_mask=2 * MASK),
    "must be .* values from nan": lambda: Style(GOOD, style_mask=math.nan * MASK),
    "must be .* got str": lambda: Style(GOOD, style_mask="mask.png"),
    "weight of a style": lambda: Style(GOOD, -1.0),
    "all 0": lambda: Transfer(GOOD, [Style(GOOD, 0.0)]),
    "list of Styles": lambda: Transfer(GOOD, [Style(GOOD), GOOD]),
    "style must be a tensor": lambda: Transfer(GOOD, [GOOD, GOOD]),
    "colours must be one of style, luminance, match": lambda: Transfer(GOOD, GOOD, colours="red"),
    "nothing is left of it at conv2_1": lambda: guides(
        torch.eye(33)[None, None] * (torch.arange(33) > 31), (33, 33), STYLE_LAYERS
    ),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_cannot_be_is_named(said):
    with pytest.raises(SettingError, match=said) as caught:
        WRONG[said]()
    assert "\n" not in str(caught.value)


def test_a_cover_is_the_sum_of_masks_up_to_all_of_it():
    assert torch.equal(cover([None, left()], SIZE), torch.ones(1, 1, *SIZE))
    both = cover([left(), 1 - left()], SIZE)
    torch.testing.assert_close(both, torch.ones(1, 1, *SIZE))
    torch.testing.assert_close(cover([left()], SIZE), left().float())


def test_an_interrupt_between_levels_keeps_the_photograph_sharp(tiny_network):
    """Also where the picture so far is of a smaller size."""
    content = torch.rand(1, 3, 64, 75, dtype=torch.float64)
    one = Transfer(content, [Style(picture(1, (64, 64)), 1.0, mask := left((64, 75)))])

    def interrupt(run, states):
        yield next(states)
        raise KeyboardInterrupt

    asked = {"levels": 2, "progress": False, "hooks": [interrupt]}
    result = transfer_coarse_to_fine(tiny_network(), [one], **asked)
    outside = (mask == 0).expand_as(content)
    assert result.interrupted and result.images.shape == content.shape
    assert torch.equal(result.images[outside], content.float()[outside])
