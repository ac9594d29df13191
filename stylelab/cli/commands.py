"""What the commands do, from the arguments that `stylelab.cli.main` has read to an exit code."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from stylelab import gallery, images
from stylelab import networks as nets
from stylelab.cli import sources
from stylelab.cli.exits import FAILED, INTERRUPTED, complain, say
from stylelab.controls.scales import mix_strokes
from stylelab.engine import memory
from stylelab.engine.checkpoint import Checkpoint
from stylelab.engine.coarse_to_fine import transfer_coarse_to_fine
from stylelab.engine.devices import pick_device
from stylelab.errors import DownloadError, ImageError, SettingError, StylelabError
from stylelab.files import decode
from stylelab.optimisation import optimiser_name
from stylelab.runs import notebooks as runner
from stylelab.runs.intermediate import SaveEvery
from stylelab.runs.metadata import metadata
from stylelab.runs.settings import Settings
from stylelab.synthesis import balance

SURELY = 1.25  # an estimate of memory may be wrong by a quarter


def transfer(arguments: Namespace) -> int:
    """Paint one image in the style of others; what can be wrong is found before the work."""
    saved = sources.Saved(arguments.settings) if arguments.settings else None
    files = sources.find(arguments, saved)
    originals = {source: decode.size_of(source.path) for source in files.pictures}
    checkpoint = Checkpoint(arguments.checkpoint) if arguments.checkpoint else None
    values, keep_alpha = sources.given(arguments, files), arguments.keep_alpha
    if arguments.size == "original":
        values["size"] = max(originals[files.content])
    settings = saved.merged(values) if saved else Settings(**values)
    kind = {"bits": arguments.bits, "alpha": keep_alpha, "side": settings.size}
    output = images.check_output(arguments.output, **kind)
    used = [source.path for source in files]
    _check_distinct(output, used, arguments.checkpoint, arguments.save_every)
    device = pick_device(arguments.device)
    network = nets.load(settings.network, device=device, **settings.loading)
    if saved and not arguments.network:
        saved.check_network(network)
    least = network.min_size(settings.layers)
    needs = f"network {network.name} needs at least {least} on each side"
    for source, sides in originals.items():
        if min(sides) < least:
            raise ImageError(
                f"{source.name} has {_sides(sides)} pixels; {needs}: choose a larger image"
            )
    optimiser, guided = settings.how["optimiser"], len(files.content_mask)
    need, sides = memory.needed_for_files(
        network,
        settings.layers,
        originals[files.content],
        [originals[each] for each in files.pictures[1:]],
        settings.size,
        str(device),
        optimiser,
        style_size=settings.style_size,
        starts=[decode.size_of(each.path) for each in files.start],
        guided=[*settings.layer_weights] * guided,
    )
    if need > SURELY * memory.free(str(device)):
        shortage = memory.shortage(network, need, sides, str(device))
        raise StylelabError(f"{shortage}; lower --size")
    loaded: list[torch.Tensor] = []
    for source in files.pictures:
        at, size = f"--size {settings.size}", settings.size
        if loaded and settings.style_scale != 1:
            at, size = f"{at} and --style-scale {settings.style_scale:g}", settings.style_size
        loaded.append(images.load_image(source.path, size))
        sides = loaded[-1].shape[:1:-1]
        if min(sides) < least:
            raise SettingError(
                f"{source.name} has {_sides(sides)} pixels at {at}; {needs}: choose a larger --size"
            )
        if max(sides) > max(originals[source]):
            say(
                f"{source.name} is enlarged from {_sides(originals[source])} pixels; "
                "--size original works at the size of CONTENT"
            )
    content, *paintings = loaded[: 1 + len(files.style)]
    one_style = len(files.style) == 1 and not (files.strokes or files.content_mask)
    if one_style and settings.init in ("content", "style") and torch.equal(content, paintings[0]):
        raise SettingError(
            f"CONTENT and STYLE are the same picture, {files.content.name}, which is the result "
            "already; choose another STYLE, or --init noise"
        )
    alpha = images.load_alpha(files.content.path, settings.size) if keep_alpha else None
    if keep_alpha and alpha is None:
        raise SettingError(f"{files.content.name} has no transparency; leave out --keep-alpha")
    asked = settings.as_transfer(content, sources.regions(files, content, paintings))
    watching = [*network.hooks, *([checkpoint] if checkpoint else [])]
    how = {"steps": settings.steps, **settings.how}
    for strokes in loaded[1 + len(files.style) :]:  # when all else is known to be right
        mixed = [mix_strokes(network, each, strokes, hooks=watching, **how) for each in paintings]
        if any(each.interrupted for each in mixed):
            raise KeyboardInterrupt
        paintings = [each.images for each in mixed]
        asked = settings.as_transfer(content, sources.regions(files, content, paintings))
    asked = balance(network, asked)
    weighed = f"alpha/beta {asked.alpha_beta:.3g}"
    if settings.alpha_beta is None:
        weighed = f"strength {settings.strength:g} ({weighed})"
    if settings.objective == "authors":
        weighed = f"the authors' weights (content {asked.alpha_beta:g})"
    shown = zip(files.style, paintings, strict=True)
    named = [f"{each.name} ({_sides(image.shape[:1:-1])})" for each, image in shown]
    say(
        f"{files.content.name} ({_sides(content.shape[:1:-1])}) in the style of "
        f"{' and '.join(named)}: network {network.name} with {network.pooling} pooling on "
        f"{device}, {weighed}, {settings.steps} steps of {optimiser_name(optimiser)} from "
        f"{files.start[0].name if files.start else settings.init}"
        + (f" on each of {settings.levels} levels" if settings.levels > 1 else "")
    )
    record = files.record()

    def save(image: Tensor, path: Path, found: dict) -> None:
        found = {"alpha_beta_used": asked.alpha_beta, "keep_alpha": keep_alpha, **found}
        texts = metadata(settings, record, network, **found)
        images.save_image(image, path, bits=arguments.bits, metadata=texts, alpha=alpha)

    if arguments.save_every:
        steps = settings.steps * settings.levels
        watching.append(SaveEvery(output, arguments.save_every, steps, save))
    levels = settings.levels
    result = transfer_coarse_to_fine(network, [asked], levels=levels, hooks=watching, **how)
    found = {"steps_done": result.steps, "first_loss": float(result.losses[0])}
    found |= {"best_loss": float(result.losses.min())}
    save(result.images, output, found | {"saved_loss": float(sum(result.final.values()))})
    if result.stuck:
        return complain(
            f"no step led to a finite loss after step {result.steps}; the best image so far is "
            f"{output}"
        )
    if result.interrupted:
        done = f"after {result.steps} of {settings.steps} steps"
        later = f"; the same command continues from {checkpoint.path}" if checkpoint else ""
        return complain(
            f"interrupted {done}; the best image so far is {output}{later}", INTERRUPTED
        )
    if checkpoint:
        checkpoint.remove()
    say(f"{output}: {result.steps} steps in {result.seconds:.0f} s")
    return 0


def _check_distinct(
    output: Path, paths: Sequence[Path], checkpoint: str | None, every: int | None
) -> None:
    """SettingError if what is written would replace one of the images."""
    if every and any(SaveEvery.is_of(output, path) for path in paths):
        raise SettingError("--save-every would replace one of the images; name another --output")
    if output.exists() and any(output.samefile(path) for path in paths):
        raise SettingError(f"--output {output} is one of the images; name another file")
    taken = [path.resolve() for path in (output, *paths)]
    if checkpoint and Path(checkpoint).resolve() in taken:
        raise SettingError(f"--checkpoint {checkpoint} is one of the images; name another file")


def _sides(sides: Sequence[int]) -> str:
    return f"{sides[0]} x {sides[1]}"


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
        force=arguments.force,
        checkpoint=arguments.checkpoint,
    )
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
