"""Formulas drawn as SVG: a page then needs no script, font or network for them."""

import re
from html import escape
from xml.etree import ElementTree

import ziamath
from docutils import nodes
from sphinx.util import logging

TAG = r"\\tag\{(.*?)\}"
JOINER = "&#8288;"  # keeps a comma or a full stop on the line of the formula before it
ziamath.config.svg2 = False  # a self-contained SVG
logger = logging.getLogger(__name__)


def setup(app) -> dict:
    """Register the renderer `drawn`."""
    app.add_html_math_renderer("drawn", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline(writer, node) -> None:
    """A formula within a line."""
    writer.body.append(drawn(node, node.astext(), in_line=True) + JOINER)
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
