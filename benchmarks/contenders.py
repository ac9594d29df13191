"""Both ways of doing a step, on the same images, with the same loss and a full history."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from benchmarks.textbook import HISTORY, Textbook, TextbookLoss
from stylelab import gallery, networks
from stylelab.description import Transfer
from stylelab.engine import heap
from stylelab.lbfgs import lbfgs
from stylelab.objective import Objective
from stylelab.synthesis import transfer_objective
from stylelab.vgg import VGG

ALPHA_BETA = 1e-2
NETWORKS = {"random": "VGG-19, random weights", "vgg19-mini": "vgg19-mini"}
NAMES = ("textbook", "stylelab")


def pair(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The photograph and the painting, `size` pixels on the longer side."""
    content, style = (gallery.open(name, size) for name in ("pagoda", "swirling_night"))
    return content.to(device), style.to(device)


def load(name: str, device: torch.device) -> VGG:
    """A network, with its own pooling."""
    return networks.load(name, device=device)


def objective(network: VGG, content: Tensor, style: Tensor) -> Objective:
    """What stylelab minimises in a transfer: the losses of the paper alone, as the others do."""
    return transfer_objective(network, [Transfer(content, style, ALPHA_BETA, range_weight=0.0)])


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Stylelab:
    """stylelab's optimiser at work on one image; `value_and_grad` may be exchanged between steps.

    The first `step` evaluates the start alone.
    """

    def __init__(self, value_and_grad: Callable, start: Tensor) -> None:
        self.value_and_grad = value_and_grad
        self.states = lbfgs(self._evaluate, start)

    def _evaluate(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        terms, gradient = self.value_and_grad(image)
        return {"total": sum(terms.values())}, gradient

    def step(self) -> None:
        """One evaluation of loss and gradient, and one update."""
        self.state = next(self.states)


@contextmanager
def at_work(contender: Textbook | Stylelab) -> Iterator[None]:
    """What holds while a contender's steps are timed: stylelab keeps the memory it frees.

    A step is done first, since after another contender's there is nothing to keep.
    """
    with heap.freed_memory_kept() if isinstance(contender, Stylelab) else nullcontext():
        contender.step()
        yield


def quadratic(around: Tensor) -> Callable[[Tensor], Tensor]:
    """A loss that costs nothing and that L-BFGS takes long to minimise, of curvatures 1 to 10^4.

    It stays above any loss of the method, so that the first step on another is not refused.
    """
    curvature = torch.logspace(0, 4, around.numel()).to(around).view_as(around)
    return lambda image: 1e3 + 0.5 * (curvature * (image - around).square()).sum()


def with_full_history(
    name: str, network: VGG, content: Tensor, style: Tensor
) -> Textbook | Stylelab:
    """A contender about to do a step as it does late in a run, near the content image.

    Its history is filled with steps on a `quadratic` of the same image.
    """
    cheap = quadratic(content)
    start = content + 0.01 * torch.sin(torch.arange(content.numel()).to(content)).view_as(content)
    if name == "textbook":
        contender = Textbook(cheap, start, per_call=1)
        for _ in range(HISTORY + 10):
            contender.step()
        if contender.stored < HISTORY:
            raise RuntimeError(f"the textbook's history holds {contender.stored} of {HISTORY}")
        contender.loss = TextbookLoss(network, content, style, ALPHA_BETA)
        return contender

    def cheap_value_and_grad(image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with torch.enable_grad():
            image = image.detach().requires_grad_()
            loss = cheap(image)
        return {"total": loss.detach()[None]}, torch.autograd.grad(loss, image)[0]

    contender = Stylelab(cheap_value_and_grad, start)
    for _ in range(30):  # the default history is 20
        contender.step()
    contender.value_and_grad = objective(network, content, style).value_and_grad
    return contender
