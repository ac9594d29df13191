"""Weights files: tensors by name, read without executing anything, or one clear error.

PyTorch and safetensors refuse code and broken containers. Valid containers of nonsense are refused
here, at once: too many entries, other things than tensors, tensors of unusual kinds.
"""

import json
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stylelab.errors import NetworkError, StylelabError
from stylelab.files.local import atomic, readable

MOST_ENTRIES = 10_000  # VGG-19 has 38
MOST_DESCRIPTION = 4_000_000  # bytes that name and describe the tensors; VGG-19's take 4,000


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a weights file by name, as float32, and the header of stylelab's own format.

    Reads state dicts saved by `torch.save` (also under the key "model" or "state_dict") and
    `.safetensors`. The header is the JSON object under "stylelab" in the metadata of a safetensors
    file, and {} for any other file.

    Raises:
        NetworkError: if the file cannot be read, or holds anything else.
    """
    path = readable(path, NetworkError, "a file of weights")
    try:
        state, header = (_read_safetensors if path.suffix == ".safetensors" else _read_torch)(path)
        _require(isinstance(state, dict) and isinstance(header, dict), "it holds no dict")
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        _require(len(tensors) > 0, "it holds no tensors")
        _require(len(tensors) <= MOST_ENTRIES, f"more than {MOST_ENTRIES} entries")
        return {key: _as_float(key, value, path) for key, value in tensors.items()}, header
    except Exception as error:  # unpicklers raise nearly anything on damaged files
        reason = str(error) if isinstance(error, NetworkError) else type(error).__name__
        raise NetworkError(
            f"{path} cannot be read as weights ({reason}): expected a state dict saved by "
            "torch.save or safetensors, of tensors alone, and not cut short"
        ) from error


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise NetworkError(otherwise)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], object]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    _require(size <= MOST_DESCRIPTION, f"more than {MOST_ENTRIES} entries")
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads((file.metadata() or {}).get("stylelab", "{}"))
        return {key: file.get_tensor(key) for key in file.keys()}, header


def _read_torch(path: Path) -> tuple[object, dict]:
    if zipfile.is_zipfile(path):  # torch.save's format, always without compression
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
        pickled = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
        is_short = len(entries) <= MOST_ENTRIES and pickled <= MOST_DESCRIPTION
        _require(is_short, f"more than {MOST_ENTRIES} entries")
        is_stored = sum(entry.file_size for entry in entries) <= path.stat().st_size
        _require(is_stored, "it is compressed")
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return state, {}


def _as_float(key: object, value: Tensor, path: Path) -> Tensor:
    _require(isinstance(key, str), f"a tensor is named {key!r}, which is no text")
    is_plain = value.layout == torch.strided and not (value.is_quantized or value.is_complex())
    _require(is_plain, f"{key!r} is a sparse, quantised or complex tensor")
    is_in_file = value.device.type == "cpu" and value.numel() <= path.stat().st_size
    _require(is_in_file, f"{key!r} has more values than the file")
    value = value.float()
    _require(bool(value.isfinite().all()), f"{key!r} holds NaN or infinite values")
    return value


def cached(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in `path`; where that cannot be read they are made, and kept there if possible.

    A folder that cannot be written to is no error: the tensors are then made each time.
    """
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError):
        tensors = make()
    with suppress(StylelabError), atomic(path) as file:
        file.write_bytes(safetensors.torch.save(tensors))
    return tensors
