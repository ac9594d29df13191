"""Choosing an image in the playground: from the gallery, or a file uploaded through the browser."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
from torch import Tensor

from stylelab import gallery
from stylelab.app.live_view import picture
from stylelab.errors import StylelabError
from stylelab.files.local import sha256_of
from stylelab.images import load_image
from stylelab.vgg import resize

READABLE = ".png,.jpg,.jpeg,.tif,.tiff,.webp,.gif,.bmp"
# The server drops the connection on a larger message, and neither the kernel nor the widget hears
# of it: people must know before they choose.
UPLOAD_LIMIT = (
    "Uploads: at most 10 MB, Jupyter's limit. Open a larger file by its path: "
    "<code>Playground(content='photo.jpg')</code>"
)
Handlers = Callable[[Callable], Callable]  # makes a function an event handler


@dataclass(frozen=True, eq=False)
class ChosenImage:
    """An image that was chosen: its name, `(1, 3, H, W)` sRGB in [0, 1], and its file."""

    name: str
    image: Tensor
    file: str
    sha256: str

    @classmethod
    def read(cls, path: Path, name: str) -> "ChosenImage":
        """The image in a file; ImageError if it cannot be read."""
        return cls(name, load_image(path), path.name, sha256_of(path))


@contextmanager
def uploaded_file(upload: widgets.FileUpload) -> Iterator[Path]:
    """The file in `upload`, saved in a temporary folder under a safe form of its name.

    Errors raised inside name the file without its folder. Afterwards `upload` is empty again.
    """
    item = upload.value[0]
    upload.value = ()
    name = re.sub(r"[^\w. -]", "_", item["name"])[-60:].lstrip(". ") or "upload"
    with tempfile.TemporaryDirectory(prefix="stylelab-upload-") as folder:
        path = Path(folder, name)
        path.write_bytes(item["content"])
        try:
            yield path
        except StylelabError as error:
            raise type(error)(str(error).replace(str(path), name)) from error


def upload_button(
    name: str, icon: str, accept: str, handler: Handlers, use: Callable[[Path], None]
) -> widgets.FileUpload:
    """A button that calls `use` with an uploaded file.

    It shows its icon only; `name` is its tooltip and what a screen reader says.
    """
    button = widgets.FileUpload(accept=accept, description=name, tooltip=name, icon=icon)

    def on_upload(change: dict) -> None:
        if change["new"]:
            with uploaded_file(button) as path:
                use(path)

    button.observe(handler(on_upload), "value")
    return button


class ImageChoice(widgets.HBox):
    """A thumbnail, a menu of the gallery's images on this computer, and an upload button.

    `chosen` is the image chosen in the menu, `title` what the menu calls it.

    Args:
        role: "content" or "style".
        first: the first choice: a name of the gallery, or the path of a file.
        handler: makes a function an event handler that shows errors on the page.

    Raises:
        StylelabError: if the first choice cannot be read or downloaded.
    """

    def __init__(self, role: str, first: str, handler: Handlers) -> None:
        names = [name for name in gallery.names() if name == first or gallery.is_here(name)]
        self._thumbnail = widgets.HTML()
        self._menu = widgets.Dropdown(
            options=[(gallery.info(name).title, name) for name in names],
            description=role.capitalize(),
            tooltip=f"The {role} image. stylelab fetch images downloads the paper's",
        )
        name = f"Upload a {role} image, at most 10 MB"
        self._upload = upload_button(name, "upload", READABLE, handler, self._add)
        super().__init__([self._thumbnail, self._menu, self._upload])
        self.add_class("image")
        if first in names:
            self._menu.value = first
        else:
            self._add(Path(first))
        self._show()
        self._menu.observe(handler(self._on_menu), "value")

    def choose_by_hash(self, sha256: str) -> bool:
        """Choose the image whose file has this SHA-256; False if the menu has no such image."""
        for _, value in self._menu.options:
            uploaded = isinstance(value, ChosenImage)
            if sha256 == (value.sha256 if uploaded else sha256_of(gallery.path(value))):
                self._menu.value = value
                return True
        return False

    def _show(self) -> None:
        value = self._menu.value
        uploaded = isinstance(value, ChosenImage)
        self.chosen = value if uploaded else ChosenImage.read(gallery.path(value), value)
        self.title = self._menu.label
        small = resize(self.chosen.image, 112)
        self._thumbnail.value = picture(small, f"{self.title}, thumbnail")

    def _on_menu(self, change: dict) -> None:
        try:
            self._show()
        except StylelabError:
            self._menu.value = change["old"]
            raise

    def _add(self, path: Path) -> None:
        image = ChosenImage.read(path, path.stem)
        others = [option for option in self._menu.options if option[0] != image.file]
        self._menu.options = [*others, (image.file, image)]
        self._menu.value = image
