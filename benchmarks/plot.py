"""Seconds per step against size: textbook, stylelab, and in proportion to the pixels.

python -m benchmarks.plot [FILE ...]      draws each as a PNG beside it
"""

import sys
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from benchmarks.report import NETWORKS
from benchmarks.store import RESULTS, read
from stylelab.files.local import atomic

COLOURS = {"textbook": "#b3541e", "stylelab": "#1f5f8b"}


def draw(data: dict) -> Figure:
    """The figure: one pair of axes for each network."""
    figure = Figure(figsize=(9, 4), layout="constrained", dpi=150)
    axes = figure.subplots(1, len(NETWORKS), sharey=True)
    for axis, (network, title) in zip(axes, NETWORKS.items(), strict=True):
        prefix = f"step/{network}/"
        found = {
            int(key.removeprefix(prefix)): one
            for key, one in sorted(data["measurements"].items())
            if key.startswith(prefix)
        }
        sizes = sorted(found)
        for name, colour in COLOURS.items():
            times = [median(found[size]["seconds"][name]) for size in sizes]
            axis.loglog(sizes, times, "o-", color=colour, label=name)
        if sizes:
            base = 512 if 512 in sizes else sizes[len(sizes) // 2]
            level = median(found[base]["seconds"]["stylelab"])
            pixels = {size: found[size]["pixels"][0] * found[size]["pixels"][1] for size in sizes}
            ideal = [level * pixels[size] / pixels[base] for size in sizes]
            axis.loglog(sizes, ideal, ":", color="0.4", label="in proportion to the pixels")
        axis.set_title(f"{title}, random weights" if network == "random" else title)
        axis.set_xlabel("longer side, pixels")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds per step")
    axes[0].legend(frameon=False)
    where = data["machine"].get("gpu") or data["machine"]["processor"]
    figure.suptitle(f"{where}, {data['machine']['threads']} threads", fontsize="medium")
    return figure


def save(file: Path) -> Path:
    """Draw a file of results as a PNG of the same name, and return its path."""
    figure, path = draw(read(file)), file.with_suffix(".png")
    with atomic(path) as temporary:
        figure.savefig(temporary)
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(RESULTS.glob("*.json")):
        print(save(Path(name)))
