"""What several tests use."""

import os

import pytest
import torch
from torch import nn

from stylelab.networks import imagenet_input
from stylelab.vgg import LAYERS, VGG


@pytest.fixture(autouse=True)
def seed():
    """The same numbers for a test wherever it runs: alone, in a process of several, or again."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_network():
    """Maker of a small random VGG down to conv5_1, in float64, with or without readouts."""

    def make(*, readouts: bool = False, padding: str = "reflect", dtype=torch.float64) -> VGG:
        maker, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
        network = VGG(dict.fromkeys(LAYERS[:13], 6), padding=padding, name="tiny")
        network.input.load_state_dict(imagenet_input())
        for layer in network.layers:
            conv = network.get_submodule(layer)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=maker)
            nn.init.zeros_(conv.bias)
            if readouts:
                network.units[layer] = 16
                matrix = torch.randn(7, 7, generator=other).triu()
                network.readouts[layer] = nn.Parameter(matrix, requires_grad=False)
        return network.to(dtype)

    return make


@pytest.fixture
def one_thread(monkeypatch):
    """In this process, and in those that it starts: sums are added up in one order everywhere."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_configure(config: pytest.Config) -> None:
    """Tests run in several processes at once (pytest-xdist): each, and its kernels, on one core."""
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
