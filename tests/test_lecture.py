"""The lecture page: made from a run, shown in a notebook, worked by keyboard in a browser."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest
import torch
from browser import browser

from stylelab import gallery
from stylelab.app import lecture
from stylelab.errors import StylelabError
from stylelab.images import load_image, save_image

LAYERS, RATIOS = ["conv1_1", "conv2_1", "conv3_1"], [1e-3, 1e-1]


class Page(HTMLParser):
    """What a page shows: its tags, and whether each of them is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.open = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "input", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def pixels(image: dict, folder) -> torch.Tensor:
    """The picture embedded in an <img>, as stylelab reads it."""
    file = folder / "embedded.jpg"
    file.write_bytes(base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,")))
    return load_image(file)


@pytest.fixture
def record():
    """What notebook 06 writes of a matrix of three by two."""
    return {
        "settings": {
            "style_layers": [LAYERS[: i + 1] for i in range(3)],
            "alpha_beta": RATIOS,
            "init": "noise",
        },
        "results": {"transfers": {"size": [24, 32], "steps": 5}},
        "images": {
            role: {"name": name, "credit": gallery.credit(name)}
            for role, name in (("content", "pagoda"), ("style", "storm"))
        },
        "network": {"name": "tiny", "pooling": "avg"},
    }


@pytest.fixture
def make(tmp_path, record):
    """Maker of a lecture page from a run whose pictures are greys, one for each setting."""
    run = tmp_path / "run"
    for i, name in enumerate(f"{layer}_{ratio:.0e}" for layer in LAYERS for ratio in RATIOS):
        grey = torch.full((1, 3, 24, 32), i / 5)
        save_image(grey, run / "panels" / "preprint_figure3" / f"{name}.png")

    def write(changed=None, **options):
        (run / "preprint_figure3.json").write_text(json.dumps(changed or record))
        return lecture.write_page(run, tmp_path / "out" / "lecture.html", **options)

    return write


def test_the_page_holds_every_picture_and_shows_one(make, tmp_path):
    html = make().read_text("utf-8")
    page = Page(html)
    images = page.all("img")
    assert [image["alt"] for image in images] == [
        *(f"Style layers up to {name}, α/β = {r}" for name in LAYERS for r in ("1e-3", "1e-1")),
        *("photograph", "painting"),
    ]
    for i, image in enumerate(images[:6]):
        assert pixels(image, tmp_path).sub(i / 5).abs().max() < 0.02
    assert [image["alt"] for image in images if "hidden" not in image] == [
        *("Style layers up to conv2_1, α/β = 1e-1", "photograph", "painting")
    ]
    assert "Network: tiny, avg pooling · from white noise, 5 steps, 32 x 24 pixels" in html
    assert all(gallery.credit(name) in html for name in ("pagoda", "storm"))
    embedded = re.sub(r'src="data:[^"]*"', "", html)
    assert not re.search(r"https?:|url\(|src=|href=|@import", embedded)  # works offline


def test_texts_of_the_record_stay_texts(make, record):
    plain = [tag for tag, _ in Page(make().read_text("utf-8")).tags]
    bad = "</p><script>alert('1')</script>\"&$last"
    record["network"]["name"] = record["images"]["style"]["credit"] = bad
    html = make(record).read_text("utf-8")
    assert [tag for tag, _ in Page(html).tags] == plain and bad not in html and "$last" in html


def test_quality_is_that_of_the_jpegs(make, record):
    record["results"]["transfers"]["size"] = [150, 200]  # of the photograph and the painting
    low, high = (make(quality=quality).stat().st_size for quality in (30, 95))
    assert high > 2 * low


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"settings": {}}, "does not describe a matrix"),
        ({"images": None}, "does not describe a matrix"),
        ({"settings": {"style_layers": [], "alpha_beta": [], "init": "noise"}}, "does not descr"),
        (
            {"settings": {"style_layers": [["a"]], "alpha_beta": [1, 1], "init": "noise"}},
            "twice",
        ),
        ({"settings": {"style_layers": [["../a"]], "alpha_beta": [1], "init": "noise"}}, "name"),
        ({"settings": {"style_layers": [["x"]], "alpha_beta": [1], "init": "noise"}}, "x_1e"),
    ],
)
def test_a_run_without_a_whole_matrix_is_refused_and_no_page_is_left(
    make, record, tmp_path, wrong, message
):
    with pytest.raises(StylelabError, match=message):
        make(record | wrong)
    assert not (tmp_path / "out").exists()


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(StylelabError, match=r"figure3\.json does not exist; stylelab figures 06"):
        lecture.write_page(tmp_path, tmp_path / "lecture.html")
    with pytest.raises(StylelabError, match=r"none\.html does not exist"):
        lecture.page(tmp_path / "none.html")
    (tmp_path / "other.html").write_text("<body>another page</body>")
    with pytest.raises(StylelabError, match=r"other\.html is not a lecture page"):
        lecture.page(tmp_path / "other.html")


def test_a_notebook_shows_the_committed_page():
    html = lecture.page()._repr_html_()
    images = Page(html).all("img")
    assert len(images) == 22 and len({image["src"] for image in images}) == 22
    assert "Neckarfront" in html and len(html) < 600_000
    assert "<body" not in html and "\n\n" not in html.strip()  # a part of a page, also in Markdown


@pytest.mark.parametrize("width", [1280, 400])
def test_it_works_in_a_browser_by_keyboard_and_twice_on_a_page(make, tmp_path, width):
    html = lecture.page(make())._repr_html_()
    page_file = tmp_path / "page.html"
    page_file.write_text(f"<!doctype html><meta charset='utf-8'>{html}<hr>{html}")
    with browser() as running:
        page = running.new_page(viewport={"width": width, "height": 800})
        troubles = []
        page.on("pageerror", lambda error: troubles.append(error))
        page.goto(page_file.as_uri())
        first, second = page.locator(".stylelab-scrubber").all()

        def shown(root) -> str:
            visible = root.locator(".pictures img:visible")
            assert visible.count() == 1
            assert root.locator("output").text_content() == visible.get_attribute("alt")
            return visible.get_attribute("src")

        start = shown(first)
        assert "conv2_1, α/β = 1e-1" in first.locator("output").text_content()
        slider = first.locator("input[type=range]")
        slider.focus()
        slider.press("ArrowLeft")
        moved = shown(first)
        assert moved != start and slider.get_attribute("aria-valuetext") == "1e-3"
        slider.press("ArrowLeft")  # the end
        assert shown(first) == moved
        slider.press("ArrowUp")
        assert "conv1_1, α/β = 1e-3" in first.locator("output").text_content()
        first.locator("label", has_text="conv3_1").click()
        assert "conv3_1, α/β = 1e-3" in first.locator("output").text_content()
        assert shown(first) not in (start, moved)
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowRight")
        assert "conv2_1, α/β = 1e-1" in first.locator("output").text_content()
        assert first.locator("input:checked").count() == 1
        assert shown(second) == start and second.locator("input:checked").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not troubles
