"""The lecture page: twenty style transfers in one HTML file, chosen by α/β and style layers.

The pictures, the style and the script are inside the file, so it works offline, by keyboard and on
a phone.

    lecture.write_page("build/paper-vgg19-mini", "lecture.html")  # from a run of notebook 06
    lecture.page()  # in a notebook: figures/lecture.html of this checkout
"""

import json
import os
from html import escape
from pathlib import Path
from string import Template

from stylelab import gallery
from stylelab.app.live_view import picture
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
    if "stylelab-scrubber" not in body:
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
        chosen = (layers[-1], ratios[len(ratios) // 2])  # shown first
        panels = {
            (layer, ratio): panel_path(run, FIGURE, f"{layer}_{ratio:.0e}")
            for layer in layers
            for ratio in ratios
        }
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
    ticks = {ratio: f"{ratio:.0e}".replace("e-0", "e-") for ratio in ratios}  # as in the figures
    alts = {
        (layer, ratio): f"Style layers up to {layer}, α/β = {ticks[ratio]}"
        for layer, ratio in panels
    }
    originals = [gallery.open(name, max(height, width)) for name in names]
    document = Template(
        (Path(__file__).parent / "assets/lecture.html").read_text("utf-8")
    ).substitute(
        pictures="\n".join(
            picture(
                load_image(panel), alts[key], "" if key == chosen else "hidden", quality=quality
            )
            for key, panel in panels.items()
        ),
        photograph=picture(originals[0], "photograph", quality=quality),
        painting=picture(originals[1], "painting", quality=quality),
        setting=escape(alts[chosen]),
        chosen=ratios.index(chosen[1]),
        last=len(ratios) - 1,
        ticks="".join(f"<span>{tick}</span>" for tick in ticks.values()),
        buttons="\n".join(
            f'<label><input type="radio"{" checked" if layer == chosen[0] else ""}>'
            f"<span>{escape(layer)}</span></label>"
            for layer in layers
        ),
        facts=escape(" · ".join(facts)),
    )
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
