"""Renders a document as Markdown (GitHub's). Foreign text is escaped where Markdown would read it as more than text.

Neighbours: `document` is what it is given, `html` is its sister.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from proxy.report.document import (
    MARKS,
    Block,
    Cell,
    Document,
    Figure,
    Listing,
    Paragraph,
    Section,
    Subheading,
    Table,
    Tone,
)

# Escaped wherever they stand: emphasis, code, links, images, HTML, tables, strikethrough, GitHub's formulas.
_ANYWHERE: Final = re.compile(r"[\\`*\[\]<>|~$]")
_UNDERSCORE: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # within a word it is none
_ENTITY: Final = re.compile(r"&(?=#?\w+;)")
_AUTOLINK: Final = re.compile(r"(?<=\w)(:)(?=//)|(?<=www)(\.)|(@)", re.IGNORECASE)  # also mentions of people
_REFERENCE: Final = re.compile(r"#(?=\w)")  # of an issue, or a heading
_AT_START: Final = re.compile(r"^([-+=#:])|^(\d+)(?=[.)](?:\s|$))")


def escape_markdown(text: str) -> str:
    """One line that reads as `text` and is nothing but text."""
    line = " ".join(text.split())
    line = _ANYWHERE.sub(r"\\\g<0>", line)
    line = _UNDERSCORE.sub(r"\\_", line)
    line = _ENTITY.sub("&amp;", line)
    line = _AUTOLINK.sub(r"\\\g<0>", line)
    line = _REFERENCE.sub(r"\\#", line)
    return _AT_START.sub(lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\", line)


def render_markdown(document: Document, plots: str) -> str:
    """The document; `plots` is the directory, relative to it, in which each figure's SVG file is."""
    lines = [f"# {escape_markdown(document.title)}", "", escape_markdown(document.subtitle), ""]
    lines += [f"**{_marked(document.verdict, document.tone)}**", ""]
    lines += ["| | | |", "| --- | --- | --- |"]
    for tile in document.tiles:
        value = _marked(tile.value, tile.tone)
        lines.append(f"| {escape_markdown(tile.label)} | **{value}** | {escape_markdown(tile.detail)} |")
    for number, section in enumerate(document.sections, 1):
        lines += ["", *_section(number, section, plots)]
    return "\n".join([*lines, "", "---", "", escape_markdown(document.footer), ""])


def _section(number: int, section: Section, plots: str) -> Iterator[str]:
    yield f"## {number}. {escape_markdown(section.title)}"
    for block in section.blocks:
        yield ""
        yield from _block(block, plots)


def _block(block: Block, plots: str) -> Iterable[str]:
    match block:
        case Paragraph(text, tone):
            return [_marked(text, tone)]
        case Subheading(text):
            return [f"### {escape_markdown(text)}"]
        case Listing(items):
            return [f"- {_marked(item.text, item.tone)}" for item in items]
        case Table():
            return _table(block)
        case Figure():
            title, words = escape_markdown(block.title), escape_markdown(block.description)
            return [f"![{title}]({plots}/{block.name}.svg)", "", f"**{title}.** {words}"]


def _table(table: Table) -> Iterator[str]:
    yield f"**{escape_markdown(table.caption)}**"
    yield ""
    yield _row(escape_markdown(head) for head in table.heads)
    yield _row("---:" if column in table.numbers else "---" for column in range(len(table.heads)))
    for row in table.rows:
        yield _row(_marked_cell(cell) for cell in row)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _marked_cell(cell: Cell) -> str:
    return _marked(cell.text, cell.tone)


def _marked(text: str, tone: Tone) -> str:
    mark = MARKS.get(tone)
    return escape_markdown(text) if mark is None else f"{mark} {escape_markdown(text)}"
