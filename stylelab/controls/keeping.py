"""What a picture keeps of its photograph: as a parametrisation around another one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stylelab.controls.colours import views
from stylelab.controls.regions import cover
from stylelab.controls.styles import Style
from stylelab.objective import shown
from stylelab.parametrisation import Parametrisation, name_of, parametrisation_of
from stylelab.room import by_lines
from stylelab.rows import place
from stylelab.vgg import VGG


@dataclass(frozen=True, eq=False)
class Keeping:
    """The image is p + U V (b - p): b is the image of `base`, p the photograph.

    V projects changes of colour onto those that are allowed, U says how much of them there is at
    each position. With U = 0 and with V = 0 the picture is the photograph. The losses see
    the picture as it will be, so nothing of it needs mending afterwards, and soft edges of U stay
    soft. As a map from z it is as linear as the base's, and so is its `pull_back`.

    `to_image(from_image(x))` is x where U is 1, for an x whose other parts are the photograph's;
    in soft edges it is nearer to the photograph.

    Attributes:
        base: what the optimiser moves.
        photograph: p, `(N, 3, H, W)`, sRGB.
        cover: U, `(N, 1, H, W)`, in [0, 1].
        view: V, `(N, 3, 3)`; None: all colours may change (`stylelab.controls.colours.views`).
    """

    base: Parametrisation
    photograph: Tensor = field(repr=False)
    cover: Tensor = field(repr=False)
    view: Tensor | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{name_of(self.base)} and parts of the photograph kept"

    def to_image(self, z: Tensor) -> Tensor:
        photograph, cover, view = self.photograph.to(z), self.cover.to(z), self._view(z)

        def kept(part: Tensor, lines: slice) -> Tensor:
            there = photograph[:, :, lines]
            return there + cover[:, :, lines] * shown(part - there, view)

        return by_lines(kept, self.base.to_image(z))

    def from_image(self, image: Tensor) -> Tensor:
        return self.base.from_image(image)

    def pull_back(self, z: Tensor, gradient: Tensor) -> Tensor:
        cover, view = self.cover.to(z), self._view(z)
        transposed = None if view is None else view.mT

        def changed(part: Tensor, lines: slice) -> Tensor:
            return shown(cover[:, :, lines] * part, transposed)

        return self.base.pull_back(z, by_lines(changed, gradient))

    def _view(self, like: Tensor) -> Tensor | None:
        return None if self.view is None else self.view.to(like)


def keeping(
    network: VGG,
    base: str | Parametrisation,
    contents: Sequence[Tensor],
    styles: Sequence[Sequence[Style]],
    modes: Sequence[str],
) -> Parametrisation:
    """`base`, and around it a `Keeping` if any picture of a batch keeps any of its photograph.

    Args:
        contents: the photographs, `(1, 3, H, W)` of one size.
        styles, modes: the styles of each picture, and its `stylelab.controls.colours.MODES`.
    """
    base = parametrisation_of(base)
    used = [[each.content_mask for each in row if each.weight > 0] for row in styles]
    if set(modes) == {"style"} and all(any(mask is None for mask in masks) for masks in used):
        return base
    photographs = torch.cat([place(network, p) for p in contents])
    covers = torch.cat([cover(masks, photographs.shape[2:]) for masks in used]).to(photographs)
    view = views(modes, photographs)
    kept = view is not None or bool((covers < 1).any())
    return Keeping(base, photographs, covers, view) if kept else base
