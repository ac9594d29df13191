"""What the paper says about each of its figures, as statements that can be checked by numbers.

Claims are computed from the pictures of a figure and the images they were made from, and are kept
in the figure's record. `stylelab verify` computes them again from the saved pictures.
"""

import itertools
import statistics
from collections.abc import Iterator, Sequence

from stylelab.figures import control_claims, measures
from stylelab.figures.evidence import Claim, Evidence, falls, rises
from stylelab.vgg import STYLE_LAYERS


def check(figure: str, evidence: Evidence) -> list[Claim]:
    """The paper's claims about `figure`; empty for a figure about which it claims nothing."""
    return list(CLAIMS[figure](evidence)) if figure in CLAIMS else []


def features(e: Evidence) -> Iterator[Claim]:
    shift, moved = e.facts["gram_shift"], e.facts["feature_shift"]
    yield Claim(
        "A Gram matrix forgets position: shuffled feature maps differ (by over 0.5), their "
        "Gram matrix does not (by under 1e-5)",
        {"Gram matrix": [shift], "feature maps": [moved]},
        shift < 1e-5 and moved > 0.5,
    )
    yield e.fact_below("rescaling", 1e-4, "Rescaling changes nothing but a factor for each filter")


def figure1_content(e: Evidence) -> Iterator[Claim]:
    kinds = measures.pixel_error, measures.ssim, measures.edge_agreement, measures.detail_agreement
    errors, ssims, edges, details = (e.each(measure, "content") for measure in kinds)
    yield Claim(
        "Pixel error grows from (a) to (e), from each to the next within a tenth",
        {"RMS pixel error": errors},
        rises(errors, 0.1),
    )
    yield Claim("Structural similarity falls from (a) to (e)", {"SSIM": ssims}, falls(ssims))
    yield Claim(
        "(a) to (c) are almost perfect: their edges agree with the photograph's, at least 0.95",
        {"edge agreement": edges},
        min(edges[:3]) >= 0.95,
    )
    yield Claim(
        "In (d) and (e) what is where is kept, edge agreement at least 0.5, and detail is lost: "
        "agreement of detail falls from (a) to (e), to below 0.3 in (d)",
        {"edge agreement": edges[3:], "agreement of detail": details},
        min(edges[3:]) >= 0.5 and falls(details) and details[3] < 0.3,
    )


def figure1_style(e: Evidence) -> Iterator[Claim]:
    style = [e.style(panel) for panel in e.panels]
    pairs = zip(e.panels, STYLE_LAYERS, strict=False)
    matched = [e.style(panel, up_to=layer) for panel, layer in pairs]
    placed = e.each(measures.correlation, "style")
    yield Claim(
        "The style distance over all five layers falls as layers are added",
        {"style distance": style},
        falls(style),
    )
    yield Claim(
        "Each picture has the style asked for: style distance over its layers at most 0.05",
        {"style distance": matched},
        max(matched) <= 0.05,
    )
    yield Claim(
        "The arrangement is discarded: correlation with the artwork stays below 0.3",
        {"correlation": placed},
        max(map(abs, placed)) < 0.3,
    )


def figure2(e: Evidence) -> Iterator[Claim]:
    yield e.fact_below("gradient_error", 1e-6, "Equations 2 and 6 are the gradients of 1 and 4")
    yield e.fact_below("finite_difference", 1e-4, "The gradient followed is the slope of the loss")
    yield e.fact_below("first_loss", 1e-5, "`transfer` begins with the loss computed by hand")
    yield e.fact_below("package_difference", 1e-4, "`transfer` ends with the picture made by hand")


def figure3(e: Evidence) -> Iterator[Claim]:
    own = [e.style(panel, panel) for panel in e.panels]
    others = [min(e.style(a, b) for b in e.panels if b != a) for a in e.panels]
    kept = e.each(measures.edge_agreement, "content")
    yield Claim(
        "Each picture is nearer in style to its artwork than to the others",
        {"to its own": own, "to the nearest other": others},
        all(a < b for a, b in zip(own, others, strict=True)),
    )
    yield Claim(
        "The photograph's arrangement stays: edge agreement above 0.2",
        {"edge agreement": kept},
        min(kept) > 0.2,
    )


def _tradeoff(e: Evidence, panels: Sequence[str], deepest: str | None = None) -> Claim:
    """Over all style layers; or over those up to `deepest`, with a tenth of slack."""
    content = [e.content(panel) for panel in panels]
    style = [e.style(panel, up_to=deepest or STYLE_LAYERS[-1]) for panel in panels]
    over, within, slack = "", "", 0.0
    if deepest:
        over, within = f" (up to {deepest})", ", from each ratio to the next within a tenth"
        slack = 0.1
    return Claim(
        f"As alpha/beta rises, content distance falls and style distance{over} rises{within}",
        {"content distance": content, "style distance": style},
        falls(content, slack) and rises(style, slack),
    )


def figure4(e: Evidence) -> Iterator[Claim]:
    edges = e.each(measures.edge_agreement, "content")
    ends = [edges[0], edges[-1]]
    yield _tradeoff(e, list(e.panels))
    yield Claim(
        "From the artwork's texture (edge agreement with the photograph below 0.2) to the "
        "photograph (above 0.3)",
        {"edge agreement": ends},
        ends[0] < 0.2 and ends[1] > 0.3,
    )


def preprint_figure3(e: Evidence) -> Iterator[Claim]:
    rows: dict[str, list[str]] = {}
    for panel in e.panels:
        rows.setdefault(panel.rsplit("_", 1)[0], []).append(panel)
    for row, panels in rows.items():
        yield _tradeoff(e, panels, row)
    style = [e.style(row[0]) for row in rows.values()]  # the column of the smallest ratio
    yield Claim(
        "At the smallest alpha/beta, the style distance over all five layers falls as layers "
        "are added",
        {"style distance": style},
        falls(style),
    )


