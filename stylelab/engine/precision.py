"""In what precision convolutions are computed: what was asked for, not what a library prefers.

"float32" is the standard's, on every device. The others round what is multiplied, to 11 bits
("tf32", on NVIDIA's GPUs) or to 8 ("bfloat16"), and add up in float32: a GPU's tensor cores do that
several times as fast. cuDNN would compute convolutions of float32 in TF32 unasked.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from stylelab.engine import winograd
from stylelab.errors import SettingError
from stylelab.vgg import VGG

PRECISIONS = {"float32": "ieee", "tf32": "tf32", "bfloat16": "ieee"}  # what cuDNN calls them


class Convolution:
    """A network's `convolution` (see `stylelab.vgg.VGG`) in one of `PRECISIONS`.

    Raises:
        SettingError: for another precision, or for TF32 on a device that has none.
    """

    def __init__(self, precision: str = "float32", device: str | torch.device = "cpu") -> None:
        if precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise SettingError(f"precision must be one of {known}; got {precision!r}")
        kind = torch.device(device).type
        if precision == "tf32" and kind != "cuda":
            raise SettingError(f"precision tf32 is for NVIDIA's GPUs; {kind} has float32, bfloat16")
        self.precision, self._on_cpu = precision, winograd.Convolution()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
        if self.precision == "bfloat16":
            low = (each.bfloat16() for each in (x, weight, bias))
            return F.conv2d(*low, padding=padding).to(x.dtype)
        if x.device.type == "cuda" and x.dtype == torch.float32 and not weight.requires_grad:
            return _InPrecision.apply(x, weight, bias, padding, PRECISIONS[self.precision])
        return self._on_cpu(x, weight, bias, padding=padding)


def precision_of(network: VGG) -> str:
    """The precision of a network's convolutions; that of its weights where none was asked for."""
    asked = getattr(network.convolution, "precision", None)
    return asked or str(network.dtype).removeprefix("torch.")


class _InPrecision(torch.autograd.Function):
    """`F.conv2d`, differentiable in `x` alone, and its gradient in a precision of cuDNN's."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, padding: int, how: str) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.padding, ctx.how = x.shape, padding, how
        with _cudnn_in(how):
            return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        with _cudnn_in(ctx.how):
            found = conv2d_input(ctx.shape, weight, gradient, padding=ctx.padding)
        return found, None, None, None, None


@contextmanager
def _cudnn_in(how: str) -> Iterator[None]:
    """As backward passes run in threads of their own, each convolution sets it by itself."""
    convolutions = torch.backends.cudnn.conv
    before, convolutions.fp32_precision = convolutions.fp32_precision, how
    try:
        yield
    finally:
        convolutions.fp32_precision = before
