"""How alike two pictures are."""

import numpy as np
import pytest
import torch

from stylelab import gallery
from stylelab.figures import measures, spectra
from stylelab.losses import gram_matrix
from stylelab.objective import StyleTerm
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
    assert measures.detail_agreement(picture, picture) == pytest.approx(1)
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
    kinds = measures.ssim, measures.correlation, measures.edge_agreement, measures.detail_agreement
    for measure in kinds:
        assert 0.1 < measure(noisy, picture) < 0.99
    assert 0 < measures.style_distance(network, noisy, picture, STYLE_LAYERS) < 0.5
    assert measures.content_distance(network, noisy, picture, "conv4_2") > 0


def test_detail_is_what_is_fine(picture):
    """Large changes leave it as it is; a picture shifted by a few pixels has it elsewhere."""
    ramp = torch.linspace(0, 0.3, picture.shape[3]).expand_as(picture)
    assert measures.detail_agreement(picture + ramp, picture) > 0.98
    assert measures.correlation(picture + ramp, picture) < 0.98
    shift = picture.shape[3] // 20
    assert abs(measures.detail_agreement(picture.roll(shift, 3), picture)) < 0.5


def test_correlation_is_of_luminance_in_which_green_counts_most(picture):
    def changed(channel):
        image = picture.clone()
        image[:, channel] = image[:, channel].flip(2)
        return measures.correlation(image, picture)

    assert changed(1) < changed(0) < changed(2) < 1


def test_patterns_agree_by_how_far_apart_their_marks_lie():
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")

    def grid(wide, high, start=0):
        lines = ((x + start) % wide == 0) | ((y + start) % high == 0)
        return lines.float().expand(1, 3, -1, -1)

    assert measures.pattern_agreement(grid(8, 10, 3), grid(8, 10)) > 0.95  # wherever it begins
    pale = 0.2 + 0.1 * grid(8, 10)
    assert measures.pattern_agreement(pale, grid(8, 10)) > 0.99  # or its contrast
    assert measures.pattern_agreement(grid(10, 8), grid(8, 10)) < 0.5
    assert measures.pattern_agreement(grid(8, 10)[..., :40], grid(8, 10)) > 0.9  # a piece of it
    assert measures.pattern_agreement(torch.full((1, 3, 64, 64), 0.5), grid(8, 10)) == 0


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


def grating(across, down, amplitude=0.1, size=128):
    """Luminance 0.5 and a wave with so many cycles per pixel across and down."""
    y, x = np.mgrid[:size, :size]
    return 0.5 + amplitude * np.sin(2 * np.pi * (across * x + down * y))


def white_noise(size=512, deviation=0.1):
    return np.random.default_rng(0).normal(0.5, deviation, (size, size))


def as_picture(plane):
    return torch.tensor(plane, dtype=torch.float32).expand(1, 3, -1, -1).contiguous()


@pytest.mark.parametrize(
    "wave, octave, other",
    [
        ((0.3, 0), spectra.FINEST, spectra.SECOND),
        ((0.21, -0.22), spectra.FINEST, spectra.SECOND),  # 0.304 along its own direction
        ((0.5, 0.4), spectra.FINEST, spectra.SECOND),  # beyond 0.5
        ((0, 0.18), spectra.SECOND, spectra.FINEST),
        ((0.13, 0.13), spectra.SECOND, spectra.FINEST),
    ],
)
def test_a_grating_is_in_its_octave_and_regular(wave, octave, other):
    plane = grating(*wave)
    assert spectra.energy(plane, octave) == pytest.approx(0.1**2 / 2, rel=0.01)
    assert spectra.energy(plane, other) < 1e-5
    assert spectra.regularity(plane, octave) > 0.95
    assert spectra.regularity(grating(*wave, amplitude=0), octave) == 0


def test_white_noise_has_the_octaves_shares_of_all_frequencies_and_no_regularity():
    """The finest octave is the unit square of frequencies but for a disc of radius 1/4."""
    plane, shares = white_noise(), (1 - np.pi / 16, np.pi / 16 - np.pi / 64)
    for octave, share in zip((spectra.FINEST, spectra.SECOND), shares, strict=True):
        assert spectra.energy(plane, octave) == pytest.approx(share * plane.var(), rel=0.02)
        assert 0.08 < spectra.regularity(plane, octave) < 0.14


def test_smooth_shading_has_no_detail():
    ramp = np.linspace(0, 1, 128)[None].repeat(128, 0)
    assert max(spectra.energy(ramp, octave) for octave in (spectra.FINEST, spectra.SECOND)) < 1e-6


def test_ripple_is_seen_by_its_regularity_and_grain_is_not():
    """Ridges that bend, of a few 255ths, in pictures with calm places."""
    y, x = np.mgrid[:160, :192]
    bend = 3 * np.sin(y / 20) + 2 * np.cos(x / 25)
    ridges = 0.024 * np.sin(2 * np.pi * 0.28 * (0.8 * x + 0.6 * y + bend))
    grain = np.random.default_rng(0).normal(0, ridges.std(), ridges.shape)
    for name in ("pagoda", "storm", "dark_facets"):
        plane = measures.planes(gallery.open(name, 256))[0][:160, :192]
        before = spectra.regularity(plane, spectra.FINEST)
        assert 0.1 < before < 0.2
        assert spectra.regularity(plane + ridges, spectra.FINEST) > before + 0.08, name
        assert spectra.regularity(plane + grain, spectra.FINEST) < before + 0.01, name


