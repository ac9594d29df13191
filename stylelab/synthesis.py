"""The paper's three experiments: content reconstruction, style reconstruction, style transfer.

Each optimises a batch of images, one for every panel of a figure, and returns a `Result`. One
picture is described by a `Transfer`; a list of them is a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from stylelab.errors import SettingError, check_number
from stylelab.objective import (
    RANGE,
    ContentTerm,
    Objective,
    OutOfRange,
    StyleTerm,
    TotalVariation,
    content_representation,
    style_representation,
    weights_of,
)
from stylelab.optimisation import Hook, Optimiser, Result, optimise, white_noise
from stylelab.parametrisation import FREQUENCIES, Parametrisation
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG, check_image, check_same_aspect, resize

STARTS = ("content", "style", "noise")
BALANCE = 0.05  # found by eye on 22 pairs of images, at three sizes
STEPS = 100  # enough at 512 pixels for what the eye sees
HEAVIEST = 1e30  # squares and sums of weights stay finite


@dataclass(frozen=True, eq=False)
class Transfer:
    """One style transfer: two images, and what is asked for (equation 7).

    Attributes:
        content, style: `(1, 3, H, W)`, sRGB in [0, 1]; the result has the content's size.
        alpha_beta: weight of the mean content loss over that of the mean style loss, as in the
            authors' code (see `stylelab.losses`); beta is 1. None leaves it to the strength.
        strength: how much of the painting is wanted, from 0 (nearly the photograph) to 1, where no
            ratio is given; `balance` says what it stands for.
        content_layers: the layers matched in content, one in the paper; or their weights by name.
        style_layers: the layers matched in style, each with w_l = 1/layers; or their w_l by name.
        init: start from "content", "style" (resized to the content's size), white "noise", or an
            image `(1, 3, H, W)` of your own, resized too.
        seed: of the white noise; other starts ignore it.
        tv_weight: weight of the total variation, 0 in the paper.
        range_weight: weight of pixels that leave [0, 1], over alpha + beta; 0 in the paper.

    Raises:
        SettingError: for an image that is not such a tensor, or a value out of range.
    """

    content: Tensor
    style: Tensor
    alpha_beta: float | None = None
    strength: float = 0.5
    content_layers: Sequence[str] | Mapping[str, float] = (CONTENT_LAYER,)
    style_layers: Sequence[str] | Mapping[str, float] = STYLE_LAYERS
    init: str | Tensor = "content"
    seed: int = 0
    tv_weight: float = 0.0
    range_weight: float = RANGE

    def __post_init__(self) -> None:
        for kind in ("content", "style"):
            check_image(getattr(self, kind), kind)
            for layer, weight in weights_of(getattr(self, name := f"{kind}_layers"), name).items():
                check_number(weight, f"the weight of {kind} layer {layer}", HEAVIEST)
        check_number(self.strength, "strength", 1)
        for name in ("alpha_beta", "tv_weight", "range_weight"):
            if name != "alpha_beta" or self.alpha_beta is not None:
                check_number(getattr(self, name), name, HEAVIEST)
        if isinstance(self.init, Tensor):
            check_same_aspect(check_image(self.init, "init"), self.content)
        elif self.init not in STARTS:
            raise SettingError(f"init must be an image or one of {STARTS}, got {self.init!r}")
        check_number(self.seed, "seed", 2**63 - 1, whole=True)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are matched."""
        return (*self.content_layers, *self.style_layers)

    @property
    def content_weights(self) -> dict[str, float]:
        """The share of alpha of each content layer."""
        return weights_of(self.content_layers)

    @property
    def style_weights(self) -> dict[str, float]:
        """w_l of each style layer."""
        return weights_of(self.style_layers)


def transfer(
    network: VGG,
    content: Tensor,
    style: Tensor,
    *,
    steps: int = STEPS,
    parametrisation: str | Parametrisation = FREQUENCIES,
    optimiser: str | Optimiser = "lbfgs",
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
    how = {"parametrisation": parametrisation, "optimiser": optimiser, "hooks": hooks}
    return transfer_batch(network, transfers, steps=steps, progress=progress, **how)


@torch.inference_mode(False)
def transfer_batch(
    network: VGG,
    transfers: Sequence[Transfer],
    *,
    steps: int = STEPS,
    start: Tensor | None = None,
    parametrisation: str | Parametrisation = FREQUENCIES,
    optimiser: str | Optimiser = "lbfgs",
    progress: bool = True,
    hooks: Sequence[Hook] | None = None,
) -> Result:
    """Several style transfers at once: one image of the result for each of `transfers`.

    Args:
        transfers: what is asked for; their content images must have one size.
        start: `(N, 3, H, W)`, the images to start from, in place of each transfer's `init`.
        steps, parametrisation, optimiser, progress, hooks: as `stylelab.optimisation.optimise`
            takes them. The paper's parametrisation is "pixels".

    Raises:
        SettingError: for content images of different sizes, or images too small for the network.
        NetworkError: for a layer that the network does not have.
    """
    is_list = isinstance(transfers, Sequence) and all(isinstance(t, Transfer) for t in transfers)
    if not is_list or len({tuple(one.content.shape) for one in transfers}) != 1:
        raise SettingError("transfers must be a list of Transfers, with content images of one size")
    start = transfer_start(network, transfers) if start is None else _place(network, start)
    how = {"parametrisation": parametrisation, "optimiser": optimiser, "hooks": hooks}
    how |= {"progress": progress, "label": "transfer"}
    return optimise(transfer_objective(network, transfers), start, steps, **how)


def transfer_objective(network: VGG, transfers: Sequence[Transfer]) -> Objective:
    """Equation 7 for a batch: what `transfer_batch` minimises."""
    transfers = [balance(network, one) for one in transfers]
    layers = list(dict.fromkeys(layer for one in transfers for layer in one.content_weights))
    used = list(dict.fromkeys(layer for one in transfers for layer in one.style_weights))
    contents, styles = [one.content for one in transfers], [one.style for one in transfers]
    features = _targets(content_representation, network, contents, layers)
    grams = _targets(style_representation, network, styles, used)
    shares = [(one.alpha_beta, one.content_weights.items()) for one in transfers]
    alphas = _columns(network, [{layer: a * w for layer, w in row} for a, row in shares])
    weights = _columns(network, [one.style_weights for one in transfers])
    terms = [ContentTerm(layer, target, alphas[layer]) for layer, target in features.items()]
    terms += [StyleTerm(layer, target, weights[layer]) for layer, target in grams.items()]
    if any(one.tv_weight for one in transfers):
        terms.append(TotalVariation(_row(network, [one.tv_weight for one in transfers])))
    if any(one.range_weight for one in transfers):
        ranges = [one.range_weight * (1 + one.alpha_beta) for one in transfers]
        terms.append(OutOfRange(_row(network, ranges)))
    return Objective(network, terms)


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
    losses = objective.losses(_place(network, one.content))
    style = sum(float(loss) for name, loss in losses.items() if name.startswith("style"))
    spread, only = 0.0, torch.tensor([0], device=network.device)
    for term in objective.terms[: len(one.content_weights)]:
        flat = term.target.mean((2, 3), keepdim=True).expand_as(term.target)
        spread += float(term.weight * term.loss(flat, only, network))
    share = BALANCE * 10 ** (4 * (0.5 - one.strength))
    return replace(one, alpha_beta=share * style / max(spread, 0.01))  # blank below that


def transfer_start(network: VGG, transfers: Sequence[Transfer]) -> Tensor:
    """The images `(N, 3, H, W)` that a batch starts from, on the network's device."""
    starts = []
    for one in transfers:
        size = tuple(one.content.shape[2:])
        image = white_noise(*size, [one.seed]) if one.init == "noise" else one.init
        image = getattr(one, image) if isinstance(image, str) else image
        starts.append(resize(_place(network, image), size))
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
    image = _place(network, check_image(content, "content"))
    targets = content_representation(network, image, layers)
    weights = _columns(network, [weights_of([layer]) for layer in layers])
    terms = [ContentTerm(layer, target, weights[layer]) for layer, target in targets.items()]
    terms.append(OutOfRange(_row(network, [RANGE] * len(layers))))
    start = _place(network, white_noise(*image.shape[2:], [seed] * len(layers)))
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
    image = _place(network, check_image(style, "style"))
    rows = [network.check_layers(row) for row in subsets or ()]
    targets = style_representation(network, image, [layer for row in rows for layer in row])
    weights = _columns(network, [weights_of(row) for row in rows])
    terms = [StyleTerm(layer, target, weights[layer]) for layer, target in targets.items()]
    terms.append(OutOfRange(_row(network, [RANGE] * len(rows))))
    sides = (image if size is None else resize(image, size)).shape[2:]
    start = _place(network, white_noise(*sides, [seed] * len(subsets)))
    how = {"parametrisation": parametrisation, "progress": progress, "hooks": hooks}
    return optimise(Objective(network, terms), start, steps, label="style reconstruction", **how)


def _place(network: VGG, image: Tensor) -> Tensor:
    """`image` on the network's device and in its precision, as autograd can use it."""
    if not isinstance(network, VGG):
        raise SettingError(f"network must be a VGG, as stylelab.load gives it; got {network!r}")
    image = image.to(network.device, network.dtype)
    return image.clone() if image.is_inference() else image


def _targets(represent: Callable, network: VGG, images: Sequence[Tensor], layers: Sequence) -> dict:
    """By layer, the representations of images `(N, ...)`; `(1, ...)` if all are the same tensor."""
    distinct = {id(image): _place(network, image) for image in images}
    found = {key: represent(network, image, layers) for key, image in distinct.items()}
    rows = list(found.values()) if len(found) == 1 else [found[id(image)] for image in images]
    return {layer: torch.cat([row[layer] for row in rows]) for layer in rows[0]}


def _columns(network: VGG, rows: Sequence[Mapping[str, float]]) -> dict[str, Tensor]:
    """Per layer, its weight in each row, 0 where a row lacks it: `(N,)`."""
    layers = dict.fromkeys(layer for row in rows for layer in row)
    return {layer: _row(network, [row.get(layer, 0.0) for row in rows]) for layer in layers}


def _row(network: VGG, numbers: Sequence[float]) -> Tensor:
    """One number for each image, `(N,)`."""
    return network.input.weight.new_tensor(numbers)
