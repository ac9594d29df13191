"""A style transfer that runs in the background: watch it, pause it, change it, stop it.

    session = Session(content, style, Settings(alpha_beta=1e-2, steps=200))
    session.pause(step=50)
    session.start()
    session.wait()
    session.change(alpha_beta=1e-3)  # continues from the current image
    session.resume()
    picture = session.wait().best
    session.proceed(steps=300)  # continues after the end, too

A thread runs `stylelab.optimisation.optimise` with a hook that obeys these requests between two
steps. A change of the objective starts a new optimisation from the current image: what the
optimiser has learned of the curvature belongs to the old objective.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stylelab import networks
from stylelab.app.reweighing import Objectives
from stylelab.app.snapshot import FAILED, FINISHED, PAUSED, READY, RUNNING, STOPPED, Snapshot
from stylelab.controls.styles import Style
from stylelab.engine.devices import pick_device
from stylelab.errors import SettingError
from stylelab.lbfgs import State
from stylelab.optimisation import Run, optimise
from stylelab.runs import calls
from stylelab.runs.settings import LIVE, OPTIONS, Settings
from stylelab.synthesis import transfer_parametrisation, transfer_start
from stylelab.vgg import VGG, resize


class Session:
    """One transfer in a background thread. All methods return at once, except `wait`.

    Args:
        content: `(1, 3, H, W)`, sRGB in [0, 1]; it is resized to `settings.size`.
        style: the same, to `settings.style_size`; or several styles, which may have regions.
        settings: what to do; `levels` must be 1 or None, as a session works at one size.
        network: a network already loaded; None loads `settings.network` in the thread.
        device: where to load it, as `engine.devices.pick_device` reads it.

    Raises:
        SettingError: if the device does not exist, or `settings.levels` is above 1.
    """

    def __init__(
        self,
        content: Tensor,
        style: Tensor | Sequence[Style],
        settings: Settings,
        *,
        network: VGG | None = None,
        device: str = "auto",
    ) -> None:
        if settings.levels not in (None, 1):
            raise SettingError(f"levels must be 1 in a session, got {settings.levels}")
        self.network = network  # None until it is loaded
        self.alpha_beta: float | None = None  # the ratio now used; None until it is known
        self._content, self._style, self._device = content, style, pick_device(device)
        self._condition = threading.Condition()  # guards the attributes below
        self._now = Snapshot(settings)
        self._pause_at, self._stopping = math.inf, False
        self._objectives: Objectives | None = None  # made by the thread, as the network is
        self._in_force: tuple = ()  # what the objective in use depends on
        self._first = 0  # the step at which it began
        self._kept: Mapping[str, Tensor] | None = None  # all that `proceed` continues from

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

    def proceed(self, steps: int, **changes: object) -> Settings:
        """Go on after the end, as if there had been none, until `steps` steps are done in all.

        Args:
            steps: more than were done.
            changes: as `change` takes them.

        Raises:
            SettingError: for a session that did not stop or finish, and what `change` refuses.
            NetworkError: for a layer that the network does not have.
        """
        with self._condition:
            now = self._now
            if now.status not in (FINISHED, STOPPED) or now.state is None or steps <= now.step:
                raise SettingError(
                    f"this session is {now.status} after {now.step} steps; only one that stopped "
                    "or finished can proceed, to more steps"
                )
            self._pause_at, self._stopping = math.inf, False
            settings = self._checked(steps=steps, **changes)
            self._set(settings=settings, status=RUNNING)
        threading.Thread(target=self._work, name="stylelab", daemon=True).start()
        return settings

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
        with self._condition:
            if self._now.over:
                raise SettingError("this session is over; make a new Session for other settings")
            settings = self._checked(**changes)
            self._set(settings=settings)
            return settings

    def _checked(self, **changes: object) -> Settings:
        """The settings with these changes; the errors are those of `change`."""
        if fixed := sorted(set(changes) - set(LIVE)):
            raise SettingError(
                f"{fixed[0]} cannot change during a transfer, only {', '.join(LIVE)} can; "
                "make a new Session"
            )
        settings = replace(self._now.settings, **changes)
        if self.network is not None:
            self.network.check_layers(settings.layers)
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
        """Do the steps asked for, with a new objective after each change; how it ended."""
        if self._objectives is None:
            self._prepare()
        while True:
            self._optimise(self._now)
            with self._condition:
                if self._stopping or self._now.settings.goal == self._in_force:
                    return STOPPED if self._stopping else FINISHED

    def _prepare(self) -> None:
        """Load the network and bring the images to their sizes."""
        asked = self._now.settings
        network = self.network or networks.load(
            asked.network, device=self._device, **calls.loading(asked)
        )
        with self._condition:  # from here on, `change` checks the layers itself
            network.check_layers(self._now.settings.layers)
            self.network = network
        self._content, side = resize(self._content, asked.size), asked.style_size
        if isinstance(self._style, Tensor):
            self._style = resize(self._style, side)
        else:
            self._style = [replace(each, image=resize(each.image, side)) for each in self._style]
        self._objectives = Objectives(network, self._content, self._style)

    def _optimise(self, now: Snapshot) -> None:
        """One optimisation, from the image now to the end or the next change."""
        settings, network = now.settings, self.network
        if now.state is not None:
            settings = replace(settings, init="content")  # what it began with is not needed
        described = [calls.as_transfer(settings, self._content, self._style)]
        start = transfer_start(network, described) if now.state is None else now.state.image
        moves = transfer_parametrisation(network, described, settings.parametrisation)
        if settings.goal != self._in_force:
            self._objective, self.alpha_beta = self._objectives(settings)
            self._in_force, self._kept = settings.goal, None
            if now.state is not None:
                changes = dict(now.changes) | {now.step: now.settings}
                self._set(changes=tuple(changes.items()))
        if self._kept is None:
            self._first = now.step
        hooks = [*network.hooks, self._hook]
        how = {**calls.how(settings), "parametrisation": moves, "hooks": hooks, "progress": False}
        optimise(self._objective, start, OPTIONS["steps"].most, **how)

    def _hook(self, run: Run, states: Iterator[State]) -> Iterator[State]:
        """Report each state, then wait while paused; return at the end or after a change."""
        began, known = time.perf_counter(), self._kept is not None
        if known:
            run.resume, self._kept = self._kept, None
        for state in states:
            step = self._first + state.step
            if known:  # the state that an earlier run ended with
                known = False
                self._set(state=state)
            else:
                terms = [state.terms]
                if state.step == len(run.earlier):  # the first state, perhaps of a checkpoint
                    terms, began = [*run.earlier, state.terms], began - run.seconds
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
                    self._kept = state.snapshot()
                    return
            began = time.perf_counter()


def _values(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """The loss of each term, in one transfer from the device."""
    values = torch.stack([loss[0] for loss in terms.values()]).tolist()
    return dict(zip(terms, values, strict=True))
