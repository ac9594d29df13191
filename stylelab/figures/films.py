"""An optimisation as a film: the states of an image, one after the other, as an animated GIF."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import PIL.Image
from PIL import ImageDraw, ImageFont
from torch import Tensor

from stylelab.errors import SettingError
from stylelab.figures.manifest import note_file
from stylelab.figures.records import check_names
from stylelab.files.local import atomic
from stylelab.lbfgs import State
from stylelab.optimisation import Run
from stylelab.vgg import resize

STRIP = 22  # pixels under the picture, for the step


def moments(steps: int, count: int = 30) -> list[int]:
    """Up to `count` steps from 0 to `steps`, close together at first, when most happens.

    Raises:
        SettingError: for a negative number of steps or fewer than two moments.
    """
    if steps < 0 or count < 2:
        raise SettingError(f"steps must be 0 or more and count at least 2, got {steps} and {count}")
    growth = (steps + 1) ** (1 / (count - 1))
    return sorted({min(steps, round(growth**i) - 1) for i in range(count)} | {steps})


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


def save_animation(
    frames: Mapping[int, Tensor],
    name: str,
    output: str | Path = ".",
    *,
    width: int = 240,
    rest: float = 2.0,
) -> Path:
    """Save `<name>.gif` in the folder `output`; returns its path.

    Args:
        frames: pictures `(1, 3, H, W)` in [0, 1] by their steps, in order.
        name: of the file.
        output: the folder.
        width: of the film, in pixels; a wide film makes a large file.
        rest: seconds that the last picture stays; each of the others stays 0.12.

    Raises:
        SettingError: if there are no frames, they differ in size, or `name` is not a plain file
            name.
    """
    check_names(film=name)
    if not frames:
        raise SettingError("an animation needs at least one frame")
    if len(sizes := {tuple(frame.shape) for frame in frames.values()}) > 1:
        raise SettingError(f"the frames of an animation must have one size, got {sorted(sizes)}")
    pictures = [_frame(image, f"step {step}", width) for step, image in frames.items()]
    path = Path(output) / f"{name}.gif"
    with atomic(path) as file:
        pictures[0].save(
            file,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=[120] * (len(pictures) - 1) + [round(1000 * rest)],
            loop=0,
        )
    note_file(path)
    return path


def _frame(image: Tensor, label: str, width: int) -> PIL.Image.Image:
    """A picture with its label below, in 64 colours of its own."""
    height = max(1, round(width * image.shape[2] / image.shape[3]))
    pixels = resize(image.detach().float().cpu(), (height, width)).clamp(0, 1)[0]
    picture = PIL.Image.fromarray(pixels.mul(255).round().byte().permute(1, 2, 0).numpy())
    whole = PIL.Image.new("RGB", (width, height + STRIP), "white")
    whole.paste(picture)
    place = (width / 2, height + STRIP / 2)
    ImageDraw.Draw(whole).text(place, label, "black", ImageFont.load_default(13), anchor="mm")
    return whole.quantize(64, dither=PIL.Image.Dither.FLOYDSTEINBERG)
