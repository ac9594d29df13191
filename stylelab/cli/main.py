"""The command line: its words and their help. `stylelab.cli.commands` does the work.

PyTorch is imported where it is used, so that `stylelab --help` answers at once.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn

from stylelab import __version__
from stylelab.cli.arguments import add_settings, device, network, number, path, size
from stylelab.cli.exits import MISUSED, complain, guarded
from stylelab.distil.recipe import Recipe
from stylelab.engine import threads
from stylelab.runs.notebooks import PROFILES

ABOUT = """\
Image Style Transfer Using Convolutional Neural Networks (Gatys, Ecker, Bethge 2016), figure by
figure: regenerate the paper's figures, or paint a photograph of yours in the style of a painting.
"""
EXAMPLES = """\
examples:
  stylelab transfer photo.jpg painting.jpg -o out.png
  stylelab transfer pagoda swirling_night -o out.png --alpha-beta 1e-3
  stylelab figures                          all figures, offline, in minutes on a laptop
  stylelab figures 02 --profile smoke       one of them, tiny, to see that everything works
  stylelab verify build/quick-vgg19-mini    do they show what the paper says?
  stylelab fetch                            download what --profile paper needs

exit codes:
  0 done; 1 the work failed, such as a file that cannot be read, downloaded or written, or a
  figure that does not hold; 2 wrong use, such as an unknown name or a number out of its range;
  130 interrupted (Ctrl-C, or SIGTERM)
