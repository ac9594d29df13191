"""Quality against steps and seconds: each contender's picture, measured on its way.

At checkpoints the picture is measured as it would be saved (`stylelab.figures.measures`), with a
judge, a network that was not optimised; meanwhile the clock stands. `CONTENDERS` has the ways to
make a picture. All start from the photograph and minimise the same loss.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from benchmarks import contenders, neural_style_program
from benchmarks.contenders import ALPHA_BETA, synchronise
from benchmarks.textbook import Textbook, TextbookLoss
from stylelab import gallery, networks
from stylelab.description import Transfer
from stylelab.errors import SettingError
from stylelab.figures.measures import picture_measure
from stylelab.optimisation import optimise
from stylelab.parametrisation import FREQUENCIES, PIXELS, Parametrisation
from stylelab.synthesis import transfer_objective, transfer_start
from stylelab.vgg import VGG

CHECKPOINTS, GOALS = (10, 20, 35, 60, 100, 150, 200, 300, 500), (200, 500)
QUICK_CHECKPOINTS, QUICK_GOALS = (2, 4, 6, 8), (4, 8)
ARTWORKS = ("B", "C", "D", "E", "F")  # parts of the gallery's casts


@dataclass(frozen=True)
class Task:
    """What a contender is given."""

    network: VGG
    content: Tensor
    style: Tensor


@dataclass
class Watch:
    """Measures pictures at checkpoints, with a clock that stands meanwhile."""

    checkpoints: Sequence[int]
    measure: Callable[[Tensor], dict[str, float]]
    device: torch.device
    steps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    measures: dict[str, list[float]] = field(default_factory=dict)
    _began: float = 0.0

    def begin(self) -> None:
        """Start the clock: networks and images are loaded, and nothing is computed yet."""
        synchronise(self.device)
        self._began = time.perf_counter()

    def see(self, step: int, picture: Callable[[], Tensor]) -> None:
        """After every step; the picture is asked for at checkpoints alone."""
        if step in self.checkpoints:
            synchronise(self.device)
            stopped = time.perf_counter()
            self.note(step, stopped - self._began, picture())
            synchronise(self.device)
            self._began += time.perf_counter() - stopped

    def note(self, step: int, seconds: float, picture: Tensor) -> None:
        """Measure the picture that there is after so many steps and seconds."""
        self.steps.append(step)
        self.seconds.append(seconds)
        for name, value in self.measure(picture).items():
            self.measures.setdefault(name, []).append(value)


def textbook(task: Task, watch: Watch) -> None:
    """The plain loop; its last picture."""
    watch.begin()
    loop = Textbook(
        TextbookLoss(task.network, task.content, task.style, ALPHA_BETA), task.content, per_call=1
    )
    for step in range(1, watch.checkpoints[-1] + 1):
        loop.step()
        watch.see(step, loop.image.detach)


def neural_style(task: Task, watch: Watch) -> None:
    """The program, if it is installed and the network is one that it takes; else nothing."""
    if neural_style_program.is_installed() and neural_style_program.takes(task.network):
        scales = neural_style_program.same_loss(task.network)
        with neural_style_program.prepared(*vars(task).values(), scales) as program:
            for step, seconds, picture in program.pictures(watch.checkpoints):
                watch.note(step, seconds, picture)


def stylelab(
    task: Task, watch: Watch, *, parametrisation: Parametrisation = FREQUENCIES, **settings: object
) -> None:
    """stylelab as a user has it: its hooks, and the best picture so far.

    Args:
        parametrisation: as `optimise` takes it.
        settings: as `Transfer` takes them.
    """

    def look(run, states):
        for state in states:
            watch.see(state.step, partial(getattr, state, "best"))
            yield state

    watch.begin()
    asked = [Transfer(task.content, task.style, **({"alpha_beta": ALPHA_BETA} | settings))]
    optimise(
        transfer_objective(task.network, asked),
        transfer_start(task.network, asked),
        watch.checkpoints[-1],
        parametrisation=parametrisation,
        hooks=[*task.network.hooks, look],
        progress=False,
    )


CONTENDERS: dict[str, Callable[[Task, Watch], None]] = {
    "textbook": textbook,
    "neural-style": neural_style,
    "stylelab": stylelab,
    "stylelab, pixels": partial(stylelab, parametrisation=PIXELS),
    "stylelab, pixels, free range": partial(stylelab, parametrisation=PIXELS, range_weight=0.0),
}


def quality(
    network: str,
    size: int,
    images: str,
    part: str,
    judge: str,
    device: torch.device,
    checkpoints: Sequence[int] = CHECKPOINTS,
    goals: Sequence[int] = GOALS,
) -> dict:
    """All contenders on one artwork, one after the other.

    Args:
        network, judge: names or files: what is optimised, and what judges.
        images: "embedded" or "paper"; part: the artwork's in its cast, "B" to "F".
        goals: the checkpoints whose quality, as the textbook has it, is to be reached.

    Raises:
        SettingError: if the judge is the network that is optimised.
    """
    cast = gallery.cast(images)
    content, style = (gallery.open(cast[one], size) for one in ("content", part))
    vgg, judging = contenders.load(network, device), networks.load(judge)
    if (vgg.sha256 or vgg.name) == (judging.sha256 or judging.name):
        raise SettingError(f"{judge} is optimised; the judge must be another network")
    measure = partial(picture_measure, judging, content=content, style=style)
    task, runs = Task(vgg, content.to(device), style.to(device)), {}
    for contender in (textbook, stylelab):  # for warming up
        contender(task, Watch([1], lambda picture: {}, device))
    for name, contender in CONTENDERS.items():
        watch = Watch(checkpoints, lambda picture: measure(picture=picture.cpu()), device)
        contender(task, watch)
        if watch.steps:
            found = {"steps": watch.steps, "seconds": watch.seconds, "measures": watch.measures}
            runs[name] = found
    return {
        "network": vgg.name,
        "judge": judging.name,
        "images": images,
        "artwork": cast[part],
        "pixels": list(content.shape[2:]),
        "goals": list(goals),
        "photograph": measure(picture=content),
        "runs": runs,
    }
