"""A network's features of a large image, tile by tile, exactly those of the whole image.

A tile owns the features over its own pixels. A feature depends on pixels around it, at most 70 for
`conv5_1`: so a tile sees a margin of these, cut to what the next layers still need before each
pooling. Tiles begin on multiples of 2^poolings, so that what is pooled together in the whole image
is pooled together in a tile. A border of the image is a border of its tiles, and is padded as such.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stylelab.vgg import VGG, WHOLE, Window

LOOKING = 512  # side of a tile where no gradient is wanted: large enough, and in little memory
Span = tuple[int, int]  # first pixel, or position, and the one after the last


@dataclass(frozen=True)
class _Axis:
    """One axis of a tile: what it owns, and what it computes, at each layer."""

    owned: dict[str, Span]
    computed: dict[str, Span]  # of each layer's input, after pooling
    pixels: Span  # those it sees
    own_pixels: Span


@dataclass(frozen=True)
class Tile:
    """One tile of an image, for the features up to some layer."""

    layers: tuple[str, ...]
    axes: tuple[_Axis, _Axis]

    @property
    def seen(self) -> Window:
        """The pixels of the image that it sees."""
        return tuple(slice(*axis.pixels) for axis in self.axes)

    @property
    def owned_pixels(self) -> Window:
        """The pixels of the image that are its own."""
        return tuple(slice(*axis.own_pixels) for axis in self.axes)

    @property
    def own(self) -> Window:
        """Where its own pixels are among those that it sees."""
        return tuple(_inside(axis.own_pixels, axis.pixels) for axis in self.axes)

    def window(self, layer: str) -> Window:
        """The features of the whole image that are its own."""
        return tuple(slice(*axis.owned[layer]) for axis in self.axes)

    def features(self, network: VGG, seen: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Its own features at each layer, from the pixels that it sees, `(N, 3, h, w)`."""
        x, last = network.input(seen), None
        for layer in network.layers:
            if last and layer[4] != last[4]:  # a pooling: each group of layers begins with one
                x = self._cut(x, last, layer)
            x = F.relu_(network.convolve(layer, x))
            if layer in self.layers:
                inside = [_inside(a.owned[layer], a.computed[layer]) for a in self.axes]
                if layer == self.layers[-1]:
                    yield layer, x[:, :, *inside]
                    return
                x, own = _WithPart.apply(x, *inside)
                yield layer, own
                del own
            last = layer

    def _cut(self, x: Tensor, last: str, layer: str) -> Tensor:
        """The part of the maps of `last` that is pooled for `layer`."""
        inside = (
            _inside(tuple(2 * at for at in axis.computed[layer]), axis.computed[last])
            for axis in self.axes
        )
        return x[:, :, *inside]


class _WithPart(torch.autograd.Function):
    """An image and the part of it in some rows and columns, `(N, C, H, W)` and `(N, C, h, w)`.

    The gradient of the part is added where that of the image is. Autograd would make another one
    of the image's size for it, of zeros.
    """

    @staticmethod
    def forward(ctx, x: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        ctx.inside = rows, columns
        return x.view_as(x), x[:, :, rows, columns]

    @staticmethod
    def backward(ctx, whole: Tensor, part: Tensor) -> tuple[Tensor, None, None]:
        whole[:, :, *ctx.inside] += part  # nobody else has it: what follows uses the image once
        return whole, None, None


def _inside(span: Span, of: Span) -> slice:
    return slice(span[0] - of[0], span[1] - of[0])


def tiles(
    network: VGG, layers: Iterable[str], size: tuple[int, int], side: int | None
) -> list[Tile]:
    """The tiles of an image of (height, width) for its features at `layers`.

    They are equally large, but for the last of a row or a column, and as large as fit in a square
    of `side` pixels, which counts as a multiple of 2^poolings. None makes one of the whole image.
    """
    layers = network.check_layers(layers)
    axes = [
        [_axis(network, layers, length, span) for span in _cuts(length, side, grid_of(layers))]
        for length in size
    ]
    return [Tile(layers, pair) for pair in itertools.product(*axes)]


def grid_of(layers: tuple[str, ...]) -> int:
    """2^poolings before the deepest of `layers`: tiles begin on its multiples."""
    return 2 ** _poolings(layers[-1])


def _poolings(layer: str) -> int:
    return int(layer[4]) - 1


def margin(network: VGG, layers: Iterable[str]) -> int:
    """How many pixels around its own a tile sees, at most."""
    layers = network.check_layers(layers)
    grid = grid_of(layers)
    middle = (1000 * grid, 1001 * grid)
    return middle[0] - _axis(network, layers, 2001 * grid, middle).pixels[0]


def _cuts(length: int, side: int | None, grid: int) -> list[Span]:
    """Where an axis of `length` pixels is cut; nothing that is left over is smaller than `grid`."""
    count = -(-length // max(side // grid * grid, grid)) if side else 1
    step = -(-length // (count * grid)) * grid
    starts = [0] + [at for at in range(step, length, step) if length - at >= grid]
    return list(itertools.pairwise([*starts, length]))


def _axis(network: VGG, layers: tuple[str, ...], length: int, own: Span) -> _Axis:
    """The axis of a tile with its `own` pixels, from the deepest layer back to the pixels."""
    up_to = network.layers[: network.layers.index(layers[-1]) + 1]
    owned, computed = {}, {}
    group: list[str] = []  # layers between two poolings, the deepest first
    needed = None
    for before, layer in itertools.pairwise([*reversed(up_to), ""]):
        shift, group = _poolings(before), [*group, before]
        owned[before] = own[0] >> shift, own[1] >> shift
        first, end = needed or owned[before]
        needed = min(first, owned[before][0]) - 1, max(end, owned[before][1]) + 1
        if not layer or _poolings(layer) != shift:
            span = max(needed[0], 0), min(needed[1], length >> shift)
            computed |= dict.fromkeys(group, span)
            needed, group = (2 * span[0], 2 * span[1]), []
    return _Axis(owned, computed, computed[up_to[0]], own)


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
