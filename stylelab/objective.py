"""What is minimised: a list of terms, giving each image's losses and the gradient of their sum.

`value_and_grad(image) -> (terms, gradient)` is all an optimiser knows of the method. Losses are the
means of `stylelab.losses`: a ratio alpha/beta means the same on every image size.

A term has a `name`, a `layer` (None for a term on the pixels), a `weight` for each image `(N,)` and
a method `loss(values, images, network)`. Any object with these can stand in the list. The loss of
a layer's term is a function, `from_sums`, of sums over positions, `sums`: what is summed over parts
of a picture gives the loss of the whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.losses import content_loss, gram_matrix, style_layer_loss, total_variation
from stylelab.vgg import VGG

CPU_PIXELS = 2**18  # evaluated at a time on a CPU: maps of more do not stay in its caches
RANGE = 100.0  # weight of pixels out of range, over that of all other terms together
Window = tuple[slice, slice]  # the rows and columns of a layer's maps that features cover
WHOLE: Window = (slice(None), slice(None))
Losses = dict[str, Tensor]  # "content conv4_2", "style conv1_1", ... to that weighted loss, (N,)


def content_representation(network: VGG, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Feature maps P of `image` `(N, 3, H, W)` at `layers` (paper, section 2.1)."""
    with torch.no_grad():
        return network(image, layers)


