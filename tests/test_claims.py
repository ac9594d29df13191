"""What the paper says of its figures: each claim holds where it should, and fails when broken."""

import pytest
import torch
from evidence import failing, fit, judged, moved

from stylelab import gallery, objective, synthesis
from stylelab.figures import claims, control_claims
from stylelab.networks import load
from stylelab.vgg import STYLE_LAYERS

SIZE = 64


@pytest.fixture(scope="module")
def network():
    return load("vgg19-mini")


def open_(name):
    return gallery.open(name, SIZE)


def noise(strength, like, seed=0):
    return strength * torch.randn(like.shape, generator=torch.manual_seed(seed))


def blend(a, b, share):
    """`share` of b in a."""
    return (1 - share) * a + share * b


def content_reconstructions():
    photo = open_("coffee")
    panels = {k: photo + noise(s, photo) for k, s in zip("abcde", (0, 0.02, 0.04, 0.26, 0.4))}  # noqa: B905
    return {"panels": panels, "images": {"content": photo}}


def style_reconstructions():
    art = open_("swirling_night")[..., :16, :16].repeat(1, 1, 8, 8)
    start, painted = 0.5 + noise(0.05, art), art.roll((8, 8), (2, 3))
    shares = (0.99, 0.9925, 0.995, 0.9975, 1.0)
    panels = {k: blend(start, painted, s) for k, s in zip("abcde", shares, strict=True)}
    return {"panels": panels, "images": {"style": art}}


def transfers():
    photo = open_("pagoda")
    images = {"content": photo}
    images |= {
        "B": open_("storm"),
        "C": open_("swirling_night"),
        "D": open_("bursting_composition"),
    }
    panels = {k: fit(moved(images[k]), photo) + 0.5 * (photo - photo.mean()) for k in "BCD"}
    return {"panels": panels, "images": images}


def tradeoff():
    photo, art = 0.4 + 0.2 * open_("pagoda"), open_("bursting_composition")
    texture = fit(moved(art), photo)
    shares = {"1e-04": 0.05, "1e-03": 0.4, "1e-02": 0.7, "1e-01": 0.95}
    panels = {k: blend(texture, photo, s) for k, s in shares.items()}
    return {"panels": panels, "images": {"content": photo, "style": art}}


def matrix():
    photo, art = 0.4 + 0.2 * open_("pagoda"), open_("bursting_composition")
    texture, grey = fit(moved(art), photo), torch.full_like(photo, 0.5)
    panels = {}
    for i, layer in enumerate(STYLE_LAYERS[:3]):
        painted = blend(grey, texture, 0.4 + 0.3 * i)
        for ratio, share in (("1e-05", 0.05), ("1e-04", 0.5), ("1e-03", 0.95)):
            panels[f"{layer}_{ratio}"] = blend(painted, photo, share)
    return {"panels": panels, "images": {"content": photo, "style": art}}


def content_layers():
    photo = open_("coffee")
    panels = {"conv2_2": photo + noise(0.05, photo), "conv4_2": photo + noise(0.3, photo)}
    return {"panels": panels, "images": {"content": photo}}


def initialisations():
    art = open_("swirling_night")
    panels = {"content": art, "style": art}
    panels |= {f"noise{i}": art.roll(5 * i, 3) for i in range(4)}
    best = {"content conv4_2": [1.0, 1.0, 1.2, 1.1, 1.0, 1.3], "style conv1_1": [0.5] * 6}
    return {"panels": panels, "images": {}, "results": {"transfers": {"best": best}}}


def photorealistic():
    day, night = open_("pagoda"), open_("rocket")
    mean, deviation = (
        torch.stack([getattr(x, name)((2, 3), keepdim=True) for x in (day, night)])
        for name in ("mean", "std")
    )
    result = (day - mean[0]) * deviation[1] / deviation[0] + mean[1]
    return {"panels": {"result": result}, "images": {"content": day, "style": night}}


def textures():
    images = {"stones": open_("gravel"), "wall": dots(0)}
    panels = {"stones5": images["stones"].roll((20, 30), (2, 3)), "wall5": dots(2)}
    panels["shifted"] = images["wall"].roll((3, 5), (2, 3))
    for part, image in images.items():
        start = 0.5 + noise(0.05, image)
        panels |= {f"{part}{d}": blend(start, moved(image), s) for d, s in ((1, 0.3), (3, 0.8))}
    return {"panels": panels, "images": images}


