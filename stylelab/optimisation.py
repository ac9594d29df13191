"""One optimisation, from a start to a `Result`: the one loop that every experiment runs.

An optimiser yields states. *Hooks* are generators wrapped around it, one around the other. A hook
sees each state before the next step begins; it may look, wait, save, or end the run by returning.
Progress bars, checkpoints, memory warnings and pause buttons are hooks; see `show_progress`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from tqdm.auto import tqdm

from stylelab.adam import adam
from stylelab.errors import SettingError
from stylelab.lbfgs import State, lbfgs
from stylelab.objective import Objective
from stylelab.parametrisation import PIXELS, Parametrisation, parametrisation_of
from stylelab.room import by_lines

STUCK = 30  # steps refused in a row; the trust radius is then too small for float32 to resolve
CHECK = 10  # steps between one look at that and the next
Optimiser = Callable[..., Iterator[State]]
OPTIMISERS: dict[str, Optimiser] = {"lbfgs": lbfgs, "adam": adam}


@dataclass
class Run:
    """One optimisation, as its hooks see it.

    Attributes:
        objective, start, steps, label, parametrisation, optimiser: as `optimise` takes them.
        resume: a snapshot to start from. A hook may set it, and put another objective in place of
            this one, before it asks for the first state.
        earlier: the losses of the steps before `resume`, one dictionary each.
        seconds: the time that these took.
    """

    objective: Objective
    start: Tensor
    steps: int
    label: str = ""
    parametrisation: Parametrisation = PIXELS
    optimiser: Optimiser = lbfgs
    resume: Mapping[str, Tensor] | None = None
    earlier: list[dict[str, Tensor]] = field(default_factory=list)
    seconds: float = 0.0


Hook = Callable[[Run, Iterator[State]], Iterator[State]]


@dataclass(frozen=True)
class Result:
    """What an optimisation of N images ended with.

    Attributes:
        images: the best iterates, `(N, 3, H, W)`, sRGB clamped to [0, 1], on the CPU.
        final: weighted loss per term of these images as 8 bits hold them, `(N,)` each.
        history: weighted loss per term after every step, from the start on: `(steps + 1, N)` each.
        steps, seconds: steps done, and their wall time.
        interrupted: whether it was stopped before the steps asked for.
        stuck: whether some image could take no step any more; its best is from before.
        parametrisation: what the optimiser moved.
    """

    images: Tensor
    final: dict[str, Tensor]
    history: dict[str, Tensor]
    steps: int
    seconds: float
    interrupted: bool
    stuck: bool = False
    parametrisation: Parametrisation = PIXELS

    @property
    def losses(self) -> Tensor:
        """Total loss after every step, `(steps + 1, N)`."""
        return torch.stack(list(self.history.values())).sum(0)


def white_noise(height: int, width: int, seeds: Sequence[int]) -> Tensor:
    """White noise, uniform in [0.475, 0.525], one image for each seed, `(N, 3, H, W)`.

    An image depends on its seed alone. The paper does not give the noise's contrast; the more there
    is of it, the more grain is left after the same number of steps.
    """
    makers = [torch.Generator().manual_seed(seed) for seed in seeds]
    return 0.475 + 0.05 * torch.stack([torch.rand(3, height, width, generator=m) for m in makers])


def optimiser_of(choice: str | Optimiser) -> Optimiser:
    """The optimiser of a name in `OPTIMISERS`, or `choice` itself; SettingError for another."""
    found = OPTIMISERS.get(choice, choice) if isinstance(choice, str) else choice
    if not callable(found):
        raise SettingError(f"optimiser must be one of {', '.join(OPTIMISERS)}; got {choice!r}")
    return found


def optimiser_name(optimiser: Optimiser) -> str:
    """What an optimiser is called: its function's name, also where that has arguments already."""
    return getattr(getattr(optimiser, "func", optimiser), "__name__", type(optimiser).__name__)


