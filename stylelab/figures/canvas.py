"""A figure on which pictures, texts and arrows are placed by hand, and what is drawn on it."""

import textwrap
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from stylelab.figures.panels import DPI

MAPS, GRAMS = "magma", "viridis"  # colour maps of even lightness, for any colour vision
Box = tuple[float, float, float, float]  # x, y, width, height, in inches


def distinct_filters(features: Tensor, count: int) -> list[int]:
    """`count` filters of `(1, C, H, W)`; each varies most in what those before do not explain."""
    rows = features[0].flatten(1).cpu().double()
    rows, chosen = rows - rows.mean(1, keepdim=True), []
    for _ in range(min(count, len(rows))):
        chosen.append(int(rows.square().sum(1).argmax()))
        direction = rows[chosen[-1]] / rows[chosen[-1]].norm().clamp_min(1e-12)
        rows = rows - torch.outer(rows @ direction, direction)
    return chosen


def gram_pictures(features: Sequence[Tensor], count: int) -> list[Tensor]:
    """Gram matrices `(count, count)` of features `(1, C, H, W)`, to be drawn from 0 to 1.

    All are of the same filters, over their strengths in the first of the features, and ordered so
    that filters which respond alike stand side by side.
    """
    chosen = distinct_filters(features[0], count)
    rows = [maps[0, chosen].flatten(1).cpu() for maps in features]
    grams = [row @ row.T / row.shape[1] for row in rows]
    strengths = grams[0].diagonal().sqrt().clamp_min(1e-6)
    grams = [gram / torch.outer(strengths, strengths) for gram in grams]
    order = torch.linalg.eigh(grams[0])[1][:, -2].argsort()
    return [gram[order][:, order] for gram in grams]


def gradient_picture(gradient: Tensor) -> Tensor:
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
        axes.imshow(image.detach().cpu().numpy(), interpolation=between, **options)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(linewidth=0.5, color="white")
        return place

    def frame(self, box: Box, color: str, width: float = 1.7, outline: bool = False) -> None:
        """An empty rectangle, with a white outline where it stands on a picture."""
        looks = [{"color": "white", "linewidth": 1.8 * width}] if outline else []
        for look in [*looks, {"color": color, "linewidth": width}]:
            self.over.add_patch(Rectangle(box[:2], *box[2:], fill=False, **look))

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
