"""A large picture at full zoom, beside the same pair's small picture enlarged; and its seams.

    stylelab transfer pagoda swirling_night --size 512 -o small.png
    stylelab transfer pagoda swirling_night --size 4096 --memory 3GB -o large.png
    python tools/large_crops.py large.png small.png

A pixel of LARGE is a pixel of the figure. Two of the places are where the borders of four tiles
meet, as the picture's metadata tell the tiles; short black lines beside the crops show where.

A seam would be a line across which neighbouring pixels differ more than across the lines around it.
By how much they do is measured on the borders of tiles, and on other lines on which a tile could
begin, which are the multiples of 16. An enlarged photograph has a grid of its own, which may meet
every fourth of these lines in the same way: of 640 pixels, at 8192, five are 64. So a border is
compared with those lines that are a multiple of 64 pixels from it. The ratio of both is printed,
and written under the figure: 1.00 is no seam. Beside it stands by how much the ratio would differ
from 1 by chance.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy
from matplotlib.figure import Figure
from PIL import Image

import stylelab
from stylelab.engine.tiles import grid_of, tiles
from stylelab.files.local import atomic
from stylelab.images import read_metadata
from stylelab.runs.settings import Settings

DPI, GAP, LABEL = 100, 12, 24  # of the figure, and in its pixels
CROP = 440, 300  # width, height
ALIKE = 4  # grids: lines that are so far apart meet the grid of an enlarged photograph alike
AROUND = 24  # lines on each side of a border that it is compared with
# Places without a border, as shares of the picture: roofs and windows; sky beside the roof.
PLACES = {"roofs": (0.46, 0.42), "sky": (0.12, 0.2)}


def borders(size: tuple[int, int], side: int | None, network, layers) -> list[list[int]]:
    """The rows, and the columns, with which a tile begins, but for the first."""
    found = tiles(network, layers, size, side)
    starts = [{tile.owned_pixels[axis].start for tile in found} for axis in (0, 1)]
    return [sorted(each - {0}) for each in starts]


def ratios(pixels: numpy.ndarray, lines: list[int], axis: int) -> list[float]:
    """The mean difference across each line, over that across those around it; `(H, W, 3)` bytes."""
    pixels, found = pixels.swapaxes(0, axis), []
    for line in lines:
        first, end = max(line - AROUND, 1), min(line + AROUND + 1, len(pixels))
        part = pixels[first - 1 : end].astype(numpy.int16)
        means = numpy.abs(numpy.diff(part, axis=0)).mean((1, 2))
        found.append(means[line - first] / numpy.delete(means, line - first).mean())
    return found


def seams_of(across: list[float], others: list[float]) -> str:
    """The ratio of the means, and its standard error as the lines without a border tell it."""
    if not across:
        return "No borders of tiles"
    mean = numpy.mean(others)
    chance = numpy.std(others) / mean / len(across) ** 0.5
    return (
        f"Difference across {len(across)} borders of tiles, over that across {len(others)} other "
        f"lines: {numpy.mean(across) / mean:.2f} (by chance 1.00 \u00b1 {chance:.2f})"
    )


def window(centre: tuple[float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, upper, right, lower of the crop around (x, y) of a picture of (width, height)."""
    left, top = (
        min(max(0, round(at - crop / 2)), whole - crop)
        for at, crop, whole in zip(centre, CROP, size, strict=True)
    )
    return left, top, left + CROP[0], top + CROP[1]


def places(size: tuple[int, int], cuts: list[list[int]]) -> dict[str, tuple[float, float]]:
    """The middle of each crop, by its name; first two where borders of tiles meet."""
    (width, height), meeting = size, list(itertools.product(cuts[1], cuts[0]))
    found = {}
    for name, x, y in (("four tiles meet", 0.5, 0.5), ("four other tiles meet", 0.15, 0.25)):
        if meeting:
            place = min(meeting, key=lambda at: abs(at[0] / width - x) + abs(at[1] / height - y))
            found[name] = place
            meeting.remove(place)
    return found | {name: (x * width, y * height) for name, (x, y) in PLACES.items()}


