"""Weights files: tensors by name, read without executing anything, or one clear error.

PyTorch and safetensors refuse code and broken containers. Valid containers of nonsense are refused
here, at once: too many entries, other things than tensors, tensors of unusual kinds.
"""

import json
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stylelab.errors import NetworkError, StylelabError
from stylelab.files.local import atomic, readable

MOST_ENTRIES = 10_000  # VGG-19 has 38
MOST_DESCRIPTION = 4_000_000  # bytes that name and describe the tensors; VGG-19's take 4,000


class _Nonsense(Exception):
    """What is wrong with the content of a file."""


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
        if path.suffix == ".safetensors":
            state, header = _read_safetensors(path)
        else:
            state, header = _read_torch(path), {}
        return {key: _as_float(key, value, path) for key, value in state.items()}, header
    except Exception as error:  # unpicklers raise nearly anything on damaged files
        reason = str(error) if isinstance(error, _Nonsense) else type(error).__name__
        raise NetworkError(
            f"{path} cannot be read as weights ({reason}): expected a state dict saved by "
            "torch.save or safetensors, of tensors alone, and not cut short"
        ) from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    with path.open("rb") as start:
        if int.from_bytes(start.read(8), "little") > MOST_DESCRIPTION:
            raise _Nonsense(f"more than {MOST_ENTRIES} entries")
    with safetensors.safe_open(path, "pt") as file:
        keys = _check_keys(file.keys())
        text = (file.metadata() or {}).get("stylelab", "{}")
        return {key: file.get_tensor(key) for key in keys}, _parse_header(text)


def _read_torch(path: Path) -> dict[str, Tensor]:
    if zipfile.is_zipfile(path):  # torch.save's format, always without compression
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
        pickled = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
        if len(entries) > MOST_ENTRIES or pickled > MOST_DESCRIPTION:
            raise _Nonsense(f"more than {MOST_ENTRIES} entries")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise _Nonsense("it is compressed")
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise _Nonsense(f"it holds no dict but a {type(state).__name__}")
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    _check_keys(tensors)
    return tensors


def _check_keys(keys: Iterable[object]) -> list[str]:
    keys = list(keys)
    if not keys:
        raise _Nonsense("it holds no tensors")
    if len(keys) > MOST_ENTRIES:
        raise _Nonsense(f"more than {MOST_ENTRIES} entries")
    for key in keys:
        if not isinstance(key, str):
            raise _Nonsense(f"a tensor is named {key!r}, which is no text")
    return keys


def _as_float(key: str, value: Tensor, path: Path) -> Tensor:
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise _Nonsense(f"{key!r} is a sparse, quantised or complex tensor")
    if value.device.type != "cpu" or value.numel() > path.stat().st_size:
        raise _Nonsense(f"{key!r} has more values than the file")
    if not value.isfinite().all():
        raise _Nonsense(f"{key!r} holds NaN or infinite values")
    return value.float()


def _parse_header(text: str) -> dict:
    def number(digits: str) -> int | float:
        value = int(digits) if digits.lstrip("-").isdigit() else float(digits)
        if not abs(value) < 1e9:
            raise _Nonsense(f"its header holds the number {digits[:20]}")
        return value

    header = json.loads(text, parse_int=number, parse_float=number, parse_constant=number)
    if not isinstance(header, dict):
        raise _Nonsense("its header is not a JSON object")
    return header


def cached(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in `path`; where that cannot be read they are made, and kept there if possible.

    A folder that cannot be written to is no error: the tensors are then made each time.
    """
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError):
        tensors = make()
    try:
        with atomic(path) as file:
            file.write_bytes(safetensors.torch.save(tensors))
    except StylelabError:
        pass
    return tensors
