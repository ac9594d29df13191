"""TIFFs of every usual kind, by `tifffile`, which decodes compressions through `imagecodecs`.

`tifffile` gives samples as they are stored; what they mean (white first, a palette, inks, alpha
multiplied into the colours, 12 of 16 bits) is applied here. Other kinds are refused by name.
"""

from pathlib import Path

import numpy as np
import tifffile

from stylelab.errors import ImageError
from stylelab.files.colour import Stored, as_float

WHITE_FIRST, PALETTE, YCBCR = 0, 3, 6  # photometric interpretations, by the TIFF 6.0 standard
COUNTS = {WHITE_FIRST: 1, 1: 1, 2: 3, PALETTE: 1, 5: 4, YCBCR: 3}  # the samples of a pixel
SPACES = {1: "gray", 3: "rgb", 4: "cmyk"}  # colours by their number of samples, once decoded
JPEG = (6, 7, 34892, 33007)  # compressions whose decoder turns YCbCr into RGB
PREMULTIPLIED, ALPHA = 1, 2  # kinds of extra samples; 0, unspecified, is dropped


def size_and_orientation(path: Path) -> tuple[int, int, int | None]:
    """Width, height and orientation of the first page, from its header."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        return page.imagewidth, page.imagelength, page.tags.valueof(274, 1)


def read(path: Path) -> Stored:
    """The first page. Extra samples that are not called alpha are dropped.

    Raises:
        ImageError: for kinds that are not read. Damaged files raise nearly anything.
    """
    with tifffile.TiffFile(path) as file:
        page, several = file.pages[0], file.pages.is_multipage
        if problem := _problem(page):
            cure = "save it in RGB with 8 or 16 bits"
            raise ImageError(f"{path} is a TIFF that holds {problem}; {cure}")
        samples = page.asarray().reshape(page.shaped)[:, 0]  # (planes, H, W, interleaved)
    samples = np.moveaxis(samples, 0, 2).reshape(page.imagelength, page.imagewidth, -1)
    if samples.dtype.kind == "f":
        low, high = samples.min(), samples.max()
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # nor for NaN
            found = f"floating point pixels in [{low:.3g}, {high:.3g}]"
            raise ImageError(f"{path} holds {found}; scale them to [0, 1] and remove NaN")
        samples = samples.astype(np.float32).clip(0, 1)
    elif page.photometric != PALETTE and page.bitspersample not in (8, 16):
        samples = samples.astype(np.float32) / np.float32(2**page.bitspersample - 1)
    count = COUNTS[page.photometric]
    values, alpha = samples[..., :count], None
    for place, kind in enumerate(page.extrasamples, count):
        if kind in (ALPHA, PREMULTIPLIED):
            alpha = as_float(samples[..., place])
            if kind == PREMULTIPLIED:
                values, divisor = as_float(values), alpha[..., None]
                values = np.divide(values, divisor, values, where=divisor > 0).clip(0, 1)
            break
    if page.photometric == WHITE_FIRST:
        values = 1 - as_float(values)
    elif page.photometric == PALETTE:
        colours = page.colormap.T  # (entries, 3), 16 bits, of which some writers set 8
        colours = (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)
        values = colours[samples[..., 0].astype(np.intp)]
    profile, orientation = page.tags.valueof(34675), page.tags.valueof(274, 1)
    return Stored(values, SPACES[values.shape[-1]], alpha, profile, orientation, several)


def _problem(page: tifffile.TiffPage) -> str | None:
    """Why a page would be read wrongly, known before anything is decoded."""
    bits, is_float, extra = page.bitspersample, page.sampleformat == 3, page.extrasamples
    if page.photometric not in COUNTS or page.tags.valueof(332, 1) != 1:  # 332: other inks
        return f"colours of an unusual kind ({getattr(page.photometric, 'name', 'unknown')})"
    count = COUNTS[page.photometric] + len(extra)
    if not isinstance(bits, int) or page.imagedepth != 1 or not count <= page.samplesperpixel <= 8:
        return "samples of different sizes, too few, or more than eight for each pixel"
    if not is_float and (page.sampleformat != 1 or bits > 16):
        return f"{bits}-bit integers that have a sign or more than 16 bits"
    if page.photometric == PALETTE and (is_float or any(extra)):
        return "a palette of an unusual kind"
    if page.photometric == YCBCR and page.compression not in JPEG:
        return "YCbCr colours without JPEG"
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        return f"a compression that is not read ({getattr(page.compression, 'name', 'unknown')})"
    if 50706 in page.tags or (page.is_reduced and page.parent.pages.is_multipage):  # 50706: DNG
        return "a camera's raw data, or a preview first"
    if 0 in page.databytecounts or not page.dataoffsets:
        return "no data for a part of the picture"
    return None
