"""Types of command-line arguments: each reads a text as a checked value."""

import argparse
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from stylelab.errors import SettingError, StylelabError
from stylelab.files.local import readable
from stylelab.runs.batch.plan import PREVIOUS
from stylelab.runs.notebooks import is_named
from stylelab.runs.options import Option
from stylelab.runs.settings import OPTIONS, Settings

DEFAULTS = Settings().as_dict()


def argument(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """`read` as an argument's type: argparse shows the messages of ArgumentTypeError alone."""

    def checked(text: str) -> Any:
        try:
            return read(text)
        except StylelabError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def number(kind: type, least: float = 0, most: float = 1e9) -> Callable[[str], Any]:
    """The type of an int or a float from `least` to `most`."""
    return argument(Option(kind, "", "", least=least, most=most).read)


@argument
def path(text: str) -> str:
    """A path, in which a leading ~ is the user's home."""
    if "\0" in text:
        raise SettingError("a file's name cannot contain a NUL character")
    return os.path.expanduser(text)


@argument
def size(text: str) -> int | str:
    """A number of pixels, or "original"."""
    return text if text == "original" else OPTIONS["size"].read(text)


@argument
def network(text: str) -> str:
    """The name of a network, or the path of a file that can be read."""
    from stylelab import networks

    if is_named(text):
        return text
    file = path(text)
    if not os.path.exists(file):
        networks.info(text)  # says which are known
    return str(readable(file, SettingError, "a network or a file of weights"))


@argument
def start(text: str) -> str:
    """A way to start, or the path of a file that can be read."""
    text = OPTIONS["init"].read(text)
    if text in OPTIONS["init"].choices:
        return text
    readable(file := path(text), SettingError, "an image, or content, style or noise")
    return file  # not as a Path, which would make ./noise the noise


@argument
def start_or_previous(text: str) -> str:
    """A way to start, or "previous", from the picture of the frame before."""
    return text if text == PREVIOUS else start(text)


@argument
def device(text: str) -> str:
    """The name of a device that this machine has."""
    from stylelab.engine.devices import pick_device

    pick_device(text)
    return text


@argument
def devices(text: str) -> str:
    """The names of one or several devices that this machine has."""
    from stylelab.engine.devices import pick_devices

    pick_devices(text)
    return text


@argument
def gigabytes(text: str) -> float:
    """A number of bytes, written as 4GB or 800MB."""
    found = re.fullmatch(r"([0-9.]+) *([MG])B?", text.strip(), re.IGNORECASE)
    with suppress(ValueError):
        if found and (size := float(found[1]) * {"M": 1e6, "G": 1e9}[found[2].upper()]) > 0:
            return size
    raise SettingError(f"memory must be written as 4GB or 800MB, got {text!r}")


@argument
def resource(text: str) -> tuple[str, float]:
    """A resource of a worker and how much of it, such as GPU=1."""
    name, _, amount = text.partition("=")
    if not re.fullmatch(r"[\w.-]+", name):
        raise SettingError(f"a resource is a name and a number, such as GPU=1; got {text!r}")
    return name, Option(float, "", "", most=1e15).read(amount, name)


# The settings of the method; those that are tried first, as size and steps, come before them.
METHOD = ("network", "pooling", "convention", "objective", "init", "seed", "content_layers")
METHOD += ("style_layers", "style_loss", "levels", "parametrisation", "optimiser", "history")
METHOD += ("learning_rate", "average", "tv_weight")
CONTINUES = "After an interruption the same command continues from there and ends with the same"
FILE = {"metavar": "FILE", "type": path}
FOLDER = {"metavar": "FOLDER", "type": path}
DEVICE = {"metavar": "DEVICE", "type": device, "help": "auto (default), cpu, cuda, cuda:1 or mps"}


def add_settings(
    add_argument: Callable[..., object],
    *names: str,
    default: str = "",
    several: bool = False,
    **types: Any,
) -> None:
    """Add flags for the settings `names`; one that is not given has the value None.

    Args:
        add_argument: of a parser or of a group of its arguments.
        default: what the help says in place of the setting's default.
        several: whether each takes several values.
        types: types of single settings, in place of their option's.
    """
    for name in names:
        option, value = OPTIONS[name], DEFAULTS[name]
        shown = default or (",".join(value) if isinstance(value, dict) else value)
        shown = option.unset if shown is None else "all the same" if shown == [] else shown
        spellings = [f"--{each.replace('_', '-')}" for each in (name, option.also) if each]
        choices = [*option.choices, *(["FILE"] if option.file else [])]
        read, more = argument(option.read), {"nargs": "+"} if several else {}
        if option.kind is tuple:
            read, more = number(float, option.least, option.most), {"nargs": "+"}
        add_argument(
            *spellings,
            dest=name,
            type=types.get(name) or read,
            **more,
            metavar="|".join(choices) or option.metavar,
            help=f"{option.help} (default: {shown})",
        )


def add_cluster(add: Callable[..., object]) -> None:
    """Add the options of a Dask cluster."""
    about = (
        "the address of a Dask scheduler whose workers do the work, such as tcp://HOST:8786, or "
        "the JSON file with it; local starts a cluster of --jobs workers here (default: "
        "DASK_SCHEDULER_ADDRESS if set)"
    )
    where = os.environ.get("DASK_SCHEDULER_ADDRESS") or None
    add("--scheduler", default=where, metavar="ADDRESS", help=about)
    about = "what a worker must offer to be given work, such as GPU=1"
    add("--resources", type=resource, nargs="+", default=[], metavar="NAME=N", help=about)
