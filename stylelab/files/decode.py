"""Image files to sRGB: which reader takes a file, and clear errors where none does.

TIFFs are read by `files.tiff`, PNGs by `files.png`, all other files by Pillow, HEIC through
`pillow-heif`. Where a file holds several pictures, the first one is read, with a warning.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from stylelab.errors import ImageError, SettingError
from stylelab.files import formats, jpeg, png
from stylelab.files.colour import Stored, alpha_of, check_code_points, to_srgb
from stylelab.files.local import readable

MAX_PIXELS = 50_000_000  # a 48-megapixel camera's
LIMIT = "STYLELAB_MAX_PIXELS"  # environment variable: another limit
LARGE_JPEG = 16_000_000  # pixels; smaller ones are decoded whole, so that they have the same values
ENOUGH = 2  # times the size asked for, of which a resized picture is as good as one of the whole
HEAD = 1 << 16  # bytes at the beginning of a file that say what it is
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how they begin
CONVERTED = {"1": "L", "P": "RGB", "YCbCr": "RGB"}  # Pillow's modes that hold no samples to use
SPACES = {"L": "gray", "LA": "gray", "I;16": "gray", "RGB": "rgb", "RGBA": "rgb", "CMYK": "cmyk"}

for decoder in ("tifffile", "imagecodecs"):  # what they say of damaged files stays off stderr
    logging.getLogger(decoder).addHandler(logging.NullHandler())


def read(path: Path, size: int | None = None) -> np.ndarray:
    """The first picture of a file, upright and on white, as `(H, W, 3)` float32 sRGB in [0, 1].

    Args:
        size: the longer side that is needed, in pixels. A large JPEG is decoded at a half, a
            quarter or an eighth of its size if at least twice that is left.

    Raises:
        ImageError: if there is no such file, or it is not an image that can be read.
    """
    return _read_as(to_srgb, path, size)


def read_alpha(path: Path) -> np.ndarray | None:
    """The alpha channel of the picture that `read` gives, `(H, W, 1)` float32 in [0, 1], or None.

    Raises:
        ImageError: as `read` does.
    """
    return _read_as(alpha_of, path)


def max_pixels() -> int:
    """How many pixels are read at most: the environment's STYLELAB_MAX_PIXELS, or `MAX_PIXELS`.

    SettingError if that is not a whole number above 0.
    """
    text = os.environ.get(LIMIT, "").strip()
    if text and not (text.isascii() and text.isdecimal() and 0 < len(text.lstrip("0")) < 19):
        raise SettingError(f"{LIMIT} must be a whole number of pixels above 0, got {text[:40]!r}")
    return int(text) if text else MAX_PIXELS


def _check_pixels(path: Path, sides: tuple[int, int], most: int) -> None:
    if sides[0] * sides[1] > most:
        raise ImageError(
            f"{path} has {sides[0]} x {sides[1]} pixels; at most {most:,} are read: make it "
            "smaller, or raise --max-pixels"
        )


def _read_as(
    convert: Callable[[Stored], np.ndarray | None], path: Path, size: int | None = None
) -> np.ndarray | None:
    """What `convert` makes of the first picture of a file."""
    sides, most = size_of(path), max_pixels()
    with _clear_errors(path) as (path, head):
        if head.startswith(TIFF):
            from stylelab.files import tiff

            _check_pixels(path, sides, most)
            stored = tiff.read(path)
        else:
            with _open(path, head) as file:
                if size and file.format == "JPEG" and sides[0] * sides[1] > LARGE_JPEG:
                    scale = ENOUGH * size / max(sides)
                    file.draft(None, tuple(-int(-side * scale // 1) for side in file.size))
                _check_pixels(path, file.size, most)
                stored = png.read(path, file) if file.format == "PNG" else _read(path, file)
                stored.orientation = _orientation(file)
                with suppress(Exception):  # whatever is wrong with the other pictures
                    stored.several = getattr(file, "is_animated", False)
        pixels = convert(stored)
    if stored.several:
        warnings.warn(f"{path} holds several pictures; the first is used", stacklevel=4)
    return pixels


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture that `read` gives, from the header of the file alone.

    Raises:
        ImageError: as `read` does, for what the header shows.
    """
    with _clear_errors(path) as (path, head):
        if head.startswith(TIFF):
            from stylelab.files import tiff

            width, height, orientation = tiff.size_and_orientation(path)
        else:
            with _open(path, head) as file:
                (width, height), orientation = file.size, _orientation(file)
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


@contextmanager
def _clear_errors(path: Path) -> Iterator[tuple[Path, bytes]]:
    """The readable file and its first bytes.

    Whatever a decoder raises becomes an ImageError, and its warnings are kept from the user.
    """
    path = readable(path, ImageError, "an image file")
    with path.open("rb") as file:
        head = file.read(HEAD)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield path, head
    except ImageError:
        raise
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise ImageError(f"{path} is read with {package}: pip install {package}") from error
    except UnidentifiedImageError:
        raise ImageError(f"{path} is {formats.describe(head)}") from None
    except (MemoryError, Image.DecompressionBombError):
        raise ImageError(f"{path} has too many pixels for memory; make it smaller") from None
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise ImageError(f"{path} is damaged or cut short; get it anew or save it again") from error


def _open(path: Path, head: bytes) -> Image.Image:
    """The file, opened by Pillow but not yet decoded."""
    accepted = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000"]
    if head[4:8] == b"ftyp":
        with suppress(ImportError):  # without it, the error names what to install
            from pillow_heif import register_heif_opener

            register_heif_opener()
            accepted.append("HEIF")
    place = head.find(b"colrnclx")  # AVIF's and HEIC's counterpart of cICP, two bytes each
    if place > 0 and b"colrprof" not in head:
        check_code_points(path, head[place + 9], head[place + 11])
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # `_check_pixels` comes later
    try:
        return Image.open(path, formats=accepted)
    finally:
        Image.MAX_IMAGE_PIXELS = most


def _orientation(file: Image.Image) -> int:
    """EXIF's orientation; damaged EXIF data count as 1."""
    try:
        return Image.Image.getexif(file).get(0x0112, 1)  # not PNG's, which decodes it all
    except Exception:  # its parser raises nearly anything
        return 1


def _read(path: Path, file: Image.Image) -> Stored:
    """The picture in a file that Pillow has opened."""
    drawn = file.tile[0].extents if file.format == "GIF" and file.tile else None
    profile = file.info.get("icc_profile")
    try:
        file.load()
    except OSError:
        whole = jpeg.load_without_end(path.read_bytes()) if file.format == "JPEG" else None
        if whole is None:
            raise
        file = whole
    if drawn or (file.mode in ("L", "P", "RGB") and "transparency" in file.info):
        file = file.convert("RGBA")
    elif file.mode in CONVERTED:
        file = file.convert(CONVERTED[file.mode])
    if file.mode not in SPACES:
        raise ImageError(f"{path} has pixels of an unusual kind ({file.mode}); save it as PNG")
    samples = np.array(file).reshape(file.height, file.width, -1)
    if drawn:  # a GIF is transparent around its frame
        (left, top, right, bottom), outside = drawn, np.ones(samples.shape[:2], bool)
        outside[top:bottom, left:right] = False
        samples[outside, 3] = 0
    if file.mode in ("LA", "RGBA"):
        return Stored(samples[..., :-1], SPACES[file.mode], samples[..., -1], profile)
    return Stored(samples, SPACES[file.mode], profile=profile)
