"""The contact sheet of a batch: one page to look through, sorted by any number; it needs no net."""

from collections.abc import Sequence
from html import escape
from numbers import Real
from pathlib import Path
from string import Template
from urllib.parse import quote

from stylelab.files.local import atomic
from stylelab.runs.batch.table import Row, plain

PAGE = Path(__file__).with_name("assets") / "sheet.html"
# What the page sorts by beside names and settings, and what a card says of its picture.
MEASURES = {
    "saved_loss": "loss",
    "style_distance": "style distance",
    "colour_distance": "colour distance",
    "edges": "edges kept",
    "ssim": "structure kept (SSIM)",
    "rim": "tint of the rim",
    "seconds": "seconds",
}
SHOWN = ("style_distance", "edges", "seconds")
NO_CHOICE = {"name", "status", "reason", "picture", "content", "style", "start", "key", "worker"}
NO_CHOICE |= {"content_sha256", "style_sha256", "sha256", "bytes", "width", "height", "torch"}
NO_CHOICE |= {"alpha_beta_used", "steps_done", "first_loss", "best_loss", "content_loss"}
NO_CHOICE |= {"style_loss", "device", "threads", "stylelab", "network_sha256", "pooling_used"}


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the sheet of the rows of a table beside the folder of its pictures, as `index.html`.

    Raises:
        StylelabError: if it cannot be written.
    """
    differing = _differing(rows)
    done = sum(row["status"] == "done" for row in rows)
    counts = f"{done} of {len(rows)} pictures are made"
    if failed := sum(row["status"] == "failed" for row in rows):
        counts += f", {failed} failed"
    orders = {"content": "photograph", "style": "painting"}
    orders |= {name: name.replace("_", " ") for name in differing} | MEASURES
    options = "".join(f'<option value="{k}">{escape(v)}</option>' for k, v in orders.items())
    cards = "\n".join(_card(i, row, differing, orders) for i, row in enumerate(rows))
    page = Template(PAGE.read_text(encoding="utf-8"))
    text = page.substitute(counts=counts, options=options, cards=cards)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _differing(rows: Sequence[Row]) -> list[str]:
    """The settings in which the pictures differ."""
    names = [name for name in (rows[0] if rows else ()) if name not in NO_CHOICE]
    names = [name for name in names if name not in MEASURES]
    return [name for name in names if len({str(row.get(name)) for row in rows}) > 1]


def _card(number: int, row: Row, differing: Sequence[str], orders: Sequence[str]) -> str:
    values = {name: plain(row.get(name)) for name in orders}
    data = "".join(
        f' data-{name.replace("_", "-")}="{escape(str(value))}"'
        for name, value in values.items()
        if value not in (None, "")
    )
    chosen = ", ".join(f"{n.replace('_', ' ')} {_shown(values[n])}" for n in differing)
    title = f"{escape(str(row['content']))} <i>in</i> {escape(str(row['style']))}"
    if row["status"] == "done":
        picture, small = quote(str(row["picture"])), Path(str(row["picture"])).with_suffix(".jpg")
        facts = ", ".join(f"{MEASURES[n]} {_shown(row[n])}" for n in SHOWN if n in row)
        shape = f'width="{row["width"]}" height="{row["height"]}"'
        body = (
            f'<a href="{picture}"><img src="{quote(small.as_posix())}" loading="lazy" '
            f'alt="{escape(str(row["content"]))} in the style of {escape(str(row["style"]))}" '
            f"{shape}></a>"
        )
    else:
        facts, body = "", f'<p class="why">{escape(str(row["reason"] or row["status"]))}</p>'
    lines = "".join(f"<span>{escape(line)}</span>" for line in (chosen, facts) if line)
    kind = str(row["status"]).partition(" ")[0]
    return (
        f'<figure class="{kind}" data-number="{number}"{data}>{body}'
        f"<figcaption><b>{title}</b>{lines}</figcaption></figure>"
    )


def _shown(value: object) -> str:
    is_number = isinstance(value, Real) and not isinstance(value, (bool, int))
    return f"{value:.3g}" if is_number else "as default" if value is None else str(value)
