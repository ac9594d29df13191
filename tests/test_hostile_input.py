"""Bad files, through every door: an image, or one clear sentence; no traceback, no hang."""

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import hostile
import ipywidgets as widgets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylelab import load_image
from stylelab.app.image_choice import uploaded_file
from stylelab.cli.main import main as cli
from stylelab.errors import ImageError, StylelabError

pytestmark = pytest.mark.filterwarnings("ignore:.*holds several pictures")
CONTENTS = dict(hostile.contents())
GOOD = "a good image"
REFUSED = ("empty", "zeros", "noise", "text", "nan-", "infinite-", "minus-infinite-", "declares-")
REFUSED += ("first-", "bomb-", "pickle", "page", "negative-", "depth-3", "colour-9")


def test_the_corpus_is_large_and_of_every_kind():
    assert len(CONTENTS) >= 300
    for kind in REFUSED:
        assert any(name.startswith(kind) for name in CONTENTS), kind


def read(path: Path) -> str:
    """What became of a file: `GOOD`, or what was said."""
    try:
        image = load_image(path)
    except ImageError as error:
        return str(error)
    assert image.shape[:2] == (1, 3) and image.numel() and image.dtype == torch.float32
    assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1
    return GOOD


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_is_an_image_or_refused_in_a_sentence(tmp_path, name, capfd):
    path = tmp_path / name
    path.write_bytes(CONTENTS[name])
    said = read(path)
    assert capfd.readouterr() == ("", "")  # no decoder adds lines of its own
    if name.startswith("good"):
        assert said == GOOD
    if name.startswith(REFUSED):
        assert said != GOOD
    if said != GOOD:
        assert str(path) in said and len(said) < 600 and "Traceback" not in said


def test_a_place_is_an_image_or_refused_in_a_sentence(tmp_path):
    said = {what: read(path) for what, path in hostile.places(tmp_path)}
    refused = {what for what, saying in said.items() if saying != GOOD}
    assert {"missing", "folder", "beneath a file", "long name", "null device"} <= refused
    if os.name == "posix":
        assert {"pipe", "endless device", "loop of links", "dangling link"} <= refused
        assert "is a device or a pipe" in said["pipe"] and "is a device" in said["endless device"]
        assert "loop" in said["loop of links"].lower() or "symbolic" in said["loop of links"]
        named = [saying for what, saying in said.items() if what.startswith("name ")]
        assert len(named) > 10 and set(named) == {GOOD}
    if os.name == "posix" and os.getuid():
        assert "unreadable" in refused


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(hostile.FORMATS)), st.data())
def test_any_bytes_after_any_beginning(tmp_path_factory, suffix, data):
    good = CONTENTS[f"good.{suffix}"]
    kept = data.draw(st.integers(0, len(good)))
    path = tmp_path_factory.mktemp("any") / f"file.{suffix}"
    path.write_bytes(good[:kept] + data.draw(st.binary(max_size=200)) + good[kept:][: 5 * kept])
    read(path)


def test_the_command_refuses_them_in_one_line(tmp_path, capsys):
    """A third of the files that cannot be read, in place of either image."""
    output, tried = tmp_path / "out.png", 0
    for name, content in list(CONTENTS.items())[::3]:
        path = tmp_path / name
        path.write_bytes(content)
        if read(path) == GOOD:
            continue
        for images in ([str(path), "swirling_night"], ["pagoda", str(path)]):
            assert cli(["transfer", *images, "-o", str(output), "--steps", "1"]) == 1, name
            said = capsys.readouterr().err
            assert said.startswith("stylelab: ") and said.count("\n") == 1, name
            tried += 1
    assert tried > 100 and not output.exists()


@pytest.mark.skipif(os.name != "posix", reason="Windows does not have such names")
def test_the_command_and_odd_places(tmp_path, capsys):
    output, ended = tmp_path / "out" / "new\nline \u00fc.png", set()
    for what, path in hostile.places(tmp_path):
        arguments = ["-o", str(output), "--steps", "1", "--size", "48", "--init", "noise"]
        try:
            code = cli(["transfer", *arguments, "--", str(path), "pagoda"])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        ended.add(code)
        assert code in (0, 1, 2), what
        assert "Traceback" not in said.err and "\x1b" not in said.out + said.err, what
        assert output.exists() == (code == 0), what
        output.unlink(missing_ok=True)
    assert {0, 1} <= ended


def test_an_upload_is_an_image_or_refused_in_a_sentence():
    """Every third file: all are decoded as they are from a path."""
    upload, outcomes = widgets.FileUpload(), {True: 0, False: 0}
    for name, content in list(CONTENTS.items())[::3]:
        item = {"name": f"../../{name}", "type": "", "size": len(content)}
        item |= {"content": memoryview(content), "last_modified": datetime.now(UTC)}
        upload.value = [item]
        try:
            with uploaded_file(upload) as path:
                folder = path.parent
                assert folder.parent == Path(tempfile.gettempdir())
                assert load_image(path).isfinite().all()
            outcomes[True] += 1
        except StylelabError as error:
            assert "Traceback" not in str(error) and "stylelab-upload-" not in str(error), name
            outcomes[False] += 1
        assert upload.value == () and not folder.exists()
    assert min(outcomes.values()) > 15


LIMITED = """
import resource, sys
from stylelab import load_image
from stylelab.errors import ImageError
for path in sys.argv[1:]:
    try:
        load_image(path)
    except ImageError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
def test_none_takes_more_than_two_gib(tmp_path):
    """All in one process, so that its peak is the worst; with a picture of nearly the limit."""
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    from PIL import Image

    Image.new("RGB", (8000, 6000), "teal").save(tmp_path / "camera.jpg")
    names = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *names], stdout=subprocess.PIPE, timeout=100, check=True
    )
    assert int(done.stdout) * 1024 < 2 * 2**30
