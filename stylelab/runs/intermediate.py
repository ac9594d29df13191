"""A hook that saves the best picture so far every so many steps, beside the one at the end."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor
from tqdm.auto import tqdm

from stylelab.errors import StylelabError
from stylelab.files.text import printable
from stylelab.lbfgs import State
from stylelab.optimisation import Run


class SaveEvery:
    """A hook (see `stylelab.optimisation`) that saves OUT-step0050.png, OUT-step0100.png, ...

    A call that optimises several times, as `transfer_coarse_to_fine` does, counts all its steps.
    What the last step ends with is left to the caller. Behind a `Checkpoint`, a run that was killed
    and goes on has in the end the pictures of one that was not.

    Args:
        output: the picture at the end, OUT.png.
        every: so many steps.
        steps: of all runs together.
        save: called with an image `(1, 3, H, W)`, in [0, 1], its path, and its loss and steps by
            name. If it raises a StylelabError, a warning says so, once, and the work goes on.
    """

    def __init__(
        self, output: Path, every: int, steps: int, save: Callable[[Tensor, Path, dict], None]
    ) -> None:
        self.output, self.every, self.steps, self._save = output, every, steps, save
        self._before, self._failed = 0, False

    def path(self, step: int) -> Path:
        """The picture after `step` steps."""
        return self.output.with_name(f"{self.output.stem}-step{step:04}{self.output.suffix}")

    @staticmethod
    def is_of(output: Path, path: Path) -> bool:
        """Whether `path` may be one of the pictures saved beside `output`."""
        name = rf"{re.escape(output.stem)}-step\d{{4,}}{re.escape(output.suffix)}"
        together = path.resolve().parent == output.resolve().parent
        return together and re.fullmatch(name, path.name) is not None

    def __call__(self, run: Run, states: Iterator[State]) -> Iterator[State]:
        """Save pictures of `run`, whose first image is the one that is wanted."""
        before, first = self._before, None
        self._before += run.steps
        for state in states:
            if first is None:  # the losses of the start, perhaps those of a checkpoint
                terms = run.earlier[0] if run.earlier else state.terms
                first = float(sum(terms.values())[0])
            step = before + state.step
            if state.step and step % self.every == 0 and step != self.steps:
                found = {"steps_done": step, "first_loss": first}
                found["best_loss"] = float(state.best_loss[0])
                self._try(state.best[:1].clamp(0, 1), self.path(step), found)
            yield state

    def _try(self, image: Tensor, path: Path, found: dict) -> None:
        try:
            self._save(image, path, found)
        except StylelabError as error:
            if not self._failed:
                said = f"stylelab: {error}; the work goes on"
                tqdm.write(printable(said), file=sys.stderr)
            self._failed = True
