"""The lecture page: twenty style transfers in one HTML file, chosen by α/β and style layers.

The pictures, the style and the script are inside the file, so it works offline, by keyboard and on
a phone.

    lecture.write_page("build/paper-vgg19-mini", "lecture.html")  # from a run of notebook 06
    lecture.page()  # in a notebook: figures/lecture.html of this checkout
"""

import json
import os
from itertools import product
from pathlib import Path

from stylelab import gallery
from stylelab.app.chooser import MARK, Dial, chooser, whole_page
from stylelab.app.live_view import data_url
from stylelab.errors import StylelabError
from stylelab.files.local import atomic
from stylelab.images import load_image

FIGURE = "preprint_figure3"  # the matrix of style layers by α/β
PAGE = Path(__file__).resolve().parents[2] / "figures" / "lecture.html"  # of a checkout
STARTS = {"noise": "white noise", "content": "the photograph", "style": "the painting"}


def page(path: str | os.PathLike[str] = PAGE) -> object:
    """A lecture page as a notebook shows it, an IPython HTML object.

    Raises:
        StylelabError: if the file cannot be read or is not a lecture page.
    """
    from IPython.display import HTML

    body = _read(Path(path)).partition("<body>")[2].rpartition("</body>")[0]
    if MARK not in body:
        raise StylelabError(f"{path} is not a lecture page; make one with lecture.write_page")
    return HTML(body)


def write_page(
    run: str | os.PathLike[str], page: str | os.PathLike[str], *, quality: int = 80
) -> Path:
    """Write the lecture page of a run of notebook 06.

    Args:
        run: folder of the run, such as build/quick-vgg19-mini.
        page: the HTML file to write.
        quality: of the embedded JPEG pictures, 1 to 95.

    Returns:
        The path of the page.

    Raises:
        StylelabError: if the run lacks the figure, its record is damaged, a picture cannot be
            read, or the page cannot be written.
    """
    from stylelab.figures import panel_path  # imports matplotlib, which `page` does not need

    record_file = Path(run, f"{FIGURE}.json")
    try:
        record = json.loads(_read(record_file))
        settings, made = record["settings"], record["results"]["transfers"]
        layers, ratios = [row[-1] for row in settings["style_layers"]], settings["alpha_beta"]
        panels = [
            panel_path(run, FIGURE, f"{layer}_{ratio:.0e}")
            for layer, ratio in product(layers, ratios)
        ]
        if not panels or len(set(panels)) < len(panels):
            raise ValueError("it is empty, or a setting is there twice")
        height, width = made["size"]
        sources = [record["images"][role] for role in ("content", "style")]
        names = [source["name"] for source in sources]
        facts = [
            f"Network: {record['network']['name']}, {record['network']['pooling']} pooling",
            f"from {STARTS[settings['init']]}, {made['steps']} steps, {width} x {height} pixels",
            "Images: " + "; ".join(source["credit"] for source in sources),
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StylelabError(
            f"{record_file} does not describe a matrix of style layers by ratios ({error!r}); "
            "make it again with stylelab figures 06"
        ) from error
    ticks = [f"{ratio:.0e}".replace("e-0", "e-") for ratio in ratios]  # as in the figures
    # First a picture in which both the photograph and the painting are easily recognised.
    slider = Dial("α/β", ticks, len(ratios) - 1, ("more style", "more content"))
    buttons = Dial("Style layers up to", layers, min(1, len(layers) - 1))
    body = chooser(
        {
            f"Style layers up to {layer}, α/β = {tick}": data_url(load_image(path), quality=quality)
            for (layer, tick), path in zip(product(layers, ticks), panels, strict=True)
        },
        slider,
        buttons,
        beside={
            caption: data_url(gallery.open(name, max(height, width)), quality=quality)
            for caption, name in zip(("photograph", "painting"), names, strict=True)
        },
        facts=" · ".join(facts),
    )
    document = whole_page("Style transfer: content against style", body)
    with atomic(page) as path:
        path.write_text(document, encoding="utf-8")
    return Path(page)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StylelabError(
            f"{path} does not exist; stylelab figures 06 renders the pictures, "
            "and stylelab lecture makes the page"
        ) from None
    except (OSError, ValueError) as error:
        raise StylelabError(f"{path} cannot be read ({error})") from error
