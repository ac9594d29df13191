"""Which way to walk: parametrisations compared on the same objectives, step by step.

    python tools/walk.py [--images paper] [--sizes 160 256] [--steps 500] [--judge FILE]

For each of five artworks, each size and each start, the pixels' run is the measure. The table has
how many steps the others need for the losses that the pixels reach after 25, 50, 100 and 200 steps,
as the median of the ratio of steps; the loss of the saved picture after all steps over that of the
pixels; and, with a judge, the same of the style loss as a network measures it that was not
optimised. Rows are kept in figures/compare/walk.json; what is there is not computed again.
"""

import argparse
import json
import statistics
from functools import partial
from itertools import product
from pathlib import Path

from stylelab import gallery, load
from stylelab.description import Transfer
from stylelab.figures.measures import style_loss
from stylelab.files.local import atomic
from stylelab.lbfgs import lbfgs
from stylelab.optimisation import optimise
from stylelab.parametrisation import PIXELS, Frequencies
from stylelab.synthesis import transfer_objective, transfer_start

GREY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
WAYS = {
    "pixels": (PIXELS, 0.02),
    "frequencies": (Frequencies(), 0.02),
    "power 0.5": (Frequencies(power=0.5), 0.02),
    "power 0.8": (Frequencies(power=0.8), 0.02),
    "power 1": (Frequencies(power=1.0), 0.02),
    "colours alone": (Frequencies(power=0.0), 0.02),
    "without colours": (Frequencies(colours=GREY), 0.02),
    "first step 0.01": (Frequencies(), 0.01),
    "first step 0.05": (Frequencies(), 0.05),
}
MARKS = (25, 50, 100, 200)


def measure(network, judge, way, content, style, init: str, steps: int) -> dict:
    """The lowest losses so far, step by step, and what the saved picture is worth."""
    (parametrisation, first_step), one = way, Transfer(content, style, alpha_beta=1e-2, init=init)
    result = optimise(
        transfer_objective(network, [one]),
        transfer_start(network, [one]),
        steps,
        parametrisation=parametrisation,
        optimiser=partial(lbfgs, first_step=first_step),
        progress=False,
    )
    found = {"losses": result.losses[:, 0].cummin(0).values.tolist()}
    found |= {"saved": float(sum(result.final.values())), "seconds": result.seconds}
    if judge:
        found["judged"] = style_loss(judge, result.images, style)
    return found


def table(rows: dict[str, dict]) -> str:
    """The medians by way, over all cases that were measured for it and for the pixels."""
    head = ["way", *(f"to step {mark}" for mark in MARKS), "saved loss", "judged style", "cases"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for name in WAYS:
        ratios: dict[str, list[float]] = {}
        for key, row in rows.items():
            case, _, made = key.rpartition("/")
            if made != name or f"{case}/pixels" not in rows:
                continue
            base = rows[f"{case}/pixels"]
            for mark in (mark for mark in MARKS if mark < len(base["losses"])):
                needed = sum(loss > base["losses"][mark] for loss in row["losses"])
                ratios.setdefault(str(mark), []).append(needed / mark)
            for kind in ("saved", "judged"):
                if kind in row and kind in base:
                    ratios.setdefault(kind, []).append(row[kind] / base[kind])
        columns = [*map(str, MARKS), "saved", "judged"]
        cells = [f"{statistics.median(ratios[c]):.2f}" if c in ratios else "–" for c in columns]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(ratios.get('saved', []))} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", choices=gallery.KINDS, default="embedded")
    parser.add_argument("--sizes", type=int, nargs="+", default=[160, 256])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--judge", help="a network, or a file of weights, that is not optimised")
    parser.add_argument("--output", type=Path, default=Path("figures/compare/walk.json"))
    options = parser.parse_args()
    network, cast = load("vgg19-mini"), gallery.cast(options.images)
    judge = load(options.judge) if options.judge else None
    rows = json.loads(options.output.read_text("utf-8")) if options.output.exists() else {}
    for size, part, init in product(options.sizes, "BCDEF", ("content", "noise")):
        content, style = (gallery.open(cast[role], size) for role in ("content", part))
        for name in options.ways:
            key = f"{options.images}/{part}/{size}/{init}/{options.steps}/{name}"
            if key not in rows:
                way = WAYS[name]
                rows[key] = measure(network, judge, way, content, style, init, options.steps)
                with atomic(options.output) as path:
                    path.write_text(json.dumps(rows) + "\n", encoding="utf-8")
                print(f"{key}: {rows[key]['losses'][-1]:.5f}", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
