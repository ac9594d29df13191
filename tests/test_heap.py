"""Memory kept from step to step: fewer pages asked for, the same numbers, nothing kept for ever."""

import contextlib
import subprocess
import sys

import pytest
import torch

from stylelab import networks, optimisation, synthesis
from stylelab.engine import heap

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is glibc's memory")

MEASURE = """
import resource
import torch
from stylelab import networks, synthesis
from stylelab.engine import heap

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024

image = torch.rand(1, 3, 448, 448)
network = networks.load("vgg19-mini")
weights = synthesis.equal_weights(["conv1_1", "conv2_1"])
objective = synthesis.transfer_objective(
    network, image, [image], [1.0], [weights], content_layer="conv2_2"
)

def faults():
    for _ in range(3):
        objective.value_and_grad(image)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        objective.value_and_grad(image)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
with heap.kept():
    within = faults()
    tensors = [torch.ones(2**22) for _ in range(20)]  # 16 MiB each
    del tensors
    held = resident()
print(before, within, held, resident())
"""


@linux
def test_what_is_freed_is_kept_and_later_given_back():
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True, timeout=100
    )
    before, within, held, left = map(int, done.stdout.split())
    assert within < before / 3
    assert held - left > 200  # of 320 MiB


def test_the_picture_is_the_same_bit_for_bit(monkeypatch):
    network = networks.load("vgg19-mini")
    pair = torch.rand(2, 1, 3, 64, 80)

    def run():
        return synthesis.transfer(network, *pair, steps=6, progress=False).images

    kept = run()
    monkeypatch.setattr(optimisation.heap, "kept", contextlib.nullcontext)
    assert torch.equal(run(), kept)


@pytest.mark.parametrize("library", [None, object()])
def test_elsewhere_nothing_is_changed(monkeypatch, library):
    """Neither where there is no such library, nor where it is another than glibc."""
    monkeypatch.setattr(heap.sys, "platform", "linux" if library else "win32")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: library)
    with heap.kept():
        pass


def test_an_error_passes_and_ends_it(monkeypatch):
    asked = []

    class Library:
        def mallopt(self, name, value):
            asked.append((name, value))

        def malloc_trim(self, pad):
            asked.append("trim")

    monkeypatch.setattr(heap.sys, "platform", "linux")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Library())
    with pytest.raises(KeyError), heap.kept():
        assert asked == list(heap.KEEPING.items())
        raise KeyError
    assert asked[2:] == [*heap.OTHERWISE.items(), "trim"]
