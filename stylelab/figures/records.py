"""Saving a figure with its record: how it was made, its losses, and whether the claims hold."""

import io
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib
import PIL.Image
import torch
import torchvision
from matplotlib.figure import Figure
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import stylelab
from stylelab import gallery
from stylelab.engine.precision import precision_of
from stylelab.errors import SettingError
from stylelab.figures.claims import Evidence, check
from stylelab.figures.measures import as_saved
from stylelab.files.local import atomic, sha256_of
from stylelab.images import save_image
from stylelab.optimisation import Result
from stylelab.parametrisation import name_of
from stylelab.vgg import VGG

NOTES = "STYLELAB_MANIFEST"  # the runner sets it for each kernel: the file for `note_file`


def make_record(
    figure: str,
    *,
    parameters: Mapping[str, object],
    network: VGG,
    images: Mapping[str, str],
    results: Mapping[str, Result] = {},
    settings: Mapping[str, object] = {},
    panels: Mapping[str, Tensor] = {},
    facts: Mapping[str, float] = {},
) -> dict:
    """All that is needed to make a figure again, its losses, and the claims, ready for JSON.

    Args:
        parameters: the notebook's parameters; `size` is the longer side of images, in pixels.
        images: names in the gallery of the images used, by the part they play: "content", ...
        results: the optimisations behind the figure, by name.
        settings: what else was chosen: layers, alpha/beta, ...; a `size` here takes precedence.
        panels: the pictures that claims are checked on, `(1, 3, H, W)` each.
        facts: numbers measured in the notebook that claims are checked on.
    """
    device = network.device
    record = {
        "figure": figure,
        "parameters": dict(parameters),
        "settings": dict(settings),
        "network": {key: getattr(network, key) for key in ("name", "sha256", "pooling", "padding")},
        "images": {part: _origin(name) for part, name in images.items()},
        "results": {name: _losses(result) for name, result in results.items()},
        "facts": dict(facts),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision_of(network),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    saved = {name: as_saved(panel) for name, panel in panels.items()}
    return record | {"claims": judge(record, network, saved)}


def _origin(name: str) -> dict[str, str]:
    """An image of the gallery: its name, its full credit, and the hash of its file."""
    return {"name": name, "credit": gallery.credit(name), "sha256": sha256_of(gallery.path(name))}


def _losses(result: Result) -> dict:
    """A result without its images: size, time, and each term's losses first and at their best."""
    best = result.losses.argmin(0)
    lowest = {term: values.gather(0, best[None])[0] for term, values in result.history.items()}
    return {
        "size": list(result.images.shape[2:]),
        "steps": result.steps,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 2),
        "first": {term: values[0].tolist() for term, values in result.history.items()},
        "parametrisation": name_of(result.parametrisation),
        "best_step": best.tolist(),
        "best": {term: values.tolist() for term, values in lowest.items()},
        "saved": {term: values.tolist() for term, values in result.final.items()},
    }


def judge(record: Mapping, network: VGG, panels: Mapping[str, Tensor]) -> list[dict]:
    """The paper's claims about a record's figure, checked on its panels as they are saved."""
    size = record["settings"].get("size", record["parameters"].get("size"))
    images = {part: gallery.open(made["name"], size) for part, made in record["images"].items()}
    evidence = Evidence(network, panels, images, record["results"], record["facts"])
    return [asdict(claim) for claim in check(record["figure"], evidence)]


def verdict(claim: Mapping) -> str:
    """A claim of a record, and whether it holds."""
    return f"{'holds' if claim['holds'] else 'FAILS'}  {claim['statement']}"


def numbers(claim: Mapping) -> list[str]:
    """The numbers that decide a claim of a record, a line for each kind."""
    return [listed(name, values) for name, values in claim["values"].items()]


def listed(name: str, values: Sequence[float]) -> str:
    """Numbers and their name: `correlation: 0.1, 0.2`."""
    return f"{name}: {', '.join(f'{value:.3g}' for value in values)}"


def threads() -> str:
    """How many threads PyTorch computes with, in words."""
    count = torch.get_num_threads()
    return "1 thread" if count == 1 else f"{count} threads"


