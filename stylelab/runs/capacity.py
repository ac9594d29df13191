"""How many notebooks or pictures a machine can make at the same time, sharing its cores."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager

from stylelab.runs.executors import LOCAL, Workers, workers
from stylelab.runs.terminal import tell

GB = 1e9
BASE = 1 * GB  # a kernel with PyTorch and its network; 0.8 GB measured
# Bytes for each pixel of a square of the images' size. Measured: 1.8 KB with vgg19-mini and 3.9 KB
# at full width for each pixel of each image of a batch, and 0.5 KB for the optimiser's history once
# that is full. So this is room for six square images, or nine of 3 : 2.
PER_PIXEL = {"vgg19-mini": 14_000}
PER_PIXEL_FULL_WIDTH = 27_000


def affordable(asked: int, network: str, size: int, device: str) -> tuple[int, str]:
    """How many of the jobs `asked` for fit in memory, at least one; and why not all."""
    from stylelab.engine.memory import free  # brings PyTorch

    each = BASE + PER_PIXEL.get(network, PER_PIXEL_FULL_WIDTH) * size**2
    available = free(device) if asked > 1 else 0
    count = int(max(1, min(asked, available // each)))
    return count, "" if count >= asked else (
        f"running {count} at a time, not {asked}: each may need {each / GB:.1f} GB of "
        f"memory, and {available / GB:.1f} GB are free"
    )


def share_of_cores(at_once: int) -> dict[str, str]:
    """The variable that gives each of several processes its share of the cores.

    Empty for a single one, which takes them all, and where the user has set OMP_NUM_THREADS.
    """
    import torch

    if at_once < 2 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // at_once))}


@contextmanager
def workers_for(
    count: int,
    network: str,
    size: int,
    device: str,
    scheduler: str | Executor | None = None,
    resources: Mapping[str, float] | None = None,
) -> Iterator[tuple[Workers, dict[str, str]]]:
    """Workers (see `executors.workers`), no more of this computer than its memory is enough for.

    Args:
        count: how many at the same time, at most; without a job to do there are none.
        network, size, device: of the largest job.

    Yields:
        them, and the variable with each one's share of the cores. A scheduler's workers have
        cores of their own, but for OMP_NUM_THREADS where the user has set it.
    """
    said, cores = "", {}
    place = {"scheduler": scheduler, "resources": resources} if count else {}
    if scheduler in (None, LOCAL):
        count, said = affordable(count, network, size, device)
        cores = share_of_cores(count)
    if said:
        tell(f"stylelab: {said}")
    if threads := os.environ.get("OMP_NUM_THREADS"):
        cores = {"OMP_NUM_THREADS": threads}
    with workers(count, **place, environment=cores) as found:
        yield found, cores
