"""PNGs, by libpng (`imagecodecs`): Pillow keeps 8 of 16 bits, and misreads transparent greys."""

from pathlib import Path

from PIL.PngImagePlugin import PngImageFile

from stylelab.files.colour import Stored, check_code_points

NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # for pixels
SRGB = {"whitepoint": (0.3127, 0.329, 1), "primaries": (0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1)}


def read(path: Path, file: PngImageFile) -> Stored:
    """The picture in a PNG that Pillow has opened.

    The colours are by falling priority those of cICP, iCCP, sRGB and gAMA, as the PNG
    specification wants; cHRM is ignored. A gAMA of 1 / 2.2 counts as sRGB, as in browsers.

    Raises:
        ImageError: for cICP colours other than sRGB, such as HDR.
    """
    import imagecodecs

    data, place, needed = path.read_bytes(), 8, b"\x89PNG\r\n\x1a\n"
    profile, gamma = file.info.get("icc_profile"), file.info.get("gamma", 0)
    if not profile and "srgb" not in file.info and 0 < gamma < 10 and abs(gamma - 1 / 2.2) > 0.01:
        profile = imagecodecs.cms_profile("rgb", gamma=1 / gamma, **SRGB)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        kind, chunk = data[place + 4 : place + 8], data[place:end]
        if kind in NEEDED:
            needed += chunk
        elif kind == b"cICP":
            check_code_points(path, chunk[8], chunk[9])
            profile = None
        place = end
    pixels = imagecodecs.png_decode(needed)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    count = 1 if pixels.shape[-1] < 3 else 3
    alpha = pixels[..., count] if pixels.shape[-1] > count else None
    return Stored(pixels[..., :count], "gray" if count == 1 else "rgb", alpha, profile)
