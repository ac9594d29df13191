"""Pictures side by side, as the paper's figures show them, and curves of the loss."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from cycler import cycler
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from stylelab import gallery
from stylelab.errors import SettingError
from stylelab.figures.canvas import COLOURS, DPI, MAPS, Box, Canvas, text_width
from stylelab.optimisation import Result
from stylelab.vgg import VGG

GAP, LABEL = 0.12, 0.30  # inches: between panels, and below them for a label
INSET = 0.30  # longer side of an inset over a panel's width
# A part that shows roofs, windows and sky both of the embedded photograph and of the paper's
DETAIL = (0.32, 0.32, 0.22, 0.22)  # left, top, width, height, as shares of the picture


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
        image: `(1, 3, H, W)`, sRGB in [0, 1]; or a map `(H, W)` of values in [0, 1].
        label: shown below it as plain text, without mathematics.
        inset: a small image in its lower left corner.
        name: the picture is saved under this name with the figure's record, and the paper's claims
            are checked on it. Without a name it is only shown.
        cmap: matplotlib's name of the colours of a map.
        part: left, top, width and height, as shares of the picture, of a part to be framed.
    """

    image: Tensor
    label: str = ""
    inset: Tensor | None = None
    name: str = ""
    cmap: str = MAPS
    part: Box | None = None


def result_panels(
    result: Result, labels: Sequence[str], names: Sequence[str] = (), insets: Sequence[Tensor] = ()
) -> list[Panel]:
    """A panel for each of a result's N images; each list given has N entries."""
    names, insets = names or [""] * len(labels), insets or [None] * len(labels)
    fields = zip(result.images.split(1), labels, insets, names, strict=True)
    return [Panel(*each) for each in fields]


def detail(panel: Panel, part: Box = DETAIL) -> Panel:
    """A part of a panel `(1, 3, H, W)`, enlarged so that its pixels are seen as squares."""
    height, width = panel.image.shape[2:]
    left, top, wide, high = (
        ceil(share * side) for share, side in zip(part, (width, height) * 2, strict=True)
    )
    cut = panel.image[..., top : top + high, left : left + wide]
    cut = interpolate(cut, scale_factor=max(1, round(600 / wide)), mode="nearest")
    return replace(panel, image=cut, inset=None, name="", part=None)


def panel_grid(
    panels: Sequence[Panel | None],
    *,
    columns: int,
    rows: Sequence[str] = (),
    headings: Sequence[str] = (),
    footer: str = "",
    width: float = 10.0,
) -> Figure:
    """Panels row by row, with a label under each and a footer below them all.

    Args:
        panels: pictures of any sizes, in rows as tall as the tallest needs; None leaves one empty.
        rows, headings: labels left of the rows, all lines but the first small; above the columns.
        footer: text under the panels; long lines are wrapped.
        width: of the figure, in inches.

    Raises:
        SettingError: without panels or columns.
    """
    if not panels or columns < 1:
        raise SettingError("a figure needs at least one panel and one column")
    lines = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    left = GAP + (_row_width(rows) if rows else 0)
    above = 0.22 + 0.17 * max(text.count("\n") + 1 for text in headings) if headings else GAP
    step = (width - left) / columns
    wide = step - GAP
    below = LABEL if any(panel and panel.label for panel in panels) else GAP
    heights = [wide * max((_aspect(panel) for panel in line if panel), default=0) for line in lines]
    canvas = Canvas(width, above + sum(heights) + below * len(lines), footer)
    ends = itertools.accumulate(height + below for height in heights)
    edges = [canvas.height - above - end + below for end in ends]  # the lower ones of the rows
    for column, heading in enumerate(headings):
        canvas.text(left + column * step + wide / 2, canvas.height - above / 2, heading, 9.5)
    for row, label in enumerate(rows):
        name, _, about = label.partition("\n")
        middle, high = edges[row] + heights[row] / 2, 0.15 * len(about.splitlines())
        canvas.text(GAP, middle + high / 2, name, 11, ha="left")
        canvas.text(GAP, middle - 0.11, about, 8.5, ha="left", color="0.35")
    for i, panel in enumerate(panels):
        if panel is None:
            continue
        x, y = left + (i % columns) * step, edges[i // columns]
        place = canvas.picture(panel.image, (x, y, wide, wide * _aspect(panel)), panel.cmap)
        canvas.text(x + wide / 2, y - 0.13, panel.label, 10, parse_math=False)
        if panel.inset is not None:
            scale = INSET * wide / max(panel.inset.shape[2:])
            box = (x, y, scale * panel.inset.shape[3], scale * panel.inset.shape[2])
            canvas.frame(canvas.picture(panel.inset, box), "white", 2)
        if panel.part is not None:
            (x, y, w, h), (start, top, share, high) = place, panel.part
            box = (x + start * w, y + (1 - top - high) * h, share * w, high * h)
            canvas.frame(box, "black", 3)  # an outline
            canvas.frame(box, "white", 1.5)
    return canvas.figure


def _aspect(panel: Panel) -> float:
    return panel.image.shape[-2] / panel.image.shape[-1]


def _row_width(rows: Sequence[str]) -> float:
    """The inches that labels left of rows need, with a gap to the panels."""
    lines = [(line, 8.5 if i else 11) for label in rows for i, line in enumerate(label.split("\n"))]
    return GAP + max((text_width(line, size) for line, size in lines if line), default=0)


def curves(
    series: Mapping[str, Sequence[float]], *, ylabel: str = "loss", bold: str | None = None
) -> Figure:
    """Curves by step, on a log scale, by their labels; the one labelled `bold` in thick black."""
    figure = Figure(figsize=(10.0, 3.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel=ylabel)
    axes.set_prop_cycle(cycler(linestyle=["-", "--"]) * cycler(color=COLOURS))
    for label, values in series.items():
        (line,) = axes.semilogy(values, label=label)
        if label == bold:
            line.set(color="black", linewidth=2)
    beside = {"loc": "outside right upper", "fontsize": 8, "frameon": False}  # never on a curve
    for text in figure.legend(axes.lines, list(series), **beside).texts:
        text.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def loss_curves(result: Result, labels: Sequence[str]) -> Figure:
    """Total loss of each of a result's N images by step, over that at the start, with N labels."""
    losses = result.losses.double() / result.losses[0].double()
    return curves(dict(zip(labels, losses.T, strict=True)), ylabel="loss / loss at the start")


def footer(networks: Iterable[VGG], images: Iterable[str], *notes: str) -> str:
    """The line under a figure: its networks, `notes` on how it was made, its images if any."""
    used = "; ".join(f"{network.name}, {network.pooling} pooling" for network in networks)
    entries = map(gallery.info, dict.fromkeys(images))
    credits = "; ".join(f"{entry.title}, {entry.artist}" for entry in entries)
    return " · ".join((f"Network: {used}", *notes, *([f"Images: {credits}"] if credits else [])))


def power_of_ten(value: float) -> str:
    """A number as textbooks write it: 8e-4 as 8·10⁻⁴, 1e-3 as 10⁻³, 0.5 and 20 as they are.

    Numbers between 0.1 and 1000, and 0, are written without a power; three digits are kept.
    """
    if value == 0 or 0.1 < abs(value) < 1000:
        return f"{value:.3g}"
    digits, _, exponent = f"{value:.2e}".partition("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if float(digits) == 1 else f"{float(digits):g}·{power}"
