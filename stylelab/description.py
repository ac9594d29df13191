"""One style transfer, described: what `stylelab.synthesis` makes a picture of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from stylelab.controls.colours import MODES
from stylelab.controls.statistics import TERMS
from stylelab.controls.styles import HEAVIEST, Style, as_styles
from stylelab.errors import SettingError, check_number
from stylelab.objective import RANGE
from stylelab.rows import weights_of
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, check_image, check_same_aspect

STARTS = ("content", "style", "noise")
OBJECTIVES = ("means", "authors")


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
            ratio is given; `stylelab.controls.strength` says what it stands for.
        content_layers: the layers matched in content, one in the paper; or their weights by name.
        style_layers: the layers matched in style, each with w_l = 1/layers; or their w_l by name.
        init: start from "content", "style" (resized to the content's size), white "noise", or an
            image `(1, 3, H, W)` of your own, resized too.
        seed: of the white noise; other starts ignore it.
        tv_weight: weight of the total variation, 0 in the paper.
        range_weight: weight of pixels that leave [0, 1], over alpha + beta; 0 in the paper.
        colours: "style"; or the photograph's, by "luminance" or by "match": see
            `stylelab.controls.colours`.
        style_loss: what is matched of a style: "gram", the paper's matrices, or "covariance",
            "wasserstein" or "sliced" (`stylelab.controls.statistics`); the same in all of a batch.
        objective: "means", weighed by strength or ratio; or that of the "authors"' released code,
            for a network that is not rescaled (`stylelab.synthesis.as_released`).

    Raises:
        SettingError: for an image that is not such a tensor, or a value out of range.
    """

    content: Tensor
    style: Tensor | Sequence[Style]
    alpha_beta: float | None = None
    strength: float = 0.5
    content_layers: Sequence[str] | Mapping[str, float] = (CONTENT_LAYER,)
    style_layers: Sequence[str] | Mapping[str, float] = STYLE_LAYERS
    init: str | Tensor = "content"
    seed: int = 0
    tv_weight: float = 0.0
    range_weight: float = RANGE
    colours: str = "style"
    style_loss: str = "gram"
    objective: str = "means"

    def __post_init__(self) -> None:
        check_image(self.content, "content")
        self.styles  # noqa: B018  # is checked
        for kind in ("content", "style"):
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
        named = {"colours": MODES, "style_loss": tuple(TERMS), "objective": OBJECTIVES}
        for name, known in named.items():
            if (given := getattr(self, name)) not in known:
                raise SettingError(f"{name} must be one of {', '.join(known)}, got {given!r}")
        if self.objective == "authors" and self.strength != type(self).strength:
            raise SettingError("the objective authors has no strength; use alpha_beta instead")
        if self.objective == "authors" and self.style_loss != "gram":
            raise SettingError("the objective authors is of Gram matrices; style_loss must be gram")
        check_number(self.seed, "seed", 2**63 - 1, whole=True)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are matched."""
        return (*self.content_layers, *self.style_layers)

    @property
    def content_weights(self) -> dict[str, float]:
        """The share of alpha of each content layer."""
        return weights_of(self.content_layers)

    @cached_property
    def styles(self) -> tuple[Style, ...]:
        """The styles of the picture, one or several."""
        return as_styles(self.style, self.content)

    @property
    def layer_weights(self) -> dict[str, float]:
        """w_l of each style layer."""
        return weights_of(self.style_layers)
