"""The controls of the playground: two images and `Settings`, as widgets.

What a control cannot hold is refused with a message and never rounded to what it can.
"""

import math
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
from torch import Tensor

from stylelab import gallery, networks
from stylelab.app.live_view import picture
from stylelab.errors import SettingError, StylelabError
from stylelab.files.download import sha256_of
from stylelab.images import load_image, resize
from stylelab.runs.settings import Settings
from stylelab.synthesis import STARTS
from stylelab.vgg import LAYERS, STYLE_LAYERS

READABLE = ".png,.jpg,.jpeg,.tif,.tiff,.webp,.gif,.bmp"
CONTENT_LAYERS = LAYERS[: LAYERS.index("conv5_1") + 1]  # those that every network has
Report = Callable[[str], None]
LABEL = {"description_width": "72px"}
ROW = {"width": "100%", "margin": "1px 0"}


@dataclass(frozen=True)
class Picked:
    """An image that was chosen: its name, `(1, 3, H, W)` pixels in [0, 1], and file."""

    name: str
    image: Tensor
    file: str
    sha256: str

    @classmethod
    def read(cls, path: Path, name: str) -> "Picked":
        """The image in a file; ImageError if it cannot be read."""
        return cls(name, load_image(path), path.name, sha256_of(path))


def guarded(report: Report, function: Callable) -> Callable:
    """`function` as a widget's handler: what it raises is reported on the page, and ends there."""

    def call(*args: object) -> None:
        try:
            function(*args)
        except StylelabError as error:
            report(str(error))
        except Exception as error:  # a traceback would go where nobody looks
            report(f"a fault of stylelab: {type(error).__name__}: {error}")

    return call


