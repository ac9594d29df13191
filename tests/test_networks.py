"""Weights: namings, input conventions, the common scale, and files that are not weights."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from stylelab import gallery, networks, rescale
from stylelab.distil import readouts
from stylelab.errors import DownloadError, NetworkError, SettingError
from stylelab.files import download
from stylelab.losses import gram_matrix
from stylelab.vgg import LAYERS, STYLE_LAYERS

FEATURES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)  # torchvision's indices


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plain(tiny_network):
    """A small network's weights in the plain naming."""
    state = tiny_network(dtype=torch.float32).state_dict()
    return {key: value for key, value in state.items() if key.startswith("conv")}


def renamed(plain, naming):
    if naming == "plain":
        return dict(plain)
    indices = dict(zip(LAYERS, FEATURES, strict=True))
    return {f"features.{indices[key[:7]]}{key[7:]}": value for key, value in plain.items()}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("naming", ["plain", "torchvision"])
def test_a_file_of_the_users(plain, tmp_path, naming, suffix):
    file, state = tmp_path / f"mine{suffix}", renamed(plain, naming)
    state["classifier.0.weight"] = torch.zeros(3, 3)
    torch.save(state, file) if suffix == ".pth" else safetensors.torch.save_file(state, file)
    network = networks.load(str(file))
    assert network.name == "mine" and network.sha256 == download.sha256_of(file)
    assert network.pooling == "avg" and network.layers == LAYERS[:13]
    image = gallery.open("coffee", 64)
    found = network(image, ["conv1_1"])["conv1_1"]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image - mean[:, None, None]) / deviation[:, None, None]
    raw = nn.functional.conv2d(x, plain["conv1_1.weight"], plain["conv1_1.bias"], padding=1).relu()
    ratio = (raw.mean((0, 2, 3)) / found.mean((0, 2, 3)))[:, None, None]
    torch.testing.assert_close(found * ratio, raw)


def test_loaded_files_have_mean_activation_one(plain, tmp_path, cache):
    torch.save(plain, tmp_path / "mine.pth")
    first = networks.load(str(tmp_path / "mine.pth"))
    photographs = [gallery.open(name, 256) for name in rescale.PHOTOGRAPHS]
    means = torch.cat(list(rescale.mean_activations(first, photographs).values()))
    is_one = (means - 1).abs() < 1e-3
    assert (is_one | (means < 1)).all()  # below 1: filters that are as good as silent
    assert is_one.float().mean() > 0.9
    assert len(list(cache.glob("activations-*-avg.safetensors"))) == 1
    again = networks.load(str(tmp_path / "mine.pth"))  # now from the cache
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_a_cache_that_cannot_be_written_to_costs_only_time(plain, tmp_path, cache, monkeypatch):
    torch.save(plain, tmp_path / "mine.pth")
    expected = networks.load(str(tmp_path / "mine.pth")).state_dict()
    for file in cache.iterdir():
        file.unlink()
    write = Path.write_bytes

    def refuse(path, data):
        if path.parent == cache:
            raise OSError(30, "Read-only file system", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    found = networks.load(str(tmp_path / "mine.pth")).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    assert list(cache.iterdir()) == []


def test_rescaling_changes_neither_the_function_nor_the_readouts(tiny_network):
    network = tiny_network(readouts=True)
    image = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    before = network(image, network.layers)
    grams = {layer: gram_matrix(x, network.readout(layer)) for layer, x in before.items()}
    means = {layer: x.mean((0, 2, 3)) for layer, x in before.items()}
    rescale.rescale(network, means)
    for layer, x in network(image, network.layers).items():
        scale = means[layer].clamp_min(0.01 * means[layer].mean())[:, None, None]
        torch.testing.assert_close(x * scale, before[layer])
        torch.testing.assert_close(gram_matrix(x, network.readout(layer)), grams[layer])


def test_the_distilled_naming_has_readouts(plain, tmp_path):
    state = {key.replace("_", "", 1): value for key, value in plain.items()}
    state["conv0.weight"], state["conv0.bias"] = torch.eye(3)[..., None, None], torch.zeros(3)
    for layer in STYLE_LAYERS:
        state[f"{layer.replace('_', '')}_aux.weight"] = torch.rand(20, 6, 1, 1)
        state[f"{layer.replace('_', '')}_aux.bias"] = torch.rand(20)
    torch.save({"model": state, "epoch": 20}, tmp_path / "distilled.pth")
    network = networks.load(str(tmp_path / "distilled.pth"))
    means = rescale.mean_activations(network, [gallery.open(n, 256) for n in rescale.PHOTOGRAPHS])
    assert network.units["conv4_2"] == int((means["conv4_2"] > 0.99).sum())  # silent: not counted
    assert network.pooling == "max" and network.padding == "reflect"
    assert network.readout("conv4_1").shape == (20, 7) and network.readout("conv4_2") is None
    assert network.units["conv4_1"] == 20


def test_our_own_format_keeps_distances(tiny_network, tmp_path):
    network, file = tiny_network(dtype=torch.float32), tmp_path / "own.safetensors"
    fitted = {"conv2_1": torch.randn(30, 7).double(), "conv4_2": torch.randn(4, 7).double()}
    readouts.attach(network, fitted, {"conv2_1": 30, "conv4_2": 3})
    readouts.save(network, file, {"note": "a test"})
    loaded = networks.load(str(file))
    assert loaded.padding == "reflect" and loaded.units["conv2_1"] == 30
    assert loaded.units["conv4_2"] == 3 and loaded.readout("conv2_1").shape == (7, 7)
    image = torch.rand(1, 3, 32, 32)
    for layer, matrix in fitted.items():
        norms = []
        for net, readout in ((network, matrix.float()), (loaded, loaded.readout(layer))):
            norms.append(gram_matrix(net(image, [layer])[layer], readout).norm())
        torch.testing.assert_close(norms[0], norms[1], rtol=5e-3, atol=0)  # half-precision weights


def test_known_by_hash_a_copy_of_the_caffe_weights_gets_caffes_input(plain, tmp_path, monkeypatch):
    file = tmp_path / "copy.pth"
    torch.save(plain, file)
    source = replace(networks.SOURCES["vgg19-caffe"], sha256=download.sha256_of(file)[:8])
    monkeypatch.setitem(networks.SOURCES, "vgg19-caffe", source)
    x = networks.load(str(file)).input(torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1))
    expected = torch.tensor([0.3, 0.2, 0.1]) * 255 - torch.tensor([103.939, 116.779, 123.68])
    torch.testing.assert_close(x.flatten(), expected)


