"""Large images: peak memory and seconds per step, whole, in tiles, and with recomputation.

    python -m benchmarks.large                          kept in results/large.json
    python -m benchmarks.large scratch                  with --scratch; results/scratch.json
    python -m benchmarks.large --quick                  small: does it run?
    python -m benchmarks.large vgg19-mini 4096 tiles    one case, in this process
    python -m benchmarks.large --estimate               what a GPU could hold, by the estimate

Each case has a process of its own. It does the first evaluation and four steps of Adam, two in the
largest case of a network, from the photograph, in frequencies, with a network's own hooks. The time
is that of the fastest step after the first, since other work on the computer makes a step slower
only; the memory is the most that the process had, PyTorch's libraries and the images included.

Ways: `whole`; `tiles`, or `tiles:512` for another side than 1024; `memory:2`, tiles as
`--memory 2GB` chooses them, and keeps as many as there is room for; `scratch`, tiles with all
that is as large as the picture in files (`--scratch`); `recomputed`, where the maps
between the layers that are matched are not kept for the backward pass but computed again in it
(`torch.utils.checkpoint`). A whole picture that needs more than is free, by the estimate, is not
tried. Cases that are measured are not measured again: what was interrupted goes on.
"""

import itertools
import json
import signal
import subprocess
import sys
import time
from bisect import bisect
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MethodType

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from benchmarks import contenders
from benchmarks.measure import ROOT
from benchmarks.memory import peak
from benchmarks.store import RESULTS, Store, machine
from stylelab import transfer
from stylelab.adam import adam
from stylelab.engine import memory
from stylelab.engine.scratch import Scratch
from stylelab.engine.tiled import InTiles
from stylelab.lbfgs import lbfgs
from stylelab.optimisation import Optimiser
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG

Case = tuple[str, int, str]  # network, longer side, way
NETWORKS = {"random": "VGG-19", "vgg19-mini": "vgg19-mini"}
LARGEST = {"random": 4096, "vgg19-mini": 8192}
WAYS = ("whole", "tiles", "scratch", "memory", "recomputed")
LAYERS = (CONTENT_LAYER, *STYLE_LAYERS)
GPUS = (24, 40, 80, 141)  # gigabytes
CPU = torch.device("cpu")
CASES: list[Case] = [  # the quickest first
    *(("vgg19-mini", 1024, way) for way in ("whole", "tiles:512", "recomputed")),
    *(("vgg19-mini", 2048, way) for way in ("whole", "tiles", "tiles:768", "tiles:512")),
    *(("vgg19-mini", 2048, way) for way in ("memory:1.6", "memory:2.4", "recomputed")),
    *(("random", 1024, way) for way in ("whole", "tiles:512", "tiles:256", "recomputed")),
    *(("vgg19-mini", 4096, way) for way in ("whole", "tiles", "tiles:2048", "memory:6")),
    *(("random", 2048, way) for way in ("whole", "tiles")),
    *(("vgg19-mini", 8192, way) for way in ("whole", "tiles")),
    ("random", 4096, "tiles"),
]
SCRATCH: list[Case] = [
    *(("vgg19-mini", size, "scratch:512") for size in (2048, 4096, 8192)),
    *(("random", size, "scratch:512") for size in (2048, 4096)),
]
QUICK: list[Case] = [
    ("vgg19-mini", 256, way) for way in ("whole", "tiles:128", "memory:1", "recomputed")
]


def recomputed(network: VGG, image: Tensor, layers: set[str]) -> Iterator[tuple[str, Tensor]]:
    """As `VGG.features_by_layer`, keeping nothing between one of `layers` and the next."""
    x, asked = network.input(image), network.check_layers(layers)
    known = network.up_to(asked[-1])
    for layer in asked:
        part, known = known[: known.index(layer) + 1], known[known.index(layer) + 1 :]

        def segment(x: Tensor, part: list[str] = part) -> Tensor:
            for each in part:
                x = F.relu(network.convolve(each, x))
            return x

        x = checkpoint(segment, x, use_reentrant=False)
        yield layer, x


def measure(name: str, size: int, way: str) -> dict:
    """One case, in this process."""
    network = contenders.load(name, CPU)
    if way == "recomputed":
        network.features_by_layer = MethodType(recomputed, network)
    kind, _, number = way.partition(":")
    tiled = InTiles(10**6)
    if kind in ("tiles", "scratch"):
        tiled = InTiles(int(number or 1024))
    elif kind == "memory":
        tiled = InTiles(memory=float(number) * memory.GB)
    moments: list[float] = []

    def clock(run, states):
        for state in states:
            moments.append(time.perf_counter())
            yield state

    steps = 2 if size >= LARGEST[name] else 4
    how = {"alpha_beta": contenders.ALPHA_BETA, "steps": steps, "progress": False}
    hooks = [*network.hooks, clock, tiled]
    with TemporaryDirectory() as folder, Scratch(folder) if kind == "scratch" else nullcontext():
        content, style = contenders.pair(size, CPU)
        pixels = content.shape[2] * content.shape[3]
        transfer(network, content, style, optimiser="adam", hooks=hooks, **how)
    seconds = min(end - begin for begin, end in itertools.pairwise(moments[1:]))
    return {"pixels": pixels, "seconds": seconds, "bytes": peak(CPU), "tile": tiled.used}


