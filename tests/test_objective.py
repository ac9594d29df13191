"""The objective: its value against the equations, its batches against single images."""

import pytest
import torch
from torch.nn import functional as F

from stylelab import losses
from stylelab import objective as module
from stylelab.errors import NetworkError, SettingError
from stylelab.objective import (
    ContentTerm,
    Objective,
    StyleTerm,
    TotalVariation,
    content_representation,
    style_representation,
)

LAYERS = ("conv1_1", "conv2_1", "conv3_1")


def images(count, seed=0, size=20):
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=torch.manual_seed(seed))


def numbers(values):
    return torch.tensor(values, dtype=torch.float64)


def build(network, alphas, betas, tv_weight=0.0):
    """Objective for len(alphas) images: content at conv2_2, style at LAYERS, w_l = 1/3."""
    content = content_representation(network, images(1, 1), ["conv2_2"])
    style = style_representation(network, images(1, 2, size=24), LAYERS)
    terms = [ContentTerm("conv2_2", content["conv2_2"], numbers(alphas))]
    terms += [StyleTerm(layer, gram, numbers(betas) / 3) for layer, gram in style.items()]
    if tv_weight:
        terms.append(TotalVariation(torch.full_like(numbers(alphas), tv_weight)))
    return Objective(network, terms)


def watched(network):
    """The list to which every convolution of `network` adds the shape of what it computes."""
    seen = []

    def watching(*tensors, padding):
        found = F.conv2d(*tensors, padding=padding)
        seen.append(tuple(found.shape))
        return found

    network.convolution = watching
    return seen


