"""What the paper says about each of its figures, as numbers that a rendering has or has not.

Claims are computed from the pictures of a figure and what they were made from, and stand in the
figure's record. `stylelab verify` computes them again from the saved pictures.
"""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from stylelab.figures import measures
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the numbers it is judged by, and whether it holds."""

    statement: str
    values: dict[str, list[float]]
    holds: bool


@dataclass(frozen=True)
class Evidence:
    """What claims are judged by.

    Attributes:
        network: the figure's network.
        panels: its pictures by name, `(1, 3, H, W)` in [0, 1].
        images: what they were made from, by part: "content", "style", ...
        settings: what was asked for, as in the record.
        results: losses of the optimisations, as in the record.
        facts: numbers that the notebook measured and pictures cannot show.
    """

    network: VGG
    panels: Mapping[str, Tensor]
    images: Mapping[str, Tensor]
    settings: Mapping[str, object] = field(default_factory=dict)
    results: Mapping[str, Mapping] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    def style(self, panel: str, style: str = "style", up_to: str = STYLE_LAYERS[-1]) -> float:
        """Style distance of a panel to the image playing the part `style`, up to a layer."""
        asked = STYLE_LAYERS[: STYLE_LAYERS.index(up_to) + 1]
        layers = [layer for layer in asked if layer in self.network.layers]
        return measures.style_distance(self.network, self.panels[panel], self.images[style], layers)

    def content(self, panel: str) -> float:
        """Content distance of a panel to the content image, at conv4_2."""
        image = self.images["content"]
        return measures.content_distance(self.network, self.panels[panel], image, CONTENT_LAYER)


CLAIMS: dict[str, Callable[[Evidence], list[Claim]]] = {}


def _about(figure: str):
    """Register a function as what the paper claims about `figure`."""

    def register(judge: Callable[[Evidence], list[Claim]]):
        CLAIMS[figure] = judge
        return judge

    return register


def check(figure: str, evidence: Evidence) -> list[Claim]:
    """The paper's claims about `figure`; empty for a figure of which it claims nothing."""
    return CLAIMS[figure](evidence) if figure in CLAIMS else []


def _rises(values: Sequence[float], slack: float = 0.0) -> bool:
    """Each is above the one before, or by no more than the share `slack` below it."""
    steps = all(b > a * (1 - slack) for a, b in itertools.pairwise(values))
    return steps and values[-1] > values[0]


def _falls(values: Sequence[float], slack: float = 0.0) -> bool:
    return _rises(list(reversed(values)), slack)


def _under(e: Evidence, fact: str, bound: float, statement: str) -> Claim:
    value = e.facts[fact]
    return Claim(f"{statement} (under {bound:g})", {fact: [value]}, value < bound)


@_about("features")
def _features(e: Evidence) -> list[Claim]:
    shift, moved = e.facts["gram_shift"], e.facts["feature_shift"]
    return [
        Claim(
            "A Gram matrix forgets position: shuffled feature maps differ (by over 0.5), their "
            "Gram matrix does not (by under 1e-5)",
            {"Gram matrix": [shift], "feature maps": [moved]},
            shift < 1e-5 and moved > 0.5,
        ),
        _under(e, "rescaling", 1e-4, "Rescaling changes nothing but a factor for each filter"),
    ]


@_about("figure1_content")
def _content_reconstructions(e: Evidence) -> list[Claim]:
    photograph = e.images["content"]
    errors = [measures.pixel_error(panel, photograph) for panel in e.panels.values()]
    ssims = [measures.ssim(panel, photograph) for panel in e.panels.values()]
    edges = [measures.edge_agreement(panel, photograph) for panel in e.panels.values()]
    return [
        Claim(
            "Pixel error grows from (a) to (e), from each to the next within a tenth",
            {"RMS pixel error": errors},
            _rises(errors, 0.1),
        ),
        Claim("Structural similarity falls from (a) to (e)", {"SSIM": ssims}, _falls(ssims)),
        Claim(
            "(a) to (c) are almost perfect, edge agreement at least 0.95; in (d) and (e) detail is "
            "lost, below 0.9",
            {"edge agreement": edges},
            min(edges[:3]) >= 0.95 and max(edges[3:]) < 0.9,
        ),
    ]


@_about("figure1_style")
def _style_reconstructions(e: Evidence) -> list[Claim]:
    artwork = e.images["style"]
    style = [e.style(panel) for panel in e.panels]
    asked = [
        e.style(panel, up_to=layer) for panel, layer in zip(e.panels, STYLE_LAYERS, strict=False)
    ]
    placed = [measures.correlation(panel, artwork) for panel in e.panels.values()]
    return [
        Claim(
            "The style distance over all five layers falls as layers are added",
            {"style distance": style},
            _falls(style),
        ),
        Claim(
            "Each picture has the style asked for: style distance over its layers at most 0.05",
            {"style distance": asked},
            max(asked) <= 0.05,
        ),
        Claim(
            "The arrangement is discarded: correlation with the artwork stays below 0.3",
            {"correlation": placed},
            max(abs(value) for value in placed) < 0.3,
        ),
    ]


