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
Report = Callable[[str], None]


@dataclass(frozen=True)
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


def reporting_errors(report: Report, function: Callable) -> Callable:
    """`function` as an event handler that reports its errors on the page instead of raising."""

    def handle(*args: object) -> None:
        try:
            function(*args)
        except StylelabError as error:
            report(str(error))
        except Exception as error:  # nobody would see a traceback
            report(f"stylelab has a bug: {type(error).__name__}: {error}")

    return handle


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


def upload_button(name: str, accept: str, icon: str = "upload") -> widgets.FileUpload:
    """A button that shows an icon only; `name` is its tooltip and what a screen reader says."""
    button = widgets.FileUpload(accept=accept, description=name, tooltip=name, icon=icon)
    button.layout = widgets.Layout(width="34px", margin="0 0 0 4px", flex="0 0 auto")
    return button


class ImageChoice(widgets.HBox):
    """A thumbnail, a menu of the gallery's images on this computer, and an upload button.

    Args:
        role: "content" or "style".
        first: the first choice: a name of the gallery, or the path of a file.
        report: shows an error message.

    Raises:
        StylelabError: if the first choice cannot be read or downloaded.
    """

    def __init__(self, role: str, first: str, report: Report) -> None:
        local = [name for name in gallery.names() if gallery.is_here(name)]
        self._uploads: dict[str, ChosenImage] = {}
        self._thumbnail = widgets.HTML(layout={"width": "58px", "flex": "0 0 auto"})
        self._menu = widgets.Dropdown(
            options=[(gallery.info(name).title, name) for name in local],
            tooltip=f"The {role} image. stylelab fetch images downloads the paper's",
            description=role.capitalize(),
            style={"description_width": "52px"},
            layout={"flex": "1 1 0", "min_width": "0", "width": "auto"},
        )
        self._upload = upload_button(f"Upload a {role} image, at most 10 MB", READABLE)
        if first in gallery.names():
            gallery.path(first)  # downloads it if necessary
            if first not in local:
                self._menu.options = [*self._menu.options, (gallery.info(first).title, first)]
            self._menu.value = first
        else:
            self._add(ChosenImage.read(Path(first), Path(first).stem))
        self._show()
        self._menu.observe(reporting_errors(report, self._on_menu), "value")
        self._upload.observe(reporting_errors(report, self._on_upload), "value")
        layout = {"width": "100%", "margin": "1px 0", "align_items": "center"}
        super().__init__([self._thumbnail, self._menu, self._upload], layout=layout)

    def choose_by_hash(self, sha256: str) -> bool:
        """Choose the image whose file has this SHA-256; False if the menu has no such image."""
        for _, name in self._menu.options:
            upload = self._uploads.get(name)
            if sha256 == (upload.sha256 if upload else sha256_of(gallery.path(name))):
                self._menu.value = name
                return True
        return False

    def _show(self) -> None:
        name = self._menu.value
        self.chosen = self._uploads.get(name) or ChosenImage.read(gallery.path(name), name)
        self.title = title = dict(map(reversed, self._menu.options))[name]
        small = resize(self.chosen.image, 112)
        self._thumbnail.value = picture(small, f"{title}, thumbnail", height="38px")

    def _on_menu(self, change: dict) -> None:
        try:
            self._show()
        except StylelabError:
            self._menu.value = change["old"]
            raise

    def _on_upload(self, change: dict) -> None:
        if change["new"]:
            with uploaded_file(self._upload) as path:
                self._add(ChosenImage.read(path, path.stem))

    def _add(self, image: ChosenImage) -> None:
        key = f"file:{image.sha256}"
        self._uploads[key] = image
        others = [option for option in self._menu.options if option[1] != key]
        self._menu.options = [*others, (image.file, key)]
        self._menu.value = key
