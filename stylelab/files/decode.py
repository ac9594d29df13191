"""Image files to sRGB: which reader takes a file, and clear errors where none does.

TIFFs are read by `files.tiff`, PNGs by `files.png`, all other files by Pillow, HEIC through
`pillow-heif`. Where a file holds several pictures, the first one is read, with a warning.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from stylelab.errors import ImageError
from stylelab.files import formats, jpeg, png, tiff
from stylelab.files.colour import Stored, check_code_points, to_srgb
from stylelab.files.local import readable

MAX_PIXELS = 50_000_000  # a 48-megapixel camera's; about 1.5 GB while it is read
HEAD = 1 << 16  # bytes at the beginning of a file that say what it is
# Pillow's modes: the mode that they are converted to, and the name of its colours.
MODES = {"1": ("L", "gray"), "L": ("L", "gray"), "I;16": ("I;16", "gray"), "LA": ("LA", "gray")}
MODES |= {mode: ("RGB", "rgb") for mode in ("P", "RGB", "YCbCr")}
MODES |= {"RGBA": ("RGBA", "rgb"), "CMYK": ("CMYK", "cmyk")}

for decoder in ("tifffile", "imagecodecs"):  # what they say of damaged files stays off stderr
    logging.getLogger(decoder).addHandler(logging.NullHandler())


def read(path: Path) -> np.ndarray:
    """The first picture of a file, upright and on white, as `(H, W, 3)` float32 sRGB in [0, 1].

    Raises:
        ImageError: if there is no such file, or it is not an image that can be read.
    """
    width, height = size_of(path)
    if width * height > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS // 10**6} million are read"
        raise ImageError(f"{path} has {width} x {height} pixels; {limit}: make it smaller")
    with _clear_errors(path) as (path, head):
        if head.startswith(tiff.SIGNATURES):
            stored = tiff.read(path)
        else:
            with _open(path, head) as file:
                stored = png.read(path, file) if file.format == "PNG" else _read(path, file)
                stored.orientation = _orientation(file)
                with suppress(Exception):  # whatever is wrong with the other pictures
                    stored.several = getattr(file, "is_animated", False)
        pixels = to_srgb(stored)
    if stored.several:
        warnings.warn(f"{path} holds several pictures; the first is used", stacklevel=3)
    return pixels


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture that `read` gives, from the header of the file alone.

    Raises:
        ImageError: as `read` does, for what the header shows.
    """
    with _clear_errors(path) as (path, head):
        if head.startswith(tiff.SIGNATURES):
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
    if formats.is_heif(head):
        with suppress(ImportError):  # the error names what to install
            from pillow_heif import register_heif_opener

            register_heif_opener()
            accepted = ["HEIF"]
    place = head.find(b"colrnclx")  # AVIF's and HEIC's counterpart of cICP, two bytes each
    if place > 0 and b"colrprof" not in head:
        check_code_points(path, head[place + 9], head[place + 11])
    return Image.open(path, formats=accepted)


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
    has_clear_colour = file.mode in ("L", "P", "RGB") and "transparency" in file.info
    if drawn or has_clear_colour:
        file = file.convert("RGBA")
    if file.mode not in MODES:
        raise ImageError(f"{path} has pixels of an unusual kind ({file.mode}); save it as PNG")
    mode, space = MODES[file.mode]
    samples = np.array(file if file.mode == mode else file.convert(mode))
    samples = samples.reshape(file.height, file.width, -1)
    if mode not in ("LA", "RGBA"):
        return Stored(samples, space, profile=profile)
    if drawn:  # a GIF is transparent around its frame
        left, top, right, bottom = drawn
        inside = samples[top:bottom, left:right, 3].copy()
        samples[..., 3] = 0
        samples[top:bottom, left:right, 3] = inside
    return Stored(samples[..., :-1], space, samples[..., -1], profile)
