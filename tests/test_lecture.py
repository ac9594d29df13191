"""stylelab.app.scrubber and stylelab.app.lecture: pictures to scrub through, and the folder they are in."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch
from browser import browser
from PIL import Image

from stylelab import gallery
from stylelab.app import lecture
from stylelab.app.scrubber import Scrubber, number
from stylelab.errors import ImageError, SettingError, StylelabError
from stylelab.images import save_image

LAYERS, RATIOS = ("conv1_1", "conv2_1", "conv3_1"), (1e-1, 1e-3)


def grey(value: float, size: tuple[int, int] = (24, 32)) -> torch.Tensor:
    return torch.full((1, 3, *size), value)


@pytest.fixture
def pictures():
    """One grey for each setting."""
    keys = [(layer, ratio) for layer in LAYERS for ratio in RATIOS]
    return {key: grey(i / len(keys)) for i, key in enumerate(keys)}


class Page(HTMLParser):
    """What a page shows: its tags, and whether each of them is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_holds_every_picture_and_shows_one(pictures):
    scrubber = Scrubber(
        pictures, originals={"photograph": grey(1)}, network="tiny", note="3 steps", credits=["A"]
    )
    html = scrubber._repr_html_()
    page = Page(html)
    assert page.open == []
    images = page.all("img")
    assert [image["alt"] for image in images] == [
        *(f"Style layers up to {name}, α/β = {r}" for name in LAYERS for r in ("1e-3", "1e-1")),
        "photograph",
    ]
    assert len({image["src"] for image in images}) == 7
    assert [image["alt"] for image in images if "hidden" not in image] == [
        "Style layers up to conv3_1, α/β = 1e-1",
        "photograph",
    ]
    assert "Network: tiny · 3 steps · Images: A" in html
    assert not re.search(r"https?:|//[a-z]", html.replace("// ", ""))  # nothing from elsewhere
    assert "\n\n" not in html  # which would end it in Markdown
    assert repr(scrubber) == "<Scrubber: 3 choices of layers, 2 ratios, tiny>"


def test_texts_stay_texts(pictures):
    bad = "<script>alert('1')</script>\"&"
    renamed = {(layer + bad, ratio): image for (layer, ratio), image in pictures.items()}
    texts = dict.fromkeys(("rows", "columns", "network", "note"), bad)
    html = Scrubber(
        renamed, originals={bad: grey(0)}, ends=(bad, bad), credits=[bad], **texts
    )._repr_html_()
    page = Page(html)
    assert page.open == [] and len(page.all("script")) == 1 and bad not in html
    assert bad in page.all("img")[-1]["alt"]


def test_pictures_are_files_too(pictures, tmp_path):
    save_image(grey(0.2), tmp_path / "a.png")
    Image.new("RGB", (32, 24), "red").save(tmp_path / "b.jpg")
    pictures["conv1_1", 1e-1] = tmp_path / "a.png"
    pictures["conv1_1", 1e-3] = str(tmp_path / "b.jpg")
    kept = Scrubber(pictures).pictures
    assert kept["conv1_1", 1e-3] == (tmp_path / "b.jpg").read_bytes()
    assert kept["conv1_1", 1e-1].startswith(b"\xff\xd8")
    pictures["conv1_1", 1e-1] = tmp_path / "missing.png"
    with pytest.raises(ImageError, match=r"missing\.png does not exist"):
        Scrubber(pictures)


def test_quality_is_that_of_the_jpegs():
    torch.manual_seed(0)
    noise = {("conv1_1", 1e-3): torch.rand(1, 3, 64, 64)}
    low, high = (Scrubber(noise, quality=q).pictures["conv1_1", 1e-3] for q in (30, 90))
    assert 2 * len(low) < len(high)


def test_what_will_not_do_is_named(pictures):
    def refused(said: str, error: type = SettingError, **changed) -> None:
        with pytest.raises(error, match=said):
            Scrubber(**({"pictures": pictures} | changed))

    refused("pictures is empty", pictures={})
    some = dict(list(pictures.items())[1:])
    refused(r"pictures lacks \('conv1_1', 0\.1\)", pictures=some)
    uneven = pictures | {("conv2_1", 1e-1): grey(0, (24, 33))}
    refused(r"one size; .*32 x 24 pixels, \('conv2_1', 0\.1\) 33 x 24", pictures=uneven)
    for key in ("conv1_1", ("conv1_1",), (1, 2), ("a", -1), ("a", float("nan")), ("a", True)):
        refused("a picture must go by a layer and a ratio", pictures={key: grey(0)})
    for quality in (0, 96, 80.0, True):
        refused("quality must be a whole number from 1 to 95", quality=quality)
    for image in (grey(0)[0], grey(float("nan")), torch.zeros(2, 3, 8, 8)):
        refused(r"picture \('a', 1\.0\) must be", ImageError, pictures={("a", 1): image})


def test_numbers_are_written_as_on_the_figures():
    ratios = (0, 1e-5, 8e-4, 0.1, 1, 2.5, 10, 1e5)
    assert [number(r) for r in ratios] == ["0", "1e-5", "8e-4", "1e-1", "1", "2.5", "10", "1e5"]


def test_a_folder_keeps_it_all(pictures, tmp_path):
    scrubber = Scrubber(
        pictures, originals={"photograph": grey(0.5)}, network="tiny", credits=["A", "B"]
    )
    assert lecture.save(scrubber, tmp_path / "new") == tmp_path / "new" / "index.json"
    again = lecture.from_folder(tmp_path / "new")
    assert vars(again) == vars(scrubber)
    assert again._repr_html_() == scrubber._repr_html_()
    # What only an earlier index names goes; what none names stays.
    (tmp_path / "new" / "notes.txt").touch()
    few = {key: image for key, image in pictures.items() if key[1] == 1e-3}
    lecture.save(Scrubber(few), tmp_path / "new")
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"index.json", "notes.txt", *(f"{layer}_1e-3.jpg" for layer in LAYERS)}


