"""From the pixels as a file stores them to upright sRGB on white.

Little CMS (through `imagecodecs`) converts colour profiles at 16 bits; Pillow's `ImageCms` has 8.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stylelab.errors import ImageError

ICC_SPACES = {"gray": b"GRAY", "rgb": b"RGB ", "cmyk": b"CMYK"}


@dataclass
class Stored:
    """Pixels in the colours, the range and the orientation of their file.

    `values` is `(H, W, C)`: uint8 or uint16 over their whole range, or float32 in [0, 1]; for
    "lab" float32, L* in [0, 100]. `alpha` is `(H, W)` in [0, 1], and not multiplied into `values`.
    """

    values: np.ndarray
    space: str  # "gray", "rgb", "cmyk" or "lab"
    alpha: np.ndarray | None = None
    profile: bytes | None = None  # ICC
    orientation: int = 1  # EXIF's, 1 to 8
    several: bool = False  # whether the file holds more pictures, which are left out


def to_srgb(stored: Stored) -> np.ndarray:
    """Upright pixels on white, `(H, W, 3)` float32 sRGB in [0, 1].

    A damaged profile, or one for other colours, is ignored, as browsers do.
    """
    colour = _convert(stored)
    if stored.alpha is not None:
        alpha = stored.alpha[..., None].astype(np.float32)
        colour *= alpha
        colour += 1 - alpha
    if stored.orientation in (5, 6, 7, 8):  # rows and columns exchanged, then
        colour = colour.swapaxes(0, 1)
    if stored.orientation in (2, 3, 6, 7):  # left and right,
        colour = colour[:, ::-1]
    if stored.orientation in (3, 4, 7, 8):  # top and bottom
        colour = colour[::-1]
    return colour.copy() if stored.orientation > 1 else colour


def as_float(values: np.ndarray) -> np.ndarray:
    """Integers over their whole range as a new float32 array in [0, 1]; floats as they are."""
    scaled = values.astype(np.float32)
    if values.dtype.kind in "bu":
        scaled /= np.float32(1 if values.dtype.kind == "b" else np.iinfo(values.dtype).max)
    return scaled


def gamma_profile(gamma: float) -> bytes:
    """An ICC profile of sRGB's primaries with samples that are light to the power `gamma`."""
    import imagecodecs

    primaries = (0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1)
    white = (0.3127, 0.329, 1)
    return imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, gamma=1 / gamma)


def check_code_points(path: Path, primaries: int, transfer: int) -> None:
    """ImageError for colours that are not sRGB's, by their numbers in ITU-T H.273."""
    if transfer in (16, 18):
        raise ImageError(f"{path} is an HDR image (PQ or HLG); save it in sRGB")
    if primaries not in (1, 2, 5, 6) or transfer not in (1, 2, 6, 13):
        raise ImageError(
            f"{path} has colours that are not read (primaries {primaries}, transfer {transfer} of "
            "H.273); save it in sRGB"
        )


def _convert(stored: Stored) -> np.ndarray:
    values, space, profile = stored.values, stored.space, stored.profile
    if space == "lab":
        return _lab_to_srgb(values)
    if space == "gray" and profile and profile[16:20] == ICC_SPACES["rgb"]:
        return _convert(replace(stored, values=values.repeat(3, axis=-1), space="rgb"))
    if profile and profile[16:20] == ICC_SPACES[space]:
        converted = _apply_profile(values, space, profile)
        if converted is not None:
            return converted
    colour = as_float(values)
    if space == "cmyk":  # each ink takes away its complement, black all three
        colour = (1 - colour[..., :3]) * (1 - colour[..., 3:])
    return colour.repeat(3, axis=-1) if space == "gray" else colour


def _apply_profile(values: np.ndarray, space: str, profile: bytes) -> np.ndarray | None:
    import imagecodecs

    if values.dtype == np.float32:
        values = (values * 65535).round().astype(np.uint16)
    try:
        srgb = imagecodecs.cms_profile("srgb")
        values = np.ascontiguousarray(values[..., 0] if space == "gray" else values)
        spaces = {"colorspace": space, "outcolorspace": "rgb"}
        return as_float(
            imagecodecs.cms_transform(values, profile, srgb, outdtype=np.uint16, **spaces)
        )
    except (imagecodecs.CmsError, ValueError):
        return None


def _lab_to_srgb(values: np.ndarray) -> np.ndarray:
    import imagecodecs
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = imagecodecs.cms_profile("srgb")
    spaces = {"colorspace": "lab", "outcolorspace": "rgb"}
    return imagecodecs.cms_transform(np.ascontiguousarray(values), lab, srgb, **spaces).clip(0, 1)
