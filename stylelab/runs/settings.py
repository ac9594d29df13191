"""The settings of a transfer, each declared once.

`Settings` checks them; the command line's flags, the playground's controls and the record in a
picture's metadata are all made from the `Option` of each. Nothing here imports PyTorch until a
transfer is described, so that `stylelab --help` answers at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from stylelab import __version__
from stylelab.errors import ImageError, SettingError
from stylelab.runs.options import LAYERS, Option

if TYPE_CHECKING:
    from torch import Tensor

    from stylelab.controls.styles import Style
    from stylelab.synthesis import Transfer
    from stylelab.vgg import VGG

HEAVIEST = 1e30  # squares and sums of weights stay finite in float32


def _setting(default: Any, label: str, help: str, **more: Any) -> Any:
    """A field of `Settings` with its `Option`."""
    about = {"option": Option(more.pop("kind", type(default)), label, help, **more)}
    return field(default_factory=lambda: default, metadata=about)


@dataclass(frozen=True)
class Settings:
    """The settings of a transfer, checked when they are made.

    Raises:
        SettingError: for a value out of range.
    """

    network: str = _setting(
        "vgg19-mini",
        "Network",
        "the network whose features are compared: a name that stylelab networks lists, or a file",
        metavar="NAME|FILE",
    )
    size: int = _setting(
        512, "Size", "longer side of both images", least=1, most=65536, metavar="PIXELS"
    )
    strength: float = _setting(
        0.5,
        "Strength",
        "how much of the painting: 0 is nearly the photograph, 1 hardly more than the painting's "
        "texture",
        most=1,
        usual=(0, 1),
        metavar="0..1",
    )
    alpha_beta: float | None = _setting(
        None,
        "α/β",
        "in place of the strength, the paper's weight of content over style, such as 1e-3",
        kind=float,
        most=HEAVIEST,
        usual=(1e-5, 10),
        metavar="RATIO",
        unset="as the strength says",
    )
    content_layer: str = _setting(
        "conv4_2",
        "Content at",
        "the layer whose features are matched to those of the photograph",
        choices=LAYERS,
        metavar="LAYER",
    )
    style_layers: Mapping[str, float] = _setting(
        dict.fromkeys(("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"), 1.0),
        "Style at",
        "the layers matched in style, with weights relative to each other if these differ, such as "
        "conv1_1,conv2_1 or conv1_1=1,conv2_1=0.5",
        most=HEAVIEST,
        usual=(0, 5),
        metavar="LAYERS",
    )
    init: str = _setting(
        "content",
        "Start",
        "the image that the optimisation starts from",
        choices=("content", "style", "noise"),
        metavar="content|style|noise",
    )
    steps: int = _setting(100, "Steps", "L-BFGS steps", most=1_000_000)
    seed: int = _setting(
        0, "Seed", "seed of the white noise; no effect on other starts", most=2**31 - 1
    )
    levels: int = _setting(
        1,
        "Levels",
        "coarse to fine: N sizes, each twice the last, with all steps on each; 1 is the paper, "
        "3 with 50 steps is quick",
        least=1,
        most=16,
    )
    tv_weight: float = _setting(
        0.0,
        "Smoothing",
        "weight of the total variation, which smooths the picture; 0 is the paper",
        most=HEAVIEST,
        usual=(0, 1),
        metavar="WEIGHT",
    )
    colours: str = _setting(
        "style",
        "Colours",
        "whose: the painting's; or the photograph's, either exactly, with the style of luminances "
        "alone, or by recolouring the painting first, to match",
        choices=("style", "luminance", "match"),
        metavar="style|luminance|match",
    )
    style_scale: float = _setting(
        1.0,
        "Style scale",
        "longer side of STYLE over that of CONTENT: 0.5 makes finer strokes, 2 larger ones",
        least=0.05,
        most=20,
        usual=(0.25, 4),
        metavar="S",
    )
    style_weights: tuple[float, ...] = _setting(
        (),
        "Style weights",
        "weights of several styles relative to each other, one for each STYLE, or for each mask",
        most=HEAVIEST,
        metavar="WEIGHT",
    )
    parametrisation: str = _setting(
        "frequencies",
        "Moves",
        "what the optimiser moves: frequencies of the image, which leaves fewer fringes, or its "
        "pixels, as in the paper",
        choices=("frequencies", "pixels"),
        metavar="frequencies|pixels",
    )

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            object.__setattr__(self, name, option.check(getattr(self, name), name))

    @property
    def layer_weights(self) -> dict[str, float]:
        """w_l of equation 5 for each style layer whose weight is above 0; they sum to 1."""
        used = {layer: weight for layer, weight in self.style_layers.items() if weight > 0}
        return {layer: weight / sum(used.values()) for layer, weight in used.items()}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are matched."""
        return (self.content_layer, *self.layer_weights)

    @property
    def objective(self) -> tuple:
        """What the objective depends on: equal for equal objectives."""
        weighed = ("strength", self.strength) if self.alpha_beta is None else self.alpha_beta
        return weighed, self.content_layer, self.layer_weights, self.tv_weight

    @property
    def dial(self) -> str:
        """How content and style are weighed, in words."""
        if self.alpha_beta is None:
            return f"strength {self.strength:.2g}"
        return f"α/β {self.alpha_beta:.1e}"

    @property
    def style_size(self) -> int:
        """The longer side of the styles' images."""
        return max(1, round(self.size * self.style_scale))

    def as_transfer(self, content: Tensor, style: Tensor | Sequence[Style]) -> Transfer:
        """The transfer of images `(1, 3, H, W)`, sRGB in [0, 1], resized already.

        Raises:
            SettingError: if there are weights of styles, and not one for each.
        """
        from stylelab.controls.styles import Style
        from stylelab.synthesis import Transfer

        if self.style_weights:
            styles = list(style) if isinstance(style, Sequence) else [Style(style)]
            if len(styles) != len(self.style_weights):
                raise SettingError(
                    f"style_weights has {len(self.style_weights)} numbers and there are "
                    f"{len(styles)} styles or regions; give a number for each"
                )
            pairs = zip(styles, self.style_weights, strict=True)
            style = [replace(each, weight=weight) for each, weight in pairs]
        names = ("strength", "alpha_beta", "content_layer", "init", "seed", "tv_weight", "colours")
        chosen = {name: getattr(self, name) for name in names}
        return Transfer(content, style, style_layers=self.layer_weights, **chosen)

    def as_dict(self) -> dict[str, object]:
        """The settings by name, of types that JSON knows."""
        plain = {"style_layers": dict(self.style_layers), "style_weights": [*self.style_weights]}
        return {**vars(self), **plain}

    def to_json(self) -> str:
        """The settings as JSON, which `from_json` reads."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings in `text`; SettingError if it holds anything else, or a wrong value."""
        values = _json_object(text)
        if values is None or not set(values) <= set(OPTIONS):
            names = ", ".join(OPTIONS)
            raise SettingError(f"settings must be a JSON object of {names}; got {text[:80]!r}")
        return cls(**values)


