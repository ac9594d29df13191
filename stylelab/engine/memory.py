"""The memory that an optimisation needs, estimated before it starts.

The estimate counts what is large: feature maps and their gradients, and the optimiser's vectors.
"""

import math
import sys
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from stylelab.engine import heap, tiles, winograd
from stylelab.engine.scratch import Scratch
from stylelab.errors import StylelabError
from stylelab.lbfgs import State, lbfgs
from stylelab.objective import CPU_PIXELS, ContentTerm, Objective
from stylelab.optimisation import Optimiser, Run, optimiser_name
from stylelab.room import LARGE, current
from stylelab.vgg import VGG

GB = 1e9
LEAST = 128  # side of a tile: in smaller ones, margins take nearly all of the time
FLOAT = 4
HISTORY = 20  # pairs (s, y) that L-BFGS keeps, where no other number is asked for
# What an optimiser holds at the peak, in images: the s and y of L-BFGS's default history, and
# iterates, gradients, directions, means, and temporary ones. Any other counts as L-BFGS.
VECTORS = {"lbfgs": 2 * HISTORY + 12, "adam": 12}
IN_FILES = 0.7  # the same, where what is as large as a picture is in files
NOT_IN_PARTS = 15  # the same, of a picture that is too small to be transformed in parts
BESIDE = 8  # images that are in files beside the optimiser's vectors: the gradient, the start
# Maps held at the peak for each that is computed: features, gradients, copies with an edge.
MAPS = {"zeros": 2.3, "reflect": 2.7}
KEPT = {"zeros": 1.3, "reflect": 1.6}  # those of them that are kept until the backward pass
USED = 0.8  # of the free memory, where tiles are chosen by it: an estimate may be wrong
GAIN = 1.1  # of the memory with tiles of LEAST: what larger ones may need where nothing fits
LOOKING = 4  # maps of the first layers at the peak, where a style is only looked at
LOADING = 32  # bytes for each pixel of a file while it is decoded
CGROUP = "/sys/fs/cgroup"


def maps_per_pixel(network: VGG, layers: Iterable[str]) -> float:
    """Feature maps, up to the deepest of `layers`, of the image's size if each were enlarged."""
    return _maps(network, network.up_to(network.check_layers(layers)[-1]))


def _maps(network: VGG, layers: Iterable[str]) -> float:
    return sum(network.widths[layer] / 4 ** (int(layer[4]) - 1) for layer in layers)