"""
FILE = {"metavar": "FILE", "type": path}
FOLDER = {"metavar": "FOLDER", "type": path}
DEVICE = {
    "metavar": "auto|cpu|cuda|mps",
    "type": device,
    "help": "where to compute (default: auto)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (that of this process when None); returns the exit code.

    What goes wrong is one line on stderr; wrong use and `--help` end with SystemExit.
    """
    threads.wait_passively()

    def work() -> int:
        arguments = _parser().parse_args(argv)
        from stylelab.cli import commands

        return getattr(commands, arguments.command)(arguments)

    return guarded(work)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where to read more."""

    def parse_known_args(self, args=None, namespace=None) -> Any:
        self.given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if dashed := [each for each in self.given if re.fullmatch(r"-[^-].*\.\w+", each)]:
            message += f"; if {dashed[0]} is a file, write ./{dashed[0]}"
        self.exit(complain(f"{message}; see {self.prog} --help", MISUSED))


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser("stylelab", description=ABOUT, epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"stylelab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for add_arguments, about, more in (
        (
            _transfer,
            "paint a photograph in the style of a painting",
            "CONTENT and STYLE are image files (PNG, JPEG, TIFF, WebP, GIF, BMP, AVIF or JPEG "
            "2000; HEIC with an extra) or names of the gallery, such as pagoda and "
            "swirling_night. Ctrl-C ends the work early and keeps the best image so far.",
        ),
        (
            _figures,
            "regenerate the paper's figures",
            "Runs the notebooks in order. Figures (PNG), records of how they were made (JSON) and "
            "the executed notebooks go to the output folder, also those that fail. A notebook does "
            "not run again while nothing that it depends on has changed and everything it made is "
            "still there.",
        ),
        (
            _verify,
            "check figures against the paper's claims",
            "For each figure of FOLDER: whether its record belongs to it, whether the paper's "
            "claims about it hold, and how near its numbers are to those of a reference.",
        ),
        (
            _fetch,
            "download networks and the paper's images, once",
            "They are verified and kept in the cache folder, which STYLELAB_CACHE moves.",
        ),
        (_networks, "list the networks", ""),
        (
            _lecture,
            "put the pictures of notebook 06 on one page, for lectures",
            "The page is one file and needs no internet.",
        ),
        (
            _distil,
            "train a small network that stands in for a large one",
            "So vgg19-mini was made. The same command continues an interrupted training.",
        ),
    ):
        name = add_arguments.__name__.strip("_")
        add_arguments(commands.add_parser(name, help=about, description=f"{about}. {more}"))
    return parser


def _transfer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("content", metavar="CONTENT", type=path, help="what to show")
    parser.add_argument("style", metavar="STYLE", type=path, help="how to paint it")
    main = parser.add_argument_group("first of all")
    main.add_argument("-o", "--output", required=True, help="a .png, .jpg or .tif file", **FILE)
    add_settings(main, ("size", "alpha_beta", "steps"), size=size)
    method = parser.add_argument_group("method")
    names = ("network", "init", "seed", "content_layer", "style_layers", "levels", "tv_weight")
    add_settings(method, names, network=network)
    machine = parser.add_argument_group("machine and files")
    machine.add_argument("--device", default="auto", **DEVICE)
    depth = "bits of each colour in a .png or .tif file (default: 8)"
    machine.add_argument("--bits", type=int, choices=(8, 16), default=8, help=depth)
    machine.add_argument(
        "--checkpoint",
        help="save progress in FILE. After an interruption the same command continues from there "
        "and ends with the same picture. FILE is removed at the end",
        **FILE,
    )


def _figures(parser: argparse.ArgumentParser) -> None:
    profiles = "; ".join(
        f"{name}: {values['size']} pixels, {values['steps']} steps, {values['network']}, "
        f"{values['images']} images"
        for name, values in PROFILES.items()
    )
    about = "notebooks, by number or part of the name (default: all)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=about)
    main = parser.add_argument_group("first of all")
    about = f"{profiles} (default: quick)"
    main.add_argument("--profile", choices=PROFILES, default="quick", help=about)
    main.add_argument("--output", help="(default: build/PROFILE-NETWORK)", **FOLDER)
    about = "also run the notebooks that are up to date"
    main.add_argument("--force", action="store_true", help=about)
    changed = parser.add_argument_group("parameters that differ from the profile's")
    names, said = ("network", "size", "steps", "init", "seed"), "as profile and notebook say"
    add_settings(changed, names, default=said, network=network)
    about = "the images of the package, or the paper's own, downloaded once"
    changed.add_argument("--images", choices=("embedded", "paper"), help=about)
    machine = parser.add_argument_group("machine and files")
    machine.add_argument("--device", **DEVICE)
    machine.add_argument(
        "--jobs",
        type=number(int, 1, 1024),
        default=1,
        metavar="N",
        help="notebooks to run at the same time, if memory allows; they share the cores, unless "
        "OMP_NUM_THREADS is set (default: 1)",
    )
    machine.add_argument(
        "--checkpoint",
        action="store_true",
        help="save the progress of each optimisation in the output folder. After an interruption "
        "the same command continues from there and ends with the same figures",
    )
    machine.add_argument("--notebooks", help="(default: those of the repository)", **FOLDER)


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="figures and records by stylelab figures", **FOLDER)
    parser.add_argument("--reference", help="records of an earlier run to compare with", **FOLDER)
    about = "the weights, if they were a file"
    parser.add_argument("--network", type=network, metavar="FILE", help=about)


def _fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a network, an image of the paper, images for all of these, or all "
        "(default: what --profile paper needs)",
    )


def _networks(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def _lecture(parser: argparse.ArgumentParser) -> None:
    about = "folder of a run, such as build/quick-vgg19-mini"
    parser.add_argument("run", metavar="RUN", type=path, help=about)
    parser.add_argument("page", metavar="FILE.html", type=path, help="the page to write")
    quality, about = number(int, 1, 95), "JPEG quality of the pictures (default: 80)"
    parser.add_argument("--quality", type=quality, default=80, metavar="Q", help=about)


def _distil(parser: argparse.ArgumentParser) -> None:
    teacher = {"type": network, "metavar": "NAME|FILE", "help": "the large network"}
    parser.add_argument("--teacher", required=True, **teacher)
    parser.add_argument("--images", required=True, help="training images", **FOLDER)
    parser.add_argument("--output", required=True, help="for the trained network", **FOLDER)
    about = "of the teacher (default: its own)"
    parser.add_argument("--pooling", choices=("avg", "max"), help=about)
    parser.add_argument("--device", default="auto", **DEVICE)
    recipe = parser.add_argument_group("recipe")
    for each in fields(Recipe):
        flag, default = f"--{each.name.replace('_', '-')}", each.default
        about = f"{each.metadata['help']} (default: {'none' if default == '' else default})"
        value = FILE if default == "" else {"type": number(type(default)), "metavar": "N"}
        recipe.add_argument(flag, default=default, help=about, **value)
