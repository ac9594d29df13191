"""Pixels to the bytes of a PNG, TIFF or JPEG file.

Pillow does not write 16-bit colour, so PNG and TIFF are written here, at both depths: both are
little more than a header around deflated rows. Files depend on their pixels and texts alone.
"""

import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageCms


def png(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """A PNG of `pixels` ((H, W, 3), uint8 or uint16, sRGB), with `texts` as iTXt chunks.

    Each row is stored as its difference from the mean of the pixels to the left and above (PNG's
    filter 3), which deflates as well as Pillow's choice of filters. ValueError for keys that PNG
    does not allow.
    """
    height, width = pixels.shape[:2]
    depth = pixels.itemsize
    rows = pixels.astype(f">u{depth}").reshape(height, -1).view(np.uint8)
    padded = np.pad(rows, ((1, 0), (3 * depth, 0)))
    left, above = padded[1:, : rows.shape[1]], padded[:-1, 3 * depth :]
    mean = ((left.astype(np.uint16) + above) // 2).astype(np.uint8)
    filtered = np.insert(rows - mean, 0, 3, axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    def text(key: str, value: str) -> bytes:
        if not 0 < len(key) < 80 or not key.isprintable() or key != key.strip():
            raise ValueError(f"metadata key {key!r} must have 1 to 79 printable characters")
        return chunk(b"iTXt", key.encode("latin-1") + bytes(5) + value.encode())

    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * depth, 2, 0, 0, 0)),
            chunk(b"sRGB", b"\0"),
            *(text(key, value) for key, value in texts.items()),
            chunk(b"IDAT", zlib.compress(filtered.tobytes())),
            chunk(b"IEND", b""),
        ]
    )


def tiff(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """A little-endian TIFF of `pixels` ((H, W, 3), uint8 or uint16, sRGB), deflated in one strip.

    `texts` become its ImageDescription, as JSON.
    """
    height, width = pixels.shape[:2]
    depth = pixels.itemsize
    strip = zlib.compress(pixels.astype(f"<u{depth}").tobytes())
    text, short, long, raw = 2, 3, 4, 7
    fields: list[tuple[int, int, bytes | list[int]]] = [
        (256, long, [width]),
        (257, long, [height]),
        (258, short, [8 * depth] * 3),  # bits per sample
        (259, short, [8]),  # compression: deflate
        (262, short, [2]),  # photometric interpretation: RGB
        *([(270, text, json.dumps(texts).encode() + b"\0")] if texts else []),
        (273, long, [8]),  # where the strip begins: after the header
        (277, short, [3]),  # samples per pixel
        (278, long, [height]),  # rows per strip
        (279, long, [len(strip)]),
        (34675, raw, srgb_profile()),
    ]
    strip += bytes(len(strip) % 2)
    start = 8 + len(strip)  # of the directory; values longer than 4 bytes follow it
    directory, values = struct.pack("<H", len(fields)), b""
    for tag, kind, value in fields:
        count = len(value)
        if not isinstance(value, bytes):
            value = struct.pack(f"<{count}{'H' if kind == short else 'I'}", *value)
        if len(value) > 4:
            place = start + 2 + 12 * len(fields) + 4 + len(values)
            values += value + bytes(len(value) % 2)
            value = struct.pack("<I", place)
        directory += struct.pack("<HHI4s", tag, kind, count, value)
    return struct.pack("<2sHI", b"II", 42, start) + strip + directory + bytes(4) + values


def jpeg(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """A JPEG of `pixels` ((H, W, 3), uint8, sRGB), quality 95, full colour resolution.

    `texts` become its comment, as JSON; ValueError if they are too long for one.
    """
    comment = json.dumps(texts).encode() if texts else b""
    if len(comment) > 65_000:
        raise ValueError("a JPEG keeps at most 65 kB of metadata; use .png")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, "JPEG", quality=95, subsampling=0, icc_profile=srgb_profile(), comment=comment
    )
    return buffer.getvalue()


def srgb_profile() -> bytes:
    """The ICC profile of sRGB, without the time at which it was made."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


ENCODERS: dict[str, Callable[[np.ndarray, Mapping[str, str]], bytes]] = {
    ".png": png,
    ".jpg": jpeg,
    ".jpeg": jpeg,
    ".tif": tiff,
    ".tiff": tiff,
}
