"""Renders a document as one HTML file that needs nothing else: style and plots are in it, and it runs nothing.

Jinja escapes every text; only the plots, which `svg` has made inert, go in as they are. Neighbours: `document` is what
it is given, `markdown` is its sister, `templates` has the page.
"""

import re
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from proxy.report.document import MARKS, Block, Document, Figure, Listing, Paragraph, Subheading, Table

_NUMBER_AND_UNIT: Final = re.compile(r"(?<=\d) (?=(?:%|ms|s|min|h|d|UTC)\b|%)")
_KINDS: Final = {
    Paragraph: "paragraph",
    Listing: "listing",
    Table: "table",
    Figure: "figure",
    Subheading: "subheading",
}


def render_html(document: Document) -> str:
    """The whole file's text."""
    environment = Environment(
        loader=PackageLoader("proxy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["kind"] = _kind
    environment.filters["mark"] = MARKS.get
    environment.filters["tied"] = _tied
    environment.filters["drawn"] = _drawn
    style = environment.get_template("style.css").render()
    return environment.get_template("report.html").render(document=document, style=Markup(style))  # noqa: S704 - ours


def _kind(block: Block) -> str:
    return _KINDS[type(block)]


def _tied(text: str) -> str:
    """The same, a number and its unit on one line."""
    return _NUMBER_AND_UNIT.sub("\N{NO-BREAK SPACE}", text)


def _drawn(figure: Figure) -> Markup:
    return Markup(figure.svg)  # noqa: S704 - `svg` has taken it apart and put it together again