def dots(astray):
    """Rows of bright squares, each up to `astray` pixels from its place."""
    maker, image = torch.Generator().manual_seed(1), torch.full((1, 3, SIZE, SIZE), 0.4)
    for y in range(4, SIZE, 10):
        for x in range(4, SIZE, 10):
            down, right = (astray * (2 * torch.rand(2, generator=maker) - 1)).round().int().tolist()
            image[..., y + down - 1 : y + down + 2, x + right - 1 : x + right + 2] = 0.9
    return image


def large_pictures():
    whole = open_("pagoda")
    panels = {"whole": whole, "passes": whole + noise(0.001, whole), "strips": moved(whole)}
    facts = {"two passes": 1e-6, "package": 1e-6, "each alone": 1.0, "nudged": 1e-3}
    return {"panels": panels, "images": {}, "facts": facts}


def beyond():
    photo, art = open_("pagoda"), open_("bursting_composition")
    mixed = fit(moved(art), photo) + 0.6 * (photo - photo.mean())
    panels = dict.fromkeys(("gram", "covariance", "wasserstein", "sliced"), mixed)
    images = {"content": photo, "style": art}
    return {"panels": panels, "images": images, "facts": {"discrepancy": 1e-12}}


GOOD = {
    "features": lambda: {"facts": {"gram_shift": 1e-7, "feature_shift": 1.2, "rescaling": 1e-6}},
    "figure1_content": content_reconstructions,
    "figure1_style": style_reconstructions,
    "figure2": lambda: {
        "facts": dict.fromkeys(
            ("gradient_error", "finite_difference", "first_loss", "package_difference"), 0.0
        )
    },
    "figure3": transfers,
    "figure4": tradeoff,
    "preprint_figure3": matrix,
    "figure5": content_layers,
    "figure6": initialisations,
    "figure7": photorealistic,
    "textures": textures,
    "large_pictures": large_pictures,
    "beyond": beyond,
}


def reordered(evidence):
    """The same panels under each other's names, in reverse."""
    names = list(evidence["panels"])
    pictures = reversed(list(evidence["panels"].values()))
    return evidence | {"panels": dict(zip(names, pictures, strict=True))}


def larger_ratios_exchanged(evidence):
    """The two columns of the larger ratios under each other's names; the first one stays."""
    other = {"1e-05": "1e-05", "1e-04": "1e-03", "1e-03": "1e-04"}
    panels = evidence["panels"]
    places = {name: name.rsplit("_", 1) for name in panels}
    exchanged = {name: panels[f"{row}_{other[at]}"] for name, (row, at) in places.items()}
    return evidence | {"panels": exchanged}


def replaced(**pictures):
    """Some panels replaced by what a function makes of the evidence."""

    def change(evidence):
        new = {name: make(evidence) for name, make in pictures.items()}
        return evidence | {"panels": evidence["panels"] | new}

    return change


def facts(**numbers):
    return lambda evidence: evidence | {"facts": evidence["facts"] | numbers}


def photo(evidence):
    return evidence["images"]["content"]


def losses(values):
    def change(evidence):
        return evidence | {"results": {"transfers": {"best": {"content conv4_2": values}}}}

    return change


