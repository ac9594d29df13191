"""The notebooks and the pages of docs/ as a website: `make book`.

Nothing is executed: pages show the outputs that are committed in the notebooks.
"""

import re
import tomllib
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import ziamath
from docutils import nodes
from sphinx.util import logging

from stylelab.app import lecture

ROOT = Path(__file__).resolve().parents[1]
ABOUT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "stylelab"
author = ABOUT["authors"][0]["name"]
extensions = ["myst_nb"]
root_doc = "book/index"
include_patterns = ["book/*.md", "notebooks/**", "docs/*.md", "README.md", "SECURITY.md"]
exclude_patterns = [".*", "build", "**/.ipynb_checkpoints", "docs/gallery.md"]  # book/index has it

nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # outputs that are tables
nb_ipywidgets_js = {}  # no page has widgets, and their scripts would be downloaded
myst_enable_extensions = ["colon_fence", "dollarmath", "html_image", "substitution"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "stylelab"
if address := ABOUT.get("urls", {}).get("Repository"):
    html_theme_options = {"source_repository": address}
html_extra_path = ["site"]  # index.html, which leads to the front page
html_static_path = ["static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_copyright = False
html_math_renderer = "drawn"
TAG = r"\\tag\{(.*?)\}"
ziamath.config.svg2 = False  # a self-contained SVG
logger = logging.getLogger(__name__)

myst_substitutions = {"lecture": f"```{{raw}} html\n{lecture.page()._repr_html_()}\n```"}


def setup(app) -> None:
    """Draw formulas as SVG: a page then needs no script, font or network for them."""
    app.add_html_math_renderer("drawn", (inline, None), (block, None))
    app.connect("source-read", redirect_links)


def redirect_links(app, name: str, source: list[str]) -> None:
    """Make links to folders lead to their first page, and those to the gallery to the front page.

    Code hosts show folders; a website does not.
    """

    def first_page(link: re.Match) -> str:
        pages = sorted((ROOT / name).parent.joinpath(link[1]).glob("*.ipynb"))
        return f"]({link[1].rstrip('/')}/{pages[0].name})" if pages else link[0]

    text = source[0].replace("](docs/gallery.md)", "](book/index.md)")
    source[0] = re.sub(r"\]\(([\w./-]+)\)", first_page, text)


def inline(writer, node) -> None:
    """A formula within a line."""
    writer.body.append(drawn(node, node.astext(), in_line=True))
    raise nodes.SkipNode


def block(writer, node) -> None:
    """A formula on a line of its own, with its number (LaTeX's tag) at the right."""
    formula = drawn(node, re.sub(TAG, "", node.astext()), in_line=False)
    number = "".join(f"<span>({escape(tag)})</span>" for tag in re.findall(TAG, node.astext()))
    writer.body.append(f'<div class="formula"><div>{formula}</div>{number}</div>')
    raise nodes.SkipNode


def drawn(node, latex: str, *, in_line: bool) -> str:
    """A formula as SVG, labelled with its LaTeX; with a warning and as LaTeX if that fails."""
    try:
        formula = ziamath.Latex(latex.strip(), size=17, color="currentColor", inline=in_line)
        svg = formula.svgxml()
    except Exception as error:  # the drawing library has no exception of its own
        logger.warning("cannot draw %r: %r", latex, error, location=node)
        return f"<code>{escape(latex)}</code>"
    svg.attrib |= {"role": "img", "aria-label": latex.strip()}
    svg.set("style", f"vertical-align: {formula.getyofst():.2f}px" if in_line else "")
    return ElementTree.tostring(svg, encoding="unicode")
