"""Checkpoints: however a run ends, the same command ends with the same image."""

import os
from pathlib import Path

import pytest
import torch

from stylelab import optimisation, synthesis
from stylelab.engine import checkpoint, fingerprint
from stylelab.engine.checkpoint import Checkpoint
from stylelab.errors import SettingError, StylelabError
from stylelab.files.local import atomic
from stylelab.runs import jobs

ROOT = Path(__file__).parents[1]
STEPS = 26  # more than the 20 pairs of the optimiser's history: its ring wraps


@pytest.fixture
def run(tiny_network, tmp_path):
    """A maker of transfers, of two images at once unless told otherwise."""
    network = tiny_network(dtype=torch.float32)
    maker = torch.Generator().manual_seed(0)
    content, *styles = torch.rand(3, 1, 3, 32, 32, generator=maker)

    def transfer(place=None, **changed):
        settings = {"style": styles, "seed": [1, 2], "init": "noise", "steps": STEPS} | changed
        return synthesis.transfer(network, content, checkpoint=place, progress=False, **settings)

    return transfer


class Killed(Exception):
    """What stands for the end of a process."""


def stop_at(monkeypatch, step, poisoned=()):
    """L-BFGS ends with `Killed` when state `step` was kept, after which nothing is; at None, never.

    The evaluations `poisoned` give the first image a loss that is not finite.
    """
    original = optimisation.lbfgs

    def stopping(value_and_grad, start, resume=None):
        done = {"evaluations": int(resume["step"]) + 1 if resume else 0}

        def evaluate(image):
            terms, gradient = value_and_grad(image)
            if done["evaluations"] in poisoned:
                terms = {name: value.clone() for name, value in terms.items()}
                next(iter(terms.values()))[0] = torch.nan
            done["evaluations"] += 1
            return terms, gradient

        for state in original(evaluate, start, resume=resume):
            yield state
            if state.step == step:
                raise Killed

    monkeypatch.setattr(optimisation, "lbfgs", stopping)


def assert_same(result, expected):
    assert torch.equal(result.images, expected.images)
    assert result.steps == expected.steps and not result.interrupted
    assert list(result.history) == list(expected.history)
    for name, values in expected.history.items():
        assert torch.equal(result.history[name], values), name


@pytest.mark.parametrize("poisoned", [(), (5, 9, 10, 22, 23)])
def test_killed_at_any_step_it_ends_with_the_same_image(run, tmp_path, monkeypatch, poisoned):
    with monkeypatch.context() as patch:
        stop_at(patch, None, poisoned)
        expected = run()
        stays = expected.losses[1:, 0] == expected.losses[:-1, 0]  # where a step is refused
        assert all(stays[step - 1] for step in poisoned)
    for step in range(STEPS):
        path = tmp_path / f"{step}.safetensors"
        with monkeypatch.context() as patch:
            stop_at(patch, step, poisoned)
            with pytest.raises(Killed):
                run(Checkpoint(path, seconds=0))
        with monkeypatch.context() as patch:
            stop_at(patch, None, poisoned)
            assert_same(run(Checkpoint(path, seconds=0)), expected)


def test_killed_again_and_again(run, tmp_path, monkeypatch):
    expected, path = run(), tmp_path / "new" / "run.safetensors"
    for step in (0, 3, 7, 8, 9, 19, 20, 21, 25):
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(Killed):
                run(Checkpoint(path, seconds=0))
    assert_same(run(path), expected)


