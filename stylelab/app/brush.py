"""A brush that paints a mask on an image: by mouse, finger, pen or keyboard."""

from pathlib import Path

import anywidget
import torch
import traitlets
from torch import Tensor

from stylelab.app.live_view import data_url
from stylelab.controls.regions import fitted
from stylelab.vgg import resize

ASSETS = Path(__file__).parent / "assets"
SIDE = 384  # the longer side of a mask, in pixels: it has soft edges, and is sent after each stroke
SHOWN = 768  # the longer side of the image beneath


class Brush(anywidget.AnyWidget):
    """An image, and a mask that is painted on it; an attribute for each of both.

    Attributes:
        pixels: the mask as the page holds it, a byte for each pixel by rows; empty where nothing
            is painted.
    """

    _esm = ASSETS / "brush.js"
    label = traitlets.Unicode("").tag(sync=True)
    image = traitlets.Unicode("").tag(sync=True)
    width = traitlets.Int(1).tag(sync=True)
    height = traitlets.Int(1).tag(sync=True)
    pixels = traitlets.Any(b"").tag(sync=True)

    def paint_on(self, image: Tensor, label: str) -> None:
        """Take another image, `(1, 3, H, W)` sRGB in [0, 1], and begin anew; `label` names it."""
        small = resize(image, SIDE)
        with self.hold_sync():
            self.height, self.width = small.shape[2:]
            self.image, self.label = data_url(resize(image, SHOWN)), label
            self.pixels = b""

    @property
    def mask(self) -> Tensor | None:
        """What is painted, `(1, 1, h, w)` in [0, 1]; None where nothing is."""
        data = bytes(self.pixels)
        if len(data) != self.width * self.height or not any(data):
            return None
        values = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return values.reshape(1, 1, self.height, self.width) / 255

    @mask.setter
    def mask(self, mask: Tensor | None) -> None:
        """Paint `mask`, `(1, 1, h, w)` in [0, 1] of any size."""
        if mask is None:
            self.pixels = b""
        else:
            values = fitted(mask, (self.height, self.width)).mul(255).round().byte()
            self.pixels = values.numpy().tobytes()
