"""The SQL that reads the table: which columns, in which form, and by pages of the key. Pure.

Every page is one short statement of its own (keyset pagination): no OFFSET, no cursor, no long transaction. Key values
travel as text and are cast back by PostgreSQL, so any type of key can stand in a checkpoint.
"""

from collections.abc import Mapping as Mappings
from dataclasses import dataclass

from proxy.migration.mapping import Kind, Mapping
from proxy.migration.mapping_rules import Column

_AS_THEY_ARE = ("text", "character varying", "character", "citext", "name")
_CASTS = {"character": "bpchar", "bit": "varbit"}  # without a length, these would be one character long
_INTEGERS = ("smallint", "integer", "bigint")

Key = tuple[str, ...]
"""The values of a row's key columns, as text."""


def quote(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_table(name: str) -> str:
    """`schema.table` or `table`; quotes that are there stay, so that a name may hold a dot."""
    if '"' in name:
        return name
    return ".".join(quote(part) for part in name.split("."))


@dataclass(frozen=True, slots=True)
class Shard:
    """The `index`th of `of` parts of a table, by a hash of the key: the same rows whenever and wherever it is asked."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


class Queries:
    """The statements for one table. Parameters are named in each method."""

    def __init__(self, mapping: Mapping, columns: Mappings[str, Column], shard: Shard | None = None) -> None:
        self.table = quote_table(mapping.table)
        # qualified, because the keys as text have the columns' own names
        self._key = [f"r.{quote(name)}" for name in mapping.key]
        self._types = [_CASTS.get(columns[name].type, columns[name].type) for name in mapping.key]
        self.key_width = len(self._key)
        self._key_as_text = ", ".join(f"{name}::text" for name in self._key)
        self._columns = "".join(
            f", {_selected(Kind(each.type or Kind.STRING), Kind(each.items), each.zone, columns[each.column])}"
            for each in mapping.attributes.values()
            if each.column is not None
        )
        self._order = ", ".join(self._key)
        self._shard = "TRUE" if shard is None else self._hash(shard)

    def __repr__(self) -> str:
        return f"<Queries of {self.table} by {self._order}>"

    def _hash(self, shard: Shard) -> str:
        joined = " || chr(31) || ".join(f"{name}::text" for name in self._key)
        return f"mod(hashtextextended({joined}, 0) & 9223372036854775807, {shard.of}) = {shard.index}"

    def _row(self, first: int) -> str:
        values = (f"CAST(${first + at}::text AS {kind})" for at, kind in enumerate(self._types))
        return f"({', '.join(values)})"

    def page(self, *, after: bool, until: bool, keys_only: bool = False) -> str:
        """The next rows: $1 how many, then the key after which, then the key until which (included)."""
        conditions, at = [self._shard], 2
        for wanted, operator in ((after, ">"), (until, "<=")):
            if wanted:
                conditions.append(f"({self._order}) {operator} {self._row(at)}")
                at += self.key_width
        columns = "" if keys_only else self._columns
        return (
            f"SELECT {self._key_as_text}{columns} FROM {self.table} AS r "  # noqa: S608 - quoted identifiers only
            f"WHERE {' AND '.join(conditions)} ORDER BY {self._order} LIMIT $1"
        )

    def rows(self) -> str:
        """The rows with these keys: one array of texts for each key column."""
        return self._of_keys(self._columns)

    def present(self) -> str:
        """Which of these keys there are: one array of texts for each key column."""
        return self._of_keys("")

    def _of_keys(self, columns: str) -> str:
        if self.key_width == 1:
            # an index serves this; a join on a cast array would not be sure of it
            return (
                f"SELECT {self._key_as_text}{columns} FROM {self.table} AS r "  # noqa: S608 - quoted identifiers only
                f"WHERE {self._key[0]} = ANY(CAST($1::text[] AS {self._types[0]}[]))"
            )
        arrays = ", ".join(f"CAST(${at + 1}::text[] AS {kind}[])" for at, kind in enumerate(self._types))
        return (
            f"SELECT {self._key_as_text}{columns} FROM {self.table} AS r "  # noqa: S608 - quoted identifiers only
            f"WHERE ({self._order}) IN (SELECT * FROM unnest({arrays}))"
        )

    def sample(self, percent: float) -> str:
        """Some keys, in order; $1 how many at most."""
        return (
            f"SELECT {self._key_as_text} FROM (SELECT {self._order} FROM {self.table} AS r "  # noqa: S608 - as above
            f"TABLESAMPLE SYSTEM ({percent:.6f}) LIMIT $1) AS r ORDER BY {self._order}"
        )

    def random_keys(self) -> str:
        """Keys drawn at random; $1 how many. Reads the whole index."""
        return (
            f"SELECT {self._key_as_text} FROM {self.table} AS r "  # noqa: S608 - quoted identifiers only
            f"WHERE {self._shard} ORDER BY random() LIMIT $1"
        )


def _selected(kind: Kind, items: Kind, zone: str, column: Column) -> str:
    """A column in the form that `values` expects."""
    name = f"r.{quote(column.name)}"
    if kind in (Kind.LIST, Kind.SET):
        element = column.type.removesuffix("[]")
        if items is Kind.TIMESTAMP:
            return name if element == "timestamp with time zone" else f"{name}::timestamptz[]"
        return name if items in (Kind.BOOLEAN, Kind.BINARY) or element in _AS_THEY_ARE else f"{name}::text[]"
    if kind is Kind.TIMESTAMP and column.type == "timestamp without time zone":
        literal = zone.replace("'", "''")
        return f"{name} AT TIME ZONE '{literal}'"
    if kind in (Kind.BOOLEAN, Kind.BINARY, Kind.TIMESTAMP):
        return name
    if kind is Kind.NUMBER and column.type in _INTEGERS:
        return name
    return name if column.type in _AS_THEY_ARE else f"{name}::text"
