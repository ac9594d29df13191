"""The paper's figure 2: the algorithm as a diagram, with the tensors of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from stylelab.figures.canvas import (
    GRAMS,
    MAPS,
    Canvas,
    distinct_filters,
    gradient_picture,
    gram_pictures,
)
from stylelab.figures.panels import COLOURS
from stylelab.optimisation import Result
from stylelab.synthesis import Transfer, transfer_objective, transfer_start
from stylelab.vgg import VGG

STYLE, CONTENT, GRADIENT = COLOURS[0], COLOURS[1], COLOURS[2]


@dataclass(frozen=True)
class Row:
    """A layer: its maps `(K, H, W)` and losses, and what of it is compared.

    `maps` are the style's or content's, then those of x at the start and at the end; `grams` are A
    and G at the start and at the end, none at a content layer. `losses` are E_l or L_content at the
    start and at the end. `passed` is a map `(H, W)` of the image that is not compared here.
    """

    layer: str
    maps: Sequence[Tensor]
    losses: tuple[float, float]
    grams: Sequence[Tensor] = ()
    passed: Tensor | None = None


# The algorithm's columns, by their centres: features of a, A, E, G twice, F twice, back, loss, P
STYLE_X, A_X, E_X, G_XS, F_XS = 0.68, 1.74, 2.82, (3.87, 4.57), (5.67, 6.72)
BACK_X, LOSS_X, CONTENT_X = 7.37, 8.08, 9.28
BOTTOM, TALL = 2.85, 0.75  # of the rows: where the first begins, and its height
NAMES = "style image $\\vec{a}$", "content image $\\vec{p}$"
LOSS = {name: rf"\mathcal{{L}}_\mathrm{{{name}}}" for name in ("style", "content", "total")}


def draw(
    network: VGG, transfer: Transfer, result: Result, frames: Mapping[int, Tensor], footer: str = ""
) -> Figure:
    """The algorithm with the images, feature maps, Gram matrices and losses of one transfer.

    `frames` are some states of x by their steps, the first at step 0, as a `films.Film` keeps them.
    """
    start, steps = transfer_start(network, [transfer]), result.steps
    _, gradient = transfer_objective(network, [transfer]).value_and_grad(start)
    rows = _rows(network, transfer, result, start)
    early = [max(step for step in frames if step <= at) for at in (0, steps // 40, steps // 8)]
    iterates = {step: frames[step] for step in early} | {steps: result.images}
    ends = [0, int(result.losses[:, 0].argmin())]
    style = [v[ends, 0] for name, v in result.history.items() if name.startswith("style")]
    losses = {"style": sum(style).tolist(), "total": result.losses[ends, 0].tolist()}
    originals = transfer.style, transfer.content
    return _draw(rows, originals, iterates, gradient.cpu(), losses, footer)


def _rows(network: VGG, transfer: Transfer, result: Result, start: Tensor) -> list[Row]:
    """A row for each layer that is matched: three filters of it, twenty of its Gram matrices."""
    weights = transfer.style_weights | {transfer.content_layer: transfer.alpha_beta}
    layers = network.check_layers(weights)
    with torch.no_grad():
        style, content, first, last = (
            {layer: maps.cpu() for layer, maps in network(image.to(start), layers).items()}
            for image in (transfer.style, transfer.content, start, result.images)
        )
    best, rows = int(result.losses[:, 0].argmin()), []
    for layer in layers:
        is_content = layer == transfer.content_layer
        own, other = (content, style) if is_content else (style, content)
        chosen = distinct_filters(own[layer], 3)
        both = own[layer].mean((0, 2, 3)) * last[layer].mean((0, 2, 3))
        chosen.sort(key=lambda filter, both=both: -both[filter])
        term = result.history[f"{'content' if is_content else 'style'} {layer}"][:, 0]
        beyond = layers.index(layer) > layers.index(transfer.content_layer)
        rows.append(
            Row(
                layer,
                [each[layer][0, chosen] for each in (own, first, last)],
                (float(term[0]) / weights[layer], float(term[best]) / weights[layer]),
                () if is_content else gram_pictures([f[layer] for f in (style, first, last)], 20),
                None if beyond else other[layer][0, distinct_filters(other[layer], 1)[0]],
            )
        )
    return rows


def _draw(
    rows: Sequence[Row],
    originals: Sequence[Tensor],
    iterates: Mapping[int, Tensor],
    gradient: Tensor,
    losses: Mapping[str, Sequence[float]],
    footer: str,
) -> Figure:
    """Rows from the shallowest up, style and content image, x by steps, its gradient at the first,
    and the losses "style" and "total" at the start and at the end."""
    top = BOTTOM + TALL * len(rows)
    sums, (start, *_, end) = top + 1.05, iterates
    canvas = Canvas(10.0, top + 1.35, footer)
    headings = {STYLE_X: "feature maps\nof $\\vec{a}$", A_X: "Gram\nmatrix $A^l$"}
    headings[E_X] = "compare\n$A^l$ and $G^l$"
    for g_x, f_x, step in zip(G_XS, F_XS, (start, end), strict=True):
        headings |= {g_x: f"$G^l$\nstep {step}", f_x: f"$F^l$ of $\\vec{{x}}$\nstep {step}"}
    for x, text in headings.items():
        canvas.text(x, top + 0.22, text, 8.5, color=STYLE if x <= E_X else "black")
    for i, row in enumerate(rows):
        _draw_row(canvas, row, BOTTOM + TALL * (i + 0.5), sums)
    _draw_loss(canvas, E_X, sums, f"{LOSS['style']} = \\sum_l w_l E_l", losses["style"], STYLE)
    total = rf"{LOSS['total']} = \alpha{LOSS['content']} + \beta{LOSS['style']}"
    _draw_loss(canvas, 5.4, sums, total, losses["total"], "black")
    canvas.arrow((E_X, top + 0.42), (E_X, sums - 0.4), color=STYLE)
    canvas.arrow((E_X + 0.85, sums), (3.9, sums), color=STYLE)
    y, turn = 2.14, top + 0.53  # from here the way back to the pixels
    way = ((6.2, sums - 0.4), (6.2, turn), (BACK_X, turn), (BACK_X, y), (6.95, y))
    canvas.arrow(*way, color=GRADIENT, width=1.8)
    canvas.picture(gradient_picture(gradient), (5.8, y - 0.37, 1.1, 0.74))
    canvas.arrow((6.35, y - 0.4), (6.35, 1.5), color=GRADIENT, width=1.8)
    slope = rf"\partial{LOSS['total']}\,/\,\partial\vec{{x}}"
    canvas.text(BACK_X - 0.1, y + 0.49, f"${slope}$, step {start}", color=GRADIENT, ha="right")
    update = rf"$\vec{{x}}\,\leftarrow\,\vec{{x}} - H\;{slope}$"
    canvas.text(3.85, y + 0.14, update, 13, color=GRADIENT)
    canvas.text(3.85, y - 0.16, "L-BFGS: $H$ is learned from the last steps", 8.5, color=GRADIENT)
    canvas.arrow((5.42, 1.5), (5.42, BOTTOM))
    for i, (step, image) in enumerate(iterates.items()):
        x = 2.5 + 1.3 * i
        canvas.picture(image, (x, 0.72, 1.1, 0.74))
        canvas.text(x + 0.55, 0.56, f"step {step}")
        if i:
            canvas.arrow((x - 0.17, 1.09), (x - 0.03, 1.09))
    places = ((0.15, STYLE_X, STYLE), (7.8, CONTENT_X, CONTENT))
    for image, name, (x, column, color) in zip(originals, NAMES, places, strict=True):
        _, low, _, high = canvas.picture(image, (x, 0.72, 2.05, 1.75))
        canvas.arrow((column, low + high + 0.05), (column, BOTTOM), color=color)
        canvas.text(x + 1.02, 0.56, name, color=color)
    return canvas.figure


def _draw_loss(canvas: Canvas, x: float, y: float, name: str, values: Sequence, color: str) -> None:
    canvas.text(x, y, f"${name}$", 12, color=color)
    canvas.text(x, y - 0.25, " → ".join(f"{value:.2g}" for value in values), color=color)


def _draw_row(canvas: Canvas, row: Row, y: float, sums: float) -> None:
    width, height, gram = 1.0, 0.66, 0.62
    color, x = (STYLE, E_X) if row.grams else (CONTENT, LOSS_X)
    own, other = (STYLE_X, CONTENT_X) if row.grams else (CONTENT_X, STYLE_X)
    tops = row.maps[0].flatten(1).quantile(0.998, 1)
    for maps, place in zip(row.maps, (own, *F_XS), strict=True):
        canvas.stack(maps, tops, (place - width / 2, y - height / 2, width, height))
    if row.passed is not None:
        box = (other - width / 2, y - height / 2, width - 0.14, height - 0.14)
        canvas.picture(row.passed, box, cmap=MAPS, alpha=0.3)
    canvas.text(x, y + 0.22, row.layer, 8, color="0.35")
    if row.grams:
        for matrix, place in zip(row.grams, (A_X, *G_XS), strict=True):
            box = (place - gram / 2, y - gram / 2, gram, gram)
            canvas.picture(matrix, box, cmap=GRAMS, vmin=0, vmax=1)
        _draw_loss(canvas, x, y, f"E_{row.layer[4]}", row.losses, color)
        canvas.arrow((STYLE_X + 0.54, y), (A_X - 0.35, y), color=color)
        canvas.arrow((A_X + 0.35, y), (E_X - 0.4, y), color=color)
        canvas.arrow((F_XS[0] - 0.54, y), (G_XS[1] + 0.35, y))
        canvas.arrow((G_XS[0] - 0.35, y), (E_X + 0.4, y))
    else:
        _draw_loss(canvas, x, y, LOSS["content"], row.losses, color)
        canvas.arrow((CONTENT_X - 0.54, y), (LOSS_X + 0.46, y), color=color)
        canvas.arrow((F_XS[1] + 0.54, y), (LOSS_X - 0.46, y))
        canvas.text(CONTENT_X, y + 0.6, "feature maps\n$P^l$ of $\\vec{p}$", 8.5, color=color)
        canvas.arrow((x, y + 0.36), (x, sums), (6.9, sums), color=color)
