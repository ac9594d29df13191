"""Which files a notebook makes: what saves them notes them, where the runner asked for it."""

import json
import os
from pathlib import Path

VARIABLE = "STYLELAB_MANIFEST"  # the runner sets it for each kernel: the file for the notes


def note_file(path: str | os.PathLike[str]) -> None:
    """Note that `path` was saved; does nothing where nobody asked, as in a notebook run by hand.

    Raises:
        OSError: if the notes cannot be written.
    """
    if notes := os.environ.get(VARIABLE):
        with open(notes, "a", encoding="utf-8") as file:
            file.write(json.dumps(str(Path(path).resolve())) + "\n")


def noted(notes: Path) -> tuple[Path, ...]:
    """The files noted in `notes` that are still there, each once, in order."""
    if not notes.exists():
        return ()
    lines = dict.fromkeys(notes.read_text(encoding="utf-8").splitlines())
    return tuple(path for line in lines if (path := Path(json.loads(line))).is_file())
