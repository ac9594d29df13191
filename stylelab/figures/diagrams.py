"""Drawings of what a network computes: numbers, feature maps, receptive fields, Gram matrices.

Every `footer` is the text under the figure.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import torch
from matplotlib.figure import Figure
from torch import Tensor

from stylelab.figures.canvas import COLOURS, GRAMS, Box, Canvas, text_width
from stylelab.figures.panels import Panel, panel_grid

Features = Mapping[str, Tensor]  # (1, C, H, W) by layer
Span = tuple[int, int]  # the first and the last of a range of pixels
CELL, SIGN = 0.42, 0.44  # inches: a number in its table, and the sign between two tables


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


def signed(values: Tensor, quantile: float = 0.995) -> Tensor:
    """Gradients, or other values of either sign, to be drawn from 0 to 1: 0 becomes 0.5."""
    return (0.5 + 0.5 * values / values.abs().quantile(quantile).clamp_min(1e-30)).clamp(0, 1)


def _bright(values: Tensor) -> Tensor:
    """Feature maps to be drawn from 0 to 1, nearly the largest value as 1."""
    return values / values.quantile(0.998).clamp_min(1e-30)


def feature_maps(
    photograph: Tensor, features: Features, fields: Mapping[str, int], footer: str = ""
) -> Figure:
    """A row for a photograph `(1, 3, H, W)` and its colours, and one for five maps of each layer.

    `fields`: how many pixels a position of each layer sees, along one side.
    """
    height, width = photograph.shape[2:]
    rows = [f"input\n{width} × {height} pixels:\nred, green, blue"]
    panels = [Panel(photograph), *(Panel(colour, cmap="gray") for colour in photograph[0]), None]
    for layer, maps in features.items():
        sides = f"{maps.shape[1]} maps of {maps.shape[3]} × {maps.shape[2]}"
        rows.append(f"{layer}\n{sides}\na position sees\n{fields[layer]} × {fields[layer]} pixels")
        panels += [Panel(_bright(maps[0, filter])) for filter in distinct_filters(maps, 5)]
    return panel_grid(panels, columns=5, rows=rows, footer=footer)


def receptive_fields(
    picture: Tensor,
    boxes: Mapping[str, Sequence[Span]],
    influences: Mapping[str, Tensor],
    fields: Mapping[str, int],
    footer: str = "",
) -> Figure:
    """Receptive fields as squares on a picture `(1, 3, H, W)`, and how much each pixel counts.

    `boxes`: the rows and columns that one position of each layer sees; `influences`: how much each
    pixel changes it, `(H, W)`; `fields`: the full width of the receptive field.
    """
    squares = 3.5  # the height of both rows, with their captions
    tall = max(squares, 5.6 * picture.shape[2] / picture.shape[3])
    canvas, top = Canvas(10.0, tall + 0.24, footer), 0.12 + (tall + squares) / 2
    left, bottom, wide, tall = canvas.picture(picture, (0.12, 0.12, 5.6, tall))
    scale = wide / picture.shape[3]
    for i, (layer, (rows, columns)) in enumerate(boxes.items()):
        sides = (scale * (last - first + 1) for first, last in (columns, rows))
        box = (left + scale * columns[0], bottom + tall - scale * (rows[1] + 1), *sides)
        canvas.frame(box, "white", 3)  # an outline
        canvas.frame(box, COLOURS[i])
        strength = influences[layer][rows[0] : rows[1] + 1, columns[0] : columns[1] + 1]
        x, y = 5.95 + 1.34 * (i % 3), top - 1.24 - 1.85 * (i // 3)
        place = canvas.picture((strength / strength.max()).sqrt(), (x, y, 1.24, 1.24), "gray")
        canvas.frame(place, COLOURS[i], 3)
        canvas.text(x + 0.62, y - 0.23, f"{layer}\n{fields[layer]} × {fields[layer]} px", 9)
    words = "The pixels on which\none position of\na layer depends,\nand how much\n(bright: much)."
    canvas.text(5.95 + 3.3, top - 2.47, words, 8.5, color="0.35")
    return canvas.figure


def number_tables(
    parts: Sequence[Tensor | str],
    captions: Sequence[str],
    marks: Mapping[int, Sequence[int]] = {},
) -> Figure:
    """Matrices `(rows, columns)` with their numbers in coloured cells, and signs between them.

    Args:
        parts: from left to right: matrices, and the texts that stand between them.
        captions: one under each part; "" for none.
        marks: by the place of a matrix in `parts`, a block of its cells to be framed: the first
            row, the first column, how many rows, how many columns.
    """
    below, wide = 0.48, []
    for part, caption in zip(parts, captions, strict=True):
        table = SIGN if isinstance(part, str) else CELL * part.shape[1]
        wide.append(max(table, text_width(caption, 9.5) + 0.2 if caption else 0))
    tall = CELL * max(part.shape[0] for part in parts if not isinstance(part, str))
    width = max(7.0, sum(wide) + 0.24)
    canvas, x = Canvas(width, 0.12 + tall + below), (width - sum(wide)) / 2
    for k, (part, caption) in enumerate(zip(parts, captions, strict=True)):
        middle, y = x + wide[k] / 2, below + tall / 2
        if isinstance(part, str):
            canvas.text(middle, y, part, 15)
        else:
            _number_table(canvas, part, middle, y, marks.get(k))
        canvas.text(middle, below - 0.08, caption, 9.5, va="top")
        x += wide[k]
    return canvas.figure


def _number_table(
    canvas: Canvas, table: Tensor, x: float, y: float, mark: Sequence[int] | None
) -> None:
    """A matrix with its middle at x, y; white is 0."""
    rows, columns = table.shape
    x, low = x - CELL * columns / 2, y - CELL * rows / 2
    pale = 0.5 + 0.25 * table / table.abs().max().clamp_min(1e-12)
    canvas.picture(pale, (x, low, CELL * columns, CELL * rows), "PuOr")

    def place(row: int, column: int, down: int = 1, across: int = 1) -> Box:
        return x + CELL * column, low + CELL * (rows - row - down), CELL * across, CELL * down

    for row, column in product(range(rows), range(columns)):
        left, bottom, *_ = box = place(row, column)
        canvas.frame(box, "0.7", 0.5)
        number = f"{float(table[row, column]):.3g}".replace("-", "−")
        canvas.text(left + CELL / 2, bottom + CELL / 2, number, 11)
    if mark is not None:
        canvas.frame(place(*mark), COLOURS[1], 2.5, zorder=3)


def gram_table(
    images: Mapping[str, Tensor], features: Sequence[Features], footer: str = ""
) -> Figure:
    """A row for each image or map, as in `Panel`: Gram matrices of its features at each layer.

    They are relative to those of the first image, twenty filters of each layer.
    """
    columns = [gram_pictures([each[layer] for each in features], 20) for layer in features[0]]
    panels = []
    for image, *grams in zip(images.values(), *columns, strict=True):
        panels += [Panel(image if image.dim() == 4 else _bright(image))]
        panels += [Panel(gram, cmap=GRAMS) for gram in grams]
    layout = {"columns": 1 + len(columns), "rows": list(images), "headings": ["", *features[0]]}
    return panel_grid(panels, **layout, footer=footer)
