"""Memory that one step frees, kept for the next: on Linux, for tensors on the CPU.

glibc returns the memory of a large tensor to the system as soon as it is freed, and the system
clears every page before it hands it out again. A step frees and allocates the same gigabytes each
time: for large images that cost a good part of its time.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from stylelab.lbfgs import State
from stylelab.optimisation import Run

# Parameters of glibc's mallopt: the size in bytes from which a block is mapped on its own, and the
# number of free bytes at the end of the heap that are returned to the system.
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
KEEPING = {MMAP_THRESHOLD: 2**31 - 1, TRIM_THRESHOLD: -1}  # the largest value; never
NORMAL = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}  # the most that glibc itself goes up to


def _library() -> ctypes.CDLL | None:
    """The C library, if it is glibc."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def give_back() -> None:
    """Return to the system what is free of this process's memory."""
    if library := _library():
        library.malloc_trim(0)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory in this process; at the end it is returned to the system.

    Without effect where the C library is not glibc.
    """
    library = _library()
    if not library:
        yield
        return
    try:
        for name, value in KEEPING.items():
            library.mallopt(name, value)
        yield
    finally:
        for name, value in NORMAL.items():
            library.mallopt(name, value)
        library.malloc_trim(0)


def keep_freed_memory(run: Run, states: Iterator[State]) -> Iterator[State]:
    """A hook: what steps on a CPU free is kept, from the first evaluation on.

    Not before it: what PyTorch's libraries allocate then, and keep forever, would lie between the
    large tensors and leave gaps.
    """
    for state in states:
        yield state
        break
    with freed_memory_kept() if run.start.device.type == "cpu" else nullcontext():
        yield from states
