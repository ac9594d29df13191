"""What Pillow leaves out of PNGs: 16 bits per sample, gAMA, cICP, transparent grey below 8 bits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from stylelab.files.colour import as_float, check_code_points, gamma_profile

NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # for pixels


def profile_and_deep_pixels(
    path: Path, file: PngImageFile
) -> tuple[bytes | None, tuple[np.ndarray, str, np.ndarray | None] | None]:
    """The ICC profile of a PNG, and for 16 bits its samples, the name of their colours, and alpha.

    The colours are by falling priority those of cICP, iCCP, sRGB and gAMA, as the PNG
    specification wants; cHRM is ignored. A gAMA of 1 / 2.2 counts as sRGB, as in browsers.

    Raises:
        ImageError: for cICP colours other than sRGB, such as HDR.
    """
    data = path.read_bytes()
    chunks, depth = list(_chunks(data)), data[24]
    gamma, profile = file.info.get("gamma", 0), file.info.get("icc_profile")
    if not profile and "srgb" not in file.info and 0 < gamma < 10 and abs(gamma - 1 / 2.2) > 0.01:
        profile = gamma_profile(gamma)
    for kind, chunk in chunks:
        if kind == b"cICP":
            check_code_points(path, chunk[8], chunk[9])
            profile = None
    clear = file.info.get("transparency")
    if depth < 8 and file.mode in ("1", "L") and clear is not None:
        file.info["transparency"] = clear * (255 // (2**depth - 1))  # as Pillow scales the pixels
    return profile, _decode(data, chunks) if depth == 16 else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], data[place:end]
        place = end


def _decode(
    data: bytes, chunks: list[tuple[bytes, bytes]]
) -> tuple[np.ndarray, str, np.ndarray | None]:
    import imagecodecs

    needed = b"".join(chunk for kind, chunk in chunks if kind in NEEDED)
    pixels = imagecodecs.png_decode(data[:8] + needed)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    space = "gray" if pixels.shape[-1] < 3 else "rgb"
    if pixels.shape[-1] in (1, 3):
        return pixels, space, None
    return pixels[..., :-1], space, as_float(pixels[..., -1])