@_about("figure2")
def _algorithm(e: Evidence) -> list[Claim]:
    return [
        _under(e, "gradient_error", 1e-6, "Equations 2 and 6 are the gradients of 1 and 4"),
        _under(e, "finite_difference", 1e-4, "The gradient followed is the slope of the loss"),
        _under(e, "first_loss", 1e-5, "`transfer` begins with the loss computed by hand"),
        _under(e, "package_difference", 1e-4, "`transfer` ends with the picture made by hand"),
    ]


@_about("figure3")
def _transfers(e: Evidence) -> list[Claim]:
    own, others = [], []
    for panel in e.panels:
        own.append(e.style(panel, panel))
        others.append(min(e.style(panel, other) for other in e.panels if other != panel))
    photograph = e.images["content"]
    kept = [measures.edge_agreement(panel, photograph) for panel in e.panels.values()]
    return [
        Claim(
            "Each picture is nearer in style to its artwork than to the others",
            {"to its own": own, "to the nearest other": others},
            all(a < b for a, b in zip(own, others, strict=True)),
        ),
        Claim(
            "The photograph's arrangement stays: edge agreement above 0.2",
            {"edge agreement": kept},
            min(kept) > 0.2,
        ),
    ]


def _tradeoff(e: Evidence, panels: Sequence[str], deepest: str = "") -> Claim:
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
        _falls(content, slack) and _rises(style, slack),
    )


@_about("figure4")
def _content_style_tradeoff(e: Evidence) -> list[Claim]:
    panels, photograph = list(e.panels), e.images["content"]
    ends = [measures.edge_agreement(e.panels[p], photograph) for p in (panels[0], panels[-1])]
    return [
        _tradeoff(e, panels),
        Claim(
            "From the artwork's texture (edge agreement with the photograph below 0.2) to the "
            "photograph (above 0.3)",
            {"edge agreement": ends},
            ends[0] < 0.2 and ends[1] > 0.3,
        ),
    ]


@_about("preprint_figure3")
def _matrix(e: Evidence) -> list[Claim]:
    rows: dict[str, list[str]] = {}
    for panel in e.panels:
        rows.setdefault(panel.rsplit("_", 1)[0], []).append(panel)
    claims = [_tradeoff(e, panels, row) for row, panels in rows.items()]
    column = [row[0] for row in rows.values()]  # the least content
    style = [e.style(panel) for panel in column]
    claims.append(
        Claim(
            "At the smallest alpha/beta, the style distance over all five layers falls as layers "
            "are added",
            {"style distance": style},
            _falls(style),
        )
    )
    return claims


@_about("figure5")
def _content_layers(e: Evidence) -> list[Claim]:
    photograph = e.images["content"]
    values = {
        "correlation": [measures.correlation(e.panels[p], photograph) for p in e.panels],
        "SSIM": [measures.ssim(e.panels[p], photograph) for p in e.panels],
    }
    return [
        Claim(
            "Matching conv2_2 keeps more of the photograph's pixels than matching conv4_2",
            values,
            all(lower > higher for lower, higher in values.values()),
        )
    ]


@_about("figure6")
def _initialisations(e: Evidence) -> list[Claim]:
    terms = e.results["transfers"]["best"].values()
    losses = [sum(values) for values in zip(*terms, strict=True)]
    spread = max(losses) / min(losses)
    noise = [panel for name, panel in e.panels.items() if name.startswith("noise")]
    apart = [measures.pixel_error(a, b) for a, b in itertools.combinations(noise, 2)]
    alike = [measures.style_distance(e.network, a, b, STYLE_LAYERS)
             for a, b in itertools.combinations(noise, 2)]  # fmt: skip
    return [
        Claim(
            "All starts end at about the same loss: within a factor of 2.5",
            {"final loss": losses, "largest over smallest": [spread]},
            spread < 2.5,
        ),
        Claim(
            "Each white noise gives another picture (pixels differ by over 0.05) of the same style "
            "(distance under 0.1)",
            {"RMS pixel difference": [min(apart), statistics.mean(apart), max(apart)],
             "style distance": [max(alike)]},
            min(apart) > 0.05 and max(alike) < 0.1,
        ),
    ]  # fmt: skip


@_about("figure7")
def _photorealistic(e: Evidence) -> list[Claim]:
    (result,) = e.panels.values()
    photograph, night = e.images["content"], e.images["style"]
    edges = measures.edge_agreement(result, photograph)
    other = measures.edge_agreement(result, night)
    after, before = (measures.colour_distance(x, night) for x in (result, photograph))
    return [
        Claim(
            "Horizon and buildings stay: edges agree with the photograph by day (above 0.3), more "
            "than with the one by night",
            {"by day": [edges], "by night": [other]},
            edges > 0.3 and edges > other,
        ),
        Claim(
            "Colours become those of the night: their distance to it falls to under half",
            {"before": [before], "after": [after]},
            after < 0.5 * before,
        ),
    ]