OPTIONS: dict[str, Option] = {each.name: each.metadata["option"] for each in fields(Settings)}
# What may change while a transfer runs.
LIVE = ("strength", "alpha_beta", "content_layer", "style_layers", "steps")


def metadata(
    settings: Settings, images: Mapping[str, object], network: VGG, **outcome: object
) -> dict[str, str]:
    """The texts that a picture made with `settings` is saved with.

    Args:
        images: "content" and "style", each with the "file" it came from and its "sha256". Several
            styles are a list of such; "content_mask", "style_mask" and "strokes", where there are
            any, are lists, too.
        network: the network used.
        outcome: the losses, the steps done and the like. No times: the same command is to give
            the same bytes.
    """
    import torch

    record = {
        **images,
        **settings.as_dict(),
        "network": network.name,  # its file's name alone
        "network_sha256": network.sha256,
        "pooling": network.pooling,
        **outcome,
        "device": str(network.device),
        "stylelab": __version__,
        "torch": torch.__version__,
    }
    return {"Software": f"stylelab {__version__}", "Comment": json.dumps(record)}


def read_settings(path: str | os.PathLike[str]) -> tuple[Settings, dict]:
    """The settings in a PNG saved with `metadata`, and the whole record.

    Settings that the record lacks have their defaults.

    Raises:
        ImageError: if the file is not a PNG, or holds no settings of a transfer.
        SettingError: if it holds a wrong value.
    """
    from stylelab.images import read_metadata

    record = _json_object(read_metadata(path).get("Comment", ""))
    if record is None or not {"network", "size", "alpha_beta", "init", "steps"} <= set(record):
        raise ImageError(
            f"{path} holds no settings; choose a PNG saved by the playground or by "
            "stylelab transfer"
        )
    return Settings(**{name: record[name] for name in OPTIONS if name in record}), record


def _json_object(text: str) -> dict | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
