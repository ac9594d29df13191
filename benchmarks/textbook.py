"""The textbook's style transfer, to compare with: written from the paper, and as its authors' loop.

Every layer down to the network's last is evaluated and kept, in PyTorch's default memory format;
`torch.optim.LBFGS` without line search does 20 iterations a call, with 100 pairs of history. The
network's weights, padding and readouts are stylelab's, and so is what is minimised: the means of
`stylelab.losses`. What differs is the way there.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylelab.vgg import CONTENT_LAYER, LAYERS, STYLE_LAYERS, VGG

HISTORY = 100  # the default of torch.optim.LBFGS


class TextbookVGG(nn.Module):
    """A plain VGG-19 with the weights of `network`; gives all its activations by name."""

    def __init__(self, network: VGG) -> None:
        super().__init__()
        self.pool = (nn.AvgPool2d if network.pooling == "avg" else nn.MaxPool2d)(2)
        self.names = network.layers
        self.input = nn.Conv2d(3, 3, 1)
        self.input.load_state_dict(network.input.state_dict())
        before = 3
        for layer, width in network.widths.items():
            conv = nn.Conv2d(before, width, 3, padding=1, padding_mode=network.padding)
            conv.load_state_dict(network.get_submodule(layer).state_dict())
            self.add_module(layer, conv)
            before = width
        self.requires_grad_(False).to(network.input.weight)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """The activations of `image` `(1, 3, H, W)` after every convolution and pooling."""
        found, x = {}, self.input(image)
        for layer in self.names:
            x = found[layer] = F.relu(self.get_submodule(layer)(x))
            if layer == LAYERS[-1] or LAYERS[LAYERS.index(layer) + 1].endswith("_1"):
                x = found[f"pool{layer[4]}"] = self.pool(x)
        return found


class TextbookLoss:
    """alpha L_content + beta L_style of one image, in means, beta 1, w_l = 1/5."""

    def __init__(self, network: VGG, content: Tensor, style: Tensor, alpha_beta: float) -> None:
        self.vgg, self.units, self.alpha = TextbookVGG(network), network.units, alpha_beta
        used = (CONTENT_LAYER, *STYLE_LAYERS)
        self.readouts = {layer: network.readout(layer) for layer in used}
        with torch.no_grad():
            self.content = self.vgg(content.contiguous())[CONTENT_LAYER]
            found = self.vgg(style.contiguous())
            self.grams = {layer: self.gram(layer, found[layer]) for layer in STYLE_LAYERS}

    def gram(self, layer: str, features: Tensor) -> Tensor:
        """The Gram matrix, or with a readout R that of R [F; 1], over the positions."""
        flat = features.flatten(2)
        positions = flat.shape[2]
        gram = torch.bmm(flat, flat.transpose(1, 2)) / positions
        if (readout := self.readouts[layer]) is None:
            return gram
        means = flat.mean(2, keepdim=True)
        upper = torch.cat([gram, means], 2)
        lower = torch.cat([means.transpose(1, 2), torch.ones_like(means[:, :1])], 2)
        return readout @ torch.cat([upper, lower], 1) @ readout.T

    def __call__(self, image: Tensor) -> Tensor:
        """The loss of `image` `(1, 3, H, W)`, a scalar to call `backward` on."""
        found = self.vgg(image)
        features, readout = found[CONTENT_LAYER], self.readouts[CONTENT_LAYER]
        if readout is None:
            content = F.mse_loss(features, self.content)
        else:
            difference = (features - self.content)[0].flatten(1)
            units = self.units[CONTENT_LAYER] * difference.shape[1]
            content = (readout[:, :-1] @ difference).square().sum() / units
        loss = self.alpha * content
        for layer, target in self.grams.items():
            error = F.mse_loss(self.gram(layer, found[layer]), target, reduction="sum")
            loss = loss + error / self.units[layer] ** 2 / len(self.grams)
        return loss


class Textbook:
    """The optimiser at work on one image; `loss` may be exchanged between steps.

    With `per_call` 1 a step can be timed by itself: the same iterations, one in each call.
    """

    def __init__(self, loss: Callable[[Tensor], Tensor], start: Tensor, per_call: int = 20) -> None:
        self.loss, self.image = loss, start.detach().clone().contiguous().requires_grad_()
        # In units of [0, 1] the default tolerances would end the loop at once.
        self.optimiser = torch.optim.LBFGS(
            [self.image], max_iter=per_call, tolerance_grad=0, tolerance_change=0
        )
        self.records: list[tuple[float, float]] = []  # seconds and loss of each evaluation
        self.began = time.perf_counter()

    def _closure(self) -> Tensor:
        self.optimiser.zero_grad()
        loss = self.loss(self.image)
        loss.backward()
        self.records.append((loss.item(), time.perf_counter() - self.began)[::-1])
        return loss

    def step(self) -> None:
        """`per_call` iterations: evaluations of loss and gradient, each followed by an update."""
        self.optimiser.step(self._closure)

    def run(self, evaluations: int) -> list[tuple[float, float]]:
        """The whole loop; seconds since the start, and loss, at each evaluation."""
        while len(self.records) < evaluations:
            self.step()
        return self.records[:evaluations]

    @property
    def stored(self) -> int:
        """Pairs in the history."""
        return len(self.optimiser.state[self.image].get("old_dirs", ()))
