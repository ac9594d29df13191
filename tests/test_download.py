"""Downloads from a local server that can misbehave in every way that servers do."""

import contextlib
import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toys import until

from stylelab.errors import DownloadError, SettingError
from stylelab.files import download
from stylelab.files.download import fetch

DATA = bytes(range(256)) * 2000
SHA = hashlib.sha256(DATA).hexdigest()
HERE = Path(download.__file__).resolve().parents[2]

# Redirects by where they lead; {} is the address of the server.
REDIRECTS = {
    "redirect": "{}/elsewhere",
    "redirect to itself": "{}/file.bin",
    "redirect to a file": "file:///etc/hostname",
    "redirect to ftp": "ftp://127.0.0.1:1/file.bin",
    "redirect to data": "data:text/plain,hello",
    "redirect to code": "javascript:alert(1)",
    "redirect to no address": "http://[::1",
    "redirect to no port": "http://127.0.0.1:port/",
    "redirect to a long name": f"http://{'a' * 80}.invalid/",
    "redirect to nobody": "http://127.0.0.1:1/file.bin",
    "redirect to nowhere": None,
}
RETRY_AFTER = {
    "in seconds": "3",
    "by date": None,  # filled in below, five seconds from now
    "long ago": "Wed, 21 Oct 2015 07:28:00 GMT",
    "absurd": "9" * 400,
    "absurd date": "Fri, 31 Dec 9999 23:59:59 -2359",
    "negative": "-5",
    "no number": "soon",
    "empty": "",
}
LENGTHS = {
    "length too large": "{}0",
    "length absurd": "9" * 5000,
    "length of a petabyte": "1" + "0" * 15,
    "length too small": "7",
    "length zero": "0",
    "length negative": "-5",
    "length no number": "many",
    "length missing": None,
}
RANGES = {
    "wrong range": "bytes {start}7-{last}/{size}",
    "range of another size": "bytes {start}-{last}/10",
    "range of a petabyte": f"bytes {{start}}-{{last}}/1{'0' * 15}",
    "range of unknown size": "bytes {start}-{last}/*",
    "range absurd": f"bytes {{start}}-{{last}}/{'9' * 5000}",
    "range no numbers": "bytes some-more/all",
    "range missing": None,
}
BODIES = (
    *("truncate", "half", "stall", "drip", "corrupt", "wrong file", "page", "endless", "encoded"),
    *("chunked", "chunked, cut", "chunked nonsense", "chunked and a length"),
)
ANSWERS = ("hang up", "garbage", "endless head", "no content", "silence")
STATUS = (304, 400, 403, 404, 410, 416, 418, 429, 500, 502, 503, 504, 599, 999)
FAULTS = (
    *STATUS,
    *(f"{status} retry {when}" for status in (429, 503) for when in RETRY_AFTER),
    *(*REDIRECTS, *LENGTHS, *RANGES, *BODIES, *ANSWERS),
)


