"""The objective: its value against the equations, its batches against single images."""

import pytest
import torch

from stylelab import losses
from stylelab import objective as module
from stylelab.errors import NetworkError, SettingError
from stylelab.objective import (
    Objective,
    Target,
    content_representation,
    style_representation,
)
from stylelab.vgg import VGG

LAYERS = ("conv1_1", "conv2_1", "conv3_1")


def images(count, seed=0, size=20):
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=torch.manual_seed(seed))


def build(network, alphas, betas, tv_weight=0.0):
    """Objective for len(alphas) images: content at conv2_2, style at LAYERS, w_l = 1/3."""
    alpha, beta = torch.tensor(alphas).double(), torch.tensor(betas).double()
    content = content_representation(network, images(1, 1), ["conv2_2"])
    style = style_representation(network, images(1, 2, size=24), LAYERS)
    return Objective(
        network,
        content={"conv2_2": Target(content["conv2_2"], alpha)},
        style={layer: Target(gram, beta / 3) for layer, gram in style.items()},
        tv_weight=tv_weight,
    )


@pytest.mark.parametrize("with_readouts", [False, True])
def test_terms_are_the_equations_in_means(tiny_network, with_readouts):
    network = tiny_network(readouts=with_readouts)
    x = images(2)
    terms, _ = build(network, [2.0, 3.0], [5.0, 7.0]).value_and_grad(x)
    found, target = network(x, (*LAYERS, "conv2_2")), network(images(1, 1), ["conv2_2"])["conv2_2"]
    difference, units = found["conv2_2"] - target, network.units["conv2_2"]
    if with_readouts:
        matrix = network.readout("conv2_2")[:, :-1]
        difference = torch.einsum("mc,nchw->nmhw", matrix, difference)
    expected = difference.square().sum((1, 2, 3)) / (units * 100)
    torch.testing.assert_close(terms["content conv2_2"], expected * torch.tensor([2.0, 3.0]))
    style = network(images(1, 2, size=24), LAYERS)
    for layer in LAYERS:
        readout = network.readout(layer)
        gram = losses.gram_matrix(found[layer], readout) / found[layer][0, 0].numel()
        wanted = losses.gram_matrix(style[layer], readout) / style[layer][0, 0].numel()
        mean = (gram - wanted).square().sum((1, 2)) / network.units[layer] ** 2
        torch.testing.assert_close(terms[f"style {layer}"], mean * torch.tensor([5.0, 7.0]) / 3)


