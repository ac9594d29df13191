"""Downloads: resumed, tried again, verified, and only then put in place.

`requests` and `filelock` do not go on from a partial file, check a hash, or give up on a server
that sends a few bytes per minute or never stops; this module does. No text of a server is shown.
"""

import os
import re
import string
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from stylelab.errors import DownloadError, SettingError
from stylelab.files.local import sha256_of
from stylelab.files.text import printable

if TYPE_CHECKING:
    from requests import Response

TIMEOUT = 30.0  # seconds without a byte
SLOWEST = 1000  # bytes per second, averaged over TIMEOUT; a slower server counts as stalled
LARGEST = 1 << 30  # bytes; nearly twice the largest file that stylelab needs
TRIES = 4  # in a row, without noticeable progress
PAUSE = 1.0  # seconds before the second try; doubled before each further one
LONGEST_PAUSE = 60.0  # seconds; a longer Retry-After is cut to this


class _Failure(Exception):
    """An attempt that failed, and whether another one may succeed after `wait` seconds."""

    def __init__(self, reason: str, *, final: bool = False, wait: float = 0) -> None:
        super().__init__(reason)
        self.final, self.wait = final, wait


def fetch(url: str, path: str | os.PathLike[str], sha256: str, *, progress: bool = True) -> Path:
    """Download `url` to `path`, unless the right file is already there; gives `path`.

    The bytes are collected in `path` + ".part", from which a later call continues, and renamed to
    `path` once their hash is right. Dropped connections, stalls and busy servers (429, 5xx) are
    tried again. If several processes ask for the same file, one downloads it and the others wait.
    Another file at `path` is kept as `path` + ".old".

    Args:
        url: an http or https address.
        sha256: the expected SHA-256 in hexadecimal, or at least its first 8 digits.
        progress: whether to show a progress bar on stderr.

    Raises:
        DownloadError: if the file cannot be downloaded, or its hash is wrong.
        SettingError: if `url` or `sha256` is malformed.
    """
    from filelock import FileLock

    path, sha256 = Path(path), sha256.lower()
    if not url.startswith(("http://", "https://")):
        raise SettingError(f"url must begin with http:// or https://, got {url!r}")
    if not 8 <= len(sha256) <= 64 or not set(sha256) <= set(string.hexdigits):
        raise SettingError(f"sha256 must be 8 to 64 hexadecimal digits, got {sha256!r}")
    part, lock = path.with_name(f"{path.name}.part"), path.with_name(f".{path.name}.lock")
    digits = sha256 if len(sha256) == 64 else f"beginning with {sha256}"
    by_hand = f"or put the file, SHA-256 {digits}, at {path} by hand"
    try:
        if _is_right(path, sha256):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            try:
                if not _is_right(path, sha256):
                    _download(url, part, sha256, progress)
                    if path.exists():
                        os.replace(path, path.with_name(f"{path.name}.old"))
                    os.replace(part, path)
            finally:
                with suppress(OSError):  # Windows does not remove an open file
                    lock.unlink()
        return path
    except _Failure as failure:
        cure = "look for it elsewhere" if failure.final else "check the connection, try again"
        raise DownloadError(
            f"{url} cannot be downloaded ({failure}); {cure} {by_hand}"
        ) from failure
    except OSError as error:
        raise DownloadError(
            f"{error.filename or part} cannot be read or written ({error.strerror or error}); "
            "free space on its disk, or choose another folder"
        ) from error


def _is_right(file: Path, sha256: str) -> bool:
    return file.is_file() and sha256_of(file).startswith(sha256)


def _download(url: str, part: Path, sha256: str, progress: bool) -> None:
    """Fill `part` with the right file, in several attempts if need be."""
    furthest, tries, pause, mismatches = _size(part), 0, PAUSE, 0
    while True:
        try:
            _attempt(url, part, progress)
            if _is_right(part, sha256):
                return
            found = sha256_of(part)
            part.unlink()
            mismatches += 1  # the first may come of pieces of different versions
            reason = f"it is not the expected file: its SHA-256 is {found}"
            raise _Failure(reason, final=mismatches > 1)
        except _Failure as failure:
            if _size(part) - furthest >= SLOWEST * TIMEOUT:
                tries, pause = 0, PAUSE
            furthest, tries = max(furthest, _size(part)), tries + 1
            if failure.final or tries >= TRIES:
                raise
            wait = min(max(failure.wait, pause), LONGEST_PAUSE)
            if progress and sys.stderr:
                message = f"{printable(str(failure))}; trying again in {wait:.0f} s"
                tqdm.write(message, file=sys.stderr)
            time.sleep(wait)
            pause *= 2


