"""What an image file holds, as sRGB: grey, palette, alpha, CMYK, 16 bits, profile, orientation.

`stylelab.images.load_image` is the front door and turns what goes wrong here into clear errors.
"""

import io
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from stylelab.errors import ImageError

MAX_PIXELS = 50_000_000  # a 48-megapixel camera's; about 1.5 GB while it is read
READABLE = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP")  # in Pillow's words


def read(path: Path) -> np.ndarray:
    """The first frame of a file, upright and on white, as `(H, W, 3)` float32 sRGB."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of metadata and pages that are not used
        return _read(path)


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=READABLE) as file:
            _check_size(path, *file.size)
            _refuse_misread_tiff(file)
            mode, pixels = _samples(path, file)
            icc, orientation = file.info.get("icc_profile"), _orientation(file)
    except UnidentifiedImageError:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise
        mode, pixels, icc, orientation = _read_rare_tiff(path)
    colour = _to_srgb(pixels[..., : len(mode.rstrip("A"))], mode.rstrip("A"), icc)
    if mode.endswith("A"):
        alpha = pixels[..., -1:]
        colour = colour * alpha
        colour += 1 - alpha
    if orientation in (5, 6, 7, 8):  # EXIF: rows and columns exchanged, then
        colour = colour.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):  # left and right,
        colour = colour[:, ::-1]
    if orientation in (3, 4, 7, 8):  # top and bottom
        colour = colour[::-1]
    return np.ascontiguousarray(colour, dtype=np.float32)


def _samples(path: Path, file: Image.Image) -> tuple[str, np.ndarray]:
    """The mode (L, RGB, CMYK or LAB; A appended for alpha) and `(H, W, C)` pixels in [0, 1]."""
    rawmodes = {_rawmode(tile.args) for tile in file.tile}
    file.load()
    if file.mode == "F":
        return "L", _check_unit(path, np.asarray(file)[..., None])
    if file.mode.startswith("I;16"):
        mode, deep = "L", np.asarray(file)[..., None]
    elif len(rawmodes) == 1 and (rawmode := rawmodes.pop()) in _OTHER_BYTES:
        mode, deep = _sixteen_bits(path, file, rawmode)
    else:
        return _eight_bits(path, file)
    pixels = deep.astype(np.float32) / 65535
    if (clear := file.info.get("transparency")) is not None:  # PNG: one colour is see-through
        mode += "A"
        pixels = np.concatenate([pixels, (deep != clear).any(-1, keepdims=True)], axis=-1)
    return mode, pixels.astype(np.float32)


def _eight_bits(path: Path, file: Image.Image) -> tuple[str, np.ndarray]:
    mode = {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(file.mode, file.mode)
    if mode in ("P", "RGBX", "YCbCr"):
        mode = "RGB"
    if "transparency" in file.info:
        mode = "LA" if mode == "L" else "RGBA"
    if mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        raise ImageError(f"{path} has pixels of an unusual kind ({mode}); save it with 16 bits")
    image = file if mode == file.mode else file.convert(mode)
    pixels = _from_bytes(image)
    return mode, pixels.reshape(*pixels.shape[:2], -1)


def _from_bytes(image: Image.Image) -> np.ndarray:
    """Bytes as float32 in [0, 1], without a copy more than that takes."""
    pixels = np.array(image, dtype=np.float32)
    pixels /= 255
    return pixels


def _check_size(path: Path, width: int, height: int) -> None:
    """Before anything is decoded: files may declare any number of pixels."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{path} has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are "
            "read: make it smaller"
        )


# Pillow has no 16-bit colour: it keeps one byte of each sample. Decoding once more, as if the bytes
# came in the other order, gives the other byte ("N" is the machine's own order).
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_OTHER_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in _OTHER_ORDER.items()
} | {"LA;16B": "RGBA"}  # grey with alpha: all four bytes of a pixel, as they come


def _sixteen_bits(path: Path, file: Image.Image, rawmode: str) -> tuple[str, np.ndarray]:
    other = _OTHER_BYTES[rawmode]
    with Image.open(path, formats=READABLE) as twin:
        twin.tile = [
            tile._replace(args=other if tile.args == rawmode else (other, *tile.args[1:]))
            for tile in twin.tile
        ]
        twin.load()
        low = np.asarray(twin).astype(np.uint16)
    if rawmode == "LA;16B":
        return "LA", low[..., 0::2] * 256 + low[..., 1::2]
    return file.mode, np.asarray(file).astype(np.uint16) * 256 + low


