"""The pictures of a batch, a row each: their numbers and targets."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.vgg import VGG


def place(network: VGG, image: Tensor) -> Tensor:
    """`image` on the network's device and in its precision, as autograd can use it."""
    if not isinstance(network, VGG):
        raise SettingError(f"network must be a VGG, as stylelab.load gives it; got {network!r}")
    image = image.to(network.device, network.dtype)
    return image.clone() if image.is_inference() else image


def targets(
    network: VGG, represent: Callable[..., dict[str, Tensor]], sources: Sequence[tuple]
) -> dict[str, Tensor]:
    """By layer, what is to be matched by each picture of a batch, `(N, ...)`.

    `represent` gives it for an image, which comes first in its source, and whatever else is there.
    Equal sources are represented once; if all are equal, the targets are `(1, ...)`.
    """
    found, keys = {}, [tuple(map(id, source)) for source in sources]
    for key, (image, *rest) in zip(keys, sources, strict=True):
        if key not in found:
            found[key] = represent(place(network, image), *rest)
    if len(found) == 1:
        return next(iter(found.values()))
    rows = [found[key] for key in keys]
    return {layer: torch.cat([row[layer] for row in rows]) for layer in rows[0]}


def weights_of(
    layers: Sequence[str] | Mapping[str, float], name: str = "layers"
) -> dict[str, float]:
    """The weight of each of `layers`: its own, or the paper's w_l, 1 / (number of layers).

    SettingError, which calls them `name`, if they are neither names nor weights by name.
    """
    several = isinstance(layers, (Sequence, Mapping)) and not isinstance(layers, str)
    if not several or not layers or not all(isinstance(layer, str) for layer in layers):
        raise SettingError(f"{name} must name layers, as ['conv4_2'] does; got {layers!r}")
    if isinstance(layers, Mapping):
        return dict(layers)
    return dict.fromkeys(layers, 1 / len(set(layers)))


def columns(network: VGG, rows: Sequence[Mapping[str, float]]) -> dict[str, Tensor]:
    """Per layer, its weight in each row, 0 where a row lacks it: `(N,)`."""
    layers = dict.fromkeys(layer for each in rows for layer in each)
    return {layer: row(network, [each.get(layer, 0.0) for each in rows]) for layer in layers}


def row(network: VGG, numbers: Sequence[float]) -> Tensor:
    """One number for each image, `(N,)`."""
    return network.input.weight.new_tensor(numbers)


def of(images: Tensor, tensor: Tensor) -> Tensor:
    """The rows of `images` `(n,)`; a tensor of length 1 is every image's."""
    return tensor if len(tensor) == 1 else tensor[images.to(tensor.device)]
