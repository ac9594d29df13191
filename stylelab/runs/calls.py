"""What settings ask for, as the functions that do it take it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from stylelab.controls.styles import Style, weighed
from stylelab.description import Transfer
from stylelab.images import load_image
from stylelab.optimisation import optimiser_of
from stylelab.runs.settings import HISTORY, Settings


def loading(settings: Settings) -> dict[str, Any]:
    """How the network is loaded, as `stylelab.load` takes it."""
    rescale = settings.objective != "authors"
    return {"pooling": settings.pooling, "convention": settings.convention, "rescale": rescale}


def how(settings: Settings) -> dict[str, Any]:
    """How the objective is minimised, as `transfer_batch` takes it."""
    optimiser = optimiser_of(settings.optimiser)
    given = {"learning_rate": settings.learning_rate, "average": settings.average or None}
    if settings.optimiser == "lbfgs" and settings.history != HISTORY:
        given["history"] = settings.history
    given = {name: value for name, value in given.items() if value is not None}
    optimiser = partial(optimiser, **given) if given else optimiser
    return {"parametrisation": settings.parametrisation, "optimiser": optimiser}


def as_transfer(settings: Settings, content: Tensor, style: Tensor | Sequence[Style]) -> Transfer:
    """The transfer of images `(1, 3, H, W)`, sRGB in [0, 1], resized already.

    Raises:
        ImageError: if `init` is a file that cannot be read.
        SettingError: if there are weights of styles, and not one for each.
    """
    names = ("strength", "alpha_beta", "seed", "tv_weight", "colours", "style_loss", "objective")
    chosen: dict[str, Any] = {name: getattr(settings, name) for name in names}
    chosen |= {"content_layers": settings.content_weights, "style_layers": settings.layer_weights}
    file = settings.start_file
    init = load_image(file, settings.size) if file else settings.init
    return Transfer(content, weighed(style, settings.style_weights), init=init, **chosen)
