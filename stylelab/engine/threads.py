"""How the threads of OpenMP, on which PyTorch computes, wait for each other.

A thread that waits keeps its core busy for a while, by default for milliseconds, in case the others
are nearly done. When other programs need the cores too, the thread that is waited for then gets
none, and a step takes many times as long. A shorter wait costs little on a free machine.
"""

import os

# GNU's OpenMP, in PyTorch's wheels for Linux: checks before a thread gives up its core. LLVM's and
# Intel's, on macOS and Windows: milliseconds. They read these once, when they are loaded.
PATIENCE = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
CHOICES = (*PATIENCE, "OMP_WAIT_POLICY")


def wait_briefly() -> None:
    """Choose short waits for this process and its children, unless the user chose how to wait.

    It must be called before PyTorch is imported.
    """
    if not any(name in os.environ for name in CHOICES):
        os.environ.update(PATIENCE)
