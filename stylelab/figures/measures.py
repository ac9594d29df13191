"""How alike two pictures are: in pixels, edges, colours, content and style.

These measures judge finished pictures (`stylelab.figures.claims`). Content and style are computed
from their definitions, without `stylelab.losses`, so that a mistake there does not go unnoticed.
Pictures are `(1, 3, H, W)`, sRGB in [0, 1]; one of another size is resized to the second's.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from stylelab.vgg import VGG, resize


def _grey(image: Tensor, other: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The luminance `(H, W)` of two pictures, at the second's size."""
    from skimage.color import rgb2gray

    pair = torch.cat([resize(image, other.shape[2:]), other]).permute(0, 2, 3, 1)
    return tuple(map(rgb2gray, pair.double().numpy()))


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation; 0 where one of the two is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def pixel_error(image: Tensor, other: Tensor) -> float:
    """Root mean square difference of the pixels, 0 to 1."""
    return float((resize(image, other.shape[2:]) - other).square().mean().sqrt())


def ssim(image: Tensor, other: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of luminance, 1 for equal pictures."""
    from skimage.metrics import structural_similarity

    return float(structural_similarity(*_grey(image, other), data_range=1.0))


def correlation(image: Tensor, other: Tensor) -> float:
    """Pearson correlation of luminance, pixel by pixel."""
    return _pearson(*_grey(image, other))


def edge_agreement(image: Tensor, other: Tensor) -> float:
    """Pearson correlation of edge strength (Sobel) after a blur of a hundredth of the width."""
    from skimage.filters import gaussian, sobel

    sigma = other.shape[3] / 100
    return _pearson(*(sobel(gaussian(grey, sigma)) for grey in _grey(image, other)))


def colour_distance(image: Tensor, other: Tensor) -> float:
    """Distance between the means and standard deviations of red, green and blue."""
    pair = (torch.cat([x.mean((0, 2, 3)), x.std((0, 2, 3))]) for x in (image, other))
    return float(torch.dist(*pair))


def _measured(network: VGG, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """Per layer, what the network measures at every position, `(m, M_l)`, in float64."""
    with torch.no_grad():
        features = network(image.to(network.input.weight), layers)
    found = {layer: maps[0].flatten(1).cpu().double() for layer, maps in features.items()}
    for layer, rows in found.items():
        if (readout := network.readout(layer)) is not None:
            found[layer] = readout.cpu().double() @ torch.cat([rows, torch.ones_like(rows[:1])])
    return found


def style_distances(
    network: VGG, image: Tensor, other: Tensor, layers: Iterable[str]
) -> dict[str, float]:
    """Per layer ||G - A|| / (||G|| + ||A||) of the Gram matrices over M_l: 0 (the same) to 1."""
    pair = [_measured(network, picture, layers) for picture in (image, other)]
    distances = {}
    for layer in pair[0]:
        g, a = (rows[layer] @ rows[layer].T / rows[layer].shape[1] for rows in pair)
        distances[layer] = float((g - a).norm() / (g.norm() + a.norm()))
    return distances


def style_distance(network: VGG, image: Tensor, other: Tensor, layers: Iterable[str]) -> float:
    """Mean of `style_distances` over the layers."""
    distances = style_distances(network, image, other, layers)
    return sum(distances.values()) / len(distances)


def content_distance(network: VGG, image: Tensor, other: Tensor, layer: str) -> float:
    """Root mean square difference of the features over their deviation: 0 for the same content."""
    pair = (resize(image, other.shape[2:]), other)
    f, p = (_measured(network, picture, [layer])[layer] for picture in pair)
    return float(((f - p).square().sum() / (p - p.mean(1, keepdim=True)).square().sum()).sqrt())
