"""How the threads of OpenMP, on which PyTorch computes, wait for each other.

A thread that waits keeps its core busy for a while, in case the others are nearly done. On a free
machine that is fastest. When other programs need the cores, the thread that is waited for gets
none, and a step takes many times as long: threads should then give up their cores at once.
"""

import os
import time
from pathlib import Path

# GNU's OpenMP, in PyTorch's wheels for Linux, reads it once, when it is loaded.
AT_ONCE = {"OMP_WAIT_POLICY": "PASSIVE"}
CHOICES = (*AT_ONCE, "GOMP_SPINCOUNT")
RUNNING = Path("/proc/loadavg")  # its fourth field begins with the number of threads that run now


def choose_waits() -> None:
    """Make threads give up their cores at once if the machine is busy now, on Linux.

    It has no effect after PyTorch is imported, or where the user has chosen how to wait.
    """
    if not any(name in os.environ for name in CHOICES) and all(_others_run() for _ in range(5)):
        os.environ.update(AT_ONCE)


def _others_run() -> bool:
    time.sleep(0.002)
    return RUNNING.exists() and int(RUNNING.read_text().split()[3].partition("/")[0]) > 1
