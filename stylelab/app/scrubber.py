"""Pictures to scrub through on a page: α/β with a slider, style layers with buttons.

A `Scrubber` is HTML that needs nothing else, no kernel and no network: pictures, style and script
are inside it. It works in JupyterLab, in exported notebooks and on web pages.
"""

import base64
import io
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image
from torch import Tensor

from stylelab.errors import ImageError, SettingError
from stylelab.files.local import ASSETS
from stylelab.images import load_image

Picture = Tensor | str | os.PathLike[str]


class Scrubber:
    """Pictures by style layer and α/β, one shown at a time; as HTML it has the controls for it."""

    def __init__(
        self,
        pictures: Mapping[tuple[str, float], Picture],
        *,
        originals: Mapping[str, Picture] | None = None,
        rows: str = "Style layers up to",
        columns: str = "α/β",
        ends: Sequence[str] = ("more style", "more content"),
        network: str = "",
        note: str = "",
        credits: Sequence[str] = (),
        quality: int = 80,
    ) -> None:
        """Keep the pictures as JPEGs.

        Args:
            pictures: for every layer and every ratio one, a tensor `(1, 3, H, W)` in [0, 1] or a
                file, all of one size; a JPEG file is taken as it is. Layers are shown in their
                order here, ratios ascending.
            originals: what the pictures were made from, by label, such as "photograph".
            rows: the label of the buttons that choose the layer.
            columns: the label of the slider that chooses the ratio.
            ends: what it means to move the slider to the left, and to the right.
            network: the network used.
            note: what else matters, such as the steps.
            credits: of the images used.
            quality: of JPEGs made here, 1 to 95.

        Raises:
            SettingError: if a picture is missing, sizes differ, or another argument will not do.
            ImageError: if a picture cannot be read or is no image.
        """
        if type(quality) is not int or not 1 <= quality <= 95:
            raise SettingError(f"quality must be a whole number from 1 to 95, got {quality!r}")
        if not pictures:
            raise SettingError("pictures is empty; give one for every layer and ratio")
        for key in pictures:
            _check_key(key)
        self.layers = list(dict.fromkeys(layer for layer, _ in pictures))
        self.ratios = sorted({float(ratio) for _, ratio in pictures})
        keys = [(layer, ratio) for layer in self.layers for ratio in self.ratios]
        if missing := [key for key in keys if key not in pictures]:
            raise SettingError(
                f"pictures lacks {missing[0]}; give one for every layer and ratio"
                + (f" ({len(missing)} are missing)" if len(missing) > 1 else "")
            )
        self.pictures = {key: _jpeg(pictures[key], quality, f"picture {key}") for key in keys}
        sizes = {key: _size(jpeg) for key, jpeg in self.pictures.items()}
        if uneven := [key for key in keys if sizes[key] != sizes[keys[0]]]:
            raise SettingError(
                f"pictures must be of one size; {keys[0]} is {sizes[keys[0]]} pixels, "
                f"{uneven[0]} {sizes[uneven[0]]}"
            )
        self.originals = {
            label: _jpeg(picture, quality, f"original {label!r}")
            for label, picture in (originals or {}).items()
        }
        self.rows, self.columns, self.ends = rows, columns, list(ends)
        self.network, self.note, self.credits = network, note, list(credits)

    def __repr__(self) -> str:
        counts = f"{len(self.layers)} choices of layers, {len(self.ratios)} ratios"
        return f"<Scrubber: {counts}{self.network and ', '}{self.network}>"

    def words(self, layer: str, ratio: float) -> str:
        """The setting of a picture in words."""
        return f"{self.rows} {layer}, {self.columns} = {number(ratio)}"

    def _repr_html_(self) -> str:
        """The pictures and their controls, with the style and the script that these need."""
        shown = (self.layers[-1], self.ratios[len(self.ratios) // 2])
        pictures = "".join(
            _img(jpeg, self.words(*key), "" if key == shown else "hidden")
            for key, jpeg in self.pictures.items()
        )
        originals = "".join(
            f"<figure>{_img(jpeg, label)}<figcaption>{_text(label)}</figcaption></figure>"
            for label, jpeg in self.originals.items()
        )
        buttons = "".join(
            f'<label><input type="radio"{" checked" if layer == shown[0] else ""}>'
            f"<span>{_text(layer)}</span></label>"
            for layer in self.layers
        )
        ticks = "".join(f"<span>{number(ratio)}</span>" for ratio in self.ratios)
        ends = "".join(f"<span>{_text(end)}</span>" for end in self.ends)
        rows, columns = _text(self.rows), _text(self.columns)
        parts = [self.network and f"Network: {self.network}", self.note]
        parts.append(self.credits and "Images: " + "; ".join(self.credits))
        style, script = ((ASSETS / f"scrubber.{kind}").read_text("utf-8") for kind in ("css", "js"))
        return f"""<div class="stylelab-scrubber" role="group" aria-label="Style transfers">
<style>{style}</style>
<div class="view"><div class="pictures">{pictures}</div>
<div class="originals">{originals}</div></div>
<output aria-live="polite">{_text(self.words(*shown))}</output>
<div class="ratios"><span class="name">{columns}</span><div>
<input type="range" min="0" max="{len(self.ratios) - 1}" step="1" aria-label="{columns}"
value="{self.ratios.index(shown[1])}">
<div class="ticks" aria-hidden="true">{ticks}</div>
<div class="ends" aria-hidden="true">{ends}</div></div></div>
<div class="layers" role="radiogroup" aria-label="{rows}"><span class="name">{rows}</span>
<div>{buttons}</div></div>
<p class="hint">The controls work once this cell has run here, or the notebook is trusted.</p>
<p class="used">{_text(" · ".join(part for part in parts if part))}</p>
<script>{script}</script>
</div>"""


def _text(text: str) -> str:
    """`text` for HTML, on one line: Markdown, which a page may be made from, reads lines."""
    return escape(text).replace("\n", "&#10;").replace("\r", "&#13;")


def _check_key(key: object) -> None:
    """That a picture goes by a layer and a ratio."""
    match key:
        case (str(), int() | float() as ratio) if ratio is not True and 0 <= ratio < math.inf:
            return
    raise SettingError(
        f"a picture must go by a layer and a ratio of 0 or more, as ('conv3_1', 1e-3); got {key!r}"
    )


def _jpeg(picture: Picture, quality: int, name: str) -> bytes:
    """A picture as a JPEG file: the very bytes, if it is one."""
    if not isinstance(picture, Tensor):
        image = load_image(picture)  # refuses what is not an image
        data = Path(picture).read_bytes()
        if data.startswith(b"\xff\xd8\xff"):
            return data
    else:
        image = picture
        if image.shape[:2] != (1, 3) or image.dim() != 4 or not image.isfinite().all():
            raise ImageError(f"{name} must be finite and (1, 3, H, W), got {tuple(image.shape)}")
    pixels = image[0].detach().float().cpu().clamp(0, 1).mul(255).round().byte()
    buffer = io.BytesIO()
    page = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    page.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _size(jpeg: bytes) -> str:
    with Image.open(io.BytesIO(jpeg)) as image:
        return f"{image.width} x {image.height}"


def _img(jpeg: bytes, words: str, more: str = "") -> str:
    code = base64.b64encode(jpeg).decode()
    return f'<img alt="{_text(words)}" src="data:image/jpeg;base64,{code}" {more}>'


def number(ratio: float) -> str:
    """A ratio as the figures write it: 1e-4, 8e-4, 1, 10."""
    if ratio == 0 or 1 <= ratio < 1e4:
        return f"{ratio:g}"
    mantissa, _, exponent = f"{ratio:e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"
