"""How a command ends: its exit code, and one line that says what is wrong."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any, TextIO

from stylelab.errors import SettingError, StylelabError
from stylelab.files.text import printable

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit codes, besides 0


def guarded(work: Callable[[], int]) -> int:
    """What `work` returns, or the exit code of what went wrong, which is said in one line.

    Meanwhile SIGTERM, with which systems and schedulers end a process, acts as Ctrl-C does, and a
    standard error that is closed or broken stops nothing.
    """
    with _safe_stderr():
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
            reason = error.strerror or error
            return complain(f"{error.filename}: {reason}" if error.filename else reason)
        except (MemoryError, RuntimeError) as error:
            from stylelab.engine.memory import is_memory  # brings PyTorch

            if not is_memory(error):
                raise  # a fault of ours: a report needs the traceback
            return complain("there is not enough memory for images of this size; lower --size")


class _Lossy:
    """A stream that loses what cannot be written, and raises nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _safe_stderr() -> Iterator[None]:
    """Within it, `sys.stderr` can always be written to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file opened would take its place, and what is written
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stderr(_Lossy(sys.stderr or nowhere)),
    ):
        yield


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
    """Print on stdout, at once, with escapes in place of control characters."""
    print(printable(message), flush=True)
