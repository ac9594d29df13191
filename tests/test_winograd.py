"""Winograd's convolution: against the direct sum, forwards and backwards, and where it is used."""

import pytest
import torch
from torch.nn import functional as F

from stylelab.engine import winograd
from stylelab.vgg import LAYERS, VGG


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 3, 3), (2, 8, 8), (1, 13, 9), (3, 5, 34)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_it_is_a_convolution_and_so_is_its_gradient(padding, size, memory):
    """In float64 but for rounding, on sides that tiles of 4 do and do not divide."""
    maker = torch.Generator().manual_seed(0)
    count, height, width = size
    image = torch.randn(count, 5, height, width, generator=maker, dtype=torch.float64)
    weight = torch.randn(7, 5, 3, 3, generator=maker, dtype=torch.float64)
    bias = torch.randn(7, generator=maker, dtype=torch.float64)
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
    maker = torch.Generator().manual_seed(0)
    x = torch.rand(1, 256, 24, 24, generator=maker)
    weight = torch.randn(256, 256, 3, 3, generator=maker) / 48
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    found = winograd.conv2d(x, winograd.transform_filters(weight), torch.zeros(256), 1)
    assert relative(found, exact) < 2e-5


def test_strips_do_not_show(monkeypatch):
    maker = torch.Generator().manual_seed(0)
    x, weight = torch.rand(2, 4, 30, 10, generator=maker), torch.rand(4, 4, 3, 3, generator=maker)
    filters, bias = winograd.transform_filters(weight), torch.zeros(4)
    whole = winograd.conv2d(x, filters, bias, 1)
    monkeypatch.setattr(winograd, "STRIP", 1)
    torch.testing.assert_close(winograd.conv2d(x, filters, bias, 1), whole)


@pytest.fixture
def wide():
    """A VGG whose group 2 is wide enough, with random weights."""
    maker = torch.Generator().manual_seed(0)
    network = VGG(dict(zip(LAYERS[:4], (8, 8, 376, 8), strict=True)), name="wide")
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=maker) / parameter[0].numel() ** 0.5
    return network


def test_the_network_is_the_same_with_it_and_without(wide, monkeypatch):
    image = torch.rand(2, 3, 20, 28, generator=torch.Generator().manual_seed(1))
    calls, convolve = [], winograd.conv2d
    monkeypatch.setattr(winograd, "conv2d", lambda *a: calls.append(a[0].shape) or convolve(*a))
    fast = wide(image, LAYERS[:4])
    assert calls == [(2, 8, 10, 14), (2, 376, 10, 14)]
    monkeypatch.setattr(winograd, "MIN_MAPS", 10**9)
    for layer, exact in wide(image, LAYERS[:4]).items():
        assert relative(fast[layer], exact) < 1e-5, layer


@pytest.mark.parametrize("size", [(16, 16), (20, 28), (18, 30)])
def test_so_is_the_gradient_through_the_network(wide, monkeypatch, size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    gradients = []
    for least in (winograd.MIN_MAPS, 10**9):
        monkeypatch.setattr(winograd, "MIN_MAPS", least)
        x = image.clone().requires_grad_()
        loss = sum(features.square().mean() for features in wide(x, LAYERS[:4]).values())
        gradients += torch.autograd.grad(loss, x)
    assert relative(*gradients) < 1e-4


def test_filters_follow_the_weights(wide):
    image = torch.rand(1, 3, 12, 12)
    before = wide(image, ["conv2_1"])["conv2_1"]
    with torch.no_grad():
        wide.get_submodule("conv2_1").weight.mul_(2)
        wide.get_submodule("conv2_1").bias.mul_(2)
    torch.testing.assert_close(wide(image, ["conv2_1"])["conv2_1"], 2 * before)


def test_weights_that_learn_and_double_precision_are_left_to_torch(wide):
    weight = wide.get_submodule("conv2_1").weight
    x = torch.rand(1, 8, 4, 4)
    assert winograd.suits(x, weight)
    assert not winograd.suits(x.double(), weight)
    assert not winograd.suits(x, weight[:10])
    weight.requires_grad_()
    assert not winograd.suits(x, weight)
