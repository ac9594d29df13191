"""Seconds per step against size; quality against steps and seconds; memory of large pictures.

python -m benchmarks.plot [FILE ...]      draws each as a PNG beside it
"""

import sys
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import large, reached
from benchmarks.large import NETWORKS
from benchmarks.store import RESULTS, read
from stylelab.files.local import atomic

COLOURS = {"textbook": "#b3541e", "stylelab": "#1f5f8b"}
MORE = ("#5b8c3a", "#8a4f9e", "#c99a1d", "#444444")  # of other contenders
# Measures drawn, what they are called, the artwork's own value, and whether on a logarithmic scale.
MEASURES = (
    ("style", "style loss, by the judge", None, True),
    ("edges", "edges of the photograph", None, False),
    ("finest chroma", "finest chroma, of the artwork's", 1.0, True),
    (
        "finest regularity in calm places",
        "regularity in calm places",
        "finest regularity of the artwork",
        False,
    ),
)


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


def draw_quality(data: dict) -> Figure:
    """The figure: measures against steps and seconds, two columns for each set of artworks.

    Thin lines are single artworks, thick ones medians; dotted is what the artwork has.
    """
    sets = list(reached.groups(data["measurements"]))
    figure = Figure(figsize=(9 * len(sets), 11), layout="constrained", dpi=150)
    grid = figure.subplots(len(MEASURES), 2 * len(sets), squeeze=False, sharey="row")
    colours = dict(COLOURS)
    for column, (title, several) in enumerate(sets):
        for row, (measure, label, natural, logarithmic) in enumerate(MEASURES):
            for axis, x in zip(grid[row, 2 * column :], ("steps", "seconds"), strict=False):
                for name in several[0]["runs"]:
                    colour = colours.setdefault(name, MORE[(len(colours) - 2) % len(MORE)])
                    runs = [one["runs"][name] for one in several if name in one["runs"]]
                    lines = [(run[x], run["measures"][measure]) for run in runs]
                    for line in lines:
                        axis.plot(*line, color=colour, alpha=0.25, linewidth=0.7)
                    middle = [
                        [median(values) for values in zip(*part, strict=True)]
                        for part in zip(*lines, strict=True)
                    ]
                    axis.plot(*middle, "o-", color=colour, markersize=3, label=name)
                if isinstance(natural, str):
                    runs = [run for one in several for run in one["runs"].values()]
                    natural = median(run["measures"][natural][0] for run in runs)
                if natural is not None:
                    axis.axhline(natural, linestyle=":", color="0.4")
                axis.set_xscale("log")
                axis.set_yscale("log" if logarithmic else "linear")
                axis.grid(alpha=0.3)
                axis.set_xlabel(x)
            grid[row, 2 * column].set_ylabel(label)
        grid[0, 2 * column].set_title(title, fontsize="medium", loc="left")
    grid[0, 0].legend(frameon=False)
    return figure


def draw_large(data: dict) -> Figure:
    """The figure: memory against size, and time against memory at one size, for each network."""
    figure = Figure(figsize=(9, 7), layout="constrained", dpi=150)
    grid, found = figure.subplots(2, len(NETWORKS), squeeze=False), data["measurements"]
    cases = [case for case in large.of_cases(found) if "bytes" in found[large.key_of(case)]]
    for (above, below), (network, title) in zip(grid.T, NETWORKS.items(), strict=True):
        of_network = {case: found[large.key_of(case)] for case in cases if case[0] == network}
        sizes = sorted({size for _, size, _ in of_network})
        for way, label, colour in (
            ("whole", "whole", COLOURS["textbook"]),
            ("tiles", "tiles of 1024", COLOURS["stylelab"]),
        ):
            line = [
                (size, of_network[network, size, way]["bytes"] / 1e9)
                for size in sizes
                if (network, size, way) in of_network
            ]
            above.plot(*zip(*line, strict=True), "o-", color=colour, label=label) if line else None
        above.set_xscale("log")
        above.set_ylim(bottom=0)
        above.set_xticks(sizes, [str(size) for size in sizes])
        above.set_xticks([], minor=True)
        above.set_title(f"{title}, random weights" if network == "random" else title)
        above.set_xlabel("longer side, pixels")
        if 2048 in sizes:
            _at_one_size(below, of_network, 2048)
        for axis in (above, below):
            axis.grid(alpha=0.3)
    grid[0, 0].set_ylabel("peak memory, GB")
    grid[1, 0].set_ylabel("µs per pixel and step")
    for axis in (*grid[0], grid[1, 0]):
        if axis.lines:
            axis.legend(frameon=False)
    machine = data["machine"]
    figure.suptitle(f"{machine['processor']}, {machine['threads']} threads", fontsize="medium")
    return figure


def _at_one_size(axis: Axes, found: dict[tuple, dict], size: int) -> None:
    """Time against memory: tiles of several sides, as a memory chooses them, and others."""
    for kind, unit, label, look, colour in (
        ("whole", "", "whole", "s", COLOURS["textbook"]),
        ("tiles", " ", "tiles, sides in pixels", "o-", COLOURS["stylelab"]),
        ("memory", " GB", "--memory", "^-", MORE[1]),
        ("recomputed", "", "recomputed", "D", MORE[3]),
    ):
        points = sorted(
            (each["bytes"] / 1e9, large.per_pixel(each), way.partition(":")[2] or "1024")
            for (_, at, way), each in found.items()
            if at == size and way.partition(":")[0] == kind
        )
        side, far = ("right", -7) if kind == "memory" else ("left", 7)
        for x, y, number in points if unit else ():
            axis.annotate(
                number + unit, (x, y), (far, -3), textcoords="offset points", ha=side, size=7
            )
        xs, ys = [[point[i] for point in points] for i in (0, 1)]
        axis.plot(xs, ys, look, color=colour, label=label)
    axis.margins(0.15)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel(f"peak memory at {size} pixels, GB")


def save(file: Path) -> Path:
    """Draw a file of results as a PNG of the same name, and return its path."""
    data, path = read(file), file.with_suffix(".png")
    of_quality = any(key.startswith("quality/") for key in data["measurements"])
    of_large = bool(large.of_cases(data["measurements"]))
    figure = (draw_quality if of_quality else draw_large if of_large else draw)(data)
    with atomic(path) as temporary:
        figure.savefig(temporary)
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(RESULTS.glob("*.json")):
        print(save(Path(name)))
