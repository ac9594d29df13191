"""Images by name: what is in the gallery, where it comes from, and what the cache does."""

import functools
import hashlib
import http.server
import io
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from stylelab import gallery
from stylelab.errors import DownloadError, ImageError, SettingError, StylelabError
from stylelab.files import local


def changed(entry, **values):
    return SimpleNamespace(**(vars(entry) | values))


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def requests(tmp_path, monkeypatch):
    """Let neckarfront come from a local server; gives the list of requests it received."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "photo.png").write_bytes(picture())
    seen = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            seen.append(self.path)

    serve = functools.partial(Handler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        entry = changed(
            gallery.info("neckarfront"),
            source=f"http://127.0.0.1:{server.server_port}/photo.png",
            sha256=hashlib.sha256(picture()).hexdigest(),
        )
        monkeypatch.setitem(gallery.entries(), "neckarfront", entry)
        yield seen
        server.shutdown()


def test_downloads_once(cache, requests):
    image = gallery.open("neckarfront", size=20)
    assert image.shape == (1, 3, 15, 20) and image[0, :, 0, 0].tolist() == [1, 0, 0]
    assert gallery.path("neckarfront") == cache / "neckarfront.jpg"
    assert [file.name for file in cache.glob("[!.]*")] == ["neckarfront.jpg"]
    assert len(requests) == 1


def test_a_folder_that_holds_the_files_is_not_touched(cache, requests):
    cache.mkdir()
    (cache / "neckarfront.jpg").write_bytes(picture())
    before = cache.stat().st_mtime_ns
    cache.chmod(0o500)
    assert gallery.open("neckarfront").shape == (1, 3, 30, 40)
    assert cache.stat().st_mtime_ns == before and requests == []
    cache.chmod(0o700)


def test_a_file_that_is_not_the_papers_is_replaced(cache, requests):
    cache.mkdir()
    (cache / "neckarfront.jpg").write_bytes(picture()[:50])
    assert gallery.open("neckarfront").shape == (1, 3, 30, 40)


def test_a_changed_file_on_the_web_is_refused(cache, requests, monkeypatch):
    wrong = changed(gallery.info("neckarfront"), sha256="0" * 64)
    monkeypatch.setitem(gallery.entries(), "neckarfront", wrong)
    with pytest.raises(DownloadError, match="neckarfront.jpg"):
        gallery.open("neckarfront")
    assert not (cache / "neckarfront.jpg").exists()


def test_every_entry_is_complete():
    assert len(gallery.names("paper")) == 9
    assert set(gallery.names()) == set(gallery.names("paper")) | set(gallery.names("embedded"))
    for name in gallery.names():
        entry = gallery.info(name)
        assert entry.name == name and entry.title and entry.artist and entry.licence and entry.use
        assert entry.title in gallery.credit(name) and "\n" not in gallery.credit(name)
        if entry.kind == "paper":
            assert entry.source.startswith("https://") and len(entry.sha256) == 64
            assert "/" not in entry.file


def test_credit():
    expected = "Tübingen Neckarfront, photograph by Andreas Praefcke (CC BY 3.0)"
    assert gallery.credit("neckarfront") == expected


def test_casts_play_the_same_parts_with_images_of_their_kind():
    assert gallery.cast("paper").keys() == gallery.cast("embedded").keys()
    both = {"brick"}  # the paper's authors gave no wall
    for kind in gallery.KINDS:
        assert set(gallery.cast(kind).values()) <= both.union(gallery.names(kind))
    with pytest.raises(SettingError, match="paper, embedded"):
        gallery.cast("other")


@pytest.mark.parametrize("package", ["skimage", "sklearn"])
def test_embedded_photographs(package):
    pytest.importorskip(package)
    mine = [n for n in gallery.names("embedded") if gallery.info(n).file.startswith(package)]
    for name in mine:
        image = gallery.open(name, size=64)
        assert image.shape[:2] == (1, 3) and max(image.shape[2:]) == 64
        assert image.dtype == torch.float32 and 0 <= image.min() < image.max() <= 1
    assert mine


@pytest.mark.parametrize("part", "BCDEF")
def test_embedded_paintings(part):
    image = gallery.open(gallery.cast("embedded")[part])
    assert min(image.shape[2:]) >= 256 and image.std() > 0.05


def test_finding_photographs_imports_nothing_heavy():
    code = (
        "import sys; from stylelab import gallery; gallery.path('cat'); gallery.path('pagoda');"
        "assert not {'skimage', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(gallery, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"scikit-image.*stylelab\[notebooks\]"):
        gallery.open("coffee")


def test_unknown_names_bring_similar_ones():
    with pytest.raises(SettingError, match="starry_night"):
        gallery.open("stary_nigt")
    with pytest.raises(StylelabError, match="neckarfront"):
        gallery.path("")
    with pytest.raises(SettingError):
        gallery.names("other")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("STYLELAB_CACHE", "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert local.cache_dir() == tmp_path / "somewhere"
    monkeypatch.delenv("STYLELAB_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if sys.platform == "linux":
        assert local.cache_dir() == tmp_path / ".cache" / "stylelab"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert local.cache_dir() == tmp_path / "xdg" / "stylelab"
