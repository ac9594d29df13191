"""Networks: namings, input conventions, the common scale, and files that do not fit together."""

import json
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import nn

from stylelab import gallery, networks
from stylelab.engine.devices import pick_device
from stylelab.errors import NetworkError, SettingError
from stylelab.files import download
from stylelab.files.local import sha256_of
from stylelab.losses import gram_matrix
from stylelab.vgg import LAYERS, STYLE_LAYERS, mean_activations

FEATURES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)  # torchvision's indices of VGG-19
ALL = LAYERS[:13]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STYLELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plain(tiny_network):
    """A small network's weights in the plain naming."""
    state = tiny_network(dtype=torch.float32).state_dict()
    return {key: value for key, value in state.items() if key.startswith("conv")}


def as_torchvision(plain):
    indices = dict(zip(ALL, FEATURES, strict=True))
    return {f"features.{indices[key[:7]]}{key[7:]}": value for key, value in plain.items()}


def load(state, path, header=None):
    """The network loaded from `path`, where `state` is written."""
    texts = {"stylelab": json.dumps(header)} if header is not None else None
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path, texts)
    return networks.load(str(path))


@pytest.mark.parametrize("file", ["mine.pth", "mine.safetensors"])
@pytest.mark.parametrize("naming", [dict, as_torchvision])
def test_a_file_of_the_users(plain, tmp_path, naming, file):
    network = load(naming(plain) | {"classifier.0.weight": torch.zeros(3, 3)}, tmp_path / file)
    assert network.name == "mine" and network.sha256 == sha256_of(tmp_path / file)
    assert network.pooling == "avg" and network.layers == ALL
    image = gallery.open("coffee", 64)
    found = network(image, ["conv1_1"])["conv1_1"]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image - mean[:, None, None]) / deviation[:, None, None]
    raw = nn.functional.conv2d(x, plain["conv1_1.weight"], plain["conv1_1.bias"], padding=1).relu()
    ratio = (raw.mean((0, 2, 3)) / found.mean((0, 2, 3)))[:, None, None]
    torch.testing.assert_close(found * ratio, raw)


def test_loaded_files_have_mean_activation_one_which_the_cache_remembers(plain, tmp_path, cache):
    first = load(plain, tmp_path / "mine.pth")
    photographs = [gallery.open(name, 256) for name in networks.PHOTOGRAPHS]
    means = torch.cat(list(mean_activations(first, photographs).values()))
    is_one = (means - 1).abs() < 1e-3
    assert (is_one | (means < 1)).all()  # below 1: filters that are as good as silent
    assert is_one.float().mean() > 0.9
    (kept,) = cache.iterdir()
    doubled = {layer: 2 * mean for layer, mean in safetensors.torch.load_file(kept).items()}
    for means, factor in ((None, 1.0), (doubled, 0.5)):  # from the cache, whatever it says
        if means:
            safetensors.torch.save_file(means, kept)
        again = networks.load(str(tmp_path / "mine.pth"))
        torch.testing.assert_close(again.conv1_1.weight, factor * first.conv1_1.weight)
    kept.unlink()
    cache.rmdir()
    cache.touch()  # no folder, and none can be made: that costs only time
    again = networks.load(str(tmp_path / "mine.pth")).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.state_dict().items())


def test_the_distilled_naming_has_readouts(plain, tmp_path):
    state = {key.replace("_", "", 1): value for key, value in plain.items()}
    state["conv0.weight"], state["conv0.bias"] = torch.eye(3)[..., None, None], torch.zeros(3)
    for layer in STYLE_LAYERS:
        state[f"{layer.replace('_', '')}_aux.weight"] = torch.rand(20, 6, 1, 1)
        state[f"{layer.replace('_', '')}_aux.bias"] = torch.rand(20)
    network = load({"model": state, "epoch": 20}, tmp_path / "distilled.pth")
    assert network.pooling == "max" and network.padding == "reflect"
    assert network.readout("conv4_1").shape == (20, 7) and network.readout("conv4_2") is None
    assert network.units["conv4_1"] == 20
    image = torch.rand(1, 3, 8, 8)
    x = nn.functional.pad(image, (1, 1, 1, 1), mode="reflect")
    x = nn.functional.conv2d(x, plain["conv1_1.weight"], plain["conv1_1.bias"]).relu()
    aux = (state[f"conv11_aux.{kind}"] for kind in ("weight", "bias"))
    expected = gram_matrix(nn.functional.conv2d(x, *aux))  # of the features that it predicts
    found = gram_matrix(network(image, ["conv1_1"])["conv1_1"], network.readout("conv1_1"))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("digest", [True, False])