def test_a_folder_that_is_damaged_is_named(pictures, tmp_path):
    with pytest.raises(StylelabError, match=r"index\.json does not exist; stylelab figures 06"):
        lecture.from_folder(tmp_path)
    index = lecture.save(Scrubber(pictures), tmp_path)
    good = json.loads(index.read_text())
    for damage in (
        {"pictures": [{"layer": "a", "ratio": 1, "file": "../index.json"}]},
        {"pictures": [{"layer": "a"}]},
        {"pictures": good["pictures"][:1] * 2, "originals": {"a": good["pictures"][0]["file"]}},
        {"originals": 3},
    ):
        index.write_text(json.dumps(good | damage))
        with pytest.raises(StylelabError, match="is damaged"):
            lecture.from_folder(tmp_path)
    for text in ("{", "[]", "null"):
        index.write_text(text)
        with pytest.raises(StylelabError, match=r"index\.json (cannot be read|must hold)"):
            lecture.from_folder(tmp_path)


def test_a_name_that_is_no_file_name_is_refused(tmp_path):
    for name in ("../a", "a/b", ".a"):
        with pytest.raises(SettingError, match="a file's name may have"):
            lecture.save(Scrubber({(name, 1): grey(0)}), tmp_path / "new")
    with pytest.raises(SettingError, match="same name"):
        lecture.save(Scrubber({("a", 1.0): grey(0), ("a", 1.0000001): grey(0)}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.fixture
def run(tmp_path):
    """The folder of a run with a matrix of two by two."""
    folder, layers, ratios = tmp_path / "run", ["conv1_1", "conv2_1"], [1e-4, 1e-3]
    credits = {name: gallery.credit(name) for name in ("pagoda", "storm")}
    record = {
        "settings": {
            "style_layers": [layers[:1], layers],
            "alpha_beta": ratios,
            "init": "noise",
        },
        "results": {"transfers": {"size": [24, 32], "steps": 5}},
        "images": {
            part: {"name": name, "credit": credits[name]}
            for part, name in (("content", "pagoda"), ("style", "storm"))
        },
        "network": {"name": "tiny", "pooling": "avg"},
    }
    for i, name in enumerate(f"{layer}_{ratio:.0e}" for layer in layers for ratio in ratios):
        save_image(grey(i / 4), folder / "panels" / "preprint_figure3" / f"{name}.png")
    (folder / "preprint_figure3.json").write_text(json.dumps(record))
    return folder


def test_a_run_becomes_a_folder(run, tmp_path, capsys):
    assert lecture.main([str(run), str(tmp_path / "lecture"), "--quality", "90"]) == 0
    assert "2 choices of layers, 2 ratios, tiny, avg pooling" in capsys.readouterr().out
    scrubber = lecture.from_folder(tmp_path / "lecture")
    assert scrubber.layers == ["conv1_1", "conv2_1"] and scrubber.ratios == [1e-4, 1e-3]
    assert scrubber.note == "from white noise, 5 steps, 32 x 24 pixels"
    assert scrubber.credits == [gallery.credit("pagoda"), gallery.credit("storm")]
    assert list(scrubber.originals) == ["photograph", "painting"]


def test_a_run_without_a_matrix_is_refused(run, tmp_path, capsys):
    assert lecture.main([str(tmp_path), str(tmp_path / "lecture")]) == 1
    assert "stylelab figures 06" in capsys.readouterr().err
    (run / "preprint_figure3.json").write_text('{"settings": {}}')
    with pytest.raises(StylelabError, match="is not of a matrix of style layers by ratios"):
        lecture.from_run(run)


def test_the_committed_folder_is_whole_and_small():
    scrubber = lecture.from_folder()
    assert len(scrubber.layers) == 5 and len(scrubber.ratios) == 4
    assert len(scrubber.originals) == len(scrubber.credits) == 2
    assert len(scrubber._repr_html_()) < 600_000
    kept = {path.name for path in lecture.FOLDER.iterdir()}
    assert len(kept) == 23 and kept >= {"index.json"}


def test_showing_it_needs_the_core_dependencies_alone():
    code = (
        "import sys\n"
        "for name in ('matplotlib', 'IPython', 'ipywidgets'): sys.modules[name] = None\n"
        "from stylelab import lecture; lecture.from_folder()._repr_html_()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_it_works_in_a_browser_and_twice_on_a_page(pictures, tmp_path):
    html = Scrubber(pictures)._repr_html_()
    page_file = tmp_path / "page.html"
    page_file.write_text(f"<!doctype html><meta charset='utf-8'>{html}<hr>{html}")
    with browser() as running:
        page = running.new_page()
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
        assert "conv3_1, α/β = 1e-1" in first.locator("output").text_content()
        slider = first.locator("input[type=range]")
        slider.focus()
        slider.press("ArrowLeft")
        moved = shown(first)
        assert moved != start and slider.get_attribute("aria-valuetext") == "1e-3"
        slider.press("ArrowLeft")  # the end
        assert shown(first) == moved
        slider.press("ArrowUp")
        assert "conv2_1, α/β = 1e-3" in first.locator("output").text_content()
        first.locator("label", has_text="conv1_1").click()
        assert "conv1_1, α/β = 1e-3" in first.locator("output").text_content()
        assert shown(first) not in (start, moved)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert "conv2_1, α/β = 1e-1" in first.locator("output").text_content()
        assert first.locator("input:checked").count() == 1
        assert shown(second) == start and second.locator("input:checked").count() == 1
        assert not troubles
