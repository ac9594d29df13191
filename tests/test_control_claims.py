"""What the paper on controls says of its figures: each claim holds where it should, or fails."""

import numpy as np
import pytest
import torch
from evidence import failing, fit, moved

from stylelab import gallery
from stylelab.figures import control_claims
from stylelab.figures import control_measures as of
from stylelab.networks import load

SIZE = 128


@pytest.fixture(scope="module")
def network():
    return load("vgg19-mini")


def top(image, _):
    """The uppermost third of a picture, three times."""
    return image[:, :, :43].repeat(1, 1, 3, 1)[:, :, :SIZE]


def luma(image):
    return torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114]), image)[:, None]


def recoloured(image, other, order=(0, 1, 2), root=False):
    """`image` with the mean and covariance of `other`, by Cholesky or by symmetric roots."""
    ours, theirs = (x[0, list(order)].flatten(1).double().numpy() for x in (image, other))
    factors = []
    for pixels in (ours, theirs):
        values, vectors = np.linalg.eigh(np.cov(pixels))
        symmetric = vectors @ np.diag(values**0.5) @ vectors.T
        factors.append(symmetric if root else np.linalg.cholesky(np.cov(pixels)))
    found = factors[1] @ np.linalg.inv(factors[0]) @ (ours - ours.mean(1, keepdims=True))
    found = torch.from_numpy(found + theirs.mean(1, keepdims=True)).float().clamp(0, 1)
    back = np.argsort(order)
    return found[list(back)].reshape(image.shape)


def colours():
    photo, art = (gallery.open(name, SIZE) for name in ("pagoda", "burning_dusk"))
    painted = fit(moved(art), photo)
    light = luma(painted)
    light = (light - light.mean()) / light.std() * luma(photo).std() + luma(photo).mean()
    panels = {"style": painted, "luminance": 0.5 * (photo - luma(photo)) + 0.25 + 0.5 * light}
    panels["match"] = recoloured(painted, photo, root=True)
    photo, art = 0.5 * photo + 0.25, art  # so that light and chroma together stay in [0, 1]
    panels["match"] = 0.5 * panels["match"] + 0.25
    return {"panels": panels, "images": {"content": photo, "style": art}}


def colour_matching():
    photo, art = (gallery.open(name, SIZE) for name in ("pagoda", "burning_dusk"))
    panels = {}
    for name, root in (("root", True), ("cholesky", False)):
        panels[name] = recoloured(art, photo, root=root)
        panels[f"{name}_reversed"] = recoloured(art, photo, (2, 1, 0), root)
    return {"panels": panels, "images": {"content": photo, "style": art}}


def upper(size, share=0.5, soft=1.0):
    """A mask `(1, 1, H, W)` of the upper part."""
    down = torch.arange(size[0]) + 0.5 - share * size[0]
    return (0.5 - down / soft).clamp(0, 1)[None, None, :, None].expand(1, 1, *size).contiguous()


def regions():
    sky_style, ground_style = (
        gallery.open(name, SIZE) for name in ("swirling_night", "bursting_composition")
    )
    sky = upper((96, SIZE))
    photo = 0.1 + 0.8 * sky.expand(1, 3, -1, -1)
    a, b = (fit(x, photo).roll(5, 3) for x in (sky_style, ground_style))

    def joined(above, below, mask):
        return mask * above + (1 - mask) * below

    soft = upper((96, SIZE), soft=6.0)
    panels = {
        "sky": sky.expand(1, 3, -1, -1),
        "guided": joined(a, b, soft),
        "pasted": joined(0.6 * a, 0.6 * b + 0.3, sky),
        "kept": joined(photo, b, sky),
        "gradual": joined(a, b, torch.linspace(1, 0, SIZE)),
    }
    images = {"content": photo, "sky style": sky_style, "ground style": ground_style}
    return {"panels": panels, "images": images}


def region_sources():
    art = gallery.open("burning_dusk", SIZE)
    mask = upper(art.shape[2:], 0.36).expand(1, 3, -1, -1)
    panels = {"sky": mask, "source_sky": mask, "guided": art.roll(5, 3), "free": art.flip(2)}
    return {"panels": panels, "images": {"style": art}}


