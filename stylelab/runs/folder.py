"""The output folder of a run, which one run at a time uses."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stylelab.errors import StylelabError


@contextmanager
def only_run_in(folder: Path) -> Iterator[Path]:
    """The folder of what runs in `folder` keep, locked; its sub-folder `running` is temporary.

    The operating system releases the lock when this process ends, however it ends.
    """
    from filelock import FileLock, Timeout  # PyTorch needs it too

    state = folder.resolve() / ".stylelab"
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(state / "lock").acquire(blocking=False)
    except Timeout:
        raise StylelabError(
            f"another run is using {folder}; wait until it ends, or choose another --output"
        ) from None
    except OSError as error:
        raise StylelabError(
            f"{folder} cannot be made ({error.strerror}); choose another folder with --output"
        ) from error
    with lock:
        shutil.rmtree(state / "running", ignore_errors=True)  # left by a run that was killed
        (state / "running").mkdir()
        try:
            yield state
        finally:
            shutil.rmtree(state / "running", ignore_errors=True)
