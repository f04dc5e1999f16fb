"""A row to an item, as the mapping says. Pure: a `Converter` is made once, and called for each row.

Neighbours: `queries` selects the columns in the order that this expects, `values` converts one value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.migration.mapping import Attribute, Kind, Mapping
from proxy.migration.mapping_rules import PLACEHOLDER
from proxy.migration.sizes import Item, item_bytes
from proxy.migration.values import (
    Read,
    Unconvertible,
    Value,
    list_reader,
    number_text,
    read_binary,
    read_boolean,
    read_date,
    read_json,
    read_number,
    read_string,
    set_reader,
    timestamp_reader,
)

_SETS: Final = {Kind.STRING: "SS", Kind.NUMBER: "NS", Kind.BINARY: "BS"}
_EMPTY: Final[tuple[Value, ...]] = ({"S": ""}, {"L": []}, {"SS": []}, {"NS": []}, {"BS": []}, {"B": b""})
_NULL: Final[Value] = {"NULL": True}


@dataclass(frozen=True, slots=True)
class Converted:
    """An item, how large it is, and the value that says how new it is (None: nothing does)."""

    item: Item
    size_bytes: int
    version: Value | None


class RowRejected(ValueError):
    """A row of which no item can be made: the attribute at fault (None: the item as a whole) and why."""

    def __init__(self, attribute: str | None, reason: str) -> None:
        super().__init__(f"{attribute}: {reason}" if attribute else reason)
        self.attribute = attribute
        self.reason = reason


class Converter:
    """Makes items. `keys` are DynamoDB's own key attributes, which must be there and not empty."""

    def __init__(self, mapping: Mapping, keys: Sequence[str]) -> None:
        self._mapping = mapping
        self._keys = tuple(keys)
        columns = [(name, each) for name, each in mapping.attributes.items() if each.column is not None]
        self._readers: tuple[tuple[str, Read, str, str | None], ...] = tuple(
            (name, reader_of(each), each.when_null or mapping.when_null, _empty_policy(each)) for name, each in columns
        )
        self._constants: Item = {
            name: _constant(each.constant) for name, each in mapping.attributes.items() if each.constant is not None
        }
        self._templates = tuple(
            (name, _template(each)) for name, each in mapping.attributes.items() if each.template is not None
        )

    def __repr__(self) -> str:
        return f"<Converter of {self._mapping.table}: {len(self._mapping.attributes)} attributes>"

    def convert(self, values: Sequence[Any]) -> Converted:
        """The item of a row, given the columns' values in the mapping's order. Raises RowRejected."""
        item: Item = {}
        for (name, read, when_null, when_empty), value in zip(self._readers, values, strict=True):
            if value is None:
                _put_or_leave(item, name, when_null, "is NULL")
                continue
            try:
                made = read(value)
            except Unconvertible as exc:
                raise RowRejected(name, str(exc)) from None
            if when_empty is not None and made in _EMPTY:
                _put_or_leave(item, name, when_empty, "is empty")
            else:
                item[name] = made
        item |= self._constants
        for name, make in self._templates:
            item[name] = make(name, item)
        return self._checked(item)

    def _checked(self, item: Item) -> Converted:
        for name in self._keys:
            value = item.get(name)
            if value is None or not next(iter(value.values())) or value == _NULL:
                raise RowRejected(name, "is part of DynamoDB's key, and is missing or empty")
        try:
            size = item_bytes(item)
        except UnicodeEncodeError:
            raise RowRejected(_without_utf8(item), "holds half a Unicode character, which has no UTF-8") from None
        if size > self._mapping.item_bytes:
            raise RowRejected(None, f"the item has {size} bytes; {self._mapping.item_bytes} are allowed")
        return Converted(item, size, item.get(self._mapping.version) if self._mapping.version else None)


def reader_of(attribute: Attribute) -> Read:
    """The function that reads a column's value, not NULL, for this attribute."""
    kind = Kind(attribute.type or Kind.STRING)
    if kind is Kind.LIST:
        return list_reader(_scalar_reader(Kind(attribute.items), attribute))
    if kind is Kind.SET:
        return set_reader(_SETS[Kind(attribute.items)], _scalar_reader(Kind(attribute.items), attribute))
    return _scalar_reader(kind, attribute)


def _empty_policy(attribute: Attribute) -> str | None:
    """What an empty value becomes; None when it stays. There is no empty set that could stay."""
    if attribute.when_empty != "keep":
        return attribute.when_empty
    return "omit" if attribute.type == Kind.SET else None


def _scalar_reader(kind: Kind, attribute: Attribute) -> Read:
    if kind is Kind.TIMESTAMP:
        return timestamp_reader(attribute.format, attribute.precision)
    readers: dict[Kind, Read] = {
        Kind.STRING: read_string,
        Kind.NUMBER: read_number,
        Kind.BOOLEAN: read_boolean,
        Kind.BINARY: read_binary,
        Kind.DATE: read_date,
        Kind.JSON: read_json,
    }
    return readers[kind]


def _constant(value: object) -> Value:
    if isinstance(value, bool):
        return {"BOOL": value}
    return {"N": number_text(value)} if isinstance(value, int) else {"S": str(value)}


def _template(attribute: Attribute) -> Callable[[str, Item], Value]:
    template = attribute.template or ""

    def make(name: str, item: Item) -> Value:
        def value_of(found: Any) -> str:  # noqa: ANN401 - re.Match
            value = item.get(found[1], _NULL)
            if "S" not in value and "N" not in value:
                raise RowRejected(name, f"needs {found[1]}, which the row has not")
            return str(value.get("S", value.get("N")))

        return {"S": PLACEHOLDER.sub(value_of, template)}

    return make


def _put_or_leave(item: Item, name: str, policy: str, what: str) -> None:
    if policy == "reject":
        raise RowRejected(name, what)
    if policy == "null":
        item[name] = _NULL


def _without_utf8(item: Item) -> str | None:
    for name, value in item.items():
        try:
            item_bytes({name: value})
        except UnicodeEncodeError:
            return name
    return None
