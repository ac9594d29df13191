"""The styles of one picture, each with its weight and its region, and their losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stylelab.controls.regions import check_mask, guides, shares
from stylelab.controls.statistics import TERMS, representation
from stylelab.errors import SettingError, check_number
from stylelab.objective import StyleTerm
from stylelab.rows import columns, targets
from stylelab.vgg import VGG, check_image

HEAVIEST = 1e30  # squares and sums of weights stay finite


@dataclass(frozen=True, eq=False)
class Style:
    """One of the styles of a picture.

    Attributes:
        image: `(1, 3, H, W)`, sRGB in [0, 1].
        weight: relative to the other styles of the picture (`stylelab.controls.regions.shares`).
        content_mask: `(1, 1, h, w)` in [0, 1], where in the picture it is; None: everywhere.
        style_mask: the same over `image`, where it is taken from; None: all of it.

    Raises:
        SettingError: for an image, a weight or a mask that is not such.
    """

    image: Tensor
    weight: float = 1.0
    content_mask: Tensor | None = None
    style_mask: Tensor | None = None

    def __post_init__(self) -> None:
        check_image(self.image, "style")
        check_number(self.weight, "the weight of a style", HEAVIEST)
        if self.style_mask is not None:
            check_mask(self.style_mask, self.image, "style_mask")


def as_styles(style: object, content: Tensor) -> tuple[Style, ...]:
    """One image, or a sequence of styles, as the styles of the picture `content` `(1, 3, H, W)`.

    Raises:
        SettingError: for anything else, masks that do not fit, or weights that are all 0.
    """
    several = isinstance(style, Sequence) and any(isinstance(each, Style) for each in style)
    found = tuple(style) if several else (Style(style),)
    for each in found:
        if not isinstance(each, Style):
            raise SettingError(
                f"style must be an image or a list of Styles; got {type(each)} in it"
            )
        if each.content_mask is not None:
            check_mask(each.content_mask, content, "content_mask")
    if not any(each.weight for each in found):
        raise SettingError("the weights of the styles are all 0; give one of them above 0")
    return found


def weighed(style: Tensor | Sequence[Style], weights: Sequence[float]) -> Tensor | Sequence[Style]:
    """What a `Transfer` takes as its style with these weights; as it is, if there are none.

    Raises:
        SettingError: if there is not one for each style.
    """
    if not weights:
        return style
    styles = list(style) if isinstance(style, Sequence) else [Style(style)]
    if len(styles) != len(weights):
        raise SettingError(
            "style_weights needs one number for each style or region, of which there "
            f"{'is' if len(styles) == 1 else 'are'} {len(styles)}; got {len(weights)}"
        )
    return [replace(each, weight=one) for each, one in zip(styles, weights, strict=True)]


def proportions(styles: Sequence[Style], size: Sequence[int]) -> list[float]:
    """How much each style counts in a picture of (height, width): see `regions.shares`."""
    masks = [each.content_mask for each in styles]
    return shares([each.weight for each in styles], masks, size)


def style_terms(
    network: VGG,
    batch: Sequence[Sequence[Style]],
    layer_weights: Sequence[Mapping[str, float]],
    size: Sequence[int],
    kind: str = "gram",
) -> list[StyleTerm]:
    """The terms of a batch whose pictures have these styles and w_l, and one (height, width).

    `kind` is the statistic that is matched, a key of `stylelab.controls.statistics.TERMS`.

    There is one for each layer and each number of a style: the first styles of all pictures are
    together, the second ones, and so on. A picture without a second style has weight 0 there.
    """
    rows = columns(network, layer_weights)
    counts = [proportions(styles, size) for styles in batch]

    def represent(image: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        guided = None if mask is None else _guides(network, mask, image.shape[2:], rows)
        return representation(kind, network, image, rows, guided, size)

    terms = []
    for number in range(max(map(len, batch))):
        styles = [each[number if number < len(each) else 0] for each in batch]
        weights = [each[number] if number < len(each) else 0.0 for each in counts]
        weight = rows[next(iter(rows))].new_tensor(weights)
        found = targets(network, represent, [(each.image, each.style_mask) for each in styles])
        masks = [each.content_mask for each in styles]
        where = dict.fromkeys(rows)
        if any(mask is not None for mask in masks):
            everywhere = torch.ones(1, 1, *size)
            each = [_guides(network, everywhere if m is None else m, size, rows) for m in masks]
            where = {layer: torch.cat([guide[layer] for guide in each]) for layer in rows}
        for layer, row in rows.items():
            target, guide = found[layer], where[layer]
            terms.append(TERMS[kind](layer, target, row * weight, guide, number + 1))
    return terms


def _guides(network: VGG, mask: Tensor, size: Sequence[int], layers: Sequence[str]) -> dict:
    found = guides(mask, size, layers)
    return {layer: guide.to(network.device, network.dtype) for layer, guide in found.items()}
