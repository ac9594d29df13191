"""What one option of a transfer may be, and how it is described to people."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from stylelab.errors import SettingError

# As every VGG names its layers; a network knows which of them it has.
LAYERS = tuple(f"conv{block}_{i}" for block in range(1, 6) for i in range(1, 5))


@dataclass(frozen=True)
class Option:
    """How one setting is described, shown and checked.

    Attributes:
        kind: int, float, str, dict for a weight of each layer, or tuple for numbers.
        label: a few characters beside a control.
        help: one phrase for the command line and for a control's tip.
        least, most: the range of a number or of each weight, both ends included.
        usual: the range that a slider offers.
        first: where the slider of a number that may be None begins.
        choices: the texts allowed; any but "" when empty.
        file: also a file may be named: a text with a dot or a slash.
        also: another spelling of its flag.
        metavar: stands for the value in the command line's help, if not its choices do.
        unset: what None stands for, where None is allowed.
    """

    kind: type
    label: str
    help: str
    least: float = 0
    most: float = math.inf
    usual: tuple[float, float] | None = None
    first: float = 1e-3
    choices: tuple[str, ...] = ()
    file: bool = False
    also: str = ""
    metavar: str = "N"
    unset: str = ""

    def check(self, value: object, name: str, text: str | None = None) -> Any:
        """`value` as a setting holds it.

        Raises:
            SettingError: if it is not allowed; the message names `name` and, if given, the `text`
                that the value was read from.
        """
        if value is None and text is None and self.unset:
            return None
        if not self._allows(value):
            given = value if text is None else text
            raise SettingError(f"{name} must be {self._wanted()}, got {given!r}")
        if isinstance(value, Mapping):
            return MappingProxyType({layer: float(value[layer]) for layer in sorted(value)})
        return tuple(map(float, value)) if self.kind is tuple else self.kind(value)

    def read(self, text: str, name: str = "the value") -> Any:
        """The setting written as `text`, such as "1e-3" or "conv1_1=1,conv2_1=0.5"."""
        value: object = text
        if self.kind is dict:
            pairs = [each.partition("=") for each in text.split(",")]
            value = {layer.strip(): _number(weight or "1") for layer, _, weight in pairs}
        elif self.kind is not str:
            value = _number(text)
        return self.check(value, name, text)

    def _allows(self, value: object) -> bool:
        if self.kind is str:
            if not isinstance(value, str):
                return False
            is_file = self.file and re.search(r"[./\\]", value) is not None
            return is_file or value in (self.choices or (value or None,))
        if self.kind is dict:
            known = isinstance(value, Mapping) and set(value) <= set(LAYERS)
            return known and any(value.values()) and all(map(self._in_range, value.values()))
        if self.kind is tuple:
            known = isinstance(value, (list, tuple)) and all(map(self._in_range, value))
            return known and (not value or any(value))
        return self._in_range(value) and (self.kind is float or isinstance(value, int))

    def _in_range(self, value: object) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.least <= value <= self.most  # NaN is not

    def _wanted(self) -> str:
        """The values allowed, as a phrase."""
        if self.kind is str:
            own = ", or a file such as start.png" if self.file else ""
            return f"one of {', '.join(self.choices)}{own}" if self.choices else "a name or a path"
        least, most = (f"{end:.12g}".replace("e+", "e") for end in (self.least, self.most))
        if self.kind is dict:
            return f"layers with weights from {least} to {most}, one of them above 0"
        if self.kind is tuple:
            return f"numbers from {least} to {most}, one of them above 0"
        return f"a {'whole ' if self.kind is int else ''}number from {least} to {most}"


def shares(layers: Mapping[str, float]) -> dict[str, float]:
    """The weights of layers that are above 0, over their sum."""
    used = {layer: weight for layer, weight in layers.items() if weight > 0}
    return {layer: weight / sum(used.values()) for layer, weight in used.items()}


def _number(text: str) -> int | float | None:
    """The number that `text` writes in ASCII digits; None if it writes none."""
    with suppress(ValueError):  # of digits in a wrong order, or too many of them
        if re.fullmatch("[0-9.eE+-]+", text):
            return int(text) if text.isdecimal() else float(text)
    return None
