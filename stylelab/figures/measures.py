"""How alike two pictures are: in pixels, edges, colours, content and style.

These judge finished pictures, for `stylelab.figures.claims`. Content and style are computed here without
`stylelab.losses` and the objective, position by position as the definitions say, so that a mistake
there does not pass unseen. Pictures are `(1, 3, H, W)`, sRGB in [0, 1].
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from stylelab.images import resize
from stylelab.vgg import VGG


def luminance(image: Tensor) -> Tensor:
    """`(H, W)`: Rec. 709 luma of sRGB values."""
    return torch.einsum("c,chw->hw", image.new_tensor([0.2126, 0.7152, 0.0722]), image[0])


def _like(image: Tensor, other: Tensor) -> Tensor:
    """`image` resized to the sides of `other`, if they differ."""
    return image if image.shape == other.shape else resize(image, other.shape[2:])


def pixel_error(image: Tensor, other: Tensor) -> float:
    """Root mean square difference of the pixels, 0 to 1."""
    return float((_like(image, other) - other).square().mean().sqrt())


def ssim(image: Tensor, other: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of luminance, 1 for equal pictures."""
    from skimage.metrics import structural_similarity

    pair = [luminance(picture).double().numpy() for picture in (_like(image, other), other)]
    return float(structural_similarity(*pair, data_range=1.0))


def correlation(image: Tensor, other: Tensor) -> float:
    """Pearson correlation of luminance, position by position."""
    pair = torch.stack([luminance(picture).flatten() for picture in (_like(image, other), other)])
    return float(torch.corrcoef(pair.double())[0, 1].nan_to_num())


def edge_agreement(image: Tensor, other: Tensor) -> float:
    """Pearson correlation of edge strength (Sobel) after a blur of a hundredth of the width."""
    from skimage.filters import gaussian, sobel

    edges = []
    for picture in (_like(image, other), other):
        blurred = gaussian(luminance(picture).double().numpy(), sigma=other.shape[3] / 100)
        edges.append(torch.from_numpy(sobel(blurred)).flatten())
    return float(torch.corrcoef(torch.stack(edges))[0, 1].nan_to_num())


def colour_distance(image: Tensor, other: Tensor) -> float:
    """Distance between the means and standard deviations of red, green and blue."""
    first, second = (
        torch.cat([picture.mean((0, 2, 3)), picture.std((0, 2, 3))]) for picture in (image, other)
    )
    return float((first - second).norm())


def _measured(network: VGG, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """Per layer, what the network measures at every position, `(m, M_l)`, in float64."""
    weight, found = network.input.weight, {}
    with torch.no_grad():
        for layer, features in network(image.to(weight), layers).items():
            rows = features[0].flatten(1).cpu().double()
            if (readout := network.readout(layer)) is not None:
                ones = torch.ones_like(rows[:1])
                rows = readout.cpu().double() @ torch.cat([rows, ones])
            found[layer] = rows
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
    f, p = (_measured(network, picture, [layer])[layer] for picture in (_like(image, other), other))
    return float(((f - p).square().sum() / (p - p.mean(1, keepdim=True)).square().sum()).sqrt())
