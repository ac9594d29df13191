"""Weights files: what is read, and valid containers of nonsense, each refused in one line."""

import json
import os
import struct
import time
import zipfile

import pytest
import safetensors.torch
import torch

from stylelab.errors import NetworkError
from stylelab.files.weights import build_network, read_weights

GOOD = {"conv1_1.weight": torch.rand(2, 3, 3, 3), "conv1_1.bias": torch.rand(2).double()}
INPUT = {"weight": torch.eye(3)[..., None, None], "bias": torch.zeros(3)}


@pytest.mark.parametrize("nesting", [None, "model", "state_dict"])
@pytest.mark.parametrize("as_zip", [True, False])
def test_state_dicts_are_read_as_float32(tmp_path, nesting, as_zip):
    state = {**GOOD, "epoch": 3}
    torch.save(
        {nesting: state} if nesting else state,
        tmp_path / "a.pth",
        _use_new_zipfile_serialization=as_zip,
    )
    tensors, header = read_weights(tmp_path / "a.pth")
    assert header == {} and tensors.keys() == GOOD.keys()
    for key, value in GOOD.items():
        assert torch.equal(tensors[key], value.float()) and tensors[key].dtype == torch.float32


def test_safetensors_with_a_header(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    header = {"units": {"conv1_1": 64}, "padding": "reflect"}
    texts = {"stylelab": json.dumps(header)}
    safetensors.torch.save_file(GOOD, tmp_path / "a.safetensors", texts)
    tensors, found = read_weights("~/a.safetensors")
    assert found == header and torch.equal(tensors["conv1_1.weight"], GOOD["conv1_1.weight"])


def refused(path) -> str:
    began = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        read_weights(path)
    assert time.monotonic() - began < 10
    message = str(caught.value)
    assert str(path) in message and message.count("\n") == 0
    return message


SPARSE = torch.eye(3).to_sparse()
pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch, of deprecated kinds of tensors
OBJECTS = {
    "integer keys": {1: torch.zeros(2), "conv1_1.bias": torch.zeros(2)},
    "tuple keys": {("a", 1): torch.zeros(2)},
    "bytes keys": {b"conv1_1.bias": torch.zeros(2)},
    "no tensors": {"conv1_1.bias": [1.0, 2.0]},
    "nested twice": {"net": {"conv1_1.bias": torch.zeros(2)}},
    "empty": {},
    "a tensor": torch.zeros(3),
    "a list": [torch.zeros(3)],
    "a number": 3,
    "nothing": None,
    "sparse": {"conv1_1.bias": SPARSE},
    "compressed sparse": {"conv1_1.bias": torch.eye(3).to_sparse_csr()},
    "complex": {"conv1_1.bias": torch.zeros(2, dtype=torch.complex64)},
    "quantised": {"conv1_1.bias": torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8)},
    "meta": {"conv1_1.bias": torch.zeros(2, device="meta")},
    "expanded": {"conv1_1.bias": torch.zeros(1).expand(10**13)},
    "NaN": {"conv1_1.bias": torch.tensor([float("nan")])},
    "many keys": {f"k{i}": torch.empty(0) for i in range(10_001)},
    "many keys of one tensor": dict.fromkeys((f"k{i}" for i in range(30_000)), SPARSE),
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("as_zip", [True, False])
def test_nonsense_is_refused(tmp_path, name, as_zip):
    try:
        torch.save(OBJECTS[name], tmp_path / "a.pth", _use_new_zipfile_serialization=as_zip)
    except Exception:
        pytest.skip("PyTorch does not save it in this format")
    assert "cannot be read as weights" in refused(tmp_path / "a.pth")


HEADERS = ["[]", "3", "null", "", "{", '"a"', f'{{"a": {"9" * 5000}}}', "[" * 100_000]


@pytest.mark.parametrize("header", HEADERS, ids=lambda text: text[:20])
def test_headers_that_are_not_objects(tmp_path, header):
    safetensors.torch.save_file(GOOD, tmp_path / "a.safetensors", {"stylelab": header})
    refused(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "header",
    [
        *({"units": {"conv1_1": count}} for count in (0, -1, 2.0, 2**31, 1e999, True, "2", None)),
        *({"units": units} for units in ({"conv9_1": 2}, [2], "ab", 3)),
        {"padding": []},
        {"pooling": "median"},
    ],
    ids=str,
)
def test_headers_of_nonsense(tmp_path, header):
    with pytest.raises(NetworkError, match="a.safetensors"):
        build_network(tmp_path / "a.safetensors", GOOD, header, INPUT)


def layers(groups: list[int]) -> dict[str, torch.Tensor]:
    """Convolutions of one to one maps in the plain naming."""
    names = [f"conv{g}_{i}" for g, count in enumerate(groups, 1) for i in range(1, count + 1)]
    tensors = {}
    for name in names:
        tensors[f"{name}.weight"] = torch.rand(1, 3 if name == "conv1_1" else 1, 3, 3)
        tensors[f"{name}.bias"] = torch.rand(1)
    return tensors


def renumbered(tensors: dict[str, torch.Tensor], numbers: list[int]) -> dict[str, torch.Tensor]:
    names = list(dict.fromkeys(key[:7] for key in tensors))
    return {
        f"features.{number}.{kind}": tensors[f"{name}.{kind}"]
        for name, number in zip(names, numbers, strict=True)
        for kind in ("weight", "bias")
    }


VGG16 = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # torchvision's numbers of convolutions
VGG19 = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]


