"""Writes the report's files: `report.html`, `report.md`, and beside it the plots that the Markdown shows.

Each file is replaced as a whole. Neighbours: `composition` has made the document, `cutover report` calls.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

from proxy.report.canvas import BACKGROUND, IN_A_FILE, IN_A_PAGE
from proxy.report.document import Document, Figure
from proxy.report.html import render_html
from proxy.report.markdown import render_markdown
from proxy.report.svg import as_file

HTML: Final = "report.html"
MARKDOWN: Final = "report.md"
PLOTS: Final = "plots"


def write_report(document: Document, directory: Path) -> tuple[Path, ...]:
    """Write it; the paths written. Raises OSError."""
    figures = [block for section in document.sections for block in section.blocks if isinstance(block, Figure)]
    texts = {directory / HTML: render_html(document), directory / MARKDOWN: render_markdown(document, PLOTS)}
    for figure in figures:
        texts[directory / PLOTS / f"{figure.name}.svg"] = plot_file(figure)
    (directory / PLOTS if figures else directory).mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        _replace(path, text)
    return tuple(texts)


def plot_file(figure: Figure) -> str:
    """A plot as a file of its own, in the light colours."""
    drawn = figure.svg
    for placeholder, css in IN_A_PAGE.items():
        drawn = drawn.replace(css, IN_A_FILE[placeholder])
    return as_file(drawn, BACKGROUND)


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
