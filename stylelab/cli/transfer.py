"""`stylelab transfer`: what can be wrong is found before the work; then the work."""

import os
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stylelab import images, networks
from stylelab.cli import sources
from stylelab.cli.exits import INTERRUPTED, complain, say
from stylelab.cli.sources import Source, Sources
from stylelab.controls.scales import mix_strokes
from stylelab.description import Transfer
from stylelab.engine import memory
from stylelab.engine.checkpoint import Checkpoint
from stylelab.engine.coarse_to_fine import balanced, schedule, transfer_coarse_to_fine
from stylelab.engine.devices import pick_devices
from stylelab.engine.precision import precision_of
from stylelab.engine.scratch import Scratch
from stylelab.engine.tiled import InTiles
from stylelab.errors import ImageError, SettingError, StylelabError
from stylelab.files import decode
from stylelab.optimisation import Result, optimiser_name
from stylelab.room import current
from stylelab.runs import calls
from stylelab.runs.intermediate import SaveEvery
from stylelab.runs.metadata import metadata
from stylelab.runs.settings import Settings
from stylelab.vgg import VGG

SURELY = 1.25  # an estimate of memory may be wrong by a quarter


@dataclass(frozen=True)
class Asked:
    """What the arguments ask for: the files, their (width, height), and the settings."""

    files: Sources
    originals: dict[Source, tuple[int, int]]
    settings: Settings
    output: Path
    saved: sources.Saved | None


@dataclass(frozen=True)
class Loaded:
    """The images `(1, 3, H, W)`, and the transparency of the photograph, if it is kept."""

    content: Tensor
    styles: list[Tensor]
    strokes: list[Tensor]
    alpha: Tensor | None


def transfer(arguments: Namespace) -> int:
    """Paint one image in the style of others."""
    asked = _asked(arguments)
    with Scratch(arguments.scratch) if arguments.scratch else nullcontext():
        return _painted(arguments, asked)


def _painted(arguments: Namespace, asked: Asked) -> int:
    """Paint what is asked for; the exit code."""
    checkpoint = Checkpoint(arguments.checkpoint) if arguments.checkpoint else None
    settings, devices = asked.settings, pick_devices(arguments.device)
    how = {"device": devices[0], "precision": arguments.precision, **calls.loading(settings)}
    network = networks.load(settings.network, **how)
    if asked.saved and not arguments.network:
        asked.saved.check_network(network)
    how = {"steps": settings.steps, **calls.how(settings)}
    if arguments.scratch and devices[0].type != "cpu":
        raise SettingError(f"--scratch is for --device cpu; got {arguments.device}")
    shared = devices if len(devices) > 1 else ()
    tiled = InTiles(arguments.tile, arguments.memory, shared)
    _check_fits(asked, network, tiled, how["optimiser"])
    loaded = _load(asked, network, arguments.keep_alpha)
    how["hooks"] = [*network.hooks, *([checkpoint] if checkpoint else []), tiled]
    described = balanced(network, _described(asked, loaded, network, how))
    steps = schedule(network, [described], settings.steps, settings.levels)
    say(_announcement(asked, loaded, network, described, steps))
    record = asked.files.record()

    def save(image: Tensor, path: Path, found: dict) -> None:
        found = {"keep_alpha": arguments.keep_alpha, "tile": tiled.used, **found}
        texts = metadata(settings, record, network, alpha_beta_used=described.alpha_beta, **found)
        images.save_image(image, path, bits=arguments.bits, metadata=texts, alpha=loaded.alpha)

    if arguments.save_every:
        how["hooks"].append(SaveEvery(asked.output, arguments.save_every, sum(steps), save))
    result = transfer_coarse_to_fine(network, [described], levels=settings.levels, **how)
    found = {"steps_done": result.steps, "first_loss": float(result.losses[0])}
    found |= {"best_loss": float(result.losses.min())}
    save(result.images, asked.output, found | {"saved_loss": float(sum(result.final.values()))})
    return _ended(result, asked, checkpoint, steps)


