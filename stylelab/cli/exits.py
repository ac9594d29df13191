"""How a command ends: its exit code, and one line that says what is wrong."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from typing import Any, TextIO

from stylelab.errors import SettingError, StylelabError
from stylelab.files.text import printable

FAILED, MISUSED, INTERRUPTED = 1, 2, 130  # exit codes, besides 0


def guarded(work: Callable[[], int]) -> int:
    """What `work` returns, or the exit code of what went wrong, which is said in one line.

    From then on SIGTERM, with which systems and schedulers end a process, acts as Ctrl-C does, and
    a warning is one line, too. A standard error that is closed or broken stops nothing.
    """
    with suppress(ValueError):  # in another thread than the main one
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.showwarning = lambda message, *place: complain(message)
    _open_closed_streams()
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stderr(_Lossy(sys.stderr or nowhere)),
    ):
        try:
            return work()
        except KeyboardInterrupt:
            return complain("interrupted", INTERRUPTED)
        except StylelabError as error:
            return complain(error, MISUSED if isinstance(error, SettingError) else FAILED)
        except ModuleNotFoundError as error:
            return complain(f"this needs {error.name}: pip install 'stylelab[notebooks]'")
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


def _open_closed_streams() -> None:
    """Open closed standard streams, whose places the next files opened would take."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)


def complain(message: object, code: int = FAILED) -> int:
    """Say in one line on stderr what is wrong; returns the exit code."""
    print("stylelab:", printable(" ".join(str(message).splitlines())), file=sys.stderr)
    return code


def say(message: str) -> None:
    """Print on stdout, at once, with escapes in place of control characters."""
    print(printable(message), flush=True)
