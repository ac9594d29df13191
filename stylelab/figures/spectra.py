"""How fine and how regular a picture's detail is, from the spectra of small windows.

A plane `(H, W)` is cut into overlapping windows. Each is weighted with Hann's window, so that its
borders make no detail of their own, and transformed. Frequencies are in cycles per pixel, in any
direction. An octave is measured in windows eight times as wide as its longest wave: 32 pixels for
the finest, 64 for the second.
"""

from functools import lru_cache

import numpy as np

Octave = tuple[float, float]  # from the one frequency up to the other, which is not in it
# The finest has no upper end: what changes with every pixel is at 0.5 along rows and columns, and
# at 0.71 along diagonals.
FINEST, SECOND = (1 / 4, np.inf), (1 / 8, 1 / 4)
ROUNDING = 1 / 255**2 / 12  # the variance that rounding to 8 bits adds
FALL = 3  # the power of frequency by which the energy of photographs and paintings about falls


def _spectra(plane: np.ndarray, octave: Octave) -> tuple[np.ndarray, np.ndarray, int]:
    """The energies of each window at an octave's frequencies, these, and the window's side.

    Energies are `(windows, frequencies)`; over all frequencies they would add up to the window's
    variance. Frequencies are `(frequencies, 2)`, as whole cycles per window, 0 to its side.
    """
    from scipy.signal.windows import hann

    size = min(round(8 / octave[0]), *plane.shape)
    step = max(1, size // 2)
    windows = np.lib.stride_tricks.sliding_window_view(plane, (size, size))[::step, ::step]
    windows = windows.reshape(-1, size, size).astype(np.float64)
    weight = np.outer(hann(size, sym=False), hann(size, sym=False))
    windows = windows - (windows * weight).sum((1, 2), keepdims=True) / weight.sum()
    power = np.abs(np.fft.fft2(windows * weight)) ** 2 / (size**2 * np.square(weight).sum())
    inside, where = _frequencies(size, octave)
    return power[:, inside], where, size


@lru_cache(maxsize=8)
def _frequencies(size: int, octave: Octave) -> tuple[np.ndarray, np.ndarray]:
    """Which frequencies of a window are in an octave, as a mask, and as whole numbers."""
    along = np.fft.fftfreq(size)
    length = np.hypot(along[:, None], along[None])
    inside = (octave[0] <= length) & (length < octave[1])
    return inside, np.argwhere(inside)


@lru_cache(maxsize=8)
def _neighbourhoods(size: int, octave: Octave) -> np.ndarray:
    """For each frequency of an octave, itself and its eight neighbours: a square matrix of 0 and 1.

    A real plane's spectrum is the same at f and -f, so those around -f belong to them too.
    """
    where = _frequencies(size, octave)[1]
    near = np.zeros((len(where), len(where)), bool)
    for sign in (1, -1):
        apart = (where[:, None] - sign * where[None] + 1) % size
        near |= (apart <= 2).all(2)
    return near.astype(np.float64)


def energy(plane: np.ndarray, octave: Octave) -> float:
    """The variance of a plane's values that is in an octave, a mean over the windows.

    0 for a flat plane; a²/2 for a grating of amplitude a. Of the variance of white noise, 0.80 is
    in the finest octave and 0.15 in the second: their shares of all frequencies.
    """
    return float(_spectra(plane, octave)[0].sum(1).mean())


def regularity(plane: np.ndarray, octave: Octave, calm: np.ndarray | None = None) -> float:
    """How much the detail in an octave is a grating of one frequency and direction, 0 to 1.

    In each window, the share of the octave's energy that is in its strongest frequency and the
    eight around it; a mean over the windows, in which quiet ones count as much as others. Energies
    are first multiplied by the frequency cubed: those of pictures fall about so, and would seem to
    have a peak at the octave's coarse end. 1 for a grating, 0.1 for noise. A flat window counts as
    0: the energy of rounding to 8 bits is added to the octave's.

    Args:
        calm: another plane of the same size, such as the photograph's: only the quarter of the
            windows count in which this one has the least energy, such as its sky.
    """
    power, where, size = _spectra(plane, octave)
    folded = np.minimum(where, size - where) / size
    weight = (np.hypot(*folded.T) / octave[0]) ** FALL
    peak = (power * weight @ _neighbourhoods(size, octave)).max(1)
    shares = peak / ((power + ROUNDING / size**2) @ weight)
    if calm is not None:
        energies = _spectra(calm, octave)[0].sum(1)
        shares = shares[energies <= np.quantile(energies, 0.25)]
    return float(shares.mean())
