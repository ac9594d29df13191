"""Readers of command-line arguments, each from a text to a checked value."""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from stylelab.errors import SettingError
from stylelab.runs.notebooks import is_named
from stylelab.runs.options import Option
from stylelab.runs.settings import OPTIONS, Settings

DEFAULTS = Settings().as_dict()


def path(text: str) -> str:
    """A path, in which a leading ~ is the user's home."""
    if "\0" in text:
        raise argparse.ArgumentTypeError("a file's name cannot contain a NUL character")
    return os.path.expanduser(text)


def reader(option: Option) -> Callable[[str], Any]:
    """What reads the value of `option`."""

    def read(text: str) -> Any:
        try:
            return option.read(text, "the value")
        except SettingError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def number(kind: type, least: float = 0, most: float = 1e9) -> Callable[[str], Any]:
    """What reads an int or a float from `least` to `most`."""
    return reader(Option(kind, "", "", least=least, most=most))


def size(text: str) -> int | str:
    """A number of pixels, or "original"."""
    if text == "original":
        return text
    try:
        return OPTIONS["size"].read(text, "the value")
    except SettingError as error:
        raise argparse.ArgumentTypeError(f"{error}; or write original") from None


def network(text: str) -> str:
    """The name of a network, or the path of a file that can be read."""
    if is_named(text):
        return text
    file = path(text)
    try:
        with open(file, "rb") as weights:
            weights.read(1)
    except FileNotFoundError:
        from stylelab import networks

        known = ", ".join(networks.names())
        raise argparse.ArgumentTypeError(f"{text!r} is neither a file nor one of {known}") from None
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be read ({error.strerror})") from None
    return file


def device(text: str) -> str:
    """The name of a device that this machine has."""
    from stylelab.engine.devices import pick_device

    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError(f"expected auto, cpu, cuda, cuda:1 or mps, got {text!r}")
    try:
        pick_device(text)
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_settings(
    group: argparse._ActionsContainer, names: Iterable[str], *, default: str = "", **readers: Any
) -> None:
    """Add flags for the settings `names`, with their defaults unless `default` describes another.

    Args:
        default: what the help says in place of the default; the value is then None.
        readers: readers of single settings, in place of their option's.
    """
    for name in names:
        option, value = OPTIONS[name], DEFAULTS[name]
        shown = default or (",".join(value) if isinstance(value, dict) else value)
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=readers.get(name) or reader(option),
            default=None if default else value,
            metavar=option.metavar or "|".join(option.choices),
            help=f"{option.help} (default: {shown})",
        )
