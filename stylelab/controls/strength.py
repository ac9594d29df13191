"""A strength, from 0 to 1, as the alpha/beta that it stands for.

A fixed ratio means something else for every pair of images. Here both losses are measured in units
of the pair: style in the style loss S of the photograph itself, content in the content loss V of a
picture without any structure, which has the photograph's mean features everywhere. Then
alpha/beta = 0.05 S / V at strength 0.5, a hundred times that at 0, a hundredth at 1. For other
statistics than Gram matrices `BALANCE` has other numbers than 0.05.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylelab.controls.styles import proportions
from stylelab.objective import ContentTerm, Objective, StyleTerm
from stylelab.rows import columns, place, row
from stylelab.vgg import VGG

if TYPE_CHECKING:
    from stylelab.description import Transfer

# Found by eye on 22 pairs of images at three sizes, for Gram matrices. With the others strength 0.5
# keeps about as much of a photograph's edges, for the pairs of tools/style_losses.py.
BALANCE = {"gram": 0.05, "covariance": 0.1, "wasserstein": 0.3, "sliced": 0.15}
Units = dict[tuple[int, str], Tensor]  # by the number of a style, 0 for content, and the layer


def units_of(objective: Objective, content: Tensor) -> Units:
    """S of each style at each layer, and V at each layer, `(1,)`, in the objective of one picture.

    `content` is the photograph `(1, 3, H, W)`. Weights of terms do not count.
    """
    network = objective.network
    first, one = torch.tensor([0], device=network.device), row(network, [1.0])
    styles = [replace(each, weight=one) for each in objective.terms if isinstance(each, StyleTerm)]
    losses = Objective(network, styles, objective.view).losses(place(network, content))
    units = {(each.number, each.layer): losses[each.name] for each in styles}
    for term in objective.terms:
        if isinstance(term, ContentTerm):
            flat = term.target.mean((2, 3), keepdim=True).expand_as(term.target)
            units[0, term.layer] = term.loss(flat, first, network)
    return units


def ratio_of(network: VGG, one: Transfer, units: Units) -> float:
    """The alpha/beta of `one`, for its strength, from the `units` of its images."""
    counts = proportions(one.styles, one.content.shape[2:])
    style = sum(
        float(share * row(network, [count]) * units[number, layer])
        for layer, share in columns(network, [one.layer_weights]).items()
        for number, count in enumerate(counts, 1)
    )
    style /= sum(counts)  # where there is any
    alphas = columns(network, [one.content_weights])
    spread = sum(float(alpha * units[0, layer]) for layer, alpha in alphas.items())
    share = BALANCE[one.style_loss] * 10 ** (4 * (0.5 - one.strength))
    return share * style / max(spread, 0.01)  # blank below that
