"""What is minimised: targets and weights, giving the loss per image and term, and its gradient.

`value_and_grad(image) -> (terms, gradient)` is all an optimiser knows of the method. Losses are the
means of `stylelab.losses`: a ratio alpha/beta means the same on every image size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.losses import content_loss, gram_matrix, style_layer_loss, total_variation
from stylelab.vgg import VGG

# Pixels evaluated at a time on a CPU. Maps of more no longer stay in its caches, and a larger batch
# is slower at once than one image after the other.
CPU_PIXELS = 2**18
Terms = dict[str, Tensor]  # "content conv4_2", "style conv1_1", ... to that weighted loss, (N,)


@dataclass(frozen=True)
class Target:
    """What one layer is to match, for a batch of N images, and how much that counts.

    Attributes:
        values: content: feature maps P, `(N or 1, C, H, W)`; style: Gram matrices A divided by
            their M_l, `(N or 1, C, C)`.
        weight: alpha (content) or beta w_l (style) of each image, `(N,)`; 0 leaves an image out.
    """

    values: Tensor
    weight: Tensor

    def of(self, index: Tensor) -> Tensor:
        """The values of some images of the batch."""
        return self.values if len(self.values) == 1 else self.values[index]


def content_representation(network: VGG, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Feature maps P of `image` `(N, 3, H, W)` at `layers` (paper, section 2.1)."""
    with torch.no_grad():
        return network(image, layers)


def style_representation(network: VGG, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Gram matrices of `image` `(N, 3, H, W)` at `layers`, over M_l, `(N, C, C)` (section 2.2)."""
    with torch.no_grad():
        return {
            layer: gram_matrix(features, network.readout(layer)) / features[0, 0].numel()
            for layer, features in network.walk(image, layers)
        }


class Objective:
    """alpha L_content + beta L_style for each image of a batch (equation 7, in means).

    Images are evaluated in groups that need the network to the same depth, so that a panel matching
    `conv1_2` alone does not pay for one that matches `conv5_1`.

    Args:
        network: where features come from.
        content: targets of content layers, by layer.
        style: targets of style layers, by layer.
        tv_weight: weight of the total variation; 0 (the paper) leaves it out.

    Raises:
        SettingError: if no image, or an image of the batch, has nothing to match.
        NetworkError: for a layer that the network does not have.
    """

    def __init__(
        self,
        network: VGG,
        content: Mapping[str, Target] | None = None,
        style: Mapping[str, Target] | None = None,
        tv_weight: float = 0.0,
    ) -> None:
        self.network, self.tv_weight = network, tv_weight
        self.content, self.style = dict(content or {}), dict(style or {})
        targets = list(self.content.items()) + list(self.style.items())
        if not targets:
            raise SettingError("nothing to match: give a content target, a style target, or both")
        network.check_layers(layer for layer, _ in targets)
        depth = torch.full((len(targets[0][1].weight),), -1)
        for layer, target in targets:
            reach = (target.weight.cpu() != 0) * (network.layers.index(layer) + 1) - 1
            depth = torch.maximum(depth, reach)
        if (depth < 0).any():
            raise SettingError(
                f"image {int((depth < 0).nonzero()[0])} of the batch has nothing to match: "
                "all its weights are 0"
            )
        device = targets[0][1].weight.device
        self.groups: list[tuple[Tensor, set[str]]] = []
        for deepest in depth.unique():
            index = (depth == deepest).nonzero()[:, 0].to(device)
            asked = {layer for layer, target in targets if target.weight[index].any()}
            self.groups.append((index, asked))
        self.names = [f"content {layer}" for layer in self.content]
        self.names += [f"style {layer}" for layer in self.style]
        self.names += ["total variation"] if tv_weight else []

    def value_and_grad(self, image: Tensor) -> tuple[Terms, Tensor]:
        """Weighted losses per term and image, and the gradient of their sum.

        Args:
            image: `(N, 3, H, W)`, sRGB, nominally in [0, 1] (not clamped); evaluated in the
                network's precision, while what is returned has the image's.

        Returns:
            `{term: (N,)}` and the gradient, `(N, 3, H, W)`.
        """
        terms = {name: image.new_zeros(len(image)) for name in self.names}
        gradient = torch.empty_like(image)
        pixels = image.shape[2] * image.shape[3]
        at_once = max(1, CPU_PIXELS // pixels) if image.device.type == "cpu" else len(image)
        groups = [(some, layers) for whole, layers in self.groups for some in whole.split(at_once)]
        for index, layers in groups:
            part = image[index].detach().to(self.network.input.weight.dtype).requires_grad_()
            with torch.enable_grad():
                values = self._terms(part, index, layers)
                total = torch.stack(list(values.values())).sum()
            gradient[index] = torch.autograd.grad(total, part)[0].to(image.dtype)
            for name, value in values.items():
                terms[name][index] = value.detach().to(image.dtype)
        return terms, gradient

    def _terms(self, part: Tensor, index: Tensor, layers: set[str]) -> Terms:
        terms: Terms = {}
        # A layer's loss before the next layer: autograd goes the same way back, and has no gradient
        # of a shallow layer's Gram matrix to keep while it is busy in the deep ones.
        for layer, features in self.network.walk(part, layers):
            units, readout = self.network.units[layer], self.network.readout(layer)
            positions = features[0, 0].numel()
            if (target := self.content.get(layer)) is not None:
                loss = content_loss(features, target.of(index), readout)
                mean = loss * (2 / (units * positions))
                terms[f"content {layer}"] = target.weight[index] * mean
            if (target := self.style.get(layer)) is not None:
                gram = gram_matrix(features, readout)
                mean = 4 * style_layer_loss(gram, target.of(index), positions, 1, units)
                terms[f"style {layer}"] = target.weight[index] * mean
        if self.tv_weight:
            terms["total variation"] = self.tv_weight * total_variation(part)
        return terms