@contextmanager
def uploaded(upload: widgets.FileUpload) -> Iterator[Path]:
    """The file in `upload`, in a temporary folder, under a harmless form of its own name.

    Errors raised inside speak of the file by that name. Afterwards `upload` is empty again.
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


def upload_button(what: str, accept: str, icon: str = "upload") -> widgets.FileUpload:
    """A button of one symbol, named `what` to those who do not see it."""
    button = widgets.FileUpload(accept=accept, description=what, tooltip=what, icon=icon)
    button.layout = widgets.Layout(width="34px", margin="0 0 0 4px", flex="0 0 auto")
    return button


class ImageChoice(widgets.HBox):
    """A thumbnail, the images of the gallery that are here, and a button for a file of one's own.

    Args:
        role: "content" or "style".
        first: the first choice: a name of the gallery, or the path of a file.
        report: where errors are shown.

    Raises:
        StylelabError: if the first choice cannot be had.
    """

    def __init__(self, role: str, first: str, report: Report) -> None:
        here = [name for name in gallery.names() if gallery.is_here(name)]
        self._own: dict[str, Picked] = {}
        self._thumbnail = widgets.HTML(layout={"width": "58px", "flex": "0 0 auto"})
        self._menu = widgets.Dropdown(
            options=[(gallery.info(name).title, name) for name in here],
            tooltip=f"The {role} image. The paper's are listed once they are downloaded: "
            "stylelab fetch images",
            description=role.capitalize(),
            style={"description_width": "52px"},
            layout={"flex": "1 1 0", "min_width": "0", "width": "auto"},
        )
        self._upload = upload_button(f"Upload a {role} image", READABLE)
        if first in gallery.names():
            gallery.path(first)  # downloads what is not here, or says why it cannot
            if first not in here:
                self._menu.options = [*self._menu.options, (gallery.info(first).title, first)]
            self._menu.value = first
        else:
            self._add(Picked.read(Path(first), Path(first).stem))
        self._pick()
        self._menu.observe(guarded(report, self._choose), "value")
        self._upload.observe(guarded(report, self._receive), "value")
        layout = {**ROW, "align_items": "center"}
        super().__init__([self._thumbnail, self._menu, self._upload], layout=layout)

    def find(self, sha256: str) -> bool:
        """Choose the image whose file has this hash; whether there is one."""
        for _, name in self._menu.options:
            own = self._own.get(name)
            if sha256 == (own.sha256 if own else sha256_of(gallery.path(name))):
                self._menu.value = name
                return True
        return False

    def _pick(self) -> None:
        name = self._menu.value
        self.picked = self._own.get(name) or Picked.read(gallery.path(name), name)
        self.title = title = dict(map(reversed, self._menu.options))[name]
        small = resize(self.picked.image, 112)
        self._thumbnail.value = picture(small, f"{title}, thumbnail", height="38px")

    def _choose(self, change: dict) -> None:
        try:
            self._pick()
        except StylelabError:
            self._menu.value = change["old"]
            raise

    def _receive(self, change: dict) -> None:
        if change["new"]:
            with uploaded(self._upload) as path:
                self._add(Picked.read(path, path.stem))

    def _add(self, own: Picked) -> None:
        key = f"file:{own.sha256}"
        self._own[key] = own
        others = [option for option in self._menu.options if option[1] != key]
        self._menu.options = [*others, (own.file, key)]
        self._menu.value = key


class Controls(widgets.VBox):
    """All settings of a transfer; those that may change while it runs stand together.

    Args:
        settings: what the controls show first.
        content: the first content image: a name of the gallery, or the path of a file.
        style: the first style image.
        report: where errors are shown.

    Raises:
        StylelabError: if an image cannot be had, or the controls cannot hold the settings.
    """

    def __init__(self, settings: Settings, content: str, style: str, report: Report) -> None:
        self.content = ImageChoice("content", content, report)
        self.style_image = ImageChoice("style", style, report)
        self.network = self._row(
            widgets.Dropdown,
            "Network",
            "Where features come from. Others are listed once downloaded: stylelab fetch",
            options=sorted({settings.network, *filter(networks.is_cached, networks.names())}),
        )

        def number(label: str, tip: str, least: int, most: int) -> widgets.BoundedIntText:
            return self._row(widgets.BoundedIntText, label, tip, min=least, max=most)

        self.size = number("Size", "Longer side of the picture, in pixels", 32, 4096)
        self.steps = number("Steps", "L-BFGS steps; may change while it runs", 1, 100_000)
        self.seed = number("Seed", "Of the white noise; without effect on other starts", 0, 2**31)
        tip = "The image that the optimisation starts from"
        self.init = self._row(widgets.Dropdown, "Start", tip, options=STARTS)
        self.alpha_beta = self._row(
            widgets.FloatLogSlider,
            "α/β",
            "Weight of content over style: more keeps more of the photograph",
            **{"min": -5, "max": 1, "step": 0.05, "readout_format": ".1e"},
            continuous_update=False,
        )
        tip = "The layer whose feature maps are matched"
        self.content_layer = self._row(widgets.Dropdown, "Content at", tip, options=CONTENT_LAYERS)
        self.weights = {layer: self._layer(layer) for layer in STYLE_LAYERS}
        layers = [widgets.HBox(pair) for pair in self.weights.values()]
        for row in layers:
            row.add_class("layer")
        pairs = [
            widgets.HBox(pair, layout=ROW)
            for pair in ((self.size, self.steps), (self.init, self.seed))
        ]
        for left, right in (pair.children for pair in pairs):
            left.layout.width, right.layout.width = "54%", "46%"
            right.style.description_width = "50px"
        super().__init__(
            [
                *(self.content, self.style_image, self.network, *pairs),
                _heading("These may change while it runs"),
                *(self.alpha_beta, self.content_layer, _heading("Style layers and their weights")),
                *layers,
            ]
        )
        self.show(settings)

    @property
    def settings(self) -> Settings:
        """What the controls say; SettingError if no style layer is left."""
        used = {layer: weight.value for layer, (box, weight) in self.weights.items() if box.value}
        if not any(used.values()):
            raise SettingError("tick at least one style layer, with a weight above 0")
        names = ("network", "size", "alpha_beta", "content_layer", "init", "steps", "seed")
        return Settings(**{name: getattr(self, name).value for name in names}, style_layers=used)

    def show(self, settings: Settings) -> None:
        """Set the controls to `settings`; SettingError, and nothing is set, if they cannot be."""
        if settings.network not in self.network.options:
            raise SettingError(
                f"the network {settings.network} is not here; stylelab fetch may download it"
            )
        if other := set(settings.style_layers) - set(self.weights):
            raise SettingError(f"there is no control for style layer {min(other)}")
        if not 1e-12 <= settings.alpha_beta <= 1e12:
            raise SettingError(f"a log slider cannot show alpha/beta {settings.alpha_beta:g}")
        for name in ("size", "steps", "seed"):
            control, value = getattr(self, name), getattr(settings, name)
            control.min, control.max = min(control.min, value), max(control.max, value)
            control.value = value
        exponent = math.log10(settings.alpha_beta)
        self.alpha_beta.min = min(self.alpha_beta.min, math.floor(exponent))
        self.alpha_beta.max = max(self.alpha_beta.max, math.ceil(exponent))
        if settings.content_layer not in self.content_layer.options:
            self.content_layer.options = [*self.content_layer.options, settings.content_layer]
        for name in ("network", "init", "alpha_beta", "content_layer"):
            getattr(self, name).value = getattr(settings, name)
        for layer, (box, weight) in self.weights.items():
            value = settings.style_layers.get(layer, 0.0)
            box.value = value > 0
            if value > 0:
                weight.max = max(weight.max, value)
                weight.value = value

    def on_live(self, handler: Callable) -> None:
        """Call `handler` when a setting changes that may do so during a transfer."""
        live = [self.alpha_beta, self.content_layer, self.steps]
        for control in [*live, *(each for pair in self.weights.values() for each in pair)]:
            control.observe(handler, "value")

    @staticmethod
    def _row(kind: type, label: str, tip: str, **options: object) -> widgets.Widget:
        return kind(description=label, tooltip=tip, style=LABEL, layout=ROW, **options)

    @staticmethod
    def _layer(layer: str) -> tuple[widgets.Checkbox, widgets.FloatSlider]:
        box = widgets.Checkbox(True, description=layer, indent=False, tooltip=f"Match {layer}")
        box.layout = widgets.Layout(width="84px", flex="0 0 auto")
        tip = f"Weight of {layer} relative to the others"
        weight = widgets.FloatSlider(1.0, min=0, max=5, step=0.1, tooltip=tip)
        weight.readout_format, weight.continuous_update = ".1f", False
        weight.layout = widgets.Layout(flex="1 1 0", min_width="0", width="auto")
        weight.description, weight.style.description_width = layer, "0"  # named, not shown twice
        return box, weight


def _heading(text: str) -> widgets.HTML:
    return widgets.HTML(f'<div class="heading">{text}</div>', layout=ROW)
