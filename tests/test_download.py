"""Downloads from a local server that can misbehave in every way that servers do."""

import contextlib
import hashlib
import http.server
import io
import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toys import until

from stylelab.errors import DownloadError, SettingError
from stylelab.files import download
from stylelab.files.download import fetch

BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: N\r\nContent-Length: 0\r\n\r\n"
DATA = bytes(range(256)) * 2000
SHA = hashlib.sha256(DATA).hexdigest()

STATUS = (304, 400, 403, 404, 410, 416, 418, 429, 500, 502, 503, 504, 599, 999)
PLACES = ("/elsewhere", "file:///etc/hostname", "ftp://127.0.0.1:1/a", "javascript:alert(1)")
PLACES += ("http://[::1", "http://127.0.0.1:port/", "http://127.0.0.1:1/a")


def drip(data: bytes):
    """One byte at a time, each soon enough not to be a timeout."""
    return (piece for i in range(len(data)) for piece in (data[i : i + 1], 0.1))


def heads() -> dict:
    """Answers without the file, by name: pieces of bytes, and pauses in units of the timeout."""
    words = "\x1b]0;words of the server\x07"
    to_itself = b"HTTP/1.1 302 Found\r\nLocation: /file.bin\r\n"
    return {
        **{n: [f"HTTP/1.1 {n} {words}\r\nContent-Length: 0\r\n\r\n".encode()] for n in STATUS},
        **{f"to {to}": [f"HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n".encode()] for to in PLACES},
        "to itself": [to_itself + b"Content-Length: 0\r\n\r\n"],
        "to itself and endless": itertools.chain([to_itself, b"\r\n"], drip(DATA)),
        "to nowhere": [b"HTTP/1.1 302 Found\r\n\r\n"],
        "no content": [b"HTTP/1.1 204 No content\r\n\r\n"],
        "hang up": [],
        "garbage": [b"\x1b[2Jhello\xff\r\n\r\n"],
        "too many headers": [b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000],
        "head drip": drip(b"HTTP/1.1 200 OK\r\nA: " + bytes(1000)),
        "silence": [4],
        **{f"later, in {n}": [BUSY.replace(b"N", n.encode())] for n in ("7", "900", "-3", "soon")},
    }