def test_what_is_done_is_not_done_again_until_it_is_removed(run, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    first = run(path)
    assert path.stat().st_size < 100_000  # no history of the optimiser any more

    def never(*args, **kwargs):
        raise AssertionError("an optimisation began")
        yield

    monkeypatch.setattr(optimisation, "lbfgs", never)
    again = run(path)
    assert_same(again, first)
    assert again.seconds >= first.seconds * 0.5
    Checkpoint(path).remove()
    assert not list(tmp_path.iterdir())
    with pytest.raises(AssertionError, match="began"):
        run(path)


@pytest.mark.parametrize("finished", [0, 1])
def test_levels_that_are_done_are_skipped(run, tmp_path, monkeypatch, finished):
    asked = {"levels": 2, "style_layers": ["conv1_1"], "content_layer": "conv2_1", "steps": 6}
    expected, path, begun = run(**asked), tmp_path / "run.safetensors", []
    original = optimisation.lbfgs

    def counting(value_and_grad, start, resume=None):
        begun.append(tuple(start.shape[2:]))
        for state in original(value_and_grad, start, resume=resume):
            yield state
            if len(begun) == finished + 1 and state.step == 4:
                raise Killed

    monkeypatch.setattr(optimisation, "lbfgs", counting)
    with pytest.raises(Killed):
        run(Checkpoint(path, seconds=0), **asked)
    begun[:] = [None] * 3
    assert_same(run(path, **asked), expected)
    assert begun[3:] == [(16, 16), (32, 32)][finished:]


def test_reconstructions_too(tiny_network, tmp_path, monkeypatch):
    network, image = tiny_network(), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    for reconstruct, what in (
        (synthesis.reconstruct_content, ["conv1_1", "conv2_1"]),
        (synthesis.reconstruct_style, [["conv1_1"], ["conv1_1", "conv2_1"]]),
    ):
        path, asked = tmp_path / reconstruct.__name__, {"steps": 6, "progress": False}
        expected = reconstruct(network, image, what, **asked)
        with monkeypatch.context() as patch:
            stop_at(patch, 4)
            with pytest.raises(Killed):
                reconstruct(network, image, what, checkpoint=Checkpoint(path, seconds=0), **asked)
        assert_same(reconstruct(network, image, what, checkpoint=path, **asked), expected)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 5}, r"steps \(4 there, 5 here\)"),
        ({"seed": [1, 3]}, "starting image"),
        ({"alpha_beta": 1.0}, "weights of content"),
        ({"content_layer": "conv2_1"}, r"content layers \(conv4_2 there, conv2_1 here\)"),
        ({"style": [torch.zeros(1, 3, 32, 32)]}, "style to match"),
        ({"tv_weight": 1.0}, r"total variation \(0\.0 there, 1\.0 here\)"),
        ({"seed": 1}, "starting image"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(run, tmp_path, changed, said):
    path = tmp_path / "run.safetensors"
    run(path, steps=4)
    before = path.read_bytes()
    with pytest.raises(SettingError, match=f"run.safetensors is of another run.*{said}.*Delete it"):
        run(path, **{"steps": 4} | changed)
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["network", "threads", "stylelab"])
def test_what_else_decides_the_result(run, tiny_network, tmp_path, monkeypatch, what):
    path = tmp_path / "run.safetensors"
    run(path, steps=2)
    if what == "stylelab":
        monkeypatch.setattr(fingerprint, "__version__", "9.9")
    elif what == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    else:
        original = checkpoint.fingerprint

        def other(objective, *rest):
            with torch.no_grad():
                objective.network.conv5_1.bias[0] += 1e-3  # deeper than what is matched in content
            return original(objective, *rest)

        monkeypatch.setattr(checkpoint, "fingerprint", other)
    with pytest.raises(SettingError, match=f"what differs:.*{what}"):
        run(path, steps=2)


