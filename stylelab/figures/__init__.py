"""Figures: panels, drawings, records and claims; `runs`, `app` and `cli` may import it."""

from stylelab.figures.lab import Lab
from stylelab.figures.panels import (
    COLOURS,
    DPI,
    Panel,
    curves,
    footer,
    loss_curves,
    panel_grid,
    result_panels,
)
from stylelab.figures.records import (
    make_record,
    panel_path,
    save_figure,
    save_picture,
    show,
    versions,
)

__all__ = [
    "COLOURS",
    "DPI",
    "Lab",
    "Panel",
    "curves",
    "footer",
    "loss_curves",
    "make_record",
    "panel_grid",
    "panel_path",
    "result_panels",
    "save_figure",
    "save_picture",
    "show",
    "versions",
]
