"""One file from the web: resumed, retried, verified, and only then put in place."""

import hashlib
import os
import string
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, ENOSPC, EPERM, EROFS
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from stylelab.errors import DownloadError, SettingError

TRIES = 4  # in a row, without any progress
TIMEOUT = 30.0  # seconds without a byte
PAUSE = 1.0  # seconds before the second try; doubled before each further one
LONGEST_PAUSE = 60.0  # the most that a server's Retry-After is granted


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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

    if is_right(path):
        return path
    part = path.with_name(path.name + ".part")
    by_hand = f"or put the file, SHA-256 {sha256}, at {path} by hand"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(path):
            if is_right(path):  # another process has just finished it
                return path
            resumed = part.exists()
            _download(url, part, progress)
            if resumed and not is_right(part):  # what an earlier run left was of no use
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
    except HTTPError as error:
        raise DownloadError(
            f"{url} cannot be downloaded (HTTP {error.code}, {error.reason}); "
            f"look for it elsewhere {by_hand}"
        ) from error
    except (OSError, HTTPException) as error:
        if _is_local(error):
            raise DownloadError(
                f"{path} cannot be written ({error.strerror}); free or choose another folder"
            ) from error
        raise DownloadError(
            f"{url} cannot be downloaded ({_reason(error)}); check the connection and run this "
            f"again, {by_hand}"
        ) from error


def _download(url: str, part: Path, progress: bool) -> None:
    """Fill `part` to the end, trying again while there is hope."""
    furthest, tries, pause = -1, 0, PAUSE
    while True:
        try:
            return _attempt(url, part, progress)
        except (OSError, HTTPException) as error:
            wait = 0.0
            if isinstance(error, HTTPError):
                error.close()
                if error.code != 429 and error.code < 500:
                    raise
                wait = _seconds(error.headers.get("Retry-After"))
            elif _is_local(error):
                raise
            size = part.stat().st_size if part.exists() else 0
            if size > furthest:
                tries, pause = 0, PAUSE
            furthest, tries = max(size, furthest), tries + 1
            if tries >= TRIES:
                raise
            wait = min(max(wait, pause), LONGEST_PAUSE)
            pause *= 2
            if progress:
                tqdm.write(f"{_reason(error)}; trying again in {wait:.0f} s", file=sys.stderr)
            time.sleep(wait)


def _attempt(url: str, part: Path, progress: bool) -> None:
    """One request for the bytes that `part` lacks, appended to it."""
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "stylelab"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416 and start:  # nothing after `start`: complete already, or useless
            total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
            error.close()
            if total == str(start):
                return
            part.unlink()
            raise ConnectionError("the server has less than was kept of the file") from None
        raise
    with response:
        if response.status != 206:
            start = 0  # the server sends the whole file
        elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise ConnectionError("the server sent another part of the file than asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        name = part.name.removesuffix(".part")
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(
                total=total,
                initial=start,
                desc=name,
                unit="B",
                unit_scale=True,
                unit_divisor=1024,
                disable=not progress,
            ) as bar,
        ):
            while chunk := response.read1(1 << 18):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError("the connection was closed early")


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, which the operating system releases even if this process dies.

    The lock file goes when `path` is there and no one who waits will have anything left to do.
    """
    lock = path.with_name(f".{path.name}.lock")
    with lock.open("ab") as file:
        if os.name == "nt":
            import msvcrt

            while True:
                with suppress(OSError):  # raised after ten seconds of waiting
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
        else:
            import fcntl

            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
    with suppress(OSError):
        lock.unlink()


def _is_local(error: BaseException) -> bool:
    """Whether the disk failed, not the network."""
    return getattr(error, "errno", None) in (EACCES, ENOSPC, EPERM, EROFS)


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _seconds(retry_after: str | None) -> float:
    """What a Retry-After header asks for, if it gives seconds (dates are not looked at)."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
