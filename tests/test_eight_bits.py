"""Networks in 8 bits: what the file holds, how far it is from the original, and what is refused."""

import json

import pytest
import safetensors
import safetensors.torch
import torch

from stylelab import gallery, load
from stylelab.cli.main import main
from stylelab.distil import eight_bits
from stylelab.errors import NetworkError, SettingError
from stylelab.files.weights import read_weights
from stylelab.networks import PHOTOGRAPHS
from stylelab.vgg import LAYERS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plain(tiny_network):
    """A small network with biases, and `mine.pth`, the file of its weights."""
    network = tiny_network(dtype=torch.float32, padding="zeros")
    for layer in network.layers:
        network.get_submodule(layer).bias.uniform_(-0.2, 0.2)
    torch.save({k: v for k, v in network.state_dict().items() if "conv" in k}, "mine.pth")
    return network


def test_a_weight_is_off_by_half_a_step_at_most():
    weight = torch.randn(7, 5, 3, 3) * torch.logspace(-6, 3, 7)[:, None, None, None]
    weight[3] = 0.0
    whole, scale = eight_bits.quantised(weight)
    steps = weight.abs().amax((1, 2, 3)) / 127
    assert whole.dtype == torch.int8 and whole.abs().amax((1, 2, 3)).tolist() == [
        0 if filter == 3 else 127 for filter in range(7)
    ]
    error = (whole * scale[:, None, None, None] - weight).abs().amax((1, 2, 3))
    assert (error <= 0.501 * steps).all()


def test_the_command_writes_a_network_that_load_reads(plain, capsys):
    command = ["export", "mine.pth", "-o", "small.safetensors", "--convention", "caffe"]
    assert main([*command, "--pooling", "max"]) == 0
    printed = capsys.readouterr().out
    assert all(layer in printed for layer in plain.layers) and "small.safetensors" in printed
    network, image = load("small.safetensors", rescale=False), gallery.open("coffee", 64)
    original = load("mine.pth", rescale=False, convention="caffe", pooling="max")
    assert network.pooling == "max" and not network.rescaled
    assert torch.equal(network.input(image), original.input(image))
    assert torch.equal(network.conv1_1.weight, original.conv1_1.weight)  # not in 8 bits
    stored = safetensors.torch.load_file("small.safetensors")
    assert {str(stored[f"{layer}.weight"].dtype) for layer in LAYERS[1:13]} == {"torch.int8"}
    found, expected = (n(image, plain.layers) for n in (network, original))
    for layer in plain.layers:
        error = (found[layer] - expected[layer]).norm() / expected[layer].norm()
        assert error < 0.05 and (layer == "conv1_1" or error > 0)
    assert load("small.safetensors").rescaled  # as the original is


def test_the_error_in_the_file_is_that_of_the_network_it_holds(plain, folder):
    network = load("mine.pth", rescale=False)
    errors = eight_bits.export(network, folder / "deep" / "a.safetensors", "conv3_2")
    small = load("deep/a.safetensors", rescale=False)
    assert small.layers == LAYERS[:6] == tuple(errors)
    with safetensors.safe_open(folder / "deep" / "a.safetensors", "pt") as file:
        header = json.loads(file.metadata()["stylelab"])
    assert header["errors"] == errors and header["source_sha256"] == network.sha256
    apart, whole = torch.zeros(2, dtype=torch.double), torch.zeros(2, dtype=torch.double)
    for name in PHOTOGRAPHS:
        image = gallery.open(name, 256)
        x, y = (n(image, ["conv2_2"])["conv2_2"][0].double().flatten(1) for n in (network, small))
        g, h = (z @ z.T / z.shape[1] for z in (x, y))
        apart += torch.stack([(y - x).square().sum(), (h - g).square().sum()])
        whole += torch.stack([x.square().sum(), g.square().sum()])
    expected = (apart / whole).sqrt().tolist()
    assert list(errors["conv2_2"].values()) == pytest.approx(expected, rel=1e-3)


def test_what_cannot_be_exported_is_refused(plain, tiny_network):
    for name, last, error, message in (
        ("a.pth", "conv3_1", SettingError, "must end in .safetensors"),
        ("a.safetensors", "conv5_4", NetworkError, "has no layer conv5_4"),
    ):
        with pytest.raises(error, match=message):
            eight_bits.export(plain, name, last)
    for network in (load("mine.pth"), tiny_network(readouts=True), load("vgg19-mini")):
        with pytest.raises(NetworkError, match="not a full network as it was trained"):
            eight_bits.export(network, "a.safetensors", "conv3_1")
    assert main(["export", "vgg19-mini", "-o", "a.safetensors"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"conv1_2.scale": torch.ones(5)},
        {"conv1_2.scale": torch.ones(1)},
        {"conv1_2.scale": torch.tensor(1.0)},
        {"conv1_2.scale": torch.ones(6, 6)},
        {"conv9_9.scale": torch.ones(6)},
        {".scale": torch.ones(6)},
        {"conv1_2.scale": torch.full((6,), torch.nan)},
    ],
    ids=str,
)
def test_scales_that_do_not_fit_are_refused(plain, folder, change):
    eight_bits.export(plain, "a.safetensors", "conv2_1")
    tensors = safetensors.torch.load_file("a.safetensors")
    safetensors.torch.save_file(tensors | change, "b.safetensors")
    with pytest.raises(NetworkError, match=r"b\.safetensors cannot be read as weights"):
        read_weights("b.safetensors")
