"""What the commands do, from the arguments that `stylelab.cli.main` has read to an exit code."""

from argparse import Namespace
from pathlib import Path

from stylelab import gallery
from stylelab import networks as nets
from stylelab.cli.batch import batch  # noqa: F401  # a command
from stylelab.cli.exits import FAILED, INTERRUPTED, complain, say
from stylelab.cli.transfer import transfer  # noqa: F401  # a command
from stylelab.errors import DownloadError, SettingError, StylelabError
from stylelab.runs import notebooks as runner


def figures(arguments: Namespace) -> int:
    """Run the notebooks and say how it went."""
    settings = ("network", "images", "size", "steps", "init", "seed", "device")
    overrides = {name: getattr(arguments, name) for name in settings}
    outcomes = runner.run_notebooks(
        arguments.names,
        profile=arguments.profile,
        overrides={name: value for name, value in overrides.items() if value is not None},
        output=arguments.output,
        notebooks=arguments.notebooks,
        jobs=arguments.jobs,
        scheduler=arguments.scheduler,
        resources=dict(arguments.resources),
        force=arguments.force,
        checkpoint=arguments.checkpoint,
    )
    if not outcomes:
        return complain("interrupted before the first notebook", INTERRUPTED)
    folder, failed = outcomes[0].path.parent, sum(bool(outcome.error) for outcome in outcomes)
    if any(outcome.interrupted for outcome in outcomes):
        return complain(f"interrupted; what was finished before is in {folder}", INTERRUPTED)
    if failed:
        return complain(f"{failed} of {len(outcomes)} notebooks failed; see {folder}")
    say(f"Figures, their records and the executed notebooks are in {folder}")
    return 0


def verify(arguments: Namespace) -> int:
    """Print a table of a folder's figures; the exit code says whether all of them hold."""
    from stylelab.figures.verify import verify  # needs the notebooks extra

    folder = Path(arguments.folder)
    reference = Path(arguments.reference) if arguments.reference else None
    for path in filter(None, (folder, reference)):
        if not path.is_dir():
            raise StylelabError(f"{path} is not a folder; stylelab figures makes one")
    table, well = verify(folder, reference=reference, network=arguments.network)
    say(table)
    return 0 if well else complain(f"not all figures of {folder} are as they should be; see above")


def fetch(arguments: Namespace) -> int:
    """Download what was asked for; one download that fails does not stop the others."""
    remote = [name for name in nets.names() if nets.info(name).url]
    pictures = gallery.names("paper")
    groups = {"images": pictures, "all": [*pictures, *remote]}
    asked = arguments.names or ["images", str(runner.PROFILES["paper"]["network"])]
    choices = [*groups, *remote, *pictures]
    for name in asked:
        if name not in choices:
            raise SettingError(
                f"there is nothing to fetch named {name!r}; choose from {', '.join(choices)}"
            )
    code = 0
    for name in dict.fromkeys(member for each in asked for member in groups.get(each, [each])):
        try:
            path = nets.fetch(name) if name in remote else gallery.path(name)
            say(f"{name:<18} {path}")
        except DownloadError as error:
            code = complain(error, FAILED)
    return code


def networks(arguments: Namespace) -> int:
    """Print the networks known by name."""
    print(f"{'name':<12} {'here':<9} {'size':>7}  {'licence':<36} what it is")
    for name in nets.names():
        source = nets.info(name)
        here = "fetch it" if not nets.is_cached(name) else "yes" if source.url else "always"
        size = f"{source.bytes / 1e6:.0f} MB" if source.bytes else "-"
        print(f"{name:<12} {here:<9} {size:>7}  {source.licence:<36} {source.description}")
    print("\n--network takes one of these names, random:SEED, or the path of a file with weights.")
    return 0


def lecture(arguments: Namespace) -> int:
    """Write the page of a run's pictures."""
    from stylelab.app.lecture import write_page

    page = write_page(Path(arguments.run), Path(arguments.page), quality=arguments.quality)
    say(f"{page}: {page.stat().st_size / 1e6:.1f} MB")
    return 0


def export(arguments: Namespace) -> int:
    """Write a network in 8 bits, and print the errors of its layers."""
    from stylelab.distil import eight_bits

    how = {"pooling": arguments.pooling, "convention": arguments.convention}
    network = nets.load(arguments.network, rescale=False, **how)
    errors = eight_bits.export(network, arguments.output, arguments.to)
    print(f"{'layer':<9}{'features':>9}{'style':>9}")
    for layer, found in errors.items():
        print(f"{layer:<9}{found['features']:>9.2%}{found['style']:>9.2%}")
    say(f"{arguments.output}: {Path(arguments.output).stat().st_size / 1e6:.1f} MB")
    return 0


def distil(arguments: Namespace) -> int:
    """Train a small network, and export it."""
    from dataclasses import fields

    from stylelab.distil.training import Recipe, train_and_export

    recipe = Recipe(**{each.name: getattr(arguments, each.name) for each in fields(Recipe)})
    images, output = Path(arguments.images), Path(arguments.output)
    return train_and_export(
        arguments.teacher, arguments.pooling, images, output, recipe, arguments.device
    )
