"""Where an optimiser walks: the map between what it moves and the image.

An optimiser moves a tensor z; the image is `to_image(z)`. Gradients come back through `pull_back`.
`Pixels` is the paper's way: z is the image.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from stylelab.errors import SettingError


@runtime_checkable
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
# The square root of the covariance of colours in the images that vgg19-mini was trained on, over
# its largest singular value (`tools/colours.py` computes it). The other two are 0.26 and 0.12.
COLOURS = ((0.482, 0.295, 0.218), (0.295, 0.422, 0.296), (0.218, 0.296, 0.478))


@dataclass(frozen=True)
class Fourier:
    """The optimiser moves Fourier coefficients of decorrelated colours.

    The image is `C irfft(f^-power rfft(z))`. Pictures have most of their energy in low frequencies
    and in brightness. Here amplitudes fall with the frequency f in the same way, and the matrix
    C = `colours` makes colours vary less than brightness. A step changes what is large and grey
    first, fine and coloured grain last. The minima are those of pixels; the way there is shorter,
    and where it ends after some hundred steps has fewer fringes. The idea is of Olah, Mordvintsev
    and Schubert, Feature Visualization (2017), and Mordvintsev et al., Differentiable Image
    Parameterizations (2018).
    """

    power: float = 0.5
    colours: tuple[tuple[float, ...], ...] = COLOURS

    def to_image(self, z: Tensor) -> Tensor:
        return torch.einsum("ij,njhw->nihw", self._matrix(z), self._filtered(z, 1))

    def from_image(self, image: Tensor) -> Tensor:
        inverse = torch.linalg.inv(self._matrix(image))
        return self._filtered(torch.einsum("ij,njhw->nihw", inverse, image), -1)

    def pull_back(self, z: Tensor, gradient: Tensor) -> Tensor:
        return self._filtered(torch.einsum("ij,nihw->njhw", self._matrix(z), gradient), 1)

    def _matrix(self, like: Tensor) -> Tensor:
        return torch.tensor(self.colours, device=like.device, dtype=like.dtype)

    def _filtered(self, z: Tensor, sign: int) -> Tensor:
        height, width = z.shape[2:]
        gain = _gain(height, width, self.power, z.device, z.dtype) ** sign
        return torch.fft.irfft2(torch.fft.rfft2(z) * gain, s=(height, width))


@lru_cache(maxsize=8)
def _gain(
    height: int, width: int, power: float, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """f^-power at each coefficient of `rfft2`, with a mean square of 1 over all frequencies.

    The frequency 0 has the gain of the lowest other one.
    """
    fy = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    fx = torch.fft.fftfreq(width, dtype=torch.float64)[None]
    gain = (fy.square() + fx.square()).sqrt().clamp_min(1 / max(height, width)) ** -power
    gain /= gain.square().mean().sqrt()
    return gain[:, : width // 2 + 1].to(device, dtype)


FOURIER = Fourier()
NAMED = {"fourier": FOURIER, "pixels": PIXELS}


def name_of(choice: Parametrisation) -> str:
    """The name of a parametrisation in `NAMED`; its text for another."""
    return next((name for name, known in NAMED.items() if known == choice), str(choice))


def parametrisation_of(choice: str | Parametrisation) -> Parametrisation:
    """The parametrisation of a name in `NAMED`, or `choice` itself; SettingError for another."""
    found = NAMED.get(choice, choice) if isinstance(choice, str) else choice
    if not isinstance(found, Parametrisation):
        raise SettingError(f"parametrisation must be one of {', '.join(NAMED)}; got {choice!r}")
    return found
