"""The controls of the playground: two images, and a widget for each declared setting.

A setting that the widgets cannot show is refused with a message, never rounded to one they can.
"""

import math
from collections.abc import Callable

import ipywidgets as widgets
import traitlets

from stylelab import networks
from stylelab.app.image_choice import UPLOAD_LIMIT, ImageChoice, Report
from stylelab.errors import SettingError
from stylelab.runs.options import Option
from stylelab.runs.settings import LIVE, OPTIONS, Settings
from stylelab.vgg import LAYERS, STYLE_LAYERS

CONTENT_LAYERS = tuple(layer for layer in LAYERS if layer <= "conv5_1")  # of vgg19-mini
ONE_SIZE = "levels"  # a session works at one size, so this setting has no control
ROW = {"width": "100%", "margin": "1px 0"}


class Controls(widgets.VBox):
    """All settings of a transfer; those that may change while it runs stand together.

    Args:
        settings: what the controls show first.
        content: the first content image: a name of the gallery, or the path of a file.
        style: the first style image.
        report: shows an error message.

    Attributes:
        by_setting: the widget of each setting, by its name in `Settings`.

    Raises:
        StylelabError: if an image cannot be had, or the controls cannot show the settings.
    """

    def __init__(self, settings: Settings, content: str, style: str, report: Report) -> None:
        self.content = ImageChoice("content", content, report)
        self.style_image = ImageChoice("style", style, report)
        choices = {
            "network": sorted({settings.network, *filter(networks.is_cached, networks.names())}),
            "content_layer": CONTENT_LAYERS,
        }
        self.by_setting = rows = {
            name: _widget(option, choices.get(name, option.choices))
            for name, option in OPTIONS.items()
            if name != ONE_SIZE
        }
        parts = [self.content, self.style_image, _text(UPLOAD_LIMIT, "hint"), rows["network"]]
        parts += [_pair(rows["size"], rows["steps"]), _pair(rows["init"], rows["seed"])]
        parts += [rows["tv_weight"], _text("These may change while it runs", "heading")]
        parts += [rows["alpha_beta"], rows["content_layer"]]
        parts += [_text("Style layers and their weights", "heading"), rows["style_layers"]]
        super().__init__(parts)
        self.show(settings)

    @property
    def settings(self) -> Settings:
        """What the controls show; SettingError if no style layer is left."""
        values = {name: widget.value for name, widget in self.by_setting.items()}
        if not any(values["style_layers"].values()):
            raise SettingError("tick at least one style layer, with a weight above 0")
        return Settings(**values)

    def show(self, settings: Settings) -> None:
        """Set the controls to `settings`; SettingError, and nothing is set, if they cannot be."""
        if settings.network not in self.by_setting["network"].options:
            raise SettingError(
                f"the network {settings.network} is not on this computer; run stylelab fetch"
            )
        if getattr(settings, ONE_SIZE) != 1:
            raise SettingError("the playground works at one size; levels must be 1")
        if unknown := sorted(set(settings.style_layers) - set(STYLE_LAYERS)):
            raise SettingError(f"there is no control for style layer {unknown[0]}")
        if not 1e-12 <= settings.alpha_beta <= 1e12:
            raise SettingError(f"a log slider cannot show alpha/beta {settings.alpha_beta:g}")
        for name, value in settings.as_dict().items():
            widget = self.by_setting.get(name)
            if isinstance(widget, widgets.FloatLogSlider):
                widget.min = min(widget.min, math.floor(math.log10(value)))
                widget.max = max(widget.max, math.ceil(math.log10(value)))
            elif isinstance(widget, widgets.Dropdown) and value not in widget.options:
                widget.options = [*widget.options, value]
            if widget:
                widget.value = value

    def on_live(self, handler: Callable) -> None:
        """Call `handler` when a setting changes that may do so during a transfer."""
        for name in LIVE:
            self.by_setting[name].observe(handler, "value")


class LayerWeights(widgets.VBox):
    """A checkbox and a slider for each style layer: together one mapping of weights, `value`."""

    value = traitlets.Dict()

    def __init__(self, option: Option) -> None:
        self.rows = {layer: self._row(layer, option) for layer in STYLE_LAYERS}
        super().__init__([widgets.HBox(row) for row in self.rows.values()])
        for child in self.children:
            child.add_class("layer")
            for widget in child.children:
                widget.observe(self._read, "value")
        self.observe(self._show, "value")

    def _read(self, _: object) -> None:
        ticked = {layer: slider for layer, (box, slider) in self.rows.items() if box.value}
        self.value = {layer: slider.value for layer, slider in ticked.items()}

    def _show(self, change: dict) -> None:
        for layer, (box, slider) in self.rows.items():
            if layer in change["new"]:
                slider.max = max(slider.max, change["new"][layer])
                slider.value = change["new"][layer]
            box.value = layer in change["new"]

    @staticmethod
    def _row(layer: str, option: Option) -> tuple[widgets.Checkbox, widgets.FloatSlider]:
        box = widgets.Checkbox(True, description=layer, indent=False, tooltip=f"Match {layer}")
        box.layout = widgets.Layout(width="84px", flex="0 0 auto")
        slider = widgets.FloatSlider(
            value=1,
            min=option.usual[0],
            max=option.usual[1],
            description=layer,  # for screen readers; not shown, as the checkbox shows the same
            tooltip=f"Weight of {layer} relative to the others",
            readout_format=".1f",
            continuous_update=False,
            layout={"flex": "1 1 0", "min_width": "0", "width": "auto"},
        )
        slider.style.description_width = "0"
        return box, slider


def _widget(option: Option, choices: tuple[str, ...]) -> widgets.Widget:
    """The widget that shows a setting."""
    look = {
        "description": option.label,
        "tooltip": option.help[0].upper() + option.help[1:],
        "style": {"description_width": "72px"},
        "layout": ROW,
    }
    if option.kind is dict:
        return LayerWeights(option)
    if option.kind is int:
        return widgets.BoundedIntText(min=option.least, max=option.most, **look)
    if option.kind is str:
        return widgets.Dropdown(options=choices, **look)
    least, most = option.usual
    if least == 0:
        return widgets.BoundedFloatText(min=0, max=option.most, step=most / 100, **look)
    exponents = {"min": round(math.log10(least)), "max": round(math.log10(most)), "step": 0.05}
    shown = {"readout_format": ".1e", "continuous_update": False}
    return widgets.FloatLogSlider(value=least, **exponents, **shown, **look)


def _pair(left: widgets.Widget, right: widgets.Widget) -> widgets.HBox:
    """Two widgets side by side."""
    left.layout.width, right.layout.width = "54%", "46%"
    right.style.description_width = "50px"
    return widgets.HBox([left, right], layout=ROW)


def _text(html: str, kind: str) -> widgets.HTML:
    return widgets.HTML(f'<div class="{kind}">{html}</div>', layout=ROW)
