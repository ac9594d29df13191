"""Panels, curves, records, and the `Lab` through which notebooks make them."""

import io
import json

import pytest
import torch
from PIL import Image

from stylelab import figures, gallery, networks, synthesis
from stylelab.description import Transfer
from stylelab.errors import SettingError
from stylelab.figures import records
from stylelab.files.local import sha256_of
from stylelab.images import load_image


@pytest.fixture
def network(tiny_network):
    return tiny_network(dtype=torch.float32)


@pytest.fixture
def result(network):
    content, style = gallery.open("coffee", 48), gallery.open("storm", 48)
    batch = [Transfer(content, style, alpha_beta=1e-3, seed=seed) for seed in (1, 2)]
    return synthesis.transfer_batch(network, batch, steps=3, progress=False)


@pytest.fixture
def lab(network, tmp_path, monkeypatch):
    """The lab of a notebook with a tiny network."""
    monkeypatch.setattr(networks, "load", lambda name, device: network.to(device))
    monkeypatch.setattr(gallery, "cast", lambda kind: {"content": "coffee", "C": "storm"})
    return figures.Lab("quick", "tiny", "embedded", 48, 3, 0, "cpu", tmp_path, init="noise")


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
    (label,) = [text for text in figure.axes[0].texts if text.get_text() == "a"]
    assert box.y1 <= label.get_window_extent().y0


def test_a_table_has_rows_columns_and_an_empty_cell():
    dark, light = (figures.Panel(picture(20, 30, shade)) for shade in (0.0, 1.0))
    panels = [dark, None, figures.Panel(torch.rand(20, 30), "a map"), light]
    names = {"rows": ["first\nabout it", "second"], "headings": ["A", "B"]}
    figure = figures.panel_grid(panels, columns=2, **names)
    axes = figure.axes[0]
    at = {text.get_text(): text.get_position() for text in axes.texts if text.get_text()}
    assert set(at) == {"first", "about it", "second", "A", "B", "a map"}
    assert at["A"][1] == at["B"][1] > at["first"][1] > at["about it"][1] > at["second"][1]
    above, below, beside = (image.get_extent() for image in axes.images)
    assert above[:2] == below[:2] and above[2] > below[3]
    assert below[2:] == beside[2:] and below[1] < beside[0]
    assert above[0] < at["A"][0] < above[1] and beside[0] < at["B"][0] < beside[1]
    assert above[2] < at["first"][1] < above[3] and below[2] < at["second"][1] < below[3]
    assert at["first"][0] < above[0] and at["a map"][1] < below[2]
    figure.draw_without_rendering()
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("rows", [["a", "b"], ["conv1_1\nalone", "m"], ["m", "WWW\nMMMMMMMM"]])
def test_labels_of_rows_end_before_the_panels(rows):
    panels, headings = [figures.Panel(picture(20, 30, 0.5))] * 2, ["α/β = 10⁻⁴"]
    figure = figures.panel_grid(panels, columns=1, rows=rows, headings=headings)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    edge = axes.images[0].get_window_extent()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_text()}
    assert boxes.pop(headings[0]).y0 > edge.y1
    assert len(boxes) == sum(len(row.split("\n")) for row in rows)
    assert all(box.x0 >= 0 and box.x1 < edge.x0 for box in boxes.values())


def test_a_detail_is_the_same_part_enlarged_with_its_pixels_as_squares():
    image = torch.rand(1, 3, 100, 200)
    part = (0.25, 0.5, 0.1, 0.2)  # columns 50 to 69, rows 50 to 69
    panel = figures.Panel(image, "(a)", inset=image, name="a", part=part)
    shown = figures.detail(panel, part)
    assert shown.label == "(a)" and shown.name == "" and shown.inset is shown.part is None
    assert shown.image.shape == (1, 3, 600, 600)
    assert torch.equal(shown.image[..., 15::30, 15::30], image[..., 50:70, 50:70])
    assert (shown.image[..., :30, :30] == image[..., 50:51, 50:51]).all()
    figure = figures.panel_grid([panel], columns=1)
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    frames = [p.get_bbox() for p in figure.axes[0].patches if p.get_edgecolor()[:3] == (1, 1, 1)]
    frame = frames[-1]
    wide, tall = right - left, top - bottom
    assert (frame.x0 - left) / wide == pytest.approx(0.25)
    assert (top - frame.y1) / tall == pytest.approx(0.5)
    assert frame.width / wide == pytest.approx(0.1) and frame.height / tall == pytest.approx(0.2)


