"""The widgets of single settings, each with a `value` as `stylelab.runs.settings` holds it."""

import math
from collections.abc import Sequence
from html import escape

import ipywidgets as widgets
import traitlets

from stylelab.runs.options import Option
from stylelab.vgg import STYLE_LAYERS


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
                step=0.25,
                description=layer,  # for screen readers; not shown, as the checkbox shows the same
                tooltip=f"Weight of {layer} relative to the others",
                readout_format=".2f",
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


class RatioChoice(widgets.VBox):
    """A checkbox and a log slider: a number as its `value`, or None where it is not ticked."""

    value = traitlets.Float(None, allow_none=True)

    def __init__(self, option: Option, tip: str, ends: Sequence[str] = ()) -> None:
        self.box = widgets.Checkbox(False, description=option.label, indent=False, tooltip=tip)
        least, most = (round(math.log10(end)) for end in option.usual)
        self.slider = widgets.FloatLogSlider(
            value=option.first,
            min=least,
            max=most,
            step=0.25,
            description=option.label,  # for screen readers; not shown, as the checkbox shows it
            tooltip=tip,
            readout_format=".1e",
            continuous_update=False,
            disabled=True,
        )
        self.box.observe(self._read, "value")
        self.slider.observe(self._read, "value")
        row = widgets.HBox([self.box, self.slider]).add_class("layer")
        super().__init__([row, *([words(*ends)] if ends else [])])
        self.observe(self._show, "value")

    def _read(self, _: object) -> None:
        self.value = self.slider.value if self.box.value else None

    def _show(self, change: dict) -> None:
        value = change["new"]
        if value is not None:
            widen(self.slider, math.log10(value))
            self.slider.value = value
        self.box.value, self.slider.disabled = value is not None, value is None


class Blend(widgets.VBox):
    """The slider between two styles: their two weights as its `value`, none while `active` is not.

    It is only shown while it is active.
    """

    value = traitlets.Tuple(())
    active = traitlets.Bool(False)

    def __init__(self, tip: str) -> None:
        look = {"description": "Blend", "tooltip": tip, "readout_format": ".2f"}
        self.slider = widgets.FloatSlider(
            value=0.5, min=0, max=1, step=0.05, continuous_update=False, **look
        )
        super().__init__([self.slider, words("style", "style 2")], layout={"display": "none"})
        self.slider.observe(self._read, "value")
        self.observe(self._read, "active")
        self.observe(self._show, "value")

    def _read(self, _: object) -> None:
        second = round(self.slider.value, 6)
        self.value = (round(1 - second, 6), second) if self.active else ()
        self.layout.display = "" if self.active else "none"

    def _show(self, change: dict) -> None:
        if len(change["new"]) == 2:
            first, second = change["new"]
            self.slider.value = second / (first + second)


def knob(option: Option, choices: Sequence, ends: Sequence[str] = ()) -> widgets.Widget:
    """The widget that shows a setting; of a mapping with `choices`, a menu of these.

    `ends` are the words at the two ends of a slider that has a checkbox of its own.
    """
    tip = option.help[0].upper() + option.help[1:]
    look = {"description": option.label, "tooltip": tip}
    if choices:
        return widgets.Dropdown(options=choices, **look)
    if option.kind is tuple:
        return Blend(tip)
    if option.kind is dict:
        return LayerWeights(option)
    if option.unset:
        return RatioChoice(option, tip, ends)
    if option.kind is int:
        return widgets.BoundedIntText(min=option.least, max=option.most, **look)
    least, most = option.usual
    look |= {"continuous_update": False}
    if option.most == most:
        return widgets.FloatSlider(
            value=least, min=least, max=most, step=0.05, readout_format=".2f", **look
        )
    if least > 0:  # a factor
        least, most = math.log2(least), math.log2(most)
        look |= {"base": 2, "readout_format": ".2f"}
        return widgets.FloatLogSlider(value=1, min=least, max=most, step=0.25, **look)
    return widgets.BoundedFloatText(min=option.least, max=option.most, step=most / 20, **look)


def widen(slider: widgets.FloatLogSlider, exponent: float) -> None:
    """Make the slider reach an exponent of its base."""
    slider.min = min(slider.min, math.floor(exponent))
    slider.max = max(slider.max, math.ceil(exponent))


def words(left: str, right: str) -> widgets.HTML:
    """The words at the two ends of a slider."""
    return widgets.HTML(f"<span>{escape(left)}</span><span>{escape(right)}</span>").add_class(
        "ends"
    )


def text(html: str, kind: str) -> widgets.HTML:
    """A line of HTML among the controls."""
    return widgets.HTML(f'<div class="{kind}">{html}</div>')