def show_progress(run: Run, states: Iterator[State]) -> Iterator[State]:
    """A hook: a progress bar, in a terminal or a notebook."""
    with tqdm(total=run.steps, desc=run.label, unit="step") as bar:
        for state in states:
            bar.update(state.step - bar.n)
            yield state


@torch.inference_mode(False)
def optimise(
    objective: Objective,
    start: Tensor,
    steps: int,
    *,
    parametrisation: str | Parametrisation = PIXELS,
    optimiser: str | Optimiser = "lbfgs",
    hooks: Sequence[Hook] | None = None,
    progress: bool = True,
    label: str = "",
) -> Result:
    """Minimise `objective` from `start` `(N, 3, H, W)` for `steps` steps.

    An interrupt (Ctrl-C, or the notebook's stop button) ends it with the best images so far.

    Args:
        parametrisation: what the optimiser moves: "pixels", "frequencies", or one of your own.
        optimiser: "lbfgs", as in the paper; "adam", which needs less memory and more steps; or a
            function as these: takes `value_and_grad`, the start and `resume`, and yields states.
            `functools.partial(adam, learning_rate=0.1)` is Adam with another learning rate.
        hooks: what watches the run, the innermost first; None means the network's `hooks`.
        progress: show a progress bar labelled `label`.

    Raises:
        SettingError: if `steps` is negative, or loss or gradient at the start are not finite.
        StylelabError: what a hook raises, as when memory runs out.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        raise SettingError(f"steps must be a whole number, 0 or more, got {steps!r}")
    if start.dtype in (torch.float16, torch.bfloat16):  # the network's; L-BFGS needs more digits
        start = start.float()
    parametrisation = parametrisation_of(parametrisation)
    optimiser = optimiser_of(optimiser)
    run = Run(objective, start, steps, label, parametrisation, optimiser)
    stuck, finished = False, False

    def value_and_grad(z: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        terms, gradient = run.objective.value_and_grad(parametrisation.to_image(z))
        return terms, parametrisation.pull_back(z, gradient)

    def states() -> Iterator[State]:
        nonlocal stuck, finished
        begin = parametrisation.from_image  # no name for the large tensor that it gives
        for state in optimiser(value_and_grad, begin(run.start), resume=run.resume):
            run.resume = None  # large
            if state.step % CHECK == 0:  # waits for the device
                refusing = state.refused >= STUCK
                stuck, finished = bool(refusing.any()), bool(refusing.all())
            finished = finished or state.step >= steps
            yield replace(state, to_image=parametrisation.to_image)
            if finished:
                return

    if hooks is None:
        hooks = getattr(getattr(objective, "network", None), "hooks", ())
    watched = states()
    for hook in [*hooks, *([show_progress] if progress else [])]:
        watched = hook(run, watched)
    began, losses, state = time.perf_counter(), [], None
    try:
        for state in watched:
            losses.append(state.terms)
    except KeyboardInterrupt:
        if state is None:
            raise
    if state is None:
        raise SettingError("a hook ended the run before its first state")
    best = by_lines(lambda part, _: part.detach().clamp(0, 1), state.best)
    losses = [*run.earlier, *losses]
    final, images = _losses_in_8_bits(run.objective, best, state.terms), best.float().cpu()
    history = {name: torch.stack([row[name] for row in losses]).cpu() for name in final}
    seconds = run.seconds + time.perf_counter() - began
    return Result(images, final, history, state.step, seconds, not finished, stuck, parametrisation)


def _losses_in_8_bits(objective: Objective, images: Tensor, like: dict) -> dict[str, Tensor]:
    """Each term's losses of `images` rounded to 8 bits; NaN if an interrupt comes even then."""
    try:
        rounded = by_lines(lambda part, _: part.mul(255).round_().div_(255), images)
        terms, _ = objective.value_and_grad(rounded)
    except KeyboardInterrupt:
        terms = {name: torch.full_like(losses, torch.nan) for name, losses in like.items()}
    return {name: loss.cpu() for name, loss in terms.items()}
