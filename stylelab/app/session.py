"""A style transfer that runs in the background: watch it, pause it, change it, stop it.

    session = Session(content, style, Settings(alpha_beta=1e-2, steps=200))
    session.pause(step=50)
    session.start()
    session.wait()
    session.change(alpha_beta=1e-3)  # continues from the current image
    session.resume()
    picture = session.wait().best

A thread runs `stylelab.optimisation.optimise` with a hook that obeys these requests between two
steps. A change of the objective starts a new optimisation from the current image: what the
optimiser has learned of the curvature belongs to the old objective.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stylelab import networks
from stylelab.engine.devices import pick_device
from stylelab.errors import SettingError
from stylelab.lbfgs import State
from stylelab.optimisation import Run, optimise
from stylelab.runs.settings import LIVE, OPTIONS, Settings
from stylelab.synthesis import (
    balance,
    transfer_objective,
    transfer_parametrisation,
    transfer_start,
)
from stylelab.vgg import VGG, resize

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


class Session:
    """One transfer in a background thread. All methods return at once, except `wait`.

    Args:
        content: `(1, 3, H, W)`, sRGB in [0, 1]; it is resized to `settings.size`.
        style: the same, to `settings.style_size`.
        settings: what to do; `levels` must be 1, as a session works at one size.
        network: a network already loaded; None loads `settings.network` in the thread.
        device: where to load it, as `engine.devices.pick_device` reads it.

    Raises:
        SettingError: if the device does not exist, or `settings.levels` is not 1.
    """

    def __init__(
        self,
        content: Tensor,
        style: Tensor,
        settings: Settings,
        *,
        network: VGG | None = None,
        device: str = "auto",
    ) -> None:
        if settings.levels != 1:
            raise SettingError(f"levels must be 1 in a session, got {settings.levels}")
        self.network = network  # None until it is loaded
        self.alpha_beta: float | None = None  # the ratio now used; None until it is known
        self._images, self._device = (content, style), pick_device(device)
        self._condition = threading.Condition()  # guards the attributes below
        self._now = Snapshot(settings)
        self._pause_at, self._stopping = math.inf, False

    def snapshot(self) -> Snapshot:
        """The session at this moment."""
        return self._now

    def start(self) -> None:
        """Start the thread; SettingError if it was started before: a session is one run."""
        with self._condition:
            if self._now.status != READY:
                raise SettingError("this session was started before; make a new Session")
            self._set(status=RUNNING)
        threading.Thread(target=self._work, name="stylelab", daemon=True).start()

    def pause(self, step: int = 0) -> None:
        """Pause after `step`, or after the current step if that is later."""
        with self._condition:
            self._pause_at = step

    def resume(self) -> None:
        """Continue after a pause; a pause at a later step still holds."""
        with self._condition:
            if self._pause_at <= self._now.step:
                self._pause_at = math.inf
            if self._now.status == PAUSED:
                self._set(status=RUNNING)

    def stop(self) -> None:
        """End after the current step; image and losses stay available."""
        with self._condition:
            self._stopping = True
            self.resume()

    def change(self, **changes: object) -> Settings:
        """Change settings out of `runs.settings.LIVE`; returns all settings with these changes.

        A session that runs continues from its current image.

        Raises:
            SettingError: for any other setting, a value out of range, or a session that is over.
            NetworkError: for a layer that the network does not have.
        """
        if fixed := sorted(set(changes) - set(LIVE)):
            raise SettingError(
                f"{fixed[0]} cannot change during a transfer, only {', '.join(LIVE)} can; "
                "make a new Session"
            )
        with self._condition:
            if self._now.over:
                raise SettingError("this session is over; make a new Session for other settings")
            settings = replace(self._now.settings, **changes)
            if self.network is not None:
                self.network.check_layers(settings.layers)
            self._set(settings=settings)
            return settings

    def wait(self, step: float = math.inf, timeout: float | None = None) -> Snapshot:
        """Block until `step` steps are done, the session is paused or over, or `timeout` seconds.

        Raises:
            BaseException: the exception that ended a failed session.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: self._now.step >= step or self._now.status != RUNNING, timeout
            )
            if self._now.error is not None:
                raise self._now.error
            return self._now

    def _set(self, **values: object) -> None:
        with self._condition:
            self._now = replace(self._now, **values)
            self._condition.notify_all()

    def _work(self) -> None:
        """The thread: how the transfer ends, errors included, is kept in the snapshot."""
        try:
            self._set(status=self._transfer())
        except BaseException as error:  # a thread has no caller to raise it to
            self._set(status=FAILED, error=error)

    def _transfer(self) -> str:
        """Do all steps, with a new objective after each change of it; how it ended."""
        asked = self._now.settings
        network = self.network or networks.load(asked.network, device=self._device, **asked.loading)
        with self._condition:  # from here on, `change` checks the layers itself
            network.check_layers(self._now.settings.layers)
            self.network, settings = network, self._now.settings
        content = resize(self._images[0], settings.size)
        style = resize(self._images[1], settings.style_size)
        described = [settings.as_transfer(content, style)]
        image = transfer_start(network, described)
        moves = transfer_parametrisation(network, described, settings.parametrisation)
        steps, hooks = OPTIONS["steps"].most, [*network.hooks, self._hook]
        how = {**settings.how, "parametrisation": moves, "hooks": hooks, "progress": False}
        while True:
            self._in_force, self._first = settings.goal, self._now.step
            transfer = balance(network, settings.as_transfer(content, style))
            self.alpha_beta = transfer.alpha_beta
            optimise(transfer_objective(network, [transfer]), image, steps, **how)
            with self._condition:
                image, settings = self._now.state.image, self._now.settings
                if self._stopping or settings.goal == self._in_force:
                    return STOPPED if self._stopping else FINISHED
                changes = dict(self._now.changes) | {self._now.step: settings}
                self._set(changes=tuple(changes.items()))

    def _hook(self, run: Run, states: Iterator[State]) -> Iterator[State]:
        """Report each state, then wait while paused; return at the end or after a change."""
        began = time.perf_counter()
        for state in states:
            terms = [state.terms]
            if state.step == len(run.earlier):  # the first state, perhaps of a checkpoint
                terms, began = [*run.earlier, state.terms], began - run.seconds
            step = self._first + state.step
            losses = tuple(enumerate(map(_values, terms), step + 1 - len(terms)))
            seconds = self._now.seconds + time.perf_counter() - began
            self._set(step=step, state=state, losses=self._now.losses + losses, seconds=seconds)
            yield state
            with self._condition:
                if step >= self._pause_at and not self._stopping:
                    self._pause_at = math.inf
                    self._set(status=PAUSED)
                    self._condition.wait_for(lambda: self._now.status != PAUSED)
                now = self._now.settings
                if self._stopping or step >= now.steps or now.goal != self._in_force:
                    return
            began = time.perf_counter()


def _values(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """The loss of each term, in one transfer from the device."""
    values = torch.stack([loss[0] for loss in terms.values()]).tolist()
    return dict(zip(terms, values, strict=True))
