"""What the commands do, from the arguments that `stylelab.cli.main` has read to an exit code."""

from argparse import Namespace
from pathlib import Path

from torch import Tensor

from stylelab import gallery, images, networks, synthesis
from stylelab.cli.exits import FAILED, INTERRUPTED, complain, say
from stylelab.engine import checkpoint
from stylelab.errors import DownloadError, ImageError, SettingError, StylelabError
from stylelab.files.download import sha256_of
from stylelab.runs import notebooks as runner
from stylelab.runs.settings import Settings, metadata
from stylelab.vgg import CONTENT_LAYER, STYLE_LAYERS, VGG


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
    """Print what there is to say of a folder's figures, and whether all of it is well."""
    try:
        from stylelab.figures.verify import verify
    except ModuleNotFoundError as error:
        raise StylelabError(
            f"verifying figures needs {error.name}: pip install 'stylelab[notebooks]'"
        ) from error
    folder = Path(arguments.folder)
    reference = Path(arguments.reference) if arguments.reference else None
    for path in (folder, *([reference] if reference else [])):
        if not path.is_dir():
            raise StylelabError(f"{path} is not a folder; stylelab figures makes one")
    table, well = verify(folder, reference=reference, network=arguments.network)
    say(table)
    return 0 if well else complain(f"not all figures of {folder} are as they should be; see above")


def transfer(arguments: Namespace) -> int:
    """Paint one image in the style of another; all that can be wrong is found before the work."""
    output = images.check_output(arguments.output, bits=arguments.bits)
    paths = {"content": _image(arguments.content), "style": _image(arguments.style)}
    if output.exists() and any(output.samefile(path) for path in paths.values()):
        raise SettingError(f"--output {output} is one of the two images; name another file")
    kept = checkpoint.at(arguments.checkpoint)
    if kept and kept.path.resolve() in (path.resolve() for path in (output, *paths.values())):
        raise SettingError(f"--checkpoint {kept.path} is one of the images; name another file")
    names = ("network", "size", "alpha_beta", "init", "steps", "seed")
    settings = Settings(**{name: getattr(arguments, name) for name in names})
    originals = {role: images.load_image(path) for role, path in paths.items()}
    device = networks.pick_device(arguments.device)
    network = networks.load(arguments.network, device=device)
    content, style = (
        _fit(original, paths[role], arguments.size, network) for role, original in originals.items()
    )
    say(
        f"{arguments.content} ({_sides(content)}) in the style of {arguments.style} "
        f"({_sides(style)}): network {network.name} on {device}, alpha/beta "
        f"{arguments.alpha_beta:g}, {arguments.steps} steps from {arguments.init}"
        + (f" on each of {arguments.levels} levels" if arguments.levels > 1 else ""),
    )
    asked = {name: getattr(settings, name) for name in ("alpha_beta", "init", "steps", "seed")}
    result = synthesis.transfer(
        network, content, style, levels=arguments.levels, checkpoint=kept, **asked
    )
    texts = metadata(
        settings,
        {role: {"file": path.name, "sha256": sha256_of(path)} for role, path in paths.items()},
        network,
        **{"levels": arguments.levels, "steps_done": result.steps},
        **{"seconds": round(result.seconds, 1)},
        **{"first_loss": float(result.losses[0]), "best_loss": float(result.losses.min())},
    )
    images.save_image(result.images, output, bits=arguments.bits, metadata=texts)
    if result.stuck:
        return complain(
            f"no step led to a finite loss any more after step {result.steps}; "
            f"the best image so far is {output}"
        )
    if result.interrupted:
        done = f"after {result.steps} of {arguments.steps} steps"
        later = f"; the same command goes on from {kept.path}" if kept else ""
        return complain(
            f"interrupted {done}; the best image so far is {output}{later}", INTERRUPTED
        )
    if kept:
        kept.remove()
    say(f"{output}: {result.steps} steps in {result.seconds:.0f} s")
    return 0


def fetch(arguments: Namespace) -> int:
    """Download what was asked for; where something cannot be had, the others still are."""
    remote = [name for name in networks.names() if networks.info(name).url]
    pictures = gallery.names("paper")
    groups = {"images": pictures, "all": [*pictures, *remote]}
    asked = arguments.names or ["images", str(runner.PROFILES["paper"]["network"])]
    known = [*groups, *remote, *pictures]
    for name in asked:
        if name not in known:
            choices = ", ".join(known)
            raise SettingError(f"there is nothing to fetch named {name!r}; choose from {choices}")
    code = 0
    for name in dict.fromkeys(member for each in asked for member in groups.get(each, [each])):
        try:
            path = networks.fetch(name) if name in remote else gallery.path(name)
            say(f"{name:<18} {path}")
        except DownloadError as error:
            code = complain(error, FAILED)
    return code


def show_networks(arguments: Namespace) -> int:
    """Print the networks known by name."""
    print(f"{'name':<12} {'here':<9} {'size':>7}  {'licence':<36} what it is")
    for name in networks.names():
        source = networks.info(name)
        here = "fetch it" if not networks.is_cached(name) else "yes" if source.url else "always"
        size = f"{source.bytes / 1e6:.0f} MB" if source.bytes else "-"
        print(f"{name:<12} {here:<9} {size:>7}  {source.licence:<36} {source.description}")
    print("\n--network takes one of these names, random:SEED, or the path of a file with weights.")
    return 0


def _image(name: str) -> Path:
    """The file of that path, else the gallery's image of that name."""
    if Path(name).exists():
        return Path(name)
    if name in gallery.names():
        return gallery.path(name)
    known = ", ".join(gallery.names())
    raise ImageError(f"{name} does not exist; give an image file, or a name out of {known}")


def _fit(original: Tensor, path: Path, size: int, network: VGG) -> Tensor:
    """`original` with a longer side of `size`, if both have enough pixels for the network."""
    least = network.min_size([CONTENT_LAYER, *STYLE_LAYERS])
    if min(original.shape[2:]) < least:
        raise ImageError(
            f"{path} has {_sides(original)} pixels; network {network.name} needs at least {least} "
            "on each side: choose a larger image"
        )
    image = images.resize(original, size)
    if min(image.shape[2:]) < least:
        raise SettingError(
            f"{path} has {_sides(image)} pixels at --size {size}; network {network.name} needs at "
            f"least {least} on each side: choose a larger --size"
        )
    return image


def _sides(image: Tensor) -> str:
    return f"{image.shape[3]} x {image.shape[2]}"
