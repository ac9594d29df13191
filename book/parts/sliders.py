"""Things to touch: pictures of the committed figures under sliders, on the pages that show them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from parts.cut import panels
from torch import Tensor

from stylelab import gallery
from stylelab.app import lecture
from stylelab.app.chooser import Dial, chooser
from stylelab.app.lecture import STARTS
from stylelab.app.live_view import data_url

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "figures" / "quick-vgg19-mini"
FILM = ROOT / "figures" / "film.html"
SIDE = 320  # pixels of a photograph or a painting beside


def insert(cells: list[dict], page: str) -> list[str]:
    """Put sliders below the figures of a notebook's page; returns the figures that are not there.

    `cells` are as JSON has them, and are changed in place.
    """
    lost = []
    for figure, (invitation, make) in SLIDERS.get(Path(page).name[:2], {}).items():
        places = [
            i
            for i, cell in enumerate(cells)
            if cell["cell_type"] == "code"
            and f'"{figure}"' in "".join(cell["source"])
            and any("data" in output for output in cell["outputs"])
        ]
        if not places or "solutions" in page:
            lost += [figure] * ("solutions" not in page)
            continue
        text = f"{invitation}\n\n{_raw(make())}"
        new = {"id": f"slider-{figure}", "cell_type": "markdown", "metadata": {}, "source": text}
        cells.insert(places[0] + 1, new)
    return lost


def content_layers() -> str:
    """Figure 1, content: the layer."""
    record, (_, *made) = _figure("figure1_content", 6)
    layers = record["settings"]["layers"]
    texts = [f"Reconstructed from {layer} alone" for layer in layers]
    slider = Dial("layer", layers, 3, ("low", "high"))
    return _chooser(record, texts, made, slider, {"the photograph": "content"})


def style_subsets() -> str:
    """Figure 1, style: how many layers, from the lowest on."""
    record, (_, *made) = _figure("figure1_style", 6)
    subsets = record["settings"]["subsets"]
    texts = [
        f"From the Gram matrices of {subset[0]}" + (f" to {subset[-1]}" if subset[1:] else " alone")
        for subset in subsets
    ]
    slider = Dial("layers", [f"{len(subset)}" for subset in subsets], 4, ("fewer", "more"))
    return _chooser(record, texts, made, slider, {"the painting": "style"})


def starts() -> str:
    """Figure 6: the start."""
    record, made = _figure("figure6", 6)
    settings, beside = record["settings"], {"the photograph": "content", "the painting": "style"}
    labels = ["A", "B", "C1", "C2", "C3", "C4"]  # as in the figure
    texts = [
        f"{label}: started from "
        + (f"white noise, seed {seed}" if init == "noise" else STARTS[init])
        for label, init, seed in zip(labels, settings["init"], settings["seeds"], strict=True)
    ]
    return _chooser(record, texts, made, Dial("start", labels), beside)


def film() -> str:
    """A transfer, step by step."""
    return lecture.page(FILM)._repr_html_()


def style_by_ratio() -> str:
    """The twenty transfers of the lecture page."""
    return lecture.page()._repr_html_()


# By the number of the notebook and the figure below which they stand.
SLIDERS: Mapping[str, Mapping[str, tuple[str, Callable[[], str]]]] = {
    "02": {"figure1_content": ("**Move the slider** from layer to layer.", content_layers)},
    "03": {"figure1_style": ("**Move the slider** from one layer to five.", style_subsets)},
    "04": {"figure2_film": ("**Move the slider** from white noise to the result.", film)},
    "06": {
        "preprint_figure3": (
            "**Turn the knob.** The same matrix, made with the paper's photograph and painting.",
            style_by_ratio,
        )
    },
    "08": {"figure6": ("**Move the slider** from start to start.", starts)},
}


def _figure(name: str, count: int) -> tuple[dict, list[Tensor]]:
    """A committed figure's record, and the pictures in it."""
    record = json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))
    return record, panels(FIGURES / f"{name}.png", count)


def _chooser(
    record: dict, texts: list[str], made: list[Tensor], slider: Dial, beside: dict[str, str]
) -> str:
    """A chooser of a figure's pictures; `beside` has the roles of its images by their captions."""
    images = record["images"]
    result = next(iter(record["results"].values()))
    height, width = result["size"]
    facts = f"Network: {record['network']['name']} · {result['steps']} steps, {width} x {height}"
    credits = "; ".join(images[role]["credit"] for role in beside.values())
    return chooser(
        dict(zip(texts, map(data_url, made), strict=True)),
        slider,
        beside={
            text: data_url(gallery.open(images[role]["name"], SIDE))
            for text, role in beside.items()
        },
        facts=f"{facts} pixels · Images: {credits}",
    )


def _raw(html: str) -> str:
    return f"```{{raw}} html\n{html}\n```"
