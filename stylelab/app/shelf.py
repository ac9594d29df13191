"""The row of results: their thumbnails, and what can be done with each."""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

from stylelab.app import kept
from stylelab.app.image_choice import Handlers
from stylelab.app.live_view import data_url
from stylelab.app.phrases import describe
from stylelab.images import load_image
from stylelab.runs.metadata import read_settings

ASSETS = Path(__file__).parent / "assets"
THUMBNAIL = 160  # pixels of the longer side
ACTIONS = ("show", "settings", "download", "remove")


class Shelf(anywidget.AnyWidget):
    """The results of a folder, the latest first. It shows them again when it is made anew.

    Args:
        folder: where results are.
        handler: makes a function an event handler that shows errors on the page.
        act: is called with one of `ACTIONS` and the file of a result.

    Attributes:
        items: name, title, facts and thumbnail of each.
    """

    _esm = ASSETS / "shelf.js"
    items = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(self, folder: Path, handler: Handlers, act: Callable[[str, Path], None]) -> None:
        super().__init__(items=[_item(path) for path in kept.found(folder)])

        def on_message(_: object, content: object, __: object) -> None:
            asked = content if isinstance(content, dict) else {}
            listed = {item["name"] for item in self.items}
            if asked.get("action") in ACTIONS and asked.get("name") in listed:
                act(asked["action"], folder / asked["name"])

        self.on_msg(handler(on_message))

    def add(self, path: Path) -> None:
        """Put a result first."""
        self.items = [_item(path), *self.items]

    def drop(self, path: Path) -> None:
        """Take a result away."""
        self.items = [item for item in self.items if item["name"] != path.name]

    def download(self, path: Path) -> None:
        """Make the browser download a result."""
        self.send({"download": path.name}, buffers=[path.read_bytes()])


def _item(path: Path) -> dict[str, str]:
    title, facts = describe(*read_settings(path))
    thumbnail = data_url(load_image(path, THUMBNAIL))
    return {"name": path.name, "title": title, "facts": facts, "thumbnail": thumbnail}
