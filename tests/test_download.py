"""Downloads from a local server that can misbehave in every way that servers do."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stylelab import download
from stylelab.download import fetch, sha256_of
from stylelab.errors import DownloadError, SettingError

DATA = bytes(range(256)) * 2000
SHA = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers with DATA after going through `plan`, a list of one-request misbehaviours."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.ranges, self.data = [], [], DATA
        self.with_ranges, self.headers, self.delay = True, {}, 0.0
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        fault = server.plan.pop(0) if server.plan else None
        time.sleep(server.delay)
        if isinstance(fault, int):
            self.send_response(fault)
            for key, value in server.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(wanted[6:-1]) if wanted and server.with_ranges else 0
        if start >= len(server.data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.data[start:]
        self.send_response(206 if start else 200)
        if start:
            shift = 7 if fault == "wrong range" else 0
            end = len(server.data)
            self.send_header("Content-Range", f"bytes {start + shift}-{end - 1}/{end}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("truncate", "stall"):
            self.wfile.write(body[: len(body) // 3])
            self.wfile.flush()
            if fault == "stall":
                time.sleep(1)
            return
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.01)
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
def test_resumes_where_the_connection_broke(server, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
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


def test_eight_at_once(server, tmp_path):
    server.delay = 0.05
    found = []

    def run():
        found.append(fetch(server.url, tmp_path / "a.bin", SHA, progress=False).read_bytes())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA] * 8 and len(server.ranges) == 1
    assert names(tmp_path) == ["a.bin"]


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
