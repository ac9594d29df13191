"""The app without a browser: its controls, what they do to the session, and what is refused."""

import json
import re
import time
from datetime import UTC, datetime

import pytest
import torch
from PIL import Image

from stylelab import gallery
from stylelab.app import live_view
from stylelab.app.controls import ABSENT
from stylelab.app.playground import Playground
from stylelab.cli.main import main
from stylelab.errors import ImageError
from stylelab.images import load_image, save_image
from stylelab.runs.metadata import read_settings
from stylelab.runs.settings import OPTIONS, RATE, Settings
from stylelab.vgg import resize


@pytest.fixture
def app(tmp_path):
    """A small playground, its session stopped at the end."""
    made = Playground(Settings(size=64, steps=4), folder=tmp_path / "saved", device="cpu")
    yield made
    made.close()


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def said(app):
    return app._message.value


def finish(app):
    until(lambda: app.session.snapshot().over and "after" in said(app))
    app.refresh()


def upload(button, name, content):
    """What the page sends when a file is chosen."""
    item = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    item["last_modified"] = datetime.now(UTC)
    button.set_trait("value", (item,))


def test_a_transfer_from_start_to_saved_file_and_back(app):
    buttons = app.buttons
    assert buttons.pause.disabled and buttons.keep.disabled and not buttons.start.disabled
    idle = app.stage.preview.value
    app.buttons.start.click()
    assert app.buttons.start.disabled and not app.buttons.pause.disabled
    finish(app)
    assert "Finished after 4 steps" in said(app) and app.progress.description == "Step 4 of 4"
    assert app.stage.preview.value != idle and app.losses.value.count('class="curve"') == 8
    buttons.keep.click()  # it is kept already
    (first,) = app.folder.iterdir()
    assert first.name == "pagoda-swirling_night-001.png" and str(first) in said(app)
    buttons.start.click()
    finish(app)
    assert sorted(app.folder.iterdir())[1].name == "pagoda-swirling_night-002.png"
    settings, record = read_settings(first)
    assert settings == app.controls.settings == app.session.snapshot().settings
    assert record["network_sha256"] == app.session.network.sha256 and record["steps_done"] == 4
    with Image.open(first) as image:
        assert max(image.size) == 64

    app.controls.by_setting["alpha_beta"].value, app.controls.by_setting["steps"].value = 1.0, 77
    app.controls.by_setting["style_layers"].rows["conv1_1"][0].value = False
    app.controls.content._menu.value = "cat"
    assert app.controls.settings != settings
    upload(app.buttons.load, first.name, first.read_bytes())
    assert app.controls.settings == settings and app.controls.content.chosen.name == "pagoda"
    assert "Settings of pagoda-swirling_night-001.png loaded." in said(app)


def test_changes_reach_a_paused_session_and_its_file(app):
    app.controls.by_setting["steps"].value = 1000
    app.buttons.start.click()
    until(lambda: app.session.snapshot().step >= 1)
    app.buttons.pause.click()
    until(lambda: app.session.snapshot().status == "paused")
    app.refresh()
    step = app.session.snapshot().step
    assert app.buttons.pause.description == "Resume"
    app.controls.by_setting["alpha_beta"].value = 1e-4
    app.controls.by_setting["style_layers"].rows["conv5_1"][0].value = False
    assert f"Changed after step {step}" in said(app)
    app.buttons.pause.click()
    until(lambda: app.session.snapshot().step > step)
    app.buttons.stop.click()
    finish(app)
    assert "Stopped after" in said(app)
    (saved,) = app.folder.iterdir()
    settings, record = read_settings(saved)
    assert settings.alpha_beta == pytest.approx(1e-4) and "conv5_1" not in settings.style_layers
    assert [change["step"] for change in record["changes"]] == [step]
    assert 'class="change"' in app.losses.value


