"""The tables in docs/speed.md: goals and measurements of speed and quality, and large pictures.

python -m benchmarks.report [FILE ...]

Each is written once there are results: cpu.json, quality.json, large.json and scratch.json in
results/. With files of results: prints their tables in Markdown instead.
"""

import sys
from pathlib import Path
from statistics import median

from benchmarks import large, reached
from benchmarks.large import NETWORKS
from benchmarks.store import RESULTS, read

PAGE = RESULTS.parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- benchmarks.report: begin -->", "<!-- benchmarks.report: end -->"
QUALITY = "<!-- benchmarks.report quality: begin -->", "<!-- benchmarks.report quality: end -->"
LARGE = "<!-- benchmarks.report large: begin -->", "<!-- benchmarks.report large: end -->"
SCRATCH = "<!-- benchmarks.report scratch: begin -->", "<!-- benchmarks.report scratch: end -->"

Row = tuple[str, str, str]  # goal, measured, whether it is met
NO_GPU = "unconfirmed: no GPU here"
NOT_YET = "not measured"


def met(value: float, goal: float | None) -> str:
    """What the last column says."""
    return "–" if goal is None else "yes" if value <= goal else "**no**"


def seconds(value: float) -> str:
    """Seconds with three digits, and no more than two after the point."""
    return f"{value:.0f} s" if value >= 100 else f"{value:.3g} s"


def steps(found: dict, on_cpu: bool) -> list[Row]:
    """Seconds per step against the textbook's."""
    rows = []
    for network, title in NETWORKS.items():
        for size in (128, 256, 512, 1024, 2048):
            goal = 0.75 if on_cpu and network == "random" and size in (256, 512) else None
            name = f"a step, {title}, {size} px" + (f": at most {goal} of textbook" if goal else "")
            if one := found.get(f"step/{network}/{size}"):
                theirs, ours = (median(one["seconds"][k]) for k in ("textbook", "stylelab"))
                ratio = ours / theirs
                told = f"{ratio:.2f} ({seconds(ours)}, textbook {seconds(theirs)})"
                rows.append((name, told, met(ratio, goal)))
            elif goal:
                rows.append((name, NOT_YET, "–"))
    return rows


def to_loss(found: dict, on_cpu: bool) -> list[Row]:
    """Seconds to the textbook's loss; a goal counts for the best of the settings."""
    rows = []
    for network, size in (("vgg19-mini", 256), ("vgg19-mini", 512), ("random", 256)):
        name = f"to textbook's loss, {NETWORKS[network]}, {size} px: at most 0.35 of its time"
        one = found.get(f"to-loss/{network}/{size}")
        if one is None:
            rows.append((name, NOT_YET, "–"))
            continue
        theirs, told, best = median(r["textbook"]["seconds"] for r in one["runs"]), [], []
        for setting in one["runs"][0]:
            if setting == "textbook":
                continue
            ours = [run[setting]["seconds"] for run in one["runs"]]
            if None in ours:
                told.append(f"{setting}: not in {one['most']} steps")
            else:
                best.append(median(ours) / theirs)
                taken = median(run[setting]["steps"] for run in one["runs"])
                told.append(f"{setting} {best[-1]:.2f} ({seconds(median(ours))}, {taken:g} steps)")
        told.append(f"textbook {seconds(theirs)}, {one['steps']} steps")
        verdict = met(min(best), 0.35) if best else "**no**"
        rows.append((name, "; ".join(told), verdict))
    return rows


def finished(found: dict, on_cpu: bool) -> list[Row]:
    """Seconds of a whole transfer on the small network."""
    rows = []
    for size, goal in ((256, 10), (512, 60)):
        name = f"a finished transfer, vgg19-mini, {size} px: at most {goal} s"
        one = found.get(f"finish/vgg19-mini/{size}")
        if one is None:
            rows.append((name, NOT_YET, "–"))
            continue
        taken = median(one["seconds"])
        told = f"{seconds(taken)} ({one['levels']} levels of {one['steps']} steps"
        if theirs := found.get(f"to-loss/vgg19-mini/{size}"):
            last = median(run["textbook"]["records"][-1][1] for run in theirs["runs"])
            told += f"; loss {one['loss'] / last:.2f} of textbook's after {theirs['steps']}"
        rows.append((name, told + ")", met(taken, goal)))
    return rows


