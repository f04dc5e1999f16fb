"""The mapping file, typed: which table, which key, and what each attribute of an item is made of.

What one value must be is said by its type, what values must be together by `mapping_rules`.
Neighbours: `mapping_file` makes it from a file, `queries` and `convert` read it.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from proxy.settings.raw import NumberLike
from proxy.settings.scalars import Flag, Scalar, choice, read_boolean, read_text, rejected, whole_number
from proxy.settings.section import Section

LARGEST_ITEM_BYTES: Final = 400 * 1024


class Kind(StrEnum):
    """What an attribute is; the word the file says after `type`."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    BINARY = "binary"
    TIMESTAMP = "timestamp"
    DATE = "date"
    JSON = "json"
    LIST = "list"
    SET = "set"


ITEM_KINDS: Final = (Kind.STRING, Kind.NUMBER, Kind.BOOLEAN, Kind.BINARY, Kind.TIMESTAMP)
"""What a list may hold."""
SET_KINDS: Final = (Kind.STRING, Kind.NUMBER, Kind.BINARY)
"""What a set may hold: DynamoDB has no other sets."""


def _optional(scalar: Scalar) -> Scalar:
    return Scalar(scalar.read, scalar.schema, scalar.show, nullable=True)


def _read_name(value: object) -> str:
    text = read_text(value)
    if not text or not text.isprintable() or len(text.encode()) > 255:
        raise rejected("expected a name of 1 to 255 printable characters")
    return text


def _read_constant(value: object) -> object:
    if isinstance(value, bool):
        return read_boolean(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float | NumberLike):
        raise rejected("expected text, a whole number, or true or false", "put it in quotes")
    text = read_text(value)
    if not text:
        raise rejected("must not be empty")
    return text


_NAME: Final = Scalar(_read_name, {"type": "string", "minLength": 1})
_KIND: Final = choice(*(kind.value for kind in Kind))
_ITEM: Final = choice(*(kind.value for kind in ITEM_KINDS))
_CONSTANT: Final = Scalar(_read_constant, {"type": ["string", "integer", "boolean"]}, nullable=True)

Name = Annotated[str, _NAME]
OptionalName = Annotated[str | None, _optional(_NAME)]
NullPolicy = choice("omit", "null", "reject")


class Attribute(Section):
    """One attribute of an item: from a column, from other attributes (`template`), or always the same (`constant`)."""

    column: OptionalName = Field(None, description="The column it is made of.")
    type: Annotated[str | None, _optional(_KIND)] = Field(None, description="What it becomes.")
    items: Annotated[str, _ITEM] = Field("string", description="What a list or a set holds.")
    format: Annotated[str, choice("iso", "epoch")] = Field("iso", description="Timestamps: text, or a number.")
    precision: Annotated[str, choice("s", "ms", "us")] = Field("ms", description="Timestamps: what is kept.")
    zone: Name = Field("UTC", description="Of a column of type timestamp without time zone.")
    when_null: Annotated[str | None, _optional(NullPolicy)] = Field(None, description="Instead of the file's.")
    when_empty: Annotated[str, choice("keep", "omit", "null", "reject")] = Field(
        "keep", description="An empty text, list or set; DynamoDB has no empty sets, so those are left out if kept."
    )
    template: OptionalName = Field(None, description="Other attributes put together, as in {createdAt}#{id}.")
    constant: Annotated[Any, _CONSTANT] = Field(None, description="The same in every item.")


class Http(Section):
    """The two APIs, as `cutover verify --via http` asks them."""

    list: Name = Field("/images", description="The path of a list, with its query.")
    items: Name = Field("items", description="Where in its answer the items are.")
    cursor: OptionalName = Field("nextCursor", description="Where in its answer the next page's cursor is.")
    cursor_parameter: Name = Field("cursor", description="The query parameter that takes it.")
    get: Name = Field("/images/{id}", description="The path of one item.")
    id: Name = Field("id", description="An item's own id; also the key in the database.")
    ignore: tuple[Name, ...] = Field(default=(), description="Fields that may differ, dotted where they are nested.")


class Mapping(Section):
    """The whole file."""

    table: Name = Field(description="The table, with its schema if that is not in the search path.")
    key: tuple[Name, ...] = Field(description="Its unique, NOT NULL key columns, in the order of their index.")
    version: OptionalName = Field(
        "updatedAt",
        description="The attribute that tells which of two writes is newer; null: only items that are not there.",
    )
    when_null: Annotated[str, NullPolicy] = Field("omit", description="What a NULL becomes.")
    item_bytes: Annotated[int, whole_number(1, LARGEST_ITEM_BYTES)] = Field(
        LARGEST_ITEM_BYTES, description="A larger item is rejected; DynamoDB's own limit is 409600."
    )
    attributes: dict[Name, Attribute] = Field(description="An item's attributes.")
    ignore: tuple[Name, ...] = Field(default=(), description="Attributes that verify does not compare.")
    absent_is_null: Flag = Field(default=False, description="For verify: whether absent and null are the same.")
    http: Http = Field(default=Http(), description="For verify --via http.")
