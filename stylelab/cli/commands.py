"""What the commands do, from the arguments that `stylelab.cli.main` has read to an exit code."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from stylelab import gallery, images
from stylelab import networks as nets
from stylelab.cli.exits import FAILED, INTERRUPTED, complain, say
from stylelab.engine import memory
from stylelab.engine.checkpoint import Checkpoint
from stylelab.engine.coarse_to_fine import transfer_coarse_to_fine
from stylelab.engine.devices import pick_device
from stylelab.errors import DownloadError, ImageError, SettingError, StylelabError
from stylelab.files import decode
from stylelab.files.local import sha256_of
from stylelab.optimisation import optimiser_name
from stylelab.runs import notebooks as runner
from stylelab.runs.intermediate import SaveEvery
from stylelab.runs.settings import OPTIONS, Settings, metadata
from stylelab.synthesis import balance

SURELY = 1.25  # an estimate of memory may be wrong by a quarter


def transfer(arguments: Namespace) -> int:
    """Paint one image in the style of another; what can be wrong is found before the work."""
    paths = {role: _find(getattr(arguments, role)) for role in ("content", "style")}
    originals = {role: decode.size_of(path) for role, path in paths.items()}
    checkpoint = Checkpoint(arguments.checkpoint) if arguments.checkpoint else None
    values = {name: getattr(arguments, name) for name in OPTIONS}
    if arguments.size == "original":
        values["size"] = max(originals["content"])
    settings, keep_alpha = Settings(**values), arguments.keep_alpha
    kind = {"bits": arguments.bits, "alpha": keep_alpha, "side": settings.size}
    output = images.check_output(arguments.output, **kind)
    used = paths | ({"start": Path(settings.start_file)} if settings.start_file else {})
    _check_distinct(output, used, arguments.checkpoint, arguments.save_every)
    device = pick_device(arguments.device)
    network = nets.load(settings.network, pooling=settings.pooling, device=device)
    least = network.min_size(settings.layers)
    needs = f"network {network.name} needs at least {least} on each side"
    for role, path in paths.items():
        if min(originals[role]) < least:
            raise ImageError(
                f"{path} has {_sides(originals[role])} pixels; {needs}: choose a larger image"
            )
    optimiser = settings.how["optimiser"]
    need, sides = memory.needed_for_files(
        network, settings.layers, *originals.values(), settings.size, str(device), optimiser
    )
    if need > SURELY * memory.free(str(device)):
        shortage = memory.shortage(network, need, sides, str(device))
        raise StylelabError(f"{shortage}; lower --size")
    loaded = {role: images.load_image(path, settings.size) for role, path in paths.items()}
    for role, path in paths.items():
        sides = loaded[role].shape[:1:-1]
        if min(sides) < least:
            raise SettingError(
                f"{path} has {_sides(sides)} pixels at --size {settings.size}; {needs}: choose a "
                "larger --size"
            )
        if max(sides) > max(originals[role]):
            say(
                f"{getattr(arguments, role)} is enlarged from {_sides(originals[role])} pixels; "
                "--size original works at the size of CONTENT"
            )
    content, style = loaded.values()
    if settings.init in ("content", "style") and torch.equal(content, style):
        raise SettingError(
            f"CONTENT and STYLE are the same picture, {arguments.content}, which is the result "
            "already; choose another STYLE, or --init noise"
        )
    alpha = images.load_alpha(paths["content"], settings.size) if keep_alpha else None
    if keep_alpha and alpha is None:
        raise SettingError(f"{arguments.content} has no transparency; leave out --keep-alpha")
    asked = balance(network, settings.as_transfer(content, style))
    weighed = f"alpha/beta {asked.alpha_beta:.3g}"
    if settings.alpha_beta is None:
        weighed = f"strength {settings.strength:g} ({weighed})"
    say(
        f"{arguments.content} ({_sides(content.shape[:1:-1])}) in the style of {arguments.style} "
        f"({_sides(style.shape[:1:-1])}): network {network.name} with {network.pooling} pooling on "
        f"{device}, {weighed}, {settings.steps} steps of {optimiser_name(optimiser)} from "
        f"{settings.init}"
        + (f" on each of {settings.levels} levels" if settings.levels > 1 else "")
    )
    files = {role: {"file": path.name, "sha256": sha256_of(path)} for role, path in used.items()}

    def save(image: Tensor, path: Path, found: dict) -> None:
        found = {"alpha_beta_used": asked.alpha_beta, "keep_alpha": keep_alpha, **found}
        texts = metadata(settings, files, network, **found)
        images.save_image(image, path, bits=arguments.bits, metadata=texts, alpha=alpha)

    watching = [checkpoint] if checkpoint else []
    if arguments.save_every:
        saving = SaveEvery(output, arguments.save_every, settings.steps * settings.levels, save)
        watching.append(saving)
    result = transfer_coarse_to_fine(
        network,
        [asked],
        levels=settings.levels,
        steps=settings.steps,
        hooks=[*network.hooks, *watching],
        **settings.how,
    )
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


def _find(name: str) -> Path:
    """The file `name` if there is one, else the gallery's image of that name."""
    if Path(name).exists():
        return Path(name)
    if name in gallery.names():
        return gallery.path(name)
    known = ", ".join(gallery.names())
    raise ImageError(f"{name} does not exist; give an image file or one of {known}")


def _check_distinct(
    output: Path, paths: dict[str, Path], checkpoint: str | None, every: int | None
) -> None:
    """SettingError if what is written would replace one of the images."""
    if every and any(SaveEvery.is_of(output, path) for path in paths.values()):
        raise SettingError("--save-every would replace one of the images; name another --output")
    if output.exists() and any(output.samefile(path) for path in paths.values()):
        raise SettingError(f"--output {output} is one of the images; name another file")
    taken = [path.resolve() for path in (output, *paths.values())]
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


def distil(arguments: Namespace) -> int:
    """Train a small network, and export it."""
    from dataclasses import fields

    from stylelab.distil.training import Recipe, train_and_export

    recipe = Recipe(**{each.name: getattr(arguments, each.name) for each in fields(Recipe)})
    images, output = Path(arguments.images), Path(arguments.output)
    return train_and_export(
        arguments.teacher, arguments.pooling, images, output, recipe, arguments.device
    )
