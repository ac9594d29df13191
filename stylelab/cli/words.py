"""The arguments of `stylelab transfer`, in the order of its help."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from stylelab.cli.arguments import (
    CONTINUES,
    DEVICE,
    FILE,
    FOLDER,
    METHOD,
    add_settings,
    devices,
    gigabytes,
    network,
    number,
    path,
    size,
    start,
)
from stylelab.runs.presets import PRESETS


def add_transfer(parser: argparse.ArgumentParser) -> None:
    """Add them to the parser of the command."""
    images = [
        parser.add_argument("content", metavar="CONTENT", type=path, help="what to show"),
        parser.add_argument("style", metavar="STYLE", nargs="+", type=path, help="how to paint it"),
    ]
    group = parser.add_argument_group("first of all")
    add = group.add_argument
    add("-o", "--output", required=True, help="a .png, .tif, .webp or .jpg file", **FILE)
    add_settings(group.add_mutually_exclusive_group().add_argument, "strength", "alpha_beta")
    add_settings(add, "size", "steps", size=size)
    about = "; ".join(f"{name} is {_as_flags(values)}" for name, values in PRESETS.items())
    about = f"settings for a purpose, over which others hold: {about}"
    add("--preset", choices=tuple(PRESETS), help=about)
    add = parser.add_argument_group("method").add_argument
    add_settings(add, *METHOD, network=network, init=start)
    add = parser.add_argument_group("control of style, regions, colours and scale").add_argument
    add_settings(add, "style_weights", "colours", "style_scale")
    several = {"metavar": "FILE", "type": path, "nargs": "+"}
    add("--content-mask", help="grey images over CONTENT: white where a style is", **several)
    about = "as many over STYLE: white where the style is taken from (default: all of STYLE)"
    add("--style-mask", help=about, **several)
    add("--strokes", help="a painting whose fine strokes STYLE is first painted in", **FILE)
    add = parser.add_argument_group("machine and files").add_argument
    about = (
        "a PNG by stylelab transfer or the playground: all its settings, and its images if they "
        "are not given and are here; what is given beside it holds"
    )
    add("--settings", action=_saved_settings(images), help=about, **FILE)
    about = f"{DEVICE['help']}; or several, which share out the tiles: cuda:0,cuda:1"
    add("--device", default="auto", metavar="DEVICE", type=devices, help=about)
    about = (
        "compute in tiles of this side: the same picture in less memory (default: tiles only where "
        "the memory is short, as large as fit)"
    )
    add("--tile", type=number(int, 32, 65536), metavar="PIXELS", help=about)
    about = "how much memory the work may take, such as 4GB (default: what is free)"
    add("--memory", type=gigabytes, metavar="GB", help=about)
    about = (
        "keep all that grows with the picture in files in this folder, which are gone at the end: "
        "far less memory for a large picture on a CPU"
    )
    add("--scratch", help=about, **FOLDER)
    precisions = "of the convolutions; tf32 and bfloat16 are faster on a GPU (default: float32)"
    choices = {"choices": ("float32", "tf32", "bfloat16"), "metavar": "float32|tf32|bfloat16"}
    add("--precision", default="float32", help=precisions, **choices)
    depths = "bits of each colour in a .png or .tif file (default: 8)"
    add("--bits", type=int, choices=(8, 16), default=8, help=depths)
    about = "give the picture the transparency of CONTENT, in a .png, .tif or .webp file"
    add("--keep-alpha", action="store_true", help=about)
    about = (
        "refuse images of more pixels (default: STYLELAB_MAX_PIXELS if that is set, or 50000000)"
    )
    add("--max-pixels", type=number(int, 1, 1e18), metavar="N", help=about)
    about = "save the best picture so far every N steps, beside the output, as OUTPUT-step0050.png"
    add("--save-every", type=number(int, 1), metavar="N", help=about)
    about = f"save progress in FILE, which is removed at the end. {CONTINUES} picture"
    add("--checkpoint", help=about, **FILE)


def _as_flags(settings: Mapping[str, Any]) -> str:
    """Settings as they are written on the command line."""
    flags = []
    for name, value in settings.items():
        if isinstance(value, dict):
            value = ",".join(f"{layer}={weight:g}" for layer, weight in value.items())
        flags.append(f"--{name.replace('_', '-')} {value}")
    return " ".join(flags)


def _saved_settings(images: Sequence[argparse.Action]) -> type[argparse.Action]:
    """An action that stores its value; the arguments `images` need not be given then."""

    class Saved(argparse.Action):
        def __call__(self, parser, namespace, values, option_string=None) -> None:
            setattr(namespace, self.dest, values)
            for each in images:
                each.required = False

    return Saved
