"""The paper's figure 2: the algorithm as a diagram, with the tensors of a run."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from stylelab.description import Transfer
from stylelab.figures.canvas import COLOURS, GRAMS, Canvas
from stylelab.figures.diagrams import distinct_filters, gram_pictures, signed
from stylelab.optimisation import Result
from stylelab.synthesis import transfer_objective, transfer_start
from stylelab.vgg import VGG

STYLE, CONTENT, GRADIENT = COLOURS[0], COLOURS[1], COLOURS[2]
# The algorithm's columns, by their centres: features of a, A, E, G twice, F twice, back, loss, P
STYLE_X, A_X, E_X, G_XS, F_XS = 0.68, 1.74, 2.82, (3.87, 4.57), (5.67, 6.72)
BACK_X, LOSS_X, CONTENT_X = 7.4, 8.08, 9.28
FILM_XS, FILM_Y, FRAME = (3.06, 6.72), 1.3, (0.98, 0.7)  # the film: its ends, its foot, a picture
BOTTOM, TALL = 2.43, 0.75  # of the rows: where the first begins, and its height
CARD, GRAM = (0.86, 0.52), 0.62  # sides of a feature map and a Gram matrix
LOSS = {name: rf"\mathcal{{L}}_\mathrm{{{name}}}" for name in ("style", "content", "total")}


def draw(
    network: VGG, transfer: Transfer, result: Result, frames: Mapping[int, Tensor], footer: str = ""
) -> Figure:
    """The algorithm with the images, feature maps, Gram matrices and losses of one transfer.

    `frames` are some states of x by their steps, the first at step 0, as a `films.Film` keeps them.
    Losses are those at the start and at the end.
    """
    start, steps = transfer_start(network, [transfer]), result.steps
    _, gradient = transfer_objective(network, [transfer]).value_and_grad(start)
    (content_layer,) = transfer.content_layers  # the paper's one
    weights = transfer.layer_weights | {content_layer: transfer.alpha_beta}
    layers = network.check_layers(weights)
    deepest = layers.index(content_layer)
    images = transfer.style, transfer.content, start, result.images
    with torch.no_grad():
        features = [network(image.to(start), layers) for image in images]
    ends = [0, int(result.losses[:, 0].argmin())]
    losses = {name: values[ends, 0] for name, values in result.history.items()}
    styles = [values for name, values in losses.items() if name.startswith("style")]
    top = BOTTOM + TALL * len(layers)
    sums = top + 1.05  # where the sums of losses stand
    canvas = Canvas(10.0, top + 1.35, footer)
    headings = {STYLE_X: "feature maps\nof $\\vec{a}$", A_X: "Gram\nmatrix $A^l$"}
    headings[E_X] = "compare\n$A^l$ and $G^l$"
    for g_x, f_x, step in zip(G_XS, F_XS, (0, steps), strict=True):
        headings |= {g_x: f"$G^l$\nstep {step}", f_x: f"$F^l$ of $\\vec{{x}}$\nstep {step}"}
    for x, text in headings.items():
        canvas.text(x, top + 0.22, text, 8.5, color=STYLE if x <= E_X else "black")
    for i, layer in enumerate(layers):
        term = f"{'content' if i == deepest else 'style'} {layer}"
        maps = [each[layer].cpu() for each in features]
        y, values = BOTTOM + TALL * (i + 0.5), losses[term] / weights[layer]
        _draw_row(canvas, y, term, maps if i <= deepest else [maps[0], None, *maps[2:]], values)
    _draw_loss(canvas, E_X, sums, f"{LOSS['style']} = \\sum_l w_l E_l", sum(styles), STYLE)
    total = rf"{LOSS['total']} = \alpha{LOSS['content']} + \beta{LOSS['style']}"
    _draw_loss(canvas, 5.4, sums, total, result.losses[ends, 0], "black")
    above = BOTTOM + TALL * (deepest + 0.5) + 0.36  # the content loss
    canvas.arrow((LOSS_X, above), (LOSS_X, sums), (6.9, sums), color=CONTENT)
    canvas.arrow((E_X, top + 0.42), (E_X, sums - 0.4), color=STYLE)
    canvas.arrow((E_X + 0.85, sums), (3.9, sums), color=STYLE)
    _draw_gradient(canvas, gradient.cpu(), top)
    early = [max(step for step in frames if step <= at) for at in (0, steps // 40, steps // 8)]
    _draw_film(canvas, {step: frames[step] for step in early} | {steps: result.images})
    originals = (transfer.style, 0.15, STYLE_X, STYLE), (transfer.content, 7.8, CONTENT_X, CONTENT)
    names = "style image $\\vec{a}$", "content image $\\vec{p}$"
    for (image, x, column, color), name in zip(originals, names, strict=True):
        _, low, _, high = canvas.picture(image, (x, 0.3, 2.05, 1.75))
        canvas.arrow((column, low + high + 0.05), (column, BOTTOM), color=color)
        canvas.text(x + 1.02, 0.14, name, color=color)
    return canvas.figure


def _draw_loss(canvas: Canvas, x: float, y: float, name: str, values: Tensor, color: str) -> None:
    canvas.text(x, y, f"${name}$", 12, color=color)
    canvas.text(x, y - 0.25, " → ".join(f"{value:.2g}" for value in values.tolist()), color=color)


def _draw_gradient(canvas: Canvas, gradient: Tensor, top: float) -> None:
    """The way back from the total loss to the pixels, and to the first step of the film."""
    y, turn, slope = 0.62, top + 0.53, rf"\partial{LOSS['total']}\,/\,\partial\vec{{x}}"
    way = ((6.2, top + 0.65), (6.2, turn), (BACK_X, turn), (BACK_X, y), (6.95, y))
    canvas.arrow(*way, color=GRADIENT, width=1.8)
    left, low, *_ = canvas.picture(signed(gradient), (5.8, y - 0.34, 1.1, 0.68))
    canvas.text(6.35, low - 0.14, f"${slope}$, step 0", color=GRADIENT)
    update, x = rf"$\vec{{x}}\,\leftarrow\,\vec{{x}} - H\;{slope}$", FILM_XS[0] + 0.62
    canvas.arrow((left - 0.05, y), (4.95, y), color=GRADIENT, width=1.8)
    canvas.text(x, y + 0.04, update, 13, color=GRADIENT)
    canvas.text(x, y - 0.27, "L-BFGS: $H$ is learned from the last steps", 8.5, color=GRADIENT)
    middle = FILM_Y + FRAME[1] / 2
    canvas.arrow((x, y + 0.25), (x, middle - 0.05), color=GRADIENT, width=1.8)


def _draw_film(canvas: Canvas, images: Mapping[int, Tensor]) -> None:
    """Some states of x by their steps, with arrows from the first and the last to their maps."""
    (first, last), (wide, tall) = FILM_XS, FRAME
    pitch, middle = (last - first) / max(1, len(images) - 1), FILM_Y + tall / 2
    for i, (step, image) in enumerate(images.items()):
        x = first + i * pitch
        _, low, across, high = canvas.picture(image, (x - wide / 2, FILM_Y, wide, tall))
        canvas.text(x, FILM_Y - 0.13, f"step {step}")
        if i:
            canvas.arrow((x - pitch + across / 2 + 0.03, middle), (x - across / 2 - 0.03, middle))
    over = low + high + 0.03
    canvas.arrow((first, over), (first, 2.17), (F_XS[0], 2.17), (F_XS[0], BOTTOM))
    canvas.arrow((last, over), (last, BOTTOM))


def _draw_row(canvas: Canvas, y: float, term: str, maps: Sequence, losses: Tensor) -> None:
    """The layer of a term such as "style conv1_1", at height y, with the term's losses.

    `maps` are those of the style, the content, and x at the start and at the end `(1, C, H, W)`.
    Three filters are shown of what is compared, one of the other image, if it is not None.
    """
    kind, layer = term.split()
    if kind == "style":
        own, other, columns = maps[0], maps[1], (STYLE_X, CONTENT_X)
        x, name, color = E_X, f"E_{layer[4]}", STYLE
        grams = gram_pictures([own, *maps[2:]], 20)
        for matrix, place in zip(grams, (A_X, *G_XS), strict=True):
            canvas.picture(matrix, (place - GRAM / 2, y - GRAM / 2, GRAM, GRAM), GRAMS)
        canvas.arrow((STYLE_X + 0.54, y), (A_X - 0.35, y), color=STYLE)
        canvas.arrow((A_X + 0.35, y), (E_X - 0.4, y), color=STYLE)
        canvas.arrow((F_XS[0] - 0.54, y), (G_XS[1] + 0.35, y))
        canvas.arrow((G_XS[0] - 0.35, y), (E_X + 0.4, y))
    else:
        other, own, columns = maps[0], maps[1], (CONTENT_X, STYLE_X)
        x, name, color = LOSS_X, LOSS["content"], CONTENT
        canvas.arrow((CONTENT_X - 0.54, y), (LOSS_X + 0.46, y), color=CONTENT)
        canvas.arrow((F_XS[1] + 0.54, y), (LOSS_X - 0.46, y))
        canvas.text(CONTENT_X, y + 0.6, "feature maps\n$P^l$ of $\\vec{p}$", 8.5, color=CONTENT)
    canvas.text(x, y + 0.22, layer, 8, color="0.35")
    _draw_loss(canvas, x, y, name, losses, color)
    chosen = distinct_filters(own, 3)
    both = own.mean((0, 2, 3)) * maps[3].mean((0, 2, 3))
    chosen.sort(key=lambda filter: -both[filter])
    tops = own[0, chosen].flatten(1).quantile(0.998, 1).clamp_min(1e-12)
    for shown, column in zip((own, *maps[2:]), (columns[0], *F_XS), strict=True):
        for k in reversed(range(len(chosen))):  # as cards, the first in front
            place = (column - 0.5 + 0.07 * k, y - 0.33 + 0.07 * k, *CARD)
            canvas.picture((shown[0, chosen[k]] / tops[k]).sqrt(), place)
    if other is not None:
        pale = other[0, distinct_filters(other, 1)[0]]
        place = (columns[1] - 0.5, y - 0.33, *CARD)
        canvas.picture(pale / pale.max().clamp_min(1e-12), place, alpha=0.3)
