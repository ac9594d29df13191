"""What happens to a page's source before it is read: links, pictures and their texts, sliders."""

import json
import re
from pathlib import Path

from parts import sliders
from sphinx.util import logging

logger = logging.getLogger(__name__)


def setup(app) -> dict:
    """Prepare every page's source."""
    app.connect("source-read", prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def prepare(app, name: str, source: list[str]) -> None:
    """Prepare the source of the page `name`, in place."""
    file = Path(app.env.doc2path(name))
    source[0] = folders_to_pages(source[0], file.parent)
    if file.suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    show_attachments(notebook["cells"])
    describe_pictures(notebook["cells"])
    lost = sliders.insert(notebook["cells"], name)
    for figure in lost:
        logger.warning(
            "no cell saves %s, which has a slider; see book/parts", figure, location=name
        )
    source[0] = json.dumps(notebook)


def folders_to_pages(text: str, folder: Path) -> str:
    """Make links to folders lead to their first page: a website does not show folders."""

    def first_page(link: re.Match) -> str:
        pages = sorted(folder.joinpath(link[1]).glob("*.ipynb"))
        return f"]({link[1].rstrip('/')}/{pages[0].name})" if pages else link[0]

    return re.sub(r"\]\(([\w./-]+)\)", first_page, text)


def show_attachments(cells: list[dict]) -> None:
    """Put pictures attached to texts into the texts: MyST-NB leaves them out."""
    for cell in cells:
        text = "".join(cell["source"])
        for file, kinds in cell.pop("attachments", {}).items():
            for kind, data in kinds.items():
                text = text.replace(f"(attachment:{file})", f"(data:{kind};base64,{data})")
        cell["source"] = text


def describe_pictures(cells: list[dict]) -> None:
    """Name pictures that have no text in their cell's metadata after the section they stand in."""
    heading = ""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            heading = (re.findall(r"^#+ (.+)$", cell["source"], re.MULTILINE) or [heading])[-1]
            continue
        rendering = cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})
        rendering.setdefault("alt", f"Picture in the section “{heading.strip('# ')}”")
