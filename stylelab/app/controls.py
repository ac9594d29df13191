"""The controls of the playground: two images, and a widget for each declared setting.

A setting that the widgets cannot show is refused with a message, never rounded to one they can.
"""

import math
from collections.abc import Sequence

import ipywidgets as widgets
import traitlets

from stylelab import networks
from stylelab.app.image_choice import UPLOAD_LIMIT, Handlers, ImageChoice
from stylelab.errors import SettingError
from stylelab.runs.options import Option
from stylelab.runs.settings import OPTIONS, Settings
from stylelab.vgg import LAYERS, STYLE_LAYERS

# A session works at one size, with one style, and a strength or a ratio that may change.
ABSENT = ("levels", "style_weights", "objective", "convention")
CONTENT_LAYERS = tuple(layer for layer in LAYERS if layer <= "conv5_1")  # of vgg19-mini


class Controls(widgets.VBox):
    """All settings of a transfer; those that may change while it runs stand together.

    Args:
        settings: what the controls show first.
        content: the first content image: a name of the gallery, or the path of a file.
        style: the first style image.
        handler: makes a function an event handler that shows errors on the page.

    Attributes:
        by_setting: the widget of each setting, by its name in `Settings`.

    Raises:
        StylelabError: if an image cannot be had, or the controls cannot show the settings.
    """

    def __init__(self, settings: Settings, content: str, style: str, handler: Handlers) -> None:
        self.content = ImageChoice("content", content, handler)
        self.style_image = ImageChoice("style", style, handler)
        local = sorted({settings.network, *filter(networks.is_cached, networks.names())})
        one = [(layer, {layer: 1.0}) for layer in CONTENT_LAYERS]
        own = [("its own", ""), *((name, name) for name in OPTIONS["pooling"].choices)]
        choices = {"network": local, "content_layers": one, "pooling": own}
        self.by_setting = rows = {
            name: _widget(option, choices.get(name, option.choices))
            for name, option in OPTIONS.items()
            if name not in ABSENT
        }
        extent = widgets.HBox([rows["size"], rows["steps"]]).add_class("pair")
        start = widgets.HBox([rows["init"], rows["seed"]]).add_class("pair")
        parts = [self.content, self.style_image, _text(UPLOAD_LIMIT, "hint"), rows["network"]]
        live = _text("These may change while it runs", "heading")
        how = widgets.HBox([rows["optimiser"], rows["pooling"]]).add_class("pair")
        parts += [extent, start, rows["parametrisation"], how, rows["learning_rate"]]
        parts += [rows["tv_weight"], rows["colours"], rows["style_scale"], live]
        parts += [rows["strength"], rows["alpha_beta"], rows["content_layers"]]
        parts += [_text("Style layers and their weights", "heading"), rows["style_layers"]]
        super().__init__(parts)
        rows["alpha_beta"].observe(self._enable, "value")
        self.show(settings)

    def _enable(self, change: dict) -> None:
        self.by_setting["strength"].disabled = change["new"] is not None

    @property
    def settings(self) -> Settings:
        """What the controls show; SettingError if no style layer is left."""
        shown = {name: widget.value for name, widget in self.by_setting.items()}
        values = {name: None if value == "" else value for name, value in shown.items()}
        if not any(values["style_layers"].values()):
            raise SettingError("tick at least one style layer, with a weight above 0")
        return Settings(**values)

    def show(self, settings: Settings) -> None:
        """Set the controls to `settings`; SettingError, and nothing is set, if they cannot be."""
        if settings.network not in self.by_setting["network"].options:
            raise SettingError(
                f"the network {settings.network} is not on this computer; run stylelab fetch"
            )
        if settings.levels != 1:
            raise SettingError("the playground works at one size; levels must be 1")
        if settings.style_weights:
            raise SettingError("the playground has one style; style_weights must be empty")
        if settings.objective != "means":
            raise SettingError(
                "the playground weighs by strength or ratio; objective must be means"
            )
        if settings.convention:
            raise SettingError("the playground has no control for convention; leave it out")
        if settings.start_file:
            starts = ", ".join(OPTIONS["init"].choices)
            raise SettingError(f"the playground starts from one of {starts}; init is a file")
        if unknown := sorted(set(settings.style_layers) - set(STYLE_LAYERS)):
            raise SettingError(f"there is no control for style layer {unknown[0]}")
        ratio = settings.alpha_beta
        if ratio is not None and not 1e-12 <= ratio <= 1e12:
            raise SettingError(f"a log slider cannot show alpha/beta {ratio:g}")
        layers = self.by_setting["content_layers"]
        if (asked := dict(settings.content_layers)) not in [value for _, value in layers.options]:
            named = ", ".join(f"{layer}={weight:g}" for layer, weight in asked.items())
            layers.options = [*layers.options, (named, asked)]
        for name, value in settings.as_dict().items():
            if widget := self.by_setting.get(name):  # a menu shows nothing for None
                none = "" if isinstance(widget, widgets.Dropdown) else None
                widget.value = none if value is None else value


