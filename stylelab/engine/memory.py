"""The memory that an optimisation needs, estimated before it starts.

The estimate is of the tensors that are large: feature maps and their gradients, and the vectors of
L-BFGS. `benchmarks` measures what is really used; a test compares the two.
"""

import math
import sys
from collections.abc import Iterable

from torch import Tensor
from tqdm.auto import tqdm

from stylelab.objective import CPU_PIXELS, Objective
from stylelab.runs.capacity import GB, free
from stylelab.vgg import VGG

FLOAT = 4
PAIRS = 2 * 20  # s and y of the default history
VECTORS = 15  # others of an image's size: iterates, gradients, directions, and what is in between
# Maps held at the peak for each that is computed: features, gradients, copies with an edge.
MAPS = {"zeros": 1.75, "reflect": 2.7}


def maps_per_pixel(network: VGG, layers: Iterable[str]) -> float:
    """Feature maps, up to the deepest of `layers`, of the image's size if each were enlarged."""
    deepest = network.check_layers(layers)[-1]
    computed = network.layers[: network.layers.index(deepest) + 1]
    return sum(network.widths[layer] / 4 ** (int(layer[4]) - 1) for layer in computed)


def need(objective: Objective, start: Tensor) -> float:
    """Bytes, beside the network's, for minimising `objective` from `start` `(N, 3, H, W)`."""
    network, (count, _, height, width) = objective.network, start.shape
    pixels = height * width
    at_once = count
    if start.device.type == "cpu":
        at_once = min(count, max(1, CPU_PIXELS // pixels))
    maps = maps_per_pixel(network, [*objective.content, *objective.style])
    vectors = 3 * (PAIRS + VECTORS) * count
    return FLOAT * pixels * (vectors + MAPS[network.padding] * maps * at_once)


def sentence(objective: Objective, start: Tensor) -> str:
    """What is needed, what is free, and the largest size that fits."""
    needed, there = need(objective, start), free(str(start.device))
    height, width = start.shape[2:]
    fitting = int(max(height, width) * math.sqrt(max(there, 0) / needed))
    images = "an image" if len(start) == 1 else f"{len(start)} images"
    return (
        f"{images} of {width} x {height} pixels on {objective.network.name} may need "
        f"{needed / GB:.1f} GB of memory, and {there / GB:.1f} GB are free on {start.device}; "
        f"the largest size that fits is about {fitting} pixels"
    )


def say_if_short(objective: object, start: Tensor) -> None:
    """Say so on stderr when more may be needed than is free; the work begins all the same."""
    if isinstance(objective, Objective) and need(objective, start) > free(str(start.device)):
        tqdm.write(f"stylelab: {sentence(objective, start)}", file=sys.stderr)


def is_memory(error: BaseException) -> bool:
    """Whether memory was short; PyTorch on the CPU has no exception of its own for that."""
    if isinstance(error, MemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return any(said in str(error) for said in words)