def test_a_copy_of_the_caffe_weights_is_known_by_its_hash(plain, tmp_path, monkeypatch, digest):
    torch.save(plain, tmp_path / "copy.pth")
    known = sha256_of(tmp_path / "copy.pth")[:8] if digest else "0" * 8
    source = SimpleNamespace(**vars(networks.info("vgg19-caffe")) | {"sha256": known})
    monkeypatch.setitem(networks.sources(), "vgg19-caffe", source)
    x = networks.load(str(tmp_path / "copy.pth")).input(
        torch.tensor([0.1, 0.2, 0.3])[None, :, None, None]
    )
    expected = torch.tensor([0.3, 0.2, 0.1]) * 255 - torch.tensor([103.939, 116.779, 123.68])
    assert torch.allclose(x.flatten(), expected) == digest


def test_the_input_convention_of_ones_own_weights(plain, tmp_path, cache):
    file, image = tmp_path / "mine.pth", torch.tensor([0.1, 0.2, 0.3])[None, :, None, None]
    caffe = torch.tensor([0.3, 0.2, 0.1]) * 255 - torch.tensor([103.939, 116.779, 123.68])
    load(plain, file)
    for convention in ("caffe", "torchvision"):
        network = networks.load(str(file), convention=convention)
        assert torch.allclose(network.input(image).flatten(), caffe) == (convention == "caffe")
        mean = mean_activations(network, [gallery.open(name, 256) for name in networks.PHOTOGRAPHS])
        assert mean["conv1_1"].max() == pytest.approx(1, rel=1e-3)  # each has means of its own
    with pytest.raises(SettingError, match="convention must be one of torchvision, caffe"):
        networks.load(str(file), convention="rgb")
    own = {"input.weight": torch.eye(3)[..., None, None], "input.bias": torch.zeros(3)}
    load(plain | own, tmp_path / "own.pth")
    for name in ("vgg19-mini", "random", "random:3", str(tmp_path / "own.pth")):
        with pytest.raises(NetworkError, match="has its own input convention"):
            networks.load(name, convention="caffe")


def test_weights_stay_as_they_were_trained_on_request(plain, tmp_path, cache):
    scaled = load(plain, tmp_path / "mine.pth")
    network = networks.load(str(tmp_path / "mine.pth"), rescale=False)
    assert scaled.rescaled and not network.rescaled
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in plain.items())
    assert not torch.equal(scaled.conv1_1.weight, network.conv1_1.weight)
    assert network.units == scaled.units == network.widths  # silent filters are counted


def test_random_networks_are_seeded():
    weights = [networks.load(name).conv5_4.weight for name in ("random", "random:0", "random:1")]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert weights[0].std() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


