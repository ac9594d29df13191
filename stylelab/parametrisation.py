"""Where an optimiser walks: the map between what it moves and the image.

An optimiser moves a tensor z; the image is `to_image(z)`. Gradients come back through `pull_back`.
`Pixels` is the paper's way: z is the image.
"""

from collections.abc import Callable
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
LARGE = 2**22  # pixels of a picture above which it is transformed in parts
# The square root of the covariance of colours in the images that vgg19-mini was trained on, over
# its largest singular value (`tools/colours.py` computes it). The other two are 0.26 and 0.12.
COLOURS = ((0.482, 0.295, 0.218), (0.295, 0.422, 0.296), (0.218, 0.296, 0.478))


@dataclass(frozen=True)
class Frequencies:
    """The optimiser moves the frequencies of decorrelated colours.

    The image is `C D (f^-power z)` with the inverse cosine transform D. Pictures have most of their
    energy in low frequencies and in brightness. Here amplitudes fall with the frequency f in the
    same way, and the matrix C = `colours` makes colours vary less than brightness. A step changes
    what is large and grey first, fine and coloured grain last. The minima are those of pixels, the
    way there is another: after some hundred steps there are fewer fringes. The cosine transform
    treats an image as mirrored at its border, as the networks' padding does, and leaves no rim.

    The idea is of Olah, Mordvintsev and Schubert, Feature Visualization (2017), and Mordvintsev et
    al., Differentiable Image Parameterizations (2018), who use the Fourier transform.
    """

    power: float = 0.65
    colours: tuple[tuple[float, ...], ...] = COLOURS

    def to_image(self, z: Tensor) -> Tensor:
        return _mixed(self._matrix(z), _over_both_axes(_inverse_cosines, z * self._gain(z)))

    def from_image(self, image: Tensor) -> Tensor:
        plane = _mixed(torch.linalg.inv(self._matrix(image)), image)
        return _over_both_axes(_cosines, plane).div_(self._gain(image))

    def pull_back(self, z: Tensor, gradient: Tensor) -> Tensor:
        plane = _mixed(self._matrix(z).mT, gradient)
        return _over_both_axes(_cosines, plane).mul_(self._gain(z))

    def _matrix(self, like: Tensor) -> Tensor:
        return _matrix(self.colours, like.device, like.dtype)

    def _gain(self, like: Tensor) -> Tensor:
        return _gain(*like.shape[2:], self.power, like.device, like.dtype)


@lru_cache(maxsize=8)
def _matrix(
    rows: tuple[tuple[float, ...], ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Kept on its device: a step would copy it there anew, twice."""
    return torch.tensor(rows, device=device, dtype=dtype)


@lru_cache(maxsize=2)  # of the size of a picture each
def _gain(
    height: int, width: int, power: float, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """f^-power of each frequency, `(H, W)`, over its root mean square.

    The frequency 0 has the gain of the lowest other one.
    """
    fy, fx = (torch.arange(side, dtype=torch.float64) / (2 * side) for side in (height, width))
    gain = torch.hypot(fy[:, None], fx).clamp_min_(1 / (2 * max(height, width))).pow_(-power)
    return gain.div_(gain.square().mean().sqrt()).to(device, dtype)


@lru_cache(maxsize=8)
def _turns(count: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """exp(-i pi k / 2 count) for k up to count / 2."""
    k = torch.arange(count // 2 + 1, dtype=torch.float64)
    turns = torch.polar(torch.ones_like(k), -torch.pi * k / (2 * count))
    return turns.to(device, torch.complex64 if dtype == torch.float32 else torch.complex128)


def _cosines(x: Tensor) -> Tensor:
    """The orthonormal cosine transform (DCT-II) along the last axis, by an FFT as long.

    Makhoul, A Fast Cosine Transform in One and Two Dimensions (1980).
    """
    count = x.shape[-1]
    spectrum = torch.fft.rfft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1), norm="ortho")
    spectrum = spectrum * _turns(count, x.device, x.dtype)
    upper = -spectrum.imag[..., 1 : (count + 1) // 2].flip(-1)
    found = torch.cat([spectrum.real, upper], -1) * 2**0.5
    found[..., 0] /= 2**0.5
    return found


def _inverse_cosines(found: Tensor) -> Tensor:
    """The inverse of `_cosines`, which is its adjoint."""
    count, half = found.shape[-1], found.shape[-1] // 2
    scaled = found / 2**0.5
    real, imaginary = scaled[..., : half + 1].clone(), torch.zeros_like(scaled[..., : half + 1])
    real[..., 0] *= 2**0.5
    imaginary[..., 1:] = -scaled[..., count - half :].flip(-1)
    spectrum = torch.complex(real, imaginary) * _turns(count, found.device, found.dtype).conj()
    mixed = torch.fft.irfft(spectrum, n=count, norm="ortho")
    x = torch.empty_like(found)
    x[..., ::2] = mixed[..., : (count + 1) // 2]
    x[..., 1::2] = mixed[..., (count + 1) // 2 :].flip(-1)
    return x


def _mixed(colours: Tensor, planes: Tensor) -> Tensor:
    """The matrix `(3, 3)` times the colours of `planes` `(N, 3, H, W)`."""
    if planes[0, 0].numel() <= LARGE:
        return torch.einsum("ij,njhw->nihw", colours, planes)
    found, lines = torch.empty_like(planes), _lines(planes)
    for there, rows in zip(found.split(lines, 2), planes.split(lines, 2), strict=True):
        there.copy_(torch.einsum("ij,njhw->nihw", colours, rows))
    return found


def _over_both_axes(transform: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The transform along the last axis, then the other; it may use the memory of `x`."""
    if x[0, 0].numel() <= LARGE:
        return transform(transform(x).mT).mT
    for plane in x.flatten(0, 1):
        for way in (plane, plane.mT):
            for lines in way.split(_lines(way), 0):
                lines.copy_(transform(lines))
    return x


def _lines(planes: Tensor) -> int:
    """How many lines of a large picture to transform at a time, as that takes much memory."""
    return max(1, LARGE // (4 * planes.shape[-1]))


FREQUENCIES = Frequencies()
NAMED = {"frequencies": FREQUENCIES, "pixels": PIXELS}


def name_of(choice: Parametrisation) -> str:
    """The name of a parametrisation in `NAMED`; its text for another."""
    return next((name for name, known in NAMED.items() if known == choice), str(choice))


def parametrisation_of(choice: str | Parametrisation) -> Parametrisation:
    """The parametrisation of a name in `NAMED`, or `choice` itself; SettingError for another."""
    found = NAMED.get(choice, choice) if isinstance(choice, str) else choice
    if not isinstance(found, Parametrisation):
        raise SettingError(f"parametrisation must be one of {', '.join(NAMED)}; got {choice!r}")
    return found
