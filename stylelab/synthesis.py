"""The paper's three experiments: content reconstruction, style reconstruction, style transfer.

Each optimises a batch of images, one for every panel of a figure, and returns a `Result`. One
picture is described by a `Transfer`; a list of them is a batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from stylelab.controls import colours
from stylelab.controls.keeping import keeping
from stylelab.controls.styles import HEAVIEST, Style, as_styles, proportions, style_terms
from stylelab.errors import SettingError, check_number
from stylelab.objective import (
    RANGE,
    ContentTerm,
    Objective,
    OutOfRange,
    StyleTerm,
    TotalVariation,
    columns,
    content_representation,
    equal_weights,
    place,
    row,
    shown,
    style_representation,
    targets,
)
from stylelab.optimisation import Hook, Result, optimise, white_noise
from stylelab.parametrisation import FREQUENCIES, Parametrisation
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG, check_image, resize

STARTS = ("content", "style", "noise")
BALANCE = 0.05  # found by eye on 22 pairs of images, at three sizes
STEPS = 100  # enough at 512 pixels for what the eye sees


@dataclass(frozen=True, eq=False)
class Transfer:
    """One style transfer: a photograph, its style, and what is asked for (equation 7).

    Attributes:
        content: `(1, 3, H, W)`, sRGB in [0, 1]; the result has its size.
        style: the same; or several for one picture, a sequence of `Style`, which may have regions.
            Where no style has its region the photograph stays.
        alpha_beta: weight of the mean content loss over that of the mean style loss, as in the
            authors' code (see `stylelab.losses`); beta is 1. None leaves it to the strength.
        strength: how much of the painting is wanted, from 0 (nearly the photograph) to 1, where no
            ratio is given; `balance` says what it stands for.
        content_layer: the layer matched in content.
        style_layers: the layers matched in style, each with w_l = 1/layers; or their w_l by name.
        init: start from "content", "style" (resized to the content's size) or white "noise".
        seed: of the white noise; other starts ignore it.
        tv_weight: weight of the total variation, 0 in the paper.
        range_weight: weight of pixels that leave [0, 1], over alpha + beta; 0 in the paper.
        colours: "style"; or the photograph's, by "luminance" or by "match": see
            `stylelab.controls.colours`.

    Raises:
        SettingError: for an image that is not such a tensor, or a value out of range.
    """

    content: Tensor
    style: Tensor | Sequence[Style]
    alpha_beta: float | None = None
    strength: float = 0.5
    content_layer: str = CONTENT_LAYER
    style_layers: Sequence[str] | Mapping[str, float] = STYLE_LAYERS
    init: str = "content"
    seed: int = 0
    tv_weight: float = 0.0
    range_weight: float = RANGE
    colours: str = "style"

    def __post_init__(self) -> None:
        check_image(self.content, "content")
        self.styles  # noqa: B018  # is checked
        check_number(self.strength, "strength", 1)
        for name in ("alpha_beta", "tv_weight", "range_weight"):
            if name != "alpha_beta" or self.alpha_beta is not None:
                check_number(getattr(self, name), name, HEAVIEST)
        several = isinstance(self.style_layers, (Sequence, Mapping)) and len(self.style_layers)
        if not several or not all(isinstance(name, str) for name in self.layers):
            got = f"got {self.content_layer!r} and {self.style_layers!r}"
            raise SettingError(f"content_layer and style_layers must name layers; {got}")
        for layer, weight in self.layer_weights.items():
            check_number(weight, f"the weight of style layer {layer}", HEAVIEST)
        for name, known in (("init", STARTS), ("colours", colours.MODES)):
            if (got := getattr(self, name)) not in known:
                raise SettingError(f"{name} must be one of {', '.join(known)}, got {got!r}")
        check_number(self.seed, "seed", 2**63 - 1, whole=True)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are matched."""
        return (self.content_layer, *self.style_layers)

    @cached_property
    def styles(self) -> tuple[Style, ...]:
        """The styles of the picture, one or several."""
        return as_styles(self.style, self.content)

    @property
    def layer_weights(self) -> dict[str, float]:
        """w_l of each style layer."""
        layers = self.style_layers
        return dict(layers) if isinstance(layers, Mapping) else equal_weights(layers)


def transfer(
    network: VGG,
    content: Tensor,
    style: Tensor | Sequence[Style],
    *,
    steps: int = STEPS,
    parametrisation: str | Parametrisation = FREQUENCIES,
    progress: bool = True,
    hooks: Sequence[Hook] | None = None,
    **settings: object,
) -> Result:
    """Style transfer (equation 7): the content of one image in the style of another.

    Args:
        content, style, settings: as `Transfer` takes them: `strength=0.7`, `init="noise"`, ...
        network and the others: as `transfer_batch` takes them; it raises the same.
    """
    names = [each.name for each in fields(Transfer)][2:]
    if unknown := sorted(set(settings) - set(names)):
        raise SettingError(f"a transfer has no setting {unknown[0]!r}, only {', '.join(names)}")
    transfers = [Transfer(content, style, **settings)]
    how = {"parametrisation": parametrisation, "progress": progress, "hooks": hooks}
    return transfer_batch(network, transfers, steps=steps, **how)


@torch.inference_mode(False)
def transfer_batch(
    network: VGG,
    transfers: Sequence[Transfer],
    *,
    steps: int = STEPS,
    start: Tensor | None = None,
    parametrisation: str | Parametrisation = FREQUENCIES,
    progress: bool = True,
    hooks: Sequence[Hook] | None = None,
) -> Result:
    """Several style transfers at once: one image of the result for each of `transfers`.

    Args:
        transfers: what is asked for; their content images must have one size.
        start: `(N, 3, H, W)`, the images to start from, in place of each transfer's `init`.
        steps, parametrisation, progress, hooks: as `stylelab.optimisation.optimise` takes them.
            The paper's parametrisation is "pixels".

    Raises:
        SettingError: for content images of different sizes, or images too small for the network.
        NetworkError: for a layer that the network does not have.
    """
    is_list = isinstance(transfers, Sequence) and all(isinstance(t, Transfer) for t in transfers)
    if not is_list or len({tuple(one.content.shape) for one in transfers}) != 1:
        raise SettingError("transfers must be a list of Transfers, with content images of one size")
    start = transfer_start(network, transfers) if start is None else place(network, start)
    moves = transfer_parametrisation(network, transfers, parametrisation)
    how = {"parametrisation": moves, "progress": progress, "hooks": hooks}
    return optimise(transfer_objective(network, transfers), start, steps, label="transfer", **how)


def transfer_objective(network: VGG, transfers: Sequence[Transfer]) -> Objective:
    """Equation 7 for a batch: what `transfer_batch` minimises."""
    transfers = [balance(network, one) for one in transfers]
    alphas = columns(network, [{one.content_layer: one.alpha_beta} for one in transfers])

    def represent(image: Tensor, mode: str) -> dict[str, Tensor]:
        seen = shown(image, colours.views([mode], image))
        return content_representation(network, seen, alphas)

    features = targets(network, represent, [(one.content, one.colours) for one in transfers])
    terms = [ContentTerm(layer, target, alphas[layer]) for layer, target in features.items()]
    styles = [colours.recoloured(one.styles, one.content, one.colours) for one in transfers]
    size = transfers[0].content.shape[2:]
    terms += style_terms(network, styles, [one.layer_weights for one in transfers], size)
    if any(one.tv_weight for one in transfers):
        terms.append(TotalVariation(row(network, [one.tv_weight for one in transfers])))
    if any(one.range_weight for one in transfers):
        ranges = [one.range_weight * (1 + one.alpha_beta) for one in transfers]
        terms.append(OutOfRange(row(network, ranges)))
    view = colours.views([one.colours for one in transfers], network.input.weight)
    return Objective(network, terms, view)


def transfer_parametrisation(
    network: VGG, transfers: Sequence[Transfer], base: str | Parametrisation
) -> Parametrisation:
    """`base`, and around it what each picture keeps of its photograph, if any of them keeps any."""
    contents = [one.content for one in transfers]
    styles, modes = [one.styles for one in transfers], [one.colours for one in transfers]
    return keeping(network, base, contents, styles, modes)


def balance(network: VGG, one: Transfer) -> Transfer:
    """`one` with the alpha/beta that its strength stands for; as it is, if it has one.

    A fixed ratio means something else for every pair of images. Here both losses are measured in
    units of the pair: style in the style loss S of the photograph itself, content in the content
    loss V of a picture without any structure, which has the photograph's mean features everywhere.
    Then alpha/beta = 0.05 S / V at strength 0.5, a hundred times that at 0, a hundredth at 1.
    """
    if one.alpha_beta is not None:
        return one
    objective = transfer_objective(network, [replace(one, alpha_beta=1.0)])
    losses = objective.losses(place(network, one.content))
    style = sum(float(loss) for name, loss in losses.items() if name.startswith("style"))
    style /= sum(proportions(one.styles, one.content.shape[2:]))  # where there is any
    content = objective.terms[0]
    flat = content.target.mean((2, 3), keepdim=True).expand_as(content.target)
    spread = float(content.loss(flat, torch.tensor([0], device=flat.device), network))
    share = BALANCE * 10 ** (4 * (0.5 - one.strength))
    return replace(one, alpha_beta=share * style / max(spread, 0.01))  # blank below that


def transfer_start(network: VGG, transfers: Sequence[Transfer]) -> Tensor:
    """The images `(N, 3, H, W)` that a batch starts from, on the network's device."""
    starts = []
    for one in transfers:
        size = tuple(one.content.shape[2:])
        styles = colours.recoloured(one.styles[:1], one.content, one.colours)
        images = {"content": one.content, "style": styles[0].image}
        image = white_noise(*size, [one.seed]) if one.init == "noise" else images[one.init]
        starts.append(resize(place(network, image), size))
    return torch.cat(starts)


@torch.inference_mode(False)
def reconstruct_content(
    network: VGG,
    content: Tensor,
    layers: Sequence[str],
    *,
    steps: int = STEPS,
    seed: int = 0,
    parametrisation: str | Parametrisation = FREQUENCIES,
    progress: bool = True,
    hooks: Sequence[Hook] | None = None,
) -> Result:
    """Figure 1, content: from white noise, one image for each layer whose features it matches.

    Args:
        content: `(1, 3, H, W)`, sRGB in [0, 1].
        layers: one content layer per image of the batch.
        seed: of the white noise, the same for all images.
        network and the others: as `transfer_batch` takes them; it raises the same.
    """
    check_number(seed, "seed", 2**63 - 1, whole=True)
    image = place(network, check_image(content, "content"))
    targets = content_representation(network, image, layers)
    weights = columns(network, [equal_weights([layer]) for layer in layers])
    terms = [ContentTerm(layer, target, weights[layer]) for layer, target in targets.items()]
    terms.append(OutOfRange(row(network, [RANGE] * len(layers))))
    start = place(network, white_noise(*image.shape[2:], [seed] * len(layers)))
    how = {"parametrisation": parametrisation, "progress": progress, "hooks": hooks}
    return optimise(Objective(network, terms), start, steps, label="content reconstruction", **how)


@torch.inference_mode(False)
def reconstruct_style(
    network: VGG,
    style: Tensor,
    subsets: Sequence[Sequence[str]],
    *,
    size: int | tuple[int, int] | None = None,
    steps: int = STEPS,
    seed: int = 0,
    parametrisation: str | Parametrisation = FREQUENCIES,
    progress: bool = True,
    hooks: Sequence[Hook] | None = None,
) -> Result:
    """Figure 1, style: from white noise, one image for each subset of layers it matches in style.

    Args:
        style: `(1, 3, H, W)`, sRGB in [0, 1].
        subsets: the style layers of each image of the batch, equally weighted (w_l = 1/layers).
        size: of the images, as `resize` takes it; the style image's when None.
        network and the others: as `reconstruct_content` takes them.
    """
    check_number(seed, "seed", 2**63 - 1, whole=True)
    image = place(network, check_image(style, "style"))
    rows = [network.check_layers(row) for row in subsets or ()]
    targets = style_representation(network, image, [layer for row in rows for layer in row])
    weights = columns(network, [equal_weights(row) for row in rows])
    terms = [StyleTerm(layer, target, weights[layer]) for layer, target in targets.items()]
    terms.append(OutOfRange(row(network, [RANGE] * len(rows))))
    sides = (image if size is None else resize(image, size)).shape[2:]
    start = place(network, white_noise(*sides, [seed] * len(subsets)))
    how = {"parametrisation": parametrisation, "progress": progress, "hooks": hooks}
    return optimise(Objective(network, terms), start, steps, label="style reconstruction", **how)
