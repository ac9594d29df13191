"""Style transfer as an app for a notebook: choose two images, start, turn the knobs, watch.

    from stylelab.app.playground import Playground

    Playground()

The transfer is a `stylelab.app.session.Session`; this module shows it. Events of the page and the
thread that watches the session take turns by one lock.
"""

import re
import threading
import time
from html import escape
from pathlib import Path

import ipywidgets as widgets

from stylelab import images, networks
from stylelab.app.controls import Controls, guarded, upload_button, uploaded
from stylelab.app.live_view import STYLE, before_after, curves, picture
from stylelab.app.session import FAILED, FINISHED, PAUSED, STOPPED, Session, Snapshot
from stylelab.errors import StylelabError
from stylelab.runs.settings import LIVE, Settings, metadata, read_settings

INTERVAL = 0.25  # seconds between two looks at the session: what the page is sent is bounded by it


class Playground(widgets.VBox):
    """The app: controls on the left, the picture on the right, kept results below.

    Args:
        settings: what the controls show first.
        content: the first content image: a name of the gallery, or the path of a file.
        style: the first style image.
        folder: where "Save" puts pictures; made when first needed.
        device: where to compute, as `networks.pick_device` reads it.

    Raises:
        StylelabError: if an image cannot be had, or the controls cannot hold the settings.
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
        self._drawn: tuple = ()
        self._message = widgets.HTML()
        self._message.add_class("message")
        self.controls = Controls(settings or Settings(), content, style, self._complain)

        def button(label: str, icon: str, tip: str, act) -> widgets.Button:
            made = widgets.Button(description=label, icon=icon, tooltip=tip)
            made.on_click(self._handler(lambda _: act()))
            return made

        self.start_button = button("Start", "play", "Start a transfer", self._start)
        self.start_button.button_style = "primary"
        self.pause_button = button("Pause", "pause", "Pause, or go on", self._pause)
        self.stop_button = button("Stop", "stop", "End here and keep the picture", self._stop)
        self.keep_button = button("Keep", "plus", "Put the picture into the row below", self._keep)
        self.save_button = button("Save", "save", f"Save as PNG in {folder}", self._save)
        self.load_button = upload_button(
            "Load settings from a saved picture", ".png", "folder-open"
        )
        self.load_button.observe(self._handler(self._load), "value")
        self.compare = widgets.IntSlider(
            0, description="Before", tooltip="How much of the photograph is shown, from the left"
        )
        self.compare.readout, self.compare.layout.width = False, "100%"
        self.compare.observe(self._handler(lambda _: self._draw()), "value")
        self.controls.on_live(self._handler(lambda _: self._change()))
        self.progress = widgets.IntProgress(description="Step 0", layout={"width": "100%"})
        self.progress.style.description_width = "110px"
        self.preview, self.losses = widgets.HTML(), widgets.HTML()
        self.preview.add_class("preview")
        self.results = widgets.HBox(layout={"flex_flow": "row wrap"})
        row = [self.start_button, self.pause_button, self.stop_button]
        row += [self.keep_button, self.save_button, self.load_button]
        right = [
            widgets.HBox(row, layout={"align_items": "center"}),
            self.preview,
            self.compare,
            self.progress,
            self._message,
        ]
        picture_side = widgets.VBox([*right, self.losses])
        self.controls.add_class("left")
        picture_side.add_class("right")
        body = widgets.HBox([self.controls, picture_side])
        super().__init__([widgets.HTML(STYLE, layout={"display": "none"}), body, self.results])
        self.add_class("stylelab")
        self.refresh()
        self._say("Choose two images, press Start, and move α/β while it runs.")

    def refresh(self) -> None:
        """Show how the session stands; a thread calls this while one runs."""
        with self._lock:
            now = self.session.snapshot() if self.session else None
            busy = now is not None and not now.over
            paused = now is not None and now.status == PAUSED
            self.start_button.disabled = busy
            self.pause_button.disabled = self.stop_button.disabled = not busy
            self.pause_button.description = "Resume" if paused else "Pause"
            self.pause_button.icon = "play" if paused else "pause"
            self.keep_button.disabled = self.save_button.disabled = not (now and now.losses)
            drawn = now and (id(self.session), now.step, now.status, len(now.losses))
            if now is None or drawn != self._drawn:
                self._drawn = drawn
                self._draw()

    def close(self) -> None:
        """End the transfer and remove the app from the page."""
        if self.session:
            self.session.stop()
        super().close()

    def _handler(self, function):
        """`function` for an event of the page: it takes its turn, and its errors are shown."""
        safe = guarded(self._complain, function)

        def handle(*args: object) -> None:
            with self._lock:
                safe(*args)

        return handle

    def _say(self, text: str, kind: str = "") -> None:
        role = "alert" if kind else "status"
        self._message.value = f'<div role="{role}" class="{kind}">{escape(text)}</div>'

    def _complain(self, text: str) -> None:
        self._say(text, "bad")

    def _draw(self) -> None:
        now = self.session.snapshot() if self.session else None
        if now is None or now.state is None:
            content = images.resize(self.controls.content.picked.image, 512)
            self.preview.value = picture(content, f"{self.controls.content.title}, to be painted")
        else:
            share, after = self.compare.value / 100, now.best
            both = before_after(self._made_of["content"].image, after, share)
            self.preview.value = picture(both, f"{self._title}, after step {now.step}")
        if now is None:
            return
        self.progress.max, self.progress.value = max(now.settings.steps, now.step, 1), now.step
        self.progress.description = f"Step {now.step} of {now.settings.steps}"
        self.losses.value = curves(now.losses, now.settings.steps, [at for at, _ in now.changes])

    def _watch(self, session: Session) -> None:
        while session is self.session:
            over = session.snapshot().over  # asked first: then what is drawn is the end
            guarded(self._complain, self.refresh)()
            if over:
                guarded(self._complain, lambda: self._tell_end(session.snapshot()))()
                return
            time.sleep(INTERVAL)

    def _tell_end(self, now: Snapshot) -> None:
        if now.status == FAILED:
            known = isinstance(now.error, StylelabError)
            name = "" if known else f"{type(now.error).__name__}: "
            self._complain(f"{name}{now.error}")
        elif now.status in (FINISHED, STOPPED):
            self._say(f"{now.status.capitalize()} after {now.step} steps, {now.seconds:.0f} s.")

    def _start(self) -> None:
        if self.session and not self.session.snapshot().over:
            return  # a second click before the button was dimmed
        controls = self.controls
        settings = controls.settings
        before = self.session.network if self.session else None
        again = before is not None and self._network_asked == settings.network
        chosen = {"content": controls.content.picked, "style": controls.style_image.picked}
        session = Session(
            chosen["content"].image,
            chosen["style"].image,
            settings,
            network=before if again else None,
            device=self.device,
        )
        self._network_asked, self._made_of = settings.network, chosen
        self._title = f"{controls.content.title} in the style of {controls.style_image.title}"
        self.session = session
        name = settings.network
        fetched = name not in networks.names() or networks.is_cached(name)
        self._say(f"{self._title}, with {name}{'' if fetched else ', which is downloaded first'}.")
        session.start()
        self.refresh()
        threading.Thread(target=self._watch, args=(session,), daemon=True).start()

    def _pause(self) -> None:
        if self.session.snapshot().status == PAUSED:
            self.session.resume()
            self._say("Going on.")
        else:
            self.session.pause()
            self._say("Paused: changes take effect when it goes on.")

    def _stop(self) -> None:
        self.session.stop()

    def _change(self) -> None:
        settings = self.controls.settings
        if self.session is None or (now := self.session.snapshot()).over:
            return
        values = {name: getattr(settings, name) for name in LIVE}
        if all(getattr(now.settings, name) == value for name, value in values.items()):
            return
        self.session.change(**values)
        self._say(f"Changed after step {now.step}: α/β is {settings.alpha_beta:.1e}.")

    def _keep(self) -> None:
        now = self.session.snapshot()
        again = ", changed on the way" if now.changes else ""
        layers = ", ".join(f"{layer} {w:.2f}" for layer, w in now.settings.style_weights.items())
        facts = f"α/β {now.settings.alpha_beta:.1e}{again}, {now.step} steps"
        caption = widgets.HTML(
            f"{picture(now.best, f'{self._title}, {facts}', height='144px')}"
            f'<p title="{escape(layers)}">{escape(self._title)}<br>{escape(facts)}</p>'
        )
        remove = widgets.Button(description="Remove", tooltip=f"Remove {self._title}, {facts}")
        card = widgets.VBox([caption, remove], layout={"width": "226px"})
        card.add_class("kept")

        def drop(_: object) -> None:
            self.results.children = [each for each in self.results.children if each is not card]

        remove.on_click(self._handler(drop))
        self.results.children = [*self.results.children, card]
        self._say("Kept below.")

    def _save(self) -> None:
        now = self.session.snapshot()
        files = {r: {"file": p.file, "sha256": p.sha256} for r, p in self._made_of.items()}
        totals = [sum(terms.values()) for _, terms in now.losses]
        texts = metadata(
            now.settings,
            files,
            self.session.network,
            **{"steps_done": now.step, "seconds": round(now.seconds, 1)},
            **{"first_loss": totals[0], "best_loss": float(now.state.best_loss[0])},
            changes=[{"step": at, **settings.as_dict()} for at, settings in now.changes],
        )
        stem = "-".join(re.sub(r"[^\w-]+", "_", p.name)[:40] for p in self._made_of.values())
        number = 1
        while (path := self.folder / f"{stem}-{number:03}.png").exists():
            number += 1
        images.save_image(now.best, path, metadata=texts)
        self._say(f"Saved as {path}")

    def _load(self, change: dict) -> None:
        if not change["new"]:
            return
        with uploaded(self.load_button) as path:
            settings, record = read_settings(path)
            self.controls.show(settings)
        missing = []
        for role, choice in (
            ("content", self.controls.content),
            ("style", self.controls.style_image),
        ):
            source = record.get(role)
            known = isinstance(source, dict) and choice.find(str(source.get("sha256")))
            if not known:
                missing.append(str(source.get("file")) if isinstance(source, dict) else role)
        said = f"Settings of {path.name} loaded"
        if record.get("changes"):
            said += "; they are the last ones, changed on the way"
        if missing:
            said += f"; upload its images too: {', '.join(missing)}"
        self._say(f"{said}.")