@pytest.mark.parametrize("columns", [1, 3])
def test_rows_are_as_tall_as_the_tallest_picture_needs(columns):
    panels = [figures.Panel(picture(20, 40, 0.5), "a"), figures.Panel(picture(40, 40, 0.5), "b")]
    axes = figures.panel_grid(panels, columns=columns).axes[0]
    for image, label in zip(axes.images, axes.texts, strict=True):  # just below its picture
        assert 0 < image.get_extent()[2] - label.get_position()[1] < 0.3
    for image, ratio in zip(axes.images, (0.5, 1.0), strict=True):
        left, right, bottom, top = image.get_extent()
        assert (top - bottom) / (right - left) == pytest.approx(ratio)
    assert len({image.get_extent()[1] - image.get_extent()[0] for image in axes.images}) == 1


def test_a_figure_needs_panels():
    with pytest.raises(SettingError):
        figures.panel_grid([], columns=2)


def test_each_image_of_a_result_becomes_a_panel(result):
    inset = picture(10, 10, 0.5)
    panels = figures.result_panels(result, ["one", "two"], ["a", "b"], [inset, None])
    assert [(panel.label, panel.name) for panel in panels] == [("one", "a"), ("two", "b")]
    assert panels[0].inset is inset and panels[1].inset is None
    for panel, image in zip(panels, result.images, strict=True):
        assert panel.image.shape == (1, *image.shape) and torch.equal(panel.image[0], image)
    with pytest.raises(ValueError, match="zip"):
        figures.result_panels(result, ["one"])


def test_curves_show_every_loss_from_the_start(result):
    axes = figures.loss_curves(result, ["one", "two"]).axes[0]
    assert [line.get_label() for line in axes.lines] == ["one", "two"]
    assert all(line.get_ydata()[0] == 1 for line in axes.lines)
    assert axes.lines[0].get_color() != axes.lines[1].get_color()
    assert axes.lines[1].get_ydata()[-1] == pytest.approx(
        float(result.losses[-1, 1] / result.losses[0, 1])
    )
    figure = figures.curves({"thin": [1, 2], "thick": [3, 900]}, bold="thick")
    bold, (legend,) = figure.axes[0], figure.legends
    assert bold.lines[1].get_linewidth() > bold.lines[0].get_linewidth()
    assert legend.get_lines()[1].get_color() == bold.lines[1].get_color() == "black"
    many = figures.curves({str(i): [1, 2] for i in range(9)}).axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in many}) == 9


def test_the_record_tells_how_a_figure_was_made(lab, result, tmp_path):
    images, panels = {"content": "content", "style": "C"}, [figures.Panel(picture(3, 4, 0.0), "a")]
    settings = {"alpha_beta": 1e-3, "init": "content"}
    lab.save("figure9", panels, images=images, results={"transfers": result}, settings=settings)
    path = tmp_path / "figure9.png"
    saved = json.loads(path.with_suffix(".json").read_text())
    assert saved == lab.records["figure9"] | {"panels": [], "sha256": sha256_of(path)}
    assert saved["claims"] == []  # nothing is claimed about a figure of this name
    assert saved["parameters"] == {
        **{"profile": "quick", "network": "tiny", "images": "embedded", "size": 48, "steps": 3},
        **{"init": "noise", "seed": 0, "device": "cpu"},
    }
    assert saved["settings"] == settings
    assert saved["network"]["name"] == "tiny" and saved["device"] == "cpu"
    assert saved["images"]["style"]["name"] == "storm"
    assert saved["images"]["style"]["sha256"] == sha256_of(gallery.path("storm"))
    made = saved["results"]["transfers"]
    assert made["steps"] == 3 and not made["interrupted"] and made["best_step"] == [3, 3]
    # It starts from the photograph.
    assert made["first"]["content conv4_2"] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert sum(v[0] for v in made["best"].values()) < sum(v[0] for v in made["first"].values())
    assert saved["versions"]["torch"] == torch.__version__
    with Image.open(path) as image:
        assert json.loads(image.text["Comment"])["figure"] == "figure9"


