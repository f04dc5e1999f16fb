"""Markdown: whatever foreign text holds, it stays text."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from proxy.report.document import Cell, Document, Listing, Paragraph, Section, Subheading, Table, Tone
from proxy.report.markdown import escape_markdown, render_markdown
from proxy.report.reading import made_fit
from tests.report.hostile import HOSTILE

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029")) | st.text(
    alphabet=r"\`*_{}[]()<>#+-.!|~&;:/@=1$ ab", max_size=30
)


def read(markdown: str) -> str:
    return READER.render(markdown)


def shown(html: str) -> str:
    return " ".join(unescape(re.sub(r"</?(?:p|li|ul|td|tr|tbody|table)>", "", html)).split())


@given(TEXT)
def test_any_paragraph_reads_as_its_text_and_nothing_else(text: str) -> None:
    html = read(escape_markdown(text))
    assert set(re.findall(r"<(/?\w+)", html)) <= {"p", "/p"}, html
    assert shown(html) == " ".join(text.split())


@given(TEXT)
def test_any_point_and_any_cell_reads_as_its_text(text: str) -> None:
    point = read(f"- {escape_markdown(text)}")
    assert set(re.findall(r"<(/?\w+)", point)) <= {"ul", "/ul", "li", "/li"}, point
    row = read(f"| a | b |\n| --- | --- |\n| {escape_markdown(text)} | x |")
    assert row.count("<td>") == 2
    assert shown(row.partition("<tbody>")[2]) == f"{' '.join(text.split())} x".strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_no_address_becomes_a_link_and_nobody_is_mentioned(text: str) -> None:
    escaped = escape_markdown(made_fit(text))
    assert not re.search(r"\w://|www\.\w|\w@|(?<!\\)@|(?<!\\)#\d", escaped)


def test_every_kind_of_block_is_written_once() -> None:
    table = Table("Caption", ("a", "b"), ((Cell("x|y"), Cell("1", Tone.GOOD)),), frozenset({1}))
    blocks = (Paragraph("A text", Tone.BAD), Subheading("Below"), Listing((Cell("point", Tone.WARN),)), table)
    document = Document("Title", "sub", "All well", Tone.GOOD, (), (Section("One", blocks),), "foot")
    text = render_markdown(document, "plots")
    assert "# Title\n\nsub\n\n**✓ All well**" in text
    assert "## 1. One\n\n✗ A text\n\n### Below\n\n- ! point\n\n**Caption**\n\n| a | b |" in text
    assert "| --- | ---: |\n| x\\|y | ✓ 1 |" in text
