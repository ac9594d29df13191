"""Where an optimiser walks: the map between what it moves and the image.

An optimiser moves a tensor z; the image is `to_image(z)`. Gradients come back through `pull_back`.
`Pixels` is the paper's way: z is the image.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor


class Parametrisation(Protocol):
    """What `optimise` asks of a parametrisation; z has the image's shape `(N, 3, H, W)`."""

    def to_image(self, z: Tensor) -> Tensor:
        """The image of z."""

    def from_image(self, image: Tensor) -> Tensor:
        """The z of an image: `to_image` gives the image again."""

    def pull_back(self, z: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with respect to z, from the one with respect to the image of z."""


@dataclass(frozen=True)
class Pixels:
    """The optimiser moves the pixels, as in the paper."""

    def to_image(self, z: Tensor) -> Tensor:
        return z

    def from_image(self, image: Tensor) -> Tensor:
        return image

    def pull_back(self, z: Tensor, gradient: Tensor) -> Tensor:
        return gradient


PIXELS = Pixels()
# Standard deviations of colours along their principal axes.
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


@lru_cache(maxsize=8)
def _gain(height: int, width: int, power: float, device: torch.device, dtype: torch.dtype):
    fy = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    fx = torch.fft.fftfreq(width, dtype=torch.float64)[None]
    gain = (fy.square() + fx.square()).sqrt().clamp_min(1 / max(height, width)) ** -power
    gain /= gain.square().mean().sqrt()
    return gain[:, : width // 2 + 1].to(device, dtype)


@dataclass(frozen=True)
class Fourier:
    """The image is `C irfft(rfft(z) f^-power)`."""

    power: float = 0.5

    def to_image(self, z: Tensor) -> Tensor:
        return torch.einsum("ij,njhw->nihw", self._colours(z), self._filtered(z, 1))

    def from_image(self, image: Tensor) -> Tensor:
        inverse = torch.linalg.inv(self._colours(image))
        return self._filtered(torch.einsum("ij,njhw->nihw", inverse, image), -1)

    def pull_back(self, z: Tensor, gradient: Tensor) -> Tensor:
        return self._filtered(torch.einsum("ij,nihw->njhw", self._colours(z), gradient), 1)

    @staticmethod
    def _colours(like: Tensor) -> Tensor:
        matrix = like.new_tensor(COLOURS)
        return matrix / matrix.norm(dim=0).max()

    def _filtered(self, z: Tensor, sign: int) -> Tensor:
        height, width = z.shape[2:]
        gain = _gain(height, width, self.power, z.device, z.dtype) ** sign
        return torch.fft.irfft2(torch.fft.rfft2(z) * gain, s=(height, width))


FOURIER = Fourier()
NAMED = {"fourier": FOURIER, "pixels": PIXELS}
