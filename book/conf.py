"""The notebooks as a website: `make book`. Sources stay where they are, in the whole checkout.

Nothing is executed: pages show the outputs that are in the committed notebooks.
"""

import json
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
exclude_patterns = [".*", "build", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # no page has such widgets, and their scripts would come from elsewhere
myst_enable_extensions = ["colon_fence", "dollarmath", "substitution"]
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
ziamath.config.svg2 = False  # an SVG that says all by itself
logger = logging.getLogger(__name__)

# The gallery: of each figure the notebook that makes it, its title and what it shows.
FIGURES = {
    "figure3": ("05_style_transfers", "Figure 3", "One photograph in the style of five artworks."),
    "figure1_content": (
        "02_content_reconstructions",
        "Figure 1, content",
        "White noise optimised to the features of one layer: what it knows of a photograph.",
    ),
    "figure1_style": (
        "03_style_reconstructions",
        "Figure 1, style",
        "White noise optimised to the Gram matrices of more and more layers: what they know of a "
        "painting.",
    ),
    "figure2": (
        "04_algorithm",
        "Figure 2",
        "The algorithm drawn with real tensors: three passes, two kinds of loss, one gradient.",
    ),
    "figure4": (
        "06_content_style_tradeoff",
        "Figure 4",
        "Content against style: four ratios α/β, each ten times the one before.",
    ),
    "preprint_figure3": (
        "06_content_style_tradeoff",
        "The preprint's figure 3",
        "Down the rows more style layers, along the columns a growing α/β.",
    ),
    "figure5": ("07_content_layers", "Figure 5", "Content matched at `conv2_2`, and at `conv4_2`."),
    "figure6": (
        "08_initialisation",
        "Figure 6",
        "Started from the photograph, from the painting, and from four white noises.",
    ),
    "figure7": ("09_photorealistic", "Figure 7", "A photograph as the style: from day to night."),
}
GALLERY = ROOT / "figures" / "paper-vgg19-mini"


def card(name: str) -> str:
    """A figure of the gallery, which leads to its notebook."""
    notebook, title, shows = FIGURES[name]
    record = json.loads((GALLERY / f"{name}.json").read_text(encoding="utf-8"))
    made = record["parameters"]
    return f"""
:::{{figure}} ../figures/{GALLERY.name}/{name}.png
:alt: {title}. {shows.replace("`", "")}
:target: ../notebooks/{notebook}.html

**[{title}](../notebooks/{notebook}.ipynb).** {shows} *{made["network"]}, {made["size"]} px.*
:::
"""


myst_substitutions = {
    "gallery": "\n".join(card(name) for name in FIGURES if (GALLERY / f"{name}.png").exists()),
    "scrubber": f"```{{raw}} html\n{lecture.page()._repr_html_()}\n```",
}


def setup(app) -> None:
    """Formulas drawn as SVG, here: a page needs no script for them, no font and no network."""
    app.add_html_math_renderer("drawn", (inline, None), (block, None))
    app.connect("source-read", lead_on)


def lead_on(app, name: str, source: list[str]) -> None:
    """Links to folders, which code hosts list and a website does not, lead to the first page."""

    def first(link: re.Match) -> str:
        pages = sorted((ROOT / name).parent.joinpath(link[1]).glob("*.ipynb"))
        return f"]({link[1].rstrip('/')}/{pages[0].name})" if pages else link[0]

    source[0] = re.sub(r"\]\(([\w./-]+)\)", first, source[0])


def inline(writer, node) -> None:
    """A formula within a line."""
    writer.body.append(drawn(node, node.astext(), in_line=True))
    raise nodes.SkipNode


def block(writer, node) -> None:
    """A formula on a line of its own, its number (LaTeX's tag) at the right."""
    formula = drawn(node, re.sub(TAG, "", node.astext()), in_line=False)
    number = "".join(f"<span>({escape(tag)})</span>" for tag in re.findall(TAG, node.astext()))
    writer.body.append(f'<div class="formula"><div>{formula}</div>{number}</div>')
    raise nodes.SkipNode


def drawn(node, latex: str, *, in_line: bool) -> str:
    """A formula as SVG, its LaTeX read out; one that cannot be drawn is warned of and shown so."""
    try:
        formula = ziamath.Latex(latex.strip(), size=17, color="currentColor", inline=in_line)
        svg = formula.svgxml()
    except Exception as error:  # the drawing library has no exception of its own
        logger.warning("cannot draw %r: %r", latex, error, location=node)
        return f"<code>{escape(latex)}</code>"
    svg.attrib |= {"role": "img", "aria-label": latex.strip()}
    svg.set("style", f"vertical-align: {formula.getyofst():.2f}px" if in_line else "")
    return ElementTree.tostring(svg, encoding="unicode")
