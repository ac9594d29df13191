"""The memory that an optimisation needs, estimated before it starts.

The estimate counts what is large: feature maps and their gradients, and the vectors of L-BFGS.
`benchmarks` measures what is really used; a test compares the two.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence

import torch
from tqdm.auto import tqdm

from stylelab.errors import StylelabError
from stylelab.lbfgs import State
from stylelab.objective import CPU_PIXELS, Objective
from stylelab.optimisation import Run
from stylelab.vgg import VGG

GB = 1e9
FLOAT = 4
PAIRS = 2 * 20  # s and y of the default history
VECTORS = 15  # others of an image's size: iterates, gradients, directions, and temporary ones
# Maps held at the peak for each that is computed: features, gradients, copies with an edge.
MAPS = {"zeros": 1.75, "reflect": 2.7}


def maps_per_pixel(network: VGG, layers: Iterable[str]) -> float:
    """Feature maps, up to the deepest of `layers`, of the image's size if each were enlarged."""
    deepest = network.check_layers(layers)[-1]
    computed = network.layers[: network.layers.index(deepest) + 1]
    return sum(network.widths[layer] / 4 ** (int(layer[4]) - 1) for layer in computed)


def needed(network: VGG, layers: Iterable[str], shape: Sequence[int], device: str = "cpu") -> float:
    """Bytes, beside the network's, for optimising images of `shape` (N, 3, H, W) at `layers`."""
    count, _, height, width = shape
    pixels = height * width
    at_once = min(count, max(1, CPU_PIXELS // pixels)) if device == "cpu" else count
    vectors = 3 * (PAIRS + VECTORS) * count
    maps = MAPS[network.padding] * maps_per_pixel(network, layers) * at_once
    return FLOAT * pixels * (vectors + maps)


def free(device: str) -> float:
    """The bytes free, on a GPU the fewer of its own and the computer's; infinite if not known."""
    try:
        import psutil  # comes with IPython

        found = float(psutil.virtual_memory().available)
    except ImportError:
        found = float("inf")
    if device.startswith("cuda"):
        found = min(found, torch.cuda.mem_get_info(device)[0])
    return found


def sentence(network: VGG, layers: Iterable[str], shape: Sequence[int], device: str) -> str:
    """What is needed, what is free, and the largest size that fits."""
    need, there = needed(network, layers, shape, device), free(device)
    count, _, height, width = shape
    fitting = int(max(height, width) * math.sqrt(max(there, 0) / need))
    images = "an image" if count == 1 else f"{count} images"
    return (
        f"{images} of {width} x {height} pixels on {network.name} may need {need / GB:.1f} GB of "
        f"memory, and {there / GB:.1f} GB are free on {device}; the largest size that fits is "
        f"about {fitting} pixels"
    )


def warn_if_short(run: Run, states: Iterator[State]) -> Iterator[State]:
    """A hook: says on stderr when a run may need more memory than is free, and begins all the same.

    Raises:
        StylelabError: when memory does run out; it names the largest size that fits.
    """
    if not isinstance(run.objective, Objective):
        yield from states
        return
    network, device = run.objective.network, str(run.start.device)
    asked = network, run.objective.layers, run.start.shape, device
    if needed(*asked) > free(device):
        tqdm.write(f"stylelab: {sentence(*asked)}", file=sys.stderr)
    try:
        yield from states
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise StylelabError(sentence(*asked)) from error


def is_memory(error: BaseException) -> bool:
    """Whether memory was short; PyTorch on the CPU has no exception of its own for that."""
    if isinstance(error, MemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return any(said in str(error) for said in words)