def scales():
    panels = {}
    for scale in (0.5, 1, 2):
        art = gallery.open("swirling_night", int(SIZE * scale))
        panels |= {f"{scale}": moved(art)[:, :, :96, :SIZE], f"painting_{scale}": art}
    return {"panels": panels, "images": {}}


def strokes():
    forms, other = (gallery.open(name, SIZE) for name in ("swirling_night", "bursting_composition"))
    fine = forms + 0.2 * torch.randn(forms.shape, generator=torch.manual_seed(0))
    other = other.roll(7, 3)
    panels = {"mixed": fine, "mix": fine, "forms": forms, "strokes": other}
    return {"panels": panels, "images": {"forms": forms, "strokes": fine.flip(3)}}


def blends():
    first, second = (
        gallery.open(name, SIZE) for name in ("swirling_night", "bursting_composition")
    )
    a, b = fit(first, second), second
    panels = {"0": a}
    for share in (0.25, 0.5, 0.75):  # side by side, not laid over each other
        panels[f"{share}"] = torch.where(torch.arange(SIZE) < share * SIZE, b, a)
    return {"panels": panels | {"1": b}, "images": {"first": first, "second": second}}


GOOD = {
    "colours": colours,
    "colour_matching": colour_matching,
    "regions": regions,
    "region_sources": region_sources,
    "scales": scales,
    "strokes": strokes,
    "blends": blends,
}


def renamed(**names):
    """Panels that are those of other names."""

    def change(evidence):
        panels = evidence["panels"]
        return evidence | {"panels": panels | {a: panels[b] for a, b in names.items()}}

    return change


def replaced(panel, make):
    """A panel made of the old one and the evidence."""

    def change(evidence):
        new = {panel: make(evidence["panels"][panel], evidence)}
        return evidence | {"panels": evidence["panels"] | new}

    return change


def photo(_, evidence):
    return evidence["images"]["content"]


BROKEN = [  # figure, how it is broken, which of its claims then fail
    ("colours", replaced("style", photo), [0, 2]),
    ("colours", renamed(style="match"), [0, 2]),
    ("colours", renamed(luminance="style"), [1]),
    ("colours", renamed(match="style"), [2]),
    ("colours", replaced("luminance", photo), [3]),
    ("colours", replaced("match", photo), [3]),
    ("colour_matching", replaced("root", lambda _, e: e["images"]["style"]), [0, 1]),
    ("colour_matching", renamed(cholesky="root", cholesky_reversed="root"), [1]),
    ("colour_matching", renamed(root="cholesky", root_reversed="cholesky_reversed"), [1]),
    ("regions", replaced("guided", lambda x, _: x.flip(2)), [0, 1]),
    ("regions", renamed(guided="pasted", pasted="guided"), [0, 1, 2]),
    ("regions", replaced("kept", lambda x, _: x + 0.01), [3]),
    ("regions", replaced("kept", photo), [3]),
    ("regions", replaced("gradual", lambda x, _: x.flip(3)), [4]),
    ("region_sources", renamed(guided="free"), [0, 1]),
    ("region_sources", replaced("guided", top), [1]),
    ("scales", renamed(**{"0.5": "2", "2": "0.5"}), [0, 1]),
    ("scales", renamed(**{"1": "0.5"}), [0, 1]),
    ("strokes", renamed(mixed="forms"), [0]),
    ("strokes", replaced("mixed", lambda x, _: x.flip(3)), [0]),
    ("strokes", renamed(mix="strokes"), [1]),
    ("blends", renamed(**{"0.25": "0.75", "0.75": "0.25"}), [0]),
    ("blends", replaced("0.5", lambda _, e: (e["panels"]["0"] + e["panels"]["1"]) / 2), [0, 1]),
]


def test_every_figure_with_claims_is_tested():
    names = {each.__name__ for each in control_claims.ALL}
    assert set(GOOD) == names == {figure for figure, _, _ in BROKEN}


