"""A network's features of a large image, tile by tile, exactly those of the whole image.

A tile owns the features over its own pixels. A feature depends on pixels around it, at most 70 for
`conv5_1`: so a tile sees a margin of at least these, 80 pixels, and drops what it computes there,
which the borders of what it sees have spoilt. Tiles and margins begin on multiples of 2^poolings,
so that what is pooled together in the whole image is pooled together in a tile. A border of the
image is a border of its tiles, and is padded as such.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stylelab.room import current
from stylelab.vgg import LAYERS, VGG, WHOLE, Window

PIXELS = LAYERS[0]  # the layer whose positions are the pixels
LOOKING = 512  # side of a tile where no gradient is wanted: large enough, and in little memory
Span = tuple[int, int]  # first pixel, or position, and the one after the last


@dataclass(frozen=True)
class _Axis:
    """One axis of a tile: the pixels that are its own, and those that it sees."""

    own: Span
    seen: Span

    def window(self, layer: str) -> slice:
        """The positions of `layer` in the whole image that are its own."""
        return slice(*(at >> _poolings(layer) for at in self.own))

    def inside(self, layer: str) -> slice:
        """The same, among the positions that it computes."""
        own, first = self.window(layer), self.seen[0] >> _poolings(layer)
        return slice(own.start - first, own.stop - first)


@dataclass(frozen=True)
class Tile:
    """One tile of an image, for the features up to some layer."""

    layers: tuple[str, ...]
    axes: tuple[_Axis, _Axis]

    @property
    def seen(self) -> Window:
        """The pixels of the image that it sees."""
        return tuple(slice(*axis.seen) for axis in self.axes)

    @property
    def owned_pixels(self) -> Window:
        """The pixels of the image that are its own."""
        return tuple(slice(*axis.own) for axis in self.axes)

    @property
    def own(self) -> Window:
        """Where its own pixels are among those that it sees."""
        return tuple(axis.inside(PIXELS) for axis in self.axes)

    def window(self, layer: str) -> Window:
        """The features of the whole image that are its own."""
        return tuple(axis.window(layer) for axis in self.axes)

    def features(self, network: VGG, seen: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Its own features at each layer, from the pixels that it sees, `(N, 3, h, w)`."""
        x = network.input(seen)
        for layer in network.up_to(self.layers[-1]):
            x = F.relu_(network.convolve(layer, x))
            if layer in self.layers:
                x, own = _WithPart.apply(x, *(axis.inside(layer) for axis in self.axes))
                yield layer, own
                del own


class _WithPart(torch.autograd.Function):
    """Maps and the part of them in some rows and columns, `(N, C, H, W)` and `(N, C, h, w)`.

    The gradient of the part is added where that of the maps is. Autograd would make another one of
    the maps' size for it, of zeros, and in another memory format than the maps', so that all that
    follows on the way back would be copied from one format into the other.
    """

    @staticmethod
    def forward(ctx, x: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.inside, ctx.shape = (rows, columns), x.shape
        last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.format = torch.channels_last if last else torch.contiguous_format
        return x[:], x[:, :, rows, columns]  # view_as may change the stride of a batch of one

    @staticmethod
    def backward(
        ctx, whole: Tensor | None, part: Tensor | None
    ) -> tuple[Tensor | None, None, None]:
        if part is None:
            return whole, None, None
        if whole is None:  # of the deepest layer
            how = {"dtype": part.dtype, "device": part.device, "memory_format": ctx.format}
            whole = torch.empty(ctx.shape, **how).zero_()
        whole[:, :, *ctx.inside] += part  # nobody else has it: what follows uses the maps once
        return whole, None, None


def tiles(
    network: VGG, layers: Iterable[str], size: tuple[int, int], side: int | None
) -> list[Tile]:
    """The tiles of an image of (height, width) for its features at `layers`.

    They are equally large, but for the last of a row or a column, and as large as fit in a square
    of `side` pixels, which counts as a multiple of 2^poolings. None makes one of the whole image.
    """
    layers = network.check_layers(layers)
    more = margin(network, layers)
    axes = [
        [
            _Axis((first, end), (max(first - more, 0), min(end + more, length)))
            for first, end in _cuts(length, side, grid_of(layers))
        ]
        for length in size
    ]
    return [Tile(layers, pair) for pair in itertools.product(*axes)]


def grid_of(layers: tuple[str, ...]) -> int:
    """2^poolings before the deepest of `layers`: tiles begin on its multiples."""
    return 2 ** _poolings(layers[-1])


def _poolings(layer: str) -> int:
    return int(layer[4]) - 1


def margin(network: VGG, layers: Iterable[str]) -> int:
    """How many pixels around its own a tile sees, where the image goes on: a multiple of the grid.

    At least as many as the deepest of `layers` depends on: a convolution looks one position
    further, and before a pooling a position is two.
    """
    layers, reach = network.check_layers(layers), 0
    computed = [PIXELS, *network.up_to(layers[-1])]
    for before, layer in itertools.pairwise(computed[::-1]):
        reach = (reach + 1) << (_poolings(before) - _poolings(layer))
    return -(-reach // grid_of(layers)) * grid_of(layers)


def _cuts(length: int, side: int | None, grid: int) -> list[Span]:
    """Where an axis of `length` pixels is cut; nothing that is left over is smaller than `grid`."""
    count = -(-length // max(side // grid * grid, grid)) if side else 1
    step = -(-length // (count * grid)) * grid
    starts = [0] + [at for at in range(step, length, step) if length - at >= grid]
    return list(itertools.pairwise([*starts, length]))


@torch.no_grad()
def in_tiles(
    network: VGG, image: Tensor, layers: Iterable[str]
) -> Iterator[tuple[str, Window, Tensor]]:
    """A network's `pieces` (see `stylelab.vgg.VGG`), in tiles where `image` is large."""
    size = tuple(image.shape[2:])
    found = tiles(network, layers, size, LOOKING if size[0] * size[1] > 4 * LOOKING**2 else None)
    if len(found) == 1:
        for layer, features in network.features_by_layer(image, layers):
            yield layer, WHOLE, features
        return
    for tile in found:
        for layer, features in tile.features(network, image[:, :, *tile.seen]):
            yield layer, tile.window(layer), features
        current().rest()
