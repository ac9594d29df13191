"""Saving a figure with its record: how it was made, its losses, and whether the claims hold."""

import io
import json
import platform
import re
import sys
from collections.abc import Mapping
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
from stylelab.errors import SettingError
from stylelab.figures.claims import Evidence, check
from stylelab.figures.manifest import note_file
from stylelab.files.local import atomic, sha256_of
from stylelab.images import save_image
from stylelab.optimisation import Result
from stylelab.vgg import VGG


def make_record(
    figure: str,
    *,
    parameters: Mapping[str, object],
    network: VGG,
    images: Mapping[str, str],
    results: Mapping[str, Result] | None = None,
    settings: Mapping[str, object] | None = None,
    panels: Mapping[str, Tensor] | None = None,
    facts: Mapping[str, float] | None = None,
) -> dict:
    """All that is needed to make a figure again, its losses, and the claims, ready for JSON.

    Args:
        figure: the figure's name.
        parameters: the notebook's parameters; `size` is the longer side of images, in pixels.
        network: the network used.
        images: names in the gallery of the images used, by the part they play: "content", ...
        results: the optimisations behind the figure, by name.
        settings: what else was chosen: layers, alpha/beta, ...; a `size` here takes precedence.
        panels: the pictures that claims are checked on, `(1, 3, H, W)` each.
        facts: numbers measured in the notebook that claims are checked on.
    """
    device = network.input.weight.device
    record = {
        "figure": figure,
        "parameters": dict(parameters),
        "settings": dict(settings or {}),
        "network": {key: getattr(network, key) for key in ("name", "sha256", "pooling", "padding")},
        "images": {
            part: {
                "name": name,
                "credit": gallery.credit(name),
                "sha256": sha256_of(gallery.path(name)),
            }
            for part, name in images.items()
        },
        "results": {name: _losses(result) for name, result in (results or {}).items()},
        "facts": dict(facts or {}),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    saved = {name: panel.mul(255).round() / 255 for name, panel in (panels or {}).items()}
    return record | {"claims": judge(record, network, saved)}


def _losses(result: Result) -> dict:
    """A result without its images: size, time, and each term's losses first and at their best."""
    best = result.losses.argmin(0)
    return {
        "size": list(result.images.shape[2:]),
        "steps": result.steps,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 2),
        "first": {term: values[0].tolist() for term, values in result.history.items()},
        "best_step": best.tolist(),
        "best": {
            term: values.gather(0, best[None])[0].tolist()
            for term, values in result.history.items()
        },
    }


def judge(record: Mapping, network: VGG, panels: Mapping[str, Tensor]) -> list[dict]:
    """The paper's claims about a record's figure, checked on its panels as they are saved."""
    size = record["settings"].get("size", record["parameters"].get("size"))
    originals = {
        part: gallery.open(image["name"], size) for part, image in record["images"].items()
    }
    measured = {key: record[key] for key in ("results", "facts")}
    evidence = Evidence(network, panels, originals, **measured)
    return [asdict(claim) for claim in check(record["figure"], evidence)]


def verdict(claim: Mapping) -> str:
    """A claim of a record, and whether it holds."""
    return f"{'holds' if claim['holds'] else 'FAILS'}  {claim['statement']}"


def claims_table(record: Mapping) -> str:
    """The claims of a record, one below the other, with their numbers."""
    lines = []
    for claim in record["claims"]:
        lines.append(verdict(claim))
        for name, values in claim["values"].items():
            lines.append(f"         {name}: {', '.join(f'{value:.3g}' for value in values)}")
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Versions of what a figure depends on."""
    modules = (stylelab, torch, torchvision, matplotlib, PIL)
    found = {module.__name__: module.__version__ for module in modules}
    return {"python": platform.python_version(), "platform": sys.platform} | found


def save_figure(
    figure: Figure,
    record: Mapping[str, object],
    output: str | Path = ".",
    panels: Mapping[str, Tensor] | None = None,
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
    for panel, image in (panels or {}).items():
        save_image(image, panel_path(output, name, panel))
        note_file(panel_path(output, name, panel))
    record = {**record, "panels": list(panels or {}), "sha256": sha256_of(picture)}
    with atomic(picture.with_suffix(".json")) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    note_file(picture.with_suffix(".json"))
    return picture


def save_picture(
    figure: Figure, name: str, output: str | Path = ".", *, comment: str | None = None
) -> Path:
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


def show(picture: Path, width: int = 900) -> object:
    """A saved figure as IPython's Image: a JPEG where that is smaller than the PNG."""
    from IPython.display import Image as Page

    buffer, data = io.BytesIO(), picture.read_bytes()
    with PIL.Image.open(picture) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=90, subsampling=0)
    if len(buffer.getvalue()) < len(data):
        return Page(data=buffer.getvalue(), format="jpeg", width=width)
    return Page(data=data, format="png", width=width)
