"""A transfer in the background at one moment: what `stylelab.app.session` tells of itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from stylelab.lbfgs import State
from stylelab.runs.settings import Settings

READY, RUNNING, PAUSED = "ready", "running", "paused"
ENDS = (FINISHED, STOPPED, FAILED) = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class Snapshot:
    """A session at one moment.

    Attributes:
        settings: the latest, in force from the next step on.
        status: "ready", "running", "paused", "finished", "stopped" or "failed".
        step: steps done, over all changes.
        losses: (step, weighted loss by term) in order. A change adds a second entry for its step:
            the same image under the new objective.
        changes: (step, settings from then on) of each change of the objective.
        seconds: time spent computing, without pauses.
        error: the exception that ended a failed session.
        state: the optimiser's state; None before the first.
    """

    settings: Settings
    status: str = READY
    step: int = 0
    losses: tuple[tuple[int, Mapping[str, float]], ...] = ()
    changes: tuple[tuple[int, Settings], ...] = ()
    seconds: float = 0.0
    error: BaseException | None = None
    state: State | None = None

    @property
    def over(self) -> bool:
        """Whether the session has ended, for whatever reason."""
        return self.status in ENDS

    @property
    def best(self) -> Tensor | None:
        """The image of lowest loss since the last change of the objective; None before the first.

        `(1, 3, H, W)`, sRGB clamped to [0, 1], on the CPU.
        """
        return None if self.state is None else self.state.best.detach().clamp(0, 1).float().cpu()