def test_random_networks_are_seeded():
    weights = [networks.load(name).conv5_4.weight for name in ("random", "random:0", "random:1")]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert weights[0].std() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    with pytest.raises(NetworkError, match="whole number"):
        networks.load("random:x")


class Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("content", ["empty", "text", "truncated", "pickle", "other", "list"])
def test_files_that_are_not_weights_are_refused(plain, tmp_path, content, capsys):
    file = tmp_path / "weights.pth"
    torch.save(plain, file)
    data = file.read_bytes()
    made = {"empty": b"", "text": b"not weights\n", "truncated": data[: len(data) // 2]}
    if content in made:
        file.write_bytes(made[content])
    elif content == "pickle":
        file.write_bytes(pickle.dumps({"conv1_1.weight": Evil()}))
    else:
        torch.save([1, 2] if content == "list" else {"fc.weight": torch.zeros(2)}, file)
    with pytest.raises(NetworkError, match="weights.pth"):
        networks.load(str(file))
    assert "executed" not in capsys.readouterr().out


def test_weights_of_wrong_shapes_are_refused(plain, tmp_path):
    plain["conv2_1.weight"] = torch.zeros(6, 5, 3, 3)
    torch.save(plain, tmp_path / "mine.pth")
    with pytest.raises(NetworkError, match=r"mine.pth is not a VGG-19"):
        networks.load(str(tmp_path / "mine.pth"))


def test_a_named_network_is_downloaded_checked_and_used(plain, tmp_path, monkeypatch, cache):
    """The download itself is tested in test_download; here it is replaced by a copy."""
    published = tmp_path / "published.pth"
    torch.save(renamed(plain, "torchvision"), published)
    digest = download.sha256_of(published)
    source = replace(networks.SOURCES["vgg19"], sha256=digest[:8], file=f"vgg19-{digest[:8]}.pth")
    monkeypatch.setitem(networks.SOURCES, "vgg19", source)
    asked = []

    def fetch(url, path, sha256, **options):
        asked.append((url, sha256))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(published.read_bytes())
        return path

    monkeypatch.setattr(download, "fetch", fetch)
    assert not networks.is_cached("vgg19")
    network = networks.load("vgg19")
    assert asked == [(source.url, digest[:8])] and networks.is_cached("vgg19")
    assert network.name == "vgg19" and network.sha256 == digest


def test_no_download_is_one_sentence(monkeypatch):
    monkeypatch.setattr(download, "TRIES", 1)
    source = replace(networks.SOURCES["vgg19"], url="http://127.0.0.1:9/vgg19.pth")
    monkeypatch.setitem(networks.SOURCES, "vgg19", source)
    with pytest.raises(DownloadError, match=r"127.0.0.1:9/vgg19.pth.*dcbb9e9d"):
        networks.load("vgg19")


def test_the_embedded_network_is_the_one_shipped():
    network = networks.load("vgg19-mini")
    assert network.sha256 == networks.SOURCES["vgg19-mini"].sha256
    assert network.pooling == "avg" and network.padding == "reflect"
    assert network.layers == LAYERS[:13]
    assert all(network.readout(layer) is not None for layer in network.layers)
    assert [network.units[layer] for layer in STYLE_LAYERS] == [64, 128, 256, 512, 512]


def test_a_damaged_embedded_network_is_noticed(monkeypatch):
    source = replace(networks.SOURCES["vgg19-mini"], sha256="0" * 64)
    monkeypatch.setitem(networks.SOURCES, "vgg19-mini", source)
    with pytest.raises(NetworkError, match="reinstall stylelab"):
        networks.load("vgg19-mini")


def test_unknown_names_and_devices():
    with pytest.raises(NetworkError, match="no network 'vgg16'; known are vgg19-mini, vgg19"):
        networks.load("vgg16")
    with pytest.raises(SettingError, match="device must be auto, cpu, cuda or mps"):
        networks.pick_device("gpu")
    with pytest.raises(NetworkError, match="nothing to fetch"):
        networks.fetch("random")
    assert networks.pick_device("cpu") == torch.device("cpu")