def needed(
    network: VGG,
    layers: Iterable[str],
    shape: Sequence[int],
    device: str = "cpu",
    optimiser: Optimiser = lbfgs,
    guided: Iterable[str] = (),
    targets: Iterable[str] = (),
    side: int | tuple[int, int] | None = None,
) -> float:
    """Bytes, beside the network's, for optimising images of `shape` (N, 3, H, W) at `layers`.

    Args:
        guided: the layer of each term with a guide, which keeps the maps times the guide as well.
        targets: the layers whose features are a target, and kept.
        side: of the tiles that images are evaluated in, or their height and width; None is the
            whole.
    """
    count, _, height, width = shape
    pixels = seen = height * width
    at_once = min(count, max(1, CPU_PIXELS // pixels)) if device == "cpu" else count
    if side is not None:
        more = 2 * tiles.margin(network, layers)
        rows, columns = side if isinstance(side, tuple) else (side, side)
        at_once, seen = 1, min(height, rows + more) * min(width, columns + more)
    vectors, room = 3 * _vectors(optimiser) * count, scratch_in_use()
    fixed = winograd.still_to_make(network, network.check_layers(layers)[-1], device)
    if room:  # and a block of all vectors, twice
        vectors = 3 * (IN_FILES if pixels > LARGE else NOT_IN_PARTS) * count
        fixed += 2 * FLOAT * room.block * _vectors(optimiser)
    maps = MAPS[network.padding] * maps_per_pixel(network, layers) + _maps(network, guided)
    targets = 0 if room else _maps(network, targets) * count
    return fixed + FLOAT * (pixels * (vectors + targets) + seen * maps * at_once)


def kept(
    network: VGG, layers: Iterable[str], seen: tuple[int, int], guided: Iterable[str] = ()
) -> float:
    """Bytes of what was computed of a tile that sees (height, width), until its gradient is."""
    maps = KEPT[network.padding] * maps_per_pixel(network, layers) + _maps(network, guided)
    return FLOAT * math.prod(seen) * maps


def _vectors(optimiser: Optimiser) -> int:
    """What an optimiser holds, in images; one of a `functools.partial` with its history."""
    found = VECTORS.get(optimiser_name(optimiser), VECTORS["lbfgs"])
    return found + 2 * (getattr(optimiser, "keywords", {}).get("history", HISTORY) - HISTORY)


def scratch_in_use() -> Scratch | None:
    """The room in use, if that is in files."""
    room = current()
    return room if isinstance(room, Scratch) else None


def needed_on_disk(optimiser: Optimiser, sides: tuple[int, int], others: int = 0) -> float:
    """Bytes in files for a picture of (width, height) with a `Scratch`, and `others` as large."""
    return 3 * FLOAT * math.prod(sides) * (_vectors(optimiser) + BESIDE + others)


def side_within(memory: float, network: VGG, layers: Iterable[str], *asked: Any) -> int | None:
    """The side of the largest tiles with which `needed` stays within USED of `memory`.

    None if images need no tiles. Where even tiles of LEAST do not fit, those that need GAIN times
    as much in all: smaller ones would take several times as long, for next to no memory.

    Args:
        asked: as `needed` takes it from `shape` on, up to `targets`.
    """
    if needed(network, layers, *asked) <= USED * memory:
        return None
    grid = tiles.grid_of(network.check_layers(layers))
    sides = range(-(-LEAST // grid), -(-max(asked[0][2:]) // grid))
    limit = max(USED * memory, GAIN * needed(network, layers, *asked, LEAST))
    fitting = bisect(sides, limit, key=lambda n: needed(network, layers, *asked, n * grid))
    return grid * sides[max(fitting - 1, 0)] if sides else LEAST


def needed_for_files(
    network: VGG,
    layers: Iterable[str],
    content: tuple[int, int],
    styles: Sequence[tuple[int, int]],
    size: int | None,
    device: str = "cpu",
    optimiser: Optimiser = lbfgs,
    style_size: int | None = None,
    starts: Sequence[tuple[int, int]] = (),
    **more: Any,
) -> tuple[float, tuple[int, int]]:
    """Bytes at the peak of a whole transfer, and its (width, height), from its files' sizes alone.

    Args:
        content, styles, starts: (width, height) of the files, as their headers say; those of a
            start get the content's size.
        size: the longer side that all are resized to; None keeps their sizes.
        style_size: the styles', if it is another.
        optimiser, more: as `needed` takes them.
    """
    width, height = _resized(content, size)
    resized = [math.prod(_resized(sides, style_size or size)) for sides in styles]
    loading = LOADING * max(map(math.prod, (content, *styles, *starts)))
    images = 3 * FLOAT * (width * height * (1 + len(starts)) + sum(resized))
    if scratch_in_use():  # which has the images too, each after it was loaded
        loading, images = loading + 3 * FLOAT * max(width * height, *resized), 0
    run = needed(network, layers, (1, 3, height, width), device, optimiser, **more)
    looked_at = min(max(resized), 4 * tiles.LOOKING**2)
    looking = FLOAT * LOOKING * network.widths["conv1_1"] * looked_at
    return max(loading, run, looking) + images, (width, height)


def _resized(sides: tuple[int, int], size: int | None) -> tuple[int, int]:
    scale = 1 if size is None else size / max(sides)
    return tuple(max(1, round(side * scale)) for side in sides)


def free(device: str) -> float:
    """The bytes free for this process, on a GPU the fewer of its own and the computer's.

    Counts what the system says, and the limits of a container (cgroup) and of the process
    (`ulimit -v`). Infinite if nothing is known.
    """
    found = [float("inf")]
    with suppress(ImportError):
        import psutil  # comes with IPython

        found.append(float(psutil.virtual_memory().available))
    with suppress(OSError, ValueError):  # where Linux runs a container; "max" is no limit
        limit, used = (int(Path(CGROUP, f"memory.{x}").read_text()) for x in ("max", "current"))
        found.append(float(limit - used))
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if limit != resource.RLIM_INFINITY:
            found.append(float(limit - used))
    if device.startswith("cuda"):
        found.append(torch.cuda.mem_get_info(device)[0])
    return max(0.0, min(found))


def left(memory: float | None, device: str) -> float:
    """The bytes that this process may still take: those free, or what is left of `memory`."""
    heap.give_back()
    current().rest()
    there = free(device)
    if memory is None:
        return there
    if device.startswith("cuda"):
        return min(there, memory - torch.cuda.memory_allocated(device))
    used = 0.0
    with suppress(OSError, ValueError, ImportError):
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return min(there, memory - used)


def shortage(
    network: VGG,
    need: float,
    sides: tuple[int, int],
    device: str,
    count: int = 1,
    there: float | None = None,
) -> str:
    """A sentence: the bytes that `count` images need, those free, and the largest size that fits.

    `sides` is the (width, height) of the images, `there` the bytes free, where known already.
    """
    there = max(0.0, free(device) if there is None else there)
    fitting = int(max(sides) * math.sqrt(there / need))
    images = "an image" if count == 1 else f"{count} images"
    return (
        f"{images} of {sides[0]} x {sides[1]} pixels on {network.name} may need {need / GB:.1f} GB "
        f"of memory, and {there / GB:.1f} GB are free on {device}; the largest size that fits is "
        f"about {fitting} pixels"
    )


def asked_of(run: Run) -> tuple:
    """What `needed` takes, up to `targets`, for a run with an `Objective`."""
    terms, device = run.objective.terms, str(run.start.device)
    guided = [term.layer for term in terms if getattr(term, "guide", None) is not None]
    targets = [term.layer for term in terms if isinstance(term, ContentTerm)]
    shape, network = tuple(run.start.shape), run.objective.network
    return network, run.objective.layers, shape, device, run.optimiser, guided, targets


def warn_if_short(run: Run, states: Iterator[State]) -> Iterator[State]:
    """A hook: says on stderr when a run may need more memory than is free, and begins all the same.

    Raises:
        StylelabError: when memory does run out; it names the largest size that fits.
    """
    if not isinstance(run.objective, Objective):
        yield from states
        return
    network, device = run.objective.network, str(run.start.device)
    count, _, height, width = run.start.shape
    need = needed(*asked_of(run), getattr(run.objective, "side", None))
    asked = network, need, (width, height), device, count
    if need > free(device):
        tqdm.write(f"stylelab: {shortage(*asked)}", file=sys.stderr)
    try:
        yield from states
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise StylelabError(shortage(*asked)) from error


def is_memory(error: BaseException) -> bool:
    """Whether memory was short; PyTorch on the CPU has no exception of its own for that."""
    if isinstance(error, MemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return any(said in str(error) for said in words)
