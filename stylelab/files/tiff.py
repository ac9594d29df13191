"""TIFFs of every usual kind, by `tifffile`, which decodes compressions through `imagecodecs`.

`tifffile` gives samples as they are stored; what they mean (white first, a palette, inks, LAB,
alpha multiplied into the colours, 12 of 16 bits) is applied here. Other kinds are refused by name.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stylelab.errors import ImageError
from stylelab.files.colour import Stored, as_float

if TYPE_CHECKING:
    from tifffile import TiffPage

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Photometric interpretation: the name of the colours, and how many samples they take.
COLOURS = {
    **{0: ("gray", 1), 1: ("gray", 1), 2: ("rgb", 3), 3: ("palette", 1)},
    **{5: ("cmyk", 4), 6: ("ycbcr", 3), 8: ("lab", 3), 9: ("lab", 3)},
}
ALPHA, PREMULTIPLIED = 2, 1  # kinds of extra samples; 0, unspecified, is dropped
JPEG = (6, 7, 34892, 33007)  # compressions whose decoder turns YCbCr into RGB


def size_and_orientation(path: Path) -> tuple[int, int, int]:
    """Width, height and orientation (1 to 8) of the first page, from its header."""
    with _open(path) as file:
        page = file.pages[0]
        return page.imagewidth, page.imagelength, _orientation(page)


def read(path: Path) -> Stored:
    """The first page, its alpha apart. Extra samples that are not called alpha are dropped.

    Raises:
        ImageError: for kinds that are not read. Damaged files raise nearly anything.
    """
    with _open(path) as file:
        page = file.pages[0]
        _check_kind(path, page)
        samples = page.asarray().reshape(page.shaped)[:, 0]  # (planes, H, W, interleaved)
        several = file.pages.is_multipage
        samples = np.moveaxis(samples, 0, 2).reshape(page.imagelength, page.imagewidth, -1)
        return _interpret(path, page, samples, several)


def _open(path: Path):
    import tifffile

    logger = logging.getLogger("tifffile")  # its complaints stay off stderr unless asked for
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return tifffile.TiffFile(path)


def _orientation(page: "TiffPage") -> int:
    orientation = page.tags.valueof(274)
    return orientation if orientation in range(1, 9) else 1


def _check_kind(path: Path, page: "TiffPage") -> None:
    """Refuse what would be read wrongly, before anything is decoded."""
    import tifffile

    bits, is_float = page.bitspersample, page.sampleformat == 3
    colours = COLOURS.get(page.photometric, ("unknown",))[0]
    problem = None
    if colours == "unknown" or page.tags.valueof(332, 1) != 1:  # 332: inks other than CMYK
        problem = f"colours of an unusual kind ({getattr(page.photometric, 'name', 'unknown')})"
    elif not isinstance(bits, int) or page.samplesperpixel > 8 or page.imagedepth != 1:
        problem = "samples of different sizes, or more than eight for each pixel"
    elif not is_float and (page.sampleformat != 1 or bits > 16):
        problem = f"{bits}-bit integers that have a sign or more than 16 bits"
    elif colours in ("palette", "ycbcr", "lab") and (is_float or bits not in (1, 2, 4, 8, 16)):
        problem = f"{colours} colours in numbers of an unusual kind"
    elif colours in ("ycbcr", "lab") and PREMULTIPLIED in page.extrasamples:
        problem = f"{colours} colours multiplied by alpha"
    elif page.is_subsampled and page.compression not in JPEG:
        problem = "YCbCr at two resolutions without JPEG"
    elif page.compression not in tifffile.TIFF.DECOMPRESSORS:
        problem = f"a compression that is not read ({getattr(page.compression, 'name', 'unknown')})"
    elif 50706 in page.tags or (page.is_reduced and page.parent.pages.is_multipage):  # 50706: DNG
        problem = "a camera's raw data, or a preview first"
    elif 0 in page.databytecounts or not page.dataoffsets:
        problem = "no data for a part of the picture"
    if problem:
        raise ImageError(f"{path} is a TIFF that holds {problem}; save it in RGB with 8 or 16 bits")


def _interpret(path: Path, page: "TiffPage", samples: np.ndarray, several: bool) -> Stored:
    kind, count = COLOURS[page.photometric]
    if samples.shape[-1] < count:
        raise ImageError(f"{path} is a damaged TIFF: {kind} takes {count} samples")
    values, extra = samples[..., :count], list(page.extrasamples)
    if samples.dtype.kind == "f":
        samples = _check_unit(path, samples)
        values = samples[..., :count]
    elif page.bitspersample not in (8, 16) and kind != "palette":
        samples = samples.astype(np.float32) / np.float32(2**page.bitspersample - 1)
        values = samples[..., :count]
    alpha = None
    for place, extra_kind in enumerate(extra):
        if extra_kind in (ALPHA, PREMULTIPLIED) and count + place < samples.shape[-1]:
            alpha = as_float(samples[..., count + place])
            if extra_kind == PREMULTIPLIED:
                floats = as_float(values)
                values = np.divide(floats, alpha[..., None], floats, where=alpha[..., None] > 0)
                values = values.clip(0, 1)
            break
    if kind == "palette":
        values, kind = _apply_palette(page, samples[..., 0]), "rgb"
    elif kind == "ycbcr":
        values, kind = (
            values if page.compression in JPEG else _from_ycbcr(path, page, values),
            "rgb",
        )
    elif kind == "lab":
        values = _from_lab(page, values)
    elif page.photometric == 0:
        values = 1 - as_float(values)
    profile = page.tags.valueof(34675)
    return Stored(values, kind, alpha, profile, _orientation(page), several)


def _check_unit(path: Path, samples: np.ndarray) -> np.ndarray:
    """Floating point samples as float32, if they are finite and within [0, 1]."""
    low, high = samples.min(), samples.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"{path} holds NaN or infinite pixels; replace them")
    if low < -1e-3 or high > 1 + 1e-3:
        raise ImageError(
            f"{path} holds floating point pixels in [{low:.3g}, {high:.3g}]; scale them to [0, 1]"
        )
    return samples.astype(np.float32).clip(0, 1)


def _apply_palette(page: "TiffPage", indices: np.ndarray) -> np.ndarray:
    colours = page.colormap.T  # (entries, 3), 16 bits
    if colours.max() < 256:  # some writers store 8
        colours = colours * 257
    return np.ascontiguousarray(colours.astype(np.uint16)[indices.astype(np.intp)])


def _from_ycbcr(path: Path, page: "TiffPage", values: np.ndarray) -> np.ndarray:
    reference = (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
    # Coefficients of their own, or a narrower range of values.
    if 529 in page.tags or page.tags.valueof(532, reference) != reference:
        raise ImageError(f"{path} is a TIFF with its own kind of YCbCr; save it in RGB")
    luma, blue, red = np.moveaxis(as_float(values), -1, 0)
    blue, red = blue - 128 / 255, red - 128 / 255
    rgb = luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue
    return np.stack(rgb, axis=-1).clip(0, 1)


def _from_lab(page: "TiffPage", values: np.ndarray) -> np.ndarray:
    """L* in [0, 100], a*, b*: stored as signed bytes (or 256ths), in ICC's variant plus 128."""
    floats, unit = as_float(values), 1 if values.dtype == np.uint8 else 256
    if page.photometric == 9:
        white = 65280 / 65535 if unit == 256 else 1
        a_b = values[..., 1:].astype(np.float32) / unit - 128
    else:
        white = 1
        a_b = values[..., 1:].astype(np.int8 if unit == 1 else np.int16).astype(np.float32) / unit
    return np.concatenate([floats[..., :1] * (100 / white), a_b], axis=-1)
