"""One file from the web: resumed, retried, verified, and only then put in place."""

import io
import os
import string
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from stylelab.errors import DownloadError, SettingError
from stylelab.files import web
from stylelab.files.local import sha256_of
from stylelab.files.text import printable

TRIES = 4  # in a row, without progress to speak of
PAUSE = 1.0  # seconds before the second try; doubled before each further one
LONGEST_PAUSE = 60.0  # the most that a server's Retry-After is granted


def fetch(url: str, path: str | os.PathLike[str], sha256: str, *, progress: bool = True) -> Path:
    """`path`, downloaded from `url` unless the file is there already.

    The bytes collect in `path` + ".part", where a later call goes on after an interruption, and
    are renamed to `path` once their hash is right. Dropped connections, stalls and busy servers
    (429, 5xx) are tried again. Two processes may ask for the same file: one waits for the other.

    Args:
        url: an http or https address.
        sha256: the expected SHA-256 in hexadecimal, or its first digits (8 at least), for
            publishers that give no more.
        progress: whether to show a progress bar on stderr.

    Raises:
        DownloadError: if the file cannot be had, or is not the one expected (nothing is kept then).
        SettingError: if `url` or `sha256` is malformed.
    """
    path, sha256 = Path(path), sha256.lower()
    if not url.startswith(("http://", "https://")):
        raise SettingError(f"url must begin with http:// or https://, got {url!r}")
    if not 8 <= len(sha256) <= 64 or not set(sha256) <= set(string.hexdigits):
        raise SettingError(f"sha256 must be 8 to 64 hexadecimal digits, got {sha256!r}")

    def is_right(file: Path) -> bool:
        return file.is_file() and sha256_of(file).startswith(sha256)

    part = path.with_name(path.name + ".part")
    digits = sha256 if len(sha256) == 64 else f"beginning with {sha256}"
    by_hand = f"or put the file, SHA-256 {digits}, at {path} by hand"
    try:
        if is_right(path):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(path):
            if is_right(path):  # another process has just finished it
                return path
            whole = _download(url, part, progress)
            if not whole and not is_right(part):  # pieces that do not belong together
                part.unlink()
                _download(url, part, progress)
            if not is_right(part):
                found = sha256_of(part)
                part.unlink()
                raise DownloadError(
                    f"{url} is not the expected file: its SHA-256 is {found}, not {sha256}; "
                    f"it was removed; try again later {by_hand}"
                )
            if path.exists():  # another file of that name, perhaps of the user's
                os.replace(path, path.with_name(path.name + ".old"))
            os.replace(part, path)
            return path
    except DownloadError:
        raise
    except web.Refused as error:
        raise DownloadError(
            f"{url} cannot be downloaded ({error}); look for it elsewhere {by_hand}"
        ) from error
    except web.Broken as error:
        raise DownloadError(
            f"{url} cannot be downloaded ({error}); check the connection and run this "
            f"again, {by_hand}"
        ) from error
    except OSError as error:
        where = error.filename or part
        raise DownloadError(
            f"{where} cannot be read or written ({error.strerror or error}); free space on its "
            "disk, or choose another folder"
        ) from error


def _download(url: str, part: Path, progress: bool) -> bool:
    """Fill `part` to the end, trying again while there is hope; whether it came in one piece."""
    furthest, tries, pause, whole = _size(part), 0, PAUSE, not _size(part)
    while True:
        try:
            return _attempt(url, part, progress) and whole
        except web.Endless:
            part.unlink()
            raise
        except web.Broken as broken:
            if isinstance(broken, web.Useless):
                part.unlink(missing_ok=True)
            if _size(part) - furthest >= web.SLOWEST * web.TIMEOUT:
                tries, pause = 0, PAUSE
            furthest, tries, whole = max(furthest, _size(part)), tries + 1, False
            if tries >= TRIES:
                raise
            wait = min(max(broken.wait, pause), LONGEST_PAUSE)
            pause *= 2
            if progress:
                said = f"{printable(str(broken))}; trying again in {wait:.0f} s"
                tqdm.write(said, file=sys.stderr)
            time.sleep(wait)


def _attempt(url: str, part: Path, progress: bool) -> bool:
    """One request for the bytes that `part` lacks, appended to it; whether it said how many."""
    with web.answer(url, _size(part)) as (start, size, chunks):
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(
                total=size,
                initial=start,
                desc=printable(part.name.removesuffix(".part")),
                unit="B",
                unit_scale=True,
                unit_divisor=1024,
                disable=not progress,
            ) as bar,
        ):
            for chunk in chunks:
                file.write(chunk)
                bar.update(len(chunk))
        if size is not None and _size(part) < size:
            raise web.Broken("the connection was closed early")
        return size is not None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, which the operating system releases even if this process dies.

    Its file is there while someone holds it; who was killed holding it leaves it to the next.
    """
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with lock.open("ab") as file:
            _wait_for(file)
            if not _is_at(file, lock):  # who had it before has removed it
                continue
            try:
                yield
            finally:
                if os.name != "nt":
                    lock.unlink(missing_ok=True)
        break
    if os.name == "nt":  # where no open file can be removed
        with suppress(OSError):
            lock.unlink()


def _wait_for(file: io.BufferedWriter) -> None:
    """Lock an open file, waiting for as long as it takes."""
    if os.name == "nt":
        import msvcrt

        while True:
            with suppress(OSError):  # raised after ten seconds of waiting
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                return
    else:
        import fcntl

        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)


def _is_at(file: io.BufferedWriter, path: Path) -> bool:
    """Whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