def memory(found: dict, on_cpu: bool) -> list[Row]:
    """Peak memory against the textbook's."""
    rows = []
    for network, goal in (("random", 0.6), ("vgg19-mini", None)):
        name = f"peak memory, {NETWORKS[network]}, 1024 px"
        name += f": at most {goal} of textbook" if goal else ""
        if one := found.get(f"memory/{network}/1024"):
            theirs, ours = (one["bytes"][k] for k in ("textbook", "stylelab"))
            told = f"{ours / theirs:.2f} ({ours / 1e9:.2f} GB, textbook {theirs / 1e9:.2f} GB)"
            rows.append((name, told, met(ours / theirs, goal)))
        else:
            rows.append((name, NOT_YET, "–"))
    return rows


def growth(found: dict, on_cpu: bool) -> list[Row]:
    """Seconds per pixel at 2048 px over those at 512 px."""
    rows = []
    for network, title in NETWORKS.items():
        name = f"time per pixel, {title}, 2048 px: at most 1.15 of that at 512 px"
        both = [found.get(f"step/{network}/{size}") for size in (512, 2048)]
        if None in both:
            rows.append((name, NOT_YET, "–"))
            continue

        def per_pixel(one: dict, who: str) -> float:
            return median(one["seconds"][who]) / (one["pixels"][0] * one["pixels"][1])

        ours, theirs = (
            per_pixel(both[1], who) / per_pixel(both[0], who) for who in ("stylelab", "textbook")
        )
        rows.append((name, f"{ours:.2f} (textbook {theirs:.2f})", met(ours, 1.15)))
    return rows


def gpu(found: dict, on_cpu: bool) -> list[Row]:
    """What is promised for a GPU; on a CPU the batch is measured, without a goal."""
    name = "500 steps, VGG-19, 512 px, on a GPU: at most 1 s"
    one = found.get("paper/random/512")
    if on_cpu or one is None:
        rows = [(name, NOT_YET, NO_GPU if on_cpu else "–")]
    else:
        taken = median(one["seconds"])
        rows = [(name, seconds(taken), met(taken, 1.0))]
    name = "figure 1's ten panels, as a batch on a GPU: at most 0.5 of one by one"
    measured = [(key, one) for key, one in found.items() if key.startswith("panels/")]
    if not measured:
        rows.append((name, NOT_YET, NO_GPU if on_cpu else "–"))
    for key, one in measured:
        both = {who: median(one["seconds"][who]) for who in ("batch", "singles")}
        ratio = both["batch"] / both["singles"]
        _, network, size = key.split("/")
        told = f"{ratio:.2f} ({seconds(both['batch'])}, singly {seconds(both['singles'])}; "
        told += f"{NETWORKS[network]}, {size} px, {one['steps']} steps"
        told += "; on a CPU)" if on_cpu else ")"
        rows.append((name, told, NO_GPU if on_cpu else met(ratio, 0.5)))
    return rows


def waits(found: dict, on_cpu: bool) -> list[Row]:
    """A transfer by how threads wait for each other, with and without other work."""
    rows = []
    for key, one in found.items():
        if key.startswith("busy/"):
            _, _, size, work = key.split("/")
            for load, place in (("free", "on a free machine"), ("busy", "beside a busy core")):
                taken = {who: median(values) for who, values in one["seconds"][load].items()}
                told = f"{seconds(taken['stylelab'])}; {seconds(taken['default'])} with the "
                told += f"libraries' own waiting, {seconds(taken['one thread'])} with one thread"
                rows.append(
                    (f"{work}, {one['steps']} steps, vgg19-mini, {size} px, {place}", told, "–")
                )
    return rows


def rival(found: dict, on_cpu: bool) -> list[Row]:
    """The program neural-style, next to the same steps."""
    rows = []
    for key, one in found.items():
        if key.startswith("rival/"):
            taken = {who: median(values) for who, values in one["seconds"].items()}
            told = f"{taken['stylelab'] / taken['neural-style']:.2f} of neural-style "
            told += f"({seconds(taken['neural-style'])}), which is "
            told += f"{taken['neural-style'] / taken['textbook']:.2f} of textbook"
            rows.append((f"a step, VGG-19, {key.split('/')[1]} px, early in a run", told, "–"))
    return rows


