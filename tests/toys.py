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


def until(condition, seconds: float = 120, what: str = "it") -> None:
    """Wait for `condition()`, which is `what`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


def is_running(process: int) -> bool:
    """Whether a process is there and has not ended; one that nobody waited for has."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def heed_interrupts() -> None:
    """For a child process: what was started in the background of a script ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
