"""The pictures of a figure, cut out along the white between them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GAP = 3  # white pixels in a row, at least, between a picture and what is beside or below it
LEAST = 100  # pixels of a picture's side; labels are smaller
EDGE = 2  # pixels of a picture that may be its frame, on each side


def panels(figure: Path, count: int) -> list[Tensor]:
    """The `count` pictures of a figure made by `stylelab.figures.panel_grid`, row by row.

    They are `(1, 3, H, W)`, sRGB in [0, 1], all of one size, without labels.

    Raises:
        ValueError: if another number of pictures is found, or pictures of several sizes.
    """
    with Image.open(figure) as image:
        pixels = np.asarray(image.convert("RGB"))
    coloured = (pixels < 255).any(2)
    found = []
    for top, bottom in _runs(coloured.any(1)):
        for left, right in _runs(coloured[top:bottom].any(0)):
            found.append(pixels[top + EDGE : bottom - EDGE, left + EDGE : right - EDGE])
    sizes = {each.shape for each in found}
    spread = [max(sides) - min(sides) for sides in zip(*sizes, strict=True)]
    if len(found) != count or max(spread) > 2:  # a rounded pixel on either side
        raise ValueError(f"{figure}: expected {count} pictures of one size, found {sorted(sizes)}")
    height, width = (min(each.shape[axis] for each in found) for axis in (0, 1))
    cut = (torch.from_numpy(each[:height, :width].copy()) for each in found)
    return [each.permute(2, 0, 1)[None].float() / 255 for each in cut]


def _runs(coloured: np.ndarray) -> list[tuple[int, int]]:
    """Where lines that are not white begin and end, if they are as many as a picture has."""
    places = coloured.nonzero()[0]
    cuts = (np.diff(places) > GAP).nonzero()[0] + 1
    runs = [(int(run[0]), int(run[-1]) + 1) for run in np.split(places, cuts)]
    return [(start, end) for start, end in runs if end - start >= LEAST]
