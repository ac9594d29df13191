"""Image files to tensors and back.

Everywhere in stylelab an image is a float32 tensor `(N, 3, H, W)`, sRGB in [0, 1]. Whatever a file
holds (grey, palette, alpha, CMYK, 16 bits, a colour profile, a rotated camera) ends here:
`stylelab.files.decode` and `stylelab.files.encode` know the file formats.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stylelab.errors import ImageError, SettingError
from stylelab.files import decode, encode
from stylelab.files.local import atomic
from stylelab.vgg import resize


def load_image(path: str | os.PathLike[str], size: int | None = None) -> Tensor:
    """The image in a file as a tensor `(1, 3, H, W)`, float32 sRGB in [0, 1].

    Reads PNG, JPEG, TIFF, WebP, GIF, BMP, AVIF and JPEG 2000, and HEIC if `pillow-heif` is
    installed; of several pictures in a file the first, with a Python warning. Alpha is composited
    on white, and the camera's orientation applied. Colour profiles are converted to sRGB; a damaged
    one is ignored. 16-bit files keep their precision. Float TIFFs must hold values in [0, 1].

    Args:
        path: the file; `~` is expanded.
        size: if given, the image is resized so that its longer side has this many pixels.

    Raises:
        ImageError: if the file is missing, damaged, too large or not an image.
        SettingError: if `size` is not a whole number of at least 1.
    """
    image = torch.from_numpy(decode.read(path)).permute(2, 0, 1)[None].contiguous()
    return image if size is None else resize(image, size)


def save_image(
    image: Tensor,
    path: str | os.PathLike[str],
    *,
    bits: int = 8,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `image` as PNG, JPEG or TIFF, by the extension of `path`; missing folders are made.

    The same pixels and texts give the same bytes.

    Args:
        image: `(1, 3, H, W)` or `(3, H, W)`, sRGB; clamped to [0, 1] and rounded to `bits` bits.
        path: the file; `~` is expanded.
        bits: 8, or 16 for PNG and TIFF.
        metadata: texts to keep in the file; `read_metadata` reads them back.

    Raises:
        ImageError: if the image or `path` will not do, or the file cannot be written.
        SettingError: if the extension is unknown or cannot hold `bits`.
    """
    path = check_output(path, bits=bits)
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise ImageError(f"{path}: an image must be a tensor of floats in [0, 1], got {kind}")
    if image.dim() == 4 and len(image) == 1:
        image = image[0]
    if image.dim() != 3 or image.shape[0] != 3 or 0 in image.shape:
        shape = tuple(image.shape)
        raise ImageError(f"{path}: a file holds one image (1, 3, H, W); got the shape {shape}")
    image = image.detach().float().cpu()
    if not image.isfinite().all():
        raise ImageError(f"{path}: the image holds NaN or infinite pixels and was not saved")
    pixels = (image.clamp(0, 1) * (2**bits - 1)).round().permute(1, 2, 0).contiguous().numpy()
    try:
        encoder = encode.ENCODERS[path.suffix.lower()]
        data = encoder(pixels.astype("uint8" if bits == 8 else "uint16"), metadata or {})
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be written: {error}") from error
    with atomic(path, ImageError) as temporary:
        temporary.write_bytes(data)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that `save_image` or another program left in a PNG; ImageError if it is not one."""
    try:
        with Image.open(os.path.expanduser(path), formats=["PNG"]) as file:
            file.load()
            return {str(key): str(text) for key, text in file.text.items()}
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path} cannot be read as a PNG image") from error


def check_output(path: str | os.PathLike[str], *, bits: int = 8) -> Path:
    """`path`, `~` expanded, if `save_image` could write there: to be asked before a long run.

    Raises:
        SettingError: if the extension is unknown or cannot hold `bits`.
        ImageError: if it is no possible file name, or the folder cannot be written to.
    """
    path = Path(os.path.expanduser(path))
    suffix, known = path.suffix.lower(), ", ".join(encode.ENCODERS)
    if bits not in (8, 16):
        raise SettingError(f"bits must be 8 or 16, got {bits!r}")
    if suffix not in encode.ENCODERS:
        raise SettingError(f"{str(path)!r} must end in one of {known}")
    if bits == 16 and suffix in (".jpg", ".jpeg"):
        raise SettingError(f"{path}: JPEG has 8 bits only; use .png or .tif for 16")
    try:
        os.fsencode(path)
        with suppress(FileNotFoundError):
            path.stat()  # refuses names that are too long or hold a NUL
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except ValueError as error:
        raise ImageError(f"{str(path)!r} is not a possible file name; choose another") from error
    except OSError as error:
        raise ImageError(
            f"{path} cannot be written ({error.strerror}); choose a folder you may write to"
        ) from error
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name a file, such as {path / 'out.png'}")
    return path