@pytest.mark.parametrize("with_readouts", [False, True])
def test_gradient_is_that_of_the_sum_of_terms(tiny_network, with_readouts):
    objective, x = (
        build(tiny_network(readouts=with_readouts), [2.0], [5.0], tv_weight=0.1),
        images(1),
    )
    terms, gradient = objective.value_and_grad(x)
    assert set(terms) == {
        "content conv2_2",
        *(f"style {layer}" for layer in LAYERS),
        "total variation",
    }
    direction = images(1, 3) - 0.5
    step = 1e-6

    def total(image):
        return sum(objective.value_and_grad(image)[0].values()).item()

    slope = (total(x + step * direction) - total(x - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum().item(), slope, rtol=1e-6, atol=0)


def test_a_batch_equals_its_images_alone(tiny_network):
    """Also where images need the network to different depths and are evaluated in groups."""
    network, x = tiny_network(), images(4)
    alphas, betas = [1.0, 0.0, 1.0, 1e-3], [0.0, 1.0, 1.0, 0.0]
    terms, gradient = build(network, alphas, betas).value_and_grad(x)
    for i in range(4):
        alone, grad = build(network, alphas[i : i + 1], betas[i : i + 1]).value_and_grad(
            x[i : i + 1]
        )
        torch.testing.assert_close(gradient[i : i + 1], grad)
        for name, value in alone.items():
            torch.testing.assert_close(terms[name][i : i + 1], value)


def test_shallow_images_do_not_pay_for_deep_ones(tiny_network, monkeypatch):
    network, seen = tiny_network(), []
    convolve = network.convolve
    monkeypatch.setattr(
        network, "convolve", lambda layer, x: seen.append((layer, len(x))) or convolve(layer, x)
    )
    objective = build(network, [1.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    seen.clear()
    objective.value_and_grad(images(3))
    assert ("conv2_2", 2) in seen and ("conv3_1", 1) in seen
    assert not any(layer == "conv3_1" and count > 1 for layer, count in seen)


def test_the_targets_own_image_has_no_loss_and_no_gradient(tiny_network):
    network, x = tiny_network(), images(1)
    content = content_representation(network, x, ["conv2_2"])
    style = style_representation(network, x, LAYERS)
    one = torch.ones(1).double()
    objective = Objective(
        network,
        content={"conv2_2": Target(content["conv2_2"], one)},
        style={layer: Target(gram, one) for layer, gram in style.items()},
    )
    terms, gradient = objective.value_and_grad(x)
    assert all(value.item() < 1e-25 for value in terms.values())
    assert gradient.abs().max() < 1e-12


def test_nothing_to_match_is_an_error(tiny_network):
    network = tiny_network()
    with pytest.raises(
        SettingError, match="^nothing to match: give a content target, a style target, or both$"
    ):
        Objective(network)
    with pytest.raises(
        SettingError,
        match="^image 1 of the batch has nothing to match: all its weights are 0$",
    ):
        build(network, [1.0, 0.0], [1.0, 0.0])
    gram = torch.zeros(1, 4, 4).double()
    with pytest.raises(NetworkError, match="no layer conv5_4"):
        Objective(network, style={"conv5_4": Target(gram, torch.ones(1))})


def test_the_first_image_with_nothing_to_match_is_named(tiny_network):
    gram = torch.zeros(1, 6, 6).double()
    for weights, image in (([0.0, 1.0], 0), ([1.0, 1.0, 0.0], 2)):
        target = Target(gram, torch.tensor(weights).double())
        with pytest.raises(SettingError, match=f"image {image} of the batch"):
            Objective(tiny_network(), style={"conv1_1": target})


def test_every_image_can_have_a_target_of_its_own(tiny_network):
    """Also where the images that need the deeper layer are not the first of the batch."""
    network, x = tiny_network(), images(3)
    content = content_representation(network, images(3, 1), ["conv1_2"])["conv1_2"]
    style = style_representation(network, images(3, 2), ["conv2_1"])["conv2_1"]
    alpha, beta = torch.tensor([2.0, 1.0, 0.0]).double(), torch.tensor([0.0, 3.0, 1.0]).double()
    terms, gradient = Objective(
        network,
        content={"conv1_2": Target(content, alpha)},
        style={"conv2_1": Target(style, beta)},
    ).value_and_grad(x)
    x.requires_grad_()
    found = network(x, ["conv1_2", "conv2_1"])
    grams = losses.gram_matrix(found["conv2_1"]) / 100
    expected = {
        "content conv1_2": alpha * (found["conv1_2"] - content).square().mean((1, 2, 3)),
        "style conv2_1": beta * (grams - style).square().mean((1, 2)),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value.detach(), msg=name)
    (wanted,) = torch.autograd.grad(sum(expected.values()).sum(), x)
    torch.testing.assert_close(gradient, wanted)


def test_a_layer_of_one_feature_map_is_matched():
    network, x = VGG({"conv1_1": 1}).double(), images(1)
    style = style_representation(network, images(1, 1), ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(
        style, network(images(1, 1), ["conv1_1"])["conv1_1"].square().mean((2, 3))[..., None]
    )
    terms, _ = Objective(
        network, style={"conv1_1": Target(style, torch.ones(1).double())}
    ).value_and_grad(x)
    gram = network(x, ["conv1_1"])["conv1_1"].square().mean((2, 3))[..., None]
    torch.testing.assert_close(terms["style conv1_1"], (gram - style).square().flatten())


def test_total_variation_is_weighed_and_counts_for_every_image(tiny_network):
    network, x = tiny_network(), images(2)
    without, plain = build(network, [1.0, 1.0], [1.0, 1.0]).value_and_grad(x)
    terms, gradient = build(network, [1.0, 1.0], [1.0, 1.0], tv_weight=3.0).value_and_grad(x)
    assert set(terms) - set(without) == {"total variation"}
    x.requires_grad_()
    expected = 3 * losses.total_variation(x)
    torch.testing.assert_close(terms["total variation"], expected.detach())
    torch.testing.assert_close(gradient - plain, torch.autograd.grad(expected.sum(), x)[0])


@pytest.mark.parametrize(("pixels", "sizes"), [(2 * 16 * 24, [2, 2, 1]), (1, [1] * 5)])
def test_on_a_cpu_only_so_many_pixels_are_evaluated_at_once(
    tiny_network, monkeypatch, pixels, sizes
):
    network, seen = tiny_network(), []
    objective, x = build(network, [0.0] * 5, [1.0] * 5), images(5, size=24)[:, :, :16]
    terms, gradient = objective.value_and_grad(x)
    convolve = network.convolve
    monkeypatch.setattr(
        network,
        "convolve",
        lambda layer, x: (layer == "conv1_1" and seen.append(len(x))) or convolve(layer, x),
    )
    monkeypatch.setattr(module, "CPU_PIXELS", pixels)
    again, same = objective.value_and_grad(x)
    assert seen == sizes
    torch.testing.assert_close(same, gradient)
    torch.testing.assert_close(again, terms)


def test_the_network_sees_its_own_precision_and_the_caller_the_images(tiny_network):
    network, x = tiny_network(), images(2).float()
    terms, gradient = build(network, [1.0, 1.0], [1.0, 1.0]).value_and_grad(x)
    exact, exactly = build(network, [1.0, 1.0], [1.0, 1.0]).value_and_grad(x.double())
    assert gradient.dtype == torch.float32
    assert torch.equal(gradient, exactly.float())
    for name, value in terms.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, exact[name].float()), name
