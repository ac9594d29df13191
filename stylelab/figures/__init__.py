"""Figures: panels, drawings, records and claims; `runs`, `app` and `cli` may import it."""

from stylelab.figures.canvas import COLOURS as COLOURS
from stylelab.figures.canvas import DPI as DPI
from stylelab.figures.lab import Lab as Lab
from stylelab.figures.panels import DETAIL as DETAIL
from stylelab.figures.panels import Panel as Panel
from stylelab.figures.panels import curves as curves
from stylelab.figures.panels import detail as detail
from stylelab.figures.panels import footer as footer
from stylelab.figures.panels import loss_curves as loss_curves
from stylelab.figures.panels import panel_grid as panel_grid
from stylelab.figures.panels import power_of_ten as power_of_ten
from stylelab.figures.panels import result_panels as result_panels
from stylelab.figures.records import make_record as make_record
from stylelab.figures.records import panel_path as panel_path
from stylelab.figures.records import save_figure as save_figure
from stylelab.figures.records import save_picture as save_picture
from stylelab.figures.records import show as show
from stylelab.figures.records import table as table
from stylelab.figures.records import threads as threads
from stylelab.figures.records import versions as versions
