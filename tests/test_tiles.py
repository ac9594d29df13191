"""Tiles: the same features, losses and gradient as of the whole image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylelab.controls.colours import views
from stylelab.engine.tiled import TiledObjective
from stylelab.engine.tiles import in_tiles
from stylelab.objective import (
    ContentTerm,
    Objective,
    OutOfRange,
    StyleTerm,
    TotalVariation,
    content_representation,
    style_representation,
)
from stylelab.vgg import LAYERS

DEEP = LAYERS[:13]


def images(count, height, width, seed=0):
    maker = torch.manual_seed(seed)
    return 1.4 * torch.rand(count, 3, height, width, generator=maker, dtype=torch.float64) - 0.2


def objective_of(network, x, layers, *, guided=False, view=None, tv=False):
    """Content at the deepest of `layers` and style at all, for as many images as `x` has."""
    layers, count = network.check_layers(layers), len(x)
    weights = torch.arange(1.0, count + 1, dtype=x.dtype)
    other = images(count, *x.shape[2:], seed=100).to(x)
    content = content_representation(network, other, layers[-1:])[layers[-1]]
    terms = [ContentTerm(layers[-1], content, weights)]
    for layer, gram in style_representation(
        network, other.mT.contiguous().square(), layers
    ).items():
        shape = content_representation(network, other, [layer])[layer].shape[2:]
        guide = torch.rand(count, *shape, dtype=x.dtype) if guided else None
        terms.append(StyleTerm(layer, gram, 5 * weights, guide))
    terms.append(OutOfRange(3 * weights))
    if tv:
        terms.append(TotalVariation(2 * weights))
    return Objective(network, terms, view)


def assert_equal(found, expected, rtol):
    """Losses to `rtol`; gradients to it of the largest value in the image."""
    (terms, gradient), (known, wanted) = found, expected
    assert list(terms) == list(known)
    for name in known:
        torch.testing.assert_close(terms[name], known[name], rtol=rtol, atol=0, msg=name)
    assert gradient.dtype == wanted.dtype
    assert (gradient - wanted).abs().max() <= rtol * wanted.abs().max()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_losses_and_gradient_in_tiles_are_those_of_the_whole(tiny_network, data):
    draw = data.draw
    network = tiny_network(
        readouts=draw(st.booleans()), padding=draw(st.sampled_from(["reflect", "zeros"]))
    )
    network.pooling = draw(st.sampled_from(["avg", "max"]))
    layers = draw(st.sets(st.sampled_from(DEEP), min_size=1, max_size=3))
    least = network.min_size(layers)
    height, width = (draw(st.integers(least, 200)) for _ in "hw")
    x = images(1, height, width, seed=draw(st.integers(0, 9)))
    objective = objective_of(network, x, layers, guided=draw(st.booleans()))
    side = draw(st.integers(16, 120))
    found = TiledObjective(objective, side).value_and_grad(x)
    assert_equal(found, objective.value_and_grad(x), 1e-10)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_representations_in_tiles_are_those_of_the_whole(tiny_network, data):
    draw = data.draw
    network = tiny_network(readouts=draw(st.booleans()))
    layers = network.check_layers(draw(st.sets(st.sampled_from(DEEP), min_size=1, max_size=3)))
    sides = [draw(st.integers(network.min_size(layers), 200)) for _ in "hw"]
    x, looking = images(2, *sides), draw(st.integers(8, 90))
    plain = content_representation(network, x, layers)
    guides = {layer: torch.rand(1, *maps.shape[2:]).double() for layer, maps in plain.items()}
    grams = style_representation(network, x, layers, guides)
    network.pieces = in_tiles
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylelab.engine.tiles.LOOKING", looking)
        in_pieces = content_representation(network, x, layers)
        torch.testing.assert_close(in_pieces, plain, rtol=1e-10, atol=1e-12)
        guided = style_representation(network, x, layers, guides)
    torch.testing.assert_close(guided, grams, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tv", [False, True])
@pytest.mark.parametrize("where", [[], ["cpu", "cpu"], ["cpu"] * 3])
def test_a_batch_with_a_view_on_several_devices(tiny_network, where, tv):
    """Images of other depths, guides of their own, luminance alone for one of them."""
    network, x = tiny_network(readouts=True), images(3, 75, 91)
    view = views(["style", "luminance", "style"], x)
    objective = objective_of(network, x, DEEP[::4], guided=True, view=view, tv=tv)
    objective.terms[0].weight[1] = 0
    objective.terms[-2 - tv].weight[1] = 0  # the deepest style layer
    objective = Objective(network, objective.terms, view)
    assert len(objective.groups) == 2
    tiled = TiledObjective(objective, 32, [torch.device(each) for each in where])
    assert_equal(tiled.value_and_grad(x), objective.value_and_grad(x), 1e-10)


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_in_single_precision(tiny_network, padding):
    network, x = tiny_network(padding=padding), images(1, 203, 190)
    exact = objective_of(network, x, DEEP[::4]).value_and_grad(x)
    network, x = tiny_network(padding=padding, dtype=torch.float32), x.float()
    objective = objective_of(network, x, DEEP[::4])
    found, whole = TiledObjective(objective, 64).value_and_grad(x), objective.value_and_grad(x)
    assert_equal(found, whole, 1e-5)
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(
        found[1].double(), exact[1], rtol=0, atol=1e-5 * exact[1].abs().max()
    )
