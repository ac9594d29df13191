"""`stylelab transfer` of large pictures: tiles, memory, devices, history, sizes by default."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from stylelab import load_image
from stylelab.cli.main import main
from stylelab.description import Transfer
from stylelab.engine import coarse_to_fine, memory
from stylelab.engine.coarse_to_fine import schedule, transfer_coarse_to_fine
from stylelab.errors import SettingError
from stylelab.images import read_metadata, save_image
from stylelab.lbfgs import lbfgs
from stylelab.runs import calls
from stylelab.runs.settings import HISTORY, Settings
from stylelab.synthesis import balance
from stylelab.vgg import resize


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "painting.png"):
        save_image(torch.rand(1, 3, 72, 96), name)
    return tmp_path


def run(*arguments):
    try:
        common = ["photo.png", "painting.png", "--size", "96", "--steps", "3", "--device", "cpu"]
        return main(["transfer", *common, *arguments])
    except SystemExit as end:
        return end.code


def record(path):
    return json.loads(read_metadata(path)["Comment"])


def test_the_command_works_in_tiles_says_so_and_records_it(folder, capsys):
    assert run("-o", "whole.png") == 0
    assert "tiles" not in capsys.readouterr().err and record("whole.png")["tile"] is None
    for extra in ([], ["--device", "cpu,cpu"]):
        assert run("-o", "tiled.png", "--tile", "48", *extra) == 0
        said = capsys.readouterr().err
        assert "96 x 72 pixels in 4 tiles of 48 pixels" in said
        assert ("on 2 devices" in said) is bool(extra)
        assert record("tiled.png")["tile"] == 48
        difference = load_image("tiled.png") - load_image("whole.png")
        assert difference.abs().max() < 2.5 / 255  # of rounding, after three steps


def test_a_limit_of_memory_makes_tiles(folder, monkeypatch, capsys):
    monkeypatch.setattr(memory, "left", lambda limit, device: limit)
    large = ("-o", "out.png", "--size", "384", "--steps", "1")
    assert run(*large, "--memory", "170MB") == 0
    assert "pixels, as at once they may need 0." in capsys.readouterr().err
    assert 128 <= record("out.png")["tile"] < 200
    assert run(*large, "--memory", "300MB") == 0 and record("out.png")["tile"] is None
    assert run("-o", "out.png", "--memory", "1MB") == 1
    assert "lower --size or --history" in capsys.readouterr().err
    sliced = ("--style-loss", "sliced", "--memory", "100MB")
    assert run(*large, *sliced) == 1
    said = capsys.readouterr().err
    assert "lower --size or --history" in said and "or choose another --style-loss" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--memory", "4"], "memory must be written as 4GB or 800MB, got '4'"),
        (["--memory", "0GB"], "memory must be written as 4GB or 800MB"),
        (["--tile", "8"], "from 32 to 65536"),
        (["--device", "cpu,auto"], "auto chooses one device"),
        (["--device", "cpu,gpu"], "device must be auto, cpu"),
        (["--history", "0"], "from 1 to 100"),
        (["--scratch", "photo.png"], "photo.png cannot be written (File exists)"),
        (["--scratch", "s", "--checkpoint", "c"], "--checkpoint would hold all that --scratch has"),
    ],
)
def test_what_is_wrong_is_named(folder, capsys, arguments, said):
    assert run("-o", "out.png", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_shorter_history_is_recorded_and_needs_less(folder, tiny_network):
    assert run("-o", "out.png", "--history", "2") == 0
    assert record("out.png")["history"] == 2
    asked = (tiny_network(), ["conv1_1"], (1, 3, 30, 50), "cpu")
    optimiser = calls.how(Settings(history=5))["optimiser"]
    saved = memory.needed(*asked) - memory.needed(*asked, optimiser)
    assert saved == pytest.approx(30 * 3 * 4 * 30 * 50)  # 15 pairs
    assert calls.how(Settings())["optimiser"] is lbfgs and memory.HISTORY == HISTORY == 20


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_the_command_works_in_files_and_leaves_none(folder, capsys, monkeypatch, optimiser):
    assert run("-o", "here.png", "--optimizer", optimiser) == 0
    assert run("-o", "there.png", "--optimizer", optimiser, "--scratch", "files") == 0
    difference = load_image("there.png") - load_image("here.png")
    assert difference.abs().max() < 1.5 / 255
    assert not [*(folder / "files").iterdir()]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e5))
    assert run("-o", "there.png", "--optimizer", optimiser, "--scratch", "files") == 1
    assert "files has 0.0 GB free, and the pictures may need" in capsys.readouterr().err


def test_large_pictures_are_made_coarse_to_fine_with_fewer_steps_each_time(tiny_network):
    network = tiny_network()

    def steps(height, width, steps=100, levels=None):
        return schedule(network, [Transfer(*torch.rand(2, 1, 3, height, width))], steps, levels)

    assert steps(700, 1024) == [100]
    assert steps(40, 1025) == [100]  # a half would be too small for the network
    assert steps(700, 1025) == steps(700, 2048) == [100, 50]
    assert steps(500, 4096, 60) == [60, 30, 15]
    assert steps(500, 4096, 30) == [30, 15, 10] and steps(500, 4096, 4) == [4, 4, 4]
    assert steps(500, 4096, levels=1) == [100] and steps(500, 4096, levels=2) == [100, 100]
    with pytest.raises(SettingError, match="levels must be a whole number"):
        steps(500, 4096, levels=0)


def test_the_levels_have_the_steps_of_the_schedule(tiny_network, monkeypatch):
    monkeypatch.setattr("stylelab.engine.coarse_to_fine.LARGE", 40)
    one, seen = Transfer(*torch.rand(2, 1, 3, 64, 96)), []

    def watch(run, states):
        seen.append((tuple(run.start.shape[2:]), run.steps))
        yield from states

    network = tiny_network(dtype=torch.float32)
    result = transfer_coarse_to_fine(network, [one], steps=12, progress=False, hooks=[watch])
    assert seen == [((32, 48), 12), ((64, 96), 10)]
    assert result.images.shape[2:] == (64, 96)


def test_a_strength_of_a_large_picture_is_that_of_its_first_level(tiny_network, monkeypatch):
    monkeypatch.setattr(coarse_to_fine, "LARGE", 80)
    network = tiny_network(dtype=torch.float32)
    content, style = torch.rand(2, 1, 3, 128, 192, generator=torch.manual_seed(0))
    halved = [resize(image, (64, 96)) for image in (content, style)]
    quarter = [resize(image, (32, 48)) for image in (content, style)]
    found = coarse_to_fine.balanced(network, Transfer(content, style)).alpha_beta
    assert found == balance(network, Transfer(*quarter)).alpha_beta
    assert found != balance(network, Transfer(*halved)).alpha_beta
    given = Transfer(content, style, alpha_beta=0.02)
    assert coarse_to_fine.balanced(network, given).alpha_beta == 0.02
