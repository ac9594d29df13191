"""The chooser: one of several pictures, by a slider, with or without buttons; see test_lecture."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from browser import browser

from stylelab.app.chooser import Dial, chooser, whole_page
from stylelab.app.live_view import data_url
from stylelab.optimisation import Result

ROOT = Path(__file__).parents[1]

GREYS = {f"step {i}": data_url(torch.full((1, 3, 60, 90), i / 3)) for i in range(4)}
STEPS = Dial("step", ["0", "", "", "3"], 3)


@pytest.mark.parametrize("width", [1280, 400])
def test_a_slider_alone_is_moved_by_every_arrow_key_and_by_a_finger(tmp_path, width):
    file = tmp_path / "page.html"
    body = chooser(GREYS, STEPS, beside={"the photograph": GREYS["step 0"]})
    file.write_text(whole_page("A film", body), encoding="utf-8")
    with browser() as running:
        page = running.new_context(
            viewport={"width": width, "height": 800}, has_touch=True
        ).new_page()
        troubles = []
        page.on("pageerror", lambda error: troubles.append(error))
        page.goto(file.as_uri())
        slider, visible = page.get_by_role("slider", name="step"), page.locator(".pictures img")
        moves = [("", 3), ("ArrowRight", 3), ("ArrowLeft", 2), ("ArrowDown", 1)]
        for key, step in [*moves, ("Home", 0), ("ArrowUp", 1), ("End", 3)]:
            slider.press(key) if key else None
            (shown,) = [each for each in visible.all() if each.is_visible()]
            assert shown.get_attribute("src") == GREYS[f"step {step}"]
            assert page.locator("output").inner_text() == f"step {step}"
        box = slider.bounding_box()
        page.touchscreen.tap(box["x"] + 9, box["y"] + box["height"] / 2)
        assert page.locator("output").inner_text() == "step 0"
        assert slider.get_attribute("aria-valuetext") == "0"
        slider.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "step 1"  # a place without a word
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not troubles


def test_texts_stay_texts():
    bad = '</p><b>$name"&'
    plain, html = (
        chooser(
            {text: "a.jpg", "b": "b.jpg"},
            Dial(text, [text, ""], ends=(text, text)),
            Dial(text, [text]),
            beside={text: "c.jpg"},
            facts=text,
        )
        for text in ("a", bad)
    )
    assert bad not in html and html.count("<") == plain.count("<")


def test_a_picture_too_few_is_refused():
    with pytest.raises(ValueError, match=r"4 settings x 2 need .* got 4"):
        chooser(GREYS, STEPS, Dial("layer", ["a", "b"]))


def test_the_committed_film_works_offline_and_opens_on_its_result():
    html = (ROOT / "figures" / "film.html").read_text(encoding="utf-8")
    steps = [int(step) for step in re.findall(r'<img alt="Step (\d+): the loss is', html)]
    assert steps == sorted(set(steps)) and steps[0] == 0 and len(steps) > 10
    (shown,) = re.findall(r'<img alt="(Step[^"]*)" src="[^"]*">', html)  # the others are hidden
    assert shown.startswith(f"Step {steps[-1]}:")
    plain = re.sub(r'src="data:image/jpeg;base64,[^"]*"', "", html)
    assert not re.search(r"https?:|url\(|src=|href=|@import", plain) and len(html) < 600_000


def test_a_film_of_few_steps_has_a_picture_for_each():
    spec = importlib.util.spec_from_file_location("film_tool", ROOT / "tools" / "film.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    images = [torch.full((1, 3, 4, 6), 0.1 * i) for i in range(3)]
    losses = torch.tensor([[2.0], [1.0], [0.05]])
    result = Result(images[-1], {}, {"loss": losses}, 2, 0.1, False)
    html = tool.page(dict(enumerate(images)), result, images[:2])
    found = re.findall(r'alt="(Step[^"]*)"', html)
    assert [text.split(" of ")[0] for text in found] == [
        "Step 0: the loss is 100\xa0%",
        "Step 1: the loss is 50\xa0%",
        "Step 2: the loss is 2.5\xa0%",
    ]