def to_quality(found: dict, on_cpu: bool) -> list[Row]:
    """Seconds to the textbook's quality; the goal counts for the best of stylelab's ways."""
    rows = []
    for title, several in reached.groups(found):
        for step in several[0]["goals"]:
            told, best = [], []
            for name in several[0]["runs"]:
                if name != "textbook":
                    ratios = reached.shares(several, name, step)
                    alone = _middle(reached.shares(several, name, step, edges=False))
                    told.append(f"{name} {_middle(ratios)}, by style alone {alone}")
                    best += [median(ratios)] if name.startswith("stylelab") else []
            theirs = [reached.seconds_at(one["runs"]["textbook"], step) for one in several]
            told.append(f"textbook {seconds(median(theirs))}")
            goal = f"to textbook's quality after {step} steps, {title}: at most 0.35 of its time"
            rows.append((goal, "; ".join(told), met(min(best), 0.35)))
    return rows


def _middle(ratios: list[float]) -> str:
    """The median, and the range if there are several; "never" for what was not reached."""
    named = ["never" if one == float("inf") else f"{one:.2f}" for one in sorted(ratios)]
    middle = median(ratios)
    told = "never" if middle == float("inf") else f"{middle:.2f}"
    return told if len(named) == 1 else f"{told} ({named[0]} to {named[-1]})"


def pictures(found: dict, on_cpu: bool) -> list[Row]:
    """What the pictures are like at the last checkpoint; medians over the artworks."""
    rows = []
    for title, several in reached.groups(found):
        for name, run in several[0]["runs"].items():
            step = run["steps"][-1]

            def value(measure: str, who: str = name, at: int = step, all_: list = several) -> float:
                return median(reached.at(one["runs"][who], at, measure) for one in all_)

            regular = "finest regularity"
            told = f"style {value('style'):.3g}, edges {value('edges'):.2f}, finest luminance "
            told += f"{value('finest luminance'):.2f} and chroma {value('finest chroma'):.2f} of "
            told += f"the artwork's, regularity {value(regular):.2f}, in calm places "
            told += f"{value(regular + ' in calm places'):.2f} (artwork's "
            told += f"{value(regular + ' of the artwork'):.2f}), rim {value('rim'):.0f} (artwork's "
            told += f"{value('rim of the artwork'):.0f})"
            rows.append((f"{name} after {step} steps, {title}", told, "–"))
    return rows


def table(data: dict) -> str:
    """One file's results as Markdown."""
    on_cpu, found = data["machine"]["device"] == "cpu", data["measurements"]
    about = ", ".join(f"{k} {v}" for k, v in data["machine"].items() if v is not None)
    if large.of_cases(found):
        return f"Measured with {about}. VGG-19 has random weights.\n\n{large.table(found)}"
    of_quality = [key for key in found if key.startswith("quality/")]
    parts = (steps, rival, to_loss, finished, memory, growth, waits, gpu)
    speed = len(of_quality) < len(found) or not found
    rows = [row for part in parts for row in part(found, on_cpu)] if speed else []
    if speed and not any(key.startswith("rival/") for key in found):
        here = data["machine"]["neural-style"]
        why = NOT_YET if here else "not measured: neural-style 0.5.7 is not installed here"
        rows.append(("a step of neural-style", why, "–"))
    rows += [row for part in (to_quality, pictures) for row in part(found, on_cpu)]
    note = "Medians; VGG-19 has random weights." if speed else "Medians over the artworks."
    lines = [f"Measured with {about}. {note}"]
    lines += ["", "| goal | measured | met? |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def write(page: Path, results: Path, begin: str = BEGIN, end: str = END) -> None:
    """Replace the table between two markers of `page`."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    text = f"{before}{begin}\n\n{table(read(results))}\n\n{end}{after}"
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Print the tables of the files named, or write those of docs/speed.md."""
    if files := [Path(name) for name in sys.argv[1:]]:
        print("\n\n".join(table(read(file)) for file in files))
    else:
        write(PAGE, RESULTS / "cpu.json")
        parts = {"quality": QUALITY, "large": LARGE, "scratch": SCRATCH}
        for name, markers in parts.items():
            if (found := RESULTS / f"{name}.json").exists():
                write(PAGE, found, *markers)


if __name__ == "__main__":
    main()
