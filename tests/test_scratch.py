"""Vectors in files: the same path as in memory, little memory, and what is wrong is named."""

import itertools
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from problems import NAN, STARTS, rosenbrock, value_and_grad

from stylelab.adam import adam
from stylelab.engine import memory, scratch
from stylelab.engine.scratch import Scratch
from stylelab.errors import SettingError, StylelabError
from stylelab.lbfgs import lbfgs
from stylelab.rows import Room

ROOT = Path(__file__).parents[1]
OPTIMISERS = [partial(lbfgs, history=6), adam, partial(adam, average=0.9)]


def bumpy(x):
    """A loss with many curvatures, which is not finite at a few of its evaluations."""
    scales = torch.logspace(0, 2, x.shape[1], dtype=x.dtype)
    return (scales * x**2 + 0.1 * x**4).sum(1) + 2 * (3 * x).cos().sum(1)


def states(optimiser, start, steps, **options):
    calls = itertools.count()

    def refused_now_and_then(x):
        factor = torch.ones(len(x), dtype=x.dtype)
        factor[0] = NAN if next(calls) in (5, 12, 13, 24) else 1.0
        return bumpy(x) * factor

    return list(
        itertools.islice(
            optimiser(value_and_grad(refused_now_and_then), start, **options), steps + 1
        )
    )


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=["lbfgs", "adam", "a mean of adam"])
def test_the_path_is_that_of_vectors_in_memory(tmp_path, optimiser, count):
    """Over 40 steps, with steps refused singly and twice in a row, in blocks that do not fit."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(count, 50, dtype=torch.float64, generator=generator)
    here = states(optimiser, start, 40)
    there = states(optimiser, start, 40, room=Scratch(tmp_path, block=16))
    assert any(state.refused[0] > 1 for state in here)
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.refused, b.refused)
        torch.testing.assert_close(a.z, b.z, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(a.best_z, b.best_z, atol=1e-10, rtol=1e-10)
    assert not any(tmp_path.iterdir())


def test_a_state_is_not_changed_by_later_steps_and_a_snapshot_is_gone_on_from(tmp_path):
    found, snapshots = [], []
    room = Scratch(tmp_path, block=1)
    for state in itertools.islice(
        lbfgs(value_and_grad(rosenbrock), STARTS, history=4, room=room), 21
    ):
        found.append(state)
        snapshots.append({name: tensor.clone() for name, tensor in state.snapshot().items()})
    for state in found:
        torch.testing.assert_close(rosenbrock(state.image), state.loss)
    again = lbfgs(value_and_grad(rosenbrock), STARTS, history=4, room=room, resume=snapshots[9])
    for a, b in zip(found[9:], again, strict=False):
        assert torch.equal(a.image, b.image)


def test_large_vectors_in_memory_are_worked_on_in_blocks(monkeypatch):
    start = torch.randn(1, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = [states(each, start, 30)[-1].best_z for each in OPTIMISERS]
    monkeypatch.setattr(Room, "block", 16)
    for optimiser, expected in zip(OPTIMISERS, whole, strict=True):
        found = states(optimiser, start, 30)[-1].best_z
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts as Linux does")
def test_vectors_in_files_take_little_memory(tmp_path):
    """40 pairs of 8 million numbers would take 2.6 GB."""
    script = """
import sys, torch
from functools import partial
from stylelab.engine.scratch import Scratch
from stylelab.lbfgs import lbfgs
def told(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))
def evaluate(x):
    gradient = torch.empty_like(x)
    for there, part in zip(gradient.split(2**18, 1), x.split(2**18, 1)):
        there.copy_(part + 0.1 * part**3)
    return {"a": (gradient[:, :9] ** 2).sum(1)}, gradient
start = torch.ones(1, 2**23)
before = told("VmRSS")
states = lbfgs(evaluate, start, history=40, room=Scratch(sys.argv[1], block=2**17))
for _ in range(4):
    next(states)
print((told("VmHWM") - before) / start.nbytes)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert float(done.stdout) < 8  # in place of 90


def test_a_disk_without_space_is_named_before_the_work(tmp_path, monkeypatch):
    room = Scratch(tmp_path)
    room.check_space(1)
    with pytest.raises(StylelabError, match=r"GB free, and the optimiser may need 1e?.* GB there"):
        room.check_space(1e18)

    def full(*arguments):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(scratch.os, "posix_fallocate", full)
    with pytest.raises(StylelabError, match="cannot be written .No space left"):
        next(lbfgs(value_and_grad(rosenbrock), STARTS, room=room))


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", "/proc/none", "a\0b"):
        with pytest.raises(StylelabError, match="cannot be written"):
            Scratch(folder)
    with pytest.raises(SettingError, match="for tensors on the cpu"):
        Scratch(tmp_path).like(torch.empty(1, 2, device="meta"))


def test_the_estimate_knows_what_is_in_files(tmp_path, tiny_network):
    asked = (tiny_network(), ["conv1_1"], (1, 3, 3000, 5000), "cpu")
    here, there = (
        memory.needed(*asked, each) for each in (lbfgs, partial(lbfgs, room=Scratch(tmp_path)))
    )
    assert there < here - 40 * 3 * 4 * 3000 * 5000
