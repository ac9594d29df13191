"""The command line: its words and their help; `stylelab.cli.commands` does the work.

PyTorch and all that needs it is imported where it is used, so that `stylelab --help` comes at once.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from stylelab import __version__
from stylelab.cli.exits import MISUSED, complain, guarded
from stylelab.errors import SettingError
from stylelab.runs.notebooks import PROFILES, is_named

ABOUT = """\
Image Style Transfer Using Convolutional Neural Networks (Gatys, Ecker, Bethge 2016), figure by
figure: regenerate the paper's figures, or paint a photograph of yours in the style of a painting.
"""
EXAMPLES = """\
examples:
  stylelab figures                          all figures, offline, in minutes on a laptop
  stylelab figures 02 --profile smoke       one of them, tiny, to see that all is well
  stylelab verify build/quick-vgg19-mini    do they show what the paper says?
  stylelab transfer photo.jpg painting.jpg -o out.png
  stylelab transfer pagoda swirling_night -o out.png --alpha-beta 1e-2
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

        return {
            "figures": commands.figures,
            "verify": commands.verify,
            "transfer": commands.transfer,
            "fetch": commands.fetch,
            "networks": commands.show_networks,
        }[arguments.command](arguments)

    return guarded(work)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where the rest is to be read."""

    def error(self, message: str) -> NoReturn:
        self.exit(complain(f"{message}; see {self.prog} --help", MISUSED))


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser("stylelab", description=ABOUT, epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"stylelab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def command(name: str, about: str, more: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=f"{about}. {more}".strip())

    profiles = "; ".join(
        f"{name}: {values['size']} pixels, {values['steps']} steps, {values['network']}, "
        f"{values['images']} images"
        for name, values in PROFILES.items()
    )
    figures = command(
        "figures",
        "regenerate the paper's figures",
        "Runs the notebooks in order. Figures (PNG), records of how they were made (JSON) and the "
        "executed notebooks go to the output folder; a notebook that fails is kept there too. "
        "What is up to date does not run again: same code, notebook, parameters, weights, images "
        "and versions, and nothing it made is gone or altered.",
    )
    figures.add_argument(
        "names", nargs="*", metavar="NAME", help="notebooks, by number or part of the name (all)"
    )
    figures.add_argument(
        "--profile", choices=PROFILES, default="quick", help=f"{profiles} (default: quick)"
    )
    figures.add_argument(
        "--images",
        choices=("embedded", "paper"),
        help="those that come with the package, or the paper's own, downloaded once",
    )
    figures.add_argument("--output", metavar="FOLDER", help="default: build/PROFILE-NETWORK")
    figures.add_argument("--notebooks", metavar="FOLDER", help="where the notebooks are")
    figures.add_argument(
        "--jobs",
        type=_count(1, 1024),
        default=1,
        metavar="N",
        help="notebooks run at the same time, where memory allows; they share the cores, unless "
        "OMP_NUM_THREADS is set (default: 1)",
    )
    figures.add_argument(
        "--force", action="store_true", help="run also the notebooks that are up to date"
    )
    figures.add_argument(
        "--checkpoint",
        action="store_true",
        help="keep in the output folder where optimisations stand, and go on from there when the "
        "run was interrupted or killed: the same command then ends with the same figures",
    )
    _shared(figures, network=None, size=None, steps=None, init=None, seed=None, device=None)

    verify = command(
        "verify",
        "check figures against the paper's claims",
        "For each figure of FOLDER: whether it is the one its record tells of, whether the paper's "
        "claims about it hold, and how near its numbers are to those of a reference.",
    )
    verify.add_argument(
        "folder", metavar="FOLDER", help="figures with their records, as stylelab figures makes"
    )
    verify.add_argument(
        "--reference", metavar="FOLDER", help="records of an earlier run to compare with"
    )
    verify.add_argument(
        "--network", type=_network, metavar="FILE", help="the weights, where they were a file"
    )

    transfer = command(
        "transfer",
        "paint a photograph in the style of a painting",
        "CONTENT and STYLE are image files or names of the gallery, such as pagoda and "
        "swirling_night. Ctrl-C ends the work early and keeps the best image so far.",
    )
    transfer.add_argument("content", metavar="CONTENT", help="what to show")
    transfer.add_argument("style", metavar="STYLE", help="how to paint it")
    transfer.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="a .png, .jpg or .tif file"
    )
    transfer.add_argument(
        "--alpha-beta",
        type=_ratio,
        default=1e-3,
        metavar="RATIO",
        help="weight of content over style: more keeps more of the photograph, less gives more of "
        "the painting; the paper uses 1e-4 to 1e-1 (default: 1e-3)",
    )
    transfer.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="keep in FILE where the work stands, and go on from there when it was interrupted or "
        "killed: the same command then ends with the same picture; removed at the end",
    )
    transfer.add_argument(
        "--bits",
        type=int,
        choices=(8, 16),
        default=8,
        help="of each colour in a .png or .tif file (default: 8)",
    )
    transfer.add_argument(
        "--levels",
        type=_count(1, 16),
        default=1,
        metavar="N",
        help="coarse to fine: N sizes, each twice the last, with --steps on each "
        "(default: 1, the paper; 3 with --steps 100 is quick)",
    )
    _shared(
        transfer,
        network="vgg19-mini",
        size=512,
        steps=300,
        init="content",
        seed=0,
        device="auto",
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
        help="a network, an image of the paper's, images for all of those, or all "
        "(default: what --profile paper needs)",
    )
    command("networks", "list the networks")
    return parser


def _shared(parser: argparse.ArgumentParser, **defaults: object) -> None:
    """The options of all optimisations; None stands for the default of profile and notebook."""

    def add(flag: str, text: str, **reading: object) -> None:
        default = defaults[flag]
        text += f" (default: {'as profile and notebook say' if default is None else default})"
        parser.add_argument(f"--{flag}", default=default, help=text, **reading)

    starts = ("content", "style", "noise")
    add("network", "see stylelab networks", type=_network, metavar="NAME|FILE")
    add("size", "longer side of the images", type=_count(1, 65536), metavar="PIXELS")
    add("steps", "steps of the optimisation", type=_count(0), metavar="N")
    add("init", "the image that a transfer starts from", choices=starts)
    add("seed", "of the white noise", type=_count(0), metavar="N")
    add("device", "where to compute", type=_device, metavar="auto|cpu|cuda|mps")


def _count(least: int, most: int = 2**63 - 1):
    """A reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most}, got {text!r}"
            )
        return int(text)

    return read


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0, such as 1e-3, got {text!r}")
    return value


def _network(text: str) -> str:
    if not is_named(text) and not Path(text).is_file():
        from stylelab import networks

        known = ", ".join(networks.names())
        raise argparse.ArgumentTypeError(f"{text!r} is neither a file nor one of {known}")
    return text


def _device(text: str) -> str:
    from stylelab import networks

    try:
        networks.pick_device(text)
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