def _rawmode(args: object) -> object:
    """How the bytes of a Pillow tile are laid out, such as "RGB;16B"."""
    return args[0] if isinstance(args, tuple) and args else args


def _orientation(file: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; damaged EXIF data say nothing of the pixels and count as 1."""
    try:
        return file.getexif().get(0x0112, 1)
    except Exception:  # its parser raises nearly anything
        return 1


def _refuse_misread_tiff(file: Image.Image) -> None:
    """Pillow opens 16-bit TIFFs stored plane by plane, or white first, but gets them wrong."""
    tags = getattr(file, "tag_v2", {})
    if 16 in tags.get(258, ()) and (tags.get(284) == 2 or tags.get(262) == 0):
        raise UnidentifiedImageError


def _read_rare_tiff(path: Path) -> tuple[str, np.ndarray, bytes | None, int]:
    """TIFFs that Pillow cannot read, above all colour in floating point."""
    try:
        import tifffile
    except ImportError:
        raise ImageError(
            f"{path} is damaged or a kind of TIFF that needs a reader: pip install tifffile"
        ) from None
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        _check_size(path, page.imagewidth, page.imagelength)
        pixels, axes = page.asarray(), page.axes
        white_first = page.photometric == 0
        icc, orientation = (page.tags.valueof(tag) for tag in (34675, 274))
    pixels = np.moveaxis(pixels, axes.index("S"), -1) if "S" in axes else pixels[..., None]
    if pixels.dtype.kind == "u":
        pixels = pixels / np.float64(np.iinfo(pixels.dtype).max)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(pixels.shape[-1])
    if mode is None or pixels.ndim != 3:
        raise ImageError(f"{path} is a TIFF of shape {pixels.shape}, neither grey nor RGB")
    pixels = _check_unit(path, pixels)
    return mode, 1 - pixels if white_first else pixels, icc, orientation or 1


def _check_unit(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Floating point pixels as float32, if they are finite and within [0, 1]."""
    if pixels.dtype.kind not in "fu":
        raise ImageError(f"{path} holds pixels of an unusual kind ({pixels.dtype}); save 8 bits")
    low, high = pixels.min(), pixels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"{path} holds NaN or infinite pixels; replace them")
    if low < -1e-3 or high > 1 + 1e-3:
        raise ImageError(
            f"{path} holds floating point pixels in [{low:.3g}, {high:.3g}]; scale them to [0, 1]"
        )
    return pixels.astype(np.float32).clip(0, 1)


def _to_srgb(colour: np.ndarray, mode: str, icc: bytes | None) -> np.ndarray:
    """`(H, W, C)` in [0, 1], of mode L, RGB, CMYK or LAB, as `(H, W, 3)` sRGB."""

    def as_image(pixels: np.ndarray) -> Image.Image:
        size = pixels.shape[1], pixels.shape[0]
        return Image.frombytes(mode, size, pixels.astype(np.uint8).tobytes())

    transform, srgb = None, ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc)) if icc else None
        if mode == "LAB":
            source = ImageCms.createProfile("LAB")
        elif mode == "L" and source and source.profile.xcolor_space.strip() == "RGB":
            mode, colour = "RGB", colour.repeat(3, axis=-1)
        if source:
            transform = ImageCms.buildTransform(source, srgb, mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        pass
    if transform and mode in ("L", "RGB"):  # a profile that does nothing costs no precision
        levels = np.arange(0, 256, 15)
        probe = np.stack(np.meshgrid(*[levels] * len(mode)), axis=-1).reshape(1, -1, len(mode))
        converted = np.asarray(ImageCms.applyTransform(as_image(probe), transform))
        if np.abs(converted - probe).max() < 2:
            transform = None
    if transform is None and mode in ("L", "RGB"):
        return colour.repeat(3, axis=-1) if mode == "L" else colour
    image = as_image((colour * 255).round())
    image = ImageCms.applyTransform(image, transform) if transform else image.convert("RGB")
    return _from_bytes(image)
