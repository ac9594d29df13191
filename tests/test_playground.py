"""The app without a browser: its controls, what they do to the session, and what is refused."""

import json
import time
from datetime import UTC, datetime

import pytest
import torch
from PIL import Image

from stylelab import gallery
from stylelab.app import live_view
from stylelab.app.controls import ABSENT
from stylelab.app.playground import Playground
from stylelab.errors import ImageError
from stylelab.images import save_image
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
    assert app.pause_button.disabled and app.save_button.disabled and not app.start_button.disabled
    idle = app.preview.value
    app.start_button.click()
    assert app.start_button.disabled and not app.pause_button.disabled
    finish(app)
    assert "Finished after 4 steps" in said(app) and app.progress.description == "Step 4 of 4"
    assert app.preview.value != idle and app.losses.value.count("<polyline") == 8
    app.save_button.click()
    app.save_button.click()
    first, second = sorted(app.folder.iterdir())
    assert first.name == "pagoda-swirling_night-001.png" and second.name.endswith("-002.png")
    settings, record = read_settings(first)
    assert settings == app.controls.settings == app.session.snapshot().settings
    assert record["network_sha256"] == app.session.network.sha256 and record["steps_done"] == 4
    with Image.open(first) as image:
        assert max(image.size) == 64

    app.controls.by_setting["alpha_beta"].value, app.controls.by_setting["steps"].value = 1.0, 77
    app.controls.by_setting["style_layers"].rows["conv1_1"][0].value = False
    app.controls.content._menu.value = "cat"
    assert app.controls.settings != settings
    upload(app.load_button, first.name, first.read_bytes())
    assert app.controls.settings == settings and app.controls.content.chosen.name == "pagoda"
    assert "Settings of pagoda-swirling_night-001.png loaded." in said(app)


def test_changes_reach_a_paused_session_and_its_file(app):
    app.controls.by_setting["steps"].value = 1000
    app.start_button.click()
    until(lambda: app.session.snapshot().step >= 1)
    app.pause_button.click()
    until(lambda: app.session.snapshot().status == "paused")
    app.refresh()
    step = app.session.snapshot().step
    assert app.pause_button.description == "Resume"
    app.controls.by_setting["alpha_beta"].value = 1e-4
    app.controls.by_setting["style_layers"].rows["conv5_1"][0].value = False
    assert f"Changed after step {step}" in said(app)
    app.pause_button.click()
    until(lambda: app.session.snapshot().step > step)
    app.stop_button.click()
    finish(app)
    assert "Stopped after" in said(app)
    app.save_button.click()
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
    app.start_button.click()
    finish(app)
    maxima = app.session.network
    assert "Finished after 4 steps" in said(app) and maxima.pooling == "max"
    widgets["pooling"].value = "avg"
    app.start_button.click()
    finish(app)
    assert app.session.network is not maxima and app.session.network.pooling == "avg"
    app.save_button.click()
    (saved,) = app.folder.iterdir()
    settings, record = read_settings(saved)
    assert settings == app.controls.settings and settings.learning_rate == RATE
    assert (settings.pooling, record["pooling_used"]) == ("avg", "avg")
    widgets["optimiser"].value = "lbfgs"
    app.start_button.click()
    assert "learning_rate is Adam" in said(app)


def test_all_layers_off_is_refused_and_the_session_goes_on_as_it_was(app):
    app.controls.by_setting["steps"].value = 1000
    app.start_button.click()
    for box, _ in app.controls.by_setting["style_layers"].rows.values():
        box.value = False
    assert "tick at least one style layer" in said(app)
    assert app.session.snapshot().settings.style_layers == {"conv5_1": 1.0}  # the last one left


def test_kept_results_stand_side_by_side_until_removed(app):
    app.start_button.click()
    finish(app)
    app.keep_button.click()
    app.compare.value = 50
    app.keep_button.click()
    first, second = app.results.children
    assert "strength 0.5, 4 steps" in first.children[0].value
    first.children[1].click()
    assert app.results.children == (second,)


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
    upload(app.load_button, path.name, path.read_bytes())
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
    upload(app.load_button, path.name, path.read_bytes())
    assert app.controls.settings == wide
    assert "Upload its images too: me.jpg, style" in said(app)
    for more in ({"style": [{}, {}]}, {"content_mask": [{}]}, {"strokes": [{}]}):
        texts = {"Comment": json.dumps(record | more)}
        save_image(torch.zeros(1, 3, 8, 8), path, metadata=texts)
        upload(app.load_button, path.name, path.read_bytes())
        assert "use stylelab transfer --settings other.png" in said(app)
    save_image(torch.zeros(1, 3, 8, 8), path)
    upload(app.load_button, path.name, path.read_bytes())
    assert "other.png holds no settings" in said(app)


def test_every_declared_setting_has_a_control_and_a_tip_but_two(app):
    widgets = app.controls.by_setting
    assert set(widgets) == set(OPTIONS) - set(ABSENT)
    parts = {}  # of two widgets; JupyterLab cannot show a box with a tip
    for name in ("alpha_beta", "learning_rate"):
        ratio = widgets[name]
        parts |= {name: ratio.box, f"{name}'s slider": ratio.slider}
        assert ratio.tooltip is None
    for name, widget in ({**widgets, **parts}).items():
        if name != "style_layers":
            assert widget.tooltip.lower() == OPTIONS[name.partition("'")[0]].help.lower()


def test_an_error_in_the_background_stands_on_the_page(app):
    app.controls.by_setting["size"].value = 32  # 32 x 21 pixels: too small for conv5_1
    app.start_button.click()
    until(lambda: 'role="alert"' in said(app))
    assert "is too small" in said(app)
    app.refresh()
    assert not app.start_button.disabled and app.save_button.disabled


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
    drawing = live_view.curves(losses, 500, [7])
    assert drawing.count("<polyline") == 3 and "style &lt;x&gt;" in drawing
    assert drawing.count('class="change"') == 1 and "after step 399 is 1" in drawing
    assert len(drawing) < 12_000  # however many steps: it is sent several times a second
    assert "none yet" in live_view.curves([], 10)
