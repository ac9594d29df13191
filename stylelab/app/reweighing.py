"""One picture's objective under changing weights: what is to be matched is computed once.

Weights are all that a person moves while a picture is made. The targets of the layers, and the
losses that a strength is measured in (`stylelab.controls.strength`), do not depend on them.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from stylelab.controls.strength import Units, units_of
from stylelab.controls.styles import Style, proportions
from stylelab.description import Transfer
from stylelab.objective import (
    ContentTerm,
    Objective,
    OutOfRange,
    StyleTerm,
    TotalVariation,
)
from stylelab.rows import columns, row
from stylelab.runs import calls
from stylelab.runs.settings import Settings
from stylelab.synthesis import balance, transfer_objective
from stylelab.vgg import VGG


class Objectives:
    """The objectives of one picture, for settings that differ in weights alone.

    The terms of a layer are made when it first has a weight, by `transfer_objective`.

    Args:
        network: the network that looks.
        content: `(1, 3, H, W)`, sRGB in [0, 1].
        style: an image `(1, 3, H, W)`, or several styles.
    """

    def __init__(self, network: VGG, content: Tensor, style: Tensor | Sequence[Style]) -> None:
        self.network, self.content, self.style = network, content, style
        self._terms: dict[tuple[int, str], ContentTerm | StyleTerm] = {}  # by keys as `Units` has
        self._units: Units = {}
        self._view: Tensor | None = None

    def __call__(self, settings: Settings) -> tuple[Objective, float]:
        """The objective of `settings`, and its alpha/beta."""
        asked = calls.as_transfer(replace(settings, init="content"), self.content, self.style)
        numbers = range(1, len(asked.styles) + 1)
        keys = {(number, layer) for number in numbers for layer in asked.layer_weights}
        if not keys | {(0, layer) for layer in asked.content_weights} <= set(self._terms):
            self._look(asked)
        asked = balance(self.network, asked, self._units)
        alphas = {layer: asked.alpha_beta * w for layer, w in asked.content_weights.items()}
        contents = columns(self.network, [alphas])
        styles = columns(self.network, [asked.layer_weights])
        terms: list = [replace(self._terms[0, at], weight=alpha) for at, alpha in contents.items()]
        for number, count in enumerate(proportions(asked.styles, self.content.shape[2:]), 1):
            weight = row(self.network, [count])
            terms += [
                replace(self._terms[number, layer], weight=share * weight)
                for layer, share in styles.items()
            ]
        if asked.tv_weight:
            terms.append(TotalVariation(row(self.network, [asked.tv_weight])))
        if asked.range_weight:
            weight = asked.range_weight * (1 + asked.alpha_beta)
            terms.append(OutOfRange(row(self.network, [weight])))
        return Objective(self.network, terms, self._view), asked.alpha_beta

    def _look(self, asked: Transfer) -> None:
        """Make the terms of the layers of `asked`, and the units of a strength at them."""
        objective = transfer_objective(self.network, [replace(asked, alpha_beta=1.0)])
        self._view = objective.view
        for term in objective.terms:
            if isinstance(term, ContentTerm | StyleTerm):
                self._terms[getattr(term, "number", 0), term.layer] = term
        self._units |= units_of(objective, self.content)