@pytest.mark.parametrize(
    ("groups", "numbers"), [([2, 2, 3, 3, 3], VGG16), ([2, 2, 4, 4, 4], VGG19)]
)
def test_torchvisions_numbers_mean_the_same_as_plain_names(groups, numbers):
    plain = layers(groups)
    for length in range(1, len(numbers) + 1):
        part = dict(list(plain.items())[: 2 * length])
        found = build_network("a.pth", renumbered(part, numbers[:length]), {}, INPUT)
        assert found.state_dict().keys() - {"input.weight", "input.bias"} == part.keys()
        assert all(torch.equal(found.state_dict()[key], value) for key, value in part.items())


READOUT = {"readouts.conv1_1": torch.rand(4, 3)}
NO_NETWORKS = {
    "a missing layer": renumbered(layers([2, 1]), [0, 2, 7]),
    "batch normalisation": renumbered(layers([2, 1]), [0, 1, 3]),
    "VGG-11": renumbered(layers([1, 1, 2]), [0, 3, 6, 8]),
    "no bias": {"conv1_1.weight": torch.rand(2, 3, 3, 3)},
    "a bias of no dimension": GOOD | {"conv1_1.bias": torch.tensor(1.0)},
    "a weight of another shape": GOOD | {"conv1_1.weight": torch.rand(2, 4, 3, 3)},
    "a readout of another shape": GOOD | {"readouts.conv1_1": torch.rand(4, 2)},
    "a readout of another rank": GOOD | {"readouts.conv1_1": torch.rand(4, 3, 1)},
    "a readout of no rank": GOOD | {"readouts.conv1_1": torch.tensor(1.0)},
    "a readout of another layer": GOOD | {"readouts.conv1_2": torch.rand(4, 3)},
    "a readout without a name": GOOD | {"readouts.": torch.rand(4, 3)},
}


@pytest.mark.parametrize("name", NO_NETWORKS)
def test_tensors_that_are_no_network(name):
    assert build_network("a.pth", GOOD | READOUT, {}, INPUT).readout("conv1_1").shape == (4, 3)
    with pytest.raises(NetworkError, match="a.pth"):
        build_network("a.pth", NO_NETWORKS[name], {}, INPUT)


def test_containers_that_are_damaged_or_absurd(tmp_path):
    torch.save(GOOD, tmp_path / "good.pth")
    data = (tmp_path / "good.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
        file.writestr("archive/data/0", bytes(10**7))
    for name in ("cut.pth", "text.pth", "text.safetensors", "bomb.pth"):
        refused(tmp_path / name)
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    table = json.dumps({f"k{i}": entry for i in range(300_000)}).encode()
    (tmp_path / "many.safetensors").write_bytes(struct.pack("<Q", len(table)) + table)
    assert "more than 10000 entries" in refused(tmp_path / "many.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such places")
def test_places_that_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "missing.pth", tmp_path / "pipe", "/dev/zero"):
        refused(place)
    for place in ("/proc/self/mem", tmp_path / ("n" * 300), tmp_path / "pipe" / "a"):
        refused(place)
    with pytest.raises(NetworkError, match="not a possible file name"):
        read_weights("a\0.pth")
    if os.getuid():
        (tmp_path / "secret.pth").touch(0)
        refused(tmp_path / "secret.pth")
