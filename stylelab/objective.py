"""What is minimised: a list of terms, giving each image's losses and the gradient of their sum.

`value_and_grad(image) -> (terms, gradient)` is all an optimiser knows of the method. Losses are the
means of `stylelab.losses`: a ratio alpha/beta means the same on every image size.

A term has a `name`, a `layer` (None for a term on the pixels), a `weight` for each image `(N,)` and
a method `loss(values, images, network)`. Any object with these can stand in the list. The loss of
a layer's term is a function, `from_sums`, of sums over positions, `sums`: what is summed over parts
of a picture gives the loss of the whole.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.losses import content_loss, gram_matrix, style_layer_loss, total_variation
from stylelab.room import current
from stylelab.rows import of
from stylelab.vgg import VGG, WHOLE, Window, in_one_piece, maps_size

CPU_PIXELS = 2**18  # evaluated at a time on a CPU: maps of more do not stay in its caches
RANGE = 100.0  # weight of pixels out of range, over that of all other terms together
Losses = dict[str, Tensor]  # "content conv4_2", "style conv1_1", ... to that weighted loss, (N,)


def content_representation(network: VGG, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Feature maps P of `image` `(N, 3, H, W)` at `layers` (paper, section 2.1)."""
    found = {}
    for layer, window, features in network.pieces(network, image, layers):
        if window == WHOLE:
            found[layer] = features
            continue
        if layer not in found:
            count, maps = features.shape[:2]
            shape = (count, *maps_size(layer, image.shape[2:]), maps)
            found[layer] = current().like(features, *shape).permute(0, 3, 1, 2)
        found[layer][:, :, *window] = features
    return found


