"""A 3x3 convolution in a quarter of the multiplications, for wide layers on a CPU.

Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308): 4 x 4 pixels of output
need 36 products a pair of feature maps, not 144, between transforms of the 6 x 6 pixels of input,
of the filter, and back. cuDNN does the same on GPUs unasked; PyTorch on CPUs does not. The result
is a float32 convolution's up to rounding: errors relative to the largest value are about 5e-6, and
2e-6 of the direct sum.
"""

import weakref

import torch
from torch import Tensor
from torch.nn import functional as F

from stylelab.vgg import VGG

# Below this sum of maps in and out the transforms cost more than the products they save.
MIN_MAPS = 384
# Values in the transformed tiles of one strip of the image: more would not stay in a CPU's caches.
STRIP = 2**21

# Transforms of pixels, of filters and back, for one dimension (Lavin and Gray, section 4.1).
_PIXELS = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_FILTERS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_BACK = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


class Convolution:
    """A network's `convolution` (see `stylelab.vgg.VGG`): Winograd's where it is the faster one.

    That is on a CPU, in float32, for a wide layer with frozen weights. Transformed filters are kept
    as long as their weights do not change.
    """

    def __init__(self) -> None:
        self._filters: dict[int, tuple[weakref.ref, int, tuple[Tensor, Tensor]]] = {}

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
        if weight.requires_grad:
            return F.conv2d(x, weight, bias, padding=padding)
        if x.device.type != "cpu" or x.dtype != torch.float32 or not _is_wide(weight):
            return _Direct.apply(x, weight, bias, padding)
        filters = self.known(weight)
        if filters is None:
            filters = transform_filters(weight)
            self._filters[id(weight)] = weakref.ref(weight), weight._version, filters
        return conv2d(x, filters, bias, padding)

    def known(self, weight: Tensor) -> tuple[Tensor, Tensor] | None:
        """The transformed filters that are kept for `weight`, if there are any."""
        there, version, filters = self._filters.get(id(weight), (lambda: None, -1, None))
        return filters if there() is weight and version == weight._version else None

    def __deepcopy__(self, memo: dict) -> "Convolution":
        return Convolution()  # of a copied network, whose weights are other tensors


def _is_wide(weight: Tensor) -> bool:
    """Whether Winograd's convolution is the faster one for such frozen weights."""
    return not weight.requires_grad and sum(weight.shape[:2]) >= MIN_MAPS


def still_to_make(network: VGG, deepest: str, device: str) -> int:
    """Bytes of the filters that a network will keep for its layers up to `deepest`."""
    ours = isinstance(network.convolution, Convolution) and device == "cpu"
    if not ours or network.dtype != torch.float32:
        return 0
    weights = [network.get_submodule(layer).weight for layer in network.up_to(deepest)]
    missing = [w for w in weights if _is_wide(w) and network.convolution.known(w) is None]
    return sum(2 * 36 * w.shape[0] * w.shape[1] * w.element_size() for w in missing)


def transform_filters(weight: Tensor) -> tuple[Tensor, Tensor]:
    """What `conv2d` takes for `weight` `(K, C, 3, 3)`: for it, and for its gradient.

    The gradient of a convolution is a convolution with the filters turned round and the maps in
    and out exchanged.
    """

    def transform(filters: Tensor) -> Tensor:
        sides = filters.new_tensor(_FILTERS, dtype=torch.float64)
        tiles = torch.einsum("ai,kcij,bj->abck", sides, filters.double(), sides)
        return tiles.flatten(0, 1).to(filters.dtype).contiguous()

    return transform(weight), transform(weight.flip(2, 3).transpose(0, 1))


def conv2d(x: Tensor, filters: tuple[Tensor, Tensor], bias: Tensor, padding: int) -> Tensor:
    """As `F.conv2d(x, weight, bias, padding=padding)`, `(N, C, H, W)` to `(N, K, H', W')`.

    Differentiable in `x` alone.

    Args:
        filters: `transform_filters(weight)`.
        padding: 0, 1 or 2.
    """
    return _Convolution.apply(x, *filters, bias, padding)


class _Direct(torch.autograd.Function):
    """`F.conv2d` with frozen weights; unlike it, it does not keep its input for the gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.padding = x.shape, padding
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        found = torch.nn.grad.conv2d_input(ctx.shape, weight, gradient, padding=ctx.padding)
        return found, None, None, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, there: Tensor, back: Tensor, bias: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(back)
        ctx.padding = padding
        return _convolve(x, there, padding).add_(bias[:, None, None])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (back,) = ctx.saved_tensors
        return _convolve(gradient, back, 2 - ctx.padding), None, None, None, None


def _convolve(x: Tensor, filters: Tensor, padding: int) -> Tensor:
    """Tiles of 6 x 6 pixels, 4 apart, each strip of them transformed, multiplied and put back."""
    count, maps_in, maps_out = len(x), *filters.shape[1:]
    height, width = (side + 2 * padding - 2 for side in x.shape[2:])
    rows, columns = -(-height // 4), -(-width // 4)
    to_tiles = torch.kron(x.new_tensor(_PIXELS), x.new_tensor(_PIXELS))
    from_tiles = torch.kron(x.new_tensor(_BACK), x.new_tensor(_BACK))
    more = (padding, 4 * columns - width + padding, padding, 4 * rows - height + padding)
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, *more)).contiguous()  # (N, H, W, C)
    # It and not a view of it is returned, for autograd to let the ReLU work in place.
    shape = count, maps_out, 4 * rows, 4 * columns
    whole = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    out = whole.permute(0, 2, 3, 1).view(count, rows, 4, columns, 4, maps_out)
    at_once = max(1, STRIP // (36 * columns * max(maps_in, maps_out)))
    for image, result in zip(x, out, strict=True):
        for first in range(0, rows, at_once):
            strip = image[4 * first : 4 * (first + at_once) + 2]
            tiles = strip.unfold(0, 6, 4).unfold(1, 6, 4).permute(3, 4, 0, 1, 2)  # (6, 6, r, c, C)
            there = tiles.shape[2:4]
            pixels = (to_tiles @ tiles.reshape(36, -1)).view(36, -1, maps_in)
            products = torch.bmm(pixels, filters).view(36, -1)
            strip = (from_tiles @ products).view(4, 4, *there, maps_out)
            result[first : first + at_once] = strip.permute(2, 0, 3, 1, 4)
    if shape[2:] == (height, width):
        return whole
    return whole[:, :, :height, :width].clone(memory_format=torch.channels_last)
