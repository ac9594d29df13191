"""Style transfer from coarse to fine: a small image first, enlarged to start the next size with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from stylelab.description import Transfer
from stylelab.errors import SettingError
from stylelab.optimisation import Hook, Optimiser, Result
from stylelab.parametrisation import FREQUENCIES, PIXELS, Parametrisation
from stylelab.room import current
from stylelab.synthesis import STEPS, balance, transfer_batch, transfer_parametrisation
from stylelab.vgg import VGG, resize

LARGE = 1024  # pixels of the longer side, of which layers see enough to make large forms
FEWEST = 10  # steps on a level


def transfer_coarse_to_fine(
    network: VGG,
    transfers: Sequence[Transfer],
    *,
    levels: int | None = None,
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
            them; it raises the same. What a strength stands for is as `balanced` says.
        levels: how many sizes, each twice the last; each has `steps` steps. None leaves sizes and
            steps to `schedule`.

    Returns:
        The last level's result, with the seconds of all levels.
    """
    each, images = schedule(network, transfers, steps, levels), _images(transfers)
    transfers, seconds, start = [balanced(network, one) for one in transfers], 0.0, None
    how = {"parametrisation": parametrisation, "optimiser": optimiser, "hooks": hooks}
    for level in reversed(range(len(each))):
        half = {key: _halved(image, level) for key, image in images.items()}
        smaller = [_smaller(one, half) for one in transfers]
        if start is not None:
            start = current().aside(resize(start, tuple(smaller[0].content.shape[2:])))
        given = {"steps": each[-1 - level], "start": start, "progress": progress}
        result = transfer_batch(network, smaller, **given, **how)
        start, seconds = result.images, seconds + result.seconds
        if result.interrupted:
            break
    whole = resize(result.images, tuple(transfers[0].content.shape[2:]))
    if whole is not result.images:  # interrupted: what is kept of the photograph is not enlarged
        whole = transfer_parametrisation(network, transfers, PIXELS).to_image(whole).clamp(0, 1)
    return replace(result, images=whole, seconds=seconds)


def balanced(network: VGG, one: Transfer) -> Transfer:
    """`one` with the alpha/beta that its strength stands for, as `synthesis.balance` finds it.

    Above LARGE pixels it is that of the images halved until they are no larger: large forms are
    made at that size, and an enlarged photograph is smooth at its own.
    """
    times = _halvings(network, [one])
    if times == 0 or one.objective == "authors" or one.alpha_beta is not None:
        return balance(network, one)
    smaller = {key: _halved(image, times) for key, image in _images([one]).items()}
    return replace(one, alpha_beta=balance(network, _smaller(one, smaller)).alpha_beta)


def _halvings(network: VGG, transfers: Sequence[Transfer]) -> int:
    """How often images are halved until the content has LARGE pixels at most on its longer side.

    Fewer times if an image would become too small for the network.
    """
    longest = max(transfers[0].content.shape[2:])
    wanted = max(0, math.ceil(math.log2(longest / LARGE)))
    smallest, least = _sides(network, transfers)
    return max([n for n in range(1, wanted + 1) if smallest >> n >= least], default=0)


def _sides(network: VGG, transfers: Sequence[Transfer]) -> tuple[int, int]:
    """The smallest side of any image, and the least that the network takes."""
    smallest = min(side for image in _images(transfers).values() for side in image.shape[2:])
    return smallest, network.min_size({layer for one in transfers for layer in one.layers})


def schedule(
    network: VGG, transfers: Sequence[Transfer], steps: int, levels: int | None
) -> list[int]:
    """The steps on each level, the smallest first: as many on each of so many `levels`.

    None is for pictures of any size. Up to LARGE pixels there is one level. Above, the smallest
    has as many pixels as that or fewer, and each level half the steps of the one before it, FEWEST
    at least: what is large is found already, and only what is fine is new.

    Raises:
        SettingError: if there would be images too small for the network.
    """
    if levels is not None and (type(levels) is not int or levels < 1):
        raise SettingError(f"levels must be a whole number, 1 or more, got {levels!r}")
    if levels is None:
        count = 1 + _halvings(network, transfers)
        return [max(steps >> level, min(steps, FEWEST)) for level in range(count)]
    smallest, least = _sides(network, transfers)
    if smallest >> (levels - 1) < least:
        raise SettingError(
            f"with {levels} levels the smallest image has a side of {smallest >> (levels - 1)} "
            f"pixels, and {network.name} needs at least {least}: choose fewer levels or larger "
            "images"
        )
    return [steps] * levels


def _images(transfers: Sequence[Transfer]) -> dict[int, Tensor]:
    """Each content and style image once, by its id."""
    images = [image for one in transfers for image in (one.content, *(s.image for s in one.styles))]
    return {id(image): image for image in images}


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
