"""Pixels to the bytes of a PNG, TIFF, WebP or JPEG file, which depend on pixels and texts alone.

Pillow has no 16-bit colour, so `imagecodecs` (libpng) writes the pixels of 16-bit PNGs.
"""

import io
import json
import struct
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo, putchunk

from stylelab.errors import ImageError

DESCRIPTION = 0x010E  # EXIF's tag ImageDescription
WEBP_SIDE = 16383
ROWS = 64  # rounded at a time


def rounded(image: np.ndarray, bits: int) -> np.ndarray:
    """`image` (C, H, W) in floats as `(H, W, C)` integers of 8 or 16 bits; clamped to [0, 1].

    Some rows at a time: a large image takes no memory but what is returned.
    """
    channels, height, width = image.shape
    pixels = np.empty((height, width, channels), f"uint{bits}")
    for first in range(0, height, ROWS):
        rows = image[:, first : first + ROWS].clip(0, 1) * np.float32(2**bits - 1)
        pixels[first : first + ROWS] = np.moveaxis(rows.round(), 0, -1)
    return pixels


def png(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """A PNG of `pixels` ((H, W, 3 or 4), uint8 or uint16, sRGB), with `texts` as iTXt chunks.

    ImageError for keys that PNG does not allow.
    """
    chunks, buffer = PngInfo(), io.BytesIO()
    chunks.add(b"sRGB", b"\0")
    for key, text in texts.items():
        if not 0 < len(key) < 80 or not (key.isascii() and key.isprintable()) or key != key.strip():
            raise ImageError(f"metadata key {key!r} must have 1 to 79 printable ASCII characters")
        chunks.add_itxt(key, text)
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(buffer, "PNG", pnginfo=chunks)
        return buffer.getvalue()
    import imagecodecs

    data = imagecodecs.png_encode(pixels, level=6)
    header = 8 + 25  # bytes of the signature and of IHDR; the other chunks follow
    for kind, content, *_ in chunks.chunks:
        putchunk(buffer, kind, content)
    return data[:header] + buffer.getvalue() + data[header:]


def tiff(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """A deflated TIFF of `pixels` ((H, W, 3 or 4), uint8 or uint16, sRGB).

    `texts` become its ImageDescription, as JSON.
    """
    import tifffile

    buffer, description = io.BytesIO(), json.dumps(dict(texts)) if texts else None
    tags = {"description": description, "metadata": None, "iccprofile": srgb_profile()}
    if pixels.shape[2] == 4:
        tags["extrasamples"] = ["unassalpha"]  # alpha that is not multiplied into the colours
    tifffile.imwrite(buffer, pixels, photometric="rgb", compression="zlib", software=False, **tags)
    return buffer.getvalue()


def webp(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """A lossless WebP of `pixels` ((H, W, 3 or 4), uint8, sRGB).

    `texts` become the ImageDescription of its EXIF data, as JSON.
    """
    buffer, exif = io.BytesIO(), Image.Exif()
    if texts:
        exif[DESCRIPTION] = json.dumps(dict(texts))
    how = {"lossless": True, "exact": True, "method": 4, "icc_profile": srgb_profile()}
    Image.fromarray(pixels).save(buffer, "WEBP", exif=exif.tobytes() if texts else b"", **how)
    return buffer.getvalue()


def jpeg(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """A JPEG of `pixels` ((H, W, 3), uint8, sRGB), quality 95, full colour resolution.

    `texts` become its comment, as JSON; ImageError if they are too long for one.
    """
    comment = json.dumps(dict(texts)).encode() if texts else b""
    if len(comment) > 65_000:
        raise ImageError("a JPEG keeps at most 65 kB of metadata; use .png")
    buffer, quality = io.BytesIO(), {"quality": 95, "subsampling": 0}
    profile = srgb_profile()
    Image.fromarray(pixels).save(buffer, "JPEG", icc_profile=profile, comment=comment, **quality)
    return buffer.getvalue()


def srgb_profile() -> bytes:
    """The ICC profile of sRGB, without the time at which it was made."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


ENCODERS = {".png": png, ".jpg": jpeg, ".jpeg": jpeg, ".tif": tiff, ".tiff": tiff, ".webp": webp}
DEEP = (".png", ".tif", ".tiff")  # hold 16 bits
OPAQUE = (".jpg", ".jpeg")  # hold no alpha
