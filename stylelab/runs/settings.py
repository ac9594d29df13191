"""What one transfer is asked for: checked, and kept as JSON in the metadata of its picture."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import torch

from stylelab import __version__
from stylelab.errors import ImageError, SettingError
from stylelab.images import read_metadata
from stylelab.synthesis import STARTS, equal_weights
from stylelab.vgg import CONTENT_LAYER, LAYERS, STYLE_LAYERS, VGG

LIVE = ("alpha_beta", "content_layer", "style_layers", "steps")  # may change during a transfer


@dataclass(frozen=True)
class Settings:
    """The settings of a transfer, valid from the start.

    Attributes:
        network: a network as `networks.load` takes it.
        size: longer side of both images, pixels.
        alpha_beta: weight of the mean content loss over that of the mean style loss.
        content_layer: the layer matched in content.
        style_layers: from a style layer to its weight relative to the others: w_l is this over
            the sum of all. Equal ones are the paper's.
        init: start from "content", "style" or white "noise".
        steps: L-BFGS steps.
        seed: of the white noise.

    Raises:
        SettingError: for a value out of range.
    """

    network: str = "vgg19-mini"
    size: int = 256
    alpha_beta: float = 1e-2
    content_layer: str = CONTENT_LAYER
    style_layers: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(STYLE_LAYERS, 1.0)
    )
    init: str = "content"
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        def check(name: str, fine: bool, expected: str) -> None:
            if not fine:
                raise SettingError(f"{name} must be {expected}, got {getattr(self, name)!r}")

        check("network", isinstance(self.network, str) and self.network, "a name or a path")
        for name, least in (("size", 1), ("steps", 0), ("seed", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            check(name, whole and least <= value < 2**63, f"a whole number from {least}")
        check("alpha_beta", _is_weight(self.alpha_beta), "a number from 0 to 1e30")
        check("content_layer", self.content_layer in LAYERS, "a layer of VGG-19, as conv4_2")
        weights = self.style_layers
        check(
            "style_layers",
            isinstance(weights, Mapping)
            and all(layer in LAYERS for layer in weights)
            and all(_is_weight(weight) for weight in weights.values())
            and 0 < sum(weights.values()) < math.inf,
            "layers of VGG-19 with weights from 0 to 1e30, one of them above 0",
        )
        check("init", self.init in STARTS, f"one of {', '.join(STARTS)}")
        object.__setattr__(self, "alpha_beta", float(self.alpha_beta))
        frozen = {layer: float(weights[layer]) for layer in LAYERS if layer in weights}
        object.__setattr__(self, "style_layers", MappingProxyType(frozen))

    @property
    def style_weights(self) -> dict[str, float]:
        """w_l of each style layer whose weight is above 0; they sum to 1."""
        used = {layer: weight for layer, weight in self.style_layers.items() if weight > 0}
        if len(set(used.values())) == 1:  # to the last bit what `transfer` uses
            return equal_weights(list(used))
        return {layer: weight / sum(used.values()) for layer, weight in used.items()}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are matched."""
        return (self.content_layer, *self.style_weights)

    @property
    def objective(self) -> tuple:
        """What the objective depends on: equal for equal objectives."""
        return self.alpha_beta, self.content_layer, self.style_weights

    def as_dict(self) -> dict[str, object]:
        """The settings by name, of types that JSON knows."""
        return {**vars(self), "style_layers": dict(self.style_layers)}

    def to_json(self) -> str:
        """The settings as JSON, which `from_json` reads."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """The settings in `text`; SettingError if it holds anything else, or a wrong value."""
        values = _parse(text)
        names = [each.name for each in fields(cls)]
        if values is None or (unknown := sorted(set(values) - set(names))):
            found = f"it has {unknown[0]!r}" if values else "it is none"
            raise SettingError(f"settings must be a JSON object of {', '.join(names)}; {found}")
        return cls(**values)


def metadata(
    settings: Settings,
    images: Mapping[str, Mapping[str, str]],
    network: VGG,
    **outcome: object,
) -> dict[str, str]:
    """The texts that a picture made with `settings` is saved with.

    Args:
        images: "content" and "style", each with the "file" it came from and its "sha256".
        network: the network used.
        outcome: what else there is to say: losses, seconds, ...
    """
    record = {
        **images,
        **settings.as_dict(),
        **{"network": network.name, "network_sha256": network.sha256, "pooling": network.pooling},
        **outcome,
        **{"device": str(network.input.weight.device)},
        **{"stylelab": __version__, "torch": torch.__version__},
    }
    return {"Software": f"stylelab {__version__}", "Comment": json.dumps(record)}


def read_settings(path: str | os.PathLike[str]) -> tuple[Settings, dict]:
    """The settings in a PNG saved with `metadata`, and the whole record.

    Records without layers, of earlier versions, are of transfers with the paper's.

    Raises:
        ImageError: if the file is not a PNG, or holds no settings of a transfer.
        SettingError: if it holds a wrong value.
    """
    record = _parse(read_metadata(path).get("Comment", ""))
    names = [each.name for each in fields(Settings)]
    if record is None or set(names) - set(record) - {"content_layer", "style_layers"}:
        raise ImageError(
            f"{path} holds no settings; choose a PNG saved by this app or by stylelab transfer"
        )
    return Settings(**{name: record[name] for name in names if name in record}), record


def _parse(text: str) -> dict | None:
    """The object that a JSON text holds, if it holds one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_weight(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value < 1e30  # NaN is not; sums and squares stay finite
