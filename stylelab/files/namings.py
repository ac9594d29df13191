"""From the tensors of a weights file, in any known naming, to a network."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from stylelab.errors import NetworkError, StylelabError
from stylelab.vgg import VGG


def _layer_names(keys: Iterable[str]) -> dict[str, str]:
    """Layers as the paper names them, by their names in a file, in network order.

    torchvision numbers all modules: a convolution stands two places after the one before it, or
    three if a pooling is between them.
    """
    names, group, number, before = {}, 1, 0, -2
    stems = {key.removesuffix(".weight") for key in keys if key.endswith(".weight")}
    for stem in stems:
        if match := re.fullmatch(r"conv([1-5])_?([1-4])", stem):
            names[stem] = f"conv{match[1]}_{match[2]}"
    for index in sorted(
        int(stem[9:]) for stem in stems if re.fullmatch(r"features\.\d{1,3}", stem)
    ):
        group, number = (group + 1, 1) if index - before == 3 else (group, number + 1)
        names[f"features.{index}"] = f"conv{group}_{number}"
        before = index
    return dict(sorted(names.items(), key=lambda item: item[1]))


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
    names, state, readouts = _layer_names(tensors), {}, {}
    own = next((name for name in ("conv0", "input") if f"{name}.weight" in tensors), None)
    distilled = "conv11_aux.weight" in tensors
    try:
        for kind in ("weight", "bias"):
            state[f"input.{kind}"] = tensors[f"{own}.{kind}"] if own else preprocess[kind]
            state |= {f"{layer}.{kind}": tensors[f"{key}.{kind}"] for key, layer in names.items()}
        for key, layer in names.items():
            if f"readouts.{layer}" in tensors:
                readouts[layer] = tensors[f"readouts.{layer}"]
            elif f"{key}_aux.weight" in tensors:
                aux = tensors[f"{key}_aux.weight"].flatten(1), tensors[f"{key}_aux.bias"][:, None]
                readouts[layer] = torch.cat(aux, 1)
        network = VGG(
            {layer: len(state[f"{layer}.bias"]) for layer in names.values()},
            padding="reflect" if distilled else header.get("padding", "zeros"),
            pooling=pooling or header.get("pooling", "max" if distilled else "avg"),
            units=header.get("units") or {name: len(matrix) for name, matrix in readouts.items()},
        )
        network.load_state_dict(state)
        for layer, matrix in readouts.items():
            if matrix.dim() != 2 or matrix.shape[1] != network.widths[layer] + 1:
                raise ValueError(f"the readout of {layer} has the shape {tuple(matrix.shape)}")
            network.readouts[layer] = nn.Parameter(matrix, requires_grad=False)
        for layer, count in network.units.items():
            if layer not in network.widths or type(count) is not int or not 0 < count < 2**31:
                raise ValueError("units must be whole numbers above 0, for layers it has")
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError, StylelabError) as e:
        raise NetworkError(
            f"{path} is not a VGG network: expected the weights and biases of 3x3 convolutions "
            "from conv1_1 on, named features.0.weight, conv1_1.weight or conv11.weight, all "
            "finite, and readouts, if there are any, that fit them"
        ) from e
    return network