def figure5(e: Evidence) -> Iterator[Claim]:
    kinds = {"correlation": measures.correlation, "SSIM": measures.ssim}
    values = {name: e.each(measure, "content") for name, measure in kinds.items()}
    yield Claim(
        "Matching conv2_2 keeps more of the photograph's pixels than matching conv4_2",
        values,
        all(lower > higher for lower, higher in values.values()),
    )


def figure6(e: Evidence) -> Iterator[Claim]:
    terms = e.results["transfers"]["best"].values()
    losses = [sum(values) for values in zip(*terms, strict=True)]
    spread = max(losses) / min(losses)
    noise = [panel for name, panel in e.panels.items() if name.startswith("noise")]
    pairs = [*itertools.combinations(noise, 2)]
    apart = sorted(measures.pixel_error(a, b) for a, b in pairs)
    style = max(measures.style_distance(e.network, a, b, STYLE_LAYERS) for a, b in pairs)
    differences = [apart[0], statistics.mean(apart), apart[-1]]
    yield Claim(
        "All starts end at about the same loss: within a factor of 2.5",
        {"final loss": losses, "largest over smallest": [spread]},
        spread < 2.5,
    )
    yield Claim(
        "Each white noise gives another picture (pixels differ by over 0.05) of the same style "
        "(distance under 0.1)",
        {"RMS pixel difference": differences, "style distance": [style]},
        apart[0] > 0.05 and style < 0.1,
    )


def figure7(e: Evidence) -> Iterator[Claim]:
    (edges,), (other,) = (e.each(measures.edge_agreement, part) for part in ("content", "style"))
    (after,) = e.each(measures.colour_distance, "style")
    day, night = e.images["content"], e.images["style"]
    before = measures.colour_distance(day, night)
    (light,) = e.each(measures.brightness_distance, "style")
    (sky,) = e.each(measures.sky_light, "content")
    daylight = measures.brightness_distance(day, night)
    yield Claim(
        "Horizon and buildings stay: edges agree with the photograph by day (above 0.3), more "
        "than with the one by night",
        {"by day": [edges], "by night": [other]},
        edges > 0.3 and edges > other,
    )
    yield Claim(
        "Colours become those of the night: their distance to it falls to under a quarter",
        {"before": [before], "after": [after]},
        after < 0.25 * before,
    )
    yield Claim(
        "Its dark and light are the night's: the distance of brightness falls to under a quarter",
        {"before": [daylight], "after": [light]},
        light < 0.25 * daylight,
    )
    yield Claim(
        "The sky goes dark: what was the brightest third of the day keeps under 0.3 of its light",
        {"share of light": [sky]},
        sky < 0.3,
    )


def textures(e: Evidence) -> Iterator[Claim]:
    for part in ("stones", "wall"):
        style = [e.style(f"{part}{depth}", part) for depth in (1, 3, 5)]
        yield Claim(
            f"The more layers, the nearer to the {part}: the style distance falls, to at most 0.05",
            {"style distance": style},
            style[0] > style[1] > style[2] and style[2] <= 0.05,
        )
    plain, shifted = (
        measures.pattern_agreement(e.panels[panel], e.images["wall"])
        for panel in ("wall5", "shifted")
    )
    yield Claim(
        "Gram matrices lose the pattern of the wall: it agrees by less than 0.5",
        {"agreement of the pattern": [plain]},
        plain < 0.5,
    )
    yield Claim(
        "Gram matrices of shifted features keep most of it: more than 0.6",
        {"agreement of the pattern": [shifted]},
        shifted > 0.6,
    )


def large_pictures(e: Evidence) -> Iterator[Claim]:
    same = "the gradient in two passes is that of the whole picture, but for rounding"
    yield e.fact_below("two passes", 1e-4, f"By hand: {same}")
    yield e.fact_below("package", 1e-4, f"By the package: {same}")
    alone = e.facts["each alone"]
    yield Claim(
        "The gradients of strips, each alone, are not (more than 0.3 apart)",
        {"each alone": [alone]},
        alone > 0.3,
    )
    passes, strips = (
        float((e.panels[panel] - e.panels["whole"]).abs().mean()) for panel in ("passes", "strips")
    )
    nudged = e.facts["nudged"]
    yield Claim(
        "Two passes make the picture of the whole, as nearly as a run at once from a start a "
        "millionth darker (up to three times as far); strips make another, over three times as far",
        {"nudged": [nudged], "two passes": [passes], "strips": [strips]},
        passes < 3 * nudged and strips > 3 * passes,
    )


def beyond(e: Evidence) -> Iterator[Claim]:
    yield e.fact_below(
        "discrepancy", 1e-5, "The Gram loss is the mean discrepancy with the kernel (x · y)²"
    )
    before = measures.style_distance(
        e.network, e.images["content"], e.images["style"], STYLE_LAYERS
    )
    after = [e.style(kind) for kind in ("gram", "covariance", "wasserstein", "sliced")]
    yield Claim(
        "Each statistic carries the style over: the style distance falls to under half",
        {"photograph": [before], "transfers": after},
        max(after) < before / 2,
    )
    kept = e.each(measures.edge_agreement, "content")
    yield Claim(
        "Each keeps the photograph: edges agree by more than 0.2", {"edges": kept}, min(kept) > 0.2
    )


_ALL = [features, figure1_content, figure1_style, figure2, figure3, figure4]
_ALL += [preprint_figure3, figure5, figure6, figure7, textures, large_pictures, beyond]
_ALL += control_claims.ALL
CLAIMS = {claims.__name__: claims for claims in _ALL}  # by the name of the figure
