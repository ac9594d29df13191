"""Pictures side by side, as the paper's figures show them, and curves of the loss."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from stylelab import gallery
from stylelab.errors import SettingError
from stylelab.optimisation import Result
from stylelab.vgg import VGG

DPI = 128  # panels of two columns are then 617 pixels wide: 512 are shown as they are
LABEL, GAP, INSET = 0.30, 0.12, 0.30  # inches, inches, longer side over a panel's width
# Okabe and Ito's palette: told apart by readers of any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
        image: `(1, 3, H, W)`, sRGB in [0, 1].
        label: shown below it as plain text, without mathematics.
        inset: a small image in its lower left corner.
        name: the picture is saved under this name with the figure's record, and the paper's claims
            are checked on it. Without a name it is only shown.
    """

    image: Tensor
    label: str
    inset: Tensor | None = None
    name: str = ""


def result_panels(
    result: Result, labels: Sequence[str], names: Sequence[str] = (), insets: Sequence[Tensor] = ()
) -> list[Panel]:
    """A panel for each of a result's N images; each list given has N entries."""
    names, insets = names or [""] * len(labels), insets or [None] * len(labels)
    return [
        Panel(*each) for each in zip(result.images.split(1), labels, insets, names, strict=True)
    ]


def _show(axes: Axes, image: Tensor) -> None:
    axes.imshow(image[0].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="lanczos")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def panel_grid(
    panels: Sequence[Panel], *, columns: int, footer: str = "", width: float = 10.0
) -> Figure:
    """Panels row by row, with a label under each and a footer below them all.

    Args:
        panels: pictures of any sizes; each is fitted into a cell of the first one's shape.
        columns: panels in a row.
        footer: text under the panels; long lines are wrapped.
        width: of the figure, in inches.

    Raises:
        SettingError: without panels or columns.
    """
    if not panels or columns < 1:
        raise SettingError("a figure needs at least one panel and one column")
    rows = -(-len(panels) // columns)
    cell = (width - GAP * (columns + 1)) / columns
    tall = cell * panels[0].image.shape[2] / panels[0].image.shape[3]
    lines = textwrap.wrap(footer, int(width * 15.5)) if footer else []
    below = 0.17 * len(lines) + (0.1 if lines else 0)
    height = GAP + rows * (tall + LABEL) + below
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    for i, panel in enumerate(panels):
        left = GAP + (i % columns) * (cell + GAP)
        bottom = height - GAP - (i // columns) * (tall + LABEL) - tall
        axes = figure.add_axes((left / width, bottom / height, cell / width, tall / height))
        _show(axes, panel.image)
        axes.set_xlabel(panel.label, fontsize=10, labelpad=3, parse_math=False)
        if panel.inset is not None:
            scale = INSET * cell / max(panel.inset.shape[2:])
            high, wide = (scale * side for side in panel.inset.shape[2:])
            inset = figure.add_axes((left / width, bottom / height, wide / width, high / height))
            _show(inset, panel.inset)
            inset.spines[:].set(visible=True, color="white", linewidth=2)
    if lines:
        look = {"fontsize": 7.5, "color": "0.35", "va": "bottom", "parse_math": False}
        figure.text(GAP / width, 0.06 / height, "\n".join(lines), **look)
    return figure


def curves(
    series: Mapping[str, Sequence[float]],
    *,
    ylabel: str = "loss",
    bold: str | None = None,
    top: float | None = None,
) -> Figure:
    """The values of each curve by step, on a log scale, up to `top`.

    `bold` is the label of a curve to draw in black, thicker than the others.
    """
    figure = Figure(figsize=(10.0, 3.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for i, (label, values) in enumerate(series.items()):
        look = {"color": COLOURS[i % len(COLOURS)], "linestyle": "-" if i < len(COLOURS) else "--"}
        if label == bold:
            look = {"color": "black", "linewidth": 2}
        axes.semilogy(values, label=label, **look)
    axes.set(xlabel="step", ylabel=ylabel)
    if top is not None:
        axes.set_ylim(top=top)
    legend = axes.legend(axes.lines, list(series), fontsize=8, frameon=False, ncols=2)
    for text in legend.get_texts():
        text.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def loss_curves(result: Result, labels: Sequence[str], *, relative: bool = True) -> Figure:
    """Total loss of each of a result's N images by step, with N labels.

    `relative` divides by the loss at the start, for images of different objectives.
    """
    losses = result.losses.double()
    losses = losses / losses[0] if relative else losses
    series = dict(zip(labels, losses.T, strict=True))
    return curves(series, ylabel="loss / loss at the start" if relative else "loss")


def footer(networks: VGG | Sequence[VGG], images: Iterable[str], *notes: str) -> str:
    """The line under a figure: its networks, `notes` on how it was made, its images' credits."""
    networks = [networks] if isinstance(networks, VGG) else networks
    used = "; ".join(f"{network.name}, {network.pooling} pooling" for network in networks)
    credits = "; ".join(dict.fromkeys(gallery.credit(name) for name in images))
    return " · ".join((f"Network: {used}", *notes, f"Images: {credits}"))
