"""Style transfer from coarse to fine: a small image first, enlarged to start the next size with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from stylelab.description import Transfer
from stylelab.errors import SettingError
from stylelab.optimisation import Hook, Optimiser, Result
from stylelab.parametrisation import FREQUENCIES, PIXELS, Parametrisation
from stylelab.synthesis import STEPS, balance, transfer_batch, transfer_parametrisation
from stylelab.vgg import VGG, resize


def transfer_coarse_to_fine(
    network: VGG,
    transfers: Sequence[Transfer],
    *,
    levels: int,
    steps: int = STEPS,
    parametrisation: str | Parametrisation = FREQUENCIES,
    optimiser: str | Optimiser = "lbfgs",
    progress: bool = True,
    hooks: Sequence[Hook] | None = None,
) -> Result:
    """As `synthesis.transfer_batch`, on images of half the size, a quarter, ... first.

    Large structures are quick to find in small images. One level is the paper's method.

    Args:
        network, transfers, parametrisation, optimiser, progress, hooks: as `transfer_batch` takes
            them; it raises the same. A strength stands for the ratio that it has at the largest
            size.
        levels: how many sizes, each twice the last; each has `steps` steps.

    Returns:
        The last level's result, with the seconds of all levels.
    """
    if type(levels) is not int or levels < 1:
        raise SettingError(f"levels must be a whole number, 1 or more, got {levels!r}")
    images = [image for one in transfers for image in (one.content, *(s.image for s in one.styles))]
    images = {id(image): image for image in images}
    asked = {layer for one in transfers for layer in one.layers}
    smallest = min(side >> (levels - 1) for i in images.values() for side in i.shape[2:])
    if smallest < (least := network.min_size(asked)):
        raise SettingError(
            f"with {levels} levels the smallest image has a side of {smallest} pixels, and "
            f"{network.name} needs at least {least}: choose fewer levels or larger images"
        )
    transfers, seconds, start = [balance(network, one) for one in transfers], 0.0, None
    how = {"parametrisation": parametrisation, "optimiser": optimiser, "hooks": hooks}
    for level in reversed(range(levels)):
        half = {key: _halved(image, level) for key, image in images.items()}
        smaller = [_smaller(one, half) for one in transfers]
        if start is not None:
            start = resize(start, tuple(smaller[0].content.shape[2:]))
        given = {"steps": steps, "start": start, "progress": progress}
        result = transfer_batch(network, smaller, **given, **how)
        start, seconds = result.images, seconds + result.seconds
        if result.interrupted:
            break
    whole = resize(result.images, tuple(transfers[0].content.shape[2:]))
    if whole is not result.images:  # interrupted: what is kept of the photograph is not enlarged
        whole = transfer_parametrisation(network, transfers, PIXELS).to_image(whole).clamp(0, 1)
    return replace(result, images=whole, seconds=seconds)


def _smaller(one: Transfer, images: Mapping[int, Tensor]) -> Transfer:
    """`one` with the smaller `images` in place of those with their ids, and a start to match."""
    content, init = images[id(one.content)], one.init
    if isinstance(init, Tensor):
        init = resize(init, tuple(content.shape[2:]))
    styles = [replace(each, image=images[id(each.image)]) for each in one.styles]
    return replace(one, content=content, style=styles, init=init)


def _halved(image: Tensor, times: int) -> Tensor:
    """`image` `(1, 3, H, W)` with its sides halved so many times."""
    return resize(image, tuple(max(1, side >> times) for side in image.shape[2:]))
