"""Style transfer as an app in a notebook: choose two images, start, change settings, watch.

    from stylelab.app.playground import Playground

    Playground()

The app shows a `stylelab.app.session.Session`. One lock is held by whoever updates the page: an
event handler, or the thread that watches the session.
"""

import re
import threading
import time
from collections.abc import Callable
from html import escape
from pathlib import Path

import ipywidgets as widgets

from stylelab import networks
from stylelab.app.controls import Controls
from stylelab.app.image_choice import upload_button
from stylelab.app.live_view import before_after, curves, picture
from stylelab.app.session import FINISHED, PAUSED, RUNNING, Session, Snapshot
from stylelab.errors import SettingError, StylelabError
from stylelab.images import save_image
from stylelab.runs.metadata import metadata, read_settings
from stylelab.runs.settings import LIVE, Settings
from stylelab.vgg import resize

INTERVAL = 0.25  # seconds between two updates of the page
START = Settings(size=256)  # a first picture within a minute


class Playground(widgets.VBox):
    """The app: controls on the left, the picture on the right, kept results below.

    Args:
        settings: what the controls show first; None means `START`.
        content: the first content image: a name of the gallery, or the path of a file.
        style: the first style image.
        folder: where "Save" writes pictures.
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
        self._lock = threading.RLock()
        self._message = widgets.HTML().add_class("message")
        self.controls = Controls(settings or START, content, style, self._handler)
        self.controls.add_class("left")
        for name in LIVE:
            self.controls.by_setting[name].observe(self._handler(self._change), "value")

        def button(label: str, icon: str, tip: str, action: Callable) -> widgets.Button:
            made = widgets.Button(description=label, icon=icon, tooltip=tip)
            made.on_click(self._handler(action))
            return made

        self.start_button = button("Start", "play", "Start a transfer", self._start)
        self.start_button.button_style = "primary"
        self.pause_button = button("Pause", "pause", "Pause, or continue", self._pause)
        tip = "End the transfer; its picture stays"
        self.stop_button = button("Stop", "stop", tip, lambda _: self.session.stop())
        self.keep_button = button("Keep", "plus", "Keep the picture in the row below", self._keep)
        self.save_button = button("Save", "save", f"Save as PNG in {folder}", self._save)
        tip = "Load settings from a saved picture"
        self.load_button = upload_button(tip, "folder-open", ".png", self._handler, self._load)
        tip = "Show the photograph on the left, up to here"
        self.compare = widgets.IntSlider(0, description="Before", tooltip=tip, readout=False)
        self.compare.observe(self._handler(self.refresh), "value")
        self.progress = widgets.IntProgress(description="Step 0")
        self.preview, self.losses = widgets.HTML().add_class("preview"), widgets.HTML()
        self.results = widgets.HBox().add_class("results")
        buttons = [self.start_button, self.pause_button, self.stop_button]
        buttons += [self.keep_button, self.save_button, self.load_button]
        shown = [self.preview, self.compare, self.progress, self._message, self.losses]
        right = widgets.VBox([widgets.HBox(buttons), *shown]).add_class("right")
        body = widgets.HBox([self.controls, right]).add_class("body")
        style = (
            f"<style>{(Path(__file__).parent / 'assets/playground.css').read_text('utf-8')}</style>"
        )
        super().__init__([widgets.HTML(style, layout={"display": "none"}), body, self.results])
        self.add_class("stylelab")
        self.refresh()
        self._say("Choose two images, press Start, and move Strength while it runs.")

    def refresh(self, _: object = None) -> None:
        """Show the session as it is now; a thread calls this while one runs."""
        with self._lock:
            now = self.session.snapshot() if self.session else Snapshot(START)
            busy, paused = now.status in (RUNNING, PAUSED), now.status == PAUSED
            self.start_button.disabled = busy
            self.pause_button.disabled = self.stop_button.disabled = not busy
            self.pause_button.description = "Resume" if paused else "Pause"
            self.pause_button.icon = "play" if paused else "pause"
            self.keep_button.disabled = self.save_button.disabled = now.state is None
            if now.state is None:
                image = resize(self.controls.content.chosen.image, 512)
                title = self.controls.content.title
            else:
                before = self._sources["content"].image
                image = before_after(before, now.best, self.compare.value / 100)
                title = f"{self._title}, after step {now.step}"
            self.preview.value = picture(image, title, 'decoding="sync"')
            if self.session:
                steps = now.settings.steps
                self.progress.max, self.progress.value = max(steps, now.step, 1), now.step
                self.progress.description = f"Step {now.step} of {steps}"
                self.losses.value = curves(now.losses, steps, [step for step, _ in now.changes])

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
                return self._handler(self._say_end)(session)
            time.sleep(INTERVAL)

    def _say_end(self, session: Session) -> None:
        now = session.wait()  # raises the error that ended it, if one did
        if now.status == FINISHED and now.step < now.settings.steps:
            self._say(f"Finished after {now.step} steps: no further step lowers the loss.")
        else:
            self._say(f"{now.status.capitalize()} after {now.step} steps, {now.seconds:.0f} s.")

    def _start(self, _: object) -> None:
        before = self.session.snapshot() if self.session else None
        if before and not before.over:
            return  # a second click before the button was disabled
        settings, network = self.controls.settings, None
        if before and all(
            getattr(before.settings, name) == getattr(settings, name)
            for name in ("network", "pooling")
        ):
            network = self.session.network
        content, style = self.controls.content, self.controls.style_image
        images = (content.chosen.image, style.chosen.image)
        self.session = Session(*images, settings, network=network, device=self.device)
        self._sources = {"content": content.chosen, "style": style.chosen}
        self._title = f"{content.title} in the style of {style.title}"
        name = settings.network
        local = name not in networks.names() or networks.is_cached(name)
        self._say(f"{self._title}, with {name}{'' if local else ', which is downloaded first'}.")
        self.session.start()
        self.refresh()
        threading.Thread(target=self._watch, args=(self.session,), daemon=True).start()

    def _pause(self, _: object) -> None:
        if self.session.snapshot().status == PAUSED:
            self.session.resume()
            self._say("Continued.")
        else:
            self.session.pause()
            self._say("Paused. Changes take effect when you press Resume.")

    def _change(self, _: object) -> None:
        settings = self.controls.settings
        now = self.session.snapshot() if self.session else Snapshot(START)
        if now.status in (RUNNING, PAUSED):
            changed = self.session.change(**{name: getattr(settings, name) for name in LIVE})
            if changed != now.settings:
                self._say(f"Changed after step {now.step}: {settings.dial}.")

    def _keep(self, _: object) -> None:
        now = self.session.snapshot()
        again = ", changed during the transfer" if now.changes else ""
        layers = ", ".join(f"{layer} {w:.2f}" for layer, w in now.settings.layer_weights.items())
        facts = f"{now.settings.dial}{again}, {now.step} steps"
        caption = widgets.HTML(
            f"{picture(now.best, f'{self._title}, {facts}')}"
            f'<p title="{escape(layers)}">{escape(self._title)}<br>{escape(facts)}</p>'
        )
        remove = widgets.Button(description="Remove", tooltip=f"Remove {self._title}, {facts}")
        card = widgets.VBox([caption, remove]).add_class("kept")

        def drop(_: object) -> None:
            self.results.children = [each for each in self.results.children if each is not card]

        remove.on_click(self._handler(drop))
        self.results.children = [*self.results.children, card]
        self._say("The picture is kept below.")

    def _save(self, _: object) -> None:
        now = self.session.snapshot()
        sources = self._sources.items()
        texts = metadata(
            now.settings,
            {role: {"file": image.file, "sha256": image.sha256} for role, image in sources},
            self.session.network,
            steps_done=now.step,
            alpha_beta_used=self.session.alpha_beta,
            first_loss=sum(now.losses[0][1].values()),
            best_loss=float(now.state.best_loss[0]),
            changes=[{"step": step, **settings.as_dict()} for step, settings in now.changes],
        )
        stem = "-".join(re.sub(r"[^\w-]+", "_", image.name)[:40] for _, image in sources)
        number = 1
        while (path := self.folder / f"{stem}-{number:03}.png").exists():
            number += 1
        save_image(now.best, path, metadata=texts)
        self._say(f"Saved as {path}.")

    def _load(self, path: Path) -> None:
        settings, record = read_settings(path)
        if isinstance(record.get("style"), list) or {"content_mask", "strokes"} & set(record):
            raise SettingError(
                f"{path.name} has several styles, masks or strokes, which the playground has not; "
                f"use stylelab transfer --settings {path.name}"
            )
        self.controls.show(settings)
        missing = []
        choices = {"content": self.controls.content, "style": self.controls.style_image}
        for role, choice in choices.items():
            source = record.get(role)
            source = source if isinstance(source, dict) else {}
            if not choice.choose_by_hash(str(source.get("sha256"))):
                missing.append(str(source.get("file", role)))
        late = ", as they were after the last change" if record.get("changes") else ""
        more = f". Upload its images too: {', '.join(missing)}" if missing else ""
        self._say(f"Settings of {path.name} loaded{late}{more}.")
