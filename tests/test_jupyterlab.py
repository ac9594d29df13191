"""The course's notebooks in JupyterLab: the opening picture, and a transfer that is watched."""

import base64
import io
import re

import lab_server
import nbformat
import pytest
from browser import browser
from lab_server import until
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

pytestmark = pytest.mark.whole

SETUP = """from stylelab import figures, transfer
lab = figures.Lab("quick", "vgg19-mini", "embedded", 96, 3, 0, "cpu", ".")
photograph, painting = lab.open("content"), lab.open("C")"""
LONG = "result = transfer(lab.network, photograph, painting, steps=300, progress=False)"
# Notes every picture and text of an output: they are gone when the optimisation ends, which on a
# busy machine may be before a test asks for them.
NOTE = """() => {
window.seen = {pictures: new Set(), words: new Set()};
const all = kind => document.querySelectorAll(`.jp-OutputArea ${kind}`);
new MutationObserver(() => {
    for (const image of all('img')) seen.pictures.add(image.src);
    for (const text of all('pre')) seen.words.add(text.innerText);
}).observe(document.body, {subtree: true, childList: true, attributes: true}); }"""
SEEN = "() => ({pictures: [...seen.pictures], words: [...seen.words]})"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a notebook that opens with a picture and has a long cell."""
    folder = tmp_path_factory.mktemp("workplace")
    Image.new("RGB", (90, 60), "red").save(buffer := io.BytesIO(), "JPEG")
    opening = new_markdown_cell("# A notebook\n\n![all red](attachment:opening.jpg)")
    picture = base64.b64encode(buffer.getvalue()).decode()
    opening.attachments = {"opening.jpg": {"image/jpeg": picture}}
    cells = [opening, new_code_cell(SETUP), new_code_cell(LONG), new_code_cell("result.steps")]
    spec = {"name": "python3", "display_name": "3", "language": "python"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": spec})
    nbformat.write(notebook, folder / "playground.ipynb")
    return folder


def test_a_notebook_opens_with_its_picture_and_a_long_cell_shows_its_own(workplace):
    with browser() as running, lab_server.running(workplace) as address:
        page = lab_server.opened(running, address)
        opening = page.get_by_alt_text("all red")
        opening.wait_for()
        until(lambda: opening.evaluate("image => image.naturalWidth") == 90, "the opening picture")
        page.get_by_text("| Idle").wait_for()
        page.evaluate(NOTE)
        lab_server.run_all_cells(page)
        last = re.compile(r"^\s*300\s*$")
        page.locator(".jp-OutputArea pre", has_text=last).wait_for()
        watched = page.get_by_text("of that at the start").or_(page.locator(".jp-OutputArea img"))
        until(lambda: watched.count() == 0, "the end of the watching")
        seen = page.evaluate(SEEN)
        assert len(seen["pictures"]) >= 2
        said = [words for words in seen["words"] if "of that at the start" in words]
        assert len(said) >= 2 and all("of 300; loss" in words for words in said)
        page.keyboard.press("Control+s")
        file = workplace / "playground.ipynb"
        until(lambda: 'execution_count": 3' in file.read_text("utf-8"), "the saved notebook")
        outputs = nbformat.read(file, as_version=4).cells[2].outputs
        assert not [kind for output in outputs for kind in output.data]
