"""How a command ends: its exit code, and one line that says what is wrong."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stylelab.engine.memory import is_memory
from stylelab.errors import SettingError, StylelabError
from stylelab.files.text import printable

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit codes, besides 0


def guarded(work: Callable[[], int]) -> int:
    """What `work` returns, or the exit code of what went wrong, which is said in one line.

    SIGTERM, with which systems and schedulers end a process, does meanwhile what Ctrl-C does.
    """
    try:
        with _sigterm_as_interrupt():
            return work()
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except SettingError as error:
        return complain(error, MISUSED)
    except StylelabError as error:
        return complain(error)
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}" if error.filename else error)
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise  # a fault of ours: the traceback is what a report needs
        return complain("there is not enough memory for images of this size; use a smaller --size")


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    in_main = threading.current_thread() is threading.main_thread()  # others may not ask for it
    if not in_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def complain(message: object, code: int = FAILED) -> int:
    """Say in one line on stderr what is wrong; returns the exit code."""
    print("stylelab:", printable(" ".join(str(message).splitlines())), file=sys.stderr)
    return code


def say(message: str) -> None:
    """Print on stdout, at once, what a terminal cannot take for orders."""
    print(printable(message), flush=True)
