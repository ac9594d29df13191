"""What the authors' second paper says of its figures, as statements that can be checked.

Gatys et al., Controlling Perceptual Factors in Neural Style Transfer (2017): regions (section 4),
colours (section 5), scale (section 6). `stylelab.figures.claims` has those of the first paper.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from stylelab.figures import control_measures as of
from stylelab.figures import measures
from stylelab.figures.evidence import Claim, Evidence, falls, rises
from stylelab.vgg import STYLE_LAYERS

FINE, COARSE = ("conv1_1", "conv2_1"), ("conv4_1", "conv5_1")


def colours(e: Evidence) -> Iterator[Claim]:
    photograph, painting = e.images["content"], e.images["style"]
    style, luminance, match = (e.panels[name] for name in ("style", "luminance", "match"))
    to_painting, to_photograph = (of.palette_distance(style, x) for x in (painting, photograph))
    yield Claim(
        "Without control the picture has the painting's colours: they are nearer than the "
        "photograph's",
        {"to the painting's": [to_painting], "to the photograph's": [to_photograph]},
        to_painting < to_photograph,
    )
    chroma = of.chroma_error(luminance, photograph)
    yield Claim(
        "Transfer in luminance keeps the photograph's chroma (root mean square error under 0.01)",
        {"chroma error": [chroma]},
        chroma < 0.01,
    )
    matched = of.palette_distance(match, photograph)
    yield Claim(
        "A painting with the photograph's colours gives a picture with the photograph's colours: "
        "under a third of the distance without control",
        {"distance": [matched]},
        matched < to_photograph / 3,
    )
    before = of.grey_style_distance(e.network, photograph, painting)
    after = [of.grey_style_distance(e.network, each, painting) for each in (luminance, match)]
    yield Claim(
        "Both are painted: in grey, their style is at under half of the photograph's distance from "
        "the painting's",
        {"photograph": [before], "luminance, match": after},
        max(after) < before / 2,
    )


def colour_matching(e: Evidence) -> Iterator[Claim]:
    photograph, painting = e.images["content"], e.images["style"]
    before = of.palette_distance(painting, photograph)
    names = "root", "cholesky", "cholesky_reversed"
    after = [of.palette_distance(e.panels[name], photograph) for name in names]
    yield Claim(
        "Each recolouring gives the painting the photograph's mean and covariance. Under a quarter "
        "of the distance is left: some colours leave the range from 0 to 1, and are cut off there",
        {"before": [before], "after": after},
        max(after) < before / 4,
    )
    root, cholesky = (
        measures.pixel_error(e.panels[f"{name}_reversed"], e.panels[name])
        for name in ("root", "cholesky")
    )
    yield Claim(
        "With the channels in reverse order the root gives the same colours (to 0.005), Cholesky's "
        "factor others (by over 0.03)",
        {"root": [root], "Cholesky": [cholesky]},
        root < 0.005 and cholesky > 0.03,
    )


def regions(e: Evidence) -> Iterator[Claim]:
    sky = e.panels["sky"][:, :1]
    ground = 1 - sky

    def to(panel: str, region: Tensor, part: str) -> float:
        return of.region_style_distance(e.network, e.panels[panel], region, e.images[part])

    own = [to("guided", sky, "sky style"), to("guided", ground, "ground style")]
    other = [to("guided", sky, "ground style"), to("guided", ground, "sky style")]
    yield Claim(
        "Sky and ground each have their own style: at under half of the distance of the other",
        {"to its own": own, "to the other": other},
        all(a < b / 2 for a, b in zip(own, other, strict=True)),
    )
    pasted = [to("pasted", sky, "sky style"), to("pasted", ground, "ground style")]
    yield Claim(
        "Each part is nearer in style than a part cut out of a whole transfer",
        {"guided": own, "cut out": pasted},
        all(a < b for a, b in zip(own, pasted, strict=True)),
    )
    seams = {name: [of.seam(e.panels[name], sky)] for name in ("guided", "pasted")}
    seams["photograph"] = [of.seam(e.images["content"], sky)]
    yield Claim(
        "The border shows less than a pasted one, and no more than in the photograph",
        seams,
        seams["guided"] < min(seams["pasted"], seams["photograph"]),
    )
    change = (e.panels["kept"] - measures.as_saved(e.images["content"])).abs()
    untouched, painted = float(change[(sky == 1).expand_as(change)].max()), float(change.mean())
    yield Claim(
        "Where no mask is white the photograph stays (no value differs by over 1/255), and "
        "elsewhere it is painted",
        {"largest difference in the sky": [untouched], "mean of all": [painted]},
        untouched < 1.1 / 255 and painted > 0.02,
    )
    left = torch.zeros_like(sky)
    left[..., : sky.shape[3] // 3] = 1
    parts = "sky style", "ground style"
    ends = [[to("gradual", end, part) for part in parts] for end in (left, left.flip(3))]
    yield Claim(
        "A soft mask lets one style go over into another: the left third is nearer to the one, the "
        "right third to the other",
        {"left third, to each": ends[0], "right third, to each": ends[1]},
        ends[0][0] < ends[0][1] and ends[1][1] < ends[1][0],
    )


def region_sources(e: Evidence) -> Iterator[Claim]:
    sky, source = e.panels["sky"][:, :1], e.panels["source_sky"][:, :1]
    places = {"sky": (sky, source), "ground": (1 - sky, 1 - source)}
    for place, (here, there) in places.items():
        guided, free = (
            of.region_style_distance(e.network, e.panels[name], here, e.images["style"], there)
            for name in ("guided", "free")
        )
        yield Claim(
            f"With guides the {place} is nearer in style to the painting's {place}: at under half "
            "of the distance without",
            {"guided": [guided], "without": [free]},
            guided < free / 2,
        )


def scales(e: Evidence) -> Iterator[Claim]:
    names = [name for name in e.panels if not name.startswith("painting")]
    sizes = [of.stroke_size(e.panels[name]) for name in names]
    yield Claim("The larger the painting, the larger the strokes", {"pixels": sizes}, rises(sizes))
    paintings = [e.panels[f"painting_{name}"] for name in names]
    apart = [
        [measures.style_distance(e.network, e.panels[name], x, STYLE_LAYERS) for x in paintings]
        for name in names
    ]
    yield Claim(
        "Each picture is nearest in style to the painting at its own size",
        {f"{name}, to each": row for name, row in zip(names, apart, strict=True)},
        all(row[i] == min(row) for i, row in enumerate(apart)),
    )


def strokes(e: Evidence) -> Iterator[Claim]:
    forms, other = e.images["forms"], e.images["strokes"]

    def layers(panel: str, part: Tensor, which: tuple[str, ...]) -> float:
        return measures.style_distance(e.network, e.panels[panel], part, which)

    mixed = layers("mixed", other, FINE)
    before = measures.style_distance(e.network, forms, other, FINE)
    kept = measures.edge_agreement(e.panels["mixed"], forms)
    yield Claim(
        "The mixed style has the strokes of the one (under a tenth of the distance at conv1_1 and "
        "conv2_1 is left) and the forms of the other (edge agreement above 0.3)",
        {"before": [before], "after": [mixed], "edge agreement": [kept]},
        mixed < before / 10 and kept > 0.3,
    )
    fine = [layers(name, other, FINE) for name in ("forms", "mix")]
    coarse = [layers(name, forms, COARSE) for name in ("strokes", "mix")]
    yield Claim(
        "The picture has both: finer layers nearer to the strokes than with the forms' painting "
        "alone, deeper ones nearer to the forms than with the strokes' painting alone",
        {"fine, forms alone and mixed": fine, "coarse, strokes alone and mixed": coarse},
        falls(fine) and falls(coarse),
    )


def blends(e: Evidence) -> Iterator[Claim]:
    first, second = ([e.style(name, part) for name in e.panels] for part in ("first", "second"))
    yield Claim(
        "With the weight of the second style the distance to the first rises, that to it falls",
        {"to the first": first, "to the second": second},
        rises(first) and falls(second),
    )
    names = list(e.panels)
    laid_over = (e.panels[names[0]] + e.panels[names[-1]]) / 2
    middle = len(names) // 2
    parts = [e.images[part] for part in ("first", "second")]
    overlay = [measures.style_distance(e.network, laid_over, x, STYLE_LAYERS) for x in parts]
    yield Claim(
        "A blend is more than both pictures laid over each other: its style distances sum to less",
        {"blend": [first[middle], second[middle]], "laid over": overlay},
        first[middle] + second[middle] < sum(overlay),
    )


ALL = [colours, colour_matching, regions, region_sources, scales, strokes, blends]
