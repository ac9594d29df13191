"""Asking a web server for the bytes of a file. Nothing of what it says is believed, or shown."""

import io
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, responses
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

TIMEOUT = 30.0  # seconds without a byte
SLOWEST = 1000  # bytes per second, on average over TIMEOUT: fewer are no progress
LARGEST = 1 << 30  # bytes of a file: nearly twice as many as the largest that stylelab needs
# Whatever a damaged answer brings forth; ValueError: a redirect to what is no address.
FAULTS = (OSError, HTTPException, ValueError)


class Refused(Exception):
    """The server does not give the file."""


class Endless(Refused):
    """The server sends and sends: what came is no file."""


class Broken(Exception):
    """The connection or the server failed, and may not the next time, `wait` seconds later."""

    wait = 0.0


class Useless(Broken):
    """The bytes before `start` are not of this file: it is to be asked for from its beginning."""


@contextmanager
def answer(url: str, start: int = 0) -> Iterator[tuple[int, int | None, Iterator[bytes]]]:
    """A request for a file from the byte `start` on.

    Gives where the bytes that come begin, `start` or 0; the size of the file, None if the server
    does not say; and the bytes, which may end too early, but not be more than `LARGEST`.

    Raises:
        Refused: if there is no such file, or it is too large.
        Broken: if it is worth another try.
    """
    headers = {"User-Agent": "stylelab"} | ({"Range": f"bytes={start}-"} if start else {})
    opener = build_opener(_Plain, _Secure, _Redirects)
    try:
        response = opener.open(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code != 416 or not start:
            raise _fault(error) from error
        # Nothing after `start`: complete already, or useless.
        if (error.headers.get("Content-Range") or "").rpartition("/")[2] != str(start):
            raise Useless("the server has less than was kept of the file") from error
        response = None
    except FAULTS as error:
        raise _fault(error) from error
    if response is None:
        yield start, start, iter(())
        return
    with response:
        if response.status not in (200, 206):
            raise Broken(f"the server sent no file, but HTTP {response.status}")
        if (response.headers.get("Content-Encoding") or "identity").lower() != "identity":
            raise Broken("the server sent the file encoded, though not asked to")
        if response.status == 206:
            size = _size(response, start)
        else:  # the server sends the whole file
            start, size = 0, response.length
        if (size or 0) > LARGEST:
            raise Refused(f"the server announces {size} bytes; no file of ours is so large")
        yield start, size, _chunks(response, LARGEST - start)


def _chunks(response: HTTPResponse, most: int) -> Iterator[bytes]:
    try:
        while chunk := response.read1(1 << 18):
            most -= len(chunk)
            if most < 0:
                raise Endless(f"the server sent over {LARGEST} bytes; no file of ours is so large")
            yield chunk
    except FAULTS as error:
        raise _fault(error) from error


def _size(response: HTTPResponse, start: int) -> int:
    """The size of the file of which a 206 brings the bytes from `start` on."""
    header = response.headers.get("Content-Range") or ""
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", header.strip())
    if not match or int(match[1]) != start:
        raise Useless("the server sent another part of the file than asked for")
    return int(match[2]) + 1 if match[3] == "*" else int(match[3])


def _fault(error: BaseException) -> Refused | Broken:
    """What went wrong, in words that are not the server's."""
    if not isinstance(error, HTTPError):
        if isinstance(error, OSError):
            reason = getattr(error, "reason", None) or error.strerror or error
            return Broken(str(reason) or type(error).__name__)
        return Broken(f"its answer makes no sense: {type(error).__name__}")
    said = f"HTTP {error.code}, {responses.get(error.code, 'unknown')}"
    if error.code == 429 or error.code >= 500:
        broken = Broken(said)
        broken.wait = _seconds(error.headers.get("Retry-After") or "")
        return broken
    if 300 <= error.code < 400:
        said += ", which leads in a circle, to another protocol or nowhere"
    return Refused(said)


def _seconds(retry_after: str) -> float:
    """What a Retry-After header asks for: seconds, or an HTTP date; 0 for anything else."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError):
        return 0.0


class _Paced(io.RawIOBase):
    """What a connection brings, unless it only drips, which no timeout notices."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self._began, self._count = raw, math.inf, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:
        count, now = self._raw.readinto(buffer), time.monotonic()
        self._began, self._count = min(self._began, now), self._count + (count or 0)
        if count and now - self._began > TIMEOUT:
            if self._count < SLOWEST * TIMEOUT:
                raise TimeoutError(f"only {self._count} bytes came in {TIMEOUT:g} s")
            self._began, self._count = now, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.fp = io.BufferedReader(_Paced(self.fp.detach()))


class _PlainConnection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Plain(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_PlainConnection, request)


class _Secure(HTTPSHandler):
    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request)


class _Redirects(HTTPRedirectHandler):
    """Stays with HTTP, and with encryption once there is any."""

    def redirect_request(self, request, fp, code, message, headers, url: str) -> Request | None:
        if not url.lower().startswith(("https://", f"{request.type}://")):
            raise HTTPError(request.full_url, code, message, headers, fp)
        return super().redirect_request(request, fp, code, message, headers, url)
