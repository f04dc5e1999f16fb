"""Markdown tables, as the generated parts need them. Pure."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell may hold Markdown, and `|` and new lines are taken care of."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines) + "\n"


def code(text: str) -> str:
    """Text as inline code."""
    return f"`{text}`" if text else ""


def codes(words: Iterable[str]) -> str:
    """Several words as inline code."""
    return ", ".join(map(code, words))


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")
