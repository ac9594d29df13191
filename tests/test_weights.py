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
from stylelab.files.weights import read_weights

GOOD = {"conv1_1.weight": torch.rand(2, 3, 3, 3), "conv1_1.bias": torch.rand(2).double()}


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
    "many keys of one tensor": dict.fromkeys((f"k{i}" for i in range(300_000)), SPARSE),
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("as_zip", [True, False])
def test_nonsense_is_refused(tmp_path, name, as_zip):
    try:
        torch.save(OBJECTS[name], tmp_path / "a.pth", _use_new_zipfile_serialization=as_zip)
    except Exception:
        pytest.skip("PyTorch does not save it in this format")
    assert "cannot be read as weights" in refused(tmp_path / "a.pth")


HEADERS = ["[]", "3", "null", "", "{", '"a"', '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}']
HEADERS += ['{"a": [1000000000000]}', f'{{"a": {"9" * 5000}}}', "[" * 100_000]


@pytest.mark.parametrize("header", HEADERS, ids=lambda text: text[:20])
def test_headers_that_are_not_objects_or_hold_absurd_numbers(tmp_path, header):
    safetensors.torch.save_file(GOOD, tmp_path / "a.safetensors", {"stylelab": header})
    refused(tmp_path / "a.safetensors")


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
