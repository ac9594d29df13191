"""From the tensors of a weights file, in any known naming, to a network."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from stylelab.errors import NetworkError, StylelabError
from stylelab.vgg import ARCHITECTURES, VGG


def _convolutions(
    state: Mapping[str, Tensor], architecture: Iterable[str]
) -> tuple[dict[str, Tensor], list[str], bool]:
    """The convolutions in `state`, renamed from any known naming; the layers that they make, and
    whether these are a leading part of the architecture's."""
    plain, index = {}, 0
    for layer in architecture:
        index += 1 if layer.endswith("_1") and layer != "conv1_1" else 0  # a pooling before it
        for kind in ("weight", "bias"):
            plain_name, torchvision_name = f"{layer}.{kind}", f"features.{index}.{kind}"
            for key in (plain_name, torchvision_name, plain_name.replace("_", "")):
                if key in state:
                    plain[plain_name] = state[key]
        index += 2  # the convolution and its ReLU
    layers = [layer for layer in architecture if f"{layer}.bias" in plain]
    return plain, layers, layers == list(architecture)[: len(layers)]


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
    convolutions, layers, _ = max(
        (_convolutions(tensors, each) for each in ARCHITECTURES.values()),
        key=lambda found: (found[2], len(found[0])),
    )
    prefix, state = "readouts.", dict(convolutions)
    readouts = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        if distilled := "conv11_aux.weight" in tensors:
            for layer in layers:
                aux = f"{layer.replace('_', '')}_aux"
                if f"{aux}.weight" in tensors:
                    matrix = tensors[f"{aux}.weight"].flatten(1)
                    readouts[layer] = torch.cat([matrix, tensors[f"{aux}.bias"][:, None]], 1)
        network = VGG(
            {layer: len(convolutions[f"{layer}.bias"]) for layer in layers},
            padding="reflect" if distilled else header.get("padding", "zeros"),
            pooling=pooling or header.get("pooling", "max" if distilled else "avg"),
            units=header.get("units") or {name: len(matrix) for name, matrix in readouts.items()},
        )
        own = next((name for name in ("conv0", "input") if f"{name}.weight" in tensors), None)
        for kind in ("weight", "bias"):
            state[f"input.{kind}"] = tensors[f"{own}.{kind}"] if own else preprocess[kind]
        network.load_state_dict(state)
        for layer, matrix in readouts.items():
            if matrix.dim() != 2 or matrix.shape[1] != network.widths[layer] + 1:
                raise ValueError(f"the readout of {layer} has the shape {tuple(matrix.shape)}")
            network.readouts[layer] = nn.Parameter(matrix, requires_grad=False)
        counts = network.units.values()
        if set(network.units) != set(layers) or not all(
            type(count) is int and 0 < count < 2**31 for count in counts
        ):
            raise ValueError("units must be whole numbers above 0, for layers it has")
        if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
            raise ValueError("there are weights that are not finite")
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError, StylelabError) as e:
        raise NetworkError(
            f"{path} is not a VGG network: expected the weights and biases of 3x3 convolutions "
            "from conv1_1 on, named features.0.weight, conv1_1.weight or conv11.weight, all "
            "finite, and readouts, if there are any, that fit them"
        ) from e
    return network
