"""One optimisation, from a start to a `Result`: its steps, its progress, its interruption.

Progress is shown with tqdm; an interrupt (Ctrl-C, or the notebook's stop button) ends an
optimisation with what it has.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from stylelab.engine import checkpoint as checkpoints
from stylelab.engine import heap, memory
from stylelab.engine.memory import is_memory
from stylelab.errors import SettingError, StylelabError
from stylelab.lbfgs import State, lbfgs
from stylelab.objective import Objective

STUCK = 30  # steps refused in a row; the trust radius is then below what float32 can tell apart
CHECK = 10  # steps from one look at that to the next


@dataclass(frozen=True)
class Result:
    """What an optimisation of N images ended with.

    Attributes:
        images: the best iterates, `(N, 3, H, W)`, sRGB clamped to [0, 1], on the CPU.
        history: weighted loss per term after every step, from the start on: `(steps + 1, N)` each.
        steps: steps done.
        seconds: wall time of the optimisation.
        interrupted: whether it was stopped before the steps asked for.
        stuck: whether no step of an image was to a finite, lower loss any more; the images are the
            best found before.
    """

    images: Tensor
    history: dict[str, Tensor]
    steps: int
    seconds: float
    interrupted: bool
    stuck: bool = False

    @property
    def losses(self) -> Tensor:
        """Total loss after every step, `(steps + 1, N)`."""
        return torch.stack(list(self.history.values())).sum(0)


def white_noise(height: int, width: int, seeds: Sequence[int]) -> Tensor:
    """White noise, uniform in [0.4, 0.6], one image for each seed, `(N, 3, H, W)`.

    An image depends on its seed alone, not on its place in the batch or on the device. The paper
    does not give the noise's contrast. The finest grain is what an optimisation takes longest to
    lose: of noise of full contrast more is left after the same number of steps.
    """
    makers = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.stack([torch.rand(3, height, width, generator=maker) for maker in makers])
    return 0.4 + 0.2 * noise


def optimise(
    objective: Objective,
    start: Tensor,
    steps: int,
    *,
    progress: bool = True,
    label: str = "",
    checkpoint: checkpoints.Place = None,
) -> Result:
    """Minimise `objective` from `start` `(N, 3, H, W)` with L-BFGS for `steps` steps.

    Args:
        checkpoint: a file, or `stylelab.engine.checkpoint.Checkpoint`, to keep where it stands in, and to
            go on from if it is there. It stays: remove it when the images are saved.

    Raises:
        SettingError: if `steps` is negative, loss or gradient at the start are not finite, or the
            checkpoint is of another run.
        StylelabError: if the checkpoint is damaged or cannot be written, or memory runs out.
    """
    if steps < 0:
        raise SettingError(f"steps must be 0 or more, got {steps}")
    if start.dtype in (torch.float16, torch.bfloat16):  # the network's; L-BFGS needs more
        start = start.float()
    memory.say_if_short(objective, start)
    kept = checkpoints.follow(checkpoint, objective, start, steps)
    began, terms, interrupted = time.perf_counter() - kept.seconds, [], False
    stuck = torch.zeros(len(start), dtype=torch.bool)
    try:
        with (
            tqdm(total=steps, desc=label, disable=not progress, unit="step") as bar,
            ExitStack() as on,
        ):
            for state in kept.states(lbfgs(objective.value_and_grad, start, resume=kept.resume)):
                terms.append(state.terms)
                if len(terms) == 1:
                    on.enter_context(heap.kept())
                bar.update(state.step - bar.n)
                if state.step % CHECK == 0 and isinstance(state, State):
                    stuck = (state.refused >= STUCK).cpu()  # waits for the device
                if state.step == steps or stuck.all():
                    break
    except KeyboardInterrupt:
        if not terms:
            raise
        interrupted = True
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise StylelabError(memory.sentence(objective, start)) from error
    history = {name: torch.stack([t[name] for t in terms]).cpu() for name in terms[0]}
    images = state.best.detach().clamp(0, 1).float().cpu()  # waits for the device
    seconds = time.perf_counter() - began
    return Result(images, history, len(terms) - 1, seconds, interrupted, bool(stuck.any()))
