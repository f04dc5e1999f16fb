"""A document as values: sections of paragraphs, lists, tables and figures, the same for every format. Pure.

Every text is plain: who renders it makes whatever it holds inert. Neighbours: `sections` write it, `html` and
`markdown` render it, `plots` draw its figures.
"""

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """How good what is said is; a mark goes with it, so that no meaning is in a colour alone."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    MUTED = "muted"


MARKS = {Tone.GOOD: "✓", Tone.WARN: "!", Tone.BAD: "✗"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of points."""

    items: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; each row's first cell is its head. `numbers` are the columns of numbers.

    A `dense` one has many narrow columns: it scrolls where there is no room, others become cards.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[int] = frozenset()
    dense: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot. `description` says in words what it shows; `svg` is drawn by `plots`, `name` is its file's."""

    name: str
    title: str
    description: str
    svg: str


@dataclass(frozen=True, slots=True)
class Subheading:
    """A heading within a section."""

    text: str


Block = Paragraph | Listing | Table | Figure | Subheading


@dataclass(frozen=True, slots=True)
class Section:
    """One of the report's sections."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the figures at the top."""

    label: str
    value: str
    detail: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report."""

    title: str
    subtitle: str
    verdict: str
    tone: Tone
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    footer: str