class Server(http.server.ThreadingHTTPServer):
    """Answers with `data` after going through `plan`, a list of one-request misbehaviours."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.root}/file.bin"
        self.lock = threading.Lock()
        self.reset()

    def reset(self, data: bytes = DATA, plan=(), with_ranges: bool = True, ever=None):
        self.data, self.plan, self.with_ranges, self.ever = data, list(plan), with_ranges, ever
        self.ranges, self.headers, self.delay, self.active, self.most = [], {}, 0.0, 0, 0

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        if server.active:  # perhaps only because its thread is slow to end after its last byte
            time.sleep(0.15)
        with server.lock:
            server.active += 1
            server.most = max(server.most, server.active)
        try:
            with contextlib.suppress(OSError):
                self.misbehave()
        finally:
            with server.lock:
                server.active -= 1

    def misbehave(self):
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        fault = server.plan.pop(0) if server.plan else server.ever
        time.sleep(server.delay)
        if isinstance(fault, int):
            return self.head(fault, {**server.headers, "Content-Length": "0"})
        if fault and " retry " in fault:
            when = RETRY_AFTER[fault[10:]]
            when = formatdate(time.time() + 5, usegmt=True) if when is None else when
            return self.head(int(fault[:3]), {"Retry-After": when, "Content-Length": "0"})
        if fault in REDIRECTS:
            to = REDIRECTS[fault]
            place = {} if to is None else {"Location": to.format(server.root)}
            return self.head(302, {**place, "Content-Length": "0"})
        if fault in ANSWERS:
            return self.answer(fault)
        start = int(wanted[6:-1]) if wanted and server.with_ranges else 0
        size = len(server.data)
        if start >= size:
            return self.head(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
        body, headers = server.data[start:], {}
        if start:
            said = RANGES.get(fault, "bytes {start}-{last}/{size}")
            headers["Content-Range"] = said and said.format(start=start, last=size - 1, size=size)
        if fault == "half" and start:  # as some servers do: a part of what was asked for
            body = body[: -(-len(body) // 2)]
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{size}"
        if fault == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        if fault in ("wrong file", "page"):
            body = b"<html>Log in to this network" if fault == "page" else bytes(len(body))
            start = start if fault == "wrong file" else 0
        headers["Content-Length"] = LENGTHS.get(fault, "{}")
        if headers["Content-Length"]:
            headers["Content-Length"] = headers["Content-Length"].format(len(body))
        if fault == "endless" or str(fault).startswith("chunked"):
            headers["Content-Length"] = "5" if fault == "chunked and a length" else None
        if str(fault).startswith("chunked"):
            headers["Transfer-Encoding"] = "chunked"
        if fault == "encoded":
            headers["Content-Encoding"] = "gzip"
        self.head(206 if start else 200, headers)
        self.body(fault, body)

    def head(self, status, headers):
        self.send_response(status, "\x1b]0;words of the server\x07")
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        self.close_connection = True

    def answer(self, fault):
        """What is not even an answer."""
        self.close_connection = True
        if fault == "garbage":
            self.wfile.write(b"\x1b[2Jhello\xff\r\n\r\n")
        elif fault == "endless head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000)
        elif fault == "no content":
            self.head(204, {})
        elif fault == "silence":
            time.sleep(4 * download.TIMEOUT)

    def body(self, fault, body):
        if fault in ("truncate", "stall", "chunked, cut"):
            third = body[: len(body) // 3]
            chunked = b"%x\r\n%b" % (len(body), third)
            self.wfile.write(chunked if "chunked" in fault else third)
            if fault == "stall":
                time.sleep(4 * download.TIMEOUT)
        elif fault == "drip":
            self.drip(body)
        elif fault == "endless":
            while True:
                self.wfile.write(body)
        elif fault in ("chunked", "chunked and a length"):
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        elif fault == "chunked nonsense":
            self.wfile.write(b"-1\r\nabc\r\nzz\r\n")
        else:
            self.wfile.write(body)

    def drip(self, data):
        """One byte at a time, each soon enough not to be a timeout."""
        for i in range(len(data)):
            self.wfile.write(data[i : i + 1])
            time.sleep(download.TIMEOUT / 10)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setattr(download, "LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(download, "TIMEOUT", 0.25)
    monkeypatch.setattr(download, "LARGEST", 20 * len(DATA))
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left(folder: Path, right: bytes) -> set[str]:
    """The files in a folder, if no lock is among them and none has a wrong name or content."""
    found = set(names(folder))
    assert found <= {"a.bin", "a.bin.part", "a.bin.old"}
    assert "a.bin" not in found or (folder / "a.bin").read_bytes() == right
    return found


def test_download_then_nothing_to_do(server, tmp_path, capsys):
    path = fetch(server.url, tmp_path / "new" / "a.bin", SHA)
    assert path.read_bytes() == DATA and names(path.parent) == ["a.bin"]
    assert "a.bin" in capsys.readouterr().err
    path.chmod(0o400)
    assert fetch(server.url, path, SHA.upper()) == path
    assert server.ranges == [None]
    server.plan = [500]
    assert fetch(server.url, tmp_path / "b.bin", SHA[:8], progress=False).read_bytes() == DATA
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_resumes_where_the_connection_broke(server, tmp_path, fault):
    server.plan = [fault, fault]
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA
    assert len(server.ranges) == 3 and all(server.ranges[1:])


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        (DATA[:1000], ["bytes=1000-"]),
        (DATA, [f"bytes={len(DATA)}-"]),
        (DATA + b"more", [f"bytes={len(DATA) + 4}-", None]),
        (b"not the beginning", ["bytes=17-", None]),
    ],
)
def test_resumes_what_an_earlier_run_left(server, tmp_path, kept, asked):
    (tmp_path / "a.bin.part").write_bytes(kept)
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA
    assert server.ranges == asked and names(tmp_path) == ["a.bin"]


def test_another_file_of_that_name_is_kept(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"the user's")
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA
    assert (tmp_path / "a.bin.old").read_bytes() == b"the user's"


def test_progress_earns_more_tries(server, tmp_path):
    server.plan = ["truncate"] * (2 * download.TRIES)
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA


@pytest.mark.parametrize("fault", ["truncate", "drip", 500])
def test_little_progress_earns_none(server, tmp_path, fault):
    server.ever, server.data = fault, DATA[:600]
    with pytest.raises(DownloadError, match="closed early|bytes came in|HTTP 500"):
        fetch(server.url, tmp_path / "a.bin", SHA)
    assert len(server.ranges) == download.TRIES


def test_wrong_file_is_removed_and_the_message_says_what_to_do(server, tmp_path):
    server.data = DATA[::-1]
    path = tmp_path / "a.bin"
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, path, SHA)
    message = str(caught.value)
    assert all(word in message for word in (server.url, SHA, str(path), "by hand"))
    assert names(tmp_path) == []


def test_offline_is_one_sentence(server, tmp_path):
    url, path = "http://127.0.0.1:1/file.bin", tmp_path / "a.bin"
    with pytest.raises(DownloadError, match="Connection refused.*check the connection") as caught:
        fetch(url, path, SHA[:8], progress=False)
    message = str(caught.value)
    assert "\n" not in message and f"beginning with {SHA[:8]}, at {path} by hand" in message


@pytest.mark.parametrize(
    ("when", "least", "most"),
    [("in seconds", 3, 3), ("by date", 3, 5), ("absurd", 60, 60), ("absurd date", 60, 60)]
    + [(when, 1e-3, 1e-3) for when in ("long ago", "negative", "no number", "empty")],
)
def test_how_long_a_busy_server_is_left_alone(server, tmp_path, monkeypatch, when, least, most):
    waits = []
    monkeypatch.setattr(download, "LONGEST_PAUSE", 60)
    monkeypatch.setattr(download, "time", type("", (), {"sleep": waits.append, "monotonic": int}))
    server.plan = [f"503 retry {when}"]
    fetch(server.url, tmp_path / "a.bin", SHA, progress=False)
    assert len(waits) == 1 and least <= waits[0] <= most


# What asking again does not change.
FINAL = {
    *(status for status in STATUS if status < 500 and status != 429),
    *("redirect to a file", "redirect to ftp", "redirect to data", "redirect to code"),
    *("redirect to nowhere", "redirect to no address", "redirect to no port"),
    *("redirect to a long name", "length of a petabyte", "endless"),
}


# A file of a wrong hash is asked for once more.
WRONG = ("wrong file", "page", "corrupt", "length too small", "length zero")
WRONG += ("chunked nonsense",)


@pytest.mark.parametrize("kept", [b"", DATA[:1000]], ids=["new", "resumed"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_overcome_or_reported(server, tmp_path, monkeypatch, capsys, fault, kept):
    if fault not in ("stall", "drip", "silence"):
        monkeypatch.setattr(download, "TIMEOUT", 10)
    server.plan = [fault] * (1 if kept or fault in WRONG else download.TRIES - 1)
    if kept:
        (tmp_path / "a.bin.part").write_bytes(kept)
    final = FINAL - {416, "length of a petabyte"} | {"range of a petabyte"} if kept else FINAL
    if fault in final:
        with pytest.raises(DownloadError):
            fetch(server.url, tmp_path / "a.bin", SHA)
        assert left(tmp_path, DATA) <= {"a.bin.part"} and len(server.ranges) == 1
    else:
        assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA
        assert left(tmp_path, DATA) == {"a.bin"}
    assert not kept or server.ranges[0] == "bytes=1000-"
    said = capsys.readouterr().err
    assert "words" not in said and "\x1b]" not in said and "\x1b[2J" not in said


SMALL = DATA[:20_000]
LEFT = {
    "nothing": {},
    "its beginning": {"a.bin.part": SMALL[:7000]},
    "too much": {"a.bin.part": SMALL + b"more"},
    "something else": {"a.bin.part": b"something else"},
    "of a killed process": {".a.bin.lock": b"", "a.bin.part": SMALL[:1]},
    "another file": {"a.bin": b"the user's"},
}


@pytest.fixture(scope="module")
def one_server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(st.sampled_from(FAULTS), max_size=8),
    ever=st.none() | st.sampled_from(FAULTS),
    with_ranges=st.booleans(),
    before=st.sampled_from(list(LEFT)),
)
@example(plan=["truncate", "corrupt"], ever=None, with_ranges=True, before="nothing")
@example(plan=["truncate", 404], ever=None, with_ranges=True, before="another file")
def test_the_right_file_or_an_error_and_nothing_wrong_left(
    one_server, tmp_path_factory, plan, ever, with_ranges, before
):
    folder = tmp_path_factory.mktemp("any")
    for name, content in LEFT[before].items():
        (folder / name).write_bytes(content)
    one_server.reset(SMALL, plan, with_ranges, ever)
    limits = {"PAUSE": 1e-4, "LONGEST_PAUSE": 1e-4, "TIMEOUT": 0.05, "LARGEST": 20 * len(SMALL)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(download, name, value)
        sha = hashlib.sha256(SMALL).hexdigest()
        try:
            assert fetch(one_server.url, folder / "a.bin", sha, progress=False).exists()
        except DownloadError as error:
            assert "\x1b" not in str(error) and one_server.url in str(error)
            if before == "another file":
                assert (folder / "a.bin").read_bytes() == b"the user's"
                (folder / "a.bin").unlink()
            (folder / ".a.bin.lock").unlink(missing_ok=True)
            assert left(folder, SMALL) <= {"a.bin.part"}
        else:
            old = {"a.bin.old"} if before == "another file" else set()
            assert left(folder, SMALL) == {"a.bin"} | old


def test_redirects_keep_the_encryption(tmp_path, monkeypatch):
    """As if an address with https led to one without: nothing of the answer is used."""
    hop, last = requests.Response(), requests.Response()
    hop.url, last.url, last.status_code = "https://host/a", "http://host/b", 200
    last.history, last.raw = [hop], io.BytesIO(DATA)
    monkeypatch.setattr(requests, "get", lambda *_, **__: last)
    with pytest.raises(DownloadError, match="unencrypted"):
        fetch("https://host/a", tmp_path / "a.bin", SHA, progress=False)
    assert "a.bin" not in names(tmp_path) and "a.bin.part" not in names(tmp_path)


def test_eight_threads_take_turns_when_some_fail(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 10)  # only the server's plan fails
    server.delay, server.plan = 0.1, [404, "truncate", "corrupt", 403, 404]
    found, failed = [], []

    def run():
        for _ in range(20):
            try:
                path = fetch(server.url, tmp_path / "a.bin", SHA, progress=False)
                return found.append(path.read_bytes())
            except DownloadError as error:
                failed.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [DATA] * 8 and len(failed) == 3
    assert server.most == 1  # never two at the same time
    assert names(tmp_path) == ["a.bin"]


def process(url: str, path: Path) -> subprocess.Popen:
    """A process of its own that fetches a file."""
    code = (
        "import sys; from stylelab.files import download; download.PAUSE = 0.001; "
        "download.fetch(*sys.argv[1:4], progress=False)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, url, str(path), SHA],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stderr=subprocess.PIPE,
    )


def test_processes_do_not_disturb_each_other(server, tmp_path):
    server.delay, server.plan = 0.3, ["truncate", 503, "truncate"]
    running = [process(server.url, tmp_path / "a.bin") for _ in range(4)]
    assert [(each.wait(60), each.stderr.read()) for each in running] == [(0, b"")] * 4
    assert left(tmp_path, DATA) == {"a.bin"}
    assert len(server.ranges) == 4 and server.most == 1


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_the_next_goes_on_after_a_process_was_killed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 10)  # the server stalls for longer than this test
    server.plan = ["stall"]
    part = tmp_path / "a.bin.part"
    first = process(server.url, tmp_path / "a.bin")
    until(lambda: part.exists() and part.stat().st_size == len(DATA) // 3, 30)
    second = process(server.url, tmp_path / "a.bin")
    time.sleep(0.5)  # until it waits for the first
    assert len(server.ranges) == 1
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.communicate(timeout=60) == (None, b"") and second.returncode == 0
    assert left(tmp_path, DATA) == {"a.bin"}
    assert server.ranges == [None, f"bytes={len(DATA) // 3}-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("size", [len(DATA), 100], ids=["on writing", "on closing"])
def test_a_full_disk_is_reported(server, tmp_path, size):
    (tmp_path / "a.bin.part").symlink_to("/dev/full")
    server.data = DATA[:size]
    with pytest.raises(DownloadError, match="No space left on device.*choose another folder"):
        fetch(server.url, tmp_path / "a.bin", SHA)
    assert len(server.ranges) == 1 and "a.bin" not in names(tmp_path)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="file"):
        fetch(server.url, tmp_path / "file" / "a.bin", SHA)
    assert server.ranges == []


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
