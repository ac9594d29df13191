"""Tiles: the same features, losses and gradient as of the whole image."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from stylelab import transfer
from stylelab.adam import adam
from stylelab.controls.colours import views
from stylelab.description import Transfer
from stylelab.engine import memory
from stylelab.engine.checkpoint import Checkpoint
from stylelab.engine.tiled import InTiles, TiledObjective
from stylelab.engine.tiles import in_tiles, margin
from stylelab.errors import SettingError, StylelabError
from stylelab.objective import (
    ContentTerm,
    Objective,
    OutOfRange,
    StyleTerm,
    TotalVariation,
    content_representation,
    style_representation,
)
from stylelab.optimisation import optimise
from stylelab.synthesis import transfer_objective
from stylelab.vgg import LAYERS, STYLE_LAYERS, resize

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


@settings(max_examples=30, deadline=None)
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


def counting(network):
    """The tiles that go through the network, as a list that grows."""
    calls, plain = [], network.convolution

    def convolution(x, weight, *rest, **more):
        if weight is network.conv1_1.weight:
            calls.append(x.shape)
        return plain(x, weight, *rest, **more)

    network.convolution = convolution
    return calls


@pytest.mark.parametrize(("spare", "kept"), [(0, 1), (0.9, 1), (2.1, 3), (100, 6)])
def test_tiles_that_are_kept_are_not_computed_again_and_change_no_bit(tiny_network, spare, kept):
    network, x = tiny_network(dtype=torch.float32), images(1, 75, 91).float()
    objective = objective_of(network, x, DEEP[::4])
    losses, gradient = TiledObjective(objective, 32).value_and_grad(x)
    each = memory.kept(network, DEEP[::4], (75, 91))
    calls = counting(network)
    found = TiledObjective(objective, 32, spare=spare * each).value_and_grad(x)
    assert len(calls) == 6 + 6 - kept
    assert torch.equal(found[1], gradient) and all(
        map(torch.equal, *map(dict.values, (found[0], losses)))
    )


def test_each_device_keeps_its_last_tile(tiny_network):
    network, x = tiny_network(), images(1, 75, 91)
    tiled = TiledObjective(objective_of(network, x, DEEP[::4]), 32, [torch.device("cpu")] * 2)
    calls = counting(network)
    tiled.value_and_grad(x)
    assert len(calls) == 6 + 6 - 2


def test_memory_that_is_named_keeps_tiles_and_a_side_alone_keeps_one(tiny_network, monkeypatch):
    """Eleven tiles are computed where one of six is kept; what is named may be smaller than one."""
    network = tiny_network(dtype=torch.float32)
    monkeypatch.setattr(memory, "free", lambda device: 1e12)
    results, counts, calls = [], [], counting(network)
    for named in (None, 1.0, 1e11):

        def begin(run, states):
            calls.clear()
            yield from states

        hooks = [begin, InTiles(32, named)]
        results.append(transfer(network, *pair(), steps=2, progress=False, hooks=hooks))
        counts.append(len(calls))
    assert counts[0] == counts[1] and counts[0] * 6 == counts[2] * 11 > 0
    assert torch.equal(results[0].images, results[1].images)
    assert torch.equal(results[0].images, results[2].images)


def pair(height=70, width=90):
    """A photograph and a painting, (1, 3, H, W), single precision."""
    return (images(1, height, width, seed).clamp(0, 1).float() for seed in (5, 6))


def one_transfer(network, hook, **how):
    how = {"steps": 3, "progress": False, "hooks": [*network.hooks, hook], **how}
    return transfer(network, *pair(), **how)


def test_a_transfer_in_tiles_is_that_of_the_whole_and_says_so(tiny_network, capsys):
    network = tiny_network(dtype=torch.float32)
    plain, hook = transfer(network, *pair(), steps=3, progress=False), InTiles(32)
    assert capsys.readouterr().err == ""
    tiled = one_transfer(network, hook)
    assert "90 x 70 pixels in 6 tiles of 32 pixels" in capsys.readouterr().err
    assert hook.used == 32
    torch.testing.assert_close(tiled.images, plain.images, atol=1e-3, rtol=0)
    torch.testing.assert_close(tiled.losses, plain.losses, rtol=1e-3, atol=0)
    again = one_transfer(network, InTiles(500))  # larger than the picture: nothing is in tiles
    assert torch.equal(again.images, plain.images) and capsys.readouterr().err == ""


def test_devices_share_out_the_tiles_of_a_transfer(tiny_network, capsys):
    network = tiny_network(dtype=torch.float32)
    hook = InTiles(32, devices=[torch.device("cpu")] * 2)
    shared = one_transfer(network, hook)
    assert "6 tiles of 32 pixels on 2 devices" in capsys.readouterr().err
    assert torch.equal(shared.images, one_transfer(network, InTiles(32)).images)


def test_every_device_has_a_tile(tiny_network, capsys):
    network = tiny_network(dtype=torch.float32)
    large = {"content": images(1, 40, 300).clamp(0, 1), "style": images(1, 40, 60).clamp(0, 1)}
    hook = InTiles(devices=[torch.device("cpu")] * 2)
    transfer(network, **large, steps=1, progress=False, hooks=[hook])
    assert "300 x 40 pixels in 3 tiles of 150 pixels on 2 devices" in capsys.readouterr().err


def test_tiles_are_chosen_by_the_memory(tiny_network, monkeypatch, capsys):
    """As few as fit; and what is said to be needed at once is what the estimate says."""
    network, layers = tiny_network(), ["conv1_1", "conv5_1"]
    shape, rest = (1, 3, 3000, 4000), ("cpu", adam, (), ("conv4_2",))
    whole = memory.needed(network, layers, shape, *rest)
    fixed = memory.needed(network, layers, shape, *rest, 0)  # but for a tile's margins
    for fits in (whole, whole - 1, (whole + fixed) / 2, (whole + 9 * fixed) / 10):
        side = memory.side_within(fits / memory.USED, network, layers, shape, *rest)
        assert (side is None) is (fits == whole)
        if side is not None:
            assert 128 <= side <= 4000 and side % 16 == 0
            assert memory.needed(network, layers, shape, *rest, side) <= fits
            assert memory.needed(network, layers, shape, *rest, side + 16) >= fits
    # Where nothing fits, tiles do not get so small that they save next to nothing.
    side, least = memory.side_within(0, network, layers, shape, *rest), memory.LEAST
    most = 1.1 * memory.needed(network, layers, shape, *rest, least)
    need = memory.needed(network, layers, shape, *rest, side)
    assert need <= most < memory.needed(network, layers, shape, *rest, side + 16)
    assert memory.side_within(0, network, layers, (1, 3, 75, 91), *rest) == memory.LEAST

    monkeypatch.setattr(memory, "free", lambda device: 0.0)
    network = tiny_network(dtype=torch.float32)
    large = {"content": images(1, 200, 300).clamp(0, 1), "style": images(1, 40, 60).clamp(0, 1)}
    transfer(network, **large, steps=1, progress=False, hooks=[memory.warn_if_short, InTiles()])
    said = capsys.readouterr().err
    assert "300 x 200 pixels in 2 tiles of 288 pixels, as at once they may need" in said
    assert "the largest size that fits" in said


def test_memory_that_runs_out_makes_tiles_smaller_and_loses_nothing(
    tiny_network, monkeypatch, capsys
):
    """At the second evaluation of the whole, and at the third, in tiles that are too large."""
    network, failed = tiny_network(dtype=torch.float32), []
    large = {"content": images(1, 260, 300).clamp(0, 1), "style": images(1, 40, 60).clamp(0, 1)}
    how = {"steps": 4, "progress": False}
    plain, hook = transfer(network, **large, **how), InTiles()

    def convolution(x, *rest, **more):
        if counting["steps"] >= 2 and max(x.shape[2:]) > 290:
            failed.append(x.shape)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return F.conv2d(x, *rest, **more)

    def count(run, states):
        for state in states:
            counting["steps"] = state.step
            yield state

    counting = {"steps": -10}
    network.convolution = convolution
    found = transfer(network, **large, **how, hooks=[count, hook])
    said = capsys.readouterr().err
    assert said.count("memory ran out; the work goes on in tiles of 150 pixels") == 1
    assert failed and hook.used == 150 and found.steps == 4 and not found.interrupted
    torch.testing.assert_close(found.losses, plain.losses, rtol=1e-3, atol=0)


def test_memory_that_no_tile_fits_is_an_error(tiny_network, capsys):
    network = tiny_network(dtype=torch.float32)

    def convolution(x, *rest, **more):
        if armed:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return F.conv2d(x, *rest, **more)

    def arm(run, states):
        armed.append(True)
        yield from states

    armed, network.convolution = [], convolution
    with pytest.raises(StylelabError, match="largest size that fits"):
        transfer(network, *pair(), progress=False, hooks=[arm, memory.warn_if_short, InTiles(64)])


def test_a_term_without_sums_works_untiled_and_is_named_in_tiles(tiny_network):
    class Darkness:
        name, layer, weight = "darkness", "conv2_1", torch.ones(1)

        def loss(self, values, images, network):
            return values.mean((1, 2, 3))

    network = tiny_network(dtype=torch.float32)
    objective = Objective(network, [Darkness()])
    start = images(1, 70, 90).float()
    how = {"steps": 1, "progress": False}
    plain = optimise(objective, start, **how)
    assert torch.equal(optimise(objective, start, **how, hooks=[InTiles()]).images, plain.images)
    with pytest.raises(SettingError, match="darkness has no `sums`"):
        optimise(objective, start, **how, hooks=[InTiles(32)])


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_a_run_in_tiles_resumes_from_a_checkpoint_bit_for_bit(tiny_network, tmp_path, optimiser):
    network, path = tiny_network(dtype=torch.float32), tmp_path / "run.safetensors"

    def stop(run, states):
        for state in states:
            yield state
            if state.step == 2:
                raise KeyboardInterrupt

    how = {"optimiser": optimiser, "steps": 5}
    whole = one_transfer(network, InTiles(32), **how)
    hooks = [Checkpoint(path, seconds=0), stop, InTiles(32)]
    assert one_transfer(network, stop, **how, hooks=hooks).interrupted
    resumed = one_transfer(network, stop, **how, hooks=[Checkpoint(path), InTiles(32)])
    assert resumed.steps == 5 and torch.equal(resumed.images, whole.images)
    assert torch.equal(resumed.losses, whole.losses)


def test_the_margin_of_conv5_1_is_70_pixels_on_a_grid_of_16(tiny_network):
    """By hand: 1 at a 16th, 4 at an 8th and at a quarter each, 2 at half and at full size each."""
    reach = 16 + 4 * 8 + 4 * 4 + 2 * 2 + 2
    assert margin(tiny_network(), ["conv5_1"]) == 16 * math.ceil(reach / 16) == 80
    assert margin(tiny_network(), ["conv1_1"]) == 1


@pytest.mark.parametrize("kept", [0.0, 1e9])
def test_maps_and_their_gradients_keep_one_memory_format(tiny_network, kept):
    """Else each is copied from one format into the other, which took half of a step's time."""
    network = tiny_network(padding="reflect").to(memory_format=torch.channels_last)
    content, style, x = (images(1, 75, 91, seed).clamp(0, 1) for seed in (5, 6, 7))
    objective = transfer_objective(network, [Transfer(content, style, alpha_beta=1.0)])
    found, convolution = [], network.convolution

    def is_kept(maps):
        found.append(maps.is_contiguous(memory_format=torch.channels_last))

    def watched(x, *more, **how):
        is_kept(x)
        maps = convolution(x, *more, **how)
        if maps.requires_grad:
            x.register_hook(is_kept)
            maps.register_hook(is_kept)
        return maps

    network.convolution = watched
    TiledObjective(objective, 32, spare=kept).value_and_grad(x)
    assert len(found) >= 3 * 13 and all(found)


