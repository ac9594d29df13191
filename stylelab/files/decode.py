"""Image files to sRGB: which reader takes a file, and clear errors where none does.

TIFFs are read by `files.tiff` and 16-bit PNGs by libpng (`imagecodecs`), since Pillow misreads
many of the former and keeps 8 bits of the latter; all other files by Pillow, HEIC through
`pillow-heif`. Where a file holds several pictures, the first one is read, with a warning.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from stylelab.errors import ImageError
from stylelab.files import formats, jpeg, png, tiff
from stylelab.files.colour import Stored, as_float, check_code_points, to_srgb
from stylelab.files.local import readable

MAX_PIXELS = 50_000_000  # a 48-megapixel camera's; about 1.5 GB while it is read
PILLOW_FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000", "HEIF"]
HEAD = 1 << 16  # bytes at the beginning of a file that say what it is


def read(path: Path) -> np.ndarray:
    """The first picture of a file, upright and on white, as `(H, W, 3)` float32 sRGB in [0, 1].

    Raises:
        ImageError: if there is no such file, or it is not an image that can be read.
    """
    with _clear_errors(path) as path:
        check_size(path)
        if _head(path).startswith(tiff.SIGNATURES):
            stored = tiff.read(path)
        else:
            stored = _read_with_pillow(path)
        pixels = to_srgb(stored)
    if stored.several:
        warnings.warn(f"{path} holds several pictures; the first is used", stacklevel=3)
    return pixels


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture that `read` gives, from the header of the file alone.

    Raises:
        ImageError: as `read` does, for what the header shows.
    """
    with _clear_errors(path) as path:
        if _head(path).startswith(tiff.SIGNATURES):
            width, height, orientation = tiff.size_and_orientation(path)
        else:
            with _open(path) as file:
                (width, height), orientation = file.size, _orientation(file)
        return (width, height) if orientation < 5 else (height, width)


def check_size(path: Path) -> None:
    """ImageError if a file declares more than `MAX_PIXELS`; before anything is decoded."""
    width, height = size_of(path)
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{path} has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are "
            "read: make it smaller"
        )


@contextmanager
def _clear_errors(path: Path) -> Iterator[Path]:
    """Turn whatever a decoder raises into an ImageError, and keep its warnings to itself."""
    path = readable(path, ImageError, "an image file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield path
    except ImageError:
        raise
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise ImageError(f"{path} is read with {package}: pip install {package}") from error
    except UnidentifiedImageError:
        raise ImageError(f"{path} is {formats.describe(_head(path))}") from None
    except Image.DecompressionBombError:
        limit = MAX_PIXELS // 10**6
        raise ImageError(f"{path} has more than {limit} million pixels; make it smaller") from None
    except MemoryError:
        raise ImageError(f"{path} does not fit into memory; make it smaller") from None
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise ImageError(f"{path} is damaged or cut short; get it anew or save it again") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _open(path: Path) -> Image.Image:
    """The file, opened by Pillow but not yet decoded."""
    head = _head(path)
    if formats.is_heif(head):
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            cure = "pip install 'stylelab[heic]', or save it as JPEG"
            raise ImageError(f"{path} is a HEIC image; to read it: {cure}") from None
        register_heif_opener()
    place = head.find(b"colrnclx")  # AVIF's and HEIC's counterpart of cICP, two bytes each
    if place > 0 and b"colrprof" not in head:
        check_code_points(path, head[place + 9], head[place + 11])
    return Image.open(path, formats=PILLOW_FORMATS)


def _orientation(file: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; damaged EXIF data count as 1."""
    try:
        orientation = Image.Image.getexif(file).get(0x0112, 1)  # not PNG's, which decodes it all
        return orientation if orientation in range(1, 9) else 1
    except Exception:  # its parser raises nearly anything
        return 1


def _read_with_pillow(path: Path) -> Stored:
    with _open(path) as file:
        if file.format == "PNG":
            profile, deep = png.profile_and_deep_pixels(path, file)
        else:
            profile, deep = file.info.get("icc_profile"), None
        if deep is None:
            drawn = file.tile[0].extents if file.format == "GIF" and file.tile else None
            values, space, alpha = _samples(path, _load(path, file))
        else:
            drawn, (values, space, alpha) = None, deep
        if drawn and drawn != (0, 0, *file.size):  # a GIF is transparent around its frame
            (left, top, right, bottom), inside = drawn, alpha
            alpha = np.zeros(values.shape[:2], bool)
            alpha[top:bottom, left:right] = True
            alpha = alpha if inside is None else alpha & (inside > 0)
        stored = Stored(values, space, alpha, profile, _orientation(file))
        with suppress(Exception):  # whatever is wrong with the other pictures
            stored.several = getattr(file, "is_animated", False)
        return stored


def _load(path: Path, file: Image.Image) -> Image.Image:
    """`file`, decoded. A JPEG may lack its end marker, but no pixels."""
    try:
        file.load()
        return file
    except OSError:
        whole = jpeg.load_without_end(path.read_bytes()) if file.format == "JPEG" else None
        if whole is None:
            raise
        return whole


def _samples(path: Path, file: Image.Image) -> tuple[np.ndarray, str, np.ndarray | None]:
    """`(H, W, C)` samples of a decoded file, the name of their colours, and alpha `(H, W)`."""
    mode, clear = file.mode, file.info.get("transparency")
    if mode.startswith("I;16"):
        return np.asarray(file).astype(np.uint16)[..., None], "gray", None
    if mode == "CMYK":
        return np.asarray(file), "cmyk", None
    if mode in ("1", "L"):
        grey = np.asarray(file.convert("L"))
        return grey[..., None], "gray", grey != clear if isinstance(clear, int) else None
    if mode in ("P", "RGB") and clear is not None:
        mode = "RGBA"
    simple = {"P": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
    mode = simple.get(mode, mode)
    if mode not in ("LA", "RGB", "RGBA"):
        raise ImageError(f"{path} has pixels of an unusual kind ({mode}); save it as PNG")
    pixels = np.asarray(file if file.mode == mode else file.convert(mode))
    if mode == "RGB":
        return pixels, "rgb", None
    return pixels[..., :-1], "gray" if mode == "LA" else "rgb", as_float(pixels[..., -1])
