"""A full network in a small file: weights of 8 bits, cut off at a layer.

VGG-19 down to conv5_1 has 13 MB so, in place of 575. Each filter's weights are whole numbers from
-127 to 127, times a scale of its own. Biases are in float32, and so is conv1_1: its few weights are
7 kB, and their error would be in all that follows. `measured` says what 8 bits cost, on the
photographs that networks are rescaled with. `stylelab.files.weights` reads such files, so that
`stylelab.load` takes them as any other.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from stylelab import gallery
from stylelab.errors import NetworkError, SettingError
from stylelab.files.local import atomic
from stylelab.files.weights import SCALE, restored
from stylelab.losses import gram_matrix
from stylelab.networks import PHOTOGRAPHS
from stylelab.vgg import VGG

MOST = 127


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """`weight` `(N, ...)` as whole numbers, int8, and the scale of each filter, `(N,)`.

    A filter's largest weight becomes 127 or -127. A smaller scale, which cuts off the largest few,
    was no better at any layer.
    """
    rows = weight.flatten(1)
    scale = rows.abs().amax(1).clamp_min(torch.finfo(rows.dtype).tiny * MOST) / MOST
    return (rows / scale[:, None]).round().to(torch.int8).view_as(weight), scale


@torch.no_grad()
def export(network: VGG, path: str | os.PathLike[str], last: str) -> dict[str, dict[str, float]]:
    """Write `network`, as it was trained, down to the layer `last`; returns the errors `measured`.

    Raises:
        SettingError: if `path` does not end in .safetensors.
        NetworkError: for a layer that it does not have, or a network that is rescaled already or
            has readouts.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise SettingError(f"{path} must end in .safetensors; name such a file")
    (last,) = network.check_layers([last])
    if network.rescaled or network.readouts:
        raise NetworkError(
            f"{network.name} is not a full network as it was trained: load one with rescale=False"
        )
    layers, tensors = network.up_to(last), {}
    for name in ("input", *layers):
        conv = network.get_submodule(name)
        tensors[f"{name}.weight"] = conv.weight.float().cpu().contiguous()
        tensors[f"{name}.bias"] = conv.bias.float().cpu()
        if name not in ("input", "conv1_1"):
            tensors[f"{name}.weight"], scale = quantised(tensors[f"{name}.weight"])
            tensors[f"{name}.{SCALE}"] = scale
    small = VGG(
        {layer: network.widths[layer] for layer in layers},
        padding=network.padding,
        pooling=network.pooling,
    )
    small.load_state_dict(restored({name: tensor.float() for name, tensor in tensors.items()}))
    small.convolution = network.convolution
    errors = measured(network, small, (gallery.open(name, 256) for name in PHOTOGRAPHS))
    header = {"padding": network.padding, "pooling": network.pooling, "as_trained": True}
    header |= {"bits": 8, "source": network.name, "source_sha256": network.sha256, "errors": errors}
    with atomic(path) as file:
        metadata = {"stylelab": json.dumps(header, sort_keys=True)}
        file.write_bytes(safetensors.torch.save(tensors, metadata))
    return errors


@torch.no_grad()
def measured(network: VGG, other: VGG, images: Iterable[Tensor]) -> dict[str, dict[str, float]]:
    """How far `other` is from `network` at each of its layers, over `images` `(1, 3, H, W)`.

    Per layer the relative errors ||x' - x|| / ||x|| of "features" and of "style": Gram matrices.
    """
    sums = {layer: torch.zeros(2, 2, dtype=torch.float64) for layer in other.layers}
    for image in images:
        pairs = (n.features_by_layer(image.to(n.device), other.layers) for n in (network, other))
        for (layer, x), (_, y) in zip(*pairs, strict=True):
            g, h = (gram_matrix(z) / z[0, 0].numel() for z in (x, y))
            rows = ((y - x, x), (h - g, g))
            sums[layer] += torch.tensor([[float(z.square().sum()) for z in row] for row in rows])
    shares = {layer: (found[:, 0] / found[:, 1]).sqrt().tolist() for layer, found in sums.items()}
    return {layer: {"features": f, "style": s} for layer, (f, s) in shares.items()}
