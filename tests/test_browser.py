"""The playground in a real browser: JupyterLab, Chromium, a person's clicks.

STYLELAB_SCREENSHOTS names a folder for pictures of what was seen on the way.
"""

import json
import os
import re
import time
from pathlib import Path

import lab_server
import nbformat
import numpy as np
import pytest
from browser import browser
from lab_server import until
from PIL import Image

ROOT = Path(__file__).parents[1]
# One JupyterLab for all of them.
pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a small version of the notebook, a photograph, and a broken file."""
    folder = tmp_path_factory.mktemp("workplace")
    notebook = nbformat.read(ROOT / "notebooks" / "10_playground.ipynb", as_version=4)
    (parameters,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    source = re.sub(r"(?m)^size = .*", "size = 64", parameters.source)
    source = re.sub(r"(?m)^steps = .*", "steps = 400", source)
    parameters.source = re.sub(r"(?m)^output = .*", 'output = "."', source)
    last = next(i for i, cell in enumerate(notebook.cells) if "lecture.page()" in cell.source)
    notebook.cells = notebook.cells[: last + 1]  # the rest is for those without a browser
    nbformat.write(notebook, folder / "playground.ipynb")
    ramp = np.linspace(0, 255, 96 * 64 * 3).reshape(64, 96, 3).astype(np.uint8)
    Image.fromarray(ramp).save(folder / "ramp.png")
    (folder / "broken.png").write_bytes(b"no picture <b>at all</b>")
    return folder


@pytest.fixture(scope="module")
def page(workplace):
    """The notebook with the app in view, all cells run."""
    with browser() as running, lab_server.running(workplace) as address:
        page = lab_server.opened(running, address)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.get_by_text("| Idle").wait_for()  # else Jupyter asks which kernel is meant
        lab_server.run_all_cells(page)
        page.locator(".stylelab .preview img").wait_for()
        page.locator(".stylelab").evaluate("app => app.scrollIntoView({block: 'start'})")
        yield page


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
    assert app.get_by_text("Uploads: at most 10 MB").is_visible()
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
    assert left["y"] >= right["y"] + right["height"]  # the controls below the picture
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
        app.locator("svg.curves .curve").count() == 8
    )  # five styles, content, out of range, total
    assert page.get_by_text("javascript error").count() == 0  # in place of a widget
    look(page, "3-running")

    press(page, "Pause")
    app.locator("button", has_text="Resume").wait_for()
    time.sleep(0.5)  # for what was on its way
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
    app.locator(".kept img").wait_for()
    shelf = app.locator(".shelf").bounding_box()
    assert shelf["y"] + shelf["height"] < 690  # results are above the status bar
    (saved,) = (workplace / "playground").glob("ramp-*.png")
    assert saved.name == "ramp-swirling_night-001.png"
    with page.expect_download() as download:
        press(page, "Download")
    assert download.value.suggested_filename == saved.name
    assert Path(download.value.path()).read_bytes() == saved.read_bytes()
    with Image.open(saved) as image:
        record = json.loads(image.text["Comment"])
        assert max(image.size) == record["size"]
    assert record["content"]["file"].endswith("-ramp.png")
    assert record["style"]["file"].endswith(".jpg")
    assert record["strength"] < 0.5 and record["steps_done"] == stopped
    at = [change["step"] for change in record["changes"]]
    assert at[0] == paused and at[-1] <= stopped  # keys may arrive after Resume was pressed
    look(page, "5-kept-and-saved")

    press(page, "Continue")
    until(lambda: step(page) > stopped + 2, "more steps")
    press(page, "Stop")
    until(lambda: app.locator(".kept").count() == 2, "the second result")

    app.get_by_text("Layers, α/β, smoothing").click()
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
    app.get_by_text("Layers, α/β, smoothing").click()


def test_regions_are_painted_by_mouse_finger_and_keyboard(page, workplace):
    app = page.locator(".stylelab")
    app.get_by_text("Paint where the style goes").click()
    canvas = app.locator(".brush canvas")
    canvas.wait_for()
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def painted():
        """The share of the photograph that is not dimmed."""
        return canvas.evaluate(
            """canvas => {
            const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const alphas = all.data.filter((_, i) => i % 4 === 3);
            return alphas.filter(a => a < 10).length / alphas.length; }"""
        )

    assert painted() > 0.97  # nothing is: the style goes everywhere; the brush's ring is drawn
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1], steps=4)
    page.mouse.up()
    by_mouse = painted()
    assert 0 < by_mouse < 0.3
    page.keyboard.press("Control+z")
    assert painted() > 0.97
    for key in ("Space", *["ArrowLeft"] * 6, "Space"):
        page.keyboard.press(key)
    by_keys = painted()
    assert 0 < by_keys < 0.5
    page.keyboard.press("ArrowDown")  # lifted
    touch = page.context.new_cdp_session(page)

    def finger(kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    finger("touchStart", (middle[0], middle[1] + 60))
    for x in range(0, 120, 20):
        finger("touchMove", (middle[0] + x, middle[1] + 60))
    finger("touchEnd")
    until(lambda: painted() > by_keys + 0.02, "the finger's stroke")
    look(page, "7-painted")
    results = app.locator(".kept").count()
    press(page, "Start")
    until(lambda: "in the style of" in message(page), "the start")  # said when step 0 is shown
    until(lambda: step(page) >= 3, "some steps")
    press(page, "Stop")
    until(lambda: app.locator(".kept").count() > results, "the result")
    saved = max((workplace / "playground").glob("ramp-*.png"))
    with Image.open(saved) as image:
        (mask,) = json.loads(image.text["Comment"])["content_mask"]
    with Image.open(workplace / "playground" / mask["file"]) as image:
        values = np.asarray(image)[..., 0] / 255
    assert 0.05 < values.mean() < 0.6 and values.max() == 1 and np.median(values[values > 0]) > 0
    look(page, "8-regions")


def test_arrow_keys_reach_the_lecture_page_and_not_jupyterlab(page):
    lecture = page.locator(".stylelab-scrubber")
    lecture.locator("input[type=range]").focus()
    for key in ("ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    assert lecture.locator("output").inner_text() == "Style layers up to conv1_1, α/β = 1e-3"
    assert lecture.locator("input[type=range]").evaluate("slider => slider.matches(':focus')")


def test_results_outlive_the_page_and_the_kernel(page, workplace):
    app = page.locator(".stylelab").first
    made = len(list((workplace / "playground").glob("*-[0-9][0-9][0-9].png")))
    assert made >= 3
    page.keyboard.press("Control+s")
    page.get_by_text("Saving completed").wait_for(state="attached")
    page.reload()
    until(lambda: app.locator(".kept").count() >= 3, "the results")
    results, stopped = app.locator(".kept").count(), step(page)
    assert stopped >= 3
    press(page, "Continue")  # the kernel has the transfer still
    until(lambda: step(page) > stopped, "the steps")
    press(page, "Stop")
    until(lambda: app.locator(".kept").count() == results + 1, "one more result")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    page.locator(".stylelab.jupyter-widgets-disconnected").wait_for()
    said = app.evaluate("app => getComputedStyle(app, '::before').content")
    assert "Run the cell again" in said
    look(page, "9-restarted")
    lab_server.run_all_cells(page)
    page.locator(".stylelab:not(.jupyter-widgets-disconnected) .kept").first.wait_for()
    assert app.locator(".kept").count() == results + 1
    look(page, "9-run-again")
