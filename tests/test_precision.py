"""Convolutions are computed in the precision that was asked for."""

import pytest
import torch
from torch.nn import functional as F

from stylelab import gallery, load, transfer
from stylelab.engine import precision
from stylelab.engine.checkpoint import describe
from stylelab.errors import SettingError
from stylelab.optimisation import Run
from stylelab.synthesis import Transfer, transfer_objective, transfer_start

GRADIENT = torch.autograd.grad


def test_the_precision_of_a_gpu_is_set_for_each_convolution_and_its_gradient(monkeypatch):
    """No GPU is needed to see what cuDNN would have been told."""
    seen, real = [], (F.conv2d, precision.conv2d_input)

    def seeing(function):
        def called(*args, **kwargs):
            seen.append(torch.backends.cudnn.conv.fp32_precision)
            return function(*args, **kwargs)

        return called

    monkeypatch.setattr(precision.F, "conv2d", seeing(real[0]))
    monkeypatch.setattr(precision, "conv2d_input", seeing(real[1]))
    before = torch.backends.cudnn.conv.fp32_precision
    x, weight, bias = (torch.randn(*s) for s in ((2, 3, 6, 5), (4, 3, 3, 3), (4,)))
    for how in ("ieee", "tf32"):
        found = precision._InPrecision.apply(x.requires_grad_(), weight, bias, 1, how)
        GRADIENT(found.sum(), x)
        assert seen[-2:] == [how, how] and torch.backends.cudnn.conv.fp32_precision == before


@pytest.mark.parametrize("padding", [0, 1])
def test_it_is_the_convolution_and_its_gradient(padding):
    x, weight, bias = (
        torch.randn(*s, dtype=torch.float64) for s in ((2, 3, 6, 5), (4, 3, 3, 3), (4,))
    )
    apply = precision._InPrecision.apply
    ours, wanted = (
        apply(x.requires_grad_(), weight, bias, padding, "ieee"),
        F.conv2d(x, weight, bias, padding=padding),
    )
    assert torch.equal(ours, wanted)
    torch.testing.assert_close(GRADIENT(ours.square().sum(), x), GRADIENT(wanted.square().sum(), x))


def test_bfloat16_is_near_float32_and_says_what_it_is():
    kind = {"pooling": "avg"}  # rounding may choose another maximum, and change a gradient a lot
    exact, low = load("vgg19-mini", **kind), load("vgg19-mini", precision="bfloat16", **kind)
    assert precision.precision_of(exact) == "float32"
    assert precision.precision_of(low) == "bfloat16"
    content, style = (gallery.open(name, 64) for name in ("pagoda", "swirling_night"))
    one = [Transfer(content, style, alpha_beta=1.0, init="style")]
    losses, found = [], []
    for network in (exact, low):
        objective, start = transfer_objective(network, one), transfer_start(network, one)
        terms, gradient = objective.value_and_grad(start)
        losses.append(sum(terms.values()))
        found.append(gradient)
        assert describe(Run(objective, start, 1))["precision"] == precision.precision_of(network)
    difference = (found[0] - found[1]).norm() / found[0].norm()
    torch.testing.assert_close(*losses, atol=0, rtol=0.01)
    assert 1e-5 < difference < 0.1
    result = transfer(low, content, style, steps=3, progress=False)
    assert result.losses[-1] < result.losses[0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [("float16", "precision must be one of float32, tf32"), ("tf32", "tf32 is for NVIDIA's GPUs")],
)
def test_what_cannot_be_had_is_refused(asked, said):
    with pytest.raises(SettingError, match=said):
        load("vgg19-mini", precision=asked)
