"""Learning curves of a student network: errors on held-out images by training step.

python tools/curves.py CURVE.json [CURVE.json ...] [--output FOLDER]

draws the figure `curves` from the `curve.json` of a run of `stylelab distil`, or of several runs,
each of which started from the one before.
"""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

from stylelab import figures
from stylelab.vgg import STYLE_LAYERS


def main() -> None:
    """Draw and save the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("curves", nargs="+", type=Path)
    parser.add_argument("--output", default="build/compare")
    options = parser.parse_args()
    figure = Figure(figsize=(10, 3.6), dpi=figures.DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    first_step, points = 0, []
    for path in options.curves:
        run = json.loads(path.read_text(encoding="utf-8"))
        points += [point | {"step": point["step"] + first_step} for point in run]
        first_step = points[-1]["step"]
        for axes in (left, right):
            axes.axvline(first_step, color="0.85", zorder=0)
    for axes, what in ((left, "readout"), (right, "gram")):
        for layer, colour in zip(STYLE_LAYERS, figures.COLOURS, strict=False):
            known = [point for point in points if f"{layer} {what}" in point]
            steps = [point["step"] for point in known]
            errors = [point[f"{layer} {what}"] for point in known]
            axes.semilogy(steps, errors, "o-", markersize=3, color=colour, label=layer)
        axes.set_xlabel("training step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    left.set_title("features: error over the teacher's variance", fontsize=10)
    right.set_title("Gram matrices: error over their spread", fontsize=10)
    left.legend(fontsize=8, frameon=False)
    print(figures.save_picture(figure, "curves", options.output))


if __name__ == "__main__":
    main()
