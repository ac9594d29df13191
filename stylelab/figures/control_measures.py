"""What the controls of a style do to a picture: by region, in colour, in the size of strokes.

As in `stylelab.figures.measures`, nothing here uses the losses, guides or colour changes of the
package, so that a mistake there does not go unnoticed. Pictures are `(1, 3, H, W)`, sRGB in [0, 1];
a region is a mask `(1, 1, H, W)` of its picture, which is in it where the mask is above a half.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stylelab.figures.measures import measured, planes, style_distance
from stylelab.vgg import STYLE_LAYERS, VGG

NEAR = 3, 10  # pixels from a border: what its jumps are compared with


def region_style_distance(
    network: VGG,
    image: Tensor,
    region: Tensor | None,
    other: Tensor,
    other_region: Tensor | None = None,
    layers: Sequence[str] = STYLE_LAYERS,
) -> float:
    """`measures.style_distance` between a region of one picture and a region of another, 0 to 1.

    A Gram matrix is taken over the positions whose middle is in the region, and no others. None is
    the whole picture. A region without any position has a Gram matrix of zeros, at distance 1.
    """
    ours, theirs = (
        {
            layer: _gram(rows, layer, picture, mask)
            for layer, rows in measured(network, picture, layers).items()
        }
        for picture, mask in ((image, region), (other, other_region))
    )
    apart = [
        float((gram - theirs[layer]).norm() / (gram.norm() + theirs[layer].norm()))
        for layer, gram in ours.items()
    ]
    return sum(apart) / len(apart)


def _gram(rows: Tensor, layer: str, picture: Tensor, mask: Tensor | None) -> Tensor:
    """The Gram matrix of `rows` `(m, M_l)` over the positions in a region."""
    if mask is not None:
        side = 2 ** (int(layer[4]) - 1)  # pixels that a position stands for
        height, width = (length // side for length in picture.shape[2:])
        inside = mask[0, 0, side // 2 :: side, side // 2 :: side][:height, :width] > 0.5
        rows = rows[:, inside.flatten()]
    return rows @ rows.T / max(1, rows.shape[1])


def seam(image: Tensor, region: Tensor) -> float:
    """How much a region's border shows: the jump of colour across it, over that near it.

    The mean distance of the colours of two neighbours, one of them inside, over that of neighbours
    3 to 9 pixels away from the border. 1 where the border cannot be told from its surroundings; an
    edge of the photograph that lies along it is more. 0 if the region has no border.
    """
    from scipy.ndimage import distance_transform_edt

    colours, inside = image[0].double().numpy(), region[0, 0].numpy() > 0.5
    away = np.minimum(  # from the border; 1 for pixels beside it
        *(np.where(side, distance_transform_edt(side), np.inf) for side in (inside, ~inside))
    )
    across, near = [], []
    for axis in (0, 1):
        jumps = np.sqrt(np.square(np.diff(colours, axis=axis + 1)).sum(0))
        crosses = np.diff(inside, axis=axis)
        ends = (away.take(range(start, away.shape[axis] - 1 + start), axis) for start in (0, 1))
        least = np.minimum(*ends)
        across.append(jumps[crosses])
        near.append(jumps[~crosses & (NEAR[0] <= least) & (least < NEAR[1])])
    border, surroundings = (np.concatenate(each) for each in (across, near))
    if not border.size or not surroundings.size:
        return 0.0
    return float(border.mean() / max(1 / 255, surroundings.mean()))


def chroma_error(image: Tensor, other: Tensor) -> float:
    """Root mean square difference of the two planes of chroma (Y'PbPr), each from -0.5 to 0.5."""
    ours, theirs = (planes(picture)[1:] for picture in (image, other))
    return float(np.sqrt(np.mean(np.square(np.stack(ours) - np.stack(theirs)))))


def palette_distance(image: Tensor, other: Tensor) -> float:
    """How far apart the colours of two pictures are in mean and covariance, 0 for the same.

    The 2-Wasserstein distance of two Gaussians: how far, in root mean square, colours must move.
    """
    from scipy.linalg import sqrtm

    ours, theirs = (x[0].flatten(1).double().numpy() for x in (image, other))
    shift = ours.mean(1) - theirs.mean(1)
    c, d = np.cov(ours), np.cov(theirs)
    root = sqrtm(c)
    square = shift @ shift + np.trace(c + d - 2 * sqrtm(root @ d @ root).real)
    return math.sqrt(max(0.0, float(np.real(square))))


def grey_style_distance(network: VGG, image: Tensor, other: Tensor) -> float:
    """`measures.style_distance` of the luminances alone, given one mean and one deviation."""
    grey = []
    for picture in (image, other):
        luminance = torch.from_numpy(planes(picture)[0]).float()
        luminance = (luminance - luminance.mean()) / luminance.std().clamp_min(1e-6)
        grey.append((0.5 + 0.2 * luminance).expand(1, 3, -1, -1))
    return style_distance(network, *grey, STYLE_LAYERS)


def stroke_size(image: Tensor) -> float:
    """How far detail goes on, in pixels: where the autocorrelation of luminance falls to a half.

    Of luminance without forms larger than about a quarter of the shorter side, over all directions.
    White noise has a half; a picture enlarged twofold has twice as much.
    """
    from scipy.ndimage import gaussian_filter

    luminance = planes(image)[0]
    detail = luminance - gaussian_filter(luminance, min(luminance.shape) / 8)
    power = np.square(np.abs(np.fft.fft2(detail)))
    agreement = np.fft.ifft2(power).real / max(power.mean(), 1e-12)
    height, width = (np.minimum(np.arange(n), n - np.arange(n)) for n in agreement.shape)
    distance = np.rint(np.hypot(height[:, None], width[None])).astype(int).ravel()
    means = np.bincount(distance, agreement.ravel()) / np.bincount(distance)
    after = int(np.argmax(means < 0.5))
    return float(after - 1 + (means[after - 1] - 0.5) / (means[after - 1] - means[after]))