NAN = float("nan")
CHANGES = {  # of a file in our own format; None: without it
    "a convolution of wrong shape": {"conv2_1.weight": torch.zeros(6, 5, 3, 3)},
    "a convolution of wrong rank": {"conv2_1.weight": torch.zeros(6)},
    "a bias of no rank": {"conv1_1.bias": torch.tensor(1.0)},
    "no first layer": {"conv1_1.weight": None, "conv1_1.bias": None},
    "no bias": {"conv3_1.bias": None},
    "a gap": {"conv3_1.weight": None, "conv3_1.bias": None},
    "no convolution": dict.fromkeys(f"{layer}.{k}" for layer in ALL for k in ("weight", "bias")),
    "weights that are NaN": {"conv2_1.weight": torch.full((6, 6, 3, 3), NAN)},
    "an input of wrong shape": {
        "input.weight": torch.zeros(3, 4, 1, 1),
        "input.bias": torch.zeros(3),
    },
    "half an input": {"input.weight": torch.zeros(3, 3, 1, 1)},
    "a readout of wrong width": {"readouts.conv1_1": torch.zeros(7, 6)},
    "a readout of wrong rank": {"readouts.conv1_1": torch.zeros(7)},
    "a readout of three axes": {"readouts.conv1_1": torch.zeros(7, 7, 1)},
    "an empty readout": {"readouts.conv1_1": torch.zeros(0, 7)},
    "a readout of no layer": {"readouts.conv9_1": torch.zeros(7, 7)},
    "a readout without a name": {"readouts.": torch.zeros(7, 7)},
    "a readout that is NaN": {"readouts.conv1_1": torch.full((7, 7), NAN)},
}
HEADERS = [
    *({"units": {"conv1_1": count}} for count in (0, -1, 2.5, True, "6", None, 2**40, [6])),
    *({"units": units} for units in ({"conv9_1": 6}, [6], "six", 6)),
    {"padding": "wrap"}, {"padding": 1}, {"pooling": "sum"}, {"pooling": ["avg"]},
]  # fmt: skip


@pytest.mark.parametrize("what", [*CHANGES, *map(json.dumps, HEADERS)])
def test_a_file_that_makes_no_network_is_refused_in_one_line(plain, tmp_path, what):
    header = {"padding": "reflect"} if what in CHANGES else json.loads(what)
    plain["readouts.conv1_1"] = torch.rand(7, 7)
    assert load(plain, tmp_path / "good.safetensors", {"units": {"conv1_1": 64}}).layers == ALL
    state = plain | CHANGES.get(what, {})
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(NetworkError, match="mine.safetensors") as caught:
        load(state, tmp_path / "mine.safetensors", header)
    assert str(caught.value).count("\n") == 0


def test_a_named_network_is_downloaded_checked_and_used(plain, tmp_path, monkeypatch):
    """The download itself is tested in test_download; here it is replaced by a copy."""
    published, asked = tmp_path / "published.pth", []
    torch.save(as_torchvision(plain), published)
    digest = sha256_of(published)
    changed = {"sha256": digest[:8], "file": f"vgg19-{digest[:8]}.pth"}
    source = SimpleNamespace(**vars(networks.info("vgg19")) | changed)
    monkeypatch.setitem(networks.sources(), "vgg19", source)

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


def test_the_embedded_network_is_the_one_shipped(monkeypatch):
    network, source = networks.load("vgg19-mini"), networks.info("vgg19-mini")
    assert network.sha256 == source.sha256
    assert network.pooling == "max" and network.padding == "reflect" and network.layers == ALL
    assert all(network.readout(layer) is not None for layer in ALL)
    assert [network.units[layer] for layer in STYLE_LAYERS] == [64, 128, 256, 512, 512]
    damaged = SimpleNamespace(**vars(source) | {"sha256": "0" * 64})
    monkeypatch.setitem(networks.sources(), "vgg19-mini", damaged)
    with pytest.raises(NetworkError, match="reinstall"):
        networks.load("vgg19-mini")


@pytest.mark.parametrize("name", ["vgg16", "random:x", "random:-1", "random:٣", "random:1e3", ""])
def test_unknown_networks(name):
    with pytest.raises(NetworkError):
        networks.load(name)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name, kind in (("auto", "cuda"), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1")):
        assert pick_device(name) == torch.device(kind)
    for name in (
        "gpu",
        "cpu:3",
        "cuda:",
        "cuda:x",
        "cuda:-1",
        "cuda:١",
        "cuda:2",
        "mps",
        "mps:0",
        "",
    ):
        with pytest.raises(SettingError, match="device"):
            pick_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
