"""Style transfer as an app in a notebook: choose two images, start, change settings, watch.

    from stylelab.app.playground import Playground

    Playground()

The app shows a `stylelab.app.session.Session`. Every result is saved in a folder, and shown again
when the app is opened. One lock is held by whoever updates the page: an event handler, or the
thread that watches the session.
"""

import threading
import time
from collections.abc import Callable
from html import escape
from pathlib import Path

import ipywidgets as widgets

from stylelab import networks
from stylelab.app import kept, phrases
from stylelab.app.buttons import Buttons
from stylelab.app.controls import Controls
from stylelab.app.live_view import curves
from stylelab.app.loading import load
from stylelab.app.session import Session
from stylelab.app.shelf import Shelf
from stylelab.app.snapshot import FINISHED, PAUSED, RUNNING, Snapshot
from stylelab.app.stage import Stage, Still
from stylelab.errors import StylelabError
from stylelab.runs.metadata import read_settings
from stylelab.runs.settings import LIVE, OPTIONS, Settings

INTERVAL = 0.25  # seconds between two updates of the page
START = Settings(size=256)  # a first picture within a minute
NO_LOSSES = "The losses are drawn here, step by step."
STYLE = Path(__file__).parent / "assets" / "playground.css"


class Playground(widgets.VBox):
    """The app: controls on the left, the picture and the results on the right.

    Args:
        settings: what the controls show first; None means `START`.
        content: the first content image: a name of the gallery, or the path of a file.
        style: the first style image.
        folder: where results are, and are saved.
        device: where to compute, as `engine.devices.pick_device` reads it.

    Raises:
        StylelabError: if an image cannot be had, or the controls cannot show the settings.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        content: str = "pagoda",
        style: str = "swirling_night",
        folder: str | Path = "playground",
        device: str = "auto",
    ) -> None:
        self.folder, self.device = Path(folder), device
        self.session: Session | None = None
        self.made: kept.Made | None = None  # what the session is made from
        self._kept: tuple[Session, int, Path] | None = None  # the last result: of which step
        self._lock = threading.RLock()
        self._message = widgets.HTML().add_class("message")
        self.controls = Controls(settings or START, content, style, self._handler)
        self.losses = widgets.HTML(f'<div class="none">{NO_LOSSES}</div>')
        left = widgets.VBox([self.controls, self.losses]).add_class("left")
        for name, widget in self.controls.by_setting.items():
            action = self._change if name in LIVE else self._later
            widget.observe(self._handler(action), "value")
        for choice in self.controls.images:
            choice.observe(self._handler(self._chosen), "chosen")
        self.controls.groups.observe(self._handler(self.refresh), "selected_index")
        self.controls.regions.surface.observe(self._handler(self.refresh), "value")
        actions = {"start": self._start, "pause": self._pause, "keep": self._keep}
        actions |= {"stop": lambda: self.session.stop(), "download": self._download}
        self.buttons = Buttons(self._handler, self._load, **actions)
        self.stage = Stage()
        self.stage.compare.observe(self._handler(self.refresh), "value")
        self.progress = widgets.IntProgress(description="Step 0")
        self.shelf = Shelf(self.folder, self._handler, self._act)
        line = widgets.HBox([self.progress, self.stage.compare]).add_class("line")
        shown = [self.buttons, self.stage, line, self._message, self.shelf]
        right = widgets.VBox(shown).add_class("right")
        looks = f"<style>{STYLE.read_text('utf-8')}</style>"
        style = widgets.HTML(looks, layout={"display": "none"})
        super().__init__([style, widgets.HBox([left, right]).add_class("body")])
        self.add_class("stylelab")
        self.refresh()
        self._say("Choose two images, press Start, and move Strength while it runs.")

    @property
    def now(self) -> Snapshot:
        """The session at this moment, or one that has not begun."""
        return self.session.snapshot() if self.session else Snapshot(START)

    def refresh(self, _: object = None) -> None:
        """Show the session as it is now; a thread calls this while one runs."""
        with self._lock:
            now = self.now
            self.buttons.show(now)
            painting = self.controls.groups.selected_index == 0
            brush = self.controls.regions.brush if painting else None
            self.stage.draw(now, self.made or self.controls.made, brush)
            if self.session:
                steps = now.settings.steps
                self.progress.max, self.progress.value = max(steps, now.step, 1), now.step
                self.progress.description = f"Step {now.step} of {steps}"
                changes = phrases.changes(self._began, now.changes)
                self.losses.value = curves(now.losses, steps, changes)

    def close(self) -> None:
        """Stop the transfer and remove the app from the page."""
        if self.session:
            self.session.stop()
        super().close()

    def _handler(self, function: Callable) -> Callable:
        """`function` as an event handler that holds the lock and shows its errors."""

        def handle(*event: object) -> None:
            with self._lock:
                try:
                    function(*event)
                except StylelabError as error:
                    self._say(str(error), "bad")
                except Exception as error:  # nobody would see a traceback
                    self._say(f"stylelab has a bug: {type(error).__name__}: {error}", "bad")

        return handle

    def _say(self, text: str, kind: str = "") -> None:
        role = "alert" if kind else "status"
        self._message.value = f'<div role="{role}" class="{kind}">{escape(text)}</div>'

    def _watch(self, session: Session) -> None:
        shown = None
        while session is self.session:
            now = session.snapshot()  # taken before the page is drawn, so that the end is drawn
            if now is not shown:
                self._handler(self.refresh)()
                shown = now
            if now.over:
                return self._handler(self._end)(session)
            time.sleep(INTERVAL)

    def _end(self, session: Session) -> None:
        """Keep what a session ended with, and say how it did."""
        now = session.snapshot()
        saved = f" It is kept as {self._kept[2]}." if self._keep_ended(now) else ""
        session.wait()  # raises the error that ended it, if one did
        if now.status == FINISHED and now.step < now.settings.steps:
            how = f"Finished after {now.step} steps: no further step lowers the loss."
        else:
            how = f"{now.status.capitalize()} after {now.step} steps, {now.seconds:.0f} s."
        self._say(f"{how}{saved}")

    def _start(self) -> None:
        before = self.now if self.session else None
        if before and not before.over:
            return  # a second click before the button was disabled
        settings, made = self.controls.settings, self.controls.made
        self._keep_ended(before)
        asked = settings.network, settings.pooling
        same = before and (before.settings.network, before.settings.pooling) == asked
        network, self._kept = self.session.network if same else None, None
        style = made.painted.styles(*(each.image for each in made.paintings))
        images = made.content.image, style
        self.session = Session(*images, settings, network=network, device=self.device)
        self.made, self._began = made, settings
        name = settings.network
        local = name not in networks.names() or networks.is_cached(name)
        self.session.start()
        self._follow()
        self._say(f"{made.title}, with {name}{'' if local else ', which is downloaded first'}.")

    def _follow(self) -> None:
        """Show the session that has just begun, or gone on."""
        self.stage.still = None
        if self.controls.groups.selected_index == 0:
            self.controls.groups.selected_index = None  # the brush gives way to the picture
        self.refresh()
        threading.Thread(target=self._watch, args=(self.session,), daemon=True).start()

    def _pause(self) -> None:
        now = self.now
        if now.over:
            self._continue(now)
        elif now.status == PAUSED:
            self.session.resume()
            self._say("Continued.")
        else:
            self.session.pause()
            self._say("Paused. Changes take effect when you press Resume.")

    def _continue(self, now: Snapshot) -> None:
        """Go on after the end: to the steps that are asked for, or as many more."""
        settings = self.controls.settings
        steps = settings.steps if settings.steps > now.step else now.step + settings.steps
        steps = min(steps, OPTIONS["steps"].most)
        self._keep_ended(now)
        self.session.proceed(**{**self._live(settings), "steps": steps})
        self.controls.by_setting["steps"].value = steps
        self._follow()
        self._say(f"{self.made.title}, continued from step {now.step} to step {steps}.")

    def _live(self, settings: Settings) -> dict[str, object]:
        """What the session takes of `settings`; a blend only if it has two styles."""
        values = {name: getattr(settings, name) for name in LIVE}
        if bool(settings.style_weights) != bool(self.made.second):
            del values["style_weights"]
        return values

    def _change(self, _: object) -> None:
        settings, now = self.controls.settings, self.now
        if now.status in (RUNNING, PAUSED):
            changed = self.session.change(**self._live(settings))
            if what := phrases.difference(now.settings, changed):
                self._say(f"Changed after step {now.step}: {what}.")

    def _later(self, _: object) -> None:
        if self.now.status in (RUNNING, PAUSED):
            self._say("This counts at the next start.")

    def _chosen(self, change: dict) -> None:
        if self.now.status in (RUNNING, PAUSED):
            return self._later(change)
        choice = change["owner"]
        if choice.chosen:
            title = f"{choice.title}, the {choice.role} image"
            self.stage.still = Still.of_choice(choice.chosen, title)
            self.refresh()
            self._say(f"This is the {choice.role} image. Start begins a transfer.")

    def _keep_now(self) -> Path:
        """Save the session's picture, unless it is saved already; its file."""
        step = self.now.step
        if not self._kept or self._kept[:2] != (self.session, step):
            path = kept.save(self.folder, self.made, self.session)
            self._kept = self.session, step, path
            self.shelf.add(path)
        return self._kept[2]

    def _keep_ended(self, end: Snapshot | None) -> bool:
        """Keep what the session ended with, if it made a picture; whether it did."""
        if made := end is not None and end.step > 0:
            self._keep_now()
        return made

    def _keep_again(self) -> Path:
        """As `_keep_now`, also if the file was removed since."""
        if self._kept and not self._kept[2].exists():
            self._kept = None
        return self._keep_now()

    def _keep(self) -> None:
        self._say(f"Kept as {self._keep_again()}.")

    def _download(self) -> None:
        still = self.stage.still
        path = still.path if still and still.path else self._keep_again()
        self.shelf.download(path)
        self._say(f"{path} is downloaded.")

    def _act(self, action: str, path: Path) -> None:
        """What was asked for on the shelf."""
        if action == "remove":
            moved = kept.remove(path)
            self.shelf.drop(path)
            self._say(f"Removed from the row. The file is {moved} now.")
        elif action == "download":
            self.shelf.download(path)
            self._say(f"{path} is downloaded.")
        else:
            title, facts = phrases.describe(*read_settings(path))
            self._say(f"{title}: {facts}. {path}")
            if action == "settings":
                self._load(path)
            if self.now.status not in (RUNNING, PAUSED):
                self.stage.still = Still.of_result(path, f"{title}, {facts}")
            self.refresh()

    def _load(self, path: Path) -> None:
        self._say(load(path, self.folder, self.controls))