BROKEN = [  # figure, how it is broken, which of its claims then fail
    ("features", facts(gram_shift=1e-3), [0]),
    ("features", facts(feature_shift=0.1), [0]),
    ("figure1_content", reordered, [0, 1, 2, 3]),
    ("figure1_content", replaced(c=lambda e: photo(e) + noise(0.18, photo(e))), [2]),
    ("figure1_content", replaced(d=lambda e: photo(e) + noise(0.05, photo(e))), [3]),
    ("figure1_style", reordered, [0]),
    ("figure1_style", replaced(a=lambda e: e["panels"]["a"] ** 2), [1]),
    ("figure1_style", replaced(e=lambda e: e["images"]["style"]), [2]),
    ("features", facts(rescaling=1e-2), [1]),
    ("figure2", facts(gradient_error=1e-3), [0]),
    ("figure2", facts(finite_difference=1e-3, first_loss=1e-3), [1, 2]),
    ("figure2", facts(package_difference=1e-3), [3]),
    ("figure3", reordered, [0]),
    ("figure3", replaced(B=lambda e: e["panels"]["B"].roll((20, 30), (2, 3))), [1]),
    ("figure4", reordered, [0, 1]),
    ("figure4", replaced(**{"1e-01": lambda e: e["panels"]["1e-03"]}), [0, 1]),
    ("preprint_figure3", larger_ratios_exchanged, [0, 1, 2]),
    (
        "preprint_figure3",
        replaced(**{"conv3_1_1e-05": lambda e: e["panels"]["conv1_1_1e-05"]}),
        [2, 3],
    ),
    ("preprint_figure3", replaced(**{"conv2_1_1e-04": photo}), [1]),
    ("figure5", reordered, [0]),
    ("figure6", losses([1.0, 1.0, 1.0, 1.0, 1.0, 2.6]), [0]),
    ("figure6", replaced(noise1=lambda e: e["panels"]["noise0"]), [1]),
    ("figure6", replaced(noise1=lambda e: 1 - e["panels"]["noise1"]), [1]),
    ("figure7", replaced(result=photo), [1, 2, 3]),
    ("figure7", replaced(result=lambda e: blend(e["panels"]["result"], photo(e), 0.5)), [1, 2, 3]),
    ("figure7", replaced(result=lambda e: e["images"]["style"]), [0]),
    ("textures", replaced(stones5=lambda e: e["panels"]["stones1"]), [0]),
    ("textures", replaced(wall3=lambda e: e["panels"]["wall1"]), [1]),
    ("textures", replaced(wall5=lambda e: e["images"]["wall"]), [2]),
    ("textures", replaced(shifted=lambda e: e["panels"]["wall5"]), [3]),
    ("large_pictures", facts(**{"two passes": 1e-3}), [0]),
    ("large_pictures", facts(package=1e-3), [1]),
    ("large_pictures", facts(**{"each alone": 0.1}), [2]),
    ("large_pictures", facts(nudged=1e-6), [3]),
    ("large_pictures", replaced(strips=lambda e: e["panels"]["passes"]), [3]),
    ("large_pictures", replaced(passes=lambda e: e["panels"]["strips"]), [3]),
    ("beyond", facts(discrepancy=1e-3), [0]),
    ("beyond", replaced(sliced=photo), [1]),
    ("beyond", replaced(gram=lambda e: fit(moved(e["images"]["style"]), photo(e))), [2]),
]


def test_every_figure_with_claims_is_tested():
    others = {each.__name__ for each in control_claims.ALL}  # in test_control_claims.py
    assert set(GOOD) == set(claims.CLAIMS) - others == {figure for figure, _, _ in BROKEN}


@pytest.mark.parametrize("figure", GOOD)
def test_claims_hold_of_what_they_describe(figure, network):
    assert not failing(figure, network, GOOD[figure]())


@pytest.mark.parametrize(("figure", "change", "expected"), BROKEN)
def test_a_broken_figure_fails_its_claim(figure, change, expected, network):
    found = failing(figure, network, change(GOOD[figure]()))
    assert list(found) == expected, found


def test_night_is_measured_in_brightness_and_in_light(network):
    """A white sky above black ground goes grey, and grey of 0.5 has 0.214 of white's light."""
    day = torch.zeros(1, 3, 48, 64)
    day[..., :16, :] = 1.0
    night = torch.zeros(1, 3, 48, 64)
    evidence = {"panels": {"result": day / 2}, "images": {"content": day, "style": night}}
    *_, brightness, sky = judged("figure7", network, evidence)
    assert sky.values["share of light"] == [pytest.approx(0.2140, abs=1e-4)] and sky.holds
    before, after = brightness.values["before"][0], brightness.values["after"][0]
    assert before == pytest.approx(1 / 3, abs=0.01) and after == pytest.approx(before / 2)
    assert not brightness.holds
    moved_night = {"images": {"content": day, "style": moved(day / 2)}}
    *_, brightness, _ = judged("figure7", network, evidence | moved_night)
    assert brightness.values["after"] == [pytest.approx(0, abs=1e-6)] and brightness.holds


def test_a_figure_of_which_nothing_is_claimed(network):
    assert judged("compare", network, {}) == []


GRAM = objective.gram_matrix
GRAMS = {
    "right": GRAM,
    "zero": lambda f, r, _: 0 * GRAM(f, r),
    "only the diagonal": lambda f, r, _: GRAM(f, r) * torch.eye(len(r)),
    "of mean activations": lambda f, r, _: GRAM(f.mean((2, 3), keepdim=True).expand_as(f), r),
}


@pytest.mark.parametrize("gram", GRAMS)
def test_a_broken_gram_matrix_fails_the_claims_of_a_real_run(network, monkeypatch, gram):
    """Claims measure style on their own, not with the function that the optimisation used."""
    monkeypatch.setattr(objective, "gram_matrix", GRAMS[gram])
    art = open_("swirling_night")
    subsets = [STYLE_LAYERS[: i + 1] for i in range(5)]
    result = synthesis.reconstruct_style(network, art, subsets, steps=40, progress=False)
    panels = {name: image[None] for name, image in zip("abcde", result.images, strict=True)}
    found = judged("figure1_style", network, {"panels": panels, "images": {"style": art}})
    assert all(claim.holds for claim in found) is (gram == "right"), found
