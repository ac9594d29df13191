"""How the threads of OpenMP, on which PyTorch computes, wait for each other.

By default a thread that waits keeps its core busy. When other programs need the cores too, the
thread that is waited for gets none, and a step takes many times as long. A passive wait leaves the
core to others. The libraries of PyTorch's wheels (GNU's on Linux, LLVM's on macOS, Intel's on
Windows) read these variables once, when they are loaded.
"""

import os

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
CHOICES = (*PASSIVE, "GOMP_SPINCOUNT")


def passive_waits() -> dict[str, str]:
    """Variables that choose passive waits; none where the user has chosen."""
    return {} if any(name in os.environ for name in CHOICES) else dict(PASSIVE)


def wait_passively() -> None:
    """Choose passive waits for this process and its children, before PyTorch is imported."""
    os.environ.update(passive_waits())
