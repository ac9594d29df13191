"""One picture's objective under changing weights: what is to be matched is computed once.

Weights are all that a person moves while a picture is made. The targets of the layers, and the
losses that a strength is measured in (`stylelab.synthesis.balance`), do not depend on them.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stylelab.controls.styles import Style, proportions
from stylelab.description import Transfer
from stylelab.objective import (
    ContentTerm,
    Objective,
    OutOfRange,
    StyleTerm,
    TotalVariation,
)
from stylelab.rows import columns, place, row
from stylelab.runs import calls
from stylelab.runs.settings import Settings
from stylelab.synthesis import balance, ratio_of, transfer_objective
from stylelab.vgg import VGG

Key = tuple[int, str]  # the number of a style, 0 for content; and a layer


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
        self._terms: dict[Key, ContentTerm | StyleTerm] = {}
        self._units: dict[Key, float] = {}
        self._view: Tensor | None = None

    def __call__(self, settings: Settings) -> tuple[Objective, float]:
        """The objective of `settings`, and its alpha/beta."""
        asked = calls.as_transfer(replace(settings, init="content"), self.content, self.style)
        if self._keys(asked) - set(self._terms):
            return self._anew(asked)
        alpha_beta = self._alpha_beta(asked)
        alphas = {layer: alpha_beta * share for layer, share in asked.content_weights.items()}
        contents = columns(self.network, [alphas])
        styles = columns(self.network, [asked.layer_weights])
        terms: list = [replace(self._terms[0, at], weight=alpha) for at, alpha in contents.items()]
        for number, count in enumerate(self._counts(asked), 1):
            weight = row(self.network, [count])
            terms += [
                replace(self._terms[number, layer], weight=share * weight)
                for layer, share in styles.items()
            ]
        if asked.tv_weight:
            terms.append(TotalVariation(row(self.network, [asked.tv_weight])))
        terms.append(OutOfRange(row(self.network, [asked.range_weight * (1 + alpha_beta)])))
        return Objective(self.network, terms, self._view), alpha_beta

    def _keys(self, asked: Transfer) -> set[Key]:
        numbers = range(1, len(asked.styles) + 1)
        styles = {(number, layer) for number in numbers for layer in asked.layer_weights}
        return {(0, layer) for layer in asked.content_weights} | styles

    def _counts(self, asked: Transfer) -> list[float]:
        return proportions(asked.styles, self.content.shape[2:])

    def _anew(self, asked: Transfer) -> tuple[Objective, float]:
        asked = balance(self.network, asked)
        objective = transfer_objective(self.network, [asked])
        self._view = objective.view
        for term in objective.terms:
            if isinstance(term, ContentTerm | StyleTerm):
                self._terms[getattr(term, "number", 0), term.layer] = term
        return objective, asked.alpha_beta

    def _alpha_beta(self, asked: Transfer) -> float:
        """The ratio of `asked`: its own, or its strength in units of this picture."""
        if asked.alpha_beta is not None:
            return asked.alpha_beta
        if set(self._units) != set(self._terms):
            self._measure()
        counts = self._counts(asked)
        style = sum(
            count * share * self._units[number, layer]
            for number, count in enumerate(counts, 1)
            for layer, share in asked.layer_weights.items()
        )
        spread = sum(share * self._units[0, at] for at, share in asked.content_weights.items())
        return ratio_of(asked, style / sum(counts), spread)

    def _measure(self) -> None:
        """The units of a strength: style losses of the photograph, and the content's variance."""
        one = row(self.network, [1.0])
        terms = {key: replace(term, weight=one) for key, term in self._terms.items()}
        styles = [term for (number, _), term in terms.items() if number]
        losses = Objective(self.network, styles, self._view).losses(
            place(self.network, self.content)
        )
        for key, term in terms.items():
            if key[0]:
                self._units[key] = float(losses[term.name])
            else:
                flat = term.target.mean((2, 3), keepdim=True).expand_as(term.target)
                only = torch.tensor([0], device=self.network.device)
                self._units[key] = float(term.loss(flat, only, self.network))