def versions() -> dict[str, str]:
    """Versions of what a figure depends on."""
    modules = (stylelab, torch, torchvision, matplotlib, PIL)
    found = {module.__name__: module.__version__ for module in modules}
    return {"python": platform.python_version(), "platform": sys.platform} | found


def save_figure(
    figure: Figure,
    record: Mapping[str, object],
    output: str | Path = ".",
    panels: Mapping[str, Tensor] = {},
) -> Path:
    """Save `<figure>.png`, its panels `panels/<figure>/<name>.png` and its record `<figure>.json`.

    They go to the folder `output`, the record last, and no file is ever half written. The PNG's
    metadata carries the essentials of the record. Returns the PNG's path.

    Raises:
        SettingError: if the figure's or a panel's name is not a plain file name.
    """
    name, output = str(record["figure"]), Path(output)
    essentials = {key: record[key] for key in ("figure", "parameters", "settings", "network")}
    picture = save_picture(figure, name, output, comment=json.dumps(essentials))
    for panel, image in panels.items():
        path = panel_path(output, name, panel)
        save_image(image, path)
        note_file(path)
    record = {**record, "panels": list(panels), "sha256": sha256_of(picture)}
    with atomic(picture.with_suffix(".json")) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    note_file(picture.with_suffix(".json"))
    return picture


def save_picture(figure: Figure, name: str, output: str | Path = ".", *, comment: str = "") -> Path:
    """Save `<name>.png` without a record in the folder `output`; returns its path.

    Raises:
        SettingError: if `name` is not a plain file name.
    """
    check_names(figure=name)
    picture, buffer, texts = Path(output) / f"{name}.png", io.BytesIO(), PngInfo()
    texts.add_text("Title", name)
    texts.add_text("Software", f"stylelab {stylelab.__version__}")
    if comment:
        texts.add_text("Comment", comment)
    figure.savefig(buffer, format="png")
    with PIL.Image.open(buffer) as image, atomic(picture) as path:  # smaller without its alpha
        image.convert("RGB").save(path, "PNG", optimize=True, pnginfo=texts)
    note_file(picture)
    return picture


def panel_path(folder: Path, figure: str, panel: str) -> Path:
    """Where a panel of a figure is saved."""
    check_names(figure=figure, panel=panel)
    return Path(folder, "panels", figure, f"{panel}.png")


def check_names(**names: str) -> None:
    """Raise SettingError unless each value can name a file inside a folder."""
    for what, name in names.items():
        if not re.fullmatch(r"[\w+-][\w.+-]*", name):
            raise SettingError(
                f"a {what}'s name may have letters, digits and . + - _, no dot first; got {name!r}"
            )


def note_file(path: str | Path) -> None:
    """Note that a notebook saved `path`, for the runner, in the file that `NOTES` names, if any."""
    if notes := os.environ.get(NOTES):
        with open(notes, "a", encoding="utf-8") as file:
            file.write(json.dumps(str(Path(path).resolve())) + "\n")


def noted(notes: Path) -> tuple[Path, ...]:
    """The files noted in `notes` that are still there, each once, in order."""
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    paths = [Path(json.loads(line)) for line in dict.fromkeys(lines)]
    return tuple(path for path in paths if path.is_file())


def show(picture: Path, width: int = 900) -> object:
    """A saved figure as IPython's Image: a JPEG where that is smaller than the PNG."""
    from IPython.display import Image as Page

    buffer = io.BytesIO()
    with PIL.Image.open(picture) as image:
        image.save(buffer, "JPEG", quality=90, subsampling=0)
    return Page(data=min(buffer.getvalue(), picture.read_bytes(), key=len), width=width)


def table(headings: Iterable[object], rows: Iterable[Iterable[object]]) -> object:
    """A table for a notebook's page; three digits of a number with a fraction are kept."""
    from IPython.display import Markdown

    def line(cells: Iterable[object]) -> str:
        written = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells)
        return "| " + " | ".join(text.replace("|", "\\|") for text in written) + " |"

    headings = [*headings]
    return Markdown("\n".join(map(line, [headings, ["---"] * len(headings), *rows])))
