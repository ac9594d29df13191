"""The network: against torchvision's own models, its scale, what it refuses; and images for it."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from stylelab import networks, vgg
from stylelab.errors import NetworkError, SettingError
from stylelab.losses import gram_matrix
from stylelab.vgg import LAYERS, STYLE_LAYERS, VGG, check_image, resize

NARROW = dict.fromkeys(LAYERS, 4)
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # the table of the VGG paper


@pytest.mark.parametrize(
    ("model", "naming"), [("vgg19", "torchvision"), ("vgg16", "torchvision"), ("vgg16", "plain")]
)
def test_every_activation_equals_torchvisions(model, naming, tmp_path, monkeypatch):
    """Random weights out of a file, max pooling, and mean activations that are called 1."""
    with torch.device("meta"):  # without weights for the fully connected layers
        modules = getattr(torchvision.models, model)(weights=None).features
    modules.to_empty(device="cpu")
    for parameter in modules.parameters():
        nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    layers = [f"conv{g}_{i + 1}" for g, count in enumerate(DEPTHS[model], 1) for i in range(count)]
    indices = [i for i, module in enumerate(modules) if isinstance(module, nn.Conv2d)]
    begins = layers if naming == "plain" else [f"features.{index}" for index in indices]
    state = {
        f"{begin}.{kind}": getattr(modules[index], kind).detach()
        for begin, index in zip(begins, indices, strict=True)
        for kind in ("weight", "bias")
    }
    torch.save(state, tmp_path / "weights.pth")
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path))
    ones = {
        layer: torch.ones(modules[i].out_channels) for layer, i in zip(layers, indices, strict=True)
    }
    monkeypatch.setattr(networks, "mean_activations", lambda network, images: ones)
    network = networks.load(str(tmp_path / "weights.pth"), pooling="max")
    network.convolution = F.conv2d
    image = torch.rand(2, 3, 40, 56)
    x, expected = (image - MEAN[:, None, None]) / DEVIATION[:, None, None], []
    with torch.no_grad():
        for module in modules:
            x = F.relu(x) if isinstance(module, nn.ReLU) else module(x)
            if isinstance(module, nn.ReLU):
                expected.append(x)
    found = network(image, layers)
    assert list(found) == layers == list(network.layers)
    for layer, value in zip(layers, expected, strict=True):
        assert found[layer].shape == value.shape
        assert (found[layer] - value).abs().max() < 1e-5 * value.abs().max(), layer


def test_average_pooling_halves_by_the_mean():
    network = VGG(dict.fromkeys(LAYERS[:3], 3), pooling="avg")
    with torch.no_grad():
        for name in ("input", *network.layers):
            nn.init.dirac_(network.get_submodule(name).weight)  # each layer passes its input on
            network.get_submodule(name).bias.zero_()
    image = torch.rand(1, 3, 8, 10)
    found = network(image, ["conv2_1"])["conv2_1"]
    torch.testing.assert_close(found, image.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)))


def test_reflect_padding_mirrors_what_each_convolution_sees():
    network = VGG({"conv1_1": 5, "conv1_2": 4}, padding="reflect").double()
    image = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    x = network.input(image)
    for layer in network.layers:
        height, width = x.shape[2:]
        rows, columns = [1, *range(height), height - 2], [1, *range(width), width - 2]
        conv = network.get_submodule(layer)
        x = F.conv2d(x[:, :, rows][..., columns], conv.weight, conv.bias).clamp(min=0)
        torch.testing.assert_close(network(image, [layer])[layer], x)


def test_evaluation_stops_at_the_deepest_layer_asked_for():
    network, widths = VGG({layer: i for i, layer in enumerate(LAYERS, 1)}), []

    def counting(x, weight, bias, padding):
        widths.append(len(weight))
        return F.conv2d(x, weight, bias, padding=padding)

    network.convolution = counting
    found = network(torch.rand(1, 3, 16, 16), ["conv3_1", "conv1_2"])
    assert list(found) == ["conv1_2", "conv3_1"]
    assert widths == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_min_size_is_the_smallest_that_works(padding):
    network = VGG(NARROW, padding=padding)
    for poolings, layer in enumerate(STYLE_LAYERS):
        least = network.min_size([layer])
        assert least == {"zeros": 1, "reflect": 2}[padding] * 2**poolings
        network(torch.rand(1, 3, least, least), [layer])
        with pytest.raises(SettingError, match=rf"{layer} of vgg needs at least {least} pixels"):
            network(torch.rand(1, 3, least, least - 1), [layer])


@pytest.mark.parametrize(
    ("layers", "named"),
    [(["conv4_2", "relu9", "fc6"], "fc6, relu9"), ([], "conv4_2"), (["conv5_2"], "conv5_2")],
)
def test_unknown_layers_are_named(tiny_network, layers, named):
    with pytest.raises(NetworkError, match=named):
        tiny_network()(torch.rand(1, 3, 32, 32), layers)


@pytest.mark.parametrize(
    ("widths", "options", "error"),
    [
        (NARROW, {"padding": "wrap"}, SettingError),
        (NARROW, {"pooling": "sum"}, SettingError),
        ({"conv1_2": 4}, {}, NetworkError),
        ({}, {}, NetworkError),
    ],
)
def test_networks_that_cannot_be_made(widths, options, error):
    with pytest.raises(error, match=next(iter(options), "widths")):
        VGG(widths, **options)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 4, 32, 32), (1, 3, 7, 20), (1, 3, 20, 7)])
def test_images_that_cannot_be_evaluated(shape):
    with pytest.raises(SettingError, match=r"\(N, 3, H, W\)|too small"):
        VGG(NARROW)(torch.rand(shape), ["conv4_1"])


def test_rescaling_changes_neither_the_function_nor_the_readouts(tiny_network):
    network = tiny_network(readouts=True)
    del network.readouts["conv2_2"]
    network.conv2_2.bias[0] = -100.0  # its filter is silent
    network.units["conv2_2"], units = 6, network.units | {"conv2_2": 6}
    photographs = [torch.rand(1, 3, 32, 40, dtype=torch.float64) for _ in range(2)]
    image = photographs[0]
    before, second = (network(photograph, network.layers) for photograph in photographs)
    grams = {layer: gram_matrix(x, network.readout(layer)) for layer, x in before.items()}
    means = {
        layer: (x.mean((0, 2, 3)) + second[layer].mean((0, 2, 3))) / 2
        for layer, x in before.items()
    }
    for layer, found in vgg.mean_activations(network, photographs).items():
        torch.testing.assert_close(found.double(), means[layer], rtol=1e-5, atol=1e-7)
    vgg.rescale(network, means)
    assert network.units == units and network.rescaled  # silent filters are counted
    for layer, x in network(image, network.layers).items():
        scale = means[layer].clamp_min(0.01 * means[layer].mean())[:, None, None]
        torch.testing.assert_close(x * scale, before[layer])
        if layer != "conv2_2":
            torch.testing.assert_close(gram_matrix(x, network.readout(layer)), grams[layer])


def test_an_image_may_leave_the_range_a_little():
    image = torch.tensor([-0.0009, 0.5, 1.0009]).expand(1, 3, 4, 3)
    assert check_image(image) is image
    for value in (-0.002, 1.002, torch.inf, torch.nan):
        with pytest.raises(SettingError, match="picture must be"):
            check_image(torch.full((1, 3, 4, 4), value), "picture")


@pytest.mark.parametrize(
    ("size", "shape"), [(20, (10, 20)), (120, (60, 120)), ((7, 9), (7, 9)), (1, (1, 1))]
)
def test_resize_shapes(size, shape):
    assert resize(torch.rand(2, 3, 30, 60), size).shape == (2, 3, *shape)


def test_resize_is_antialiased_and_stays_in_range():
    stripes = (torch.arange(128) % 2).float().expand(1, 3, 128, 128)
    assert (resize(stripes, 16)[..., 2:-2] - 0.5).abs().max() < 0.02
    larger = resize((torch.rand(1, 3, 8, 8) > 0.5).float(), 50)
    assert larger.min() >= 0 and larger.max() <= 1


@pytest.mark.parametrize("size", [0, -3, 2.5, True, "8", None, (8, 0), (8, 8, 8), [8.0, 8]])
def test_resize_refuses_other_sizes(size):
    with pytest.raises(SettingError, match="size must be"):
        resize(torch.rand(1, 3, 8, 8), size)
