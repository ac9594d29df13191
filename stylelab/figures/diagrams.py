"""Drawings of what a network computes: feature maps, receptive fields, gradients, Gram matrices.

Every `footer` is the text under the figure.
"""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from stylelab.figures.canvas import COLOURS, DPI, GRAMS, Canvas
from stylelab.figures.panels import Panel, panel_grid

Features = Mapping[str, Tensor]  # (1, C, H, W) by layer
Span = tuple[int, int]  # the first and the last of a range of pixels


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
    canvas = Canvas(10.0, tall + 0.24, footer)
    left, bottom, wide, tall = canvas.picture(photograph, (0.12, 0.12, 5.6, tall))
    scale = wide / photograph.shape[3]
    for i, (layer, (rows, columns)) in enumerate(boxes.items()):
        sides = (scale * (last - first + 1) for first, last in (columns, rows))
        box = (left + scale * columns[0], bottom + tall - scale * (rows[1] + 1), *sides)
        canvas.frame(box, "white", 3)  # an outline
        canvas.frame(box, COLOURS[i])
        strength = influences[layer][rows[0] : rows[1] + 1, columns[0] : columns[1] + 1]
        x, y = 5.95 + 1.34 * (i % 3), bottom + tall - 1.24 - (i // 3) * (tall - 1.65)
        place = canvas.picture((strength / strength.max()).sqrt(), (x, y, 1.24, 1.24), "gray")
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
    panels = []
    for kind, (units, pixels) in gradients.items():
        below, at_pixels = captions[kind]
        panels += [
            Panel(_bright(maps[kind][0, shown])),
            Panel(signed(units[0, busiest][halved], 0.98), below, cmap="PuOr"),
            Panel(signed(pixels)[..., rows, columns], at_pixels),
        ]
    headings = (
        "a feature map of conv3_1",
        "gradient below the second pooling\n(one filter of conv2_2)",
        "gradient at the pixels\n(grey: none)",
    )
    names = [{"avg": "average"}.get(kind, kind) + " pooling" for kind in gradients]
    return panel_grid(panels, columns=3, rows=names, headings=headings, footer=footer)


def mean_activations(networks: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """A dot for each filter: its mean activation by layer `(N_l,)`, by the network's name."""
    figure = Figure(figsize=(10, 3.4), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(yscale="log", ylabel="mean activation of a filter")
    spread = torch.Generator().manual_seed(0)
    for k, (label, means) in enumerate(networks.items()):
        middle = 0.36 * (k - (len(networks) - 1) / 2)
        layers = torch.cat([torch.full((len(each),), i) for i, each in enumerate(means.values())])
        x = layers + middle + 0.24 * (torch.rand(len(layers), generator=spread) - 0.5)
        heights = torch.cat([*means.values()]).clamp_min(0.01)
        axes.plot(x, heights, ".", color=COLOURS[k], markersize=4, alpha=0.6, label=label)
    axes.set_xticks(range(len(means)), means, fontsize=8)
    axes.set_yticks([0.01, 0.1, 1, 10], ["silent", "0.1", "1", "10"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", frameon=False, ncols=2, markerscale=3)
    return figure


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