def test_optimiser_pooling_and_learning_rate_reach_the_session(app):
    widgets = app.controls.by_setting
    widgets["optimiser"].value, widgets["pooling"].value = "adam", "max"
    widgets["learning_rate"].box.value = True
    assert widgets["learning_rate"].value == RATE
    app.buttons.start.click()
    finish(app)
    maxima = app.session.network
    assert "Finished after 4 steps" in said(app) and maxima.pooling == "max"
    widgets["pooling"].value = "avg"
    app.buttons.start.click()
    finish(app)
    assert app.session.network is not maxima and app.session.network.pooling == "avg"
    saved = max(app.folder.iterdir())
    settings, record = read_settings(saved)
    assert settings == app.controls.settings and settings.learning_rate == RATE
    assert (settings.pooling, record["pooling_used"]) == ("avg", "avg")
    widgets["optimiser"].value = "lbfgs"
    app.buttons.start.click()
    assert "learning_rate is Adam" in said(app)


def test_all_layers_off_is_refused_and_the_session_goes_on_as_it_was(app):
    app.controls.by_setting["steps"].value = 1000
    app.buttons.start.click()
    for box, _ in app.controls.by_setting["style_layers"].rows.values():
        box.value = False
    assert "tick at least one style layer" in said(app)
    assert app.session.snapshot().settings.style_layers == {"conv5_1": 1.0}  # the last one left


def click(app, action, number=0):
    """What the page sends when a button of a kept result is pressed."""
    app.shelf._handle_custom_msg({"action": action, "name": app.shelf.items[number]["name"]}, [])


def test_results_come_back_when_the_app_is_opened_again(app, monkeypatch):
    app.controls.by_setting["steps"].value = 1000
    app.buttons.start.click()
    until(lambda: app.session.snapshot().step >= 2)
    app.buttons.keep.click()
    app.buttons.stop.click()
    finish(app)
    (app.folder / "mine.png").write_bytes(b"someone else's")
    save_image(torch.zeros(1, 3, 8, 8), app.folder / "also.png")
    names = [item["name"] for item in app.shelf.items]
    assert names == ["pagoda-swirling_night-002.png", "pagoda-swirling_night-001.png"]
    again = Playground(folder=app.folder)
    assert again.shelf.items == app.shelf.items
    assert again.shelf.items[0]["title"] == "A pagoda above a lake in the style of Swirling night"
    assert again.shelf.items[0]["facts"].startswith("strength 0.5, ")
    large = again.stage.preview.value
    click(again, "show")
    assert again.stage.preview.value != large and "-002.png" in said(again)
    click(again, "settings", 1)
    assert again.controls.settings.steps == 1000 and again.controls.settings.size == 64
    sent = []
    monkeypatch.setattr(again.shelf, "send", lambda *a, **more: sent.append((a, more)))
    click(again, "download")
    path = app.folder / "pagoda-swirling_night-002.png"
    assert sent == [(({"download": path.name},), {"buffers": [path.read_bytes()]})]
    click(again, "remove")
    assert [item["name"] for item in again.shelf.items] == names[1:]
    assert not path.exists() and (app.folder / "removed" / path.name).exists()
    click(again, "explode")
    again.shelf._handle_custom_msg({"action": "remove", "name": "../mine.png"}, [])
    assert len(again.shelf.items) == 1 and "bug" not in said(again)
    again.controls.by_setting["steps"].value = 2
    again.buttons.start.click()
    finish(again)  # takes no name that was given before
    assert again.shelf.items[0]["name"] == "pagoda-swirling_night-003.png"