def style_representation(
    network: VGG, image: Tensor, layers: Sequence[str], guides: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Gram matrices of `image` `(N, 3, H, W)` at `layers`, over M_l, `(N, C, C)` (section 2.2).

    `guides` has the guide of each layer, `(N or 1, h, w)`, as `StyleTerm` takes them.
    """
    found = {}
    for layer, window, features in network.pieces(network, image, layers):
        guide = guides and guides[layer][:, *window]
        gram = gram_matrix(features, network.readout(layer), guide)
        found[layer] = found[layer] + gram if layer in found else gram
    return {at: gram / math.prod(maps_size(at, image.shape[2:])) for at, gram in found.items()}


def shown(image: Tensor, view: Tensor | None) -> Tensor:
    """What a network is shown of `image` `(N, 3, H, W)`: its colours times `view` `(N or 1, 3, 3)`.

    None stands for the image as it is.
    """
    return image if view is None else torch.einsum("nij,njhw->nihw", view, image)


class _Summed:
    """A term whose loss is a function of sums over positions."""

    def loss(self, values: Tensor, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of `values` `(n, C, h, w)`, those of `images` `(n,)`."""
        sums = self.sums(values, images, network)
        return self.from_sums(sums, values[0, 0].numel(), images, network)


@dataclass(frozen=True)
class _LayerTerm(_Summed):
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


class ContentTerm(_LayerTerm):
    """The mean content loss (equation 1); the target is P `(N or 1, C, h, w)`, the weight alpha."""

    def sums(
        self, features: Tensor, images: Tensor, network: VGG, window: Window = WHOLE
    ) -> Tensor:
        """L_content `(n,)` of the part of the picture at `window`, whose `features` are given."""
        target = of(images, self.target[:, :, *window]).to(features)
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
        return f"style {self.layer}" if self.number == 1 else f"style {self.number} {self.layer}"

    def guide_of(self, features: Tensor, images: Tensor, window: Window = WHOLE) -> Tensor | None:
        """The guide of `images` at `window`, for `features` that are given there."""
        return None if self.guide is None else of(images, self.guide[:, *window]).to(features)

    def sums(
        self, features: Tensor, images: Tensor, network: VGG, window: Window = WHOLE
    ) -> Tensor:
        """G `(n, C, C)` of the part of the picture at `window`, whose `features` are given."""
        guide = self.guide_of(features, images, window)
        return gram_matrix(features, network.readout(self.layer), guide)

    def from_sums(self, sums: Tensor, positions: int, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of a whole picture, whose maps have so many `positions`."""
        gram, target = sums / positions, of(images, self.target)
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
class OutOfRange(_Summed):
    """How far pixels leave [0, 1], with a weight for each image `(N,)`; not in the paper.

    A picture is saved clamped to [0, 1]. An optimiser that knows nothing of that makes use of
    values outside, and what is saved then has a higher loss than what was optimised.
    """

    weight: Tensor
    name, layer = "out of range", None

    def sums(self, image: Tensor, images: Tensor, network: VGG, window: Window = WHOLE) -> Tensor:
        """The squared excess `(n,)` of `image` `(n, 3, h, w)`, the part of it at `window`."""
        return (image - image.clamp(0, 1)).square().sum((1, 2, 3))

    def from_sums(self, sums: Tensor, positions: int, images: Tensor, network: VGG) -> Tensor:
        """The unweighted loss `(n,)` of a whole image with so many `positions`."""
        return sums / (3 * positions)


Term = ContentTerm | StyleTerm | TotalVariation | OutOfRange


class Objective:
    """The weighted sum of terms for each image of a batch: equation 7, in means.

    Images are evaluated in groups that need the network to the same depth, so that a panel matching
    `conv1_2` alone does not pay for one that matches `conv5_1`.

    Args:
        view: what the network is shown of each image's colours, as `shown` takes it.

    Attributes:
        groups: the images of each group `(n,)`, and the layers that these need.

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
        self.groups: list[tuple[Tensor, set[str]]] = []
        for deepest in depth.unique():
            images = (depth == deepest).nonzero()[:, 0].to(matched[0].weight.device)
            layers = {term.layer for term in matched if term.weight[images].any()}
            self.groups.append((images, layers))

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
        for group, layers in self.groups:
            for images in group.split(at_once):
                part = image[images].detach().to(self.network.dtype).requires_grad_()
                with torch.enable_grad():
                    found = self._losses(part, images, layers, in_one_piece)
                    total = torch.stack([value for _, value in found]).sum()
                gradient[images] = torch.autograd.grad(total, part)[0].to(image.dtype)
                for name, value in found:
                    losses[name][images] += value.detach().to(image.dtype)
        return losses, gradient

    @torch.no_grad()
    def losses(self, image: Tensor) -> Losses:
        """Each term's weighted losses `(N,)` of `image` `(N, 3, H, W)`, without a gradient."""
        images, image = torch.arange(len(image), device=image.device), image.to(self.network.dtype)
        found: Losses = {}
        divides = all(getattr(term, "divides", True) for term in self.terms)
        look = self.network.pieces if divides else in_one_piece
        for name, loss in self._losses(image, images, self.layers, look):
            found[name] = found.get(name, 0) + loss
        return found

    def seen(self, part: Tensor, images: Tensor) -> Tensor:
        """What the network is shown of `part` `(n, 3, h, w)` of `images` `(n,)` of the batch."""
        return part if self.view is None else shown(part, of(images, self.view).to(part))

    def _losses(
        self, part: Tensor, images: Tensor, layers: Iterable[str], look: Callable
    ) -> list[tuple[str, Tensor]]:
        """The terms' names and weighted losses of a part of the batch, looked at in pieces."""
        pieces = look(self.network, self.seen(part, images), layers)
        sums = self.sums(itertools.chain(pieces, [(None, WHOLE, part)]), images, self.network)
        return self.losses_from(sums, images, part.shape[2:])

    def sums(
        self, pieces: Iterable[tuple[str | None, Window, Tensor]], images: Tensor, network: VGG
    ) -> dict[int, Tensor]:
        """What terms, by their number in the list, sum over pieces of pictures, `(n, ...)`.

        A piece is a layer, a window of its maps and the features there; None and pixels. A term
        without `sums` has its loss, and SettingError says so if it does not see all at once.
        """
        found: dict[int, Tensor] = {}
        # A layer's sums before the next layer: autograd goes the same way back, and holds no
        # gradient of a shallow layer's Gram matrix while it is busy in the deep ones.
        for layer, window, values in pieces:
            for number, term in enumerate(self.terms):
                if term.layer != layer:
                    continue
                if hasattr(term, "sums"):
                    part = term.sums(values, images, network, window)
                elif window == WHOLE:
                    part = term.loss(values, images, network)
                else:
                    raise SettingError(f"{term.name} has no `sums`, as a picture in tiles needs")
                found[number] = found[number] + part if number in found else part
        return found

    def losses_from(
        self, sums: Mapping[int, Tensor], images: Tensor, size: Sequence[int]
    ) -> list[tuple[str, Tensor]]:
        """The terms' names and weighted losses `(n,)`, from their sums over (height, width)."""
        found = []
        for number, loss in sums.items():
            term = self.terms[number]
            if hasattr(term, "sums"):
                positions = math.prod(maps_size(term.layer, size) if term.layer else size)
                loss = term.from_sums(loss, positions, images, self.network)
            found.append((term.name, term.weight[images] * loss))
        return found
