"""The paper's equations, against autograd and against their literal sums, in float64."""

import pytest
import torch
from torch.nn import functional as F

from stylelab import losses


@pytest.fixture
def pre():
    """Activations before a ReLU, some of them negative: (2, 4, 5, 6)."""
    return torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=torch.manual_seed(0))


@pytest.fixture
def other():
    return F.relu(torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=torch.manual_seed(1)))


def test_equation_1_is_the_literal_sum(pre, other):
    expected = [
        0.5 * sum((f - p) ** 2 for f, p in zip(a.flatten(), b.flatten(), strict=True))
        for a, b in zip(pre, other, strict=True)
    ]
    torch.testing.assert_close(losses.content_loss(pre, other), torch.stack(expected))


def test_equation_2_is_the_gradient_of_equation_1_through_the_relu(pre, other):
    pre.requires_grad_()
    features = F.relu(pre)
    (expected,) = torch.autograd.grad(losses.content_loss(features, other).sum(), pre)
    torch.testing.assert_close(losses.content_gradient(features, other), expected)
    assert (expected[pre <= 0] == 0).all()
    assert (expected[pre > 0] != 0).all()


def test_equation_3_is_the_literal_sum(pre):
    gram = losses.gram_matrix(pre)
    assert gram.shape == (2, 4, 4)
    for n, i, j in ((0, 0, 0), (0, 1, 3), (1, 2, 1)):
        torch.testing.assert_close(gram[n, i, j], (pre[n, i] * pre[n, j]).sum())


def test_equation_4_is_the_literal_sum(pre, other):
    gram, target = losses.gram_matrix(pre), losses.gram_matrix(other)
    units, positions = 4, 30
    expected = (gram - target).square().sum((1, 2)) / (4 * units**2 * positions**2)
    found = losses.style_layer_loss(gram, target, positions, positions, units)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("maps", [4, 1])
def test_equation_6_is_the_gradient_of_equation_4_through_the_relu(pre, other, maps):
    pre, target = pre[:, :maps].requires_grad_(), losses.gram_matrix(other[:, :maps])
    features = F.relu(pre)
    loss = losses.style_layer_loss(losses.gram_matrix(features), target, 30, 30, maps)
    (expected,) = torch.autograd.grad(loss.sum(), pre)
    torch.testing.assert_close(losses.style_layer_gradient(features, target), expected)
    assert expected.abs().max() > 0


def test_equations_5_and_7_are_weighted_sums():
    layers = [torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])]
    style = losses.style_loss(layers, [0.5, 0.25])
    torch.testing.assert_close(style, torch.tensor([3.0, 6.0]))
    total = losses.total_loss(torch.tensor([4.0, 5.0]), style, alpha=2.0, beta=3.0)
    torch.testing.assert_close(total, torch.tensor([17.0, 28.0]))
    with pytest.raises(ValueError, match="shorter"):  # a weight for each layer
        losses.style_loss(layers, [0.5, 0.25, 0.25])


def test_paper_ratio_turns_means_into_the_sums_of_equation_7(pre, other):
    """alpha L_content + beta L_style as written is, up to a factor, the objective in means."""
    ratio, units, positions = 1e-2, 4, 30
    content = losses.content_loss(pre, other)
    style = losses.style_layer_loss(
        losses.gram_matrix(pre), losses.gram_matrix(other), positions, positions, units
    )
    mean_content = (pre - other).square().mean((1, 2, 3))
    grams = losses.gram_matrix(pre) / positions - losses.gram_matrix(other) / positions
    means = ratio * mean_content + grams.square().mean((1, 2))
    literal = losses.paper_ratio(ratio, units, positions) * content + style
    torch.testing.assert_close(means, 4 * literal)


@pytest.mark.parametrize("guided", [False, True])
def test_mean_and_covariance_come_from_the_moments(pre, guided):
    """Weighted by the squares of the guide, as torch.cov counts weights."""
    guide = torch.rand(1, 5, 6, dtype=torch.float64) if guided else torch.ones(1, 5, 6).double()
    weights = guide.square().flatten()
    for found, maps in zip(
        losses.moments(pre, guide if guided else None), pre.flatten(2), strict=True
    ):
        total = found[-1, -1]
        mean = found[:-1, -1] / total
        torch.testing.assert_close(total, weights.sum())
        torch.testing.assert_close(mean, (maps * weights).sum(1) / weights.sum())
        covariance = found[:-1, :-1] / total - mean[:, None] * mean
        torch.testing.assert_close(covariance, torch.cov(maps, correction=0, aweights=weights))
        torch.testing.assert_close(found, found.mT)


def test_readout_of_gram_is_gram_of_readout(pre, other):
    readout = torch.randn(7, 5, dtype=torch.float64, generator=torch.manual_seed(3))

    def read(x):
        ones = torch.ones_like(x[:, :1])
        return torch.einsum("mc,nchw->nmhw", readout, torch.cat([x, ones], 1))

    torch.testing.assert_close(losses.gram_matrix(pre, readout), losses.gram_matrix(read(pre)))
    torch.testing.assert_close(
        losses.content_loss(pre, other, readout), losses.content_loss(read(pre), read(other))
    )


def test_triangular_readout_keeps_distances(pre, other):
    """||G - A|| in the large space equals that of the triangular factor: Q keeps lengths."""
    large = torch.randn(40, 5, dtype=torch.float64, generator=torch.manual_seed(4))
    small = torch.linalg.qr(large).R
    assert small.shape == (5, 5)

    def distance(readout):
        difference = losses.gram_matrix(pre, readout) - losses.gram_matrix(other, readout)
        return difference.square().sum((1, 2))

    torch.testing.assert_close(distance(small), distance(large))
    torch.testing.assert_close(
        losses.content_loss(pre, other, small), losses.content_loss(pre, other, large)
    )


def test_total_variation_counts_steps_between_neighbours_of_each_image():
    image = torch.zeros(2, 3, 3, 4, dtype=torch.float64)
    image[0, :, 1:] = 1.0  # one step of height 1 in each column, of two neighbouring pairs
    image[1, ..., 1:] = 2.0  # one step of height 2 in each row, of three neighbouring pairs
    torch.testing.assert_close(losses.total_variation(image), torch.tensor([1 / 2, 4 / 3]).double())