def test_it_continues_after_stop_and_after_the_end(app):
    app.controls.by_setting["steps"].value = 1000
    app.buttons.start.click()
    until(lambda: app.session.snapshot().step >= 1)
    app.buttons.stop.click()
    finish(app)
    stopped, session = app.session.snapshot().step, app.session
    assert app.buttons.pause.description == "Continue" and not app.buttons.pause.disabled
    app.controls.by_setting["steps"].value = stopped + 2
    app.controls.by_setting["strength"].value = 0.8
    app.controls.second_style._menu.value = "storm"  # not of this transfer
    app.buttons.pause.click()
    until(lambda: f"after {stopped + 2} steps" in said(app))
    now = app.session.snapshot()
    assert app.session is session and (now.status, now.step) == ("finished", stopped + 2)
    assert [(step, new.strength) for step, new in now.changes] == [(stopped, 0.8)]
    assert ">strength 0.8</text>" in app.losses.value and len(app.shelf.items) == 2
    app.buttons.pause.click()  # as many steps again
    assert app.controls.by_setting["steps"].value == 2 * (stopped + 2)
    finish(app)


def test_the_large_picture_shows_what_was_chosen_at_once(app, tmp_path):
    app.buttons.start.click()
    finish(app)
    result = app.stage.preview.value
    assert "after step 4" in result
    app.controls.style_image._menu.value = "storm"
    assert "the style image" in app.stage.preview.value
    save_image(torch.full((1, 3, 40, 60), 0.5), tmp_path / "grey.png")
    upload(app.controls.content._upload, "grey.png", (tmp_path / "grey.png").read_bytes())
    assert 'alt="grey.png, the content image"' in app.stage.preview.value
    app.controls.by_setting["steps"].value = 1000
    app.buttons.start.click()
    until(lambda: "after step" in app.stage.preview.value)
    app.controls.content._menu.value = "cat"
    assert "counts at the next start" in said(app) and "after step" in app.stage.preview.value


def brush(app, name, share=0.5):
    """Paint the left part of an image, as the page would."""
    made = app.controls.regions.brushes[name]
    painted = round(share * made.width)
    row = b"\xff" * painted + bytes(made.width - painted)
    made.pixels = memoryview(row * made.height)


def test_two_styles_in_painted_regions_come_back_and_so_does_the_picture(app, tmp_path):
    """Also with `stylelab transfer --settings`, from a photograph that was uploaded."""
    save_image(gallery.open("cat", 80), tmp_path / "own.png")
    upload(app.controls.content._upload, "own.png", (tmp_path / "own.png").read_bytes())
    blend = app.controls.by_setting["style_weights"]
    assert blend.value == () and blend.layout.display == "none"
    app.controls.second_style._menu.value = "storm"
    assert blend.value == (0.5, 0.5) and blend.layout.display == ""
    blend.slider.value = 0.35
    brush(app, "photograph")
    brush(app, "style 2", 0.75)
    app.buttons.start.click()
    finish(app)
    assert app.session.alpha_beta is not None and "Finished after 4 steps" in said(app)
    (item,) = app.shelf.items
    assert item["title"].startswith("own.png in the style of Swirling night and ")
    assert item["facts"] == "strength 0.5, blend 0.35, painted regions, 4 steps, 64 px"
    settings, record = read_settings(app.folder / item["name"])
    assert settings.style_weights == (0.65, 0.35) and len(record["style_mask"]) == 2
    out = tmp_path / "again.png"
    assert main(["transfer", "--settings", str(app.folder / item["name"]), "-o", str(out)]) == 0
    torch.testing.assert_close(
        load_image(out), load_image(app.folder / item["name"]), rtol=0, atol=2 / 255
    )

    again = Playground(folder=app.folder)
    click(again, "settings")
    assert "loaded." in said(again)
    assert again.controls.settings == app.controls.settings
    assert [choice.title for choice in again.controls.images[:1]] == ["own.png"]
    for name in ("photograph", "style", "style 2"):
        brushes = [each.controls.regions.brushes[name] for each in (app, again)]
        assert bytes(brushes[0].pixels) == bytes(brushes[1].pixels)
    (app.folder / record["content_mask"][0]["file"]).unlink()
    click(again, "settings")
    assert "its masks, which are not here" in said(again)


