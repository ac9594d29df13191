"""What a run says on the terminal: lines and progress bars, both on stderr."""

import sys

from tqdm import tqdm

from stylelab.files.text import printable


def tell(message: str) -> None:
    """Write a message above progress bars; nothing if stderr is closed."""
    if sys.stderr is not None:
        tqdm.write(printable(message), file=sys.stderr)


def bar_settings() -> dict[str, object]:
    """For tqdm: a bar that vanishes at the end, drawn often in a terminal and rarely in a log."""
    often = sys.stderr is not None and sys.stderr.isatty()
    return {
        "leave": False,
        "dynamic_ncols": True,
        "miniters": 0,  # only time decides when it is drawn again
        "mininterval": 0.1 if often else 10.0,
    }
