"""Memory kept from step to step: fewer pages asked for, the same numbers, nothing kept for ever."""

import subprocess
import sys

import pytest
import torch

from stylelab import transfer
from stylelab.engine import heap

MEASURE = """
import resource
import torch
from stylelab.engine.heap import freed_memory_kept

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024

def work():  # in 20 tensors of 16 MiB
    tensors = [torch.ones(2**22) for _ in range(20)]

def faults():
    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
with freed_memory_kept():
    within = faults()
    held = resident()
print(before, within, held, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is glibc's memory")
def test_what_is_freed_is_kept_and_later_given_back():
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True, timeout=100
    )
    before, within, held, left = map(int, done.stdout.split())
    assert within < before / 3
    assert held - left > 200  # of 320 MiB


def test_the_picture_is_the_same_bit_for_bit(tiny_network):
    network, pair = tiny_network(dtype=torch.float32), torch.rand(2, 1, 3, 64, 80)
    plain, kept = (
        transfer(network, *pair, steps=6, progress=False, hooks=hooks).images
        for hooks in ([], [heap.keep_freed_memory])
    )
    assert torch.equal(plain, kept)


@pytest.mark.parametrize("library", [None, object()])
def test_elsewhere_nothing_is_changed(monkeypatch, library):
    """Neither where there is no such library, nor where it is another than glibc."""
    monkeypatch.setattr(sys, "platform", "linux" if library else "win32")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: library)
    with heap.freed_memory_kept():
        pass


def test_an_error_passes_and_ends_it(monkeypatch):
    asked = []

    class Library:
        mallopt = staticmethod(lambda name, value: asked.append(value))
        malloc_trim = staticmethod(lambda pad: asked.append("trimmed"))

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Library())
    with pytest.raises(KeyError), heap.freed_memory_kept():
        raise KeyError
    kept, normal = asked[:2], asked[2:4]
    assert asked[4:] == ["trimmed"] and not set(kept) & set(normal)