def bodies(rest: bytes, start: int) -> dict:
    """What is changed in an answer with the file from `start` on, by name."""
    third, size = rest[: len(rest) // 3], len(rest)
    chunked = {"Transfer-Encoding": "chunked", "Content-Length": None}
    one_chunk = [b"%x\r\n%b\r\n0\r\n\r\n" % (size, rest)]
    return {
        "truncate": {"pieces": [third]},
        "stall": {"pieces": [third, 4]},
        "drip": {"pieces": drip(rest)},
        "half": {"pieces": [rest[: size // 2]], "Content-Length": size // 2} if start else {},
        "corrupt": {"pieces": [bytes([rest[0] ^ 1]) + rest[1:]]},
        "wrong file": {"pieces": [bytes(size)]},
        "page": {"status": 200, "pieces": [b"<html>"], "Content-Length": 6, "Content-Range": None},
        "endless": {"pieces": itertools.repeat(rest), "Content-Length": None},
        "encoded": {"pieces": [rest[::-1]], "Content-Encoding": "gzip"},
        "chunked": {"pieces": one_chunk, **chunked},
        "chunked, cut": {"pieces": [b"%x\r\n%b" % (size, third)], **chunked},
        "chunked nonsense": {"pieces": [b"-1\r\nabc\r\nzz\r\n"], **chunked},
        "chunked, drip": {"pieces": drip(b"0" * 1000), **chunked},
        **{f"length {n}": {"Content-Length": n} for n in (None, 10**9, "9" * 5000, 7, 0, -5, "x")},
        **{f"range {n}": {"Content-Range": n} for n in (None, "bytes 7-9/*", "bytes", "nonsense")},
    }


FAULTS = (*heads(), *bodies(DATA, 0), "no ranges")
SLOW = ("stall", "drip", "chunked, drip", "head drip", "to itself and endless", "silence")
# What asking again does not change, such as a whole file with a wrong hash.
WRONG = {"wrong file", "page", "corrupt", "encoded", "length 7", "length 0"}
FINAL = {status for status in STATUS if status < 500 and status != 429} | WRONG
FINAL |= {"to nowhere", "endless", "no content"} | {f"to {place}" for place in PLACES[1:4]}


class Server(http.server.ThreadingHTTPServer):
    """Answers with `data` after going through `plan`, a list of one-request misbehaviours."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"
        self.reset()

    def reset(self, data: bytes = DATA, plan=(), ever=None):
        self.data, self.plan, self.ever, self.ranges = data, list(plan), ever, []

    def handle_error(self, *args):
        """Clients hang up."""


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing is said."""

    def do_GET(self):
        server, wanted, self.close_connection = self.server, self.headers.get("Range"), True
        server.ranges.append(wanted)
        fault, size = server.plan.pop(0) if server.plan else server.ever, len(server.data)
        start = int(wanted[6:-1]) if wanted and fault != "no ranges" else 0
        rest, span = server.data[start:], f"bytes {start}-{size - 1}/{size}"
        if start >= size:
            headers = {"status": 416, "Content-Range": f"bytes */{size}", "Content-Length": 0}
        else:
            headers = {"status": 206, "Content-Range": span} if start else {"status": 200}
            headers |= {"Content-Length": len(rest), "pieces": [rest]}
            headers |= bodies(rest, start).get(fault, {})
        pieces, head = headers.pop("pieces", []), f"HTTP/1.1 {headers.pop('status')} OK\r\n"
        head += "".join(f"{k}: {v}\r\n" for k, v in headers.items() if v is not None) + "\r\n"
        with contextlib.suppress(OSError):
            for piece in heads().get(fault, itertools.chain([head.encode()], pieces)):
                is_pause = not isinstance(piece, bytes)
                time.sleep(piece * download.TIMEOUT) if is_pause else self.wfile.write(piece)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setattr(download, "LONGEST", 0.002)
    monkeypatch.setattr(download, "TIMEOUT", 0.25)
    monkeypatch.setattr(download, "LARGEST", 20 * len(DATA))
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def left(folder: Path, right: bytes = DATA) -> set[str]:
    """The files in a folder except locks, none of which has a wrong name or content."""
    found = {path.name for path in folder.iterdir()} - {".a.bin.lock"}
    assert found <= {"a.bin", "a.bin.part", "a.bin.old"}
    assert "a.bin" not in found or (folder / "a.bin").read_bytes() == right
    return found


def test_download_then_nothing_to_do(server, tmp_path, capsys):
    path = fetch(server.url, tmp_path / "new" / "a.bin", SHA)
    assert left(path.parent) == {"a.bin"} and "a.bin" in capsys.readouterr().err
    path.chmod(0o400)
    assert fetch(server.url, path, SHA.upper()) == path
    assert server.ranges == [None]
    server.plan = [500]
    assert fetch(server.url, tmp_path / "b.bin", SHA[:8], progress=False).read_bytes() == DATA
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kept", "plan", "asked"),
    [
        (b"", ["truncate", "truncate"], [0, 170666, 284444]),
        (DATA[:1000], [], [1000]),
        (DATA, [], [len(DATA)]),
        (DATA + b"more", [], [len(DATA) + 4, 0]),
        (b"not the beginning", [], [17, 0]),
    ],
)
def test_resumes_what_was_interrupted(server, tmp_path, kept, plan, asked):
    server.plan = plan
    (tmp_path / "a.bin.part").write_bytes(kept)
    fetch(server.url, tmp_path / "a.bin", SHA)
    assert server.ranges == [f"bytes={start}-" if start else None for start in asked]
    assert left(tmp_path) == {"a.bin"}


def test_progress_earns_more_tries_and_little_progress_none(server, tmp_path):
    server.plan = ["truncate"] * (2 * download.TRIES)
    fetch(server.url, tmp_path / "a.bin", SHA)
    for fault in ("truncate", 500):
        server.reset(DATA[:600], ever=fault)
        with pytest.raises(DownloadError):
            fetch(server.url, tmp_path / f"{fault}.bin", SHA)
        assert len(server.ranges) == download.TRIES


@pytest.mark.parametrize(
    ("asked", "pause"), [("7", 7), ("900", 60), ("-3", 0.001), ("soon", 0.001)]
)
def test_a_busy_server_says_when_to_ask_again(server, tmp_path, monkeypatch, asked, pause):
    pauses = []
    monkeypatch.setattr(download, "LONGEST", 60)
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    server.plan = [f"later, in {asked}"]
    fetch(server.url, tmp_path / "a.bin", SHA)
    assert pauses == [pause] and left(tmp_path) == {"a.bin"}


def test_messages_say_in_one_line_what_to_do(server, tmp_path):
    server.data, path = DATA[::-1], tmp_path / "a.bin"
    for url, words in ((server.url, "SHA-256"), ("http://127.0.0.1:1/a", "Connection refused")):
        with pytest.raises(DownloadError, match=words) as caught:
            fetch(url, path, SHA, progress=False)
        message = str(caught.value)
        assert all(word in message for word in (url, SHA, str(path))) and "\n" not in message
    assert left(tmp_path) == set()
    assert server.ranges == [None]  # the whole file is not asked for twice


@pytest.mark.parametrize("kept", [b"", DATA[:1000]], ids=["new", "resumed"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_overcome_or_reported(server, tmp_path, monkeypatch, capsys, fault, kept):
    if fault not in SLOW:
        monkeypatch.setattr(download, "TIMEOUT", 10)
    server.plan = [fault] * (1 if kept else 2)
    if kept:
        (tmp_path / "a.bin.part").write_bytes(kept)
    if fault in FINAL - ({416, *WRONG} - {"page"} if kept else set()):
        with pytest.raises(DownloadError):
            fetch(server.url, tmp_path / "a.bin", SHA)
        assert left(tmp_path) <= {"a.bin.part"} and len(server.ranges) == 1
    else:
        fetch(server.url, tmp_path / "a.bin", SHA)
        assert left(tmp_path) == {"a.bin"}
    assert not kept or server.ranges[0] == "bytes=1000-"
    said = capsys.readouterr().err
    assert "words" not in said and "\x1b]" not in said and "\x1b[2J" not in said


SMALL = DATA[:20_000]
LEFT = {
    "nothing": {},
    "of a killed process": {".a.bin.lock": b"", "a.bin.part": SMALL[:1]},
    "another file": {"a.bin": b"the user's"},
}


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    plan=st.lists(st.sampled_from(FAULTS), max_size=8),
    ever=st.none() | st.sampled_from(FAULTS),
    before=st.sampled_from(list(LEFT)),
)
@example(plan=["truncate", "corrupt"], ever=None, before="nothing")
@example(plan=["truncate", 404], ever=None, before="another file")
def test_the_right_file_or_an_error(server, monkeypatch, tmp_path_factory, plan, ever, before):
    for name, value in {"PAUSE": 1e-4, "TIMEOUT": 0.03, "LARGEST": 20 * len(SMALL)}.items():
        monkeypatch.setattr(download, name, value)
    folder, sha = tmp_path_factory.mktemp("any"), hashlib.sha256(SMALL).hexdigest()
    for name, content in LEFT[before].items():
        (folder / name).write_bytes(content)
    old = {"a.bin.old"} if before == "another file" else set()
    server.reset(SMALL, plan, ever)
    try:
        fetch(server.url, folder / "a.bin", sha, progress=False)
        assert left(folder, SMALL) == {"a.bin"} | old
        assert not old or (folder / "a.bin.old").read_bytes() == b"the user's"
    except DownloadError as error:
        assert "\x1b" not in str(error) and server.url in str(error)
        assert left(folder, b"the user's") <= {"a.bin.part"} | ({"a.bin"} if old else set())


@pytest.mark.parametrize(
    "hops",
    [
        ["https://a/1", "http://b/2"],
        ["http://a/1", "https://b/2", "http://c/3"],
        ["https://a/1", "//b/2", "3", "http://c/4"],
    ],
)
def test_nothing_is_sent_without_encryption_after_https(tmp_path, monkeypatch, hops):
    sent = []

    def send(adapter, request, **options):
        sent.append(request.url)
        answer = requests.Response()
        answer.status_code, answer.headers["Location"] = 302, hops[len(sent)]
        answer.raw, answer.url, answer.request = io.BytesIO(), request.url, request
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    with pytest.raises(DownloadError, match="https"):
        fetch(hops[0], tmp_path / "a.bin", SHA, progress=False)
    assert len(sent) == len(hops) - 1 and left(tmp_path) == set()


def test_threads_take_turns_when_some_fail(server, tmp_path):
    server.plan = [404, "truncate", "corrupt", 403, 404]

    def insist(_):
        while True:
            with contextlib.suppress(DownloadError):
                return fetch(server.url, tmp_path / "a.bin", SHA, progress=False)

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(insist, range(8)))) == 8
    assert left(tmp_path) == {"a.bin"} and len(server.ranges) == 6  # never two at the same time


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_a_process_waits_for_another_and_goes_on_when_it_is_killed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 10)  # the server stalls for longer than this test
    server.plan, part = ["stall"], tmp_path / "a.bin.part"
    code = "import sys; from stylelab.files.download import fetch; fetch(*sys.argv[1:])"
    command = [sys.executable, "-c", code, server.url, str(tmp_path / "a.bin"), SHA]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until(lambda: part.exists() and part.stat().st_size == len(DATA) // 3, 30)
    second = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(2)
    assert len(server.ranges) == 1
    first.kill()
    first.wait()
    assert second.wait(timeout=60) == 0 and left(tmp_path) == {"a.bin"}
    assert server.ranges == [None, f"bytes={len(DATA) // 3}-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_what_cannot_be_written_is_reported(server, tmp_path):
    (tmp_path / "a.bin.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="No space left on device"):
        fetch(server.url, tmp_path / "a.bin", SHA)
    with pytest.raises(DownloadError, match="full"):
        fetch(server.url, Path("/dev/full/a.bin"), SHA)
    assert len(server.ranges) == 1 and left(tmp_path) == {"a.bin.part"}


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/a", "host/a"])
@pytest.mark.parametrize("sha256", [SHA, "xyz" * 10, "", "abc", SHA + "0"])
def test_malformed_arguments(tmp_path, url, sha256):
    with pytest.raises(SettingError):
        fetch(url if sha256 == SHA else "http://host/a", tmp_path / "a.bin", sha256)


def test_the_embedded_network_needs_no_http_client():
    code = (
        "import sys; from stylelab import networks; networks.load('vgg19-mini');"
        "assert not {'requests', 'urllib3', 'filelock'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
