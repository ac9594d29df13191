"""An objective in tiles: the losses and the gradient of the whole image, in the memory of a tile.

All losses are functions of sums over positions (`stylelab.objective`). A first pass sums over the
tiles, without gradients. The gradients of the losses with respect to these sums are then fixed, and
a second pass takes each tile alone through the network, forward and backward; where the pixels that
tiles see overlap, their gradients are added. What the last tile of the first pass computed is still
there for the second, which begins with it; so are as many before it as there is memory for. Both
passes can share out the tiles among devices.
"""

import copy
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from stylelab.engine import memory
from stylelab.engine.tiles import Tile, tiles
from stylelab.errors import SettingError
from stylelab.lbfgs import State
from stylelab.objective import Losses, Objective
from stylelab.optimisation import Run
from stylelab.room import current
from stylelab.vgg import VGG

Graph = tuple[Tensor, dict[int, Tensor]]  # a tile's pixels, and what terms sum, by their number


class TiledObjective(Objective):
    """An `Objective` that is evaluated in tiles; its numbers are those of the whole, to rounding.

    Where memory is short in an evaluation, that is done again in smaller tiles, and a line says so.

    Args:
        objective: what is evaluated. Its terms on layers need `sums` and `from_sums`.
        side: of a tile, in pixels; None is the whole image.
        devices: where tiles are computed, several at a time; one may stand there twice. Without
            any it is the network's.
        spare: bytes for tiles that are not computed twice, beside the last one, which never is.
    """

    def __init__(
        self,
        objective: Objective,
        side: int | None,
        devices: Sequence[torch.device] = (),
        spare: float = 0.0,
    ) -> None:
        vars(self).update(vars(objective))
        self.side, self.spare = side, spare
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
        current().rest()
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
        self.side, self.spare = max(memory.LEAST, side // 2), 0.0
        _say(f"memory ran out; the work goes on in tiles of {self.side} pixels")
        return True

    def _value_and_grad(self, image: Tensor) -> tuple[Losses, Tensor]:
        losses = {term.name: image.new_zeros(len(image)) for term in self.terms}
        gradient, size = current().like(image, *image.shape), tuple(image.shape[2:])
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
        count, room = len(found), current()
        once = count - self._kept(found)  # the first of those that are not computed again
        graphs: dict[int, Graph] = {}

        def first(network: VGG, number: int) -> dict[int, Tensor]:
            graph = self._graph(network, found[number], one, images, number >= once)
            if number >= once:
                graphs[number] = graph
            return {term: each.detach() for term, each in graph[1].items()}

        def second(network: VGG, number: int) -> tuple[int, Tensor]:
            graph = graphs.pop(number, None)
            graph = graph or self._graph(network, found[number], one, images, True)
            return number, _slope(*graph, slopes)

        sums: dict[int, Tensor] = {}
        for part in self._each(first, range(count)):
            sums = {n: sums[n] + each.to(one.device) if sums else each for n, each in part.items()}
            room.rest()
        leaves = {number: each.detach().requires_grad_() for number, each in sums.items()}
        with torch.enable_grad():
            losses = self._parts.losses_from(leaves, images, tuple(one.shape[2:]))
            total = torch.stack([loss for _, loss in losses]).sum()
        slopes = dict(zip(leaves, torch.autograd.grad(total, [*leaves.values()]), strict=True))
        last = dict(self._each(second, range(once, count)))
        # Added in one order, however many are kept: the memory at hand changes no bit.
        for number, slope in chain(self._each(second, range(once)), last.items()):
            gradient[:, :, *found[number].seen] += slope.to(gradient)
            room.rest()
        return [(name, loss.detach()) for name, loss in losses]

    def _kept(self, found: list[Tile]) -> int:
        """How many tiles are kept from the first pass for the second."""
        guided = [t.layer for t in self._parts.terms if getattr(t, "guide", None) is not None]
        each = memory.kept(self.network, found[0].layers, _sides(found, "seen"), guided)
        return min(len(found), len(self._networks) + int(self.spare / each))

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

    def _each(self, work: Callable[[VGG, int], Any], numbers: Iterable[int]) -> Iterator[Any]:
        """`work` for each tile, in order: as many at a time as there are devices."""
        if len(self._networks) == 1:
            yield from (work(self._networks[0], number) for number in numbers)
            return
        numbers, at_once = list(numbers), len(self._networks)
        with ThreadPoolExecutor(at_once) as pool:
            for first in range(0, len(numbers), at_once):
                yield from pool.map(work, self._networks, numbers[first : first + at_once])

    def _graph(
        self, network: VGG, tile: Tile, one: Tensor, images: Tensor, gradient: bool
    ) -> Graph:
        """What the terms sum over a tile, from pixels that may be asked for a gradient."""
        pixels = one[:, :, *tile.seen].detach().to(network.device, network.dtype)
        with torch.set_grad_enabled(gradient):
            return pixels, self._sums_of(network, tile, pixels.requires_grad_(gradient), images)

    def _sums_of(
        self, network: VGG, tile: Tile, pixels: Tensor, images: Tensor
    ) -> dict[int, Tensor]:
        features = tile.features(network, self.seen(pixels, images))
        pieces = ((layer, tile.window(layer), values) for layer, values in features)
        own = (None, tile.owned_pixels, pixels[:, :, *tile.own])
        return self._parts.sums(chain(pieces, [own]), images, network)


def _slope(pixels: Tensor, sums: dict[int, Tensor], slopes: dict[int, Tensor]) -> Tensor:
    """The gradient with respect to `pixels`, from that of the sums over them."""
    with torch.enable_grad():
        total = sum((each * slopes[number].to(each)).sum() for number, each in sums.items())
    return torch.autograd.grad(total, pixels)[0]


def _sides(found: list[Tile], of: str) -> tuple[int, int]:
    """The most rows and the most columns of what a tile sees, or of its `owned_pixels`."""
    windows = [getattr(tile, of) for tile in found]
    return tuple(
        max(span.stop - span.start for span in axis) for axis in zip(*windows, strict=True)
    )


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
            SettingError: if tiles are asked for, or needed, and a term cannot be summed over them.
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
        why, remedy, there = "", "ask for no tiles and one device (no --tile, one --device)", 0.0
        if side is None or self.memory is not None:
            there = max(0.0, memory.left(self.memory, str(run.start.device)))
        if side is None:
            side, need = memory.side_within(there, *asked), memory.needed(*asked)
            why = f", as at once they may need {need / 1e9:.1f} GB of {there / 1e9:.1f} GB"
            if side is not None:
                fitting = int(max(size) * math.sqrt(memory.USED * there / need)) // 10 * 10
                remedy = f"lower the size (--size) to about {fitting}"
        network, layers = run.objective.network, run.objective.layers
        while len(found := tiles(network, layers, size, side)) < len(self.devices):
            if side == memory.LEAST:
                break
            side = max(memory.LEAST, min(side or max(size), max(size)) // 2)
        count, tiled = len(found), TiledObjective(run.objective, side, self.devices)
        if side is not None and count > 1:
            if not all(getattr(term, "divides", True) for term in run.objective.terms):
                raise SettingError(
                    f"style_loss sliced needs a picture in one piece, not {size[1]} x {size[0]} "
                    f"pixels in {count} tiles{why}; {remedy}, or choose another style_loss "
                    "(--style-loss): gram, covariance or wasserstein"
                )
            if not self.devices:
                need = memory.needed(*asked, _sides(found, "owned_pixels"))
                tiled.spare = max(0.0, memory.USED * there - need)
            where = f" on {len(self.devices)} devices" if len(self.devices) > 1 else ""
            _say(f"{size[1]} x {size[0]} pixels in {count} tiles of {side} pixels{where}{why}")
        elif not self.devices:
            tiled.side = None
        return tiled


def _say(message: str) -> None:
    tqdm.write(f"stylelab: {message}", file=sys.stderr)