def _asked(arguments: Namespace) -> Asked:
    """What is asked for; nothing that is written may replace what is read."""
    if arguments.max_pixels:
        os.environ[decode.LIMIT] = str(arguments.max_pixels)  # for every image that is read
    saved = sources.Saved(arguments.settings) if arguments.settings else None
    files = sources.find(arguments, saved)
    originals = {source: decode.size_of(source.path) for source in files.pictures}
    values = sources.given(arguments, files)
    if arguments.size == "original":
        values["size"] = max(originals[files.content])
    settings = saved.merged(values) if saved else Settings(**values)
    kind = {"bits": arguments.bits, "alpha": arguments.keep_alpha, "side": settings.size}
    output = images.check_output(arguments.output, **kind)
    used, checkpoint = [source.path for source in files], arguments.checkpoint
    if checkpoint and arguments.scratch:
        raise SettingError("--checkpoint would hold all that --scratch has; give one of the two")
    if arguments.save_every and any(SaveEvery.is_of(output, path) for path in used):
        raise SettingError("--save-every would replace one of the images; name another --output")
    if output.exists() and any(output.samefile(path) for path in used):
        raise SettingError(f"--output {output} is one of the images; name another file")
    taken = [path.resolve() for path in (output, *used)]
    if checkpoint and Path(checkpoint).resolve() in taken:
        raise SettingError(f"--checkpoint {checkpoint} is one of the images; name another file")
    return Asked(files, originals, settings, output, saved)


def _check_fits(asked: Asked, network: VGG, tiled: InTiles, optimiser: object) -> None:
    """An error for an image that is too small for the network, or a size that cannot fit."""
    files, settings, originals = asked.files, asked.settings, asked.originals
    for source, sides in originals.items():
        if min(sides) < network.min_size(settings.layers):
            raise ImageError(
                f"{source.name} has {_sides(sides)} pixels; {_needs(asked, network)}: choose a "
                "larger image"
            )
    device, in_one_piece = str(network.device), settings.style_loss == "sliced"
    need, sides = memory.needed_for_files(
        network,
        settings.layers,
        originals[files.content],
        [originals[each] for each in files.pictures[1:]],
        settings.size,
        device,
        optimiser,
        style_size=settings.style_size,
        starts=[decode.size_of(each.path) for each in files.start],
        guided=[*settings.layer_weights] * len(files.content_mask),
        targets=settings.content_weights,
        side=None if in_one_piece else tiled.side or memory.LEAST,
    )
    if scratch := memory.scratch_in_use():
        scratch.check_space(memory.needed_on_disk(optimiser, sides, len(files.pictures)))
    there = memory.left(tiled.memory, device)
    if need > SURELY * there:
        shortage = memory.shortage(network, need, sides, device, there=there)
        less = " or --history" if optimiser_name(optimiser) == "lbfgs" else ""
        less += "" if scratch or device != "cpu" else ", or give --scratch a folder on a disk"
        if in_one_piece:
            less += ", or choose another --style-loss than sliced, which cannot work in tiles"
        raise StylelabError(f"{shortage}; lower --size{less}")


def _load(asked: Asked, network: VGG, keep_alpha: bool) -> Loaded:
    """The images at the sizes asked for."""
    files, settings, found = asked.files, asked.settings, []
    for source in files.pictures:
        at, size = f"--size {settings.size}", settings.size
        if found and settings.style_scale != 1:
            at, size = f"{at} and --style-scale {settings.style_scale:g}", settings.style_size
        found.append(current().aside(images.load_image(source.path, size)))
        sides, original = found[-1].shape[:1:-1], asked.originals[source]
        if min(sides) < network.min_size(settings.layers):
            raise SettingError(
                f"{source.name} has {_sides(sides)} pixels at {at}; {_needs(asked, network)}: "
                "choose a larger --size"
            )
        if max(sides) > max(original):
            say(
                f"{source.name} is enlarged from {_sides(original)} pixels; "
                "--size original works at the size of CONTENT"
            )
    alpha = images.load_alpha(files.content.path, settings.size) if keep_alpha else None
    if keep_alpha and alpha is None:
        raise SettingError(f"{files.content.name} has no transparency; leave out --keep-alpha")
    content, styles, strokes = found[0], found[1 : 1 + len(files.style)], found[1:]
    return Loaded(content, styles, strokes[len(files.style) :], alpha)


