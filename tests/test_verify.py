"""Checking a folder of figures: one that is as it should be, and each thing that can be wrong."""

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


def read(folder):
    return json.loads((folder / "figure5.json").read_text())


def change(folder, **fields):
    (folder / "figure5.json").write_text(json.dumps(read(folder) | fields))


def remove_panels(folder):
    shutil.rmtree(folder / "panels")


def break_claim(folder):
    """One panel takes the place of the other."""
    paths = [figures.panel_path(folder, "figure5", name) for name in ("conv4_2", "conv2_2")]
    shutil.copy(*paths)


def repaint(folder):
    """The claim still holds, by other numbers."""
    path = figures.panel_path(folder, "figure5", "conv2_2")
    save_image(load_image(path).clamp(0.2, 0.8), path)


def replace_figure(folder):
    save_image(gallery.open("coffee", 48), folder / "figure5.png")


def fail_claim_in_record(folder):
    change(folder, claims=[claim | {"holds": False} for claim in read(folder)["claims"]])
    remove_panels(folder)


def test_a_folder_as_it_was_made_passes(folder, made):
    table, well = verify(folder, made)
    assert well and "PROBLEM" not in table
    assert "holds  Matching conv2_2 keeps more" in table and "computed again" in table


@pytest.mark.parametrize(
    ("damage", "claim", "named"),
    [
        (break_claim, "FAILS", "correlation"),
        (repaint, "holds", "in the record"),
        (replace_figure, "holds", "figure5.png"),
        (fail_claim_in_record, "FAILS", "correlation"),
    ],
)
def test_what_is_not_as_recorded_is_a_problem(folder, damage, claim, named):
    damage(folder)
    table, well = verify(folder)
    assert not well and claim in table
    (problem, *_) = [line for line in table.splitlines() if "PROBLEM" in line]
    assert named in problem


def other_network(folder, **fields):
    change(folder, network=read(folder)["network"] | fields)


def other_image(folder, part, **fields):
    images = read(folder)["images"]
    change(folder, images=images | {part: images[part] | fields})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (remove_panels, "conv2_2.png"),
        (lambda folder: other_network(folder, sha256="0" * 64), "other weights"),
        (lambda folder: other_network(folder, name="vgg99"), "vgg99"),
        (lambda folder: other_image(folder, "style", sha256="0" * 64), "storm"),
        (lambda folder: other_image(folder, "content", name="neckarfront"), "stylelab fetch"),
    ],
)
def test_where_claims_cannot_be_computed_again_the_record_is_used_and_the_reason_given(
    folder, damage, reason, tmp_path, monkeypatch
):
    """Nothing is downloaded: neckarfront is not in the empty cache."""
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path / "empty"))
    damage(folder)
    table, well = verify(folder)
    (source,) = [line for line in table.splitlines() if "from the record" in line]
    assert well and reason in source and "computed again" not in table


def test_a_network_from_a_file_is_named_by_its_path(folder, tmp_path):
    file = tmp_path / "mine.safetensors"
    shutil.copy(local.ASSETS / "vgg19-mini.safetensors", file)
    other_network(folder, name="mine")
    assert "from the record" in verify(folder)[0]
    assert "computed again" in verify(folder, network=str(file))[0]


def far_numbers(folder):
    (claim,) = read(folder)["claims"]
    change(folder, claims=[claim | {"values": claim["values"] | {"correlation": [1.0, 0.9]}}])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (far_numbers, "correlation: 1, 0.9; in the reference correlation: 1, 0.452"),
        (lambda folder: change(folder, parameters={"size": 64, "seed": 0}), "size"),
        (lambda folder: change(folder, settings={"alpha_beta": 1.0}), "alpha_beta"),
        (lambda folder: change(folder, claims=[]), "other claims"),
    ],
)
def test_differences_from_the_reference_are_problems(folder, made, damage, named):
    remove_panels(folder)
    damage(folder)
    table, well = verify(folder, made)
    (problem,) = [line for line in table.splitlines() if "PROBLEM" in line]
    assert not well and "the reference" in problem and named in problem


def test_device_and_folder_do_not_matter_to_a_comparison(folder, made):
    parameters = {"size": 48, "seed": 0, "device": "cuda", "output": "elsewhere"}
    change(folder, parameters=parameters)
    assert verify(folder, made)[1]


def test_a_figure_that_the_reference_lacks_is_a_problem(folder, tmp_path):
    table, well = verify(folder, tmp_path / "empty")
    assert not well and "figure5.json" in table


@pytest.mark.parametrize("text", ["{}", "{", "3"])
def test_a_file_that_is_not_a_record_is_named(folder, text):
    (folder / "figure5.json").write_text(text)
    with pytest.raises(StylelabError, match=r"figure5\.json"):
        verify(folder)


@pytest.mark.parametrize("names", [{"figure": "../.."}, {"panels": ["../../x"]}])
def test_a_record_cannot_lead_out_of_its_folder(folder, names):
    change(folder, **names)
    with pytest.raises(StylelabError):
        verify(folder)


def test_a_folder_without_figures_is_named(tmp_path):
    with pytest.raises(StylelabError, match="nowhere"):
        verify(tmp_path / "nowhere")
