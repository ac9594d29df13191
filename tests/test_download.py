"""Downloads from a local server that can misbehave in every way that servers do."""

import contextlib
import hashlib
import http.server
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from email.message import Message
from email.utils import formatdate
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toys import until

from stylelab.errors import DownloadError, SettingError
from stylelab.files import download, web
from stylelab.files.download import fetch, sha256_of

DATA = bytes(range(256)) * 2000
SHA = hashlib.sha256(DATA).hexdigest()
HERE = Path(download.__file__).resolve().parents[1]

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
ANSWERS = ("hang up", "garbage", "endless head", "dripping head", "no content", "silence")
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
        elif fault == "dripping head":
            self.drip(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50)
        elif fault == "no content":
            self.head(204, {})
        elif fault == "silence":
            time.sleep(4 * web.TIMEOUT)

    def body(self, fault, body):
        if fault in ("truncate", "stall", "chunked, cut"):
            third = body[: len(body) // 3]
            chunked = b"%x\r\n%b" % (len(body), third)
            self.wfile.write(chunked if "chunked" in fault else third)
            if fault == "stall":
                time.sleep(4 * web.TIMEOUT)
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
            time.sleep(web.TIMEOUT / 10)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setattr(web, "TIMEOUT", 0.25)
    monkeypatch.setattr(web, "LARGEST", 20 * len(DATA))
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_download_then_nothing_to_do(server, tmp_path, capsys):
    path = fetch(server.url, tmp_path / "new" / "a.bin", SHA)
    assert path.read_bytes() == DATA and sha256_of(path) == SHA
    assert names(path.parent) == ["a.bin"]
    assert "a.bin" in capsys.readouterr().err
    path.chmod(0o400)
    assert fetch(server.url, path, SHA.upper()) == path
    assert server.ranges == [None]


def test_no_progress_when_not_asked_for(server, tmp_path, capsys):
    server.plan = [500]
    fetch(server.url, tmp_path / "a.bin", SHA, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_prefix_of_the_hash_is_enough(server, tmp_path):
    assert fetch(server.url, tmp_path / "a.bin", SHA[:8]).read_bytes() == DATA
    with pytest.raises(DownloadError):
        fetch(server.url, tmp_path / "b.bin", "0" * 8)


def test_a_wrong_file_is_replaced(server, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"half of")
    assert fetch(server.url, path, SHA).read_bytes() == DATA


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_resumes_where_the_connection_broke(server, tmp_path, fault):
    server.plan = [fault, fault]
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA
    assert len(server.ranges) == 3 and all(server.ranges[1:])
    assert names(tmp_path) == ["a.bin"]


def test_progress_earns_more_tries(server, tmp_path):
    server.plan = ["truncate"] * (2 * download.TRIES)
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA


def test_resumes_what_an_earlier_run_left(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA
    assert server.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("left", [b"not the beginning", DATA + b"more", DATA])
def test_any_leftover_ends_well(server, tmp_path, left):
    (tmp_path / "a.bin.part").write_bytes(left)
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA


def test_server_without_ranges(server, tmp_path):
    server.with_ranges, server.plan = False, ["truncate"]
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA


def test_a_range_that_was_not_asked_for_is_not_used(server, tmp_path):
    server.plan = ["truncate", "wrong range"]
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA


def test_wrong_hash_keeps_nothing_and_says_what_to_do(server, tmp_path):
    server.data = DATA[::-1]
    path = tmp_path / "a.bin"
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, path, SHA)
    message = str(caught.value)
    assert server.url in message and SHA in message and str(path) in message
    assert not path.exists() and not (tmp_path / "a.bin.part").exists()


def test_not_found_is_final(server, tmp_path):
    server.plan = [404]
    with pytest.raises(DownloadError, match="404") as caught:
        fetch(server.url, tmp_path / "a.bin", SHA)
    assert str(tmp_path / "a.bin") in str(caught.value) and SHA in str(caught.value)
    assert len(server.ranges) == 1


def test_a_busy_server_is_asked_again(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(download.time, "sleep", lambda s: waits.append(s))
    server.plan, server.headers = [500, 429, 503], {"Retry-After": "3"}
    fetch(server.url, tmp_path / "a.bin", SHA)
    assert [s for s in waits if s] == [3, 3, 3]
    waits.clear()
    server.plan, server.headers = [503], {"Retry-After": "86400"}
    fetch(server.url, tmp_path / "b.bin", SHA)
    assert [s for s in waits if s] == [download.LONGEST_PAUSE]


@pytest.mark.parametrize("fault", ["truncate", "drip"])
def test_little_progress_earns_none(server, tmp_path, fault):
    server.ever, server.data = fault, DATA[:600]  # 200 bytes, then fewer: too few to speak of
    with pytest.raises(DownloadError, match="closed early|bytes came in"):
        fetch(server.url, tmp_path / "a.bin", SHA)
    assert len(server.ranges) == download.TRIES
    assert 0 < (tmp_path / "a.bin.part").stat().st_size < 600


def test_gives_up_in_the_end(server, tmp_path):
    server.plan = [500] * 20
    with pytest.raises(DownloadError, match="500"):
        fetch(server.url, tmp_path / "a.bin", SHA)
    assert len(server.ranges) == download.TRIES


def test_no_server(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="check the connection"):
        fetch(server.url, tmp_path / "a.bin", SHA)


SLOW = ("stall", "drip", "silence", "dripping head")
# What there is no use in asking for again; and of these, what spoils the bytes that came before.
FINAL = {
    *(status for status in STATUS if status < 500 and status != 429),
    *("redirect to a file", "redirect to ftp", "redirect to data", "redirect to code"),
    *("redirect to nowhere", "length of a petabyte", "length too small"),
    *("corrupt", "wrong file", "page", "endless"),
}
SPOILING = {416, "corrupt", "wrong file", "page", "endless"}


@pytest.fixture
def hasty(server, monkeypatch, request):
    """A server that nobody waits for long, whatever it asks for."""
    if request.node.callspec.params["fault"] not in SLOW:
        monkeypatch.setattr(web, "TIMEOUT", 10)
    monkeypatch.setattr(download, "LONGEST_PAUSE", 0.002)
    return server


def left(folder: Path, right: bytes) -> set[str]:
    """The files in a folder, if no lock is among them and none has a wrong name or content."""
    found = set(names(folder))
    assert found <= {"a.bin", "a.bin.part", "a.bin.old"}
    assert "a.bin" not in found or (folder / "a.bin").read_bytes() == right
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_overcome_or_reported(hasty, tmp_path, fault):
    hasty.plan = [fault] * (download.TRIES - 1)
    if fault in FINAL:
        with pytest.raises(DownloadError) as caught:
            fetch(hasty.url, tmp_path / "a.bin", SHA, progress=False)
        assert "words" not in str(caught.value) and "\x1b" not in str(caught.value)
        assert not left(tmp_path, DATA)
        assert len(hasty.ranges) == 1
    else:
        assert fetch(hasty.url, tmp_path / "a.bin", SHA, progress=False).read_bytes() == DATA
        assert left(tmp_path, DATA) == {"a.bin"}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_on_resuming_is_overcome_or_reported(hasty, tmp_path, fault):
    (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
    hasty.plan = [fault]
    final = fault in FINAL or fault == "range of a petabyte"
    with contextlib.suppress(*([DownloadError] if final else [])):
        fetch(hasty.url, tmp_path / "a.bin", SHA, progress=False)
        assert left(tmp_path, DATA) == {"a.bin"}
    assert fault in SPOILING or left(tmp_path, DATA)
    assert hasty.ranges[0] == "bytes=1000-"


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_for_ever_comes_to_an_end(hasty, tmp_path, capsys, monkeypatch, fault):
    monkeypatch.setattr(web, "TIMEOUT", 0.05)
    hasty.ever = fault
    with contextlib.suppress(DownloadError):
        fetch(hasty.url, tmp_path / "a.bin", SHA)
        assert left(tmp_path, DATA) == {"a.bin"}
    left(tmp_path, DATA)
    said = capsys.readouterr().err
    assert "words" not in said and "\x1b]" not in said and "\x1b[2J" not in said


SMALL = DATA[:20_000]
LEFT = {
    "nothing": {},
    "its beginning": {"a.bin.part": SMALL[:7000]},
    "all of it": {"a.bin.part": SMALL},
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


@settings(max_examples=200, deadline=None)
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
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PAUSE", 1e-4), ("LONGEST_PAUSE", 1e-4)):
            patch.setattr(download, name, value)
        for name, value in (("TIMEOUT", 0.05), ("LARGEST", 20 * len(SMALL))):
            patch.setattr(web, name, value)
        sha = hashlib.sha256(SMALL).hexdigest()
        try:
            assert fetch(one_server.url, folder / "a.bin", sha, progress=False).exists()
        except DownloadError as error:
            assert "\x1b" not in str(error) and one_server.url in str(error)
            if before == "another file":  # is where it was
                assert (folder / "a.bin").read_bytes() == b"the user's"
                (folder / "a.bin").unlink()
            assert left(folder, SMALL) <= {"a.bin.part"}
        else:
            old = {"a.bin.old"} if before == "another file" else set()
            assert left(folder, SMALL) == {"a.bin"} | old


def test_redirects_in_a_circle_end(server, tmp_path):
    server.ever = "redirect to itself"
    with pytest.raises(DownloadError, match="leads in a circle"):
        fetch(server.url, tmp_path / "a.bin", SHA)
    assert len(server.ranges) < 20


def test_redirects_keep_the_encryption():
    keep = web._Redirects().redirect_request
    for start, to in (("http", "http"), ("http", "https"), ("https", "HTTPS")):
        asked = Request(f"{start}://host/a")
        assert keep(asked, None, 302, "", Message(), f"{to}://other/b").full_url.endswith("other/b")
    for to in ("http", "ftp", "file", "data"):
        with pytest.raises(HTTPError):
            keep(Request("https://host/a"), None, 302, "", Message(), f"{to}://other/b")


def test_certificates_are_looked_at():
    context = web._SecureConnection("localhost")._context
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.parametrize(
    ("when", "least", "most"),
    [("in seconds", 3, 3), ("by date", 3, 5), *((w, 1e-3, 1e-3) for w in ("long ago", "negative"))]
    + [(when, 60, 60) for when in ("absurd", "absurd date")]
    + [(when, 1e-3, 1e-3) for when in ("no number", "empty")],
)
def test_how_long_a_busy_server_is_left_alone(server, tmp_path, monkeypatch, when, least, most):
    waits = []
    monkeypatch.setattr(download, "time", type("", (), {"sleep": waits.append}))
    server.plan = [f"503 retry {when}"]
    fetch(server.url, tmp_path / "a.bin", SHA, progress=False)
    assert len(waits) == 1 and least <= waits[0] <= most


def test_pieces_that_do_not_belong_together_are_fetched_anew(server, tmp_path):
    server.plan = ["truncate", "corrupt"]
    assert fetch(server.url, tmp_path / "a.bin", SHA).read_bytes() == DATA
    assert server.ranges == [None, f"bytes={len(DATA) // 3}-", None]


def test_offline_is_one_sentence(tmp_path):
    path, url = tmp_path / "a.bin", "http://127.0.0.1:1/file.bin"
    for sha, said in ((SHA, f"SHA-256 {SHA}"), (SHA[:8], f"SHA-256 beginning with {SHA[:8]}")):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(DownloadError) as caught:
            patch.setattr(download, "PAUSE", 0.001)
            fetch(url, path, sha, progress=False)
        message = str(caught.value)
        assert message.startswith(f"{url} cannot be downloaded (") and "\n" not in message
        assert f"or put the file, {said}, at {path} by hand" in message
        assert not names(tmp_path)


def test_eight_at_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", 10)  # only the server's plan fails
    server.delay = 0.05
    found = []

    def run():
        found.append(fetch(server.url, tmp_path / "a.bin", SHA, progress=False).read_bytes())

    together(run, 8)
    assert found == [DATA] * 8 and len(server.ranges) == 1
    assert names(tmp_path) == ["a.bin"]


def test_eight_at_once_take_turns_when_some_fail(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", 10)  # only the server's plan fails
    server.delay, server.plan = 0.3, [404, "truncate", "wrong file", 403, "corrupt", 404]
    found, failed = [], []

    def run():
        for _ in range(20):  # who comes again meets those who still wait
            try:
                path = fetch(server.url, tmp_path / "a.bin", SHA, progress=False)
                return found.append(path.read_bytes())
            except DownloadError as error:
                failed.append(error)

    together(run, 8)
    assert found == [DATA] * 8 and len(failed) == 4
    assert server.most == 1  # never two at the same time
    assert names(tmp_path) == ["a.bin"]


def together(run, count: int) -> None:
    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def process(url: str, path: Path) -> subprocess.Popen:
    """A process of its own that fetches a file."""
    code = (
        "import sys; from stylelab import download; download.PAUSE = 0.001; "
        "download.fetch(*sys.argv[1:4], progress=False)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, url, str(path), SHA],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("count", [2, 8])
def test_processes_do_not_disturb_each_other(server, tmp_path, count):
    server.delay, server.plan = 0.3, ["truncate", 503, "truncate"]
    running = [process(server.url, tmp_path / "a.bin") for _ in range(count)]
    assert [(each.wait(60), each.stderr.read()) for each in running] == [(0, b"")] * count
    assert left(tmp_path, DATA) == {"a.bin"}
    assert len(server.ranges) == 4 and server.most == 1


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
@pytest.mark.parametrize("waiting", [False, True])
def test_the_next_goes_on_after_a_process_was_killed(server, tmp_path, monkeypatch, waiting):
    monkeypatch.setattr(web, "TIMEOUT", 10)  # the server stalls for longer than this test
    server.plan = ["stall"]
    part = tmp_path / "a.bin.part"
    first = process(server.url, tmp_path / "a.bin")
    until(lambda: part.exists() and part.stat().st_size == len(DATA) // 3, 30)
    second = process(server.url, tmp_path / "a.bin") if waiting else None
    time.sleep(0.5 if waiting else 0)  # to come to the lock
    assert ".a.bin.lock" in names(tmp_path) and len(server.ranges) == 1
    first.send_signal(signal.SIGKILL)
    first.communicate()
    if second is None:
        fetch(server.url, tmp_path / "a.bin", SHA, progress=False)
    else:
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
    assert len(server.ranges) == 1 and names(tmp_path) == ["a.bin.part"]


def test_a_limit_on_files_is_reported_and_the_file_resumed_without_it(server, tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(DownloadError, match=r"a\.bin.*cannot be .*written \(File too large"):
            fetch(server.url, tmp_path / "a.bin", SHA, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(tmp_path, DATA) == {"a.bin.part"}
    assert fetch(server.url, tmp_path / "a.bin", SHA, progress=False).read_bytes() == DATA
    assert server.ranges == [None, "bytes=100000-"]


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="file"):
        fetch(server.url, tmp_path / "file" / "a.bin", SHA)
    assert server.ranges == []


@pytest.mark.parametrize(
    ("url", "sha256"),
    [
        ("file:///etc/hostname", SHA),
        ("ftp://host/a", SHA),
        ("http://host/a", "xyz" * 10),
        ("http://host/a", ""),
        ("http://host/a", "abc"),
        ("http://host/a", SHA + "0"),
    ],
)
def test_malformed_arguments(tmp_path, url, sha256):
    with pytest.raises(SettingError):
        fetch(url, tmp_path / "a.bin", sha256)
