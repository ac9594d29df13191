"""Memory that one step frees, kept for the next: on Linux, for tensors on the CPU.

glibc hands the memory of a large tensor back to the system as soon as it is freed, and the system
clears every page of it before giving it out again. A step frees and asks for the same gigabytes
each time, and of large images a good part of its time went into that.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# What glibc's mallopt knows: from how many bytes on a block is the system's own, and how many free
# ones at the end of the heap go back. The second values are the most that glibc itself comes to.
BLOCK, FREE = -3, -1
KEEPING = {BLOCK: 2**31 - 1, FREE: -1}  # the largest it takes; never
OTHERWISE = {BLOCK: 2**25, FREE: 2**26}


@contextmanager
def kept() -> Iterator[None]:
    """Meanwhile freed memory stays with this process; afterwards it goes back to the system.

    Begin after a first step: what PyTorch's libraries then keep for ever would come to lie between
    the large tensors, and leave gaps. Without effect where the C library is not glibc.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    try:
        for name, value in KEEPING.items():
            library.mallopt(name, value)
        yield
    finally:
        for name, value in OTHERWISE.items():
            library.mallopt(name, value)
        library.malloc_trim(0)
