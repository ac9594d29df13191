"""What the front page shows of the figures and of the notebooks."""

import base64
import html
import io
import json
import re
from pathlib import Path

from parts.cut import panels
from PIL import Image

from stylelab import gallery
from stylelab.app.chooser import Dial, chooser
from stylelab.app.live_view import data_url

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "figures" / "paper-vgg19-mini"
QUALITY = 74  # of the large pictures
THUMBNAIL = 300  # pixels


def five_paintings() -> str:
    """Figure 3 under a slider: the photograph, and it in the style of five paintings."""
    record = json.loads((FIGURES / "figure3.json").read_text(encoding="utf-8"))
    paintings = [gallery.info(record["images"][letter]["name"]) for letter in "BCDEF"]
    texts = [f"In the style of {each.title} by {each.artist}" for each in paintings]
    labels = [re.search(r"(van )?\w+$", each.artist)[0] for each in paintings]
    pictures = [data_url(each, quality=QUALITY) for each in panels(FIGURES / "figure3.png", 6)]
    slider = Dial("painting", ["photo", *labels], 2)
    return chooser(dict(zip(["The photograph", *texts], pictures, strict=True)), slider)


def course(root: Path = ROOT) -> str:
    """A card for each notebook: its opening picture, its title, and its question."""
    cards = map(_card, sorted((root / "notebooks").glob("[0-9]*.ipynb")))
    return f'<div class="cards no-enlarge">{chr(10).join(cards)}</div>'


def _card(notebook: Path) -> str:
    first = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]
    title, _, rest = "".join(first["source"]).removeprefix("# ").partition("\n")
    question = re.match(r"[^\n]+\?", rest.strip())
    picture = ""
    for kinds in first.get("attachments", {}).values():
        picture = f'<img alt="" src="{_thumbnail(next(iter(kinds.values())))}">'
    return (
        f'<a class="card" href="../notebooks/{notebook.stem}.html">{picture}'
        f"<strong>{html.escape(title)}</strong>"
        f"<span>{html.escape(re.sub('[*`]', '', question[0])) if question else ''}</span></a>"
    )


def _thumbnail(data: str) -> str:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
