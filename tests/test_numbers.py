"""Extreme settings and odd images: finite results, or a clear error."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from stylelab import gallery, networks, synthesis
from stylelab.cli.main import main
from stylelab.engine import memory
from stylelab.errors import SettingError
from stylelab.images import load_image
from stylelab.objective import Objective
from stylelab.vgg import STYLE_LAYERS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def images():
    maker = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 3, 37, 51, generator=maker)


def assert_fine(result, shape=(1, 3, 37, 51)):
    assert result.images.shape == shape and result.images.isfinite().all()
    assert result.losses.isfinite().all() and not result.stuck
    assert (result.losses[-1] <= result.losses[0]).all()


@pytest.mark.parametrize("alpha_beta", [0.0, 1e-38, 1e-12, 1e-3, 1.0, 1e6, 1e12, 1e30])
@pytest.mark.parametrize("init", ["content", "noise"])
def test_extreme_ratios(images, alpha_beta, init):
    content, style = images
    network = networks.load("vgg19-mini")
    about = {"alpha_beta": alpha_beta, "init": init, "steps": 8, "progress": False}
    assert_fine(synthesis.transfer(network, content, style, **about))


@pytest.mark.parametrize("alpha_beta", [-1.0, float("inf"), float("nan"), 1e39])
def test_impossible_ratios(images, alpha_beta):
    with pytest.raises(SettingError, match="alpha_beta must be a number"):
        synthesis.transfer(
            networks.load("vgg19-mini"),
            *images,
            alpha_beta=alpha_beta,
            init="noise",
            steps=2,
            progress=False,
        )


@pytest.mark.parametrize("layer", STYLE_LAYERS)
def test_a_single_style_layer(images, layer):
    network = networks.load("vgg19-mini")
    assert_fine(synthesis.transfer(network, *images, style_layers=[layer], steps=6, progress=False))
    assert_fine(synthesis.reconstruct_style(network, images[1], [[layer]], steps=6, progress=False))


@pytest.mark.parametrize("name", ["vgg19-mini", "random"])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("which", ["content", "style", "both"])
def test_images_of_one_colour(images, name, value, which):
    content, style = images.clone()
    if which != "style":
        content.fill_(value)
    if which != "content":
        style.fill_(value)
    assert_fine(synthesis.transfer(networks.load(name), content, style, steps=4, progress=False))


def test_content_equal_to_style(images):
    network = networks.load("vgg19-mini")
    result = synthesis.transfer(network, images[0], images[0], steps=6, progress=False)
    assert_fine(result)
    assert (result.images - images[0]).abs().max() < 1e-3  # it is at the minimum


@pytest.mark.parametrize("sides", [(32, 32), (33, 47), (37, 129), (63, 65), (200, 32)])
def test_sizes_not_divisible_by_sixteen(sides):
    content, style = torch.rand(1, 3, *sides), torch.rand(1, 3, *sides[::-1])
    network = networks.load("vgg19-mini")
    result = synthesis.transfer(network, content, style, steps=3, progress=False)
    assert_fine(result, (1, 3, *sides))


@pytest.mark.parametrize(("name", "least"), [("vgg19-mini", 32), ("random", 16)])
def test_images_below_the_least_size(name, least):
    network, fits = networks.load(name), torch.rand(1, 3, least, least)
    for sides in ((least - 1, 64), (64, least - 1), (1, 1), (1, 10_000)):
        small = torch.rand(1, 3, *sides)
        for pair in ((small, fits), (fits, small)):
            with pytest.raises(SettingError, match=f"at least {least} pixels on each side"):
                synthesis.transfer(network, *pair, steps=1, progress=False)
    assert_fine(
        synthesis.transfer(network, fits, fits, init="noise", steps=1, progress=False), fits.shape
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("alpha_beta", [1e-3, 1e4])
def test_other_precisions_are_finite_or_refused(images, dtype, alpha_beta):
    network = networks.load("random").to(dtype)
    try:
        result = synthesis.transfer(
            network, *images, alpha_beta=alpha_beta, init="noise", steps=4, progress=False
        )
    except SettingError as error:
        assert "must be finite" in str(error) and dtype == torch.float16
    else:
        assert result.images.isfinite().all() and result.images.dtype == torch.float32
        assert result.losses.float().isfinite().all()


def poison(monkeypatch, evaluations):
    """The evaluations of all objectives whose numbers are in `evaluations` give NaN."""
    original, done = Objective.value_and_grad, {"count": 0}

    def evaluate(objective, image):
        terms, gradient = original(objective, image)
        done["count"] += 1
        if done["count"] - 1 in evaluations:
            terms = {name: value * torch.nan for name, value in terms.items()}
        return terms, gradient

    monkeypatch.setattr(Objective, "value_and_grad", evaluate)


def test_steps_to_nan_are_recovered_from(images, monkeypatch):
    network = networks.load("vgg19-mini")
    poison(monkeypatch, {3, 7, 8, 9, 20})
    result = synthesis.transfer(network, *images, steps=40, progress=False)
    assert_fine(result)
    falls = [after < before for before, after in pairwise(result.losses[:, 0].tolist())]
    assert falls[25:].count(True) > 10


def test_when_no_step_is_finite_any_more_the_best_image_is_saved(tmp_path, monkeypatch, capsys):
    poison(monkeypatch, range(6, 10_000))
    out = tmp_path / "out.png"
    asked = ["transfer", "pagoda", "swirling_night", "-o", str(out), "--size", "48"]
    assert main([*asked, "--steps", "500"]) == 1
    said = capsys.readouterr().err
    assert "no step led to a finite loss after step 40" in said and str(out) in said
    start = load_image(gallery.path("pagoda"), 48)
    assert (load_image(out) - start).abs().max() > 0.02  # of five steps, and no start


def test_a_run_that_may_not_fit_is_said_so_before_it_starts(images, monkeypatch, capsys):
    network = networks.load("vgg19-mini")
    monkeypatch.setattr(memory, "free", lambda device: 0.25e9)
    for needed in (1e9, 0.2e9):
        monkeypatch.setattr(memory, "needed", lambda *about, needed=needed: needed)
        synthesis.transfer(network, *images, steps=1, progress=False)
        said = capsys.readouterr().err
        assert ("may need 1.0 GB" in said and "about 25 pixels" in said) == (needed == 1e9)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_the_same_sentence(tmp_path, monkeypatch, capsys, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(Objective, "value_and_grad", fail)
    asked = ["transfer", "pagoda", "swirling_night", "--size", "64"]
    assert main([*asked, "-o", str(tmp_path / "out.png")]) == 1
    said = capsys.readouterr().err
    assert "the largest size that fits is about" in said.split("\n")[-2]
    assert "Traceback" not in said


def test_other_errors_stay_what_they_are(images, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a fault")

    monkeypatch.setattr(Objective, "value_and_grad", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        synthesis.transfer(networks.load("vgg19-mini"), *images, steps=1, progress=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
@pytest.mark.parametrize("name", ["random", "vgg19-mini"])
def test_the_estimate_is_what_a_run_takes(name):
    """At the default history, against the peak of a process, within a quarter."""
    script = f"""
import torch
from benchmarks import contenders
from stylelab.engine import memory

def told(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))

device = torch.device("cpu")
network, (content, style) = contenders.load({name!r}, device), contenders.pair(640, device)
tiny = content[..., :64, :64].contiguous()
contenders.objective(network, tiny, tiny).value_and_grad(tiny)  # what is kept for ever
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forget the peak so far
before = told("VmRSS")
contender = contenders.with_full_history("stylelab", network, content, style)
with contenders.at_work(contender):
    contender.step()
taken = told("VmHWM") - before
print(taken / memory.need(contenders.objective(network, content, style), content))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=100
    )
    assert 0.8 < json.loads(done.stdout) < 1.25


def test_with_other_threads_the_picture_is_nearly_the_same(images):
    """After 30 steps pixels differ by less than 0.005 on average, and losses by 10 %."""
    network, threads, results = networks.load("vgg19-mini"), torch.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            about = {"init": "noise", "steps": 30, "progress": False}
            results.append(synthesis.transfer(network, *images, **about))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        difference = (other.images - results[0].images).abs()
        assert difference.mean() < 5e-3
        torch.testing.assert_close(other.losses[-1], results[0].losses[-1], rtol=0.1, atol=0)
