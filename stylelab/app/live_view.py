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

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 320, 120, 34, 12, 6, 20  # the drawing and its margins
POINTS = 120  # at most, on each curve: more cannot be told apart at this width
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
    losses: Sequence[tuple[int, Mapping[str, float]]],
    steps: int,
    changes: Sequence[tuple[int, str]] = (),
) -> str:
    """An `<svg>` of weighted losses by step on a log scale: each term, and the total in bold.

    A change of weights is no progress: there all curves end, and begin anew behind a dashed line.

    Args:
        losses: (step, weighted loss by term) in order of steps. A step that comes twice is where
            the objective changed.
        steps: the end of the axis of steps, unless there are losses beyond it.
        changes: steps at which the objective changed, and what changed.
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
        f'<text x="{LEFT - 5}" y="{y(exponent) + 3.5:.1f}" text-anchor="end">10'
        f'<tspan dy="-4" font-size="8">{exponent}</tspan></text>'
        for exponent in range(low, high + 1, 1 if high - low <= 3 else 2)
    ]
    for step in sorted({0, last // 2, last}):
        parts.append(f'<text x="{x(step):.1f}" y="{HIGH - 5}" text-anchor="middle">{step}</text>')
    for number, (step, what) in enumerate(changes, 1):
        parts.append(
            f'<path class="change" d="M{x(step):.1f} {TOP}V{HIGH - BOTTOM}">'
            f"<title>{escape(what)}</title></path>"
        )
        if number == len(changes):  # of several that stand close, one can be read
            side = "end" if x(step) > (WIDE + LEFT) / 2 else "start"
            at = x(step) + (-4 if side == "end" else 4)
            parts.append(
                f'<text class="what" x="{at:.1f}" y="{TOP + 7}" text-anchor="{side}">'
                f"{escape(what)}</text>"
            )
    shown, columns = _thinned(rows), 2 if len(names) < 9 else 3
    for i, name in enumerate([*names, "total"]):
        colour = "currentColor" if name == "total" else COLOURS[i % (len(COLOURS) - 1)]
        style = f'stroke="{colour}" stroke-width="{2.2 if name == "total" else 1.3}"'
        if len(COLOURS) - 1 <= i < len(names):
            style += ' stroke-dasharray="4 3"'  # the colours begin again
        path, before = [], None
        for step, row in shown:
            if name in row:
                move = "M" if before in (None, step) else "L"
                path.append(f"{move}{x(step):.1f} {y(math.log10(max(row[name], 10**low))):.1f}")
            before = step if name in row else None
        column, level = 4 + WIDE / columns * (i % columns), HIGH + 12 + 13 * (i // columns)
        parts.append(
            f'<path class="curve" d="{"".join(path)}" {style}/>'
            f'<path d="M{column:.0f} {level - 3.5}h14" {style}/>'
            f'<text class="name" x="{column + 18:.0f}" y="{level}">{escape(name)}</text>'
        )
    below = HIGH + 13 * (len(names) // columns + 1) + 4
    return (
        f'<svg class="curves" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {WIDE} {below}" font-size="10.5">{"".join(parts)}</svg>'
    )


def _thinned(rows: Sequence[tuple[int, dict]]) -> list[tuple[int, dict]]:
    """Some of the rows: the last, both of a step that comes twice, and others evenly."""
    every = len(rows) // POINTS + 1
    steps = [step for step, _ in rows]
    twice = {i for i in range(1, len(steps)) if steps[i] == steps[i - 1]}
    kept = twice | {i - 1 for i in twice} | {len(rows) - 1}
    return [row for i, row in enumerate(rows) if i in kept or i % every == 0]
