"""The paper's three experiments: content reconstruction, style reconstruction, style transfer.

Each optimises a batch of images, one for every panel of a figure, and returns a `Result`. One
picture is described by a `stylelab.description.Transfer`; a list of them is a batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from stylelab.controls import colours
from stylelab.controls.keeping import keeping
from stylelab.controls.strength import Units, ratio_of, units_of
from stylelab.controls.styles import Style, style_terms
from stylelab.description import Transfer
from stylelab.errors import SettingError, check_number
from stylelab.objective import (
    RANGE,
    ContentTerm,
    Objective,
    OutOfRange,
    StyleTerm,
    TotalVariation,
    content_representation,
    shown,
    style_representation,
)
from stylelab.optimisation import Hook, Optimiser, Result, optimise, white_noise
from stylelab.parametrisation import FREQUENCIES, Parametrisation
from stylelab.rows import columns, place, row, targets, weights_of
from stylelab.vgg import VGG, check_image, resize

STEPS = 100  # enough at 512 pixels for what the eye sees


def transfer(
    network: VGG,
    content: Tensor,
    style: Tensor | Sequence[Style],
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
    start = transfer_start(network, transfers) if start is None else place(network, start)
    moves = transfer_parametrisation(network, transfers, parametrisation)
    how = {"parametrisation": moves, "optimiser": optimiser, "hooks": hooks}
    how |= {"progress": progress, "label": "transfer"}
    return optimise(transfer_objective(network, transfers), start, steps, **how)


def transfer_objective(network: VGG, transfers: Sequence[Transfer]) -> Objective:
    """Equation 7 for a batch: what `transfer_batch` minimises."""
    transfers = [balance(network, one) for one in transfers]
    alphas = columns(
        network,
        [{at: one.alpha_beta * w for at, w in one.content_weights.items()} for one in transfers],
    )

    def represent(image: Tensor, mode: str) -> dict[str, Tensor]:
        seen = shown(image, colours.views([mode], image))
        return content_representation(network, seen, alphas)

    features = targets(network, represent, [(one.content, one.colours) for one in transfers])
    terms = [ContentTerm(layer, target, alphas[layer]) for layer, target in features.items()]
    styles = [colours.recoloured(one.styles, one.content, one.colours) for one in transfers]
    size = transfers[0].content.shape[2:]
    kinds = sorted({one.style_loss for one in transfers})
    if len(kinds) > 1:
        raise SettingError(f"all transfers of a batch must have one style_loss, got {kinds}")
    terms += style_terms(network, styles, [one.layer_weights for one in transfers], size, *kinds)
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


def balance(network: VGG, one: Transfer, units: Units | None = None) -> Transfer:
    """`one` with the alpha/beta that its strength stands for; as it is, if it has one.

    Of the authors' objective the weights are those `as_released`.

    Args:
        units: what `units_of` gives for the images and the layers of `one`, where that is known.
    """
    if one.objective == "authors":
        return as_released(network, one)
    if one.alpha_beta is not None:
        return one
    if units is None:
        units = units_of(transfer_objective(network, [replace(one, alpha_beta=1.0)]), one.content)
    return replace(one, alpha_beta=ratio_of(network, one, units))


def as_released(network: VGG, one: Transfer) -> Transfer:
    """`one` with the weights of the authors' released code for VGG as it was trained.

    That code (leongatys/PytorchNeuralStyleTransfer) minimises the mean squared error of the content
    layer, plus 1e3 / N_l^2 times that of the Gram matrices over M_l at each style layer, and knows
    no range of pixels. Here 1e3 / N_l^2 is times a layer's own weight, where it has one, and an
    `alpha_beta` takes the place of the content's 1.

    Raises:
        SettingError: for a network that was rescaled, or that measures with readouts.
    """
    if network.rescaled or network.readouts:
        raise SettingError(
            f"the objective authors is for VGG as it was trained, and {network.name} is rescaled: "
            "load a full network with rescale=False (the command does so), such as vgg19-caffe"
        )
    own = one.style_layers
    own = own if isinstance(own, Mapping) else dict.fromkeys(network.check_layers(own), 1.0)
    network.check_layers(own)
    weights = {layer: weight * 1e3 / network.widths[layer] ** 2 for layer, weight in own.items()}
    alpha = 1.0 if one.alpha_beta is None else one.alpha_beta
    plain = {"alpha_beta": alpha, "style_layers": weights, "range_weight": 0.0}
    return replace(one, objective="means", **plain)


def transfer_start(network: VGG, transfers: Sequence[Transfer]) -> Tensor:
    """The images `(N, 3, H, W)` that a batch starts from, on the network's device."""
    starts = []
    for one in transfers:
        size, image = tuple(one.content.shape[2:]), one.init
        if not isinstance(image, Tensor):
            image = _named_start(one, image)
        starts.append(resize(place(network, image), size))
    return torch.cat(starts) if len(starts) > 1 else starts[0]  # large: no copy


def _named_start(one: Transfer, name: str) -> Tensor:
    if name == "noise":
        return white_noise(*one.content.shape[2:], [one.seed])
    if name == "style":
        return colours.recoloured(one.styles[:1], one.content, one.colours)[0].image
    return one.content


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
    weights = columns(network, [weights_of([layer]) for layer in layers])
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
    weights = columns(network, [weights_of(row) for row in rows])
    terms = [StyleTerm(layer, target, weights[layer]) for layer, target in targets.items()]
    terms.append(OutOfRange(row(network, [RANGE] * len(rows))))
    sides = (image if size is None else resize(image, size)).shape[2:]
    start = place(network, white_noise(*sides, [seed] * len(subsets)))
    how = {"parametrisation": parametrisation, "progress": progress, "hooks": hooks}
    return optimise(Objective(network, terms), start, steps, label="style reconstruction", **how)