def _attempt(url: str, part: Path, progress: bool) -> None:
    """Send one request for the bytes that `part` lacks, and append them."""
    import requests
    from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout

    start = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except (ConnectionError, Timeout, ChunkedEncodingError) as error:
        raise _Failure(_reason(error)) from error
    except (requests.RequestException, ValueError) as error:  # ValueError: a malformed address
        raise _Failure(f"it leads nowhere: {type(error).__name__}", final=True) from error
    with response:
        hops = [hop.url for hop in (*response.history, response)]
        if url.startswith("https:") and not all(hop.startswith("https:") for hop in hops):
            raise _Failure("it leads from https to an unencrypted address", final=True)
        start, size = _start_and_size(response, part)
        if response.status_code == 416:  # `part` is complete
            return
        if (size or 0) > LARGEST:
            raise _Failure(f"the server announces {size} bytes, far too many", final=True)
        units = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
        name = printable(part.name.removesuffix(".part"))
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(total=size, initial=start, desc=name, disable=not progress, **units) as bar,
        ):
            for chunk in _chunks(response):
                if file.tell() + len(chunk) > LARGEST:
                    file.truncate(0)
                    reason = f"the server sent over {LARGEST} bytes, far too many"
                    raise _Failure(reason, final=True)
                file.write(chunk)
                bar.update(len(chunk))
    if size is not None and _size(part) < size:
        raise _Failure("the connection was closed early")


def _start_and_size(response: "Response", part: Path) -> tuple[int, int | None]:
    """Where the coming bytes begin, `len(part)` or 0, and the size of the file if it is known."""
    from urllib3.exceptions import HTTPError
    from urllib3.util import Retry

    status, kept, headers = response.status_code, _size(part), response.headers
    span = headers.get("Content-Range", "")
    if status == 200:
        length = headers.get("Content-Length", "")
        start, size = 0, int(length) if re.fullmatch("[0-9]{1,18}", length) else None
    elif status == 206 and (
        match := re.fullmatch(rf"bytes {kept}-(\d{{1,18}})/(\d{{1,18}}|\*)", span)
    ):
        start, size = kept, int(match[1]) + 1 if match[2] == "*" else int(match[2])
    elif status == 416 and span == f"bytes */{kept}":  # nothing is missing
        start, size = kept, kept
    elif kept and status in (206, 416):
        part.unlink()
        raise _Failure("the server has another file than the one begun earlier")
    else:
        wait = 0.0
        with suppress(HTTPError, ValueError, OverflowError):
            wait = Retry().parse_retry_after(headers.get("Retry-After", ""))
        reason = f"HTTP {status}, {responses.get(status, 'unknown')}"
        raise _Failure(reason, final=300 <= status < 500 and status != 429, wait=wait)
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _Failure("the server compressed the file although it was not asked to")
    return start, size


def _chunks(response: "Response") -> Iterator[bytes]:
    """The bytes of the answer as they come, unless it comes so slowly that it would never end."""
    from urllib3.exceptions import HTTPError

    began, count = time.monotonic(), 0
    while True:
        try:
            chunk = response.raw.read1(1 << 18, decode_content=False)
        except (HTTPError, OSError, ValueError) as error:
            raise _Failure(_reason(error)) from error
        if not chunk:
            return
        yield chunk
        count += len(chunk)
        if time.monotonic() - began > TIMEOUT:
            if count < SLOWEST * TIMEOUT:
                raise _Failure(f"only {count} bytes came in {TIMEOUT:g} s")
            began, count = time.monotonic(), 0


def _reason(error: BaseException) -> str:
    """Why a connection failed, in the operating system's words and not in the server's."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    if type(error).__name__ == "IncompleteRead":
        return "the connection was closed early"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"its answer makes no sense: {type(error).__name__}"


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
