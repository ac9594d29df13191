"""Choose one of several pictures with a slider, and if wanted with a row of buttons: HTML.

The pictures, the style and the script are in the text, so it works offline, by keyboard, on a phone
and in a notebook without a kernel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

ASSETS = Path(__file__).parent / "assets"
ROOM = 36  # letters below a slider on a phone; of more words every second is left out there
MARK = "stylelab-scrubber"  # the class of the outermost element


@dataclass(frozen=True)
class Dial:
    """What is chosen: its name, its settings in order, and where it stands at first.

    A slider's settings are written below it; an empty one leaves its place without a word.
    """

    name: str
    settings: Sequence[str]
    first: int = 0
    ends: tuple[str, str] | None = None  # words at the ends of a slider


def chooser(
    pictures: Mapping[str, str],
    slider: Dial,
    buttons: Dial | None = None,
    *,
    beside: Mapping[str, str] = {},
    facts: str = "",
) -> str:
    """An element that shows one of `pictures`; it may stand in any page, and several times.

    Args:
        pictures: their addresses, such as `live_view.data_url` makes, by what they show. They are
            in order: all settings of the slider for the first button, then for the second, ...
        slider, buttons: what chooses the picture; without `buttons` the slider alone does.
        beside: addresses of smaller pictures that are always there, by their captions.
        facts: a line at the end: how the pictures were made, and credits.

    Raises:
        ValueError: if there is not one picture for each setting.
    """
    rows = buttons.settings if buttons else [""]
    if len(pictures) != len(slider.settings) * len(rows):
        raise ValueError(
            f"{len(slider.settings)} settings x {len(rows)} need as many pictures, each with a "
            f"text of its own; got {len(pictures)}"
        )
    chosen = (buttons.first if buttons else 0) * len(slider.settings) + slider.first
    images = [
        f'<img alt="{escape(text)}" src="{escape(address)}"{"" if i == chosen else " hidden"}>'
        for i, (text, address) in enumerate(pictures.items())
    ]
    ends = "".join(f"<span>{escape(word)}</span>" for word in slider.ends or ())
    originals = "\n".join(
        f'<figure><img alt="{escape(text)}" src="{escape(address)}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
        for text, address in beside.items()
    )
    return Template(_asset("chooser.html")).substitute(
        pictures="\n".join(images),
        beside=f'<div class="originals">\n{originals}\n</div>\n' if beside else "",
        setting=escape(list(pictures)[chosen]),
        name=escape(slider.name),
        first=slider.first,
        last=len(slider.settings) - 1,
        kind="ticks long" if sum(map(len, slider.settings)) > ROOM else "ticks",
        ticks="".join(f"<span>{escape(setting)}</span>" for setting in slider.settings),
        ends=f'<div class="ends" aria-hidden="true">{ends}</div>' if ends else "",
        buttons=_row(buttons) if buttons else "",
        facts=f"<p>{escape(facts)}</p>" if facts else "",
    )


def whole_page(title: str, body: str) -> str:
    """An HTML page of its own with `body` on it."""
    return Template(_asset("page.html")).substitute(title=escape(title), body=body)


def _row(buttons: Dial) -> str:
    labels = "\n".join(
        f'<label><input type="radio"{" checked" if i == buttons.first else ""}>'
        f"<span>{escape(setting)}</span></label>"
        for i, setting in enumerate(buttons.settings)
    )
    name = escape(buttons.name)
    return (
        f'<div class="buttons" role="radiogroup" aria-label="{name}">'
        f'<span class="name">{name}</span>\n<div>{labels}</div></div>\n'
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text("utf-8")
