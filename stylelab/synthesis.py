"""The paper's three experiments: content reconstruction, style reconstruction, style transfer.

Each optimises a batch of images, one for every panel of a figure, and returns a `Result`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stylelab.engine import checkpoint as checkpoints
from stylelab.errors import SettingError
from stylelab.images import resize
from stylelab.objective import Objective, Target, content_representation, style_representation
from stylelab.optimisation import Result, optimise, white_noise
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG

STARTS = ("content", "style", "noise")


def _place(network: VGG, image: Tensor, name: str) -> Tensor:
    """`image` checked and moved to the network's device and dtype."""
    if image.dim() != 4 or image.shape[:2] != (1, 3):
        raise SettingError(f"{name} must be one image (1, 3, H, W), got {tuple(image.shape)}")
    weight = network.input.weight
    return image.to(weight.device, weight.dtype)


def equal_weights(layers: Sequence[str]) -> dict[str, float]:
    """The paper's w_l: 1 / (number of layers) for each of `layers`."""
    return {layer: 1 / len(set(layers)) for layer in layers}


def _columns(rows: Sequence[Mapping[str, float]], layers: Sequence[str], like: Tensor) -> dict:
    """Per layer, its weight in each of `rows`, 0 where a row lacks it: `(N,)`."""
    return {layer: like.new_tensor([row.get(layer, 0.0) for row in rows]) for layer in layers}


def transfer_objective(
    network: VGG,
    content: Tensor,
    styles: Sequence[Tensor],
    alpha_beta: Sequence[float],
    style_weights: Sequence[Mapping[str, float]],
    *,
    content_layer: str = CONTENT_LAYER,
    tv_weight: float = 0.0,
) -> Objective:
    """Equation 7 for a batch of N images: what `transfer`, which see, minimises.

    Args:
        styles: N images `(1, 3, H, W)`, of any sizes, or one for the whole batch.
        alpha_beta: N weights of the mean content loss over that of the mean style loss.
        style_weights: N mappings from a style layer to its w_l.

    Raises:
        SettingError: for images of another shape, or a batch with nothing to match.
        NetworkError: for a layer that the network does not have.
    """
    content = _place(network, content, "content")
    features = content_representation(network, content, [content_layer])
    used = list(dict.fromkeys(layer for weights in style_weights for layer in weights))
    placed = [_place(network, image, "style") for image in styles]
    grams = [style_representation(network, image, used) for image in placed]
    weights = _columns(style_weights, list(grams[0]), content)
    alpha = content.new_tensor(alpha_beta)
    return Objective(
        network,
        content={content_layer: Target(features[content_layer], alpha)},
        style={
            layer: Target(torch.cat([gram[layer] for gram in grams]), weight)
            for layer, weight in weights.items()
        },
        tv_weight=tv_weight,
    )


def transfer_start(
    network: VGG, content: Tensor, style: Tensor, init: str, seed: int = 0
) -> Tensor:
    """The image `(1, 3, H, W)`, of the content's size, that a transfer begins with.

    It is on the network's device. Raises SettingError for an `init` that `transfer` does not know.
    """
    if init not in STARTS:
        raise SettingError(f"init must be one of {', '.join(STARTS)}, got {init!r}")
    content, style = _place(network, content, "content"), _place(network, style, "style")
    if init == "noise":
        return white_noise(*content.shape[2:], [seed]).to(content)
    return content if init == "content" else resize(style, content.shape[2:])


def reconstruct_content(
    network: VGG,
    content: Tensor,
    layers: Sequence[str],
    *,
    steps: int = 500,
    seed: int = 0,
    progress: bool = True,
    checkpoint: checkpoints.Place = None,
) -> Result:
    """Figure 1, content: from white noise, one image for each layer whose features it matches.

    Args:
        network: a VGG.
        content: `(1, 3, H, W)`, sRGB in [0, 1].
        layers: one content layer per image of the batch.
        steps: L-BFGS steps.
        seed: of the white noise, the same for all images.
        progress: show a progress bar.
        checkpoint: as `optimise` takes it.
    """
    content = _place(network, content, "content")
    features = content_representation(network, content, layers)
    weights = _columns([equal_weights([layer]) for layer in layers], list(features), content)
    targets = {layer: Target(values, weights[layer]) for layer, values in features.items()}
    start = white_noise(*content.shape[2:], [seed] * len(layers)).to(content)
    objective = Objective(network, content=targets)
    about = {"progress": progress, "label": "content reconstruction"}
    return optimise(objective, start, steps, **about, checkpoint=checkpoint)


def reconstruct_style(
    network: VGG,
    style: Tensor,
    subsets: Sequence[Sequence[str]],
    *,
    size: tuple[int, int] | None = None,
    steps: int = 500,
    seed: int = 0,
    progress: bool = True,
    checkpoint: checkpoints.Place = None,
) -> Result:
    """Figure 1, style: from white noise, one image for each subset of layers it matches in style.

    Args:
        network: a VGG.
        style: `(1, 3, H, W)`, sRGB in [0, 1].
        subsets: the style layers of each image of the batch, equally weighted (w_l = 1/layers).
        size: (height, width) of the images; the style image's when None.
        steps: L-BFGS steps.
        seed: of the white noise, the same for all images.
        progress: show a progress bar.
        checkpoint: as `optimise` takes it.
    """
    style = _place(network, style, "style")
    grams = style_representation(network, style, [layer for row in subsets for layer in row])
    weights = _columns([equal_weights(row) for row in subsets], list(grams), style)
    targets = {layer: Target(gram, weights[layer]) for layer, gram in grams.items()}
    start = white_noise(*(size or style.shape[2:]), [seed] * len(subsets)).to(style)
    objective = Objective(network, style=targets)
    about = {"progress": progress, "label": "style reconstruction"}
    return optimise(objective, start, steps, **about, checkpoint=checkpoint)


