"""Choosing an image in the playground: from the gallery, or a file uploaded through the browser."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
import traitlets
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
    "Uploads: at most 10 MB, Jupyter's limit. Larger files by path: "
    "<code>Playground(content='photo.jpg')</code>"
)
Handlers = Callable[[Callable], Callable]  # makes a function an event handler


@dataclass(frozen=True, eq=False)
class ChosenImage:
    """An image that was chosen: its title, `(1, 3, H, W)` sRGB in [0, 1], and its file.

    Attributes:
        name: a name for files made of it.
        content: the bytes of the file, if it is not the gallery's.
    """

    name: str
    title: str
    image: Tensor
    file: str
    sha256: str
    content: bytes | None = None

    @classmethod
    def read(cls, path: Path, title: str = "") -> "ChosenImage":
        """The image in a file; ImageError if it cannot be read."""
        image = load_image(path)
        title = title or path.name
        return cls(Path(title).stem, title, image, path.name, sha256_of(path), path.read_bytes())

    @classmethod
    def of_gallery(cls, name: str) -> "ChosenImage":
        """An image of the gallery; StylelabError if it cannot be had."""
        path = gallery.path(name)
        title = gallery.info(name).title
        return cls(name, title, load_image(path), path.name, sha256_of(path))


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
        role: what the image is for: "content", "style" or "style 2".
        first: the first choice: a name of the gallery, or the path of a file. With None, there may
            be no image: the menu begins with "none".
        handler: makes a function an event handler that shows errors on the page.

    Raises:
        StylelabError: if the first choice cannot be read or downloaded.
    """

    chosen = traitlets.Instance(ChosenImage, allow_none=True)

    def __init__(self, role: str, first: str | None, handler: Handlers) -> None:
        self.role = role
        names = [name for name in gallery.names() if name == first or gallery.is_here(name)]
        self._thumbnail = widgets.HTML()
        titles = [(gallery.info(name).title, name) for name in names]
        self._menu = widgets.Dropdown(
            options=titles if first else [("none", None), *titles],
            description=role.capitalize(),
            tooltip=f"The {role} image. stylelab fetch images downloads the paper's",
        )
        name = f"Upload a {role} image, at most 10 MB"
        self._upload = upload_button(name, "upload", READABLE, handler, self.add)
        super().__init__([self._thumbnail, self._menu, self._upload])
        self.add_class("image")
        if first in names:
            self._menu.value = first
        elif first:
            self.add(Path(first))
        self._show()
        self._menu.observe(handler(self._on_menu), "value")

    def choose_by_hash(self, sha256: str) -> bool:
        """Choose the image whose file has this SHA-256; False if the menu has no such image."""
        for _, value in self._menu.options:
            uploaded = isinstance(value, ChosenImage)
            if value and sha256 == (value.sha256 if uploaded else sha256_of(gallery.path(value))):
                self._menu.value = value
                return True
        return False

    def choose_none(self) -> None:
        """Choose no image, where that is possible."""
        self._menu.value = None

    def add(self, path: Path, title: str = "") -> None:
        """Choose the image in a file; the menu calls it by its name, or by `title`."""
        image = ChosenImage.read(path, title)
        others = [option for option in self._menu.options if option[0] != image.title]
        self._menu.options = [*others, (image.title, image)]
        self._menu.value = image

    def _show(self) -> None:
        value = self._menu.value
        gallerys = isinstance(value, str)
        self.title, self.chosen = (
            self._menu.label,
            ChosenImage.of_gallery(value) if gallerys else value,
        )
        thumbnail = ""
        if self.chosen:
            thumbnail = picture(resize(self.chosen.image, 112), f"{self.title}, thumbnail")
        self._thumbnail.value = thumbnail

    def _on_menu(self, change: dict) -> None:
        try:
            self._show()
        except StylelabError:
            self._menu.value = change["old"]
            raise