def test_what_is_painted_goes_with_its_image(app):
    brush(app, "photograph", 1)
    app.controls.second_style._menu.value = "storm"
    app.buttons.start.click()
    assert "nothing is left for style 2" in said(app) and app.session is None
    brush(app, "photograph")
    app.controls.regions.surface.value = "style 2"
    app.controls.second_style.choose_none()
    assert app.controls.regions.surface.value == "photograph"
    app.controls.groups.selected_index = 0
    assert app.stage.children == (app.controls.regions.brushes["photograph"],)
    app.controls.content._menu.value = "cat"
    assert app.controls.regions.painted.content is None
    brush(app, "photograph")
    app.buttons.start.click()
    assert app.stage.children == (app.stage.preview,)
    finish(app)
    best, cat = app.session.snapshot().best, resize(gallery.open("cat"), 64)
    changed = (best - cat).abs().amax((0, 1, 2))
    assert changed[:28].min() > 0.01 and changed[36:].max() < 1e-4  # there the photograph stays


def test_an_uploaded_picture_is_chosen_and_a_broken_one_is_not(app, tmp_path):
    content = app.controls.content
    before = content.chosen
    name = "../<b>broken</b>.png"
    upload(content._upload, name, b"no picture")
    assert content.chosen is before and 'role="alert"' in said(app) and "broken" in said(app)
    assert "stylelab-upload-" not in said(app) and "<b>" not in said(app)
    assert not (tmp_path / "<b>broken<").exists()
    save_image(torch.full((1, 3, 40, 60), 0.5), tmp_path / "grey.png")
    upload(content._upload, "grey.png", (tmp_path / "grey.png").read_bytes())
    assert content.chosen.name == "grey" and content.title == "grey.png"
    assert content.chosen.image.shape == (1, 3, 40, 60)
    assert content._upload.value == ()
    content._menu.value = "pagoda"
    assert content.chosen.sha256 == before.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "/etc/passwd"}, "the network /etc/passwd is not on this computer"),
        ({"levels": 2}, "levels must be 1"),
        ({"objective": "authors"}, "objective must be means"),
        ({"convention": "caffe"}, "no control for convention"),
        ({"average": 0.9, "optimiser": "adam"}, "no control for average"),
        ({"alpha_beta": 0}, "a log slider cannot show"),
        ({"style_layers": {"conv1_2": 1}}, "no control for style layer conv1_2"),
        ({"init": "zeros"}, "init must be one of"),
        ({"init": "mine.png"}, "init is a file"),
        ({"learning_rate": 0.1}, "learning_rate is Adam&#x27;s"),
    ],
)
def test_settings_that_the_controls_cannot_hold_change_nothing(app, tmp_path, changes, message):
    record = {**Settings(size=99).as_dict(), **changes}
    path = tmp_path / "other.png"
    save_image(torch.zeros(1, 3, 8, 8), path, metadata={"Comment": json.dumps(record)})
    before = app.controls.settings
    upload(app.buttons.load, path.name, path.read_bytes())
    assert message in said(app) and app.controls.settings == before


def test_what_lies_beyond_a_control_widens_it(app, tmp_path):
    wide = Settings(
        size=16,
        steps=200_000,
        alpha_beta=3e-8,
        content_layers={"conv5_4": 2.0, "conv3_2": 1},
        style_layers={"conv2_1": 9},
        tv_weight=5.0,
    )
    record = wide.as_dict() | {"content": {"file": "me.jpg", "sha256": "0"}}
    path = tmp_path / "other.png"
    save_image(torch.zeros(1, 3, 8, 8), path, metadata={"Comment": json.dumps(record)})
    upload(app.buttons.load, path.name, path.read_bytes())
    assert app.controls.settings == wide
    assert "Upload its images too: me.jpg, style" in said(app)
    for more in ({"style": [{}, {}, {}]}, {"strokes": [{}]}):
        texts = {"Comment": json.dumps(record | more)}
        save_image(torch.zeros(1, 3, 8, 8), path, metadata=texts)
        upload(app.buttons.load, path.name, path.read_bytes())
        assert "use stylelab transfer --settings other.png" in said(app)
    save_image(torch.zeros(1, 3, 8, 8), path)
    upload(app.buttons.load, path.name, path.read_bytes())
    assert "other.png holds no settings" in said(app)


