"""The pictures of a batch, a row each: their numbers, targets and vectors of pixels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

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
    rows = list(found.values()) if len(found) == 1 else [found[key] for key in keys]
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


class Room:
    """Where an optimiser keeps its vectors `(N, D)`, and how it works on them: here in memory.

    `stylelab.engine.scratch.Scratch` keeps them in files. What is `made` does not change later.
    """

    block = 2**25  # columns worked on at a time, so that what is temporary stays small

    def like(self, vector: Tensor, *shape: int) -> Tensor:
        """Zeros of a shape, or room for a vector as large."""
        return vector.new_zeros(shape) if shape else torch.empty_like(vector)

    def aside(self, vector: Tensor) -> Tensor:
        """`vector`, where it need not be in memory while a loss is evaluated."""
        return vector

    def blocks(self, vector: Tensor) -> Iterator[slice]:
        """The columns of a vector, a block after the other."""
        for first in range(0, vector.shape[1], self.block):
            yield slice(first, first + self.block)

    def made(self, function: Callable[..., Tensor], *vectors: Tensor) -> Tensor:
        """A vector of which each number depends on those at its place."""
        if type(self) is Room and vectors[0].shape[1] <= self.block:
            return function(*vectors)
        found = self.like(vectors[0])
        for at in self.blocks(found):
            found[:, at] = function(*(each[:, at] for each in vectors))
        return found

    def choice(self, mask: Tensor, these: Tensor, others: Tensor) -> Tensor:
        """Images of `these` where the mask `(N, 1)` says so, the `others` elsewhere."""
        if len(mask) == 1 and mask.device.type == "cpu":  # no copy; asking a GPU would wait for it
            return these if mask else others
        return self.made(partial(torch.where, mask), these, others)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Inner product of each image of `(N, D)` tensors, `(N, 1)`."""
        return sum((a[:, at] * b[:, at]).sum(1, keepdim=True) for at in self.blocks(a))

    def is_finite(self, vector: Tensor) -> Tensor:
        """Whether all numbers of each image are finite, `(N, 1)`."""
        each = [vector[:, at].abs().amax(1) for at in self.blocks(vector)]  # amax keeps NaN
        return torch.stack(each, 1).isfinite().all(1, keepdim=True)