@pytest.mark.parametrize("figure", GOOD)
def test_claims_hold_of_what_they_describe(figure, network):
    assert not failing(figure, network, GOOD[figure]())


@pytest.mark.parametrize(("figure", "change", "expected"), BROKEN)
def test_a_broken_figure_fails_its_claim(figure, change, expected, network):
    found = failing(figure, network, change(GOOD[figure]()))
    assert list(found) == expected, found


def test_a_region_of_a_picture_has_the_style_of_the_same_pixels_alone(network):
    """At conv1_1, but for the column at the border, whose filters see the other region."""
    art, other = (gallery.open(name, 64)[:, :, :40] for name in ("storm", "coffee"))
    joined = torch.cat([art, other], 3)
    left = torch.zeros(1, 1, *joined.shape[2:])
    left[..., : art.shape[3]] = 1
    first = ("conv1_1",)
    assert of.region_style_distance(network, joined, left, art, None, first) < 0.02
    assert of.region_style_distance(network, joined, 1 - left, other, None, first) < 0.02
    assert of.region_style_distance(network, joined, left, other, None, first) > 0.2
    assert of.region_style_distance(network, joined, 0 * left, art, None, first) == 1


def test_a_seam_is_the_jump_across_a_border_over_the_jumps_beside_it():
    """A ramp with steps of 0.01, and one of 0.05 at the border."""
    row = torch.arange(40) * 0.01 + 0.04 * (torch.arange(40) >= 20)
    image = row.expand(1, 3, 30, 40)
    mask = (torch.arange(40) < 20).float().expand(1, 1, 30, 40)
    assert of.seam(image, mask) == pytest.approx(2 * 5, rel=0.03)  # no jumps from row to row
    assert of.seam(image, torch.ones_like(mask)) == 0


def test_chroma_leaves_out_light():
    image = torch.rand(1, 3, 20, 30, generator=torch.manual_seed(0)) * 0.5 + 0.25
    assert of.chroma_error(image + 0.1, image) < 1e-6
    bluer = image + torch.tensor([0.0, 0.0, 0.1])[:, None, None]
    # Pb is (B - Y) / 1.772 and Pr (R - Y) / 1.402, of which blue has 0.114 in Y
    expected = np.sqrt(((0.1 * 0.886 / 1.772) ** 2 + (0.1 * 0.114 / 1.402) ** 2) / 2)
    assert of.chroma_error(bluer, image) == pytest.approx(expected, rel=1e-3)


def test_a_palette_is_as_far_away_as_its_colours_must_move():
    """A shift moves every colour by its length; a stretch by s moves deviations by s - 1."""
    image = torch.rand(1, 3, 20, 30, generator=torch.manual_seed(0))
    assert of.palette_distance(image, image) == pytest.approx(0, abs=1e-5)
    assert of.palette_distance(image + 0.1, image) == pytest.approx(0.1 * 3**0.5, rel=1e-4)
    centre = image.mean((2, 3), keepdim=True)
    stretched = centre + 1.5 * (image - centre)
    expected = 0.5 * float(image[0].flatten(1).var(1).sum().sqrt())
    assert of.palette_distance(stretched, image) == pytest.approx(expected, rel=1e-4)


def test_the_style_of_greys_knows_neither_colour_nor_contrast(network):
    art = gallery.open("storm", 64)
    pale = 0.3 + 0.4 * luma(art).expand(-1, 3, -1, -1)
    assert of.grey_style_distance(network, pale, art) < 0.01
    assert of.grey_style_distance(network, moved(gallery.open("coffee", 64)), art) > 0.1


def test_a_picture_of_twice_the_size_has_strokes_of_twice_the_size():
    noise = torch.rand(1, 1, 64, 64, generator=torch.manual_seed(0)).expand(-1, 3, -1, -1)
    assert of.stroke_size(noise) == pytest.approx(0.5, abs=0.03)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1)
    twice = torch.nn.functional.interpolate(smooth, scale_factor=2, mode="bilinear")
    assert of.stroke_size(twice) == pytest.approx(2 * of.stroke_size(smooth), rel=0.25)
