"""Measure, and print the table.

    python -m benchmarks                        everything; takes hours on a CPU
    python -m benchmarks --quick                small sizes and few repeats: does it run?
    python -m benchmarks step memory            some measurements
    python -m benchmarks step --sizes 512 --networks random
    python -m benchmarks quality --judge FILE   quality against time, kept in quality.json

Results are kept in benchmarks/results/NAME.json after every measurement; what is there is not
measured again, unless with --force.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import busy, measure, neural_style_program, quality
from benchmarks.contenders import NETWORKS
from benchmarks.report import table
from benchmarks.store import RESULTS, Store, machine
from stylelab import gallery
from stylelab.engine.devices import pick_device
from stylelab.errors import StylelabError

KINDS = {
    "step": "seconds per step against size",
    "rival": "seconds per step of neural-style 0.5.7, where it is installed",
    "to-loss": "seconds to the loss that the textbook has after 500 steps",
    "finish": "seconds of a whole transfer, coarse to fine",
    "memory": "peak memory",
    "panels": "figure 1's ten panels as a batch and singly",
    "paper": "seconds of 500 steps of VGG-19, on a GPU",
    "busy": "seconds of transfers, sessions, notebooks beside other work, by how threads wait",
    "quality": "quality against steps and seconds; only when it is asked for, by itself",
}
REPEATS = {128: 9, 256: 7, 512: 5, 1024: 3, 2048: 3}  # of a step


def plan(options: argparse.Namespace, device) -> Iterator[tuple[str, Callable[[], dict]]]:
    """The measurements asked for: a key, and what to do for it."""
    quick, on_cpu = options.quick, device.type == "cpu"

    def cases(kind: str, *known: tuple[str, int]) -> Iterator[tuple[str, str, int]]:
        if kind not in options.kinds:
            return
        if options.sizes:  # any size may be asked for
            known = [(n, s) for n in dict.fromkeys(n for n, _ in known) for s in options.sizes]
        for network, size in known:
            if network in (options.networks or NETWORKS):
                yield f"{kind}/{network}/{size}", network, size

    def repeats(default: int) -> int:
        return options.repeats or (2 if quick else default)

    sizes = (128, 256) if quick else tuple(REPEATS)
    for key, network, size in cases("step", *((n, s) for s in sizes for n in NETWORKS)):
        count = repeats(REPEATS.get(size, 3))
        yield key, lambda n=network, s=size, c=count: measure.step(n, s, c, device)
    if neural_style_program.is_installed():
        for _, _, size in cases(
            "rival", *(("random", s) for s in ((128,) if quick else (256, 512)))
        ):
            yield f"rival/{size}", lambda s=size: measure.rival(s, repeats(3), device)
    elif "rival" in options.kinds:
        print("rival: neural-style is not installed; pip install -r benchmarks/requirements.txt")
    known = [("vgg19-mini", 128)] if quick else [("vgg19-mini", 256), ("vgg19-mini", 512)]
    known += [] if quick else [("random", 256)]
    steps = options.steps or (40 if quick else 500)
    coarse = options.coarse_steps or (10 if quick else 60)
    for key, network, size in cases("to-loss", *known):
        yield (
            key,
            lambda n=network, s=size: measure.to_loss(n, s, repeats(1), device, steps, coarse),
        )
    levels, each = options.levels, options.finish_steps or (10 if quick else 60)
    known = [("vgg19-mini", size) for size in ((128,) if quick else (256, 512))]
    for key, network, size in cases("finish", *known):
        yield (
            key,
            lambda n=network, s=size: measure.finish(n, s, repeats(3), device, levels, each),
        )
    for key, network, size in cases("memory", *((n, 128 if quick else 1024) for n in NETWORKS)):
        yield key, lambda n=network, s=size: measure.memory(n, s, device)
    small, count = (128, 2 if quick else 10) if on_cpu else (512, 100)
    for key, network, size in cases("panels", ("random", small)):
        yield key, lambda n=network, s=size: measure.panels(n, s, repeats(3), device, count)
    if on_cpu:
        for key, _, size in cases(
            "busy", *(("vgg19-mini", s) for s in ((128,) if quick else (128, 256)))
        ):
            for work in ("transfer",) if quick else ("transfer", "session", "notebooks"):
                few = repeats(2 if work == "notebooks" else 3)
                task = lambda w=work, s=size, n=few: busy.busy(w, s, n, 10 if quick else 40)  # noqa: E731
                yield f"{key}/{work}", task
    else:
        for key, network, size in cases("paper", ("random", 512)):
            yield key, lambda n=network, s=size: measure.paper(n, s, repeats(3), device, 500)


def plan_quality(options: argparse.Namespace, device) -> Iterator[tuple[str, Callable[[], dict]]]:
    """The measurements of quality asked for, one for each artwork."""
    quick, parts = options.quick, quality.ARTWORKS
    checkpoints = quality.QUICK_CHECKPOINTS if quick else quality.CHECKPOINTS
    goals = quality.QUICK_GOALS if quick else quality.GOALS
    for network in options.networks or ["vgg19-mini"]:
        for size in options.sizes or [96 if quick else 256]:
            for part in parts[:2] if quick else parts:
                names = [Path(network).stem, size, Path(options.judge).stem]
                key = "/".join(map(str, ["quality", *names, gallery.cast(options.images)[part]]))
                asked = (network, size, options.images, part, options.judge, device)
                yield key, lambda a=asked: quality.quality(*a, checkpoints, goals)


def main() -> None:
    """Do what was asked for, and print the table of all there is."""
    epilog = "measurements:\n" + "\n".join(f"  {k:<9} {v}" for k, v in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kinds", nargs="*", metavar="MEASUREMENT", help="default: all")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    parser.add_argument("--name", help="of the file of results (default: the device)")
    parser.add_argument("--quick", action="store_true", help="small, for trying out; name: quick")
    parser.add_argument("--force", action="store_true", help="measure again what is there")
    parser.add_argument("--sizes", type=int, nargs="+", help="longer sides in pixels")
    parser.add_argument("--networks", nargs="+", help=f"{', '.join(NETWORKS)}; for quality, any")
    parser.add_argument("--judge", help="for quality: network that is not optimised, name or file")
    parser.add_argument("--images", default="embedded", choices=gallery.KINDS, help="for quality")
    parser.add_argument("--repeats", type=int, help="of everything")
    parser.add_argument("--steps", type=int, help="of the textbook, in to-loss (500)")
    parser.add_argument("--coarse-steps", type=int, help="on each coarse level, in to-loss (60)")
    parser.add_argument("--finish-steps", type=int, help="on each level, in finish (60)")
    parser.add_argument("--levels", type=int, default=3, help="in finish (3)")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    of_quality = "quality" in options.kinds
    if of_quality and (len(options.kinds) > 1 or not options.judge):
        parser.error("quality is measured by itself, and needs a --judge")
    if not of_quality and (unknown := set(options.networks or ()) - set(NETWORKS)):
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(NETWORKS)}")
    options.kinds = options.kinds or [kind for kind in KINDS if kind != "quality"]
    try:
        device = pick_device(options.device)
        usual = "quality" if of_quality else device.type
        name = options.name or ("quick" if options.quick else usual)
        path: Path = RESULTS / f"{name}.json"
        store = Store(path, machine(device))
        for key, work in (plan_quality if of_quality else plan)(options, device):
            print(f"{key} ...", end=" ", flush=True)
            done = store.measure(key, work, options.force)
            print("done" if done else "is there already", flush=True)
    except StylelabError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; what was measured is in {path}")
    print(f"\n{table(store.data)}")


if __name__ == "__main__":
    main()
