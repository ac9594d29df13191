"""A figure on which pictures, texts and arrows are placed by hand, in inches."""

import textwrap

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from torch import Tensor

DPI = 128  # panels of two columns are then 617 pixels wide: 512 are shown as they are
# Okabe and Ito's palette: told apart by readers of any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MAPS, GRAMS = "magma", "viridis"  # colour maps of even lightness, for any colour vision
Box = tuple[float, float, float, float]  # x, y, width, height, in inches
SMALL = 7.5  # points, of a footer


def wrapped(text: str, width: float) -> list[str]:
    """`text` in lines of at most `width` inches, if its words allow, in a footer's letters."""
    lines: list[str] = []
    for letters in range(int(20 * width), 10, -2):
        lines = textwrap.wrap(text, letters)
        if all(text_width(line.replace("$", r"\$"), SMALL) <= width for line in lines):
            break
    return lines


def text_width(text: str, size: float) -> float:
    """The inches that a line of `text` needs, in letters of `size` points."""
    return TextPath((0, 0), text, size).get_extents().width / 72


class Canvas:
    """A figure and its footer; places are in inches from the lower left, above the footer."""

    def __init__(self, width: float, height: float, footer: str = "") -> None:
        lines = wrapped(footer, width - 0.24)
        below = 0.17 * len(lines) + 0.1 if lines else 0.0
        self.width, self.height, size = width, height, (width, height + below)
        self.figure = Figure(figsize=size, dpi=DPI, facecolor="white")
        look = {"fontsize": SMALL, "color": "0.35", "va": "bottom", "parse_math": False}
        self.figure.text(0.12 / size[0], 0.06 / size[1], "\n".join(lines), **look)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(-below, height), autoscale_on=False)
        self.axes.axis("off")

    def picture(self, image: Tensor, box: Box, cmap: str = MAPS, alpha: float = 1.0) -> Box:
        """An image `(1, 3, H, W)`, or a map `(H, W)` in colours, fitted into `box`.

        Values below 0 and above 1 are drawn as 0 and 1. Maps, and images that are enlarged more
        than six times, show their pixels. Returns the place of the picture.
        """
        pixels = (image[0].permute(1, 2, 0) if image.dim() == 4 else image).detach().clamp(0, 1)
        x, y, width, height = box
        scale = min(width / pixels.shape[1], height / pixels.shape[0])
        wide, high = scale * pixels.shape[1], scale * pixels.shape[0]
        smooth = image.dim() == 4 and scale * DPI <= 6
        x, y = x + (width - wide) / 2, y + (height - high) / 2
        look = {"cmap": cmap, "alpha": alpha, "vmin": 0, "vmax": 1}
        look["interpolation"] = "lanczos" if smooth else "nearest"
        place = (x, x + wide, y, y + high)
        self.axes.imshow(pixels.cpu().numpy(), extent=place, aspect="auto", **look)
        self.frame((x, y, wide, high), "white", 0.5, zorder=0)
        return x, y, wide, high

    def frame(self, box: Box, color: str, width: float = 1.7, zorder: float = 1) -> None:
        """An empty rectangle with lines `width` points wide."""
        look = {"color": color, "linewidth": width, "zorder": zorder}
        self.axes.add_patch(Rectangle(box[:2], *box[2:], fill=False, **look))

    def text(self, x: float, y: float, text: str, size: float = 9, **options) -> None:
        """Text centred at x, y unless `options` (matplotlib's) say otherwise."""
        defaults = {"ha": "center", "va": "center", "math_fontfamily": "cm"}
        self.axes.text(x, y, text, fontsize=size, **defaults | options)

    def arrow(self, *points: tuple[float, float], color: str = "0.25", width: float = 1.2) -> None:
        """An arrow along straight lines through the points, its head at the last."""
        look = {"arrowstyle": "-|>", "mutation_scale": 10, "color": color, "linewidth": width}
        self.axes.add_patch(FancyArrowPatch(path=Path(points), joinstyle="miter", **look))
