"""Laying out panels as the paper does, and saving a figure with the record of how it was made."""

import io
import json
import platform
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from stylelab.figures import claims
from stylelab.figures.manifest import note_file
from stylelab.files.download import sha256_of
from stylelab.files.local import atomic
from stylelab.images import save_image
from stylelab.synthesis import Result
from stylelab.vgg import VGG

DPI = 128  # panels of two columns are then 617 pixels wide: 512 are shown as they are
LABEL, GAP, INSET = 0.30, 0.12, 0.30  # inches, inches, longer side over a panel's width
# Okabe and Ito's palette: told apart by readers of any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Panel:
    """One picture of a figure: `(1, 3, H, W)` in [0, 1], its label, which is shown as it is (no
    mathematics is read in it), and an image to set into it."""

    image: Tensor
    label: str
    inset: Tensor | None = None


def _show(axes: matplotlib.axes.Axes, image: Tensor) -> None:
    axes.imshow(image[0].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="lanczos")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def panel_grid(
    panels: Sequence[Panel], *, columns: int, footer: str = "", width: float = 10.0
) -> Figure:
    """Panels row by row, a label under each, and a footer with what was used and credits.

    Args:
        panels: pictures of any sizes; each is fitted into a cell of the first one's shape.
        columns: panels to a row.
        footer: a sentence or more under the panels, wrapped.
        width: of the figure, inches.
    """
    if not panels or columns < 1:
        raise SettingError("a figure needs at least one panel and one column")
    rows = -(-len(panels) // columns)
    cell = (width - GAP * (columns + 1)) / columns
    tall = cell * panels[0].image.shape[2] / panels[0].image.shape[3]
    lines = textwrap.wrap(footer, int(width * 15.5)) if footer else []
    below = 0.17 * len(lines) + (0.1 if lines else 0)
    height = GAP + rows * (tall + LABEL) + below
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    for i, panel in enumerate(panels):
        left = GAP + (i % columns) * (cell + GAP)
        bottom = height - GAP - (i // columns) * (tall + LABEL) - tall
        axes = figure.add_axes((left / width, bottom / height, cell / width, tall / height))
        _show(axes, panel.image)
        axes.set_xlabel(panel.label, fontsize=10, labelpad=3, parse_math=False)
        if panel.inset is not None:
            scale = INSET * cell / max(panel.inset.shape[2:])
            high, wide = (scale * side for side in panel.inset.shape[2:])
            inset = figure.add_axes((left / width, bottom / height, wide / width, high / height))
            _show(inset, panel.inset)
            inset.spines[:].set(visible=True, color="white", linewidth=2)
    if lines:
        look = {"fontsize": 7.5, "color": "0.35", "va": "bottom", "parse_math": False}
        figure.text(GAP / width, 0.06 / height, "\n".join(lines), **look)
    return figure


def loss_curves(
    result: Result, labels: Sequence[str], *, relative: bool = True, width: float = 10.0
) -> Figure:
    """Total loss of each image of a `Result` by step, on a log scale.

    Args:
        result: an optimisation of N images.
        labels: N names.
        relative: over its value at the start, for images of different objectives.
        width: of the figure, inches.
    """
    figure = Figure(figsize=(width, 0.32 * width), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    losses = result.losses.double()
    for i, label in enumerate(labels):
        style = "-" if i < len(COLOURS) else "--"
        values = losses[:, i] / (losses[0, i] if relative else 1)
        axes.semilogy(values, style, color=COLOURS[i % len(COLOURS)], label=label)
    axes.set_xlabel("L-BFGS step")
    axes.set_ylabel("loss / loss at the start" if relative else "loss")
    legend = axes.legend(axes.lines, labels, fontsize=8, frameon=False, ncols=2)
    for text in legend.get_texts():
        text.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def footer(networks: VGG | Sequence[VGG], images: Iterable[str], *notes: str) -> str:
    """The line every figure carries: networks, what else matters, and the images' credits."""
    networks = [networks] if isinstance(networks, VGG) else networks
    used = "; ".join(f"{network.name}, {network.pooling} pooling" for network in networks)
    credits = "; ".join(dict.fromkeys(gallery.credit(name) for name in images))
    return " · ".join((f"Network: {used}", *notes, f"Images: {credits}"))


def make_record(
    figure: str,
    *,
    parameters: Mapping[str, object],
    network: VGG,
    images: Mapping[str, str],
    results: Mapping[str, Result],
    settings: Mapping[str, object],
    panels: Mapping[str, Tensor] | None = None,
    facts: Mapping[str, float] | None = None,
) -> dict:
    """How a figure was made, ready for JSON: all that is needed to make it again, its losses, and
    what the paper claims about it (`stylelab.figures.claims`), judged by its panels.

    Args:
        figure: the figure's name.
        parameters: the notebook's parameters; `size` is the longer side of images, in pixels.
        network: the network used.
        images: names in the gallery of the images used, by the part they play: "content", ...
        results: the optimisations behind the figure, by name.
        settings: what else they were asked for: layers, alpha/beta, ...; a `size` here goes before
            that of the parameters.
        panels: the pictures that claims are judged by, `(1, 3, H, W)` each.
        facts: numbers measured in the notebook that claims are judged by.
    """
    device = network.input.weight.device
    record = {
        "figure": figure,
        "parameters": dict(parameters),
        "settings": dict(settings),
        "network": {
            "name": network.name,
            "sha256": network.sha256,
            "pooling": network.pooling,
            "padding": network.padding,
        },
        "images": {
            part: {
                "name": name,
                "credit": gallery.credit(name),
                "sha256": sha256_of(gallery.path(name)),
            }
            for part, name in images.items()
        },
        "results": {
            name: {
                "size": list(result.images.shape[2:]),
                "steps": result.steps,
                "interrupted": result.interrupted,
                "seconds": round(result.seconds, 2),
                "first": {term: values[0].tolist() for term, values in result.history.items()},
                "best_step": (best := result.losses.argmin(0)).tolist(),
                "best": {
                    term: values.gather(0, best[None])[0].tolist()
                    for term, values in result.history.items()
                },
            }
            for name, result in results.items()
        },
        "facts": dict(facts or {}),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    saved = {name: panel.mul(255).round() / 255 for name, panel in (panels or {}).items()}
    return record | {"claims": judge(record, network, saved)}


def judge(record: Mapping, network: VGG, panels: Mapping[str, Tensor]) -> list[dict]:
    """The paper's claims about a record's figure, judged by its panels as they are saved."""
    size = record["settings"].get("size", record["parameters"].get("size"))
    originals = {
        part: gallery.open(image["name"], size) for part, image in record["images"].items()
    }
    keys = ("settings", "results", "facts")
    evidence = claims.Evidence(network, panels, originals, **{key: record[key] for key in keys})
    return [asdict(claim) for claim in claims.check(record["figure"], evidence)]


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
    """Save `<figure>.png` and its record `<figure>.json` in the folder `output`; returns the PNG.

    The PNG's metadata carries the essentials of the record. The pictures that claims are judged by
    go to `panels/<figure>/<name>.png`. Each file appears whole or not at all, the record last.
    SettingError for a figure's or panel's name that leads elsewhere.
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


def panel_path(folder: Path, figure: str, panel: str) -> Path:
    """Where a panel of a figure is saved."""
    check_names(figure=figure, panel=panel)
    return Path(folder, "panels", figure, f"{panel}.png")


def check_names(**names: str) -> None:
    """That these can be names of files inside a folder."""
    for what, name in names.items():
        if not re.fullmatch(r"[\w+-][\w.+-]*", name):
            raise SettingError(
                f"a {what}'s name may have letters, digits and . + - _, no dot first; got {name!r}"
            )


def show(picture: Path, width: int = 900) -> object:
    """A saved figure for a notebook's page, an IPython Image: to keep the page small, as JPEG where
    that is smaller than the PNG."""
    from IPython.display import Image as Page

    buffer, data = io.BytesIO(), picture.read_bytes()
    with PIL.Image.open(picture) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=90, subsampling=0)
    if len(buffer.getvalue()) < len(data):
        return Page(data=buffer.getvalue(), format="jpeg", width=width)
    return Page(data=data, format="png", width=width)


def save_picture(
    figure: Figure, name: str, output: str | Path = ".", *, comment: str | None = None
) -> Path:
    """Save `<name>.png` alone in the folder `output`, whole or not at all; returns its path.

    SettingError for a name that leads elsewhere.
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
