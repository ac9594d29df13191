"""A style transfer that runs in the background: to be watched, paused, changed and stopped.

    run = Session(content, style, Settings(alpha_beta=1e-2, steps=200))
    run.pause(step=50)
    run.start()
    run.wait()
    run.change(alpha_beta=1e-3)  # from the current image on
    run.resume()
    picture = run.wait().best

The thread consumes the generator `stylelab.lbfgs.lbfgs` and looks at what is wanted of it between
two states. A change makes a new objective, and a new L-BFGS from the current iterate: the curvature
that the old one had gathered is that of another function.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from stylelab import networks, synthesis
from stylelab.errors import SettingError
from stylelab.images import resize
from stylelab.lbfgs import State, lbfgs
from stylelab.runs.settings import LIVE, Settings
from stylelab.vgg import VGG

RUNNING, PAUSED = "running", "paused"
ENDS = (FINISHED, STOPPED, FAILED) = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class Snapshot:
    """A session at one moment.

    Attributes:
        status: "ready", "running", "paused", "finished", "stopped" or "failed".
        step: steps done, over all changes.
        settings: those in force, or asked for and in force from the next step on.
        losses: (step, weighted loss by term) in order. A change adds a second entry for its step:
            the same image under the new objective.
        changes: (step, settings from there on) of each change made on the way.
        seconds: computed so far, pauses not counted.
        error: what ended a failed session.
    """

    status: str
    step: int
    settings: Settings
    losses: tuple[tuple[int, Mapping[str, float]], ...]
    changes: tuple[tuple[int, Settings], ...]
    seconds: float
    error: BaseException | None
    state: State | None

    @property
    def over(self) -> bool:
        """Whether no more steps will be done."""
        return self.status in ENDS

    @property
    def image(self) -> Tensor | None:
        """The current iterate, `(1, 3, H, W)`, sRGB clamped to [0, 1], on the CPU; None before."""
        return None if self.state is None else _on_cpu(self.state.image)

    @property
    def best(self) -> Tensor | None:
        """As `image`, the iterate of lowest loss since the last change of the objective."""
        return None if self.state is None else _on_cpu(self.state.best)


class Session:
    """One transfer in a background thread. All methods return at once, except `wait`.

    Args:
        content: `(1, 3, H, W)`, sRGB in [0, 1], of any size; `settings.size` is made of it.
        style: as `content`.
        settings: what to do.
        network: a network loaded already; by default `settings.network` is, in the thread.
        device: where to compute, as `networks.pick_device` reads it; of no effect on `network`.

    Raises:
        SettingError: if the device is not there.
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
        self.network = network  # once loaded
        self._images, self._device = (content, style), networks.pick_device(device)
        self._condition = threading.Condition()  # guards all that follows
        self._now = Snapshot("ready", 0, settings, (), (), 0.0, None, None)
        self._losses: list[tuple[int, Mapping[str, float]]] = []
        self._wanted, self._pause_at = RUNNING, math.inf
        self._thread: threading.Thread | None = None

    def snapshot(self) -> Snapshot:
        """How it stands."""
        with self._condition:
            return replace(self._now, losses=tuple(self._losses))

    def start(self) -> None:
        """Begin; SettingError if it has begun before: a session is one run."""
        with self._condition:
            if self._thread is not None:
                raise SettingError("this session was started before; make a new one")
            self._set(status=RUNNING)
            self._thread = threading.Thread(target=self._work, name="stylelab", daemon=True)
            self._thread.start()

    def pause(self, step: int | None = None) -> None:
        """Pause after `step`, or after the step that is being done; no effect once it is over."""
        with self._condition:
            if step is not None and step > self._now.step:
                self._pause_at = step
            else:
                self._want(PAUSED)

    def resume(self) -> None:
        """Go on after a pause."""
        self._want(RUNNING)

    def stop(self) -> None:
        """End after the step that is being done; image and losses stay readable."""
        self._want(STOPPED)

    def change(self, **changes: object) -> Settings:
        """Change settings from the current image on, or for the start; returns the new ones.

        Args:
            changes: any of `settings.LIVE`.

        Raises:
            SettingError: for another setting, a value out of range, or a session that is over.
            NetworkError: for a layer that the network does not have.
        """
        if fixed := sorted(set(changes) - set(LIVE)):
            raise SettingError(
                f"{fixed[0]} cannot change while a transfer runs, only {', '.join(LIVE)}; "
                "make a new session"
            )
        with self._condition:
            if self._now.over:
                raise SettingError("this session is over; make a new one for other settings")
            settings = replace(self._now.settings, **changes)
            if self.network is not None:
                self.network.check_layers(settings.layers)
            self._set(settings=settings)
            return settings

    def wait(self, step: int | None = None, timeout: float | None = None) -> Snapshot:
        """Block until `step` steps are done, or it is paused or over, or `timeout` seconds passed.

        Raises:
            BaseException: what ended a failed session, whatever it was.
        """

        def done() -> bool:
            if step is not None and self._now.step >= step:
                return True
            settled = self._wanted == PAUSED  # or about to go on, or to end
            return {RUNNING: False, PAUSED: settled}.get(self._now.status, True)

        with self._condition:
            self._condition.wait_for(done, timeout)
        now = self.snapshot()
        if now.error is not None:
            raise now.error
        return now

    def _want(self, what: str) -> None:
        with self._condition:
            if self._wanted != STOPPED:
                self._wanted = what
                self._condition.notify_all()

    def _set(self, **values: object) -> None:
        with self._condition:
            self._now = replace(self._now, **values)
            self._condition.notify_all()

    def _work(self) -> None:
        """The thread: all that happens in it, errors included, ends up in the snapshot."""
        try:
            end = FINISHED if self._optimise() else STOPPED
            self._set(status=end)
        except BaseException as error:  # nobody else would hear of it
            self._set(status=FAILED, error=error)

    def _optimise(self) -> bool:
        """Do all steps; whether it came to the last one."""
        settings = self._now.settings
        network = self.network or networks.load(settings.network, device=self._device)
        with self._condition:  # from here on, `change` asks the network for its layers
            network.check_layers(self._now.settings.layers)
            self.network = network
        content, style = (resize(image, settings.size) for image in self._images)
        image = synthesis.transfer_start(network, content, style, settings.init, settings.seed)
        step, settings = 0, None
        while True:  # once for each objective
            before, settings = settings, self._now.settings
            if before is not None:  # settings with which no step was done do not count
                earlier = [change for change in self._now.changes if change[0] < step]
                self._set(changes=(*earlier, (step, settings)))
            objective = synthesis.transfer_objective(
                network,
                content,
                [style],
                [settings.alpha_beta],
                [settings.style_weights],
                content_layer=settings.content_layer,
            )
            first = step
            for state in self._timed(lbfgs(objective.value_and_grad, image)):
                step, image = first + state.step, state.image
                self._report(step, state)
                if not self._may_go_on():
                    return False
                if self._now.settings.objective != settings.objective:
                    break
                if step >= self._now.settings.steps:
                    return True

    def _timed(self, states: Iterator[State]) -> Iterator[State]:
        """`states`, the time that each takes added to the snapshot's."""
        while True:
            began = time.perf_counter()
            state = next(states)
            self._set(seconds=self._now.seconds + time.perf_counter() - began)
            yield state

    def _report(self, step: int, state: State) -> None:
        terms = {name: float(value[0]) for name, value in state.terms.items()}
        with self._condition:
            self._losses.append((step, terms))
            if step >= self._pause_at:
                self._pause_at = math.inf
                self._want(PAUSED)
            self._set(step=step, state=state)

    def _may_go_on(self) -> bool:
        """Wait while a pause is wanted; whether to go on after it."""
        with self._condition:
            if self._wanted == PAUSED:
                self._set(status=PAUSED)
                self._condition.wait_for(lambda: self._wanted != PAUSED)
                if self._wanted == RUNNING:
                    self._set(status=RUNNING)
            return self._wanted == RUNNING


def _on_cpu(image: Tensor) -> Tensor:
    return image.detach().clamp(0, 1).float().cpu()
