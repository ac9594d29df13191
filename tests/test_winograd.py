"""Winograd's convolution: against the direct sum, forwards and backwards, and where it is used."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stylelab.engine import winograd
from stylelab.vgg import LAYERS, VGG


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float(((found - exact).abs().max() / exact.abs().max()).detach())


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 5, 3, 3), (2, 5, 8, 8), (1, 5, 13, 9), (3, 5, 5, 34)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("strip", [winograd.STRIP, 1])
def test_it_is_a_convolution_and_so_is_its_gradient(monkeypatch, padding, size, memory, strip):
    """In float64 but for rounding, on sides that tiles of 4 do and do not divide."""
    monkeypatch.setattr(winograd, "STRIP", strip)
    image = torch.randn(size, dtype=torch.float64)
    weight, bias = torch.randn(7, 5, 3, 3).double(), torch.randn(7).double()
    results = []
    for fast in (False, True):
        x = image.contiguous(memory_format=memory).requires_grad_()
        if fast:
            y = winograd.conv2d(x, winograd.transform_filters(weight), bias, padding)
        else:
            y = F.conv2d(x, weight, bias, padding=padding)
        probe = torch.arange(y.numel(), dtype=y.dtype).view(y.shape).sin()
        results.append((y, *torch.autograd.grad((y * probe).sum(), x)))
    for exact, found in zip(*results, strict=True):
        torch.testing.assert_close(found, exact, atol=1e-10, rtol=1e-10)


def test_in_single_precision_it_errs_little_more_than_the_direct_sum():
    x, weight = torch.rand(1, 256, 24, 24), torch.randn(256, 256, 3, 3) / 48
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    found = winograd.conv2d(x, winograd.transform_filters(weight), torch.zeros(256), 1)
    assert relative(found, exact) < 2e-5


@pytest.fixture
def wide():
    """A VGG whose group 2 is wide enough, with random weights."""
    network = VGG(dict(zip(LAYERS[:4], (8, 8, 376, 8), strict=True)), name="wide")
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape) / parameter[0].numel() ** 0.5
    network.convolution = winograd.Convolution()
    return network


@pytest.mark.parametrize("size", [(16, 16), (20, 28), (18, 30)])
def test_a_network_and_its_gradient_are_the_same_with_it_and_without(wide, size):
    image, results = torch.rand(2, 3, *size), []
    for convolution in (wide.convolution, F.conv2d):
        wide.convolution = convolution
        x = image.clone().requires_grad_()
        found = wide(x, LAYERS[:4])
        loss = sum(features.square().mean() for features in found.values())
        results.append((*found.values(), *torch.autograd.grad(loss, x)))
    for fast, exact in zip(*results, strict=True):
        assert relative(fast, exact) < 1e-4


@pytest.mark.parametrize(
    ("changed", "uses"),
    [(None, 2), ("narrow", 0), ("double", 0), ("learning", 1), ("frozen again", 2)],
)
def test_it_is_used_for_wide_frozen_layers_in_single_precision(wide, monkeypatch, changed, uses):
    calls, convolve = [], winograd.conv2d
    monkeypatch.setattr(winograd, "conv2d", lambda *a: calls.append(a[0].shape) or convolve(*a))
    if changed == "narrow":
        wide.conv2_1.weight.data = wide.conv2_1.weight[:8].clone()
        wide.conv2_1.bias.data = wide.conv2_1.bias[:8].clone()
        wide.conv2_2.weight.data = wide.conv2_2.weight[:, :8].clone()
    elif changed == "double":
        wide.double()
    elif changed:
        wide.conv2_1.weight.requires_grad_(changed == "learning")
    wide(torch.rand(2, 3, 20, 28, dtype=wide.dtype), LAYERS[:4])
    assert calls == [(2, 8, 10, 14), (2, 376, 10, 14)][2 - uses :]


def test_filters_follow_the_weights_and_copies_have_their_own(wide):
    image = torch.rand(1, 3, 12, 12)

    def found(network):
        return network(image, ["conv2_1"])["conv2_1"]

    before, copied = found(wide), copy.deepcopy(wide)
    for change in (
        lambda conv: conv.weight.mul_(2),
        lambda conv: conv.load_state_dict({"weight": conv.weight * 2, "bias": conv.bias}),
        lambda conv: setattr(conv, "weight", nn.Parameter(conv.weight * 2, requires_grad=False)),
    ):
        with torch.no_grad():
            change(wide.conv2_1)
            wide.conv2_1.bias.mul_(2)
        torch.testing.assert_close(found(wide), before.mul_(2))
    assert relative(found(copied), before / 8) < 1e-6
    with torch.no_grad():
        copied.conv2_1.weight.zero_()
    assert found(copied).std((2, 3)).max() == 0 and relative(found(wide), before) < 1e-6


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_other_layers_do_not_keep_their_input_and_give_the_same_bits(padding, memory):
    weight, bias = torch.randn(7, 5, 3, 3).to(memory_format=memory), torch.randn(7)
    image, results, kept = torch.randn(2, 5, 33, 21), [], []
    for convolution in (F.conv2d, winograd.Convolution()):
        x = image.contiguous(memory_format=memory).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, id_):
            y = convolution(x, weight, bias, padding=padding)
        results.append((y, *torch.autograd.grad(y.square().sum(), x)))
    assert all(map(torch.equal, *results))
    assert kept.count(image.shape) == 1  # by F.conv2d


def id_(tensor):
    return tensor
