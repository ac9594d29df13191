"""Checkpoints: however a run ends, the same command ends with the same image."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from stylelab import reconstruct_content, reconstruct_style, transfer_batch
from stylelab.adam import adam
from stylelab.description import Transfer
from stylelab.engine import checkpoint
from stylelab.engine.checkpoint import Checkpoint, keep_in_named_folder
from stylelab.engine.coarse_to_fine import transfer_coarse_to_fine
from stylelab.errors import SettingError, StylelabError
from stylelab.objective import Objective
from stylelab.optimisation import optimise

ROOT = Path(__file__).parents[1]
STEPS = 26  # more than the 20 pairs of the optimiser's history: its ring wraps
BAD = (5, 9, 10, 22, 23)  # steps whose loss is not finite


@pytest.fixture
def run(tiny_network):
    """A maker of transfers, of two images at once."""
    network = tiny_network(dtype=torch.float32)
    content, *styles = torch.rand(3, 1, 3, 16, 16)

    def transfer(*hooks, steps=STEPS, content=content, optimiser="lbfgs", **changed):
        asked = {"content_layers": ["conv2_2"], "style_layers": ["conv1_1", "conv2_1"]}
        asked |= {"init": "noise", "seed": 1} | changed
        batch = [Transfer(content, style, **asked) for style in styles]
        options = {"steps": steps, "hooks": hooks, "progress": False, "optimiser": optimiser}
        return transfer_batch(network, batch, **options)

    return transfer


class Killed(Exception):
    """What stands for the end of a process."""


def kill_at(step):
    """A hook that ends a run after state `step`, after which nothing is written any more."""

    def hook(run, states):
        for state in states:
            yield state
            if state.step == step:
                raise Killed

    return hook


def often(path):
    return Checkpoint(path, seconds=0)


def assert_same(result, expected):
    assert torch.equal(result.images, expected.images)
    assert result.steps == expected.steps and not result.interrupted
    assert list(result.history) == list(expected.history)
    for name, values in expected.history.items():
        assert torch.equal(result.history[name], values), name


def test_killed_at_any_step_it_ends_with_the_same_image(run, tmp_path, monkeypatch):
    """Also where steps are refused, one alone and two in a row."""
    evaluate, count = Objective.value_and_grad, 0

    def poisoned(self, image):
        nonlocal count
        terms, gradient = evaluate(self, image)
        if count in BAD:
            terms["style conv1_1"][0] = torch.nan
        count += 1
        return terms, gradient

    monkeypatch.setattr(Objective, "value_and_grad", poisoned)
    expected = run()
    stays = expected.losses[1:, 0] == expected.losses[:-1, 0]
    assert all(stays[step - 1] for step in BAD)
    for step in range(STEPS):
        path, count = tmp_path / f"{step}.safetensors", 0
        with pytest.raises(Killed):
            run(often(path), kill_at(step))
        assert count == step + 1
        assert_same(run(often(path)), expected)
        assert count == STEPS + 2  # no step was done twice; at the end, the picture in 8 bits


@pytest.mark.parametrize("optimiser", ["adam", partial(adam, learning_rate=0.2)])
def test_with_adam_too(run, tmp_path, optimiser):
    expected, path = run(optimiser=optimiser), tmp_path / "run.safetensors"
    for step in (0, 3, 19):
        with pytest.raises(Killed):
            run(often(path), kill_at(step), optimiser=optimiser)
    for other, said in (("lbfgs", "lbfgs here"), (partial(adam, learning_rate=0.1), "0.1.* here")):
        with pytest.raises(SettingError, match=rf"optimiser \(adam.* there, .*{said}"):
            run(Checkpoint(path), optimiser=other)
    assert_same(run(often(path), optimiser=optimiser), expected)


def test_killed_again_and_again_also_long_after_the_last_checkpoint(run, tmp_path):
    expected, path = run(), tmp_path / "new" / "run.safetensors"
    for step in (0, 3, 7, 8, 19, 20, 25):
        for kept in (often(path), Checkpoint(path)):  # the second writes nothing any more
            with pytest.raises(Killed):
                run(kept, kill_at(step))
    assert_same(run(Checkpoint(path)), expected)


def test_what_is_done_is_not_done_again_until_it_is_removed(run, tmp_path, monkeypatch):
    kept = Checkpoint(tmp_path / "run.safetensors")
    first = run(kept)
    evaluate, evaluated = Objective.value_and_grad, []

    def watched(self, image):
        evaluated.append(image)
        return evaluate(self, image)

    monkeypatch.setattr(Objective, "value_and_grad", watched)
    again = run(Checkpoint(kept.path))
    assert_same(again, first)
    assert len(evaluated) == 1  # of the picture in 8 bits
    monkeypatch.setattr(Objective, "value_and_grad", lambda *_: pytest.fail("an evaluation"))
    assert again.seconds >= first.seconds * 0.5
    kept.remove()
    assert not list(tmp_path.iterdir())
    with pytest.raises(pytest.fail.Exception):
        run(Checkpoint(kept.path))


@pytest.mark.parametrize("finished", [0, 1])
def test_levels_have_a_file_each_and_those_done_are_skipped(tiny_network, tmp_path, finished):
    network, first = tiny_network(), []
    batch = [Transfer(*torch.rand(2, 1, 3, 64, 64).double(), init="noise")]

    def watch(run, states):
        for state in states:
            if not first or first[-1][0] != run.start.shape[2]:
                first.append((run.start.shape[2], state.step))
            yield state
            if killing and run.start.shape[2] == 32 * (finished + 1) and state.step == 4:
                raise Killed

    def run(*hooks):
        asked = {"levels": 2, "steps": 6, "progress": False, "hooks": hooks}
        return transfer_coarse_to_fine(network, batch, **asked)

    expected, path, killing = run(), tmp_path / "run.safetensors", True
    with pytest.raises(Killed):
        run(often(path), watch)
    names = ["run.safetensors", "run-2.safetensors"][: finished + 1]
    assert {file.name for file in tmp_path.iterdir()} == set(names)
    first, killing, kept = [], False, often(path)
    assert_same(run(kept, watch), expected)
    assert first == [(32, 6), (64, 4)] if finished else [(32, 4), (64, 0)]
    kept.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reconstruct", [reconstruct_content, reconstruct_style])
def test_reconstructions_too(tiny_network, tmp_path, reconstruct):
    image, path = torch.rand(1, 3, 32, 32, dtype=torch.float64), tmp_path / "run"
    layers = ["conv1_1", "conv2_1"]
    asked = layers if reconstruct is reconstruct_content else [layers[:1], layers]

    def run(*hooks):
        return reconstruct(tiny_network(), image, asked, steps=6, progress=False, hooks=hooks)

    with pytest.raises(Killed):
        run(often(path), kill_at(4))
    assert_same(run(often(path)), run())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 5}, r"steps \(4 there, 5 here\)"),
        ({"seed": 3}, "starting image"),
        ({"alpha_beta": 1.0}, "weight of content"),
        ({"style_layers": {"conv1_1": 1.0, "conv2_1": 2.0}}, "weight of style conv2_1"),
        ({"content_layers": ["conv2_1"]}, "target of content conv2_2"),
        ({"content": torch.zeros(1, 3, 16, 16)}, "target of content"),
        ({"content": torch.zeros(1, 3, 16, 20)}, r"shape \(2 x 3 x 16 x 16 there"),
        ({"tv_weight": 1.0}, "weight of total variation"),
        ("network", "network's weights"),
        ("threads", "device .*99 threads"),
        ("stylelab", r"stylelab \(.*9\.9 here\)"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(run, tmp_path, monkeypatch, changed, said):
    path = tmp_path / "run.safetensors"
    run(Checkpoint(path), steps=4)
    before = path.read_bytes()

    def alter(run, states):
        if changed == "network":  # in a layer deeper than those that are matched
            run.objective.network.conv5_1.bias[0] += 1e-3
        return states

    if changed == "stylelab":
        monkeypatch.setattr(checkpoint, "__version__", "9.9")
    if changed == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    asked = {"steps": 4} | (changed if isinstance(changed, dict) else {})
    with pytest.raises(SettingError, match=f"run.safetensors is of another run.*{said}"):
        run(alter, Checkpoint(path), **asked)
    assert path.read_bytes() == before


@pytest.mark.parametrize("harm", ["cut", "header", "empty", "text", "weights", "folder"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(run, tmp_path, harm):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        run(often(path), kill_at(3))
    whole = path.read_bytes()
    if harm == "folder":
        path.unlink()
        path.mkdir()
    else:
        other = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no" * 99}
        other["weights"] = (ROOT / "stylelab/assets/vgg19-mini.safetensors").read_bytes()
        other["header"] = whole.replace(b"history ", b"mystery ")
        path.write_bytes(other[harm])
    before = path.is_dir() or path.read_bytes()
    with pytest.raises(StylelabError, match="run.safetensors cannot be read as a checkpoint"):
        run(Checkpoint(path))
    assert before == (path.is_dir() or path.read_bytes())


@pytest.mark.skipif(os.name == "nt", reason="has no such limit")
def test_a_full_disk_takes_neither_the_work_nor_the_last_checkpoint(run, tmp_path, capsys):
    import resource

    expected, path = run(), tmp_path / "run.safetensors"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(run, states):
        for state in states:
            if state.step == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
            yield state

    try:
        assert_same(run(often(path), fill), expected)
        with pytest.raises(StylelabError, match="cannot be written .*large"):
            run(often(tmp_path / "another"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert said.count("run.safetensors cannot be written") == said.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(Killed):  # it goes on from the state before the disk was full
        run(often(path), kill_at(5))
    assert_same(run(Checkpoint(path)), expected)


def test_files_half_written_when_a_process_was_killed_are_swept_away(run, tmp_path):
    path = tmp_path / "run.safetensors"
    script = "import os, sys; from stylelab.files.local import atomic\n"
    script += "with atomic(sys.argv[1]) as file: file.write_bytes(b'half'); os._exit(1)"
    subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    others = [tmp_path / name for name in (".run-1.safetensors", "run-2.safetensors", ".other")]
    for other in others:
        other.touch()
    run(Checkpoint(path), steps=1)
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


@pytest.mark.parametrize(("seconds", "written"), [(1e6, 2), (0, STEPS + 1)])
def test_written_every_so_often(run, tmp_path, seconds, written):
    path, seen = tmp_path / "run", set()

    def look(run, states):
        for state in states:
            seen.add(path.read_bytes())
            yield state

    run(Checkpoint(path, seconds=seconds), look)
    assert len(seen) == written  # at least the start, and what it ended with


def test_an_objective_that_is_not_known(tmp_path, monkeypatch):
    class Square:
        def value_and_grad(self, image):
            return {"square": image.square().sum((1, 2, 3))}, 2 * image

    start, quiet = torch.ones(1, 3, 4, 4), {"progress": False}
    monkeypatch.setenv(checkpoint.FOLDER, str(tmp_path / "folder"))
    assert optimise(Square(), start, 2, hooks=[keep_in_named_folder], **quiet).steps == 2
    with pytest.raises(SettingError, match="got Square"):
        optimise(Square(), start, 2, hooks=[Checkpoint(tmp_path / "run")], **quiet)


def test_a_folder_for_all_that_a_notebook_does(run, tmp_path, monkeypatch):
    expected, other = run(), run(seed=3)
    monkeypatch.setenv("STYLELAB_CHECKPOINTS", str(tmp_path / "folder"))
    monkeypatch.setitem(Checkpoint.__init__.__kwdefaults__, "seconds", 0.0)
    assert_same(run(keep_in_named_folder), expected)
    assert_same(run(keep_in_named_folder, kill_at(7)), expected)  # not done again: never at 7
    with pytest.raises(Killed):
        run(keep_in_named_folder, kill_at(7), seed=3)
    assert len(list((tmp_path / "folder").iterdir())) == 2
    assert_same(run(keep_in_named_folder, kill_at(6), seed=3), other)
