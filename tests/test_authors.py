"""The authors' own objective: loss and gradient from the published formulas, and its misuse.

leongatys/PytorchNeuralStyleTransfer minimises, over an image in Caffe's convention,

    mean (F - P)^2 at conv4_2  +  sum over style layers of 1e3 / N_l^2  mean (G / M_l - A / M_l)^2.

`published` computes this with torch.nn.functional alone, from the weights in a file.
"""

import json
from itertools import pairwise

import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from stylelab import Transfer, load, transfer, vgg
from stylelab.cli.main import main
from stylelab.errors import NetworkError, SettingError
from stylelab.images import load_image, read_metadata, save_image
from stylelab.runs import calls
from stylelab.runs.metadata import read_settings
from stylelab.runs.settings import Settings
from stylelab.synthesis import balance, transfer_objective
from stylelab.vgg import LAYERS, STYLE_LAYERS

WIDTHS = (4, 5, 6, 6, 7, 6, 6, 6, 8, 6, 6, 6, 9, 6, 6, 6)
POOLED = {"max": F.max_pool2d, "avg": F.avg_pool2d}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Weights of a narrow VGG-19, in a file named as the authors name theirs."""
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path / "cache"))
    state = {}
    for layer, (before, width) in zip(LAYERS, pairwise((3, *WIDTHS)), strict=True):
        state[f"{layer}.weight"] = torch.randn(width, before, 3, 3) * (2 / (9 * before)) ** 0.5
        state[f"{layer}.bias"] = 0.1 * torch.randn(width)
    state["conv1_1.weight"] /= 128  # of values up to 255
    safetensors.torch.save_file(state, tmp_path / "vgg_conv.safetensors")
    return state


def features(state, image, pooling) -> dict[str, torch.Tensor]:
    x = 255 * image.flip(1) - torch.tensor([103.939, 116.779, 123.68])[:, None, None].double()
    found = {}
    for layer in LAYERS:
        if layer.endswith("_1") and layer != "conv1_1":
            x = POOLED[pooling](x, 2, 2)
        weight, bias = (state[f"{layer}.{kind}"].double() for kind in ("weight", "bias"))
        x = found[layer] = F.relu(F.conv2d(x, weight, bias, padding=1))
    return found


def published(state, image, content, style, pooling) -> tuple[dict, torch.Tensor]:
    """Each term of the published objective, and the gradient of their sum."""
    image = image.clone().requires_grad_()
    found, wanted, painted = (features(state, x, pooling) for x in (image, content, style))

    def gram(maps):
        flat = maps.reshape(maps.shape[1], -1)
        return flat @ flat.T / flat.shape[1]

    terms = {"content conv4_2": F.mse_loss(found["conv4_2"], wanted["conv4_2"])}
    for layer in STYLE_LAYERS:
        weight = 1e3 / found[layer].shape[1] ** 2
        apart = F.mse_loss(gram(found[layer]), gram(painted[layer]))
        terms[f"style {layer}"] = weight * apart
    (gradient,) = torch.autograd.grad(sum(terms.values()), image)
    return {name: term.detach() for name, term in terms.items()}, gradient


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_loss_and_gradient_are_those_of_the_published_formulas(weights, tmp_path, pooling):
    file = str(tmp_path / "vgg_conv.safetensors")
    network = load(file, pooling=pooling, convention="caffe", rescale=False).double()
    content, style, image = (torch.rand(1, 3, *s).double() for s in ((32, 40), (36, 33), (32, 40)))
    image = 1.2 * image - 0.1  # nothing is added where pixels leave [0, 1]
    one = Transfer(content, style, objective="authors")
    found, gradient = transfer_objective(network, [one]).value_and_grad(image)
    terms, expected = published(weights, image, content, style, pooling)
    assert found.keys() == terms.keys()
    for name, loss in terms.items():
        torch.testing.assert_close(found[name][0], loss, rtol=1e-10, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12 * float(expected.max()))


def test_weights_of_layers_are_factors_and_alpha_is_the_contents_weight(tiny_network):
    network, images = tiny_network(), (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    plain = balance(network, Transfer(*images, objective="authors"))
    assert plain.alpha_beta == 1 and plain.layer_weights == dict.fromkeys(STYLE_LAYERS, 1e3 / 36)
    layers = {"conv1_1": 2.0, "conv3_1": 0.5}
    asked = Transfer(*images, objective="authors", alpha_beta=5.0, style_layers=layers)
    other = balance(network, asked)
    assert other.alpha_beta == 5
    assert other.layer_weights == pytest.approx({"conv1_1": 2e3 / 36, "conv3_1": 0.5e3 / 36})
    assert balance(network, other) is other
    settings = Settings(objective="authors", style_layers=layers, alpha_beta=5.0)
    described = balance(network, calls.as_transfer(settings, *images))
    assert described.layer_weights == other.layer_weights


def test_a_network_of_another_scale_and_a_strength_are_refused(tiny_network):
    images = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    rescaled = tiny_network(dtype=torch.float32)
    vgg.rescale(rescaled, vgg.mean_activations(rescaled, [images[0]]))
    for network in (rescaled, tiny_network(readouts=True, dtype=torch.float32), load("vgg19-mini")):
        with pytest.raises(SettingError, match=f"authors.*{network.name} is rescaled.*vgg19-caffe"):
            transfer(network, *images, objective="authors", steps=1, progress=False)
    with pytest.raises(SettingError, match="no strength; use alpha_beta"):
        Transfer(*images, objective="authors", strength=0.7)
    with pytest.raises(SettingError, match="objective must be one of means, authors"):
        Transfer(*images, objective="theirs")
    with pytest.raises(NetworkError, match="has no layer conv5_2"):
        transfer(tiny_network(), *images, objective="authors", style_layers=["conv5_2"])


def test_the_command_leaves_the_weights_as_they_are_and_records_it(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "painting.png"):
        save_image(torch.rand(1, 3, 32, 40), name)
    asked = ["transfer", "photo.png", "painting.png", "--size", "40", "--steps", "2"]
    asked += ["--network", "vgg_conv.safetensors", "--convention", "caffe", "--pooling", "max"]
    asked += ["--device", "cpu", "-o", "out.png"]
    assert main([*asked, "--objective", "authors"]) == 0
    settings, record = read_settings("out.png")
    assert settings.objective == "authors" and settings.convention == "caffe"
    assert record["alpha_beta_used"] == 1
    content, style = load_image("photo.png"), load_image("painting.png")
    terms, _ = published(weights, content.double(), content.double(), style.double(), "max")
    assert record["first_loss"] == pytest.approx(float(sum(terms.values())), rel=1e-4)
    assert json.loads(read_metadata("out.png")["Comment"])["pooling_used"] == "max"
    assert main([*asked, "--objective", "authors", "--strength", "0.7"]) == 2
