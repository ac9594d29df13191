"""A long optimisation in an open notebook: its pictures and losses below the cell, as they develop.

They are for those who watch. When the optimisation ends they disappear, and where nobody watches,
as under papermill, they are never there, so that no executed notebook holds any of them.
"""

import io
import os
import time
from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from stylelab.figures.records import NOTES
from stylelab.lbfgs import State
from stylelab.optimisation import Run
from stylelab.vgg import resize

EVERY = 1.0  # seconds between two looks; a run that ends sooner shows nothing
HEIGHT, MOST = 180, 6  # of the pictures in pixels; how many of a batch are shown


def is_watched() -> bool:
    """Whether a person has the notebook of this kernel open: a Jupyter server started it for one.

    False in scripts, in `stylelab figures` and under papermill.
    """
    return "JPY_SESSION_NAME" in os.environ and NOTES not in os.environ


def watch(run: Run, states: Iterator[State]) -> Iterator[State]:
    """A hook: shows the current images and their losses, until the run ends."""
    from IPython.display import Image as Picture
    from IPython.display import Pretty, display

    handles, due, first = [], time.monotonic() + EVERY, None
    try:
        for state in states:
            first = state.loss if first is None else first
            if time.monotonic() >= due:
                shown = Picture(data=_jpeg(state.image[:MOST])), Pretty(_words(run, state, first))
                if handles:
                    for handle, each in zip(handles, shown, strict=True):
                        handle.update(each)
                else:
                    handles = [display(each, display_id=True) for each in shown]
                due = time.monotonic() + EVERY
            yield state
    finally:
        for handle in handles:
            handle.update({}, raw=True)


def _jpeg(images: Tensor) -> bytes:
    """Images `(N, 3, H, W)` side by side, as a small JPEG."""
    width = max(1, round(HEIGHT * images.shape[3] / images.shape[2]))
    small = resize(images.detach().float().cpu(), (HEIGHT, width)).clamp(0, 1)
    gap = torch.ones(3, HEIGHT, 4)
    strip = torch.cat([part for image in small for part in (image, gap)], 2)
    pixels = strip.mul(255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "JPEG", quality=85)
    return buffer.getvalue()


def _words(run: Run, state: State, first: Tensor) -> str:
    shares = (100 * state.loss / first).tolist()
    listed = ", ".join(f"{share:.3g} %" for share in shares[:MOST])
    more = f" and {len(shares) - MOST} more" if len(shares) > MOST else ""
    return f"step {state.step} of {run.steps}; loss {listed}{more} of that at the start"
