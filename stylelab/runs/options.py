"""What one option of a transfer may be, and how it is described to people."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from stylelab.errors import SettingError

LAYER = "conv[1-5]_[1-4]"  # as every VGG names its layers; the network knows which it has


@dataclass(frozen=True)
class Option:
    """How one setting is described, shown and checked.

    Attributes:
        kind: int, float, str, or dict for a weight of each layer.
        label: a few characters beside a control.
        help: one phrase for the command line and for a control's tip.
        least, most: the range of a number or of each weight, both ends included.
        usual: the range that a slider offers.
        choices: the texts allowed; any when empty.
        pattern: a regular expression that a text must match.
        expected: what error messages ask for; made from the above when empty.
        metavar: stands for the value in the command line's help.
        live: whether it may change while a transfer runs.
    """

    kind: type
    label: str
    help: str
    least: float = 0
    most: float = math.inf
    usual: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ".+"
    expected: str = ""
    metavar: str | None = None
    live: bool = False

    def check(self, value: object, name: str) -> Any:
        """`value` as a setting holds it; SettingError, naming `name`, if it is not allowed."""
        allowed = {dict: self._are_weights, str: self._is_text, float: self._in_range}
        if not allowed.get(self.kind, self._is_whole)(value):
            raise SettingError(f"{name} must be {self.wanted}, got {value!r}")
        if isinstance(value, Mapping):
            return MappingProxyType({layer: float(value[layer]) for layer in sorted(value)})
        return self.kind(value)

    def read(self, text: str, name: str) -> Any:
        """The setting written as `text`, such as "1e-3" or "conv1_1=1,conv2_1=0.5"."""
        value: object = text
        if self.kind is dict:
            pairs = [each.partition("=") for each in text.split(",")]
            value = {layer.strip(): _number(weight or "1") for layer, _, weight in pairs}
        elif self.kind is not str:
            value = _number(text)
        try:
            return self.check(value, name)
        except SettingError:
            raise SettingError(f"{name} must be {self.wanted}, got {text!r}") from None

    @property
    def wanted(self) -> str:
        """The values allowed, as a phrase."""
        if self.expected or self.choices:
            return self.expected or f"one of {', '.join(self.choices)}"
        least, most = (f"{end:.12g}".replace("e+", "e") for end in (self.least, self.most))
        if self.kind is dict:
            return f"layers with weights from {least} to {most}, one of them above 0"
        return f"a {'whole ' if self.kind is int else ''}number from {least} to {most}"

    def _are_weights(self, value: object) -> bool:
        return (
            isinstance(value, Mapping)
            and all(isinstance(name, str) and re.fullmatch(LAYER, name) for name in value)
            and all(map(self._in_range, value.values()))
            and any(value.values())
        )

    def _is_text(self, value: object) -> bool:
        matches = isinstance(value, str) and re.fullmatch(self.pattern, value, re.DOTALL)
        return bool(matches) and (not self.choices or value in self.choices)

    def _is_whole(self, value: object) -> bool:
        return isinstance(value, int) and self._in_range(value)

    def _in_range(self, value: object) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.least <= value <= self.most  # NaN is not


def _number(text: str) -> int | float | None:
    """The number that `text` writes in ASCII digits; None if it writes none."""
    if re.fullmatch("[0-9]{1,30}", text):
        return int(text)
    try:
        return float(text) if re.fullmatch("[0-9.eE+-]+", text) else None
    except ValueError:
        return None
