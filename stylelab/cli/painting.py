"""The command `transfer`: everything that can be wrong is found before the work."""

import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from stylelab import gallery, images, networks
from stylelab.cli.exits import INTERRUPTED, complain, say
from stylelab.engine import memory
from stylelab.engine.checkpoint import Checkpoint
from stylelab.engine.coarse_to_fine import transfer_coarse_to_fine
from stylelab.engine.devices import pick_device
from stylelab.errors import ImageError, SettingError, StylelabError
from stylelab.files import decode
from stylelab.files.local import sha256_of
from stylelab.runs.settings import OPTIONS, Settings, metadata
from stylelab.vgg import VGG

Sides = tuple[int, int]  # width and height, in pixels
SURELY = 1.25  # an estimate of memory may be wrong by a quarter


def transfer(arguments: Namespace) -> int:
    """Paint one image in the style of another."""
    paths = {role: _find(getattr(arguments, role)) for role in ("content", "style")}
    originals = {role: decode.size_of(path) for role, path in paths.items()}
    output = images.check_output(arguments.output, bits=arguments.bits)
    checkpoint = Checkpoint(arguments.checkpoint) if arguments.checkpoint else None
    _check_distinct(output, paths, arguments.checkpoint)
    values = {name: getattr(arguments, name) for name in OPTIONS}
    if arguments.size == "original":
        values["size"] = max(originals["content"])
    settings = Settings(**values)
    device = pick_device(arguments.device)
    network = networks.load(settings.network, device=device)
    least = network.min_size(settings.layers)
    needs = f"network {network.name} needs at least {least} on each side"
    for role, path in paths.items():
        if min(originals[role]) < least:
            raise ImageError(
                f"{path} has {_sides(originals[role])} pixels; {needs}: choose a larger image"
            )
    _check_memory(network, settings, originals, str(device))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        loaded = {role: images.load_image(path, settings.size) for role, path in paths.items()}
    for warning in caught:
        complain(warning.message)
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
    if settings.init != "noise" and torch.equal(content, style):
        raise SettingError(
            f"CONTENT and STYLE are the same picture, {arguments.content}, which is the result "
            "already; choose another STYLE, or --init noise"
        )
    say(
        f"{arguments.content} ({_sides(content.shape[:1:-1])}) in the style of {arguments.style} "
        f"({_sides(style.shape[:1:-1])}): network {network.name} on {device}, alpha/beta "
        f"{settings.alpha_beta:g}, {settings.steps} steps from {settings.init}"
        + (f" on each of {settings.levels} levels" if settings.levels > 1 else "")
    )
    result = transfer_coarse_to_fine(
        network,
        [settings.as_transfer(content, style)],
        levels=settings.levels,
        steps=settings.steps,
        hooks=[*network.hooks, *([checkpoint] if checkpoint else [])],
    )
    texts = metadata(
        settings,
        {role: {"file": path.name, "sha256": sha256_of(path)} for role, path in paths.items()},
        network,
        steps_done=result.steps,
        first_loss=float(result.losses[0]),
        best_loss=float(result.losses.min()),
    )
    images.save_image(result.images, output, bits=arguments.bits, metadata=texts)
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


def _check_distinct(output: Path, paths: dict[str, Path], checkpoint: str | None) -> None:
    """SettingError if the result or the checkpoint would replace one of the images."""
    if output.exists() and any(output.samefile(path) for path in paths.values()):
        raise SettingError(f"--output {output} is one of the two images; name another file")
    taken = [path.resolve() for path in (output, *paths.values())]
    if checkpoint and Path(checkpoint).resolve() in taken:
        raise SettingError(f"--checkpoint {checkpoint} is one of the images; name another file")


def _check_memory(network: VGG, settings: Settings, files: dict[str, Sides], device: str) -> None:
    """StylelabError if a transfer of these files surely needs more memory than is free."""
    content, style = files.values()
    need, sides = memory.needed_for_files(
        network, settings.layers, content, style, settings.size, device
    )
    if need > SURELY * memory.free(device):
        raise StylelabError(f"{memory.shortage(network, need, sides, device)}; lower --size")


def _sides(sides: Sequence[int]) -> str:
    return f"{sides[0]} x {sides[1]}"
