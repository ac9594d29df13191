"""An objective in tiles: the losses and the gradient of the whole image, in the memory of a tile.

All losses are functions of sums over positions (`stylelab.objective`). A first pass sums over the
tiles, without gradients. The gradients of the losses with respect to these sums are then fixed, and
a second pass takes each tile alone through the network, forward and backward; where the pixels that
tiles see overlap, their gradients are added. Both passes can share out the tiles among devices.
"""

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from stylelab.engine.memory import is_memory
from stylelab.engine.tiles import Tile, tiles
from stylelab.objective import Losses, Objective
from stylelab.vgg import VGG

LEAST = 128  # side of a tile: in smaller ones, margins take nearly all of the time


class TiledObjective(Objective):
    """An `Objective` that is evaluated in tiles; its numbers are those of the whole, to rounding.

    Where memory is short in an evaluation, that is done again in smaller tiles, and a line says so.

    Args:
        objective: what is evaluated. Its terms on layers need `sums` and `from_sums`.
        side: of a tile, in pixels; None is the whole image.
        devices: where tiles are computed, several at a time; one may stand there twice. Without
            any it is the network's.
    """

    def __init__(
        self, objective: Objective, side: int | None, devices: Sequence[torch.device] = ()
    ) -> None:
        vars(self).update(vars(objective))
        self.side = side
        self._whole = [t for t in self.terms if t.layer is None and not hasattr(t, "sums")]
        self._parts = copy.copy(objective)
        self._parts.terms = [t for t in self.terms if all(t is not each for each in self._whole)]
        copies = {self.network.device: self.network}
        for device in devices:
            if device not in copies:
                copies[device] = copy.deepcopy(self.network).to(device)
        self._networks = [copies[device] for device in devices] or [self.network]

    def value_and_grad(self, image: Tensor) -> tuple[Losses, Tensor]:
        """As `Objective.value_and_grad`."""
        while True:
            try:
                if self.side is None and self._networks == [self.network]:
                    return super().value_and_grad(image)
                return self._value_and_grad(image)
            except (MemoryError, RuntimeError) as error:
                if not is_memory(error) or not self._shrink(max(image.shape[2:])):
                    raise
            if image.device.type == "cuda":
                torch.cuda.empty_cache()

    def _shrink(self, longest: int) -> bool:
        """Halve the tiles, if they are not small already."""
        side = min(self.side or longest, longest)
        if side <= LEAST:
            return False
        self.side = max(LEAST, side // 2)
        said = f"stylelab: memory ran out; the work goes on in tiles of {self.side} pixels"
        tqdm.write(said, file=sys.stderr)
        return True

    def _value_and_grad(self, image: Tensor) -> tuple[Losses, Tensor]:
        losses = {term.name: image.new_zeros(len(image)) for term in self.terms}
        gradient, size = torch.zeros_like(image), tuple(image.shape[2:])
        for group, layers in self.groups:
            found = tiles(self.network, layers, size, self.side)
            for images, row in zip(group.split(1), group.tolist(), strict=True):
                one, slopes = image[row : row + 1].detach(), gradient[row : row + 1]
                for name, loss in chain(
                    self._in_tiles(one, images, found, slopes), self._at_once(one, images, slopes)
                ):
                    losses[name][row] += loss[0].to(image.dtype)
        return losses, gradient

    def _in_tiles(
        self, one: Tensor, images: Tensor, found: list[Tile], gradient: Tensor
    ) -> list[tuple[str, Tensor]]:
        """The losses of one image of the batch; adds to its `gradient`, `(1, 3, H, W)`."""
        sums: dict[int, Tensor] = {}
        for part in self._each(lambda *where: self._sums(*where, one, images), found):
            sums = {n: sums[n] + each.to(one.device) if sums else each for n, each in part.items()}
        leaves = {number: each.detach().requires_grad_() for number, each in sums.items()}
        with torch.enable_grad():
            losses = self._parts.losses_from(leaves, images, tuple(one.shape[2:]))
            total = torch.stack([loss for _, loss in losses]).sum()
        slopes = dict(zip(leaves, torch.autograd.grad(total, [*leaves.values()]), strict=True))
        work = lambda *where: (where[1], self._slope(*where, one, images, slopes))  # noqa: E731
        for tile, slope in self._each(work, found):
            gradient[:, :, *tile.seen] += slope.to(gradient)
        return [(name, loss.detach()) for name, loss in losses]

    def _at_once(
        self, one: Tensor, images: Tensor, gradient: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """The losses of terms that see all pixels of one image; adds to its `gradient`."""
        for term in self._whole:
            pixels = one.to(self.network.dtype).requires_grad_()
            with torch.enable_grad():
                loss = term.weight[images] * term.loss(pixels, images, self.network)
            gradient += torch.autograd.grad(loss.sum(), pixels)[0].to(gradient.dtype)
            yield term.name, loss.detach()

    def _each(self, work: Callable[[VGG, Tile], Any], found: list[Tile]) -> Iterator[Any]:
        """`work` for each tile, in order: as many at a time as there are devices."""
        if len(self._networks) == 1:
            yield from (work(self._networks[0], tile) for tile in found)
            return
        at_once = len(self._networks)
        with ThreadPoolExecutor(at_once) as pool:
            for first in range(0, len(found), at_once):
                yield from pool.map(work, self._networks, found[first : first + at_once])

    @torch.no_grad()
    def _sums(self, network: VGG, tile: Tile, one: Tensor, images: Tensor) -> dict[int, Tensor]:
        """What the terms sum over a tile."""
        return self._sums_of(network, tile, _pixels(network, tile, one), images)

    @torch.enable_grad()
    def _slope(
        self, network: VGG, tile: Tile, one: Tensor, images: Tensor, slopes: dict[int, Tensor]
    ) -> Tensor:
        """The gradient with respect to the pixels that a tile sees, from that of the sums."""
        pixels = _pixels(network, tile, one).requires_grad_()
        sums = self._sums_of(network, tile, pixels, images)
        total = sum((each * slopes[number].to(each)).sum() for number, each in sums.items())
        return torch.autograd.grad(total, pixels)[0]

    def _sums_of(
        self, network: VGG, tile: Tile, pixels: Tensor, images: Tensor
    ) -> dict[int, Tensor]:
        features = tile.features(network, self.seen(pixels, images))
        pieces = ((layer, tile.window(layer), values) for layer, values in features)
        own = (None, tile.owned_pixels, pixels[:, :, *tile.own])
        return self._parts.sums(chain(pieces, [own]), images, network)


def _pixels(network: VGG, tile: Tile, one: Tensor) -> Tensor:
    """What a tile sees of an image `(1, 3, H, W)`, on the network's device."""
    return one[:, :, *tile.seen].detach().to(network.device, network.dtype)
