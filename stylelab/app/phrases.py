"""Transfers, results and changes in the words that the playground shows."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from stylelab import gallery
from stylelab.runs.settings import LIVE, OPTIONS, Settings


def describe(settings: Settings, record: Mapping) -> tuple[str, str]:
    """A saved picture in two phrases: what it shows, and how it was made.

    `record` is that of its metadata (`stylelab.runs.metadata`), perhaps by someone else.
    """
    styles = record.get("style")
    sources = [record.get("content"), *(styles if isinstance(styles, list) else [styles])]
    first, *others = (_title(each) for each in sources)
    facts = [settings.dial]
    if len(others) == 2 and len(settings.style_weights) == 2:
        facts.append(_blend(settings))
    if settings.colours != "style":
        facts.append(f"colours: {settings.colours}")
    if settings.style_scale != 1:
        facts.append(f"scale {settings.style_scale:.2g}")
    if {"content_mask", "style_mask"} & set(record):
        facts.append("painted regions")
    if record.get("changes"):
        facts.append("changed on the way")
    facts.append(f"{record.get('steps_done', settings.steps)} steps, {settings.size} px")
    return f"{first} in the style of {' and '.join(others)}", ", ".join(facts)


def difference(before: Settings, after: Settings, names: Sequence[str] = LIVE) -> str:
    """What has changed of the settings `names`; "" if nothing has."""
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    said = {"strength": after.dial, "alpha_beta": after.dial, "steps": f"{after.steps} steps"}
    said |= {"tv_weight": f"smoothing {after.tv_weight:.2g}"}
    said |= {"content_layers": "content layers", "style_layers": "style layers"}
    if len(after.style_weights) == 2:
        said["style_weights"] = _blend(after)
    return ", ".join(dict.fromkeys(said.get(name, OPTIONS[name].label) for name in changed))


def changes(first: Settings, later: Sequence[tuple[int, Settings]]) -> list[tuple[int, str]]:
    """Each change of a session that began with `first`: its step, and what changed."""
    weights = [name for name in LIVE if name != "steps"]
    pairs = pairwise([first, *(settings for _, settings in later)])
    each = [difference(*pair, weights) for pair in pairs]
    return [(step, what) for (step, _), what in zip(later, each, strict=True)]


def _blend(settings: Settings) -> str:
    first, second = settings.style_weights
    return f"blend {second / (first + second):.2g}"


def _title(source: object) -> str:
    about = source if isinstance(source, dict) else {}
    file = str(about.get("file", "an image"))
    for name in gallery.names():
        if Path(gallery.info(name).file).name == file:
            return gallery.info(name).title
    return plain_name(file)


def plain_name(file: str) -> str:
    """A file's name without what the playground put before it."""
    start, _, rest = file.partition("-")
    return rest.partition("-")[2] if start == "source" and "-" in rest else file