MADE = "3 steps in frequencies"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"alpha_beta": 1e-3, "init": "noise"},
            f"α/β = 10⁻³, from white noise, {MADE}, 48 px",
        ),
        (
            {"alpha_beta": [1.0, 2.0], "init": "content", "size": 24},
            f"from the content image, {MADE}, 24",
        ),
        (
            {"alpha_beta": 0.5, "init": ["noise", "style"], "size": 24},
            f"α/β = 0.5, {MADE}, 24 px",
        ),
        ({"layers": ["conv1_1"], "steps": 7}, f"from white noise, {MADE}, 48 px"),
    ],
)
def test_a_figures_footer_says_what_its_panels_share(lab, result, settings, said, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        records, "save_figure", lambda figure, *_: drawn.append(figure) or lab.output
    )
    monkeypatch.setattr(records, "show", lambda path: path)
    panels, images = figures.result_panels(result, ["a", "b"]), {"content": "content", "style": "C"}
    lab.save("figure9", panels, images=images, results={"transfers": result}, settings=settings)
    lines = drawn[0].texts[0].get_text().split("\n")
    assert len(lines) <= 2
    told = " ".join(lines)
    assert said in told and told.startswith("Network: tiny, avg pooling")
    assert "A cup of coffee, photograph by Rachel Michetti; Storm, stylelab" in told


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *[(8e-4, "8·10⁻⁴"), (1e-3, "10⁻³"), (0.02, "2·10⁻²"), (0.1, "10⁻¹"), (0.0999, "9.99·10⁻²")],
        *[(0.5, "0.5"), (1.0, "1"), (20.0, "20"), (2 / 3, "0.667"), (0.0, "0"), (-0.5, "-0.5")],
        *[(1000, "10³"), (1.25e6, "1.25·10⁶"), (1e-12, "10⁻¹²"), (9.9999e-4, "10⁻³")],
    ],
)
def test_powers_of_ten_are_written_as_in_textbooks(value, written):
    assert figures.power_of_ten(value) == written


@pytest.mark.parametrize("kind", gallery.KINDS)
def test_the_footers_of_the_largest_figures_have_two_lines(tiny_network, kind):
    names = [gallery.cast(kind)[part] for part in ("content", *"BCDEF")]
    note = "from the content image, 1000 steps, 1024 px"  # those of figure 3
    footer = figures.footer([tiny_network()], names, note)
    figure = figures.panel_grid([figures.Panel(picture(3, 4, 0.0))], columns=1, footer=footer)
    figure.draw_without_rendering()
    assert figure.texts[0].get_text().count("\n") <= 1
    assert figure.texts[0].get_window_extent().x1 <= figure.bbox.x1


def test_claims_are_checked_on_the_panels_as_they_are_saved(lab, network, tmp_path):
    photograph = lab.open("content")
    panels = [
        figures.Panel(photograph, "shown, without a name"),
        figures.Panel(0.9 * photograph + 0.01, "one", name="conv2_2"),
        figures.Panel(photograph.flip(3), "two", name="conv4_2"),
    ]
    lab.save("figure5", panels, images={"content": "content"})
    record = json.loads((tmp_path / "figure5.json").read_text())
    assert record["panels"] == ["conv2_2", "conv4_2"]
    assert [claim["holds"] for claim in record["claims"]] == [True]
    assert record["claims"][0]["values"]["correlation"][0] == pytest.approx(1, abs=1e-3)
    said = lab.claims("figure5").data
    assert "| Matching conv2_2 keeps" in said and "correlation: 1" in said and "| yes |" in said
    files = {name: figures.panel_path(tmp_path, "figure5", name) for name in record["panels"]}
    saved = {name: load_image(file) for name, file in files.items()}
    assert records.judge(record, network, saved) == record["claims"]


