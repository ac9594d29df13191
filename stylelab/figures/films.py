"""An optimisation as a film: the states of an image, one after the other, as an animated GIF."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.figures.records import check_names, note_file
from stylelab.files.local import atomic
from stylelab.lbfgs import State
from stylelab.optimisation import Run
from stylelab.vgg import resize

WIDTH, STRIP = 200, 22  # pixels: of the picture, and under it for the step
FRAME, REST = 120, 2000  # milliseconds that a picture stays, and the last one


def moments(steps: int) -> list[int]:
    """Up to 30 steps from 0 to `steps`, close together at first, when most happens."""
    return sorted({round(x) - 1 for x in np.geomspace(1, steps + 1, 30)})


class Film:
    """A hook of `optimise`; its `frames` are the images at the run's `moments`, in [0, 1]."""

    def __init__(self) -> None:
        self.frames: dict[int, Tensor] = {}

    def __call__(self, run: Run, states: Iterator[State]) -> Iterator[State]:
        kept = moments(run.steps)
        for state in states:
            if state.step in kept:
                self.frames[state.step] = state.image.clamp(0, 1).cpu()
            yield state


def save_animation(frames: Mapping[int, Tensor], name: str, output: str | Path = ".") -> Path:
    """Save `<name>.gif` in the folder `output`; returns its path.

    `frames` are pictures `(1, 3, H, W)` in [0, 1] by their steps, in order.

    Raises:
        SettingError: if there are no frames, they differ in size, or `name` is not a plain file
            name.
    """
    check_names(film=name)
    if len(sizes := {tuple(frame.shape) for frame in frames.values()}) != 1:
        raise SettingError(f"an animation needs frames of one size, got {sorted(sizes)}")
    first, *others = [_frame(image, f"step {step}") for step, image in frames.items()]
    look = {"duration": [FRAME] * len(others) + [REST], "loop": 0}
    path = Path(output) / f"{name}.gif"
    with atomic(path) as file:
        first.save(file, "GIF", save_all=True, append_images=others, **look)
    note_file(path)
    return path


def _frame(image: Tensor, label: str) -> Image.Image:
    """A picture with its label below, in 128 colours of its own, the rare ones too."""
    height = max(1, round(WIDTH * image.shape[2] / image.shape[3]))
    pixels = resize(image.detach().float().cpu(), (height, WIDTH)).clamp(0, 1)[0]
    whole = Image.new("RGB", (WIDTH, height + STRIP), "white")
    whole.paste(Image.fromarray(pixels.mul(255).round().byte().permute(1, 2, 0).numpy()))
    place = (WIDTH / 2, height + STRIP / 2)
    ImageDraw.Draw(whole).text(place, label, "black", ImageFont.load_default(13), anchor="mm")
    return whole.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.FLOYDSTEINBERG)