@pytest.mark.parametrize("kind", ["covariance", "wasserstein"])
def test_other_statistics_in_tiles_are_those_of_the_whole(tiny_network, kind):
    network = tiny_network(readouts=True)
    content, style, x = (images(1, 75, 91, seed).clamp(0, 1) for seed in (5, 6, 7))
    one = Transfer(content, style, alpha_beta=1.0, style_loss=kind)
    objective = transfer_objective(network, [one])
    found = TiledObjective(objective, 32).value_and_grad(x)
    assert_equal(found, objective.value_and_grad(x), 1e-8)  # roots of small eigenvalues


def test_what_tiles_cannot_do_is_said_with_what_to_do(tiny_network, monkeypatch):
    network, how = tiny_network(), {"steps": 1, "progress": False}
    content, style = (images(1, 150, 182, seed).clamp(0, 1) for seed in (5, 6))
    how |= {"style_loss": "sliced", "alpha_beta": 1.0}
    with pytest.raises(SettingError, match="in one piece.*no --tile.*gram, covariance or wass"):
        transfer(network, content, style, hooks=[InTiles(64)], **how)
    there = memory.needed(network, [*STYLE_LAYERS, "conv4_2"], content.shape) / 2
    monkeypatch.setattr(memory, "left", lambda limit, device: there)
    with pytest.raises(SettingError, match="in one piece.* GB of .* GB; lower the size") as raised:
        transfer(network, content, style, hooks=[InTiles()], **how)
    said = str(raised.value)
    fitting = int(re.search(r"size \(--size\) to about (\d+),", said)[1])
    assert "\n" not in said and 100 < fitting < 182
    small = resize(content, fitting)
    assert transfer(network, small, style, hooks=[InTiles()], **how).images.shape == small.shape
