"""Large images: peak memory and seconds per step, whole, in tiles, and with recomputation.

    python -m benchmarks.large                          all cases, kept in results/large.json
    python -m benchmarks.large --quick                  small: does it run?
    python -m benchmarks.large vgg19-mini 4096 tiles    one case, in this process

Each case has a process of its own. It does the first evaluation and two steps of Adam from the
photograph, in frequencies. The time is that of the second step; the memory is the most that the
process had, PyTorch's libraries and the images included. Ways: `whole`; `tiles`, or `tiles:512` for
another side than 1024; `recomputed`, where the maps between the layers that are matched are not
kept for the backward pass but computed again in it (`torch.utils.checkpoint`).
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from types import MethodType

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from benchmarks import contenders
from benchmarks.measure import ROOT
from benchmarks.memory import peak
from benchmarks.store import RESULTS
from stylelab import transfer
from stylelab.engine.tiled import InTiles
from stylelab.vgg import VGG

CASES = [
    *(("vgg19-mini", size, way) for size in (2048, 4096, 8192) for way in ("whole", "tiles")),
    *(("random", size, way) for size in (2048, 4096) for way in ("whole", "tiles")),
    *(("random", 2048, way) for way in ("tiles:512", "tiles:768", "recomputed")),
    ("vgg19-mini", 2048, "tiles:512"),
    ("vgg19-mini", 2048, "recomputed"),
]
QUICK = [("vgg19-mini", 256, way) for way in ("whole", "tiles:128", "recomputed")]


def recomputed(network: VGG, image: Tensor, layers: set[str]) -> Iterator[tuple[str, Tensor]]:
    """As `VGG.features_by_layer`, keeping nothing between one of `layers` and the next."""
    x, asked = network.input(image), network.check_layers(layers)
    known = list(network.layers[: network.layers.index(asked[-1]) + 1])
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
    device = torch.device("cpu")
    network = contenders.load(name, device)
    content, style = contenders.pair(size, device)
    if way == "recomputed":
        network.features_by_layer = MethodType(recomputed, network)
    side = int(way.partition(":")[2] or 1024) if way.startswith("tiles") else 10**6
    moments: list[float] = []

    def clock(run, states):
        for state in states:
            moments.append(time.perf_counter())
            yield state

    how = {"alpha_beta": contenders.ALPHA_BETA, "optimiser": "adam", "progress": False}
    transfer(network, content, style, steps=2, hooks=[clock, InTiles(side)], **how)
    pixels = content.shape[2] * content.shape[3]
    seconds = moments[2] - moments[1]
    return {"pixels": pixels, "seconds": seconds, "bytes": peak(device)}


def table(found: dict[str, dict]) -> str:
    """The cases as a table; times beside those of the whole image, where that was measured."""
    lines = ["| network | longer side | way | GB | µs per pixel | of the whole's |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for key, each in found.items():
        name, size, way = key.split("/")
        if "error" in each:
            lines.append(f"| {name} | {size} | {way} | {each['error']} | – | – |")
            continue
        cost = 1e6 * each["seconds"] / each["pixels"]
        whole = found.get(f"{name}/{size}/whole", {})
        share = f"{each['seconds'] / whole['seconds']:.2f}" if "seconds" in whole else "–"
        lines.append(
            f"| {name} | {size} | {way} | {each['bytes'] / 1e9:.2f} | {cost:.2f} | {share} |"
        )
    return "\n".join(lines)


def main() -> None:
    """One case, or all of them, each in its process; what is there already is not done again."""
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
        return
    quick = sys.argv[1:] == ["--quick"]
    path = RESULTS / ("large-quick.json" if quick else "large.json")
    found = json.loads(path.read_text()) if path.exists() and not quick else {}
    for name, size, way in QUICK if quick else CASES:
        if (key := f"{name}/{size}/{way}") in found:
            continue
        command = [sys.executable, "-m", "benchmarks.large", name, str(size), way]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        words = done.stdout.splitlines()
        found[key] = json.loads(words[-1]) if done.returncode == 0 else {"error": "does not fit"}
        if not quick:
            path.write_text(json.dumps(found, indent=1) + "\n")
        print(key, found[key], flush=True)
    print(f"\n{table(found)}")


if __name__ == "__main__":
    main()
