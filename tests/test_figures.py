"""Figures and their records."""

import io
import json

import pytest
import torch
from PIL import Image

from stylelab import figures, gallery, synthesis
from stylelab.errors import SettingError
from stylelab.files.download import sha256_of
from stylelab.images import load_image


@pytest.fixture
def network(tiny_network):
    return tiny_network(dtype=torch.float32)


@pytest.fixture
def result(network):
    content, style = gallery.open("coffee", 48), gallery.open("storm", 48)
    return synthesis.transfer(network, content, style, seed=[1, 2], steps=3, progress=False)


def picture(height, width, shade):
    return torch.full((1, 3, height, width), shade)


def test_panels_stand_in_rows_with_their_insets(tmp_path):
    panels = [
        figures.Panel(picture(30, 40, 0.0), "(a)"),
        figures.Panel(picture(30, 40, 0.5), "(b)", inset=picture(30, 30, 0.2)),
        figures.Panel(picture(30, 40, 0.25), "(c)"),
    ]
    path = figures.save_picture(figures.panel_grid(panels, columns=2, width=4), "grid", tmp_path)
    with Image.open(path) as image:
        grey = image.convert("L")
    width, height = grey.size
    assert grey.getpixel((width // 4, height // 4)) == 0
    assert grey.getpixel((3 * width // 4, height // 6)) == pytest.approx(127, abs=2)
    assert grey.getpixel((width // 2 + width // 20, int(0.38 * height))) == pytest.approx(51, abs=2)
    assert grey.getpixel((width // 4, int(0.7 * height))) == pytest.approx(64, abs=2)
    assert grey.getpixel((3 * width // 4, int(0.75 * height))) == 255  # no fourth panel


def test_a_footer_is_wrapped_inside_the_figure():
    words = " ".join(f"word{i}" for i in range(60))
    figure = figures.panel_grid([figures.Panel(picture(30, 40, 0.0), "a")], columns=1, footer=words)
    figure.draw_without_rendering()
    box = figure.texts[0].get_window_extent()
    assert figure.texts[0].get_text().replace("\n", " ") == words
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
    lowest = figure.axes[0].get_tightbbox().y0
    assert box.y1 <= lowest


def test_a_figure_needs_panels():
    with pytest.raises(SettingError, match="at least one panel"):
        figures.panel_grid([], columns=2)


def test_loss_curves_start_at_one(result):
    axes = figures.loss_curves(result, ["one", "two"]).axes[0]
    assert [line.get_label() for line in axes.lines] == ["one", "two"]
    assert all(line.get_ydata()[0] == 1 for line in axes.lines)
    assert axes.lines[0].get_color() != axes.lines[1].get_color()


def test_the_record_tells_how_a_figure_was_made(network, result, tmp_path):
    record = figures.make_record(
        "figure9",
        parameters={"size": 48, "seed": 0},
        network=network,
        images={"content": "coffee", "style": "storm"},
        results={"transfers": result},
        settings={"alpha_beta": 1e-3},
    )
    figure = figures.panel_grid([figures.Panel(picture(30, 40, 0.0), "a")], columns=1)
    path = figures.save_figure(figure, record, tmp_path / "new")
    saved = json.loads(path.with_suffix(".json").read_text())
    assert path == tmp_path / "new" / "figure9.png"
    assert saved == record | {"panels": [], "sha256": sha256_of(path)}
    assert record["claims"] == []  # nothing is claimed of a figure of this name
    assert saved["parameters"] == {"size": 48, "seed": 0}
    assert saved["network"]["name"] == "tiny" and saved["device"] == "cpu"
    assert saved["images"]["style"]["sha256"] == sha256_of(gallery.path("storm"))
    made = saved["results"]["transfers"]
    assert made["steps"] == 3 and not made["interrupted"] and made["best_step"] == [3, 3]
    assert saved["settings"] == {"alpha_beta": 1e-3}
    # It starts from the photograph.
    assert made["first"]["content conv4_2"] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert sum(v[0] for v in made["best"].values()) < sum(v[0] for v in made["first"].values())
    assert saved["versions"]["torch"] == torch.__version__
    with Image.open(path) as image:
        assert json.loads(image.text["Comment"])["figure"] == "figure9"


def test_claims_are_judged_by_the_panels_as_they_are_saved(network, tmp_path):
    photograph = gallery.open("coffee", 48)
    panels = {"conv2_2": 0.9 * photograph + 0.01, "conv4_2": photograph.flip(3)}
    record = figures.make_record(
        "figure5",
        parameters={"size": 96},
        network=network,
        images={"content": "coffee"},
        results={},
        settings={"size": 48},  # goes before the parameters'
        panels=panels,
    )
    assert [claim["holds"] for claim in record["claims"]] == [True]
    assert record["claims"][0]["values"]["correlation"][0] == pytest.approx(1, abs=1e-3)
    table = figures.claims_table(record)
    assert table.startswith("holds  Matching conv2_2") and "correlation: 1" in table
    figure = figures.panel_grid([figures.Panel(photograph, "a")], columns=1)
    path = figures.save_figure(figure, record, tmp_path, panels)
    assert json.loads(path.with_suffix(".json").read_text())["panels"] == ["conv2_2", "conv4_2"]
    files = {name: figures.panel_path(tmp_path, "figure5", name) for name in panels}
    saved = {name: load_image(file) for name, file in files.items()}
    assert figures.judge(record, network, saved) == record["claims"]


def test_a_panels_name_stays_in_its_folder(tmp_path):
    for name in ("../a", "a/b", ""):
        with pytest.raises(SettingError, match="a panel's name may have"):
            figures.panel_path(tmp_path, "figure1", name)


def test_the_footer_names_network_and_credits(network):
    text = figures.footer(network, ["pagoda", "storm", "pagoda"], "3 steps")
    assert text.startswith("Network: tiny, avg pooling · 3 steps · Images: ")
    both = figures.footer([network, network], ["pagoda"])
    assert both.startswith("Network: tiny, avg pooling; tiny, avg pooling · Images: ")
    assert text.count(gallery.credit("pagoda")) == 1 and gallery.credit("storm") in text


def test_a_page_gets_the_smaller_of_two_formats(result, tmp_path):
    drawn = figures.save_picture(figures.loss_curves(result, ["a", "b"]), "drawn", tmp_path)
    photograph = [figures.Panel(gallery.open("pagoda", 256), "a photograph")]
    shot = figures.save_picture(figures.panel_grid(photograph, columns=1), "shot", tmp_path)
    for path, kind in ((drawn, "png"), (shot, "jpeg")):
        page = figures.show(path)
        assert page.format == kind and len(page.data) <= path.stat().st_size
        with Image.open(io.BytesIO(page.data)) as image:
            assert image.format.lower() == kind
