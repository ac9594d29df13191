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
from stylelab.room import by_lines, current, is_large, lines_at_once


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
        planes = by_lines(lambda part, lines: part * self._gain(z, lines), z)
        planes = _over_both_axes(_inverse_cosines, planes)
        return _mixed(self._matrix(z), planes, planes)

    def from_image(self, image: Tensor) -> Tensor:
        planes = _mixed(torch.linalg.inv(self._matrix(image)), image)
        planes = _over_both_axes(_cosines, planes)
        return by_lines(lambda part, lines: part.div_(self._gain(image, lines)), planes, planes)

    def pull_back(self, z: Tensor, gradient: Tensor) -> Tensor:
        planes = _over_both_axes(_cosines, _mixed(self._matrix(z).mT, gradient))
        return by_lines(lambda part, lines: part.mul_(self._gain(z, lines)), planes, planes)

    def _matrix(self, like: Tensor) -> Tensor:
        return _matrix(self.colours, like.device, like.dtype)

    def _gain(self, like: Tensor, lines: slice) -> Tensor:
        kind = {"device": like.device, "dtype": like.dtype}
        return _gain(*like.shape[2:], self.power, lines.start, lines.stop, **kind)


@lru_cache(maxsize=8)
def _matrix(
    rows: tuple[tuple[float, ...], ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Kept on its device: a step would copy it there anew, twice."""
    return torch.tensor(rows, device=device, dtype=dtype)


@lru_cache(maxsize=2)
def _gain(
    height: int,
    width: int,
    power: float,
    first: int | None,
    end: int | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """f^-power of each frequency, `(H, W)`, over its root mean square, from line `first` to `end`.

    The frequency 0 has the gain of the lowest other one.
    """
    gain = _amplitude(height, width, power, first, end)
    return gain.div_(_mean_square(height, width, power).sqrt()).to(device, dtype)


def _amplitude(
    height: int, width: int, power: float, first: int | None = None, end: int | None = None
) -> Tensor:
    fy, fx = (torch.arange(side, dtype=torch.float64) / (2 * side) for side in (height, width))
    found = torch.hypot(fy[first:end, None], fx).clamp_min_(1 / (2 * max(height, width)))
    return found.pow_(-power)


@lru_cache(maxsize=2)
def _mean_square(height: int, width: int, power: float) -> Tensor:
    step = lines_at_once(width)
    parts = [_amplitude(height, width, power, at, at + step) for at in range(0, height, step)]
    means = [part.square().mean() * (len(part) / height) for part in parts]
    return torch.stack(means).sum()


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


def _mixed(colours: Tensor, planes: Tensor, into: Tensor | None = None) -> Tensor:
    """The matrix `(3, 3)` times the colours of `planes` `(N, 3, H, W)`."""
    return by_lines(lambda part, _: torch.einsum("ij,njhw->nihw", colours, part), planes, into)


def _over_both_axes(transform: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The transform along the last axis, then the other; it may use the memory of `x`."""
    if not is_large(x):
        return transform(transform(x).mT).mT
    room = current()
    for plane in x.flatten(0, 1):
        for way in (plane, plane.mT):
            for lines in way.split(lines_at_once(way.shape[1]), 0):
                lines.copy_(transform(lines))
                room.rest()
    return x


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
