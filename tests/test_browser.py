"""The playground in a real browser: JupyterLab, Chromium, a person's clicks.

STYLELAB_SCREENSHOTS names a folder for pictures of what was seen on the way.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if BROWSER is None:
    pytest.skip(
        "no chromium, chromium-browser or google-chrome is on the PATH", allow_module_level=True
    )

ROOT = Path(__file__).parents[1]
# One JupyterLab for all of them.
pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.whole]
PATIENCE = 120_000  # milliseconds: machines have other work to do


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a small version of the notebook, a photograph, and a broken file."""
    folder = tmp_path_factory.mktemp("workplace")
    notebook = nbformat.read(ROOT / "notebooks" / "10_playground.ipynb", as_version=4)
    (parameters,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    source = re.sub(r"(?m)^size = .*", "size = 64", parameters.source)
    source = re.sub(r"(?m)^steps = .*", "steps = 400", source)
    parameters.source = re.sub(r"(?m)^output = .*", 'output = "."', source)
    app = next(i for i, cell in enumerate(notebook.cells) if "Playground(\n" in cell.source)
    notebook.cells = notebook.cells[: app + 1]  # the rest is for those without a browser
    nbformat.write(notebook, folder / "playground.ipynb")
    ramp = np.linspace(0, 255, 96 * 64 * 3).reshape(64, 96, 3).astype(np.uint8)
    Image.fromarray(ramp).save(folder / "ramp.png")
    (folder / "broken.png").write_bytes(b"no picture <b>at all</b>")
    return folder


@pytest.fixture(scope="module")
def lab(workplace):
    """The address of the notebook in a JupyterLab of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, log = secrets.token_hex(16), workplace / ".lab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        # As the playground says: without it, larger uploads end silently.
        '--ServerApp.tornado_settings={"websocket_max_message_size": 104857600}',
    ]
    command += [f"--ServerApp.root_dir={workplace}", f"--IdentityProvider.token={token}"]
    quiet = workplace / ".settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    kernel = workplace / ".data" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "3", "language": "python"}))
    folders = {f"JUPYTER_{kind}_DIR": f"{workplace}/.{kind}" for kind in ("CONFIG", "RUNTIME")}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": f"{workplace}/.settings", "PYTHONPATH": str(ROOT)}
    folders |= {"JUPYTER_PATH": f"{workplace}/.data"}
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        environment = os.environ | folders
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            yield from _running(server, address, token, log)
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _running(server, address, token, log):
    """Yields where the notebook is, once the server answers."""
    for _ in range(480):
        assert server.poll() is None, log.read_text()
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{address}/api?token={token}", timeout=5).close()
            break
        time.sleep(0.25)
    yield f"{address}/lab/tree/playground.ipynb?token={token}"


@pytest.fixture(scope="module")
def page(lab):
    """The notebook with the app in view, all cells run."""
    flags = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.set_default_timeout(PATIENCE)
        page.goto(lab)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.get_by_text("| Idle").wait_for()  # else Jupyter asks which kernel is meant
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.locator(".stylelab .preview img").wait_for()
        page.locator(".stylelab").evaluate("app => app.scrollIntoView({block: 'start'})")
        yield page
        browser.close()


def look(page, name):
    """Keep what is on the screen, if a folder for that is named."""
    if folder := os.environ.get("STYLELAB_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder, f"{name}.png"))


def press(page, name):
    page.locator(".stylelab .widget-button", has_text=name).click()


def step(page):
    """The step that the app says it is at."""
    text = page.locator(".stylelab .widget-hprogress .widget-label").inner_text()
    return int(re.search(r"Step (\d+)", text)[1])


def message(page):
    return page.locator(".stylelab .message").inner_text().strip()


def until(condition, what):
    """Wait for a condition that no selector can tell."""
    end = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


def upload(page, which, path):
    """Give a file to the button `which`, by the button's own file dialog."""
    with page.expect_file_chooser() as chooser:
        page.get_by_title(which).click()
    chooser.value.set_files(path)


def test_it_fits_the_screen_and_controls_and_pictures_have_names(page):
    look(page, "1-open")
    app = page.locator(".stylelab")
    box = app.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1280
    assert app.evaluate("app => app.scrollWidth <= app.clientWidth")
    assert box["height"] < 720
    nameless = app.evaluate(
        """app => [...app.querySelectorAll('input, select, button')].filter(e =>
        e.type !== 'file' && !e.title && !e.getAttribute('aria-label') && !e.labels?.length
        && !e.innerText.trim()).map(e => e.outerHTML)"""
    )
    assert not nameless
    assert app.locator("img:not([alt]), img[alt='']").count() == 0


def test_the_limit_of_uploads_is_shown_and_can_be_raised(page, workplace):
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    Image.fromarray(noise).save(workplace / "large.png")
    assert (workplace / "large.png").stat().st_size > 11e6
    app = page.locator(".stylelab")
    assert (
        "at most 10 MB" in app.locator(".hint").inner_text() and app.locator(".hint").is_visible()
    )
    upload(page, "Upload a style image", workplace / "large.png")
    menu = app.get_by_role("combobox", name="Style", exact=True)
    until(lambda: "large.png" in menu.locator("option:checked").inner_text(), "the upload")
    menu.select_option("Swirling night")


def test_it_is_as_narrow_as_a_phone(page):
    page.keyboard.press("Control+b")  # closes the list of files
    page.set_viewport_size({"width": 400, "height": 800})
    app = page.locator(".stylelab")
    app.evaluate("app => app.scrollIntoView({block: 'start'})")
    look(page, "0-narrow")
    assert 250 < app.bounding_box()["width"] < 400
    assert app.evaluate("app => app.scrollWidth <= app.clientWidth")
    right, left = (app.locator(side).bounding_box() for side in (".right", ".left"))
    assert right["y"] >= left["y"] + left["height"]  # below the controls
    page.set_viewport_size({"width": 1280, "height": 720})
    page.keyboard.press("Control+b")


def test_a_transfer_is_watched_paused_changed_saved_and_loaded(page, workplace):
    app = page.locator(".stylelab")
    upload(page, "Upload a content image", workplace / "broken.png")
    until(lambda: "broken.png" in message(page), "the error of a broken file")
    look(page, "2-broken-file")
    upload(page, "Upload a content image", workplace / "ramp.png")
    menu = app.get_by_role("combobox", name="Content", exact=True)
    until(lambda: "ramp.png" in menu.locator("option:checked").inner_text(), "the upload")

    press(page, "Start")
    preview = app.locator(".preview img")
    until(lambda: step(page) >= 2, "the second step")
    first = preview.get_attribute("src")
    until(lambda: preview.get_attribute("src") != first, "another preview")
    assert (
        app.locator("svg.curves polyline").count() == 8
    )  # five styles, content, out of range, total
    assert page.get_by_text("javascript error").count() == 0  # in place of a widget
    look(page, "3-running")

    press(page, "Pause")
    app.locator("button", has_text="Resume").wait_for()
    paused = step(page)
    assert 2 <= paused < 400
    time.sleep(1.5)
    assert step(page) == paused

    strength = app.locator(".widget-hslider", has_text="Strength")
    slider = strength.get_by_role("slider")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    until(lambda: "Changed after step" in message(page), "the change")
    look(page, "4-paused-and-changed")
    press(page, "Resume")
    until(lambda: step(page) > paused + 2, "further steps")
    assert app.locator("svg.curves .change").count() >= 1

    press(page, "Stop")
    until(lambda: "Stopped after" in message(page), "the end")
    stopped = step(page)
    press(page, "Keep")
    app.locator(".kept img").wait_for()
    press(page, "Save")
    until(lambda: "Saved as" in message(page), "the file")
    (saved,) = (workplace / "playground").glob("*.png")
    assert saved.name == "ramp-swirling_night-001.png"
    with Image.open(saved) as image:
        record = json.loads(image.text["Comment"])
        assert max(image.size) == record["size"]
    assert record["content"]["file"] == "ramp.png" and record["style"]["file"].endswith(".jpg")
    assert record["strength"] < 0.5 and record["steps_done"] == stopped
    at = [change["step"] for change in record["changes"]]
    assert at[0] == paused and at[-1] <= stopped  # keys may arrive after Resume was pressed
    look(page, "5-kept-and-saved")

    box = app.get_by_role("checkbox", name="conv1_1")
    box.uncheck()
    slider.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    upload(page, "Load settings from a saved picture", workplace / "ramp.png")
    until(lambda: "ramp.png holds no settings" in message(page), "the refusal")
    assert not box.is_checked()
    upload(page, "Load settings from a saved picture", saved)
    until(lambda: f"Settings of {saved.name} loaded" in message(page), "the settings")
    until(box.is_checked, "the layer's tick")
    shown = strength.locator(".widget-readout").inner_text()
    assert float(shown) == pytest.approx(record["strength"], abs=0.006)
    look(page, "6-loaded")


def test_arrow_keys_reach_the_lecture_page_and_not_jupyterlab(page):
    lecture = page.locator(".stylelab-scrubber")
    lecture.locator("input[type=range]").focus()
    for key in ("ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    assert lecture.locator("output").inner_text() == "Style layers up to conv1_1, α/β = 1e-3"
    assert lecture.locator("input[type=range]").evaluate("slider => slider.matches(':focus')")