class LayerWeights(widgets.VBox):
    """A checkbox and a slider for each style layer: together one mapping of weights, `value`."""

    value = traitlets.Dict()

    def __init__(self, option: Option) -> None:
        self.rows = {}
        for layer in STYLE_LAYERS:
            box = widgets.Checkbox(True, description=layer, indent=False, tooltip=f"Match {layer}")
            slider = widgets.FloatSlider(
                value=1,
                min=option.usual[0],
                max=option.usual[1],
                description=layer,  # for screen readers; not shown, as the checkbox shows the same
                tooltip=f"Weight of {layer} relative to the others",
                readout_format=".1f",
                continuous_update=False,
            )
            self.rows[layer] = box, slider
            box.observe(self._read, "value")
            slider.observe(self._read, "value")
        super().__init__([widgets.HBox(row).add_class("layer") for row in self.rows.values()])
        self.observe(self._show, "value")

    def _read(self, _: object) -> None:
        self.value = {
            layer: slider.value for layer, (box, slider) in self.rows.items() if box.value
        }

    def _show(self, change: dict) -> None:
        for layer, (box, slider) in self.rows.items():
            if layer in change["new"]:
                slider.max = max(slider.max, change["new"][layer])
                slider.value = change["new"][layer]
            box.value = layer in change["new"]


class RatioChoice(widgets.HBox):
    """A checkbox and a log slider: a number as its `value`, or None where it is not ticked."""

    value = traitlets.Float(None, allow_none=True)

    def __init__(self, option: Option, tip: str) -> None:
        self.box = widgets.Checkbox(False, description=option.label, indent=False, tooltip=tip)
        least, most = (round(math.log10(end)) for end in option.usual)
        self.slider = widgets.FloatLogSlider(
            value=option.first,
            min=least,
            max=most,
            step=0.05,
            description=option.label,  # for screen readers; not shown, as the checkbox shows it
            tooltip=tip,
            readout_format=".1e",
            continuous_update=False,
            disabled=True,
        )
        self.box.observe(self._read, "value")
        self.slider.observe(self._read, "value")
        super().__init__([self.box, self.slider])
        self.add_class("layer")
        self.observe(self._show, "value")

    def _read(self, _: object) -> None:
        self.value = self.slider.value if self.box.value else None

    def _show(self, change: dict) -> None:
        value = change["new"]
        if value is not None:
            self.slider.min = min(self.slider.min, math.floor(math.log10(value)))
            self.slider.max = max(self.slider.max, math.ceil(math.log10(value)))
            self.slider.value = value
        self.box.value, self.slider.disabled = value is not None, value is None


def _widget(option: Option, choices: Sequence) -> widgets.Widget:
    """The widget that shows a setting; of a mapping with `choices`, a menu of these."""
    tip = option.help[0].upper() + option.help[1:]
    look = {"description": option.label, "tooltip": tip}
    if choices:
        return widgets.Dropdown(options=choices, **look)
    if option.kind is dict:
        return LayerWeights(option)
    if option.unset:
        return RatioChoice(option, tip)
    if option.kind is int:
        return widgets.BoundedIntText(min=option.least, max=option.most, **look)
    least, most = option.usual
    if option.most == most:
        look |= {"readout_format": ".2f", "continuous_update": False}
        return widgets.FloatSlider(value=least, min=least, max=most, step=0.02, **look)
    return widgets.BoundedFloatText(min=option.least, max=option.most, step=most / 100, **look)


def _text(html: str, kind: str) -> widgets.HTML:
    return widgets.HTML(f'<div class="{kind}">{html}</div>')