def style_representation(
    network: VGG, image: Tensor, layers: Sequence[str], guides: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Gram matrices of `image` `(N, 3, H, W)` at `layers`, over M_l, `(N, C, C)` (section 2.2).

    `guides` has the guide of each layer, `(N or 1, h, w)`, as `StyleTerm` takes them.
    """
    with torch.no_grad():
        return {
            layer: gram_matrix(features, network.readout(layer), guides and guides[layer])
            / features[0, 0].numel()
            for layer, features in network.features_by_layer(image, layers)
        }


def shown(image: Tensor, view: Tensor | None) -> Tensor:
    """What a network is shown of `image` `(N, 3, H, W)`: its colours times `view` `(N or 1, 3, 3)`.

    None stands for the image as it is.
    """
    return image if view is None else torch.einsum("nij,njhw->nihw", view, image)


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


def _of(images: Tensor, tensor: Tensor) -> Tensor:
    """The rows of `images` `(n,)`; a tensor of length 1 is every image's."""
    return tensor if len(tensor) == 1 else tensor[images.to(tensor.device)]


@dataclass(frozen=True)
class _LayerTerm:
    """What one layer is to match.

    Attributes:
        layer: where features are compared.
        target: what to match, `(N or 1, ...)`; a target of length 1 is every image's.
        weight: of each image, `(N,)`; 0 leaves an image out.
    """

    layer: str
    target: Tensor
    weight: Tensor

    @property
    def name(self) -> str:
        return f"{type(self).__name__.removesuffix('Term').lower()} {self.layer}"

    def loss(self, features: Tensor, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of `features` `(n, C, h, w)`, those of `images` `(n,)`."""
        sums = self.sums(features, images, network)
        return self.from_sums(sums, features[0, 0].numel(), images, network)


class ContentTerm(_LayerTerm):
    """The mean content loss (equation 1); the target is P `(N or 1, C, h, w)`, the weight alpha."""

    def sums(
        self, features: Tensor, images: Tensor, network: VGG, window: Window = WHOLE
    ) -> Tensor:
        """L_content `(n,)` of the part of the picture at `window`, whose `features` are given."""
        target = _of(images, self.target[:, :, *window]).to(features)
        return content_loss(features, target, network.readout(self.layer))

    def from_sums(self, sums: Tensor, positions: int, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of a whole picture, whose maps have so many `positions`."""
        return sums * (2 / (network.units[self.layer] * positions))


@dataclass(frozen=True)
class StyleTerm(_LayerTerm):
    """The mean style loss (equation 4); the target is A / M_l `(N or 1, C, C)`, the weight w_l.

    Attributes:
        guide: T `(N or 1, h, w)`, where in the picture the style is matched, with a mean square of
            1; None stands for ones.
        number: which of a picture's styles this is, from 1.
    """

    guide: Tensor | None = None
    number: int = 1

    @property
    def name(self) -> str:
        return super().name if self.number == 1 else f"style {self.number} {self.layer}"

    def sums(
        self, features: Tensor, images: Tensor, network: VGG, window: Window = WHOLE
    ) -> Tensor:
        """G `(n, C, C)` of the part of the picture at `window`, whose `features` are given."""
        guide = self.guide
        if guide is not None:
            guide = _of(images, guide[:, *window]).to(features)
        return gram_matrix(features, network.readout(self.layer), guide)

    def from_sums(self, sums: Tensor, positions: int, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of a whole picture, whose maps have so many `positions`."""
        gram, target = sums / positions, _of(images, self.target)
        return 4 * style_layer_loss(gram, target, 1, 1, network.units[self.layer])


@dataclass(frozen=True)
class TotalVariation:
    """The total variation of the pixels, with a weight for each image `(N,)`; not in the paper."""

    weight: Tensor
    name, layer = "total variation", None

    def loss(self, image: Tensor, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of `image` `(n, 3, H, W)`."""
        return total_variation(image)


@dataclass(frozen=True)
class OutOfRange:
    """How far pixels leave [0, 1], with a weight for each image `(N,)`; not in the paper.

    A picture is saved clamped to [0, 1]. An optimiser that knows nothing of that makes use of
    values outside, and what is saved then has a higher loss than what was optimised.
    """

    weight: Tensor
    name, layer = "out of range", None

    def loss(self, image: Tensor, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of `image` `(n, 3, H, W)`: the mean squared excess."""
        return (image - image.clamp(0, 1)).square().mean((1, 2, 3))


Term = ContentTerm | StyleTerm | TotalVariation | OutOfRange


class Objective:
    """The weighted sum of terms for each image of a batch: equation 7, in means.

    Images are evaluated in groups that need the network to the same depth, so that a panel matching
    `conv1_2` alone does not pay for one that matches `conv5_1`.

    Args:
        view: what the network is shown of each image's colours, as `shown` takes it.

    Raises:
        SettingError: if no layer is matched, or an image of the batch matches none.
        NetworkError: for a layer that the network does not have.
    """

    def __init__(self, network: VGG, terms: Sequence[Term], view: Tensor | None = None):
        self.network, self.terms, self.view = network, list(terms), view
        matched = [term for term in self.terms if term.layer is not None]
        if not matched:
            raise SettingError("nothing to match: give a content term, a style term, or both")
        self.layers = network.check_layers(term.layer for term in matched)
        depth = torch.full((len(matched[0].weight),), -1)
        for term in matched:
            reach = (term.weight.cpu() != 0) * (network.layers.index(term.layer) + 1) - 1
            depth = torch.maximum(depth, reach)
        if (depth < 0).any():
            image = int((depth < 0).nonzero()[0])
            raise SettingError(
                f"image {image} of the batch has nothing to match: its weights are 0"
            )
        self._groups: list[tuple[Tensor, set[str]]] = []
        for deepest in depth.unique():
            images = (depth == deepest).nonzero()[:, 0].to(matched[0].weight.device)
            layers = {term.layer for term in matched if term.weight[images].any()}
            self._groups.append((images, layers))

    def value_and_grad(self, image: Tensor) -> tuple[Losses, Tensor]:
        """Each term's weighted losses `(N,)`, by its name, and the gradient of their sum.

        `image` and gradient are `(N, 3, H, W)`; sRGB, nominally in [0, 1], not clamped. The network
        has a precision of its own; what is returned has the image's.
        """
        losses = {term.name: image.new_zeros(len(image)) for term in self.terms}
        gradient = torch.empty_like(image)
        at_once = len(image)
        if image.device.type == "cpu":
            at_once = max(1, CPU_PIXELS // (image.shape[2] * image.shape[3]))
        for group, layers in self._groups:
            for images in group.split(at_once):
                part = image[images].detach().to(self.network.dtype).requires_grad_()
                with torch.enable_grad():
                    found = self._losses(part, images, layers)
                    total = torch.stack([value for _, value in found]).sum()
                gradient[images] = torch.autograd.grad(total, part)[0].to(image.dtype)
                for name, value in found:
                    losses[name][images] += value.detach().to(image.dtype)
        return losses, gradient

    @torch.no_grad()
    def losses(self, image: Tensor) -> Losses:
        """Each term's weighted losses `(N,)` of `image` `(N, 3, H, W)`, without a gradient."""
        every = torch.arange(len(image), device=image.device)
        return dict(self._losses(image.to(self.network.dtype), every, set(self.layers)))

    def _losses(self, part: Tensor, images: Tensor, layers: set[str]) -> list[tuple[str, Tensor]]:
        """The weighted losses of a part of the batch, with the names of their terms."""

        def weighted(layer: str | None, values: Tensor) -> list[tuple[str, Tensor]]:
            return [
                (term.name, term.weight[images] * term.loss(values, images, self.network))
                for term in self.terms
                if term.layer == layer
            ]

        found = []
        # A layer's loss before the next layer: autograd goes the same way back, and holds no
        # gradient of a shallow layer's Gram matrix while it is busy in the deep ones.
        seen = part if self.view is None else shown(part, _of(images, self.view))
        for layer, features in self.network.features_by_layer(seen, layers):
            found += weighted(layer, features)
        return found + weighted(None, part)