def apart(name: str, size: int, way: str) -> dict:
    """One case, in a process of its own, if it can fit.

    Raises:
        subprocess.CalledProcessError: if it fails for another reason than memory.
    """
    content, style = (tuple(each.shape[:1:-1]) for each in contenders.pair(64, CPU))
    network = contenders.load(name, CPU)
    asked = [LAYERS, content, [style], size, "cpu", adam]
    need, _ = memory.needed_for_files(network, *asked, targets=[CONTENT_LAYER])
    if way == "whole" and need > memory.free("cpu"):
        return {"error": f"not tried: {need / memory.GB:.0f} GB by the estimate"}
    command = [sys.executable, "-m", "benchmarks.large", name, str(size), way]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode == -signal.SIGKILL:
        return {"error": "memory ran out"}
    done.check_returncode()
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[str, dict]) -> str:
    """The cases as a table; times beside those of the whole image, where that was measured."""
    lines = ["| network | longer side | way | GB | µs per pixel | of the whole's |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for name, size, way in sorted(of_cases(found), key=_place):
        each, title = found[key_of((name, size, way))], NETWORKS[name]
        if "error" in each:
            lines.append(f"| {title} | {size} | {told(way, each)} | {each['error']} | – | – |")
            continue
        cost, whole = per_pixel(each), found.get(key_of((name, size, "whole")), {})
        share = f"{each['seconds'] / whole['seconds']:.2f}" if "seconds" in whole else "–"
        memory_ = f"{each['bytes'] / memory.GB:.2f}"
        lines.append(f"| {title} | {size} | {told(way, each)} | {memory_} | {cost:.2f} | {share} |")
    return "\n".join(lines)


def _place(case: Case) -> tuple:
    name, size, way = case
    kind, _, number = way.partition(":")
    return list(NETWORKS).index(name), size, WAYS.index(kind), -float(number or 1024)


def of_cases(found: dict[str, dict]) -> list[Case]:
    """The cases that were measured, or not tried."""
    keys = [key.split("/") for key in found if key.startswith("large/")]
    return [(name, int(size), way) for _, name, size, way in keys]


def key_of(case: Case) -> str:
    """Under which the results of a case are kept."""
    return "/".join(["large", *map(str, case)])


def told(way: str, each: dict) -> str:
    """A way in words."""
    kind, _, number = way.partition(":")
    if kind == "memory":
        tiles = f"tiles of {each['tile']}" if each.get("tile") else "no tiles"
        return f"`--memory {number}GB`: {tiles}"
    if kind in ("tiles", "scratch"):
        return f"`--tile {number or 1024}`" + (", `--scratch`" if kind == "scratch" else "")
    return kind


def per_pixel(each: dict) -> float:
    """Microseconds per pixel of a step."""
    return 1e6 * each["seconds"] / each["pixels"]


def estimate() -> str:
    """The longest side, 3:2, that tiles of 1024 pixels leave room for in a GPU's memory."""
    lines = ["| network | optimiser | 24 GB | 40 GB | 80 GB | 141 GB |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    optimisers = {"L-BFGS": lbfgs, "L-BFGS, `--history 5`": partial(lbfgs, history=5), "Adam": adam}
    for name, (label, optimiser) in itertools.product(("random", "vgg19-mini"), optimisers.items()):
        network = contenders.load(name, CPU)

        def need(side: int, network: VGG = network, optimiser: Optimiser = optimiser) -> float:
            how = "cuda", optimiser, (), (CONTENT_LAYER,), 1024
            return memory.needed(network, LAYERS, (1, 3, side * 2 // 3, side), *how)

        sides = range(1024, 65536, 64)
        fitting = [sides[bisect(sides, memory.USED * gb * 1e9, key=need) - 1] for gb in GPUS]
        found = " | ".join(f"{side:,} px" for side in fitting)
        lines.append(f"| {NETWORKS[name]} | {label} | {found} |")
    return "\n".join(lines)


def main() -> None:
    """One case, or all of them, each in its process; what is there already is not done again."""
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
        return
    if sys.argv[1:] == ["--estimate"]:
        print(estimate())
        return
    quick, scratch = (sys.argv[1:] == [each] for each in ("--quick", "scratch"))
    began, name = time.perf_counter(), "scratch.json" if scratch else "large.json"
    with TemporaryDirectory() as folder:
        store = Store((Path(folder) if quick else RESULTS) / name, machine(CPU))
        for case in QUICK if quick else SCRATCH if scratch else CASES:
            if store.measure(key := key_of(case), lambda case=case: apart(*case)):
                print(key, store.data["measurements"][key], flush=True)
    print(f"\n{table(store.data['measurements'])}\n\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
