"""Image files to tensors and back.

Everywhere in stylelab an image is a float32 tensor `(N, 3, H, W)`, sRGB in [0, 1]. The formats of
image files are the business of `stylelab.files.decode` and `stylelab.files.encode`.
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
from stylelab.files.local import atomic, readable
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
    image = torch.from_numpy(decode.read(path, size)).permute(2, 0, 1)[None].contiguous()
    return image if size is None else resize(image, size)


def load_alpha(path: str | os.PathLike[str], size: int | None = None) -> Tensor | None:
    """The alpha channel of the image in a file, `(1, 1, H, W)` float32 in [0, 1]; None without one.

    Args and errors are those of `load_image`, whose images are on white.
    """
    found = decode.read_alpha(path)
    if found is None:
        return None
    alpha = torch.from_numpy(found).permute(2, 0, 1)[None].contiguous()
    return alpha if size is None else resize(alpha, size)


def save_image(
    image: Tensor,
    path: str | os.PathLike[str],
    *,
    bits: int = 8,
    metadata: Mapping[str, str] | None = None,
    alpha: Tensor | None = None,
) -> None:
    """Write `image` to `path` (`~` is expanded) as PNG, TIFF, WebP or JPEG, by its extension.

    Missing folders are made. The same pixels and texts give the same bytes.

    Args:
        image: `(1, 3, H, W)` or `(3, H, W)`, sRGB; clamped to [0, 1] and rounded to `bits` bits.
        bits: 8, or 16 for PNG and TIFF.
        metadata: texts to keep in the file; `read_metadata` reads them back.
        alpha: `(1, 1, H, W)` in [0, 1], 0 where the picture is transparent; it is resized to the
            image's size. A JPEG cannot hold it.

    Raises:
        ImageError: if the image or `path` will not do, or the file cannot be written.
        SettingError: if the extension is unknown, or cannot hold `bits` or `alpha`.
    """
    sides = [1, *getattr(image, "shape", ())[-2:]]
    path = check_output(path, bits=bits, alpha=alpha is not None, side=max(sides))
    kind, shape = getattr(image, "dtype", type(image)), tuple(getattr(image, "shape", ()))
    is_float = isinstance(image, Tensor) and image.is_floating_point() and 0 not in shape
    if not is_float or shape[-3:-2] != (3,) or shape[:-3] not in ((), (1,)):
        raise ImageError(f"{path}: an image is a float tensor (1, 3, H, W), got {kind} of {shape}")
    image = image.detach().float().cpu().reshape(shape[-3:])
    if not (image.amin() > -torch.inf and image.amax() < torch.inf):  # neither holds for NaN
        raise ImageError(f"{path}: the image holds NaN or infinite pixels and was not saved")
    if alpha is not None:
        if not isinstance(alpha, Tensor) or alpha.shape[:2] != (1, 1) or alpha.dim() != 4:
            raise ImageError(f"{path}: alpha must be a tensor (1, 1, H, W)")
        image = torch.cat([image, resize(alpha.detach().float().cpu(), tuple(image.shape[1:]))[0]])
    pixels, encoder = encode.rounded(image.numpy(), bits), encode.ENCODERS[path.suffix.lower()]
    with atomic(path, ImageError) as temporary:
        temporary.write_bytes(encoder(pixels, metadata or {}))


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that `save_image` or another program left in a PNG; ImageError if it is not one."""
    path = readable(path, ImageError, "a PNG image")
    try:
        with Image.open(path, formats=["PNG"]) as file:
            file.load()
            return {str(key): str(text) for key, text in file.text.items()}
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path} cannot be read as a PNG image") from error


def check_output(
    path: str | os.PathLike[str], *, bits: int = 8, alpha: bool = False, side: int = 1
) -> Path:
    """`path`, `~` expanded, if `save_image` could write there: to be asked before a long run.

    Args:
        bits: of each colour.
        alpha: whether there will be an alpha channel.
        side: the longer side of the picture.

    Raises:
        SettingError: if the extension is unknown, or cannot hold such a picture.
        ImageError: if it is no possible file name, or the folder cannot be written to.
    """
    path = Path(os.path.expanduser(path))
    if path.suffix.lower() not in encode.ENCODERS:
        raise SettingError(f"{str(path)!r} must end in one of {', '.join(encode.ENCODERS)}")
    if bits not in (8, 16) or (bits == 16 and path.suffix.lower() not in encode.DEEP):
        said = f"bits must be 8 or 16, and JPEG and WebP have 8 bits only; got {bits!r}"
        raise SettingError(f"{path}: {said}")
    if side > encode.WEBP_SIDE and path.suffix.lower() == ".webp":
        raise SettingError(f"{path}: a WebP has at most {encode.WEBP_SIDE} pixels on a side")
    if alpha and path.suffix.lower() in encode.OPAQUE:
        raise SettingError(f"{path}: a JPEG has no transparency; name a .png, .tif or .webp file")
    try:
        with suppress(FileNotFoundError):
            path.stat()  # refuses names that are too long or hold a NUL
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{str(path)!r} cannot be written ({reason}); choose another") from error
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name a file, such as {path / 'out.png'}")
    return path