def draw(large: Image.Image, small: Image.Image, cuts: list[list[int]], seams: str) -> Figure:
    """A row for each place: the small picture enlarged, and the large one."""
    found = places(large.size, cuts)
    heads = f"{max(small.size)} pixels, enlarged", f"{max(large.size)} pixels"
    pitch, scale = CROP[1] + LABEL + GAP, max(large.size) / max(small.size)
    width, height = 2 * CROP[0] + 3 * GAP, len(found) * pitch + 2 * LABEL + 2 * GAP
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")

    def write(x: int, y: int, text: str, size: float = 10, ha: str = "left") -> None:
        figure.text(x / width, y / height, text, fontsize=size, ha=ha, va="center")

    for column, head in enumerate(heads):
        middle = GAP + column * (CROP[0] + GAP) + CROP[0] // 2
        write(middle, height - LABEL // 2, head, 11, "center")
    for row, (name, centre) in enumerate(found.items()):
        box = window(centre, large.size)
        y = height - (row + 1) * pitch
        enlarged = small.resize(CROP, Image.Resampling.BICUBIC, [each / scale for each in box])
        for column, crop in enumerate((enlarged, large.crop(box))):
            x = GAP + column * (CROP[0] + GAP)
            figure.figimage(numpy.asarray(crop), x, y, origin="upper")
        write(GAP, y - LABEL // 2, f"{name}, from pixel {box[0]}, {box[1]}", 9)
        if name.startswith("four"):
            _mark(figure, (GAP + CROP[0] + GAP, y), centre, box, (width, height))
    write(GAP, LABEL // 2 + 2, seams, 9)
    return figure


def _mark(figure: Figure, corner: tuple, centre: tuple, box: tuple, size: tuple) -> None:
    """Short black lines beside a crop, where the borders of tiles are."""
    x, y = corner[0] + centre[0] - box[0], corner[1] + CROP[1] - (centre[1] - box[1])
    for ends in (
        ((x, corner[1] + CROP[1]), (x, corner[1] + CROP[1] + GAP // 2)),
        ((x, corner[1]), (x, corner[1] - GAP // 2)),
        ((corner[0], y), (corner[0] - GAP // 2, y)),
        ((corner[0] + CROP[0], y), (corner[0] + CROP[0] + GAP // 2, y)),
    ):
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(0, size[1]))
        axes.axis("off")
        axes.plot(*zip(*ends, strict=True), color="black", linewidth=1.5)


def main() -> None:
    """Measure, draw and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("large", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("--tile", type=int, help="side of the tiles, where LARGE does not say it")
    parser.add_argument("--output", type=Path, default=Path("figures/compare/large.jpg"))
    options = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None  # these are pictures of our own
    record = json.loads(read_metadata(options.large).get("Comment", "{}"))
    side = options.tile or record.get("tile")
    network, layers = stylelab.load(record.get("network", Settings().network)), Settings().layers
    large, small = (Image.open(path).convert("RGB") for path in (options.large, options.small))
    pixels, size = numpy.asarray(large), large.size[::-1]
    cuts = borders(size, side, network, layers)
    grid, across, beside = grid_of(network.check_layers(layers)), [], []
    for axis, lines in enumerate(cuts):
        far = {at for line in lines for at in range(line - 2 * grid, line + 2 * grid + 1)}
        for first in range(0, ALIKE * grid, grid):
            alike = range(first + ALIKE * grid, size[axis] - ALIKE * grid, ALIKE * grid)
            others = ratios(pixels, [at for at in alike if at not in far], axis)
            mean = numpy.mean(others)
            beside += [each / mean for each in others]
            here = [line for line in lines if line % (ALIKE * grid) == first]
            across += [each / mean for each in ratios(pixels, here, axis)]
    seams = seams_of(across, beside)
    print(
        f"{size[1]} x {size[0]} pixels, {(len(cuts[0]) + 1) * (len(cuts[1]) + 1)} tiles of {side}"
    )
    print(seams)
    figure = draw(large, small, cuts, seams)
    with atomic(options.output) as temporary:
        figure.savefig(temporary, format="jpeg", dpi=DPI, pil_kwargs={"quality": 85})
    print(options.output, f"{options.output.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