def test_a_table_has_a_line_for_each_row_and_three_digits_of_a_number():
    lines = figures.table(["layer", "loss"], [["conv1_1", 0.123456], ["a|b", 2]]).data.splitlines()
    assert lines == ["| layer | loss |", "| --- | --- |", "| conv1_1 | 0.123 |", r"| a\|b | 2 |"]


def test_a_size_among_the_settings_takes_precedence(lab):
    """Claims compare panels with originals of the panels' size."""
    panels = {"conv2_2": gallery.open("coffee", 24), "conv4_2": gallery.open("coffee", 24).flip(3)}
    drawing = figures.panel_grid([figures.Panel(panels["conv2_2"], "a")], columns=1)
    lab.save("figure5", drawing, images={"content": "content"}, settings={"size": 24},
             pictures=panels)  # fmt: skip
    assert lab.records["figure5"]["claims"][0]["values"]["SSIM"][0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["../a", "a/b", ""])
def test_a_panels_name_stays_in_its_folder(name, tmp_path):
    with pytest.raises(SettingError):
        figures.panel_path(tmp_path, "figure1", name)


def test_a_footer_names_each_network_and_credits_each_image_once(lab, network):
    text = figures.footer([network, network], ["coffee", "storm", "coffee"], "3 steps")
    assert text.startswith("Network: tiny, avg pooling; tiny, avg pooling · 3 steps · Images: ")
    assert text.count("A cup of coffee") == 1 and "Storm" in text
    assert lab.footer(["content", "C", "content"], "3 steps") == figures.footer(
        [network], ["coffee", "storm"], "3 steps"
    )
    assert lab.footer([], "drawn by code") == "Network: tiny, avg pooling · drawn by code"


def test_the_steps_of_pictures_without_a_result_are_told_by_the_caller(lab):
    assert lab.note(init="content", steps=7) == "from the content image, 7 steps, 48 px"
    assert lab.note(init=None) == "48 px"


def test_a_page_gets_the_smaller_of_two_formats(lab, result, tmp_path):
    photograph = [figures.Panel(gallery.open("pagoda", 256), "a photograph")]
    pages = {
        "png": lab.show("drawn", figures.loss_curves(result, ["a", "b"])),
        "jpeg": lab.show("shot", photograph, columns=1),
    }
    for (kind, page), name in zip(pages.items(), ("drawn", "shot"), strict=True):
        assert page.format == kind
        assert len(page.data) <= (tmp_path / f"{name}.png").stat().st_size
        with Image.open(io.BytesIO(page.data)) as image:
            assert image.format.lower() == kind


def test_figures_have_rows_and_headings(lab, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        records, "save_figure", lambda figure, *_: drawn.append(figure) or lab.output
    )
    monkeypatch.setattr(records, "show", lambda path: path)
    panels = [figures.Panel(picture(20, 30, 0.5))] * 2
    layout = {"columns": 2, "rows": ["first"], "headings": ["A", "B"]}
    lab.save("figure9", panels, images={"content": "content"}, **layout)
    assert {text.get_text() for text in drawn[0].axes[0].texts} >= {"first", "A", "B"}


@pytest.mark.parametrize(("count", "said"), [(1, "1 thread"), (2, "2 threads")])
def test_a_notebook_says_what_it_ran_with(lab, count, said, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    headings, _, values = lab.made_with().data.splitlines()
    assert headings.startswith("| network | device | python |")
    assert values.startswith(f"| tiny | cpu, {said} | ") and torch.__version__ in values


def test_a_notebook_opens_its_images_at_its_size(lab):
    assert lab.open("content").shape[:2] == (1, 3) and max(lab.open("C").shape[2:]) == 48
    assert max(lab.open("C", 24).shape[2:]) == 24
