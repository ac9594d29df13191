"""`stylelab batch`: what is wrong with a plan is found before the work; then the work."""

from argparse import ArgumentParser, Namespace
from importlib.util import find_spec
from pathlib import Path

from stylelab.cli.arguments import (
    DEVICE,
    FOLDER,
    METHOD,
    add_cluster,
    add_settings,
    network,
    number,
    path,
    start_or_previous,
)
from stylelab.cli.exits import INTERRUPTED, complain, say
from stylelab.errors import SettingError, StylelabError
from stylelab.runs.batch import plan
from stylelab.runs.settings import OPTIONS


def add_batch(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    group = parser.add_argument_group("first of all")
    add, several = group.add_argument, {"metavar": "FILE|FOLDER", "type": path, "nargs": "+"}
    parser.add_argument("plan", metavar="PLAN", nargs="?", type=path, help="a table of pictures")
    add("--content", help="photographs: files, folders or names of the gallery", **several)
    add("--style", help="paintings, the same", **several)
    about = "a film's frames, by name; with --init previous each starts from the last result"
    add("--frames", help=about, **FOLDER)
    add("-o", "--output", required=True, help="for the pictures, the table and the page", **FOLDER)
    dials = group.add_mutually_exclusive_group().add_argument
    add_settings(dials, "strength", "alpha_beta", several=True)
    add_settings(add, "size", "steps", several=True)
    add("--force", action="store_true", help="also make the pictures that are there already")
    add = parser.add_argument_group("method").add_argument
    names = (*METHOD, "colours", "style_scale")
    add_settings(add, *names, several=True, network=network, init=start_or_previous)
    add = parser.add_argument_group("machine").add_argument
    add("--device", default="auto", metavar="DEVICE", help=DEVICE["help"])
    about = "pictures at the same time, if memory allows; they share the cores (default: 1)"
    add("--jobs", type=number(int, 1, 1024), default=1, metavar="N", help=about)
    add_cluster(add)


def batch(arguments: Namespace) -> int:
    """Make the pictures of a plan; exit code 1 if some could not be made."""
    if find_spec("skimage") is None:
        raise ModuleNotFoundError(name="skimage")
    pictures = plan.once(_planned(arguments))
    output = Path(arguments.output)
    from stylelab.runs.batch.run import DONE, FAILED, run_batch  # brings PyTorch

    names = ("jobs", "scheduler", "device", "force")
    options = {name: getattr(arguments, name) for name in names}
    try:
        ended = run_batch(pictures, output, resources=dict(arguments.resources), **options)
    except KeyboardInterrupt:
        return complain(f"interrupted; what was finished before is in {output}", INTERRUPTED)
    failed = sum(each.status == FAILED for each in ended)
    made = sum(each.status == DONE and each.is_new for each in ended)
    there = len(ended) - made - failed
    said = f"{made} pictures made, {there} were there already"
    if failed:
        return complain(f"{said}, {failed} failed: their rows in {output / 'table.csv'} say why")
    say(f"{said}; look at {output / 'index.html'}, table.csv and table.sqlite are beside it")
    return 0


def _planned(arguments: Namespace) -> list[plan.Picture]:
    """The pictures that the arguments describe."""
    named = {name: getattr(arguments, name, None) for name in OPTIONS}
    choices = {name: values for name, values in named.items() if values}
    is_film = arguments.frames is not None
    if plan.PREVIOUS in choices.get("init", ()):
        if not is_film or len(choices["init"]) > 1:
            raise SettingError("--init previous is the only start of --frames, and of nothing else")
        del choices["init"]
        make = plan.frames
    else:
        make = plan.combined
    sources = (arguments.plan, arguments.content, arguments.frames)
    if sum(map(bool, sources)) != 1 or bool(arguments.plan) == bool(arguments.style):
        raise SettingError("give a PLAN; or --style, and --content or --frames")
    if arguments.plan:
        return list(plan.read(Path(arguments.plan), choices))
    if is_film and not Path(arguments.frames).is_dir():
        raise StylelabError(f"{arguments.frames} is not a folder; --frames is one of images")
    contents = plan.images_of(arguments.content or [arguments.frames])
    return list(make(contents, plan.images_of(arguments.style), choices))
