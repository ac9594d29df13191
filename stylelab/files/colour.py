"""From the pixels as a file stores them to upright sRGB on white.

Little CMS (through `imagecodecs`) converts colour profiles at 16 bits; Pillow's `ImageCms` has 8.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylelab.errors import ImageError

ICC_SPACES = {"gray": b"GRAY", "rgb": b"RGB ", "cmyk": b"CMYK"}


@dataclass
class Stored:
    """Pixels in the colours, the range and the orientation of their file.

    `values` is `(H, W, C)`: uint8 or uint16 over their whole range, or float32 in [0, 1]. `alpha`
    is `(H, W)`, in the same numbers, and not multiplied into `values`.
    """

    values: np.ndarray
    space: str  # "gray", "rgb" or "cmyk"
    alpha: np.ndarray | None = None
    profile: bytes | None = None  # ICC
    orientation: int = 1  # EXIF's, 1 to 8; all others count as 1
    several: bool = False  # whether the file holds more pictures, which are left out


def to_srgb(stored: Stored) -> np.ndarray:
    """Upright pixels on white, `(H, W, 3)` float32 sRGB in [0, 1].

    A damaged profile, or one for other colours, is ignored, as browsers do.
    """
    colour = _convert(stored.values, stored.space, stored.profile or b"")
    if stored.alpha is not None:
        alpha = as_float(stored.alpha)[..., None]
        colour *= alpha
        colour += 1 - alpha
    return _upright(colour, stored.orientation)


def alpha_of(stored: Stored) -> np.ndarray | None:
    """The alpha channel, upright, `(H, W, 1)` float32 in [0, 1]; None if there is none."""
    if stored.alpha is None:
        return None
    return _upright(as_float(stored.alpha)[..., None], stored.orientation)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):  # rows and columns exchanged, then
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):  # left and right,
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):  # top and bottom
        pixels = pixels[::-1]
    return pixels if orientation == 1 else pixels.copy()


def as_float(values: np.ndarray) -> np.ndarray:
    """Integers over their whole range as a new float32 array in [0, 1]; floats as they are.

    Of `(H, W, C)` each channel lies in memory by itself, as it does in a tensor.
    """
    planes = np.moveaxis(values, -1, 0) if values.ndim == 3 else values
    scaled = planes.astype(np.float32, order="C")
    scaled = np.moveaxis(scaled, 0, -1) if values.ndim == 3 else scaled
    if values.dtype.kind == "u":
        scaled /= np.float32(np.iinfo(values.dtype).max)
    return scaled


def check_code_points(path: Path, primaries: int, transfer: int) -> None:
    """ImageError for colours that are not sRGB's, by their numbers in ITU-T H.273."""
    if primaries not in (1, 2, 5, 6) or transfer not in (1, 2, 6, 13):
        numbers = f"primaries {primaries}, transfer {transfer} of H.273"
        kind = "HDR colours (PQ or HLG)" if transfer in (16, 18) else f"unusual colours ({numbers})"
        raise ImageError(f"{path} has {kind}; save it in sRGB")


def _convert(values: np.ndarray, space: str, profile: bytes) -> np.ndarray:
    if space == "gray" and profile[16:20] != ICC_SPACES["gray"]:
        values, space = values.repeat(3, axis=-1), "rgb"
    if profile[16:20] == ICC_SPACES[space]:
        import imagecodecs

        samples = values[..., 0] if space == "gray" else values
        if samples.dtype == np.float32:
            samples = (samples * 65535).round().astype(np.uint16)
        srgb = imagecodecs.cms_profile("srgb")
        options = {"colorspace": space, "outcolorspace": "rgb", "outdtype": np.uint16}
        probe = np.indices((18, 18, 18), np.uint16).reshape(3, 1, -1).transpose(1, 2, 0) * 3855
        with suppress(imagecodecs.CmsError, ValueError):
            samples = np.ascontiguousarray(samples)
            if space == "rgb":  # a profile of sRGB itself costs no precision
                moved = imagecodecs.cms_transform(
                    np.ascontiguousarray(probe), profile, srgb, **options
                )
                if np.abs(moved.astype(int) - probe).max() < 514:  # two of 255 levels
                    return as_float(values)
            return as_float(imagecodecs.cms_transform(samples, profile, srgb, **options))
    colour = as_float(values)
    if space == "cmyk":  # each ink takes away its complement, black all three
        colour = (1 - colour[..., :3]) * (1 - colour[..., 3:])
    return colour.repeat(3, axis=-1) if space == "gray" else colour
