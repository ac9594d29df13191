"""Weights files, read without executing anything: their tensors, and the network they describe.

PyTorch and safetensors refuse code and broken containers. Valid containers of nonsense are refused
here, at once: too many entries, other things than tensors, tensors of unusual kinds.

State dicts do not say what an image is to their weights, their *input convention*: torchvision's is
RGB in [0, 1], less ImageNet's mean, over its deviation; Caffe's is BGR in [0, 255] less the mean.
"""

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from stylelab.errors import NetworkError, StylelabError
from stylelab.files.local import atomic, readable
from stylelab.vgg import LAYERS, VGG

SCALE = "scale"  # of each filter, in files of 8 bits: `conv1_1.scale` is that of `conv1_1.weight`
MOST_ENTRIES = 10_000  # VGG-19 has 38
MOST_DESCRIPTION = 4_000_000  # bytes that name and describe the tensors; VGG-19's take 4,000


def imagenet_input() -> dict[str, Tensor]:
    """torchvision's preprocessing as weights of a 1x1 convolution: (rgb - mean) / deviation."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return {"weight": torch.diag(1 / deviation).reshape(3, 3, 1, 1), "bias": -mean / deviation}


def caffe_input() -> dict[str, Tensor]:
    """Caffe's preprocessing as weights of a 1x1 convolution: 255 bgr - mean."""
    weight = 255 * torch.eye(3).flip(0).reshape(3, 3, 1, 1)
    return {"weight": weight, "bias": -torch.tensor([103.939, 116.779, 123.68])}


CONVENTIONS = {"torchvision": imagenet_input, "caffe": caffe_input}


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
        if not isinstance(state, dict) or not isinstance(header, dict):
            raise NetworkError("it holds no dict")
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        if not 0 < len(tensors) <= MOST_ENTRIES:
            raise NetworkError(f"it holds no tensors, or more than {MOST_ENTRIES} entries")
        return restored({k: _as_float(k, value, path) for k, value in tensors.items()}), header
    except Exception as error:  # unpicklers raise nearly anything on damaged files
        reason = str(error) if isinstance(error, NetworkError) else type(error).__name__
        raise NetworkError(
            f"{path} cannot be read as weights ({reason}): expected a state dict saved by "
            "torch.save or safetensors, of tensors alone, and not cut short"
        ) from error


def restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with the weights of 8 bits times their scales, where there are any."""
    found = {key: value for key, value in tensors.items() if not key.endswith(f".{SCALE}")}
    for key in tensors.keys() - found.keys():
        weight, scale = f"{key.removesuffix(SCALE)}weight", tensors[key]
        if weight not in found or scale.shape != found[weight].shape[:1]:
            raise NetworkError(f"{key!r} is no scale of filters that it has")
        found[weight] = found[weight] * scale.view(-1, *[1] * (found[weight].dim() - 1))
    return found


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], object]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > MOST_DESCRIPTION:
        raise NetworkError(f"more than {MOST_ENTRIES} entries")
    with safetensors.safe_open(path, "pt") as file:
        header = (file.metadata() or {}).get("stylelab", "{}")
    return safetensors.torch.load_file(path), json.loads(header)


def _read_torch(path: Path) -> tuple[object, dict]:
    if zipfile.is_zipfile(path):  # torch.save's format, always without compression
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
        pickled = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
        if len(entries) > MOST_ENTRIES or pickled > MOST_DESCRIPTION:
            raise NetworkError(f"more than {MOST_ENTRIES} entries")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise NetworkError("it is compressed")
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return state, {}


def _as_float(key: object, value: Tensor, path: Path) -> Tensor:
    if not isinstance(key, str):
        raise NetworkError(f"a tensor is named {key!r}, which is no text")
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise NetworkError(f"{key!r} is a sparse, quantised or complex tensor")
    if value.device.type != "cpu" or value.numel() > path.stat().st_size:
        raise NetworkError(f"{key!r} has more values than the file")
    value = value.float()
    if not value.isfinite().all():
        raise NetworkError(f"{key!r} holds NaN or infinite values")
    return value


def _names_in_file(keys: Iterable[str]) -> dict[str, str]:
    """What a file calls each layer that it has, in network order: `features.0` for `conv1_1`.

    torchvision numbers all modules: a convolution stands two places after the one before it, or
    three if a pooling is between them.
    """
    stems = {key.removesuffix(".weight") for key in keys}
    spelled = [(layer, stem) for layer in LAYERS for stem in (layer, layer.replace("_", ""))]
    if names := {layer: stem for layer, stem in spelled if stem in stems}:
        return names
    numbers = sorted(int(stem[9:]) for stem in stems if re.fullmatch(r"features\.\d{1,3}", stem))
    group, place = 1, 0
    for before, number in pairwise([-2, *numbers]):
        if number - before not in (2, 3):
            return {}
        group, place = (group + 1, 1) if number - before == 3 else (group, place + 1)
        names[f"conv{group}_{place}"] = f"features.{number}"
    return names


def build_network(
    path: Path,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, object],
    preprocess: Mapping[str, Tensor],
    pooling: str | None = None,
) -> VGG:
    """The network that the tensors of a weights file describe.

    Args:
        path: the file, for messages.
        tensors: its tensors, in torchvision's naming (`features.0.weight`), the plain one
            (`conv1_1.weight`), or that of Wang et al. 2020 (`conv11.weight`, with 1x1 layers
            `conv11_aux` to VGG-19's space, which become readouts).
        header: of vgg19-mini's format: `padding`, `pooling`, `units`; empty for other files.
        preprocess: weight and bias of the 1x1 convolution `input`, unless the file has its own.
        pooling: "avg" or "max"; None is the file's own, or "avg".

    Raises:
        NetworkError: if they do not describe a VGG network.
    """
    names, prefix = _names_in_file(tensors), "readouts."
    readouts = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    distilled = "conv11_aux.weight" in tensors
    state = {f"input.{kind}": value for kind, value in preprocess.items()}
    try:
        for layer, name in [("input", "input"), ("input", "conv0"), *names.items()]:
            keys = {f"{name}.weight", f"{name}.bias"}
            if keys & tensors.keys():
                state |= {key.replace(name, layer): tensors[key] for key in keys}
            if f"{name}_aux.weight" in tensors:
                matrix = tensors[f"{name}_aux.weight"].flatten(1)
                readouts[layer] = torch.cat([matrix, tensors[f"{name}_aux.bias"][:, None]], 1)
        network = VGG(
            {layer: len(state[f"{layer}.bias"]) for layer in names},
            padding="reflect" if distilled else header.get("padding", "zeros"),
            pooling=pooling or header.get("pooling", "max" if distilled else "avg"),
            units=header.get("units") or {name: len(matrix) for name, matrix in readouts.items()},
        )
        network.load_state_dict(state)
        for layer, matrix in readouts.items():
            if matrix.shape[1:] != (network.widths[layer] + 1,):
                raise ValueError(f"the readout of {layer} has the shape {tuple(matrix.shape)}")
            network.readouts[layer] = nn.Parameter(matrix, requires_grad=False)
        are_counts = [type(count) is int and 0 < count < 2**31 for count in network.units.values()]
        if network.units.keys() != network.widths.keys() or not all(are_counts):
            raise ValueError("units must be whole numbers above 0, for layers it has")
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError, StylelabError) as e:
        raise NetworkError(
            f"{path} is not a VGG network: expected the weights and biases of 3x3 convolutions "
            "from conv1_1 on, named features.0.weight, conv1_1.weight or conv11.weight, and "
            "readouts, if there are any, that fit them"
        ) from e
    return network


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
