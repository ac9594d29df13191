"""Whether a notebook is up to date: nothing that it depends on changed, and its files are intact.

A *fingerprint* is the hash of everything that goes into a run. After a success it is kept, with the
hash of each file that the run made, in `.stylelab/NAME.json` beside the executed notebook.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from stylelab.errors import StylelabError
from stylelab.files.local import atomic, cache_dir, sha256_of
from stylelab.runs.dependencies import files_used

PACKAGE = Path(__file__).resolve().parents[1]
DRAWN_WITH = ("torch", "torchvision", "numpy", "pillow", "matplotlib")


def surroundings(network: str, images: str, device: str, is_here: bool = True) -> dict[str, object]:
    """What all notebooks of a run with these parameters depend on: files, device and versions.

    The device counts by its name alone unless `is_here`: workers elsewhere have their own.

    Raises:
        SettingError: if there are no such images, or no such device.
    """
    from stylelab import gallery, networks  # they bring PyTorch: not for `stylelab --help`
    from stylelab.engine.devices import pick_device

    named = network in networks.names()
    weights = networks.path(network) if named else Path(network)  # random:7 is no file
    cast = gallery.cast(images)
    return {
        "weights": sha256_of(weights) if weights and weights.is_file() else "",
        "images": {name: _image(name) for name in sorted(set(cast.values()))},
        "device": str(pick_device(device)) if is_here else f"{device} of a worker",
        "versions": {"python": platform.python_version()} | {n: version(n) for n in DRAWN_WITH},
    }


def fingerprint(
    notebook: Path, parameters: Mapping[str, object], shared: Mapping[str, object]
) -> str:
    """The SHA-256 of all that a run of `notebook` depends on; its saved outputs do not count.

    `parameters` are those injected, and `shared` comes from `surroundings`.
    """
    import nbformat  # of the notebooks extra

    cells = nbformat.read(notebook, as_version=4).cells
    sources = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in cells]
    code = files_used([source for kind, source, _ in sources if kind == "code"], PACKAGE)
    everything = {
        "cells": sources,
        "code": {path.relative_to(PACKAGE).as_posix(): sha256_of(path) for path in code},
        "parameters": dict(parameters),
        **shared,
    }
    text = json.dumps(everything, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def remember(executed: Path, fingerprint: str, made: Iterable[Path]) -> None:
    """Record that the notebook `executed` ran to its end and made the files `made`.

    Raises:
        StylelabError: if that cannot be written.
    """
    folder = executed.resolve().parent
    outputs = {}
    for path in (executed.resolve(), *(path.resolve() for path in made)):
        inside = path.is_relative_to(folder)  # then the folder may be moved
        name = path.relative_to(folder).as_posix() if inside else str(path)
        outputs[name] = sha256_of(path)
    with atomic(_memory(executed)) as path:
        text = json.dumps({"fingerprint": fingerprint, "outputs": outputs}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")


def forget(executed: Path) -> None:
    """Forget an earlier success: the notebook runs again, and may fail."""
    _memory(executed).unlink(missing_ok=True)


def outputs(executed: Path, fingerprint: str | None = None) -> list[Path]:
    """The files that the last run of `executed` made, itself the first.

    Empty unless it ran to its end (with this `fingerprint`, if given) and all are unchanged.
    """
    try:
        kept = json.loads(_memory(executed).read_text(encoding="utf-8"))
        if fingerprint not in (None, kept["fingerprint"]):
            return []
        hashes = {executed.parent / name: sha256 for name, sha256 in kept["outputs"].items()}
        unchanged = all(sha256_of(path) == sha256 for path, sha256 in hashes.items())
        return list(hashes) if unchanged else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing or damaged
        return []


def _memory(executed: Path) -> Path:
    return executed.parent / ".stylelab" / f"{executed.stem}.json"


def _image(name: str) -> str:
    """The hash of an image of the gallery; empty if it is not here. Nothing is downloaded."""
    from stylelab import gallery

    entry = gallery.info(name)
    try:
        path = cache_dir() / entry.file if entry.kind == "paper" else gallery.path(name)
    except StylelabError:  # the notebook that needs it will say why
        return ""
    return sha256_of(path) if path.is_file() else ""
