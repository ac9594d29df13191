"""The row of buttons above the large picture."""

from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from stylelab.app.image_choice import Handlers, upload_button
from stylelab.app.snapshot import PAUSED, RUNNING, Snapshot

BUTTONS = {  # label, icon and tip of each
    "start": ("Start", "play", "Start a transfer"),
    "pause": ("Pause", "pause", "Pause; after a pause, a stop or the end, continue"),
    "stop": ("Stop", "stop", "End the transfer and keep its picture"),
    "keep": ("Keep", "plus", "Keep the picture as it is now"),
    "download": ("Download", "download", "Keep the picture as it is now, and download it"),
}


class Buttons(widgets.HBox):
    """An attribute for each of `BUTTONS`, and `load`, the upload of a picture with settings.

    Args:
        handler: makes a function an event handler that shows errors on the page.
        load: is called with an uploaded file.
        actions: what each button calls, without arguments.
    """

    def __init__(
        self, handler: Handlers, load: Callable[[Path], None], **actions: Callable[[], object]
    ) -> None:
        def button(name: str) -> widgets.Button:
            label, icon, tip = BUTTONS[name]
            made = widgets.Button(description=label, icon=icon, tooltip=tip)
            made.on_click(handler(lambda _: actions[name]()))
            return made

        self.start, self.pause, self.stop, self.keep, self.download = map(button, BUTTONS)
        self.start.button_style = "primary"
        tip = "Load settings from a saved picture"
        self.load = upload_button(tip, "folder-open", ".png", handler, load)
        row = [self.start, self.pause, self.stop, self.keep, self.download, self.load]
        super().__init__(row)

    def show(self, now: Snapshot) -> None:
        """Let those be pressed that can do something now."""
        busy, goes_on = now.status in (RUNNING, PAUSED), now.over and now.error is None
        label = "Resume" if now.status == PAUSED else "Continue" if goes_on else "Pause"
        self.start.disabled, self.stop.disabled = busy, not busy
        self.pause.disabled, self.pause.description = not (busy or goes_on), label
        self.pause.icon = "pause" if label == "Pause" else "play"
        self.keep.disabled = self.download.disabled = now.state is None
