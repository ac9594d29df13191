"""No step asks a device for a value: the host would wait, and a GPU would idle."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from stylelab import Transfer, load
from stylelab import adam as adam_module
from stylelab import lbfgs as lbfgs_module
from stylelab.parametrisation import FREQUENCIES
from stylelab.synthesis import transfer_objective, transfer_start

WAITING = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select")


class Watch(TorchDispatchMode):
    """Notes every operation that waits for its values, or takes tensors to another device.

    Also those that make a tensor of numbers, which then goes to the device that it is for.
    """

    def __init__(self):
        super().__init__()
        self.seen, self.made = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        tensors = [t for t in _pytree.tree_leaves((args, kwargs, found)) if torch.is_tensor(t)]
        by_mask = "index" in str(function) and any(t.dtype == torch.bool for t in tensors)
        across = len({t.device.type for t in tensors}) > 1
        if across or by_mask or any(name in str(function) for name in WAITING):
            self.seen.append(str(function))
        if "lift_fresh" in str(function):
            self.made.append(str(function))
        return found


@pytest.mark.parametrize("module", [lbfgs_module, adam_module], ids=["lbfgs", "adam"])
def test_a_step_of_an_optimiser_on_a_gpu_neither_waits_nor_copies(module, monkeypatch):
    """On tensors of a pretended GPU, which have no values: to ask for one raises."""
    monkeypatch.setattr(module, "check_start", lambda loss, gradient: None)  # once a run
    optimiser = getattr(module, module.__name__.rpartition(".")[2])
    with FakeTensorMode():
        start = torch.empty(2, 3, 8, 8, device="cuda")
        states = optimiser(lambda x: ({"a": x.square().sum((1, 2, 3))}, 2 * x), start)
        next(states)
        with Watch() as watch:
            assert next(states).z.device.type == next(states).z.device.type == "cuda"
    assert not watch.seen


def test_the_watch_notices():
    flags = torch.tensor([True, False])
    with Watch() as watch:
        assert float(flags.sum()) == 1
        assert len(flags[flags]) == 1
        torch.tensor(1.0)
    assert watch.seen[0].startswith("aten._local_scalar_dense")
    assert watch.seen[1].startswith("aten.index") and len(watch.seen) == 2
    assert len(watch.made) == 1


def test_an_evaluation_and_the_way_to_the_image_ask_for_no_value():
    network, images = load("vgg19-mini"), torch.rand(2, 1, 3, 32, 32)
    transfers = [Transfer(images[0], images[1], alpha_beta=r, tv_weight=1.0) for r in (1.0, 2.0)]
    objective, start = transfer_objective(network, transfers), transfer_start(network, transfers)
    for _ in range(2):  # the second time, what is kept from the first is there
        with Watch() as watch:
            image = FREQUENCIES.to_image(FREQUENCIES.from_image(start))
            FREQUENCIES.pull_back(start, objective.value_and_grad(image)[1])
        assert not watch.seen
    assert not watch.made
