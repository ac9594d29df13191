"""How alike two pictures are."""

import numpy as np
import pytest
import torch

from stylelab import gallery
from stylelab.figures import measures
from stylelab.losses import gram_matrix
from stylelab.vgg import STYLE_LAYERS


@pytest.fixture(scope="module")
def picture():
    return gallery.open("coffee", 64)


@pytest.fixture(scope="module")
def noisy(picture):
    noise = torch.randn(picture.shape, generator=torch.manual_seed(0))
    return (picture + 0.1 * noise).clamp(0, 1)


def test_a_picture_is_like_itself(picture, tiny_network):
    network = tiny_network()
    assert measures.pixel_error(picture, picture) == 0
    assert measures.ssim(picture, picture) == pytest.approx(1)
    assert measures.correlation(picture, picture) == pytest.approx(1)
    assert measures.edge_agreement(picture, picture) == pytest.approx(1)
    assert measures.colour_distance(picture, picture) == 0
    assert measures.style_distance(network, picture, picture, STYLE_LAYERS) == 0
    assert measures.content_distance(network, picture, picture, "conv4_2") == 0


def test_measures_of_a_known_difference(picture):
    """Against NumPy, channel weights and means written out."""
    brighter = picture * 0.5 + 0.25
    expected = np.sqrt(np.mean((brighter.numpy() - picture.numpy()) ** 2))
    assert measures.pixel_error(brighter, picture) == pytest.approx(float(expected), rel=1e-5)
    mean, deviation = picture.mean((0, 2, 3)), picture.std((0, 2, 3))
    expected = ((0.25 - 0.5 * mean).square().sum() + (0.5 * deviation).square().sum()).sqrt()
    assert measures.colour_distance(brighter, picture) == pytest.approx(float(expected), rel=1e-4)


def test_noise_makes_it_less_so(picture, noisy, tiny_network):
    network = tiny_network()
    assert measures.pixel_error(noisy, picture) == pytest.approx(0.1, abs=0.03)
    for measure in (measures.ssim, measures.correlation, measures.edge_agreement):
        assert 0.1 < measure(noisy, picture) < 0.99
    assert 0 < measures.style_distance(network, noisy, picture, STYLE_LAYERS) < 0.5
    assert measures.content_distance(network, noisy, picture, "conv4_2") > 0


def test_correlation_is_of_luminance_in_which_green_counts_most(picture):
    def changed(channel):
        image = picture.clone()
        image[:, channel] = image[:, channel].flip(2)
        return measures.correlation(image, picture)

    assert changed(1) < changed(0) < changed(2) < 1


def test_colour_does_not_know_of_place_and_place_not_of_contrast(picture):
    turned, pale = picture.flip(3), 0.3 + 0.4 * picture
    assert measures.colour_distance(turned, picture) < 1e-6
    assert measures.correlation(turned, picture) < 0.9
    assert measures.correlation(pale, picture) == pytest.approx(1, abs=1e-5)
    assert measures.colour_distance(pale, picture) > 0.1


def test_a_flat_picture_correlates_with_nothing(picture):
    assert measures.correlation(torch.full_like(picture, 0.5), picture) == 0
    assert measures.edge_agreement(torch.full_like(picture, 0.5), picture) == 0


@pytest.mark.parametrize("readouts", [False, True])
def test_style_distance_is_that_of_the_gram_matrices(picture, noisy, tiny_network, readouts):
    """Measured position by position here, in the readout's algebra in `losses`."""
    network = tiny_network(readouts=readouts)
    found = measures.style_distances(network, noisy, picture, ["conv3_1"])["conv3_1"]
    g, a = (
        gram_matrix(features, network.readout("conv3_1")) / features[0, 0].numel()
        for features in (network(x.double(), ["conv3_1"])["conv3_1"] for x in (noisy, picture))
    )
    assert found == pytest.approx(float((g - a).norm() / (g.norm() + a.norm())))


def test_pictures_of_other_sizes_are_compared_at_the_seconds(picture):
    assert measures.pixel_error(gallery.open("coffee", 96), picture) < 0.05
    assert measures.ssim(gallery.open("coffee", 96), picture) > 0.9
