"""How alike two pictures are: in pixels, edges, colours, content and style; and how good one is.

These measures judge finished pictures (`stylelab.figures.claims`); `picture_measure` has several in
one, by which pictures made in different ways are compared. Content and style are computed
from their definitions, without `stylelab.losses`, so that a mistake there does not go unnoticed.
Pictures are `(1, 3, H, W)`, sRGB in [0, 1]; one of another size is resized to the second's.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from stylelab.figures import spectra
from stylelab.vgg import STYLE_LAYERS, VGG, resize

RIM = 3  # pixels from the border to the pixel that it is compared with, the fourth


def _array(image: Tensor) -> np.ndarray:
    """A picture as scikit-image takes it: `(H, W, 3)`, float64."""
    return image[0].permute(1, 2, 0).double().numpy()


def _grey(image: Tensor, other: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The luminance `(H, W)` of two pictures, at the second's size."""
    from skimage.color import rgb2gray

    return rgb2gray(_array(resize(image, other.shape[2:]))), rgb2gray(_array(other))


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


def detail_agreement(image: Tensor, other: Tensor) -> float:
    """Pearson correlation of what a blur of a hundredth of the width takes away."""
    from skimage.filters import gaussian

    sigma = other.shape[3] / 100
    return _pearson(*(grey - gaussian(grey, sigma) for grey in _grey(image, other)))


