"""Where the styles of the playground go, and where in the paintings they are taken from."""

from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import torch
from torch import Tensor

from stylelab.app.brush import SIDE, Brush
from stylelab.app.image_choice import ImageChoice
from stylelab.app.knobs import text
from stylelab.controls.styles import Style
from stylelab.errors import SettingError
from stylelab.vgg import resize

SURFACES = ("photograph", "style", "style 2")
HOW = (
    "Paint in the large picture. On the photograph: where the style goes. The rest gets style 2, "
    "or stays as it is. On a painting: where its style is taken from. It counts at the next start. "
    "By keyboard: arrows move the brush, space sets it down and lifts it, E erases, [ and ] change "
    "its size."
)
NEAR = 0.02  # by which two masks may differ from being each other's rest


@dataclass(frozen=True, eq=False)
class Painted:
    """The masks of a transfer, `(1, 1, h, w)` in [0, 1] each; None where nothing is painted."""

    content: Tensor | None = None
    style: Tensor | None = None
    second: Tensor | None = None

    def styles(self, first: Tensor, second: Tensor | None = None) -> Tensor | list[Style]:
        """One image, `(1, 3, H, W)`, or several styles, as a `Transfer` takes them.

        Raises:
            SettingError: if nothing of the photograph is left for the second style.
        """
        if second is None and self.content is None and self.style is None:
            return first
        styles = [Style(first, 1.0, self.content, self.style)]
        if second is not None:
            rest = None if self.content is None else 1 - self.content
            if rest is not None and not rest.any():
                raise SettingError(
                    "the whole photograph is painted, and nothing is left for style 2; erase some "
                    "of it, or choose no second style"
                )
            styles.append(Style(second, 1.0, rest, self.second))
        return styles

    def files(self, content: Tensor, styles: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """The masks that `stylelab transfer` would be given with these images, by their roles.

        It wants one for each style where there is any: a white one stands for none.
        """
        taken = [self.style, self.second][: len(styles)]
        if self.content is None and all(mask is None for mask in taken):
            return {}
        found = {"content_mask": [white(content)] * len(styles)}
        if self.content is not None:
            found["content_mask"] = [self.content, 1 - self.content][: len(styles)]
        if any(mask is not None for mask in taken):
            pairs = zip(taken, styles, strict=True)
            found["style_mask"] = [white(image) if mask is None else mask for mask, image in pairs]
        return found

    @classmethod
    def read(cls, files: dict[str, Sequence[Tensor]]) -> "Painted":
        """What `files` would give; SettingError if the playground cannot have painted it."""
        content, styles = list(files.get("content_mask", ())), list(files.get("style_mask", ()))
        if len(content) > 2 or (styles and len(styles) != len(content)):
            raise SettingError("it has more regions than the playground can paint")
        if len(content) == 2:
            first, rest = content
            white = bool((first == 1).all() and (rest == 1).all())
            if not white and float((first + rest - 1).abs().max()) > NEAR:
                raise SettingError("its two regions are not each other's rest")
        found = [None if (mask == 1).all() else mask for mask in [*content[:1], *styles]]
        found += [None] * 3
        return cls(found[0] if content else None, *(found[1:3] if styles else ()))


def white(image: Tensor) -> Tensor:
    """The mask of all of an image `(1, 3, H, W)`, as `Brush` would paint it."""
    return torch.ones(1, 1, *resize(image, SIDE).shape[2:])


class Regions(widgets.VBox):
    """What is painted on the photograph and the paintings, and the choice of what to paint on.

    `brushes` has a `Brush` for each; `surface` is the choice.

    Args:
        images: the choices of images: content, style and second style.
    """

    def __init__(self, images: Sequence[ImageChoice]) -> None:
        self._images = images
        self.brushes = {name: Brush() for name in SURFACES}
        self.surface = widgets.ToggleButtons(
            options=SURFACES[:2], tooltips=[f"Paint on the {name}" for name in SURFACES]
        )
        super().__init__([text(HOW, "hint"), self.surface])
        for name, choice in zip(SURFACES, images, strict=True):
            choice.observe(lambda _, name=name, choice=choice: self._begin(name, choice), "chosen")
            self._begin(name, choice)

    @property
    def brush(self) -> Brush:
        """The brush in use."""
        return self.brushes[self.surface.value]

    @property
    def painted(self) -> Painted:
        """The masks as they are now."""
        first, style, second = (self.brushes[name].mask for name in SURFACES)
        return Painted(first, style, second if self._images[2].chosen else None)

    @painted.setter
    def painted(self, painted: Painted) -> None:
        masks = (painted.content, painted.style, painted.second)
        for name, mask in zip(SURFACES, masks, strict=True):
            self.brushes[name].mask = mask

    def _begin(self, name: str, choice: ImageChoice) -> None:
        if choice.chosen:
            self.brushes[name].paint_on(choice.chosen.image, f"{choice.title}, the {name}")
        if name == SURFACES[2]:
            kept, shown = self.surface.value, SURFACES if choice.chosen else SURFACES[:2]
            self.surface.options = shown
            self.surface.value = kept if kept in shown else SURFACES[0]
