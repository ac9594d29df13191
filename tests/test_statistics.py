"""Other style statistics: each against its closed form, in float64, and against autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stylelab import Style, Transfer, transfer, transfer_batch
from stylelab.controls.statistics import (
    TERMS,
    directions,
    quantiles,
    representation,
    root,
    wasserstein,
)
from stylelab.engine import tiles
from stylelab.errors import SettingError
from stylelab.synthesis import balance, transfer_objective
from stylelab.vgg import STYLE_LAYERS

LAYER = "conv1_1"
OTHERS = ("covariance", "wasserstein", "sliced")
ALL = torch.tensor([0])


class Given:
    """Stands for a network: its features at conv1_1 are the image itself, of any channels."""

    def __init__(self, channels, readout=None):
        self.units, self._readout = {LAYER: channels if readout is None else 20}, readout

    def readout(self, layer):
        return self._readout

    def features_by_layer(self, image, layers):
        yield LAYER, image


def samples(channels, height, width, seed):
    """Features that correlate, `(1, channels, height, width)`."""
    maker = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=maker, dtype=torch.float64)
    x = torch.randn(channels, height * width, generator=maker, dtype=torch.float64)
    return (mix @ x + mix[:, :1]).view(1, channels, height, width)


def loss_of(kind, picture, style, readout=None, guide=None, style_guide=None):
    network = Given(picture.shape[1], readout)
    guides = None if style_guide is None else {LAYER: style_guide}
    size = picture.shape[2:]
    target = representation(kind, network, style, [LAYER], guides, size)[LAYER]
    term = TERMS[kind](LAYER, target, torch.ones(1), guide)
    return term.loss(picture, ALL, network)[0]


def moments_of(features):
    rows = features[0].flatten(1).numpy()
    return rows.mean(1), np.cov(rows, bias=True)


def expected(kind, picture, style):
    """From the definitions, in NumPy, for features of the same number of positions."""
    (m, c), (n, d) = moments_of(picture), moments_of(style)
    count = picture.shape[1]
    if kind == "covariance":
        return ((c - d) ** 2).mean()
    if kind == "wasserstein":  # the eigenvalues of C D are those of D^1/2 C D^1/2
        overlap = np.sqrt(np.linalg.eigvals(c @ d).real.clip(0)).sum()
        return (((m - n) ** 2).sum() + np.trace(c) + np.trace(d) - 2 * overlap) / count
    axes = directions(count, picture).numpy()
    x, y = (np.sort(axes @ each[0].flatten(1).numpy()) for each in (picture, style))
    return ((x - y) ** 2).mean()


@pytest.mark.parametrize("kind", OTHERS)
def test_a_loss_is_its_definition_and_its_gradient_autograds(kind):
    picture, style = samples(5, 6, 8, 0), samples(5, 8, 6, 1)
    assert loss_of(kind, picture, style).item() == pytest.approx(expected(kind, picture, style))
    assert loss_of(kind, style, style).abs() < 1e-9
    small = samples(3, 3, 4, 2).requires_grad_()
    other = samples(3, 4, 3, 3)
    assert torch.autograd.gradcheck(lambda x: loss_of(kind, x, other), small, atol=1e-6)


@pytest.mark.parametrize("kind", OTHERS)
def test_positions_do_not_count(kind):
    picture, style = samples(5, 6, 8, 0), samples(5, 6, 8, 1)
    order = torch.randperm(48)
    moved = picture.flatten(2)[:, :, order].view_as(picture)
    torch.testing.assert_close(loss_of(kind, moved, style), loss_of(kind, picture, style))


def test_a_shift_and_a_stretch_have_the_distances_that_they_must():
    picture, shift = samples(4, 6, 8, 0), torch.tensor([1.0, -2.0, 0.5, 0.0]).double()
    moved = picture + shift[:, None, None]
    for kind, distance in (("covariance", 0), ("wasserstein", 5.25 / 4), ("sliced", 5.25 / 4)):
        assert loss_of(kind, picture, moved).item() == pytest.approx(distance, abs=1e-9)
    # Two Gaussians with diagonal covariances: the distance of their deviations.
    m, n = torch.randn(2, 1, 6).double()
    a, b = torch.rand(2, 1, 6).double()
    b[0, 0] = 0  # one does not vary in every direction
    found = wasserstein(m, torch.diag_embed(a**2), n, torch.diag_embed(b))
    torch.testing.assert_close(found, (m - n).square().sum(1) + (a - b).square().sum(1))
    matrix = torch.cov(torch.randn(5, 20)).double()[None]
    torch.testing.assert_close(root(matrix) @ root(matrix), matrix)


def test_directions_are_orthogonal_and_always_the_same():
    axes = directions(7, torch.zeros(1).double())
    torch.testing.assert_close(axes @ axes.T, torch.eye(7).double())
    torch.manual_seed(5)
    assert torch.equal(axes, directions(7, torch.zeros(1).double()))


def test_quantiles_are_those_of_numpy():
    values, ranks = (
        torch.randn(2, 3, 9).double().sort(2).values,
        torch.rand(9).double().sort().values,
    )
    wanted = torch.rand(20).double()
    found = quantiles(values, ranks[None, None], wanted[None, None])
    for at in np.ndindex(2, 3):
        line = np.interp(wanted.numpy(), ranks.numpy(), values[at].numpy())
        np.testing.assert_allclose(found[at].numpy(), line)


def test_sliced_compares_images_of_different_sizes_by_rank():
    style = samples(4, 5, 7, 1)
    picture = samples(4, 3, 4, 0)
    axes = directions(4, picture).numpy()
    x, y = (np.sort(axes @ each[0].flatten(1).numpy()) for each in (picture, style))
    ranks, there = (np.arange(12) + 0.5) / 12, (np.arange(35) + 0.5) / 35
    y = np.stack([np.interp(ranks, there, row) for row in y])
    assert loss_of("sliced", picture, style).item() == pytest.approx(((x - y) ** 2).mean())


@pytest.mark.parametrize("kind", OTHERS)
def test_a_readout_measures_what_it_maps_to(kind):
    picture, style = samples(4, 6, 8, 0), samples(4, 6, 8, 1)
    readout = torch.randn(5, 5).double()

    def mapped(x):
        ones = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        return torch.einsum("mc,nchw->nmhw", readout, ones)

    found = loss_of(kind, picture, style, readout).item()
    power = 2 if kind == "covariance" else 1  # over 20 units in place of the 5 maps
    whole = expected(kind, mapped(picture), mapped(style)) * (5 / 20) ** power
    assert found == pytest.approx(whole)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_guide_weighs_positions(kind):
    """Of ones it is none at all; of a half it is that half alone, in picture and in style."""
    picture, style = samples(4, 6, 8, 0), samples(4, 6, 8, 1)
    ones = torch.ones(1, 6, 8).double()
    plain = loss_of(kind, picture, style)
    torch.testing.assert_close(loss_of(kind, picture, style, guide=ones), plain)
    torch.testing.assert_close(loss_of(kind, picture, style, style_guide=ones), plain)
    half = ones.clone()
    half[:, :, 4:] = 0
    half *= 2**0.5
    found = loss_of(kind, picture, style, guide=half, style_guide=half)
    alone = loss_of(kind, picture[..., :4], style[..., :4])
    # Sliced looks up 24 ranks among the 48 quantiles that were kept of the style.
    torch.testing.assert_close(found, alone, rtol=0.05 if kind == "sliced" else 1e-7, atol=0)


@pytest.mark.parametrize("kind", ["covariance", "wasserstein"])
def test_sums_over_parts_give_the_loss_of_the_whole(kind):
    picture, style, network = samples(4, 6, 8, 0), samples(4, 6, 8, 1), Given(4)
    target = representation(kind, network, style, [LAYER], None, (6, 8))[LAYER]
    guide = 0.5 + torch.rand(1, 6, 8).double()
    guide /= guide.square().mean().sqrt()
    term = TERMS[kind](LAYER, target, torch.ones(1), guide)
    windows = [(slice(a, b), slice(c, d)) for a, b in ((0, 2), (2, 6)) for c, d in ((0, 5), (5, 8))]
    parts = sum(term.sums(picture[:, :, *w], ALL, network, w) for w in windows)
    found = term.from_sums(parts, 48, ALL, network)
    torch.testing.assert_close(found, term.loss(picture, ALL, network))


def test_sliced_is_no_sum_and_says_so():
    term = TERMS["sliced"](LAYER, torch.zeros(1, 4, 48), torch.ones(1))
    with pytest.raises(SettingError, match="sliced sorts all positions.*tiles cannot.*size"):
        term.sums(samples(4, 6, 3, 0), ALL, Given(4), (slice(0, 6), slice(0, 3)))


def pictures(count):
    return torch.rand(count, 3, 32, 40, dtype=torch.float64).split(1)


@pytest.mark.parametrize("readouts", [False, True])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_transfer_brings_down_each_loss(tiny_network, kind, readouts):
    network = tiny_network(readouts=readouts, dtype=torch.float32)
    content, style = (picture.float() for picture in pictures(2))
    result = transfer(network, content, style, style_loss=kind, steps=15, progress=False)
    names = [f"style {layer}" for layer in STYLE_LAYERS]
    first, last = (sum(result.history[name][at, 0] for name in names) for at in (0, -1))
    assert 0 < last < 0.7 * first


@pytest.mark.parametrize("kind", OTHERS)
def test_batches_regions_and_several_styles(tiny_network, kind):
    """Each image of a batch has the losses that it has alone; the gradient is autograd's."""
    network, (content, one, two, image) = tiny_network(), pictures(4)
    mask = torch.zeros(1, 1, 32, 40)
    mask[:, :, :, :24] = 1
    styles = [Style(one, 2.0, mask, mask), Style(two, 1.0, 1 - mask)]
    batch = [
        Transfer(content, styles, alpha_beta=1e-2, style_loss=kind),
        Transfer(content, two, alpha_beta=1e-2, style_loss=kind),
    ]
    found, gradient = transfer_objective(network, batch).value_and_grad(torch.cat([image] * 2))
    for row, single in enumerate(batch):
        objective = transfer_objective(network, [single])
        losses, slope = objective.value_and_grad(image)
        for name, loss in losses.items():
            torch.testing.assert_close(found[name][row], loss[0])
        torch.testing.assert_close(gradient[row], slope[0])
    direction, step = torch.randn_like(image), 1e-7  # no two values change places
    ends = [
        sum(objective.losses(image + sign * step * direction).values()).item() for sign in (1, -1)
    ]
    slope = (slope * direction).sum().item()
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def test_kinds_that_do_not_exist_or_do_not_go_together(tiny_network):
    content, style = pictures(2)
    with pytest.raises(SettingError, match="style_loss must be one of gram, covariance"):
        Transfer(content, style, style_loss="histogram")
    with pytest.raises(SettingError, match="authors is of Gram matrices"):
        Transfer(content, style, objective="authors", style_loss="covariance")
    one = Transfer(content, style, alpha_beta=1.0)
    with pytest.raises(SettingError, match="one style_loss"):
        transfer_batch(tiny_network(), [one, replace(one, style_loss="sliced")])


def test_a_strength_of_sliced_is_found_where_others_are_looked_at_in_pieces(
    tiny_network, monkeypatch
):
    network, one = tiny_network(), Transfer(*torch.rand(2, 1, 3, 48, 64), style_loss="sliced")
    whole = balance(network, one).alpha_beta
    monkeypatch.setattr(tiles, "LOOKING", 16)
    network.pieces = tiles.in_tiles
    assert balance(network, one).alpha_beta == pytest.approx(whole, rel=1e-4)
