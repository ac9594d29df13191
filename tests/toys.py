"""Small notebooks for tests of what runs notebooks, and how to wait for what they do."""

import os
import signal
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook


def write(
    path: Path, *cells: str, declares: str = "size = 1\nsteps: int = 2\noutput = 'x'"
) -> Path:
    """A small notebook; its first cell declares parameters."""
    first = new_code_cell(declares, metadata={"tags": ["parameters"]})
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=[first, *map(new_code_cell, cells)]), path)
    return path


def until(condition, seconds: float = 120) -> None:
    """Wait for `condition()`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def heed_interrupts() -> None:
    """For a child process: what was started in the background of a script ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
