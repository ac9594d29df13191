"""Drawings of what a network computes: feature maps, receptive fields, gradients, Gram matrices.

Every `footer` is the text under the figure.
"""

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
from stylelab.figures.panels import COLOURS, DPI

Features = Mapping[str, Tensor]  # (1, C, H, W) by layer
Span = tuple[int, int]  # the first and the last of a range of pixels


@dataclass(frozen=True)
class Cell:
    """A picture in a table: an image `(1, 3, H, W)`, or values `(H, W)` in a colour map.

    Without `limits` the colours go from 0 to nearly the largest value.
    """

    image: Tensor
    caption: str = ""
    cmap: str = MAPS
    limits: tuple[float, float] | None = None


def picture_table(
    rows: Mapping[str, Sequence[Cell]],
    *,
    tall: float,
    left: float,
    headings: Sequence[str] = (),
    footer: str = "",
) -> Figure:
    """Pictures in rows and columns, `tall` inches high, with `left` inches for the rows' labels.

    The first line of a label is the row's name; what follows is smaller.
    """
    below = 0.3 if any(cell.caption for cells in rows.values() for cell in cells) else 0.12
    above = 0.65 if headings else 0.12
    canvas = Canvas(10.0, above + len(rows) * (tall + below) + 0.4, footer)
    step = (canvas.width - left - 0.05) / max(map(len, rows.values()))
    wide = step - 0.07
    for column, heading in enumerate(headings):
        canvas.text(left + column * step + wide / 2, canvas.height - 0.35, heading, 9.5)
    for number, (label, cells) in enumerate(rows.items()):
        y = canvas.height - above - number * (tall + below) - tall
        name, _, about = label.partition("\n")
        canvas.text(0.12, y + (0.76 if about else 0.5) * tall, name, 11, ha="left")
        canvas.text(0.12, y + 0.36 * tall, about, 8.5, ha="left", color="0.35")
        for column, cell in enumerate(cells):
            box, look = (left + column * step, y, wide, tall), {}
            if cell.image.dim() == 2:
                low, high = cell.limits or (0, float(cell.image.quantile(0.998)) or 1.0)
                look = {"cmap": cell.cmap, "vmin": low, "vmax": high}
            canvas.picture(cell.image, box, **look)
            canvas.text(box[0] + wide / 2, y - 0.13, cell.caption, 8.5)
    return canvas.figure


def feature_maps(
    photograph: Tensor, features: Features, fields: Mapping[str, int], footer: str = ""
) -> Figure:
    """A row for a photograph `(1, 3, H, W)` and its colours, and one for five maps of each layer.

    `fields`: how many pixels a position of each layer sees, along one side.
    """
    height, width = photograph.shape[2:]
    colours = [Cell(values, cmap="gray") for values in photograph[0]]
    rows = {f"input\n{width} × {height} pixels:\nred, green, blue": [Cell(photograph), *colours]}
    for layer, maps in features.items():
        sides = f"{maps.shape[1]} maps of {maps.shape[3]} × {maps.shape[2]}"
        about = f"{sides}\na position sees\n{fields[layer]} × {fields[layer]} pixels"
        shown = distinct_filters(maps, 5)
        rows[f"{layer}\n{about}"] = [Cell(maps[0, filter]) for filter in shown]
    return picture_table(rows, tall=1.6 * height / width, left=1.6, footer=footer)


