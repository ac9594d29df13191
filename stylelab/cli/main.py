"""The command line: its words and their help. `stylelab.cli.commands` does the work.

PyTorch is imported where it is used, so that `stylelab --help` answers at once.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn

from stylelab import __version__
from stylelab.cli.arguments import (
    CONTINUES,
    DEVICE,
    FILE,
    FOLDER,
    add_cluster,
    add_settings,
    network,
    number,
    path,
)
from stylelab.cli.batch import add_batch
from stylelab.cli.exits import MISUSED, complain, guarded
from stylelab.cli.words import add_transfer
from stylelab.distil.recipe import Recipe
from stylelab.runs.notebooks import PROFILES
from stylelab.runs.settings import OPTIONS

ABOUT = """\
Image Style Transfer Using Convolutional Neural Networks (Gatys, Ecker, Bethge 2016), figure by
figure: regenerate the paper's figures, or paint a photograph of yours in the style of a painting.
"""
EXAMPLES = """\
examples:
  stylelab transfer photo.jpg painting.jpg -o out.png
  stylelab transfer pagoda swirling_night -o out.png --strength 0.7
  stylelab batch --content photos/ --style paintings/ -o out
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
    for add_arguments in (
        _transfer,
        _batch,
        _figures,
        _verify,
        _fetch,
        _networks,
        _lecture,
        _distil,
        _export,
    ):
        told = inspect.getdoc(add_arguments)
        name, summary = add_arguments.__name__.strip("_"), told.partition("\n")[0]
        add_arguments(commands.add_parser(name, help=summary, description=told))
    return parser


# The docstring of each function is the help of its command.


def _transfer(parser: argparse.ArgumentParser) -> None:
    """Paint a photograph in the style of a painting.

    CONTENT and STYLE are image files (PNG, JPEG, TIFF, WebP, GIF, BMP, AVIF or JPEG 2000; HEIC with
    an extra) or names of the gallery, such as pagoda and swirling_night. With --size original the
    result has the size of CONTENT. Ctrl-C ends the work early and keeps the best image so far.

    Several STYLEs are mixed, or each goes to a region of its own: the N-th --content-mask says
    where the N-th STYLE is, white on black, and the N-th --style-mask where in STYLE it is taken
    from. Soft edges are allowed. One STYLE may go to several regions. Where no mask is white the
    photograph stays.
    """
    add_transfer(parser)


def _batch(parser: argparse.ArgumentParser) -> None:
    """Paint many pictures: every photograph in every style, or what a table says.

    Each combination is made once, and what is there already stays, as long as files, settings and
    network are the same. OUTPUT gets pictures/, with a record beside each picture, a table
    (table.csv and table.sqlite) and a page to look through (index.html). A picture that fails is a
    row with the reason; the others are made, and the exit code is 1.

    PLAN is a CSV or TSV file: content and style, and a column for each setting that differs, as
    alpha_beta. Several values of an option are combined, and hold where PLAN says nothing.
    """
    add_batch(parser)


def _figures(parser: argparse.ArgumentParser) -> None:
    """Regenerate the paper's figures.

    Runs the notebooks in order. Figures (PNG), records of how they were made (JSON) and the
    executed notebooks go to the output folder, also those that fail. A notebook does not run again
    while nothing that it depends on has changed and everything it made is still there.
    """
    names = "notebooks, by number or part of the name (default: all)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    add = parser.add_argument_group("first of all").add_argument
    profiles = (
        f"{name}: {values['size']} pixels, {values['steps']} steps, {values['network']}, "
        f"{values['images']} images"
        for name, values in PROFILES.items()
    )
    about = f"{'; '.join(profiles)} (default: quick)"
    add("--profile", choices=PROFILES, default="quick", help=about)
    add("--output", help="(default: build/PROFILE-NETWORK)", **FOLDER)
    add("--force", action="store_true", help="also run the notebooks that are up to date")
    add = parser.add_argument_group("parameters that differ from the profile's").add_argument
    default = "as profile and notebook say"
    add_settings(add, "network", "size", "steps", "seed", default=default, network=network)
    about = f"the image that optimisations start from (default: {default})"
    add("--init", choices=OPTIONS["init"].choices, help=about)
    about = "the images of the package, or the paper's own, downloaded once"
    add("--images", choices=("embedded", "paper"), help=about)
    add = parser.add_argument_group("machine and files").add_argument
    add("--device", **DEVICE)
    about = (
        "notebooks to run at the same time, if memory allows; they share the cores, unless "
        "OMP_NUM_THREADS is set (default: 1)"
    )
    add("--jobs", type=number(int, 1, 1024), default=1, metavar="N", help=about)
    add_cluster(add)
    about = f"save the progress of each optimisation in the output folder. {CONTINUES} figures"
    add("--checkpoint", action="store_true", help=about)
    add("--notebooks", help="(default: those of the repository)", **FOLDER)


