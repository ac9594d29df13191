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

from stylelab.engine import memory, scratch
from stylelab.engine.tiles import Tile, tiles
from stylelab.errors import SettingError
from stylelab.lbfgs import State
from stylelab.objective import Losses, Objective
from stylelab.optimisation import Run
from stylelab.vgg import VGG


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
        scratch.rest()
        while True:
            try:
                if self.side is None and self._networks == [self.network]:
                    return super().value_and_grad(image)
                return self._value_and_grad(image)
            except (MemoryError, RuntimeError) as error:
                if not memory.is_memory(error) or not self._shrink(max(image.shape[2:])):
                    raise
            if image.device.type == "cuda":
                torch.cuda.empty_cache()

    def _shrink(self, longest: int) -> bool:
        """Halve the tiles, if they are not small already."""
        side = min(self.side or longest, longest)
        if side <= memory.LEAST:
            return False
        self.side = max(memory.LEAST, side // 2)
        _say(f"memory ran out; the work goes on in tiles of {self.side} pixels")
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


class InTiles:
    """A hook (see `stylelab.optimisation`) that has large images evaluated in tiles.

    Give it after a network's own hooks, of which one is a hook like it that tiles nothing but what
    is too large for the memory:

        transfer(network, content, style, hooks=[*network.hooks, InTiles(1024)])

    Args:
        side: of a tile, in pixels; None chooses it by the memory.
        memory: bytes that this process may use; None means what is free.
        devices: where tiles are computed, several at a time: see `TiledObjective`.

    Attributes:
        used: the side of the tiles of the latest run; None if that had none.
    """

    def __init__(
        self,
        side: int | None = None,
        memory: float | None = None,
        devices: Sequence[torch.device] = (),
    ) -> None:
        self.side, self.memory, self.devices = side, memory, tuple(devices)
        self.used: int | None = None

    def __call__(self, run: Run, states: Iterator[State]) -> Iterator[State]:
        """Choose tiles for `run`, and say which.

        Raises:
            SettingError: if tiles are asked for, and a term on a layer cannot be summed over them.
        """
        objective = run.objective
        if isinstance(objective, Objective) and not isinstance(objective, TiledObjective):
            terms = [term for term in objective.terms if term.layer is not None]
            unfit = [term.name for term in terms if not hasattr(term, "sums")]
            if not unfit:
                run.objective = tiled = self._tiled(run)
                self.used = tiled.side
                try:
                    yield from states
                finally:
                    self.used = tiled.side
                return
            elif self.side or self.devices:
                raise SettingError(
                    f"{unfit[0]} has no `sums` and `from_sums`, which a picture in tiles needs; "
                    "write them, or ask for no tiles"
                )
        yield from states

    def _tiled(self, run: Run) -> TiledObjective:
        asked, size, side = memory.asked_of(run), tuple(run.start.shape[2:]), self.side
        why = ""
        if side is None:
            there = memory.left(self.memory, str(run.start.device))
            side, need = memory.side_within(there, *asked), memory.needed(*asked)
            why = f", as at once they may need {need / 1e9:.1f} GB of {max(there, 0) / 1e9:.1f} GB"
        network, layers = run.objective.network, run.objective.layers
        while (count := len(tiles(network, layers, size, side))) < len(self.devices):
            if side == memory.LEAST:
                break
            side = max(memory.LEAST, min(side or max(size), max(size)) // 2)
        found = TiledObjective(run.objective, side, self.devices)
        if side is not None and count > 1:
            where = f" on {len(self.devices)} devices" if len(self.devices) > 1 else ""
            _say(f"{size[1]} x {size[0]} pixels in {count} tiles of {side} pixels{where}{why}")
        elif not self.devices:
            found.side = None
        return found


def _say(message: str) -> None:
    tqdm.write(f"stylelab: {message}", file=sys.stderr)
