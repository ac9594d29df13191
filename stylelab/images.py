"""Image files to tensors and back.

Everywhere in stylelab an image is a float32 tensor `(N, 3, H, W)`, sRGB in [0, 1]. Whatever a file
holds (grey, palette, alpha, CMYK, 16 bits, a colour profile, a rotated camera) ends here:
`stylelab.files.decode` and `stylelab.files.encode` know the file formats.
"""

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from stylelab.errors import ImageError, SettingError
from stylelab.files import decode, encode
from stylelab.files.local import atomic
from stylelab.vgg import resize


def load_image(path: str | os.PathLike[str], size: int | None = None) -> Tensor:
    """The image in a file as a tensor `(1, 3, H, W)`, float32 sRGB in [0, 1].

    Reads PNG, JPEG, TIFF, WebP, GIF and BMP, the first frame where there are several. Alpha is
    composited on white; the camera's orientation is applied. Embedded colour profiles are converted
    to sRGB, in 8 bits even where the file has 16; a broken profile is ignored, as browsers do.
    16-bit files in sRGB keep their full precision. Float TIFFs must hold values in [0, 1].

    Args:
        size: if given, the image is resized so that its longer side has this many pixels.

    Raises:
        ImageError: if the file is missing, damaged, too large or not an image.
        SettingError: if `size` is not a whole number of at least 1.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; name an image file")
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # reading a pipe or a device might never end
            raise ImageError(f"{path} is a device or a pipe; name an image file")
        if about.st_size == 0:
            raise ImageError(f"{path} is an empty file, not an image")
        pixels = decode.read(path)
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist; check the path of the image") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a PNG, JPEG, TIFF or WebP image, or is damaged") from None
    except Image.DecompressionBombError:
        limit = decode.MAX_PIXELS // 10**6
        raise ImageError(f"{path} has more than {limit} million pixels; make it smaller") from None
    except ImageError:
        raise
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise ImageError(f"{path} cannot be read as an image: {error}") from error
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    return image if size is None else resize(image, size)


def _check_image(image: object) -> None:
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise ImageError(f"an image must be a tensor of floats in [0, 1], got {kind}")
    if image.dim() != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise ImageError(f"an image must be (N, 3, H, W), got {tuple(image.shape)}")


def save_image(
    image: Tensor,
    path: str | os.PathLike[str],
    *,
    bits: int = 8,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `image` as PNG, JPEG or TIFF, by the extension of `path`; missing folders are made.

    Args:
        image: `(1, 3, H, W)` or `(3, H, W)`, sRGB; clamped to [0, 1] and rounded to `bits` bits.
        bits: 8, or 16 for PNG and TIFF.
        metadata: texts to keep in the file; `read_metadata` reads them back.

    Raises:
        ImageError: if the image or `path` will not do, or the file cannot be written.
        SettingError: if the extension is unknown or cannot hold `bits`.
    """
    path = Path(path)
    suffix = _check_suffix(path, bits)
    if isinstance(image, Tensor) and image.dim() == 3:
        image = image[None]
    _check_image(image)
    if len(image) != 1:
        raise ImageError(f"{path}: a file holds one image, got {len(image)}; save one at a time")
    image = image.detach().float().cpu()
    if not image.isfinite().all():
        raise ImageError(f"{path}: the image holds NaN or infinite pixels and was not saved")
    top = 2**bits - 1
    pixels = (image[0].clamp(0, 1) * top).round().permute(1, 2, 0).numpy()
    pixels = np.ascontiguousarray(pixels.astype(np.uint8 if bits == 8 else np.uint16))
    try:
        data = encode.ENCODERS[suffix](pixels, dict(metadata or {}))
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be written: {error}") from error
    with atomic(path, ImageError) as temporary:
        temporary.write_bytes(data)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that `save_image` or another program left in a PNG; ImageError if it is not one."""
    try:
        with Image.open(path, formats=["PNG"]) as file:
            file.load()
            return {str(key): str(text) for key, text in file.text.items()}
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path} cannot be read as a PNG image: {error}") from error


def check_output(path: str | os.PathLike[str], *, bits: int = 8) -> Path:
    """`path`, if `save_image` could write there; for asking before a long run, not after it.

    Raises:
        SettingError: if the extension is unknown or cannot hold `bits`.
        ImageError: if the folder cannot be written to.
    """
    path = Path(path)
    _check_suffix(path, bits)
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; name a file, such as {path / 'out.png'}")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            return path
    except OSError as error:
        raise ImageError(
            f"{path} cannot be written ({error.strerror}); choose a folder you may write to"
        ) from error


def _check_suffix(path: Path, bits: int) -> str:
    """The extension of `path` in lower case, if it can hold `bits` bits."""
    suffix = path.suffix.lower()
    if bits not in (8, 16):
        raise SettingError(f"bits must be 8 or 16, got {bits!r}")
    if suffix not in encode.ENCODERS:
        raise SettingError(f"{path} must end in one of {', '.join(encode.ENCODERS)}")
    if bits == 16 and suffix in (".jpg", ".jpeg"):
        raise SettingError(f"{path}: JPEG has 8 bits only; use .png or .tif for 16")
    return suffix
