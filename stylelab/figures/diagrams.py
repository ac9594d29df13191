"""Drawing how a network and the algorithm work: feature maps, Gram matrices, arrows."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from stylelab.figures import COLOURS, DPI

STYLE, CONTENT, GRADIENT = COLOURS[0], COLOURS[1], COLOURS[2]
MAPS, GRAMS = "magma", "viridis"  # colour maps of even lightness, for any colour vision
Box = tuple[float, float, float, float]  # x, y, width, height, in inches


def varied(features: Tensor, count: int) -> list[int]:
    """Filters of `(1, C, H, W)` to show: each varies most in what those before do not explain."""
    rows = features[0].flatten(1).cpu().double()
    rows, chosen = rows - rows.mean(1, keepdim=True), []
    for _ in range(min(count, len(rows))):
        chosen.append(int(rows.square().sum(1).argmax()))
        direction = rows[chosen[-1]] / rows[chosen[-1]].norm().clamp_min(1e-12)
        rows = rows - torch.outer(rows @ direction, direction)
    return chosen


def as_picture(gradient: Tensor) -> Tensor:
    """A gradient `(1, 3, H, W)` as an image: grey is 0, all but the largest values fit."""
    return (0.5 + 0.5 * gradient / gradient.abs().quantile(0.995).clamp_min(1e-30)).clamp(0, 1)


class Canvas:
    """A figure on which things are placed in inches, from its lower left corner."""

    def __init__(self, width: float, height: float, footer: str = "") -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        self.over = self.figure.add_axes((0, 0, 1, 1), zorder=5)
        self.over.set(xlim=(0, width), ylim=(0, height))
        self.over.axis("off")
        lines = textwrap.fill(footer, int(width * 15.5))
        plain = {"parse_math": False}  # a $ in the name of a file is a $
        self.text(0.12, 0.06, lines, size=7.5, color="0.35", ha="left", va="bottom", **plain)

    def picture(self, image: Tensor, box: Box, **options) -> Box:
        """An image `(1, 3, H, W)`, or a map `(H, W)`, fitted into a box; returns its place."""
        x, y, width, height = box
        between = "lanczos" if image.dim() == 4 else "nearest"
        image = image[0].permute(1, 2, 0).clamp(0, 1) if image.dim() == 4 else image
        scale = min(width / image.shape[1], height / image.shape[0])
        wide, high = scale * image.shape[1], scale * image.shape[0]
        place = (x + (width - wide) / 2, y + (height - high) / 2, wide, high)
        sides = (self.width, self.height) * 2
        axes = self.figure.add_axes([part / side for part, side in zip(place, sides, strict=True)])
        axes.imshow(image.detach().cpu(), interpolation=between, **options)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(linewidth=0.5, color="white")
        return place

    def stack(self, maps: Tensor, tops: Tensor, box: Box) -> None:
        """Maps `(K, H, W)` as cards, the first in front, bright as the root of maps over `tops`."""
        x, y, width, height = box
        shift, behind = 0.07, 0.07 * (len(maps) - 1)
        for k in reversed(range(len(maps))):
            place = (x + k * shift, y + k * shift, width - behind, height - behind)
            bright = (maps[k] / tops[k].clamp_min(1e-12)).sqrt()
            self.picture(bright, place, cmap=MAPS, vmin=0, vmax=1)

    def text(self, x: float, y: float, text: str, size: float = 9, **options) -> None:
        """Text centred at x, y unless `options` (matplotlib's) say otherwise."""
        defaults = {"ha": "center", "va": "center", "math_fontfamily": "cm"}
        self.over.text(x, y, text, fontsize=size, **defaults | options)

    def arrow(self, *points: tuple[float, float], color: str = "0.25", width: float = 1.2) -> None:
        """An arrow along straight lines through the points, its head at the last."""
        xs, ys = zip(*points[:-1], strict=True)
        self.over.plot(xs, ys, color=color, linewidth=width, solid_joinstyle="miter")
        look = {"arrowstyle": "-|>", "color": color, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
        self.over.annotate("", points[-1], points[-2], arrowprops=look)


@dataclass(frozen=True)
class Row:
    """One layer in the drawing of the algorithm.

    Attributes:
        layer: its name.
        maps: feature maps `(K, H, W)`: the style's or content's, x's at the start and at the end.
        losses: E_l or L_content at the start and at the end.
        grams: A of the style image, G of x at the start and at the end; none: a content layer.
        passed: a map `(H, W)` of the image that is not compared here, to be drawn pale.
    """

    layer: str
    maps: tuple[Tensor, Tensor, Tensor]
    losses: tuple[float, float]
    grams: tuple[Tensor, ...] = ()
    passed: Tensor | None = None


# The algorithm's columns, by their centres: features of a, A, E, G twice, F twice, back, loss, P
STYLE_X, A_X, E_X, G_XS, F_XS = 0.68, 1.74, 2.82, (3.87, 4.57), (5.67, 6.72)
BACK_X, LOSS_X, CONTENT_X = 7.37, 8.08, 9.28
BOTTOM, TALL = 2.85, 0.75  # of the rows: where the first begins, and its height
NAMES = "style image $\\vec{a}$", "content image $\\vec{p}$"
LOSS = {name: rf"\mathcal{{L}}_\mathrm{{{name}}}" for name in ("style", "content", "total")}


def algorithm(
    rows: Sequence[Row],
    originals: tuple[Tensor, Tensor],
    iterates: dict[int, Tensor],
    gradient: Tensor,
    losses: dict[str, tuple[float, float]],
    footer: str = "",
) -> Figure:
    """The paper's figure 2 with the tensors of a run.

    Args:
        rows: layers, the shallowest first, one of them a content layer.
        originals: style and content image, `(1, 3, H, W)`.
        iterates: up to four states of x by their steps, the first and the last among them.
        gradient: of the total loss at the first, `(1, 3, H, W)`.
        losses: "style" and "total" at the start and at the end.
        footer: a sentence or more under the figure.
    """
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
    canvas.picture(as_picture(gradient), (5.8, y - 0.37, 1.1, 0.74))
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
    for image, name, (x, at, color) in zip(originals, NAMES, places, strict=True):
        _, low, _, high = canvas.picture(image, (x, 0.72, 2.05, 1.75))
        canvas.arrow((at, low + high + 0.05), (at, BOTTOM), color=color)
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