def transfer(
    network: VGG,
    content: Tensor,
    style: Tensor | Sequence[Tensor],
    *,
    alpha_beta: float | Sequence[float] = 1e-3,
    content_layer: str = CONTENT_LAYER,
    style_layers: Sequence[str] | Sequence[Sequence[str]] = STYLE_LAYERS,
    init: str | Sequence[str] = "content",
    steps: int = 500,
    seed: int | Sequence[int] = 0,
    tv_weight: float = 0.0,
    levels: int = 1,
    progress: bool = True,
    checkpoint: checkpoints.Place = None,
) -> Result:
    """Style transfer (equation 7): the content of one image in the style of others.

    `style`, `alpha_beta`, `style_layers`, `init` and `seed` may each be one value or one for every
    image of the batch.

    Args:
        network: a VGG.
        content: `(1, 3, H, W)`, sRGB in [0, 1]; the results have its size.
        style: `(1, 3, H, W)` images, of any sizes.
        alpha_beta: weight of the mean content loss over that of the mean style loss, as printed
            in the paper (see `stylelab.losses`); beta is 1.
        content_layer: the layer matched in content.
        style_layers: the layers matched in style, each with w_l = 1/layers of its image.
        init: start from "content", "style" (resized to the content's size) or white "noise".
        steps: L-BFGS steps.
        seed: of the white noise; without effect on other starts.
        tv_weight: weight of the total variation, 0 in the paper.
        levels: 1 (the paper), or coarse to fine: images of half the size, a quarter, ... come
            first, `steps` steps each, and what they end with is enlarged to begin the next with.
            The result's history is the last level's; its seconds are those of all.
        progress: show a progress bar.
        checkpoint: as `optimise` takes it.

    Raises:
        SettingError: for arguments out of range or of different batch lengths, or the checkpoint
            of another run.
    """
    styles = [style] if isinstance(style, Tensor) else list(style)
    ratios = list(alpha_beta) if isinstance(alpha_beta, Sequence) else [alpha_beta]
    nested = len(style_layers) > 0 and not isinstance(style_layers[0], str)
    subsets = list(style_layers) if nested else [style_layers]
    starts = [init] if isinstance(init, str) else list(init)
    seeds = list(seed) if isinstance(seed, Sequence) else [seed]
    given = {"style": styles, "alpha_beta": ratios, "style_layers": subsets}
    given |= {"init": starts, "seed": seeds}
    count = max(len(values) for values in given.values())
    for name, values in given.items():
        if len(values) not in (1, count):
            raise SettingError(f"{name} has {len(values)} values; give 1 or {count}, as the others")
    if not all(0 <= ratio < float("inf") for ratio in ratios):
        raise SettingError(f"alpha_beta must be finite and 0 or more, got {alpha_beta}")
    if not all(subsets):
        raise SettingError("style_layers is empty; use reconstruct_content for content alone")

    def each(values: list) -> list:
        return values * count if len(values) == 1 else values

    weights = [equal_weights(subset) for subset in each(subsets)]
    if levels < 1:
        raise SettingError(f"levels must be 1 or more, got {levels}")
    placed = [_place(network, content, "content"), *(_place(network, s, "style") for s in styles)]
    smallest = min(side >> (levels - 1) for image in placed for side in image.shape[2:])
    least = network.min_size([content_layer, *(layer for row in weights for layer in row)])
    if smallest < least:
        having = f"with {levels} levels the" if levels > 1 else "the"
        cure = "fewer levels or larger images" if levels > 1 else "larger images"
        raise SettingError(
            f"{having} smallest image has a side of {smallest} pixels, and {network.name} needs at "
            f"least {least} pixels on each side: choose {cure}"
        )
    checkpoint, seconds, result = checkpoints.at(checkpoint), 0.0, None
    for level in reversed(range(levels)):
        small, *paintings = (_halved(image, level) for image in (content, *styles))
        if result is None:
            batch = zip(each(paintings), each(starts), each(seeds), strict=True)
            start = torch.cat([transfer_start(network, small, *one) for one in batch])
        else:
            start = resize(result.images, small.shape[2:]).to(start)
        objective = transfer_objective(
            network,
            small,
            paintings,
            each(ratios),
            weights,
            content_layer=content_layer,
            tv_weight=tv_weight,
        )
        label = f"transfer at {small.shape[3]} x {small.shape[2]}" if levels > 1 else "transfer"
        about = {"progress": progress, "label": label, "checkpoint": checkpoint}
        result = optimise(objective, start, steps, **about)
        seconds += result.seconds
        if result.interrupted:
            break
    images = resize(result.images, content.shape[2:]) if level else result.images
    return replace(result, images=images, seconds=seconds)


def _halved(image: Tensor, times: int) -> Tensor:
    """`image` `(1, 3, H, W)` with its sides halved so many times."""
    return (
        resize(image, tuple(max(1, side >> times) for side in image.shape[2:])) if times else image
    )