def _described(asked: Asked, loaded: Loaded, network: VGG, how: dict) -> Transfer:
    """The transfer; where strokes are asked for, they are mixed when all else is known to be right.

    Raises:
        KeyboardInterrupt: if mixing is interrupted.
    """
    files, settings, styles = asked.files, asked.settings, loaded.styles
    alone = len(styles) == 1 and not (loaded.strokes or files.content_mask)
    if alone and settings.init in ("content", "style") and torch.equal(loaded.content, styles[0]):
        raise SettingError(
            f"CONTENT and STYLE are the same picture, {files.content.name}, which is the result "
            "already; choose another STYLE, or --init noise"
        )
    regions = sources.regions(files, loaded.content, styles)
    found = calls.as_transfer(settings, loaded.content, regions)
    for strokes in loaded.strokes:
        mixed = [mix_strokes(network, each, strokes, **how) for each in styles]
        if any(each.interrupted for each in mixed):
            raise KeyboardInterrupt
        styles = [each.images for each in mixed]
        regions = sources.regions(files, loaded.content, styles)
        found = calls.as_transfer(settings, loaded.content, regions)
    return found


def _announcement(
    asked: Asked, loaded: Loaded, network: VGG, described: Transfer, steps: list[int]
) -> str:
    """What is used, in a sentence."""
    files, settings = asked.files, asked.settings
    weighed = f"alpha/beta {described.alpha_beta:.3g}"
    if settings.alpha_beta is None:
        weighed = f"strength {settings.strength:g} ({weighed})"
    if settings.objective == "authors":
        weighed = f"the authors' weights (content {described.alpha_beta:g})"
    shown = zip(files.style, loaded.styles, strict=True)
    styles = " and ".join(f"{each.name} ({_sides(image.shape[:1:-1])})" for each, image in shown)
    return (
        f"{files.content.name} ({_sides(loaded.content.shape[:1:-1])}) in the style of {styles}: "
        f"network {network.name} with {network.pooling} pooling on {network.device} in "
        f"{precision_of(network)}, {weighed}, "
        f"{' + '.join(map(str, steps))} steps of {settings.optimiser} from "
        f"{files.start[0].name if files.start else settings.init}"
        + (", coarse to fine" if len(steps) > 1 else "")
    )


def _ended(result: Result, asked: Asked, checkpoint: Checkpoint | None, steps: list[int]) -> int:
    """Say how it ended; the exit code."""
    output = asked.output
    if result.stuck:
        return complain(
            f"no step led to a finite loss after step {result.steps}; the best image so far is "
            f"{output}"
        )
    if result.interrupted:
        done = f"after {result.steps} of {steps[-1]} steps"
        later = f"; the same command continues from {checkpoint.path}" if checkpoint else ""
        return complain(
            f"interrupted {done}; the best image so far is {output}{later}", INTERRUPTED
        )
    if checkpoint:
        checkpoint.remove()
    say(f"{output}: {result.steps} steps in {result.seconds:.0f} s")
    return 0


def _needs(asked: Asked, network: VGG) -> str:
    least = network.min_size(asked.settings.layers)
    return f"network {network.name} needs at least {least} on each side"


def _sides(sides: Sequence[int]) -> str:
    return f"{sides[0]} x {sides[1]}"
