"""The network: against torchvision's own model, and what it refuses."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from stylelab import networks
from stylelab.errors import NetworkError, SettingError
from stylelab.vgg import LAYERS, STYLE_LAYERS, VGG, VGG19_WIDTHS

NARROW = dict.fromkeys(LAYERS, 4)


@pytest.fixture(scope="module")
def torchvision_vgg():
    torch.manual_seed(0)
    return torchvision.models.vgg19(weights=None).features.eval()


def test_every_layer_equals_torchvisions(torchvision_vgg, tmp_path):
    """Random weights, max pooling: all 16 activations after the ReLU."""
    state = {f"features.{key}": value for key, value in torchvision_vgg.state_dict().items()}
    network = networks._build(state, {}, tmp_path, "", "max")
    image = torch.rand(2, 3, 40, 56, generator=torch.manual_seed(1))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x, expected = (image - mean[:, None, None]) / deviation[:, None, None], []
    with torch.no_grad():
        for module in torchvision_vgg:
            x = nn.functional.relu(x) if isinstance(module, nn.ReLU) else module(x)
            if isinstance(module, nn.ReLU):
                expected.append(x)
    found = network(image, LAYERS)
    assert list(found) == list(LAYERS)
    for layer, value in zip(LAYERS, expected, strict=True):
        torch.testing.assert_close(found[layer], value, msg=layer)


def test_widths_are_vgg19s(torchvision_vgg):
    convolutions = [m.out_channels for m in torchvision_vgg if isinstance(m, nn.Conv2d)]
    assert list(VGG19_WIDTHS.values()) == convolutions


def test_average_pooling_halves_by_the_mean():
    network = VGG(dict.fromkeys(LAYERS[:3], 3), pooling="avg")
    with torch.no_grad():
        nn.init.dirac_(network.input.weight)
        network.input.bias.zero_()
        for layer in network.layers:
            nn.init.dirac_(network.get_submodule(layer).weight)  # each layer passes its input on
            network.get_submodule(layer).bias.zero_()
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


def test_evaluation_stops_at_the_deepest_layer_asked_for(monkeypatch):
    network, seen = VGG(NARROW), []
    convolve = network.convolve
    monkeypatch.setattr(
        network, "convolve", lambda layer, x: seen.append(layer) or convolve(layer, x)
    )
    found = network(torch.rand(1, 3, 16, 16), ["conv3_1", "conv1_2"])
    assert list(found) == ["conv1_2", "conv3_1"]
    assert seen == list(LAYERS[:5])


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_min_size_is_the_smallest_that_works(padding):
    network = VGG(NARROW, padding=padding)
    for layer in STYLE_LAYERS:
        least = network.min_size([layer])
        network(torch.rand(1, 3, least, least), [layer])
        with pytest.raises(SettingError, match=rf"{layer} of vgg needs at least {least} pixels"):
            network(torch.rand(1, 3, least, least - 1), [layer])
    deepest = {"zeros": 16, "reflect": 32}[padding]  # what conv5_1 needs: 1 or 2 pixels of its own
    assert [network.min_size([layer]) for layer in STYLE_LAYERS] == [
        deepest // 16,
        deepest // 8,
        deepest // 4,
        deepest // 2,
        deepest,
    ]


def test_a_gradient_reaches_the_image_and_only_the_image():
    network, image = VGG(NARROW), torch.rand(1, 3, 32, 32, requires_grad=True)
    network(image, ["conv2_2"])["conv2_2"].sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            ["conv4_2", "relu9", "fc6"],
            r"^network vgg has no layer fc6, relu9; it has conv1_1, con",
        ),
        ([], "^no layer asked for; name at least one, such as 'conv4_2'$"),
        (["conv5_4"], "conv5_4"),
    ],
)
def test_unknown_layers_are_named(layers, message):
    network = VGG(dict(list(NARROW.items())[:13]))
    with pytest.raises(NetworkError, match=message):
        network(torch.rand(1, 3, 32, 32), layers)


def test_shapes_and_settings_are_checked():
    with pytest.raises(SettingError, match="padding"):
        VGG(NARROW, padding="wrap")
    with pytest.raises(SettingError, match="pooling"):
        VGG(NARROW, pooling="sum")
    with pytest.raises(NetworkError, match="leading part"):
        VGG({"conv1_2": 4})
    for shape in ((3, 32, 32), (1, 4, 32, 32)):
        with pytest.raises(SettingError, match=r"\(N, 3, H, W\), got \(.*, 32, 32\)$"):
            VGG(NARROW)(torch.rand(shape), ["conv1_1"])
    for height, width in ((7, 20), (20, 7)):
        with pytest.raises(SettingError, match=f"^image of {width} x {height} pixels is too small"):
            VGG(NARROW)(torch.rand(1, 3, height, width), ["conv4_1"])


def test_a_network_that_no_file_was_read_for_has_no_hash():
    assert VGG(NARROW).sha256 == ""