@pytest.mark.parametrize("harm", ["cut", "bit", "empty", "text", "weights", "folder"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(run, tmp_path, monkeypatch, harm):
    path = tmp_path / "run.safetensors"
    stop_at(monkeypatch, 3)
    with pytest.raises(Killed):
        run(Checkpoint(path, seconds=0))
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    whole = bytes(data)
    if harm == "folder":
        path.unlink()
        path.mkdir()
    else:
        other = {"cut": whole[: len(whole) // 2], "bit": whole, "empty": b"", "text": b"no" * 99}
        weights = ROOT / "stylelab" / "assets" / "vgg19-mini.safetensors"
        path.write_bytes(weights.read_bytes() if harm == "weights" else other[harm])
    with pytest.raises(
        StylelabError, match="run.safetensors cannot be read as a checkpoint.*delet"
    ):
        run(path)
    assert path.exists()


def test_where_it_cannot_be_written_nothing_begins(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StylelabError, match=r"file/run cannot be written .*another place"):
        run(tmp_path / "file" / "run")


def test_a_full_disk_takes_neither_the_work_nor_the_last_checkpoint(
    run, tmp_path, monkeypatch, capsys
):
    expected, path, kept, writes = run(), tmp_path / "run.safetensors", [], []
    original = checkpoint.save_file

    def fill(arrays, temporary, metadata):
        writes.append(len(writes))
        if len(writes) > 6:
            Path(temporary).write_bytes(b"half")
            raise OSError(28, "No space left on device", str(temporary))
        original(arrays, temporary, metadata)
        kept[:] = [Path(temporary).read_bytes()]

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", fill)
        assert_same(run(Checkpoint(path, seconds=0)), expected)
    said = capsys.readouterr().err
    assert said.count("run.safetensors cannot be written (No space left on device)") == 1
    assert "the work goes on, and the last checkpoint is as it was" in said
    assert path.read_bytes() == kept[0] and [path] == list(tmp_path.iterdir())
    assert_same(run(path), expected)


@pytest.mark.skipif(os.name == "nt", reason="has no such limit")
def test_a_file_system_that_refuses(run, tmp_path, capsys):
    import resource

    path, limits = tmp_path / "run.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StylelabError, match=r"run.safetensors cannot be written \(.*too large"):
            run(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_files_half_written_when_a_process_was_killed_are_swept_away(run, tmp_path):
    path = tmp_path / "run.safetensors"
    with atomic(path) as temporary:
        left = temporary
        temporary.write_bytes(b"whole")
    path.unlink()
    left.write_bytes(b"half")
    others = [tmp_path / name for name in (".run-1.safetensors", "run-2.safetensors", ".other")]
    for other in others:
        other.touch()
    run(path, steps=1)
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_written_every_so_often(run, tmp_path, monkeypatch):
    written = []
    original = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "write", lambda self: (written.append(1), original(self)))
    run(Checkpoint(tmp_path / "seldom", seconds=1e6))
    assert len(written) == 2  # the start, and what it ended with
    run(Checkpoint(tmp_path / "often", seconds=0))
    assert len(written) == 2 + STEPS + 1


def test_an_objective_that_is_not_known(run, tmp_path, monkeypatch):
    class Square:
        def value_and_grad(self, image):
            return {"square": image.square().sum((1, 2, 3))}, 2 * image

    start = torch.ones(1, 3, 4, 4)
    monkeypatch.setenv(checkpoint.VARIABLE, str(tmp_path / "folder"))
    assert synthesis.optimise(Square(), start, 2, progress=False).steps == 2
    with pytest.raises(SettingError, match="needs a stylelab Objective to recognise, got Square"):
        synthesis.optimise(Square(), start, 2, checkpoint=tmp_path / "run", progress=False)


def test_a_folder_for_all_that_a_notebook_does(run, tmp_path, monkeypatch):
    expected, other = run(), run(seed=3)
    monkeypatch.setenv(checkpoint.VARIABLE, str(tmp_path / "folder"))
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    assert_same(run(), expected)
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        assert_same(run(), expected)  # it is not done again: nothing stops it
        with pytest.raises(Killed):
            run(seed=3)
    assert len(list((tmp_path / "folder").iterdir())) == 2
    assert_same(run(seed=3), other)
    assert jobs.CHECKPOINTS == checkpoint.VARIABLE
