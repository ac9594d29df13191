"""The settings of a transfer, each declared once.

`Settings` checks them; the command line's flags, the playground's controls and the record in a
picture's metadata (`stylelab.runs.metadata`) are all made from the `Option` of each. What they ask
for is in `stylelab.runs.calls`. Nothing here imports PyTorch, so that `stylelab --help` answers at
once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from stylelab.errors import SettingError
from stylelab.files.text import json_object
from stylelab.runs.options import Option, shares

RATE = 0.05  # Adam's, where none is given
HISTORY = 20  # L-BFGS's
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
    content_layers: Mapping[str, float] = _setting(
        {"conv4_2": 1.0},
        "Content at",
        "the layers whose features are matched to those of the photograph, one in the paper, with "
        "weights relative to each other if these differ, such as conv4_2=1,conv3_2=0.5",
        most=HEAVIEST,
        usual=(0, 5),
        metavar="LAYERS",
        also="content_layer",
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
        "the image that the optimisation starts from; a FILE of yours is resized to CONTENT's size",
        choices=("content", "style", "noise"),
        file=True,
    )
    steps: int = _setting(100, "Steps", "steps of the optimiser", most=1_000_000)
    seed: int = _setting(
        0, "Seed", "seed of the white noise; no effect on other starts", most=2**31 - 1
    )
    levels: int | None = _setting(
        None,
        "Levels",
        "coarse to fine: N sizes, each twice the last, with all steps on each; 1 is the paper, "
        "3 with 50 steps is quick",
        kind=int,
        least=1,
        most=16,
        unset="1 up to 1024 pixels; above, half the steps at each larger size",
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
        also="colors",
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
    )
    optimiser: str = _setting(
        "lbfgs",
        "Optimiser",
        "L-BFGS, as in the paper; or Adam: less memory, about three times the steps",
        choices=("lbfgs", "adam"),
        also="optimizer",
    )
    history: int = _setting(
        HISTORY,
        "History",
        "steps that L-BFGS remembers; each takes the memory of two pictures",
        least=1,
        most=100,
    )
    learning_rate: float | None = _setting(
        None,
        "Rate",
        "how far Adam moves each pixel, or frequency, in one step",
        kind=float,
        least=1e-6,
        most=10,
        usual=(1e-3, 1),
        first=RATE,
        metavar="RATE",
        unset=f"{RATE:g}",
    )
    average: float = _setting(
        0.0,
        "Average",
        "of Adam's pictures: 0 keeps that of lowest loss; 0.98 makes a mean of about the last 50, "
        "in which each counts 0.98 of the one after it",
        most=0.9999,
        usual=(0, 0.9999),
        metavar="0..1",
    )
    pooling: str | None = _setting(
        None,
        "Pooling",
        "how the network pools: averages, as in the paper, or maxima, as VGG was trained",
        kind=str,
        choices=("avg", "max"),
        unset="the network's own",
    )
    style_loss: str = _setting(
        "gram",
        "Style loss",
        "what of a style is matched: Gram matrices, as in the paper; covariances; mean and "
        "covariance by the Wasserstein-2 distance; or sliced, sorted values in many directions",
        choices=("gram", "covariance", "wasserstein", "sliced"),
    )
    objective: str = _setting(
        "means",
        "Objective",
        "means: content and style as a strength or ratio weighs them, in a network of mean "
        "activation 1; authors: as in the authors' released code, in a full network as it was "
        "trained, with content weight 1, or --alpha-beta, and style weights 1e3 / N_l^2",
        choices=("means", "authors"),
    )
    convention: str | None = _setting(
        None,
        "Input",
        "what a file of weights takes for an image: RGB, as torchvision's, or BGR, as Caffe's",
        kind=str,
        choices=("torchvision", "caffe"),
        unset="the file's own, or torchvision's",
    )

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            object.__setattr__(self, name, option.check(getattr(self, name), name))
        if self.learning_rate is not None and self.optimiser == "lbfgs":
            raise SettingError(
                "learning_rate is Adam's: choose the optimiser adam, or leave it out"
            )
        if self.average and self.optimiser == "lbfgs":
            raise SettingError("average is Adam's: choose the optimiser adam, or leave it out")

    @property
    def content_weights(self) -> dict[str, float]:
        """The share of alpha of each content layer whose weight is above 0; they sum to 1."""
        return self._weights(self.content_layers)

    @property
    def layer_weights(self) -> dict[str, float]:
        """w_l of equation 5 for each style layer whose weight is above 0; they sum to 1.

        Of the authors' objective they are factors of its weights, and need not sum to 1.
        """
        return self._weights(self.style_layers)

    def _weights(self, layers: Mapping[str, float]) -> dict[str, float]:
        found = shares(layers)
        return {layer: layers[layer] for layer in found} if self.objective == "authors" else found

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are matched."""
        return (*self.content_weights, *self.layer_weights)

    @property
    def goal(self) -> tuple:
        """What the losses and their weights depend on: equal for equal ones."""
        weighed = ("strength", self.strength) if self.alpha_beta is None else self.alpha_beta
        layers = self.content_weights, self.layer_weights
        return weighed, *layers, self.tv_weight, self.style_weights

    @property
    def dial(self) -> str:
        """How content and style are weighed, in words."""
        if self.objective == "authors":
            return "the authors' weights"
        if self.alpha_beta is None:
            return f"strength {self.strength:.2g}"
        return f"α/β {self.alpha_beta:.1e}"

    @property
    def style_size(self) -> int:
        """The longer side of the styles' images."""
        return max(1, round(self.size * self.style_scale))

    @property
    def start_file(self) -> str | None:
        """The file that `init` names, if it does."""
        return None if self.init in OPTIONS["init"].choices else self.init

    def as_dict(self) -> dict[str, object]:
        """The settings by name, of types that JSON knows."""
        plain = {name: dict(getattr(self, name)) for name in ("content_layers", "style_layers")}
        return {**vars(self), **plain, "style_weights": [*self.style_weights]}

    def to_json(self) -> str:
        """The settings as JSON, which `from_json` reads."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings in `text`; SettingError if it holds anything else, or a wrong value."""
        values = json_object(text)
        if values is None or not set(values) <= set(OPTIONS):
            names = ", ".join(OPTIONS)
            raise SettingError(f"settings must be a JSON object of {names}; got {text[:80]!r}")
        return cls(**values)


OPTIONS: dict[str, Option] = {each.name: each.metadata["option"] for each in fields(Settings)}
# What may change while a transfer runs.
LIVE = ("strength", "alpha_beta", "style_weights", "content_layers", "style_layers", "tv_weight")
LIVE += ("steps",)
