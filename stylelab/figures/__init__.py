"""Figures: panels, records, drawings, measures, claims. `runs`, `app` and `cli` may import it."""

from stylelab.figures.panels import (
    COLOURS,
    DPI,
    Panel,
    check_names,
    claims_table,
    footer,
    judge,
    loss_curves,
    make_record,
    panel_grid,
    panel_path,
    save_figure,
    save_picture,
    show,
    verdict,
    versions,
)
