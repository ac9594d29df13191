"""The command line: its words and their help. `stylelab.cli.commands` does the work.

PyTorch is imported where it is used, so that `stylelab --help` answers at once.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn

from stylelab import __version__
from stylelab.cli.arguments import add_settings, device, network, path, size, whole_number
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (that of this process when None); returns the exit code.

    What goes wrong is one line on stderr; wrong use and `--help` end with SystemExit.
    """
    threads.wait_passively()

    def work() -> int:
        arguments = _parser().parse_args(argv)
        from stylelab.cli import commands

        return getattr(commands, arguments.function)(arguments)

    return guarded(work)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where to read more."""

    def parse_known_args(self, args=None, namespace=None) -> Any:
        self.given = list(args or ())
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

    def command(name: str, about: str, more: str = "", function: str = "") -> _Parser:
        added = commands.add_parser(name, help=about, description=f"{about}. {more}".strip())
        added.set_defaults(function=function or name)
        return added

    _add_transfer(
        command(
            "transfer",
            "paint a photograph in the style of a painting",
            "CONTENT and STYLE are image files (PNG, JPEG, TIFF, WebP, GIF, BMP, AVIF or JPEG "
            "2000; HEIC with an extra) or names of the gallery, such as pagoda and "
            "swirling_night. Ctrl-C ends the work early and keeps the best image so far.",
        )
    )
    _add_figures(
        command(
            "figures",
            "regenerate the paper's figures",
            "Runs the notebooks in order. Figures (PNG), records of how they were made (JSON) and "
            "the executed notebooks go to the output folder; a notebook that fails is kept there "
            "too. A notebook that is up to date does not run again: nothing that it depends on has "
            "changed, and everything it made is still there.",
        )
    )
    verify = command(
        "verify",
        "check figures against the paper's claims",
        "For each figure of FOLDER: whether its record belongs to it, whether the paper's claims "
        "about it hold, and how near its numbers are to those of a reference.",
    )
    verify.add_argument(
        "folder", metavar="FOLDER", type=path, help="figures and records by stylelab figures"
    )
    verify.add_argument(
        "--reference", metavar="FOLDER", type=path, help="records of an earlier run to compare with"
    )
    verify.add_argument(
        "--network", metavar="FILE", type=network, help="the weights, if they were a file"
    )
    fetch = command(
        "fetch",
        "download networks and the paper's images, once",
        "They are verified and kept in the cache folder, which STYLELAB_CACHE moves.",
    )
    fetch.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a network, an image of the paper, images for all of these, or all "
        "(default: what --profile paper needs)",
    )
    command("networks", "list the networks", function="list_networks")
    lecture = command(
        "lecture",
        "make one page of the pictures of notebook 06, for lectures",
        "The page needs no network and no server.",
    )
    lecture.add_argument(
        "run", metavar="RUN", type=path, help="folder of a run, such as build/quick-vgg19-mini"
    )
    lecture.add_argument("page", metavar="FILE.html", type=path, help="the page to write")
    lecture.add_argument(
        "--quality",
        type=whole_number(1, 95),
        default=80,
        metavar="Q",
        help="of the pictures, which are JPEGs (default: 80)",
    )
    distil = command(
        "distil",
        "train a small network that stands in for a large one, as vgg19-mini does for VGG-19",
        "The same command goes on with an interrupted training.",
    )
    distil.add_argument(
        "--teacher", type=network, required=True, metavar="NAME|FILE", help="the large network"
    )
    distil.add_argument(
        "--images", type=path, required=True, metavar="FOLDER", help="training images"
    )
    distil.add_argument(
        "--output", type=path, required=True, metavar="FOLDER", help="for the trained network"
    )
    distil.add_argument(
        "--pooling", choices=("avg", "max"), help="of the teacher (default: its own)"
    )
    _add_device(distil, "auto")
    recipe = distil.add_argument_group("recipe")
    for each in fields(Recipe):
        flag, default = f"--{each.name.replace('_', '-')}", each.default
        about = f"{each.metadata['help']} (default: {'none' if default == '' else default})"
        kind, metavar = type(default), "FILE" if default == "" else "N"
        recipe.add_argument(flag, type=kind, default=default, metavar=metavar, help=about)
    return parser


def _add_transfer(transfer: argparse.ArgumentParser) -> None:
    transfer.add_argument("content", metavar="CONTENT", type=path, help="what to show")
    transfer.add_argument("style", metavar="STYLE", type=path, help="how to paint it")
    main = transfer.add_argument_group("first of all")
    main.add_argument(
        "-o", "--output", metavar="OUT", type=path, required=True, help="a .png, .jpg or .tif file"
    )
    add_settings(main, ("size", "alpha_beta", "steps"), size=size)
    method = transfer.add_argument_group("method")
    names = ("init", "seed", "content_layer", "style_layers", "levels", "tv_weight")
    add_settings(method, names)
    add_settings(method, ("network",), network=network)
    machine = transfer.add_argument_group("machine and files")
    _add_device(machine, "auto")
    machine.add_argument(
        "--bits",
        type=int,
        choices=(8, 16),
        default=8,
        help="of each colour in a .png or .tif file (default: 8)",
    )
    machine.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=path,
        help="save progress in FILE. After an interruption the same command continues from there "
        "and ends with the same picture. FILE is removed at the end",
    )


def _add_figures(figures: argparse.ArgumentParser) -> None:
    profiles = "; ".join(
        f"{name}: {values['size']} pixels, {values['steps']} steps, {values['network']}, "
        f"{values['images']} images"
        for name, values in PROFILES.items()
    )
    figures.add_argument(
        "names", nargs="*", metavar="NAME", help="notebooks, by number or part of the name (all)"
    )
    main = figures.add_argument_group("first of all")
    main.add_argument(
        "--profile", choices=PROFILES, default="quick", help=f"{profiles} (default: quick)"
    )
    main.add_argument(
        "--output", metavar="FOLDER", type=path, help="(default: build/PROFILE-NETWORK)"
    )
    main.add_argument(
        "--force", action="store_true", help="also run the notebooks that are up to date"
    )
    changed = figures.add_argument_group("parameters that differ from the profile's")
    unchanged = {"default": "as profile and notebook say"}
    add_settings(changed, ("network",), network=network, **unchanged)
    add_settings(changed, ("size", "steps", "init", "seed"), **unchanged)
    changed.add_argument(
        "--images",
        choices=("embedded", "paper"),
        help="the images of the package, or the paper's own, downloaded once",
    )
    machine = figures.add_argument_group("machine and files")
    _add_device(machine, None)
    machine.add_argument(
        "--jobs",
        type=whole_number(1, 1024),
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
    machine.add_argument(
        "--notebooks", metavar="FOLDER", type=path, help="(default: those of the repository)"
    )


def _add_device(group: argparse._ActionsContainer, default: str | None) -> None:
    group.add_argument(
        "--device",
        type=device,
        default=default,
        metavar="auto|cpu|cuda|mps",
        help="where to compute (default: auto)",
    )
