"""How many notebooks a machine can run at the same time, and how they share its cores."""

import os

GB = 1e9
BASE = 1 * GB  # a kernel with PyTorch and its network; 0.8 GB measured
# Bytes for each pixel of a square of the images' size. Measured: 1.8 KB with vgg19-mini and 3.9 KB
# at full width for each pixel of each image of a batch, and 0.5 KB for the optimiser's history once
# that is full. So this is room for six square images, or nine of 3 : 2.
PER_PIXEL = {"vgg19-mini": 14_000}
PER_PIXEL_FULL_WIDTH = 27_000
POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def need(network: str, size: int) -> float:
    """An estimate of the bytes that one notebook needs: 4.7 GB at 512 pixels with vgg19-mini."""
    return BASE + PER_PIXEL.get(network, PER_PIXEL_FULL_WIDTH) * size**2


def affordable(asked: int, network: str, size: int, device: str) -> tuple[int, str]:
    """How many of the notebooks `asked` for fit in memory, at least one; and why not all."""
    if asked < 2:
        return 1, ""
    from stylelab.engine.memory import free  # brings PyTorch

    each, there = need(network, size), free(device)
    count = int(max(1, min(asked, there // each)))
    if count == asked:
        return count, ""
    return count, (
        f"running {count} at a time, not {asked}: each notebook may need {each / GB:.1f} GB of "
        f"memory, and {there / GB:.1f} GB are free"
    )


def threads(at_once: int) -> dict[str, str]:
    """Variables that give each of several kernels its share of the cores.

    None for a single one, which takes them all, nor where the user has set OMP_NUM_THREADS.
    """
    if at_once < 2 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return dict.fromkeys(POOLS, str(max(1, cores() // at_once)))


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # fewer than there are, in many containers
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
