"""Checking a folder of figures: what is well, and each thing that can be wrong."""

import json
import shutil

import pytest

from stylelab import figures, gallery, networks
from stylelab.errors import StylelabError
from stylelab.figures.verify import verify
from stylelab.files import local
from stylelab.images import load_image, save_image


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A figure 5 that needs no optimisation."""
    folder = tmp_path_factory.mktemp("figures")
    photograph = gallery.open("coffee", 48)
    panels = {"conv2_2": 0.9 * photograph, "conv4_2": photograph.flip(3)}
    record = figures.make_record(
        "figure5",
        parameters={"size": 48, "seed": 0, "device": "auto", "output": "."},
        network=networks.load("vgg19-mini"),
        images={"content": "coffee", "style": "storm"},
        results={},
        settings={"alpha_beta": 1e-3},
        panels=panels,
    )
    grid = figures.panel_grid([figures.Panel(photograph, "a")], columns=1)
    figures.save_figure(grid, record, folder, panels)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "figures")
    return tmp_path / "figures"


def change(folder, **fields):
    path = folder / "figure5.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def claims(folder):
    return json.loads((folder / "figure5.json").read_text())["claims"]


def test_a_folder_as_it_was_made_is_well(folder, made):
    table, well = verify(folder, made)
    assert well
    assert "holds  Matching conv2_2 keeps more" in table and "computed again" in table
    assert table.endswith("1 of 1 figures are as they should be")


def test_a_panel_that_breaks_the_claim_is_seen(folder):
    path = figures.panel_path(folder, "figure5", "conv2_2")
    shutil.copy(figures.panel_path(folder, "figure5", "conv4_2"), path)
    table, well = verify(folder)
    assert not well and "FAILS" in table and "PROBLEM: a claim fails: correlation" in table
    assert "in the record [1" in table
    assert table.endswith("0 of 1 figures are as they should be")


def test_a_panel_that_keeps_the_claim_but_is_another_is_seen(folder):
    path = figures.panel_path(folder, "figure5", "conv2_2")
    save_image(load_image(path).clamp(0.2, 0.8), path)
    table, well = verify(folder)
    assert not well and "FAILS" not in table and "in the record" in table


def test_another_picture_than_the_records_is_seen(folder):
    save_image(gallery.open("coffee", 48), folder / "figure5.png")
    table, well = verify(folder)
    assert not well and "figure5.png is not the picture its record tells of" in table


def test_a_claim_that_failed_when_it_was_made_fails_without_panels(folder):
    change(folder, claims=[claim | {"holds": False} for claim in claims(folder)])
    shutil.rmtree(folder / "panels")
    table, well = verify(folder)
    assert not well and "FAILS" in table and "panels are not here" in table


def test_without_panels_the_record_is_believed_and_that_is_said(folder):
    shutil.rmtree(folder / "panels")
    table, well = verify(folder)
    assert well and "from the record; panels are not here" in table


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ({"sha256": "0" * 64}, "its network vgg19-mini had other weights"),
        ({"name": "vgg99"}, "no network 'vgg99'"),
    ],
)
def test_another_network_is_not_judged_by(folder, network, said):
    record = json.loads((folder / "figure5.json").read_text())
    change(folder, network=record["network"] | network)
    table, well = verify(folder)
    assert well and "from the record; " in table and said in table


def test_a_network_out_of_a_file_is_named(folder, tmp_path):
    file = tmp_path / "mine.safetensors"
    shutil.copy(local.ASSETS / "vgg19-mini.safetensors", file)
    record = json.loads((folder / "figure5.json").read_text())
    change(folder, network=record["network"] | {"name": "mine"})
    assert "from the record" in verify(folder)[0]
    assert "computed again" in verify(folder, network=str(file))[0]


def test_other_images_are_not_judged_by(folder):
    record = json.loads((folder / "figure5.json").read_text())
    record["images"]["style"]["sha256"] = "0" * 64
    change(folder, images=record["images"])
    assert "storm is another image here" in verify(folder)[0]


def test_nothing_is_downloaded_to_judge(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path / "empty"))
    record = json.loads((folder / "figure5.json").read_text())
    record["images"]["content"]["name"] = "neckarfront"
    change(folder, images=record["images"])
    assert "neckarfront is not here: stylelab fetch images" in verify(folder)[0]


def test_numbers_far_from_the_reference_are_seen(folder, made):
    old = claims(folder)
    values = {"correlation": [1.0, 0.9], "SSIM": old[0]["values"]["SSIM"]}
    change(folder, claims=[old[0] | {"values": values}])
    shutil.rmtree(folder / "panels")
    table, well = verify(folder, made)
    assert not well and "correlation [1, 0.9], in the reference" in table


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"parameters": {"size": 64, "seed": 0}}, "made with other size than the reference"),
        ({"settings": {"alpha_beta": 1.0}}, "made with other alpha_beta than the reference"),
        ({"claims": []}, "the reference has other claims"),
    ],
)
def test_what_cannot_be_compared_is_said(folder, made, fields, said):
    shutil.rmtree(folder / "panels")
    change(folder, **fields)
    table, well = verify(folder, made)
    assert not well and said in table


def test_device_and_folder_do_not_matter_to_a_comparison(folder, made):
    parameters = {"size": 48, "seed": 0, "device": "cuda", "output": "elsewhere"}
    change(folder, parameters=parameters)
    assert verify(folder, made)[1]


def test_a_figure_that_the_reference_lacks_is_seen(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    table, well = verify(folder, tmp_path / "empty")
    assert not well and "the reference has no figure5.json" in table


def test_what_is_no_record_is_named(folder, tmp_path):
    with pytest.raises(StylelabError, match="holds no figures with records; make some with"):
        verify(tmp_path / "nowhere")
    (folder / "figure5.json").write_text("{}")
    with pytest.raises(StylelabError, match=r"figure5.json is not a record: it lacks claims"):
        verify(folder)
    (folder / "figure5.json").write_text("{")
    with pytest.raises(StylelabError, match=r"figure5.json cannot be read as a record"):
        verify(folder)