def receptive_fields(
    photograph: Tensor,
    boxes: Mapping[str, Sequence[Span]],
    influences: Mapping[str, Tensor],
    fields: Mapping[str, int],
    footer: str = "",
) -> Figure:
    """Receptive fields as squares on a photograph, and beside it how much each pixel counts.

    `boxes`: the rows and columns that one position of each layer sees; `influences`: how much each
    pixel changes it, `(H, W)`; `fields`: the full width of the receptive field.
    """
    tall = 5.6 * photograph.shape[2] / photograph.shape[3]
    canvas = Canvas(10.0, tall + 0.6, footer)
    left, bottom, wide, tall = canvas.picture(photograph, (0.12, 0.45, 5.6, tall))
    scale = wide / photograph.shape[3]
    for i, (layer, (rows, columns)) in enumerate(boxes.items()):
        corner = left + scale * columns[0], bottom + tall - scale * (rows[1] + 1)
        sides = (scale * (last - first + 1) for first, last in (columns, rows))
        canvas.frame((*corner, *sides), COLOURS[i], outline=True)
        strength = influences[layer][rows[0] : rows[1] + 1, columns[0] : columns[1] + 1]
        x, y = 5.95 + 1.34 * (i % 3), bottom + tall - 1.24 - (i // 3) * (tall - 1.65)
        bright = (strength / strength.max()).sqrt()
        place = canvas.picture(bright, (x, y, 1.24, 1.24), cmap="gray")
        canvas.frame(place, COLOURS[i], 3)
        canvas.text(x + 0.62, y - 0.23, f"{layer}\n{fields[layer]} × {fields[layer]} px", 9)
    words = "The pixels on which\none position of\na layer depends,\nand how much\n(bright: much)."
    canvas.text(5.95 + 3.3, bottom + 0.93, words, 8.5, color="0.35")
    return canvas.figure


def pooling(
    maps: Features,
    gradients: Mapping[str, tuple[Tensor, Tensor]],
    captions: Mapping[str, Sequence[str]],
    footer: str = "",
) -> Figure:
    """A row for each kind of pooling: a feature map, and gradients in the middle of the image.

    Each argument is by "avg" and "max": maps of conv3_1, gradients at conv2_2 `(1, C, H/2, W/2)`
    and at the pixels `(1, 3, H, W)`, and captions of these two.
    """
    first = next(iter(maps))
    height, width = gradients[first][1].shape[2:]
    half = min(24, height // 4)  # of the part that is shown, in pixels
    rows = slice(height // 2 - half, height // 2 + half)
    columns = slice(width // 2 - half * 3 // 2, width // 2 + half * 3 // 2)
    halved = tuple(slice(part.start // 2, part.stop // 2) for part in (rows, columns))
    shown = distinct_filters(maps[first], 3)[1]
    busiest = int(gradients[first][0].square().sum((0, 2, 3)).argmax())
    table = {}
    for kind, (units, pixels) in gradients.items():
        slope = units[0, busiest][halved]
        most = float(slope.abs().quantile(0.98))
        table[f"{'average' if kind == 'avg' else kind}\npooling"] = [
            Cell(maps[kind][0, shown]),
            Cell(slope, captions[kind][0], "PuOr", (-most, most)),
            Cell(gradient_picture(pixels)[..., rows, columns], captions[kind][1]),
        ]
    headings = (
        "a feature map of conv3_1",
        "gradient below the second pooling\n(one filter of conv2_2)",
        "gradient at the pixels\n(grey: none)",
    )
    return picture_table(table, tall=1.8, left=1.5, headings=headings, footer=footer)


def mean_activations(networks: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """A dot for each filter: its mean activation by layer `(N_l,)`, by the network's name."""
    figure = Figure(figsize=(10, 3.4), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    spread = torch.Generator().manual_seed(0)
    for k, (label, means) in enumerate(networks.items()):
        shift = 0.36 * (k - (len(networks) - 1) / 2)
        for i, values in enumerate(means.values()):
            x = i + shift + 0.24 * (torch.rand(len(values), generator=spread) - 0.5)
            look = {"color": COLOURS[k], "markersize": 4, "alpha": 0.6}
            axes.plot(x, values.clamp_min(0.01), ".", label=None if i else label, **look)
    axes.set_yscale("log")
    axes.set_xticks(range(len(means)), means)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_yticks([0.01, 0.1, 1, 10], ["silent", "0.1", "1", "10"])
    axes.set_ylabel("mean activation of a filter")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", frameon=False, ncols=2, markerscale=3)
    return figure


def gram_table(
    images: Mapping[str, Tensor], features: Sequence[Features], footer: str = ""
) -> Figure:
    """A row for each image, as in `Cell`: Gram matrices of its features at each layer.

    They are relative to those of the first image, twenty filters of each layer.
    """
    columns = [gram_pictures([each[layer] for each in features], 20) for layer in features[0]]
    rows = {
        label: [Cell(image), *(Cell(column[i], "", GRAMS, (0, 1)) for column in columns)]
        for i, (label, image) in enumerate(images.items())
    }
    headings = ["", *features[0]]
    return picture_table(rows, tall=1.3, left=1.5, headings=headings, footer=footer)
