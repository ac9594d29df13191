"""A running transfer as HTML: pictures as JPEG, loss curves as SVG.

Both are sent several times a second while the transfer uses the same processor, so they are small
and matplotlib, which takes longer, is not used.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image
from torch import Tensor

from stylelab.figures import COLOURS
from stylelab.vgg import resize

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 560, 150, 46, 128, 8, 22  # the drawing and its margins
POINTS = 150  # at most, on each curve: more cannot be told apart at this width
DECADES = 6  # at most, on the axis of losses


def data_url(image: Tensor, quality: int = 88) -> str:
    """`image` `(1, 3, H, W)`, sRGB in [0, 1], as the address of a JPEG of `quality` 1 to 95."""
    pixels = image[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def picture(image: Tensor, alt: str, attributes: str = "", *, quality: int = 88) -> str:
    """An `<img>` that holds an image, as `data_url` takes it.

    `alt` describes it, and may be any text; `attributes` are HTML.
    """
    return f'<img alt="{escape(alt)}" src="{data_url(image, quality)}" {attributes}>'


def before_after(before: Tensor, after: Tensor, share: float) -> Tensor:
    """`before` on the left, `after` on the right, and a white line between them.

    Args:
        before: `(1, 3, H, W)`, resized to the size of `after` if it has another.
        after: `(1, 3, H, W)`, sRGB in [0, 1].
        share: the part of the width that shows `before`, in [0, 1]; 0 and 1 draw no line.
    """
    width, both = after.shape[3], after.clone()
    cut = round(share * width)
    both[..., :cut] = resize(before, tuple(after.shape[2:]))[..., :cut]
    if 0 < cut < width:
        line = max(1, width // 250)
        both[..., max(0, cut - line) : cut + line] = 1
    return both


def curves(
    losses: Sequence[tuple[int, Mapping[str, float]]], steps: int, changes: Sequence[int] = ()
) -> str:
    """An `<svg>` of weighted losses by step on a log scale: each term, and the total in bold.

    Args:
        losses: (step, weighted loss by term) in order of steps.
        steps: the end of the axis of steps, unless there are losses beyond it.
        changes: steps at which the objective changed; each gets a dashed line.
    """
    names = list(dict.fromkeys(name for _, terms in losses for name in terms))
    rows = [(step, {**terms, "total": sum(terms.values())}) for step, terms in losses]
    values = [v for _, row in rows for v in row.values() if 0 < v < math.inf] or [1.0]
    label, last = "Losses: none yet", max(steps, 1, *(step for step, _ in rows))
    if rows:
        label = f"Weighted losses; the total after step {rows[-1][0]} is {rows[-1][1]['total']:.3g}"
    high = math.ceil(math.log10(max(values)))
    low = max(math.floor(math.log10(min(values))), high - DECADES)
    high = max(high, low + 1)

    def x(step: float) -> float:
        return LEFT + (WIDE - LEFT - RIGHT) * step / last

    def y(exponent: float) -> float:
        return TOP + (HIGH - TOP - BOTTOM) * (high - exponent) / (high - low)

    parts = [
        f'<path class="grid" d="M{LEFT} {y(exponent):.1f}H{WIDE - RIGHT}"/>'
        f'<text x="{LEFT - 6}" y="{y(exponent) + 3.5:.1f}" text-anchor="end">10'
        f'<tspan dy="-4" font-size="8">{exponent}</tspan></text>'
        for exponent in range(low, high + 1, 1 if high - low <= 4 else 2)
    ]
    for step in sorted({0, last // 2, last}):
        parts.append(f'<text x="{x(step):.1f}" y="{HIGH - 6}" text-anchor="middle">{step}</text>')
    for step in changes:
        parts.append(f'<path class="change" d="M{x(step):.1f} {TOP}V{HIGH - BOTTOM}"/>')
    shown = [*rows[: -1 : len(rows) // POINTS + 1], *rows[-1:]]
    for i, name in enumerate([*names, "total"]):
        colour = "currentColor" if name == "total" else COLOURS[i % (len(COLOURS) - 1)]
        style = f'stroke="{colour}" stroke-width="{2.2 if name == "total" else 1.3}"'
        if len(COLOURS) - 1 <= i < len(names):
            style += ' stroke-dasharray="4 3"'  # the colours begin again
        points = " ".join(
            f"{x(step):.1f},{y(math.log10(max(row[name], 10**low))):.1f}"
            for step, row in shown
            if name in row
        )
        level = TOP + 8 + 15 * i
        parts.append(
            f'<polyline class="curve" points="{points}" {style}/>'
            f'<path d="M{WIDE - RIGHT + 12} {level - 3.5}h16" {style}/>'
            f'<text x="{WIDE - RIGHT + 34}" y="{level}">{escape(name)}</text>'
        )
    return (
        f'<svg class="curves" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {WIDE} {HIGH}" font-size="11">{"".join(parts)}</svg>'
    )
