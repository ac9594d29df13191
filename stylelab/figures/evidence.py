"""What claims are checked on, and what a checked claim is."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from stylelab.figures import measures
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the numbers that decide it, and whether it holds."""

    statement: str
    values: dict[str, list[float]]
    holds: bool


@dataclass(frozen=True)
class Evidence:
    """What claims are checked on.

    Attributes:
        network: the figure's network.
        panels: its pictures by name, `(1, 3, H, W)` in [0, 1].
        images: what they were made from, by part: "content", "style", ...
        results: losses of the optimisations, as in the record.
        facts: numbers that the notebook measured and that pictures cannot show.
    """

    network: VGG
    panels: Mapping[str, Tensor]
    images: Mapping[str, Tensor]
    results: Mapping[str, Mapping] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    def each(self, measure: Callable[[Tensor, Tensor], float], part: str) -> list[float]:
        """`measure` of every panel and the image that plays `part`."""
        return [measure(panel, self.images[part]) for panel in self.panels.values()]

    def style(self, panel: str, part: str = "style", up_to: str = STYLE_LAYERS[-1]) -> float:
        """Style distance of a panel to the image that plays `part`, up to a layer."""
        layers = STYLE_LAYERS[: STYLE_LAYERS.index(up_to) + 1]
        return measures.style_distance(self.network, self.panels[panel], self.images[part], layers)

    def content(self, panel: str) -> float:
        """Content distance of a panel to the content image, at conv4_2."""
        image = self.images["content"]
        return measures.content_distance(self.network, self.panels[panel], image, CONTENT_LAYER)

    def fact_below(self, fact: str, bound: float, statement: str) -> Claim:
        """The claim that a fact is below a bound."""
        value = self.facts[fact]
        return Claim(f"{statement} (under {bound:g})", {fact: [value]}, value < bound)


def rises(values: Sequence[float], slack: float = 0.0) -> bool:
    """Each value is above the one before, or below it by no more than the share `slack`."""
    steps = all(b > a * (1 - slack) for a, b in itertools.pairwise(values))
    return steps and values[-1] > values[0]


def falls(values: Sequence[float], slack: float = 0.0) -> bool:
    """Each value is below the one before, or above it by no more than about that share."""
    return rises(list(reversed(values)), slack)