def _verify(parser: argparse.ArgumentParser) -> None:
    """Check figures against the paper's claims.

    For each figure of FOLDER: whether its record belongs to it, whether the paper's claims about it
    hold, and how near its numbers are to those of a reference.
    """
    add = parser.add_argument
    add("folder", help="figures and records by stylelab figures", **FOLDER)
    add("--reference", help="records of an earlier run to compare with", **FOLDER)
    add("--network", type=network, metavar="FILE", help="the weights, if they were a file")


def _fetch(parser: argparse.ArgumentParser) -> None:
    """Download networks and the paper's images, once.

    They are verified and kept in the cache folder, which STYLELAB_CACHE moves.
    """
    about = (
        "a network, an image of the paper, images for all of these, or all "
        "(default: what --profile paper needs)"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=about)


def _networks(parser: argparse.ArgumentParser) -> None:
    """List the networks."""


def _lecture(parser: argparse.ArgumentParser) -> None:
    """Put the pictures of notebook 06 on one page, for lectures.

    The page is one file and needs no internet.
    """
    add = parser.add_argument
    add("run", metavar="RUN", type=path, help="folder of a run, such as build/quick-vgg19-mini")
    add("page", metavar="FILE.html", type=path, help="the page to write")
    quality = "JPEG quality of the pictures (default: 80)"
    add("--quality", type=number(int, 1, 95), default=80, metavar="Q", help=quality)


def _export(parser: argparse.ArgumentParser) -> None:
    """Write a full network to a small file, with weights of 8 bits.

    It is for sharing: VGG-19 down to conv5_1 has 13 MB so, in place of 575. The error that this
    makes at each layer is measured on photographs, printed, and kept in the file, which is a
    network like any other.
    """
    add = parser.add_argument
    add("network", metavar="NAME|FILE", type=network, help="a full network, such as vgg19-caffe")
    add("-o", "--output", required=True, help="a .safetensors file", **FILE)
    add("--to", default="conv5_1", metavar="LAYER", help="its last layer (default: conv5_1)")
    add_settings(add, "pooling", "convention")


def _distil(parser: argparse.ArgumentParser) -> None:
    """Train a small network that stands in for a large one.

    So vgg19-mini was made. The same command continues an interrupted training.
    """
    add = parser.add_argument
    add("--teacher", required=True, type=network, metavar="NAME|FILE", help="the large network")
    add("--images", required=True, help="training images", **FOLDER)
    add("--output", required=True, help="for the trained network", **FOLDER)
    add("--pooling", choices=("avg", "max"), help="of the teacher (default: its own)")
    add("--device", default="auto", **DEVICE)
    add = parser.add_argument_group("recipe").add_argument
    for each in fields(Recipe):
        flag, default = f"--{each.name.replace('_', '-')}", each.default
        about = f"{each.metadata['help']} (default: {'none' if default == '' else default})"
        value = FILE if default == "" else {"type": number(type(default)), "metavar": "N"}
        add(flag, default=default, help=about, **value)