@pytest.mark.parametrize("with_readouts", [False, True])
def test_terms_are_the_equations_in_means(tiny_network, with_readouts):
    network = tiny_network(readouts=with_readouts)
    x = images(2)
    terms, _ = build(network, [2.0, 3.0], [5.0, 7.0], tv_weight=0.5).value_and_grad(x)
    torch.testing.assert_close(terms["total variation"], 0.5 * losses.total_variation(x))
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
    objective = build(tiny_network(readouts=with_readouts), [2.0], [5.0], tv_weight=0.1)
    x, direction, step = images(1), images(1, 3) - 0.5, 1e-6
    terms, gradient = objective.value_and_grad(x)
    styles = {f"style {layer}" for layer in LAYERS}
    assert set(terms) == {"content conv2_2", "total variation", *styles}

    def total(image):
        return sum(objective.value_and_grad(image)[0].values()).item()

    slope = (total(x + step * direction) - total(x - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum().item(), slope, rtol=1e-6, atol=0)


def test_a_batch_equals_its_images_alone_and_shallow_ones_do_not_pay_for_deep_ones(tiny_network):
    """Images that need the network to different depths are evaluated in groups."""
    network, x = tiny_network(), images(4)
    alphas, betas = [1.0, 0.0, 1.0, 1e-3], [0.0, 1.0, 1.0, 0.0]
    objective, seen = build(network, alphas, betas), watched(network)
    terms, gradient = objective.value_and_grad(x)
    assert sorted(seen) == sorted(  # to conv2_2 for two images, and to conv3_1 for the others
        [(2, 6, 20, 20), (2, 6, 20, 20), (2, 6, 10, 10), (2, 6, 10, 10)] * 2 + [(2, 6, 5, 5)]
    )
    for i in range(4):
        single = build(network, alphas[i : i + 1], betas[i : i + 1])
        alone, grad = single.value_and_grad(x[i : i + 1])
        torch.testing.assert_close(gradient[i : i + 1], grad)
        for name, value in alone.items():
            torch.testing.assert_close(terms[name][i : i + 1], value)


def test_nothing_to_match_is_an_error(tiny_network):
    network, gram = tiny_network(), torch.zeros(1, 6, 6).double()
    for terms in ([], [TotalVariation(numbers([1.0]))]):
        with pytest.raises(SettingError, match="nothing to match"):
            Objective(network, terms)
    with pytest.raises(SettingError, match="image 1 of the batch"):
        build(network, [1.0, 0.0], [1.0, 0.0])
    for weights, image in (([0.0, 1.0], 0), ([1.0, 1.0, 0.0], 2)):
        with pytest.raises(SettingError, match=f"image {image} of the batch"):
            Objective(network, [StyleTerm("conv1_1", gram, numbers(weights))])
    with pytest.raises(NetworkError, match="no layer conv5_4"):
        Objective(network, [StyleTerm("conv5_4", gram, numbers([1.0]))])


def test_every_image_can_have_a_target_of_its_own(tiny_network):
    """Also where the images that need the deeper layer are not the first of the batch."""
    network, x = tiny_network(), images(3)
    content = content_representation(network, images(3, 1), ["conv1_2"])["conv1_2"]
    style = style_representation(network, images(3, 2), ["conv2_1"])["conv2_1"]
    alpha, beta = numbers([2.0, 1.0, 0.0]), numbers([0.0, 3.0, 1.0])
    asked = [ContentTerm("conv1_2", content, alpha), StyleTerm("conv2_1", style, beta)]
    terms, gradient = Objective(network, asked).value_and_grad(x)
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


class Darkness:
    """A term of one's own: the mean feature at a layer, or the mean pixel."""

    name = "darkness"

    def __init__(self, layer, weight):
        self.layer, self.weight = layer, weight

    def loss(self, values, images, network):
        return values.mean((1, 2, 3)) * (1 + images)  # of each image, by its place in the batch


@pytest.mark.parametrize("layer", [None, "conv4_1"])
def test_a_term_of_ones_own(tiny_network, layer):
    network, x, weight = tiny_network(), images(3), numbers([0.0, 2.0, 3.0])
    known = build(network, [1.0] * 3, [1.0] * 3)
    with_it = Objective(network, [Darkness(layer, weight), *known.terms])
    (terms, gradient), (before, plain) = with_it.value_and_grad(x), known.value_and_grad(x)
    x.requires_grad_()
    values = network(x, [layer])[layer] if layer else x
    expected = weight * values.mean((1, 2, 3)) * numbers([1.0, 2.0, 3.0])
    torch.testing.assert_close(terms.pop("darkness"), expected.detach())
    torch.testing.assert_close(terms, before)
    torch.testing.assert_close(gradient - plain, torch.autograd.grad(expected.sum(), x)[0])


@pytest.mark.parametrize("with_readouts", [False, True])
@pytest.mark.parametrize("guided", [False, True])
def test_sums_over_parts_of_a_picture_give_the_loss_of_the_whole(
    tiny_network, with_readouts, guided
):
    network, layer, every = tiny_network(readouts=with_readouts), "conv2_1", torch.arange(2)
    found, other = (network(images(2, seed), [layer])[layer] for seed in (1, 2))  # of 10 x 10
    guide = images(1, 3, size=10)[0, :1] if guided else None
    gram = losses.gram_matrix(other, network.readout(layer)) / 100
    cuts = [(slice(a, b), slice(c, d)) for a, b in ((0, 3), (3, 10)) for c, d in ((0, 6), (6, 10))]
    for term in (
        ContentTerm(layer, other, numbers([1.0, 1.0])),
        StyleTerm(layer, gram, numbers([1.0, 1.0]), guide),
    ):
        parts = (term.sums(found[:, :, *cut], every, network, cut) for cut in cuts)
        whole = term.from_sums(sum(parts), 100, every, network)
        torch.testing.assert_close(whole, term.loss(found, every, network))


def test_two_terms_of_one_name_add_up(tiny_network):
    network, x, asked = tiny_network(), images(2), []
    for seed, weights in ((1, [1.0, 3.0]), (2, [2.0, 5.0])):
        gram = style_representation(network, images(1, seed), ["conv2_1"])["conv2_1"]
        asked.append(StyleTerm("conv2_1", gram, numbers(weights)))
    terms, gradient = Objective(network, asked).value_and_grad(x)
    alone = [Objective(network, [term]).value_and_grad(x) for term in asked]
    expected = sum(each["style conv2_1"] for each, _ in alone)
    torch.testing.assert_close(terms, {"style conv2_1": expected})
    torch.testing.assert_close(gradient, alone[0][1] + alone[1][1])


@pytest.mark.parametrize(("pixels", "sizes"), [(2 * 16 * 24, [2, 2, 1]), (1, [1] * 5)])
def test_on_a_cpu_only_so_many_pixels_are_evaluated_at_once(
    tiny_network, monkeypatch, pixels, sizes
):
    network = tiny_network()
    objective, x = build(network, [0.0] * 5, [1.0] * 5), images(5, size=24)[:, :, :16]
    terms, gradient = objective.value_and_grad(x)
    seen = watched(network)
    monkeypatch.setattr(module, "CPU_PIXELS", pixels)
    again, same = objective.value_and_grad(x)
    assert [count for count, _, height, _ in seen if height == 4] == sizes  # conv3_1's
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
