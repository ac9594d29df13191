"""Memory: the estimate against what a run takes, and what is said where it is short."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from stylelab import transfer
from stylelab.adam import adam
from stylelab.engine import memory
from stylelab.errors import StylelabError
from stylelab.lbfgs import lbfgs
from stylelab.objective import Objective

ROOT = Path(__file__).parents[1]
PAIR = torch.rand(2, 1, 3, 37, 51)
QUIET = {"steps": 1, "progress": False, "hooks": [memory.warn_if_short]}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts as Linux does")

MEASURE = """
import sys
import torch
from benchmarks import contenders
from stylelab import networks
from stylelab.engine import heap, memory, winograd
from stylelab.optimisation import OPTIMISERS
from stylelab.vgg import VGG, VGG19_WIDTHS

def told(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))

name, size, optimiser = sys.argv[1], int(sys.argv[2]), OPTIMISERS[sys.argv[3]]
if name == "half as wide":
    network = VGG({layer: width // 2 for layer, width in VGG19_WIDTHS.items()})
    network.to(memory_format=torch.channels_last).convolution = winograd.Convolution()
else:
    network = networks.load(name)
content, style = contenders.pair(size, torch.device("cpu"))
tiny = content[..., :64, :64].contiguous()
contenders.objective(network, tiny, tiny).value_and_grad(tiny)  # what is kept for ever
with heap.freed_memory_kept():
    pass  # at its end, what was freed is given back
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forget the peak so far
before = told("VmRSS")
if sys.argv[3] == "lbfgs":
    contender = contenders.with_full_history("stylelab", network, content, style)
else:
    objective = contenders.objective(network, content, style)
    contender = contenders.Stylelab(objective.value_and_grad, content)
    contender.states = optimiser(objective.value_and_grad, content)
    contender.step()
with contenders.at_work(contender):
    contender.step()
taken = told("VmHWM") - before
layers = contenders.objective(network, tiny, tiny).layers
print(taken / memory.needed(network, layers, content.shape, "cpu", optimiser))
"""


@linux
@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize(("name", "most"), [("half as wide", 1.35), ("vgg19-mini", 1.25)])
def test_the_estimate_is_what_a_run_takes(name, most, optimiser):
    """With a full history, against the peak of a process at 512 px."""
    command = [sys.executable, "-c", MEASURE, name, "512", optimiser]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=100)
    assert 0.8 < json.loads(done.stdout) < most


def test_adam_needs_the_memory_of_images_and_not_of_a_history(tiny_network):
    """The vectors' difference alone: 40 images, of 3 floats for each pixel."""
    network, layers, shape = tiny_network(), ["conv1_1"], (2, 3, 30, 50)
    asked = (network, layers, shape, "cpu")
    saved = memory.needed(*asked) - memory.needed(*asked, partial(adam, learning_rate=1.0))
    assert saved == pytest.approx(40 * 2 * 3 * 4 * 30 * 50)
    assert memory.needed(*asked, print) == memory.needed(*asked, lbfgs) == memory.needed(*asked)
    files = (network, layers, (60, 40), [(60, 40)], None, "cpu")
    assert memory.needed_for_files(*files, adam)[0] < memory.needed_for_files(*files)[0]
    guided = {"guided": ["conv1_1"]}
    both = memory.needed(*asked, **guided) - memory.needed(*asked, adam, **guided)
    assert both == pytest.approx(saved)


def test_an_estimate_for_files_counts_the_start(tiny_network):
    """Its image at the content's size, 3 floats for each pixel; and loading it, if it is large."""
    files = (tiny_network(), ["conv1_1"], (60, 40), [(60, 40)], 30)
    plain, _ = memory.needed_for_files(*files)
    assert memory.needed_for_files(*files, starts=[(60, 40)])[0] - plain == 12 * 30 * 20
    assert memory.needed_for_files(*files, starts=[(6000, 4000)])[0] > 6000 * 4000 * 12


@linux
def test_an_estimate_for_files_covers_the_largest_moment(tiny_network):
    network, layers, sides = tiny_network(), ["conv1_1"], (60, 40)
    run = memory.needed(network, layers, (1, 3, 40, 60))
    for style in ((60, 40), (6000, 4000)):  # kept at its size, or resized, but loaded in any case
        need, found = memory.needed_for_files(network, layers, sides, [style], 60)
        assert found == sides and need > run
        assert need > 6000 * 4000 * 12 if style != sides else need < 1.1 * run
    assert memory.needed_for_files(network, layers, (400, 100), [sides], 40)[1] == (40, 10)
    need, found = memory.needed_for_files(network, layers, (400, 100), [sides], None)
    assert found == (400, 100) and need > memory.needed(network, layers, (1, 3, 100, 400))


def test_the_estimate_counts_what_each_guide_keeps(tiny_network):
    """6 maps of the image's size at conv1_1, and 6 of a sixteenth at conv3_1, of 4 bytes."""
    network, shape = tiny_network(), (1, 3, 40, 60)
    plain = memory.needed(network, ["conv3_1"], shape)
    found = memory.needed(network, ["conv3_1"], shape, guided=["conv1_1", "conv3_1", "conv3_1"])
    assert found - plain == pytest.approx(4 * 40 * 60 * (6 + 2 * 6 / 16))


@linux
def test_what_is_free_heeds_the_limits_of_a_container_and_of_the_process(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("70000000\n")
    (tmp_path / "memory.current").write_text("20000000\n")
    monkeypatch.setattr(memory, "CGROUP", str(tmp_path))
    assert memory.free("cpu") == 50e6
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free("cpu") > 50e6
    script = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**37, 2**37));"
    script += "from stylelab.engine import memory; print(memory.free('cpu') < 2**37)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    assert done.stdout == b"True\n"


def test_a_run_that_may_not_fit_is_said_so_before_it_starts(tiny_network, monkeypatch, capsys):
    network, shape = tiny_network(), PAIR[0].shape
    layers = ["conv4_2", *(f"conv{group}_1" for group in range(1, 6))]
    need = memory.needed(network, layers, shape, targets=["conv4_2"])
    monkeypatch.setattr(memory, "free", lambda device: 0.25 * need)
    assert not transfer(network, *PAIR, **QUIET).interrupted  # it begins all the same
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "51 x 37 pixels" in said
    assert "about 25 pixels" in said  # half of 51
    less = memory.needed(network, layers, shape, "cpu", adam, targets=["conv4_2"])
    for enough, optimiser in ((need, "lbfgs"), (less, "adam")):
        monkeypatch.setattr(memory, "free", lambda device, enough=enough: enough)
        transfer(network, *PAIR, optimiser=optimiser, **QUIET)
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        MemoryError(),
        RuntimeError("another fault"),
    ],
)
def test_running_out_of_memory_names_the_size_that_fits(tiny_network, monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(Objective, "value_and_grad", fail)
    other = str(error) == "another fault"
    with pytest.raises(RuntimeError if other else StylelabError) as caught:
        transfer(tiny_network(), *PAIR, **QUIET)
    assert other or "largest size that fits" in str(caught.value)
