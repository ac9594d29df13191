"""The controls of the playground: its images, and a widget for each declared setting.

What matters most is in view, the rest in groups that open. A setting that the widgets cannot show
is refused with a message, never rounded to one they can.
"""

import math

import ipywidgets as widgets

from stylelab import networks
from stylelab.app.image_choice import UPLOAD_LIMIT, Handlers, ImageChoice
from stylelab.app.kept import Made
from stylelab.app.knobs import knob, text, widen, words
from stylelab.app.regions import Regions
from stylelab.errors import SettingError
from stylelab.runs.settings import HISTORY, OPTIONS, Settings
from stylelab.vgg import LAYERS, STYLE_LAYERS

# A session works at one size, by a strength or a ratio that may change.
ABSENT = ("levels", "objective", "convention", "average", "history")
CONTENT_LAYERS = tuple(layer for layer in LAYERS if layer <= "conv5_1")  # of vgg19-mini
LIVE_HINT = "These also change a running transfer, as strength, blend and steps do."
COLOURS = (
    ("the painting's", "style"),
    ("the photograph's, exactly", "luminance"),
    ("the photograph's, by recolouring", "match"),
)
GROUPS = ("Paint where the style goes", "Layers, α/β, smoothing", "Network, start, optimiser")


class Controls(widgets.VBox):
    """All settings of a transfer, and its images.

    Args:
        settings: what the controls show first.
        content: the first content image: a name of the gallery, or the path of a file.
        style: the first style image.
        handler: makes a function an event handler that shows errors on the page.

    Attributes:
        by_setting: the widget of each setting, by its name in `Settings`.
        images: the choices of images: content, style, and a second style, perhaps none.
        regions: where the styles go, and where they are taken from.

    Raises:
        StylelabError: if an image cannot be had, or the controls cannot show the settings.
    """

    def __init__(self, settings: Settings, content: str, style: str, handler: Handlers) -> None:
        self.content = ImageChoice("content", content, handler)
        self.style_image = ImageChoice("style", style, handler)
        self.second_style = ImageChoice("style 2", None, handler)
        self.images = (self.content, self.style_image, self.second_style)
        self.regions = Regions(self.images)
        local = sorted({settings.network, *filter(networks.is_cached, networks.names())})
        one = [(layer, {layer: 1.0}) for layer in CONTENT_LAYERS]
        own = [("its own", ""), *((name, name) for name in OPTIONS["pooling"].choices)]
        choices = {"network": local, "content_layers": one, "pooling": own, "colours": COLOURS}
        ends = {"alpha_beta": ("painting", "photograph")}
        self.by_setting = rows = {
            name: knob(option, choices.get(name, option.choices), ends.get(name, ()))
            for name, option in OPTIONS.items()
            if name not in ABSENT
        }

        def pair(*names: str) -> widgets.HBox:
            return widgets.HBox([rows[name] for name in names]).add_class("pair")

        layers = [text(LIVE_HINT, "hint"), rows["alpha_beta"], rows["content_layers"]]
        layers += [rows["style_layers"], rows["style_loss"], rows["tv_weight"]]
        how = [rows["network"], pair("init", "seed"), rows["parametrisation"]]
        how += [pair("optimiser", "pooling"), rows["learning_rate"]]
        groups = [self.regions, widgets.VBox(layers), widgets.VBox(how)]
        self.groups = widgets.Accordion(groups, titles=GROUPS)
        parts = [*self.images, text(UPLOAD_LIMIT, "hint")]
        parts += [rows["strength"], words("photograph", "painting"), rows["style_weights"]]
        parts += [rows["style_scale"], words("finer", "larger")]
        parts += [rows["colours"], pair("size", "steps"), self.groups]
        super().__init__(parts)
        rows["alpha_beta"].observe(self._enable, "value")
        self.second_style.observe(self._blend, "chosen")
        self.show(settings)

    def _enable(self, change: dict) -> None:
        self.by_setting["strength"].disabled = change["new"] is not None

    def _blend(self, change: dict) -> None:
        self.by_setting["style_weights"].active = change["new"] is not None

    @property
    def settings(self) -> Settings:
        """What the controls show; SettingError if no style layer is left."""
        shown = {name: widget.value for name, widget in self.by_setting.items()}
        values = {name: None if value == "" else value for name, value in shown.items()}
        if not any(values["style_layers"].values()):
            raise SettingError("tick at least one style layer, with a weight above 0")
        return Settings(**values)

    @property
    def made(self) -> Made:
        """The images, and what is painted on them."""
        return Made(*(choice.chosen for choice in self.images), self.regions.painted)

    def check(self, settings: Settings) -> None:
        """SettingError if the controls cannot show `settings`."""
        if settings.network not in self.by_setting["network"].options:
            raise SettingError(
                f"the network {settings.network} is not on this computer; run stylelab fetch"
            )
        if settings.levels not in (None, 1):
            raise SettingError("the playground works at one size; levels must be 1")
        if len(settings.style_weights) > 2:
            raise SettingError("the playground has two styles; style_weights must be two numbers")
        if settings.objective != "means":
            raise SettingError(
                "the playground weighs by strength or ratio; objective must be means"
            )
        for name in ("convention", "average"):
            if getattr(settings, name):
                raise SettingError(f"the playground has no control for {name}; leave it out")
        if settings.history != HISTORY:
            raise SettingError(f"the playground has no control for history; it is {HISTORY}")
        if settings.start_file:
            starts = ", ".join(OPTIONS["init"].choices)
            raise SettingError(f"the playground starts from one of {starts}; init is a file")
        if unknown := sorted(set(settings.style_layers) - set(STYLE_LAYERS)):
            raise SettingError(f"there is no control for style layer {unknown[0]}")
        ratio = settings.alpha_beta
        if ratio is not None and not 1e-12 <= ratio <= 1e12:
            raise SettingError(f"a log slider cannot show alpha/beta {ratio:g}")

    def show(self, settings: Settings) -> None:
        """Set the controls to `settings`; SettingError, and nothing is set, if they cannot be."""
        self.check(settings)
        layers = self.by_setting["content_layers"]
        if (asked := dict(settings.content_layers)) not in [value for _, value in layers.options]:
            named = ", ".join(f"{layer}={weight:g}" for layer, weight in asked.items())
            layers.options = [*layers.options, (named, asked)]
        widen(self.by_setting["style_scale"], math.log2(settings.style_scale))
        for name, value in settings.as_dict().items():
            if widget := self.by_setting.get(name):  # a menu shows nothing for None
                none = "" if isinstance(widget, widgets.Dropdown) else None
                value = tuple(value) if isinstance(value, list) else value
                widget.value = none if value is None else value