def test_ripple_in_the_sky_is_in_a_calm_place():
    photograph, ripple = white_noise(128, 0.1), grating(0.3, 0, 0.05)
    photograph[:64] = 0.5  # a sky
    in_the_sky, on_land = photograph.copy(), photograph.copy()
    in_the_sky[:64], on_land[80:] = ripple[:64], ripple[80:]
    for plane, low, high in ((in_the_sky, 0.9, 1), (on_land, 0, 0.01)):
        assert low <= spectra.regularity(plane, spectra.FINEST, photograph) <= high
        assert 0.25 < spectra.regularity(plane, spectra.FINEST) < 0.7


def test_a_plane_smaller_than_a_window_is_one_window():
    assert spectra.energy(grating(0.375, 0, size=16), spectra.FINEST) == pytest.approx(0.005)


def test_a_rim_is_told_in_255ths():
    picture = torch.full((1, 3, 40, 60), 0.5)
    assert measures.rim(picture) == 0
    picture[:, 0, :, :1] += 10 / 255  # red, on one of four sides
    on_the_side, at_ends = 40 * 10, 2 * 0  # above and below it both pixels are in the rim
    count = 3 * 2 * (40 + 60)
    assert measures.rim(picture) == pytest.approx((on_the_side + at_ends) / count, rel=1e-4)
    picture[:] = 0.5
    picture[:, :, 1:-1, 1:-1] += 0.1
    whole = 25.5 * (2 * (58 + 38)) / (2 * (60 + 40))  # the corners' partners are in the rim
    assert measures.rim(picture) == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("readouts", [False, True])
def test_style_losses_are_those_of_the_method(picture, noisy, tiny_network, readouts):
    network = tiny_network(readouts=readouts)
    found = measures.style_losses(network, noisy, picture)
    assert list(found) == list(STYLE_LAYERS)
    for layer, loss in found.items():
        f, p = (network(image.double(), [layer])[layer] for image in (noisy, picture))
        target = gram_matrix(p, network.readout(layer)) / p[0, 0].numel()
        (expected,) = StyleTerm(layer, target, torch.ones(1)).loss(f, torch.arange(1), network)
        assert loss == pytest.approx(float(expected), rel=1e-6)


def test_a_picture_measured_against_itself_is_natural(picture, tiny_network):
    found = measures.picture_measure(tiny_network(), picture, picture, picture)
    assert all(type(value) is float for value in found.values())
    assert all(found[name] == 0 for name in found if name.startswith("style"))
    ratios = [f"{octave} {part}" for octave in ("finest", "second") for part in LIGHT]
    assert [found[name] for name in ["edges", *ratios]] == pytest.approx([1] * 5)
    for octave in ("finest", "second"):
        regular = found[f"{octave} regularity"]
        assert 0 < regular == found[f"{octave} regularity of the artwork"] < 1
    assert found["rim"] == found["rim of the photograph"] == found["rim of the artwork"] > 0


LIGHT = ("luminance", "chroma")


def test_a_picture_is_measured_against_artwork_and_photograph(tiny_network):
    network, flat = tiny_network(), as_picture(np.full((128, 128), 128 / 255))
    style, content = as_picture(grating(0.3, 0, 0.1)), gallery.open("coffee", 256)[..., :128, :128]
    found = measures.picture_measure(network, as_picture(grating(0.3, 0, 0.2)), content, style)
    losses = [found[f"style {layer}"] for layer in STYLE_LAYERS]
    assert found["style"] == pytest.approx(np.mean(losses)) and min(losses) > 0
    assert found["finest luminance"] == pytest.approx(4, rel=0.01)
    assert found["finest chroma"] == found["second chroma"] == pytest.approx(1, abs=1e-6)
    assert found["finest regularity"] > 0.95
    against_flat = measures.picture_measure(network, style, content, flat)
    rounding = spectra.ROUNDING
    assert against_flat["finest luminance"] == pytest.approx(0.005 / rounding, rel=0.01)
    assert against_flat["finest regularity of the artwork"] == 0
    assert against_flat["rim of the photograph"] == measures.rim(measures.as_saved(content))


def test_a_red_and_green_grating_is_chroma(tiny_network):
    style = gallery.open("coffee", 128)
    coloured, wave = style.clone(), torch.tensor(grating(0.3, 0)).float() - 0.5
    coloured[0] += torch.stack([wave / 0.299, -wave / 0.587, 0 * wave])[:, : style.shape[2]] / 4
    found = measures.picture_measure(tiny_network(), coloured, style, style)
    assert found["finest luminance"] == pytest.approx(1, abs=0.15) and found["finest chroma"] > 2


def test_pictures_are_measured_as_saved(picture, tiny_network):
    assert set((255 * measures.as_saved(picture + 0.3)).round().unique().tolist()) <= set(
        range(256)
    )
    found = [
        measures.picture_measure(tiny_network(), image, picture, picture)
        for image in (picture + 0.3, measures.as_saved(picture + 0.3))
    ]
    assert found[0] == found[1]
