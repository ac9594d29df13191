"""Where a style is: masks over a picture, and the guides that layers make of them.

Gatys, Ecker, Bethge, Hertzmann and Shechtman, Controlling Perceptual Factors in Neural Style
Transfer (2017), section 4. A mask is `(1, 1, H, W)` in [0, 1], 1 where the region is; soft edges
are allowed. A guide T weighs the positions of one layer (`stylelab.losses.gram_matrix`).

**How a mask reaches a layer.** As the image does: each pooling replaces 2 x 2 values by their mean.
The authors also keep only positions whose receptive field lies wholly inside the region. At 256
pixels that leaves none at conv5_1 for a sky of half of the picture, and none at conv4_1 for an
eighth of it: the large forms of a style are lost. With means, a border has the style of both sides
in proportion, and shows no seam.

**How much a region counts.** By its area. A guided Gram matrix is a mean over its region, and so is
its loss, however small the region; a gradient of that mean is spread over few pixels or many. With
weights in proportion to areas, each pixel of every region feels style and content as if the region
was a picture of its own, and a strength means the same in all of them.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from stylelab.errors import SettingError

Mask = Tensor | None  # None: everywhere


def check_mask(mask: object, image: Tensor, name: str) -> None:
    """SettingError unless `mask` is a mask `(1, 1, h, w)` for `image` `(1, 3, H, W)`.

    It must be floating point in [0, 1], not 0 everywhere, and of the image's aspect ratio, to two
    pixels, as sizes are rounded; `name` begins the message.
    """
    wrong = ""
    if not isinstance(mask, Tensor) or not mask.is_floating_point():
        wrong = f"{getattr(mask, 'dtype', type(mask).__name__)}"
    elif mask.dim() != 4 or mask.shape[:2] != (1, 1) or 0 in mask.shape:
        wrong = f"the shape {tuple(mask.shape)}"
    elif not (float(mask.min()) >= 0 and float(mask.max()) <= 1):  # neither holds for NaN
        wrong = f"values from {float(mask.min()):.4g} to {float(mask.max()):.4g}"
    if wrong:
        wanted = "a tensor (1, 1, H, W) of floating point values in [0, 1]"
        raise SettingError(f"{name} must be {wanted}; got {wrong}")
    if not mask.any():
        raise SettingError(f"{name} is black everywhere, and marks no region; paint it white there")
    (h, w), (height, width) = mask.shape[2:], image.shape[2:]
    if abs(h * width - w * height) > 2 * max(h, w, height, width):
        raise SettingError(
            f"{name} has {w} x {h} pixels, and its image {width} x {height}: a mask must have the "
            "aspect ratio of its image"
        )


def fitted(mask: Tensor, size: Sequence[int]) -> Tensor:
    """`mask` `(1, 1, h, w)` at another (height, width): means of areas, or bilinear if larger."""
    mask, larger = mask.float(), any(a > b for a, b in zip(size, mask.shape[2:], strict=True))
    if larger:
        return F.interpolate(mask, tuple(size), mode="bilinear", antialias=True).clamp(0, 1)
    return F.interpolate(mask, tuple(size), mode="area")


def guides(mask: Tensor, size: Sequence[int], layers: Iterable[str]) -> dict[str, Tensor]:
    """The guide T of `mask` at each of `layers`, `(1, h, w)`, for an image of (height, width).

    T has a mean square of 1 over the layer's M_l positions, which is the paper's normalisation but
    for the division by M_l that follows (`stylelab.objective`).

    Raises:
        SettingError: if nothing of the mask is left at a layer, which cuts off odd rows.
    """
    found, at = {}, fitted(mask, size)
    poolings = {layer: int(layer[4]) - 1 for layer in layers}
    for pooling in range(max(poolings.values(), default=-1) + 1):
        at = F.avg_pool2d(at, 2) if pooling else at
        power = at.square().mean()
        for layer in (layer for layer, count in poolings.items() if count == pooling):
            if not power > 0:
                raise SettingError(f"a mask marks so little that nothing is left of it at {layer}")
            found[layer] = (at / power.sqrt())[0]
    return found


def cover(masks: Iterable[Mask], size: Sequence[int]) -> Tensor:
    """Where a picture of (height, width) has any style, `(1, 1, H, W)`: the masks' sum, up to 1."""
    found = [torch.ones(1, 1, *size) if mask is None else fitted(mask, size) for mask in masks]
    return torch.stack(found).sum(0).clamp(max=1)


def shares(weights: Sequence[float], masks: Sequence[Mask], size: Sequence[int]) -> list[float]:
    """How much each style counts: its weight times its region's area, in one proportion.

    They sum to the share of the picture that has a style. Two styles of equal weight have halves
    if both are everywhere; if each has a region, its area.
    """
    used = [mask for weight, mask in zip(weights, masks, strict=True) if weight > 0]
    areas = [1.0 if mask is None else float(fitted(mask, size).mean()) for mask in masks]
    parts = [weight * area for weight, area in zip(weights, areas, strict=True)]
    everywhere = any(mask is None for mask in used)
    covered = 1.0 if everywhere else float(cover(used, size).mean())
    return [covered * (part / sum(parts)) for part in parts]
