"""The notebooks and the pages of docs/ as a website: `make book`.

Nothing is executed: pages show the outputs that are committed in the notebooks.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ABOUT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
sys.path.insert(0, str(ROOT / "book"))

from parts import front, sliders  # noqa: E402

project = "stylelab"
author = ABOUT["authors"][0]["name"]
extensions = ["myst_nb", "sphinx_copybutton", "parts.formulas", "parts.pages"]
root_doc = "book/index"
include_patterns = ["book/*.md", "notebooks/**", "docs/*.md", "README.md", "SECURITY.md"]
exclude_patterns = [".*", "build", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # outputs that are tables
nb_merge_streams = True  # what a cell printed in several pieces
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_ipywidgets_js = {}  # no page has widgets, and their scripts would be downloaded
myst_enable_extensions = ["colon_fence", "dollarmath", "html_image", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {
    name: f"```{{raw}} html\n{make()}\n```"
    for name, make in {
        "course": front.course,
        "film": sliders.film,
        "five_paintings": front.five_paintings,
        "lecture": sliders.style_by_ratio,
    }.items()
}
copybutton_selector = "div:not(.output) > div.highlight pre"

html_theme = "furo"
html_title = "stylelab"
if address := ABOUT.get("urls", {}).get("Repository"):
    html_theme_options = {"source_repository": address}
html_extra_path = ["site"]  # index.html, which leads to the front page
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["enlarge.js"]
html_copy_source = False
html_show_copyright = False
html_math_renderer = "drawn"