def test_every_declared_setting_has_a_control_and_a_tip_but_one(app):
    widgets = app.controls.by_setting
    assert set(widgets) == set(OPTIONS) - set(ABSENT)
    parts = {}  # of two widgets; JupyterLab cannot show a box with a tip
    for name in ("alpha_beta", "learning_rate"):
        ratio = widgets[name]
        parts |= {name: ratio.box, f"{name}'s slider": ratio.slider}
        assert ratio.tooltip is None
    parts["style_weights"] = widgets["style_weights"].slider
    for name, widget in ({**widgets, **parts}).items():
        if name != "style_layers":
            assert widget.tooltip.lower() == OPTIONS[name.partition("'")[0]].help.lower()


def test_an_error_in_the_background_stands_on_the_page(app):
    app.controls.by_setting["size"].value = 32  # 32 x 21 pixels: too small for conv5_1
    app.buttons.start.click()
    until(lambda: 'role="alert"' in said(app))
    assert "is too small" in said(app)
    app.refresh()
    assert not app.buttons.start.disabled and app.buttons.keep.disabled


def test_images_that_cannot_be_had_are_named(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match=r"photo\.jpg does not exist"):
        Playground(content=str(tmp_path / "photo.jpg"))
    save_image(gallery.open("cat", 64), tmp_path / "mine.png")
    app = Playground(content=str(tmp_path / "mine.png"))
    assert app.controls.content.title == "mine.png"
    monkeypatch.setattr(gallery, "is_here", lambda name: gallery.info(name).kind == "embedded")
    listed = [name for _, name in Playground().controls.content._menu.options]
    assert listed == gallery.names("embedded")


def test_before_and_after_share_the_picture():
    before, after = torch.zeros(1, 3, 10, 20), torch.full((1, 3, 20, 40), 0.5)
    half = live_view.before_after(before, after, 0.5)
    expected = torch.tensor([0.0] * 19 + [1.0] * 2 + [0.5] * 19).expand_as(after)
    assert torch.equal(half, expected)  # a white line between them
    assert torch.equal(live_view.before_after(before, after, 0), after)
    assert torch.equal(live_view.before_after(before, after, 1), resize(before, (20, 40)))


def test_curves_show_each_term_and_the_total():
    losses = [(i, {"content conv4_2": 10.0**-i, "style <x>": 1.0}) for i in range(400)]
    drawing = live_view.curves(losses, 500, [(7, "strength <b>")])
    assert drawing.count('class="curve"') == 3 and "strength &lt;b&gt;</text>" in drawing
    assert "style &lt;x&gt;" in drawing
    assert drawing.count('class="change"') == 1 and "after step 399 is 1" in drawing
    assert len(drawing) < 12_000  # however many steps: it is sent several times a second
    assert "none yet" in live_view.curves([], 10)


def test_curves_begin_anew_where_the_weights_changed():
    """A change of weights is no progress, and no line may look like it."""
    losses = [(step, {"style conv1_1": 100.0 - step}) for step in range(300)]
    later = [(step, {"style conv1_1": 1.0 / step}) for step in range(299, 600)]
    drawing = live_view.curves(losses + later, 600, [(299, "strength 0.9")])
    for path in re.findall(r'class="curve" d="([^"]*)"', drawing):
        first, second = path[1:].split("M")
        across = [re.findall(r"[\d.]+ ", piece) for piece in (first, second)]
        assert across[0][-1] == across[1][0]  # both at the step of the change
        assert len(across[0]) > 20 and len(across[1]) > 20