def pattern_agreement(image: Tensor, other: Tensor) -> float:
    """Whether marks lie apart in the same way: Pearson correlation of the autocorrelations.

    Those of luminance without its slow changes, over displacements from a 32nd to three 16ths of
    the second picture's longer side. Both keep their sizes: their patterns must be of one scale.
    """
    side = max(other.shape[2:])
    return _pearson(*(_autocorrelation(x, side // 32, 3 * side // 16) for x in (image, other)))


def _autocorrelation(image: Tensor, near: int, far: int) -> np.ndarray:
    """How like a picture is to itself, moved by each displacement between `near` and `far`."""
    from scipy.ndimage import uniform_filter
    from skimage.color import rgb2gray

    grey = rgb2gray(_array(image))
    grey -= uniform_filter(grey, 2 * near + 1)
    shape = [2 * side for side in grey.shape]  # so that nothing meets its other end

    def products(values: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(np.abs(np.fft.rfft2(values, shape)) ** 2, shape)

    along = np.arange(-far, far + 1)
    length, window = np.hypot(along[:, None], along), np.ix_(along, along)
    found = products(grey)[window] / products(np.ones_like(grey))[window]  # a mean of what overlaps
    return found[(near <= length) & (length <= far)]


def colour_distance(image: Tensor, other: Tensor) -> float:
    """Distance between the means and standard deviations of red, green and blue."""
    pair = (torch.cat([x.mean((0, 2, 3)), x.std((0, 2, 3))]) for x in (image, other))
    return float(torch.dist(*pair))


def brightness_distance(image: Tensor, other: Tensor) -> float:
    """Mean difference of two pictures' luminance at the same ranks, from darkest to brightest."""
    from skimage.color import rgb2gray

    ranks = np.linspace(0, 1, 101)
    ours, theirs = (np.quantile(rgb2gray(_array(x)), ranks) for x in (image, other))
    return float(np.abs(ours - theirs).mean())


def sky_light(image: Tensor, day: Tensor) -> float:
    """The share of its light, which is linear, that the brightest third of `day` has in `image`."""
    from skimage.color import rgb2xyz

    pair = (resize(image, day.shape[2:]), day)
    after, before = (rgb2xyz(_array(x))[..., 1] for x in pair)
    sky = before >= np.quantile(before, 2 / 3)
    return float(after[sky].mean() / before[sky].mean())


def measured(network: VGG, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """Per layer, what the network measures at every position, `(m, M_l)`, in float64."""
    with torch.no_grad():
        features = network(image.to(network.input.weight), layers)
    found = {layer: maps[0].flatten(1).cpu().double() for layer, maps in features.items()}
    for layer, rows in found.items():
        if (readout := network.readout(layer)) is not None:
            found[layer] = readout.cpu().double() @ torch.cat([rows, torch.ones_like(rows[:1])])
    return found


def _grams(network: VGG, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """Per layer the Gram matrix over M_l, from its definition."""
    found = measured(network, image, layers).items()
    return {layer: rows @ rows.T / rows.shape[1] for layer, rows in found}


def style_distances(
    network: VGG, image: Tensor, other: Tensor, layers: Iterable[str]
) -> dict[str, float]:
    """Per layer ||G - A|| / (||G|| + ||A||) of the Gram matrices over M_l: 0 (the same) to 1."""
    ours, theirs = (_grams(network, picture, layers) for picture in (image, other))
    pairs = {layer: (gram, theirs[layer]) for layer, gram in ours.items()}
    return {layer: float((g - a).norm() / (g.norm() + a.norm())) for layer, (g, a) in pairs.items()}


def style_distance(network: VGG, image: Tensor, other: Tensor, layers: Iterable[str]) -> float:
    """Mean of `style_distances` over the layers."""
    distances = style_distances(network, image, other, layers)
    return sum(distances.values()) / len(distances)


def content_distance(network: VGG, image: Tensor, other: Tensor, layer: str) -> float:
    """Root mean square difference of the features over their deviation: 0 for the same content."""
    pair = (resize(image, other.shape[2:]), other)
    f, p = (measured(network, picture, [layer])[layer] for picture in pair)
    return float(((f - p).square().sum() / (p - p.mean(1, keepdim=True)).square().sum()).sqrt())


def style_losses(
    network: VGG, image: Tensor, other: Tensor, layers: Iterable[str] = STYLE_LAYERS
) -> dict[str, float]:
    """Per layer the mean squared difference of the Gram matrices over M_l (equation 4, in means).

    0 for the same style, without an upper end; 0.1 to 1 between most halves of one painting, as
    between pictures that have little in common.
    """
    ours, theirs = (_grams(network, picture, layers) for picture in (image, other))
    apart = {layer: float((gram - theirs[layer]).square().sum()) for layer, gram in ours.items()}
    return {layer: value / network.units[layer] ** 2 for layer, value in apart.items()}


def style_loss(network: VGG, image: Tensor, other: Tensor) -> float:
    """Mean of `style_losses` over the style layers, of two pictures as saved in 8 bits."""
    losses = style_losses(network, as_saved(image), as_saved(other))
    return sum(losses.values()) / len(losses)


def rim(image: Tensor) -> float:
    """Mean absolute difference of the pixels of the border from the fourth ones, 0 to 255.

    A tinted rim, as the network's padding leaves, is larger than the photograph's or artwork's.
    """
    apart = [
        (turned[:, :, 0] - turned[:, :, RIM]).abs().flatten()
        for side in (image, image.transpose(2, 3))
        for turned in (side, side.flip(2))
    ]
    return 255 * float(torch.cat(apart).mean())


def as_saved(image: Tensor) -> Tensor:
    """A picture as a file of 8 bits has it."""
    return image.detach().float().cpu().clamp(0, 1).mul(255).round().div(255)


def planes(image: Tensor) -> tuple[np.ndarray, ...]:
    """Luminance, 0 to 1, and two planes of chroma, -0.5 to 0.5, `(H, W)` each (Y'PbPr)."""
    from skimage.color import rgb2ypbpr

    return tuple(rgb2ypbpr(_array(image)).transpose(2, 0, 1))


def picture_measure(
    judge: VGG, picture: Tensor, content: Tensor, style: Tensor
) -> dict[str, float]:
    """How good a transfer is, as saved in 8 bits, by several measures that are not its own loss.

    What is "of the artwork" or "of the photograph" is the same measure of that image: what is
    natural. The artwork should be as large as the picture, about; its aspect ratio is free.

    Args:
        judge: a network that was not optimised.
        picture: the transfer; content: the photograph; style: the artwork.

    Returns:
        style: mean of `style_losses` by the judge; 0 is the artwork's, smaller is better.
        style LAYER: each layer's.
        edges: `edge_agreement` with the photograph, -1 to 1; 1 is the photograph's.
        finest luminance, finest chroma: energy from 1/4 cycle per pixel over the artwork's, that
            of rounding added to both; 1 is as the artwork, more is grain, less is blur.
        second luminance, second chroma: the same, from 1/8 to 1/4 cycle per pixel.
        finest regularity, second regularity: `spectra.regularity` of luminance, 0 to 1; 0.1 to 0.25
            for most paintings and 1 for a grating; more than the artwork's is ripple.
        finest regularity in calm places, second regularity in calm places: the same, in the quarter
            of the picture where the photograph has the least detail, such as its sky.
        finest regularity of the artwork, second regularity of the artwork.
        rim, rim of the photograph, rim of the artwork: `rim`, in 255ths.
    """
    content = resize(content, tuple(picture.shape[2:]))
    picture, content, style = map(as_saved, (picture, content, style))
    losses = style_losses(judge, picture, style)
    found = {"style": sum(losses.values()) / len(losses)}
    found |= {f"style {layer}": loss for layer, loss in losses.items()}
    found["edges"] = edge_agreement(picture, content)
    ours, natural, calm = planes(picture), planes(style), planes(content)[0]
    for name, octave in (("finest", spectra.FINEST), ("second", spectra.SECOND)):
        for part, which in (("luminance", slice(1)), ("chroma", slice(1, 3))):
            energies = (
                sum(spectra.energy(plane, octave) + spectra.ROUNDING for plane in image[which])
                for image in (ours, natural)
            )
            found[f"{name} {part}"] = float(np.divide(*energies))
        found[f"{name} regularity"] = spectra.regularity(ours[0], octave)
        found[f"{name} regularity in calm places"] = spectra.regularity(ours[0], octave, calm)
        found[f"{name} regularity of the artwork"] = spectra.regularity(natural[0], octave)
    of = {"rim": picture, "rim of the photograph": content, "rim of the artwork": style}
    return found | {name: rim(image) for name, image in of.items()}
