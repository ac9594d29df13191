"""Figures: panels, drawings, records and claims; `runs`, `app` and `cli` may import it."""

from stylelab.figures.lab import Lab, start
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
    check_names,
    claims_table,
    judge,
    make_record,
    panel_path,
    save_figure,
    save_picture,
    show,
    verdict,
    versions,
)

__all__ = [
    "COLOURS",
    "DPI",
    "Lab",
    "Panel",
    "check_names",
    "claims_table",
    "curves",
    "footer",
    "judge",
    "loss_curves",
    "make_record",
    "panel_grid",
    "panel_path",
    "result_panels",
    "save_figure",
    "save_picture",
    "show",
    "start",
    "verdict",
    "versions",
]
