"""Downloads: resumed, tried again, verified, and only then put in place.

`requests` does not go on from a partial file, check a hash, keep to https in redirects, or give up
on a server that sends a few bytes per minute; this module does. No text of a server is shown.
"""

import os
import re
import sys
import threading
import time
from concurrent.futures import Future, wait
from http.client import responses
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from tqdm import tqdm

from stylelab.errors import DownloadError, SettingError
from stylelab.files.local import sha256_of
from stylelab.files.text import printable

TIMEOUT = 30.0  # seconds without a byte
SLOWEST = 1000  # bytes per second, averaged over TIMEOUT; a slower server counts as stalled
LARGEST = 1 << 30  # bytes; nearly twice the largest file that stylelab needs
TRIES = 4  # in a row, without noticeable progress
PAUSE = 1.0  # seconds before the second try; doubled before each further one


class _Failure(Exception):
    """An attempt that failed. After a final one, another would fail as well."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def fetch(url: str, path: str | os.PathLike[str], sha256: str, *, progress: bool = True) -> Path:
    """Download `url` (http or https) to `path`, unless the right file is there; gives `path`.

    The right file has the given SHA-256, of which the first 8 digits suffice. The bytes are
    collected in `path` + ".part", from which a later call continues, and renamed to `path` once
    their hash is right. Dropped connections, stalls and busy servers (429, 5xx) are tried again.
    If several processes ask for the same file, one downloads it and the others wait. Another file
    at `path` is kept as `path` + ".old". A progress bar is shown on stderr.

    Raises:
        DownloadError: if the file cannot be downloaded, or its hash is wrong.
        SettingError: if `url` or `sha256` is malformed.
    """
    from filelock import FileLock

    path, sha256 = Path(path), sha256.lower()
    if not url.startswith(("http://", "https://")):
        raise SettingError(f"url must begin with http:// or https://, got {url!r}")
    if not re.fullmatch("[0-9a-f]{8,64}", sha256):
        raise SettingError(f"sha256 must be 8 to 64 hexadecimal digits, got {sha256!r}")
    part = path.with_name(f"{path.name}.part")
    try:
        if _is_right(path, sha256):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not _is_right(path, sha256):
                _download(url, part, sha256, progress)
                if path.exists():
                    os.replace(path, path.with_name(f"{path.name}.old"))
                os.replace(part, path)
        return path
    except _Failure as failure:
        cure = "look for it elsewhere" if failure.final else "check the connection, try again"
        digits = sha256 if len(sha256) == 64 else f"beginning with {sha256}"
        raise DownloadError(
            f"{url} cannot be downloaded ({failure}); {cure} or put the file, SHA-256 {digits}, "
            f"at {path} by hand"
        ) from failure
    except OSError as error:
        raise DownloadError(
            f"{error.filename or part} cannot be read or written ({error.strerror or error}); "
            "free space on its disk, or choose another folder"
        ) from error


def _is_right(file: Path, sha256: str) -> bool:
    return file.is_file() and sha256_of(file).startswith(sha256)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _download(url: str, part: Path, sha256: str, progress: bool) -> None:
    """Fill `part` with the right file, in several attempts if need be."""
    furthest, tries = _size(part), 0
    while True:
        try:
            is_whole = _attempt(url, part, progress)
            if _is_right(part, sha256):
                return
            reason = f"it is not the expected file: its SHA-256 is {sha256_of(part)}"
            part.unlink()
            # Pieces may be of different versions; a file in one piece is what the server has.
            raise _Failure(reason, final=is_whole)
        except _Failure as failure:
            size = _size(part)
            tries = 1 if size - furthest >= SLOWEST * TIMEOUT else tries + 1
            furthest = max(furthest, size)
            if failure.final or tries >= TRIES:
                raise
            pause = PAUSE * 2 ** (tries - 1)
            if progress and sys.stderr:
                tqdm.write(f"{failure}; trying again in {pause:.0f} s", file=sys.stderr)
            time.sleep(pause)


def _attempt(url: str, part: Path, progress: bool) -> bool:
    """`_receive` in a thread, given up when it is too slow: `requests` limits single reads only."""
    import requests
    from urllib3.exceptions import HTTPError

    outcome: Future[bool] = Future()
    stop = threading.Event()

    def work() -> None:
        try:
            outcome.set_result(_receive(url, part, progress, stop))
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    received = _size(part)
    try:
        while wait([outcome], TIMEOUT).not_done:
            before, received = received, _size(part)
            if before <= received < before + SLOWEST * TIMEOUT:  # it shrinks when begun again
                raise _Failure(f"less than {SLOWEST} bytes per second")
        return outcome.result()
    except (requests.RequestException, HTTPError, ValueError) as error:  # ValueError: malformed
        cause: BaseException = error
        while cause.__cause__ or cause.__context__:
            cause = cause.__cause__ or cause.__context__
        reason = getattr(cause, "strerror", None) or type(cause).__name__  # no server's words
        raise _Failure(reason) from error
    finally:
        stop.set()


def _receive(url: str, part: Path, progress: bool, stop: threading.Event) -> bool:
    """Append the bytes that `part` lacks; whether it is now a whole file, received in one go."""
    kept = _size(part)
    with _answer(url, kept) as response:
        if stop.is_set():
            return False
        status, headers = response.status_code, response.headers
        expected = {200: "", 206: f"bytes {kept}-", 416: f"bytes */{kept}"}[status]
        if not headers.get("Content-Range", "").startswith(expected):
            part.unlink()
            raise _Failure("the server has another file than the one begun earlier")
        if status == 416:  # nothing is missing
            return False
        start, length = kept if status == 206 else 0, headers.get("Content-Length", "")
        size = start + int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        bar = {"desc": printable(part.name.removesuffix(".part")), "disable": not progress}
        with (
            part.open("ab" if start else "wb") as file,
            tqdm.wrapattr(file, "write", total=size, initial=start, **bar) as counted,
        ):
            while chunk := response.raw.read1(1 << 18, decode_content=False):
                if stop.is_set():
                    break
                counted.write(chunk)
                file.flush()
                if file.tell() > LARGEST:
                    file.truncate(0)
                    raise _Failure(f"the server sent over {LARGEST} bytes", final=True)
    return start == 0 and size is not None


def _answer(url: str, kept: int):
    """The `requests.Response` of the server to a request for the bytes after the first `kept`.

    Redirects are followed, but once https was used no request is sent without encryption.
    """
    import requests

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={kept}-"} if kept else {})
    session = requests.Session()
    session.get_redirect_target = lambda response: None  # or it would read their whole content
    for _ in range(10):
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        status = response.status_code
        if status == 200 or (kept and status in (206, 416)):
            return response
        response.close()
        if not response.is_redirect:
            reason = f"HTTP {status}, {responses.get(status, 'unknown')}"
            raise _Failure(reason, final=status < 500 and status != 429)
        url, before = urljoin(url, response.headers["Location"]), url
        if urlsplit(url).scheme not in ("https", urlsplit(before).scheme):
            raise _Failure("it leads to an address without https", final=True)
    raise _Failure("it leads from one address to the next without end")
