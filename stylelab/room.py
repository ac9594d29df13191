"""Where what is as large as a picture is kept, and how it is worked on.

That is the vectors of an optimiser, the image and its gradient, the target of a content layer. They
are in memory, unless another room is in use:

    with Scratch("/data/scratch"):  # stylelab.engine.scratch: in files
        result = transfer(network, content, style)
"""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial

import torch
from torch import Tensor

LARGE = 2**22  # pixels of a picture above which it is worked on in parts


def current() -> "Room":
    """The room in use."""
    return _ROOMS.get()[-1]


def is_large(image: Tensor) -> bool:
    """Whether an image `(N, C, H, W)` is worked on in parts."""
    return image[0, 0].numel() > LARGE


def lines_at_once(width: int) -> int:
    """How many lines of so many pixels to work on at a time."""
    return max(1, LARGE // (4 * width))


def by_lines(
    change: Callable[[Tensor, slice], Tensor], image: Tensor, into: Tensor | None = None
) -> Tensor:
    """The image `(N, C, H, W)` that `change` makes of `image`, some lines at a time if it is large.

    Args:
        change: gives lines of the new image, from those of `image` and the slice that they are.
        into: what may take the new image, if it is large: `image` itself, or another as large.
            None makes room for it.
    """
    if not is_large(image):
        return change(image, slice(None))
    room = current()
    found, step = room.like(image) if into is None else into, lines_at_once(image.shape[3])
    for first in range(0, image.shape[2], step):
        lines = slice(first, first + step)
        found[:, :, lines] = change(image[:, :, lines], lines)
        room.rest()
    return found


class Room:
    """Room for large tensors, and how they are worked on: here in memory.

    Vectors are `(N, D)`, a row for each image. What is `made` does not change later.
    """

    block = 2**25  # columns worked on at a time, so that what is temporary stays small

    def __enter__(self) -> "Room":
        _ROOMS.set((*_ROOMS.get(), self))
        return self

    def __exit__(self, *error: object) -> None:
        _ROOMS.set(_ROOMS.get()[:-1])

    def rest(self) -> None:
        """Let go of the memory of what can be read again. In memory there is nothing such."""

    def like(self, vector: Tensor, *shape: int) -> Tensor:
        """Zeros of a shape, or room for a vector as large."""
        return vector.new_zeros(shape) if shape else torch.empty_like(vector)

    def aside(self, vector: Tensor) -> Tensor:
        """`vector`, where it need not be in memory while a loss is evaluated."""
        return vector

    def blocks(self, vector: Tensor) -> Iterator[slice]:
        """The columns of a vector, a block after the other."""
        for first in range(0, vector.shape[1], self.block):
            yield slice(first, first + self.block)

    def made(self, function: Callable[..., Tensor], *vectors: Tensor) -> Tensor:
        """A vector of which each number depends on those at its place."""
        if type(self) is Room and vectors[0].shape[1] <= self.block:
            return function(*vectors)
        found = self.like(vectors[0])
        for at in self.blocks(found):
            found[:, at] = function(*(each[:, at] for each in vectors))
        return found

    def choice(self, mask: Tensor, these: Tensor, others: Tensor) -> Tensor:
        """Images of `these` where the mask `(N, 1)` says so, the `others` elsewhere."""
        if len(mask) == 1 and mask.device.type == "cpu":  # no copy; asking a GPU would wait for it
            return these if mask else others
        return self.made(partial(torch.where, mask), these, others)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Inner product of each image of `(N, D)` tensors, `(N, 1)`."""
        return sum((a[:, at] * b[:, at]).sum(1, keepdim=True) for at in self.blocks(a))

    def is_finite(self, vector: Tensor) -> Tensor:
        """Whether all numbers of each image are finite, `(N, 1)`."""
        each = [vector[:, at].abs().amax(1) for at in self.blocks(vector)]  # amax keeps NaN
        return torch.stack(each, 1).isfinite().all(1, keepdim=True)


_ROOMS: ContextVar[tuple[Room, ...]] = ContextVar("rooms", default=(Room(),))
