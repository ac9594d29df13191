"""The large picture: what is being made, an image that was chosen, a result, or the brush."""

from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
from torch import Tensor

from stylelab.app.brush import Brush
from stylelab.app.image_choice import ChosenImage
from stylelab.app.kept import Made
from stylelab.app.live_view import before_after, picture
from stylelab.app.snapshot import Snapshot
from stylelab.images import load_image
from stylelab.vgg import resize

SHOWN = 768  # pixels of the longer side of a picture that is not being made


@dataclass(frozen=True, eq=False)
class Still:
    """A picture `(1, 3, H, W)` that stands in place of the transfer's, and its file if it is kept.

    Attributes:
        title: what it is.
    """

    image: Tensor
    title: str
    path: Path | None = None

    @classmethod
    def of_choice(cls, chosen: ChosenImage, title: str) -> "Still":
        """An image that was chosen."""
        return cls(resize(chosen.image, SHOWN), title)

    @classmethod
    def of_result(cls, path: Path, title: str) -> "Still":
        """A picture that was kept; ImageError if it is not there."""
        return cls(load_image(path, SHOWN), title, path)


class Stage(widgets.Box):
    """Shows one of these at a time.

    Attributes:
        still: what stands in place of the transfer's picture; None: nothing does.
        preview: where pictures are.
        compare: the slider that draws the photograph over the transfer's picture.
    """

    def __init__(self) -> None:
        self.still: Still | None = None
        self.preview = widgets.HTML().add_class("preview")
        tip = "Show the photograph on the left, up to here"
        self.compare = widgets.IntSlider(0, description="Before", tooltip=tip, readout=False)
        super().__init__([self.preview])
        self.add_class("stage")

    def draw(self, now: Snapshot, made: Made, brush: Brush | None) -> None:
        """Show `brush` if there is one; else the still, or what the transfer has made by now.

        `made` is what the transfer is made from, or would be.
        """
        shown = self.preview if brush is None else brush
        if self.children != (shown,):
            self.children = (shown,)
        if brush is not None:
            return
        if self.still:
            image, title = self.still.image, self.still.title
        elif now.state is None:
            image, title = resize(made.content.image, SHOWN), made.content.title
        else:
            image = before_after(made.content.image, now.best, self.compare.value / 100)
            title = f"{made.title}, after step {now.step}"
        self.preview.value = picture(image, title, 'decoding="sync"')
