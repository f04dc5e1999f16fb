"""What the values of a mapping must be together, and with the table that it reads. Pure.

Neighbours: `mapping_file` reports what is found here with its line.
"""

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Mappings
from dataclasses import dataclass
from typing import Final

from proxy.migration.mapping import SET_KINDS, Attribute, Kind, Mapping
from proxy.settings.errors import KeyPath
from proxy.settings.suggest import nearest

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")

_TEXTS: Final = ("text", "character varying", "character", "citext", "name")
_INTEGERS: Final = ("smallint", "integer", "bigint")
_NUMBERS: Final = (*_INTEGERS, "numeric", "real", "double precision")
# What a column must be for a kind; a kind that is not here takes any column, as text.
_TAKES: Final[Mappings[Kind, tuple[str, ...]]] = {
    Kind.NUMBER: (*_NUMBERS, *_TEXTS),
    Kind.BOOLEAN: ("boolean",),
    Kind.BINARY: ("bytea",),
    Kind.TIMESTAMP: ("timestamp with time zone", "timestamp without time zone"),
    Kind.DATE: ("date",),
    Kind.JSON: ("json", "jsonb", *_TEXTS),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column as PostgreSQL describes it: `type` without its modifiers, a domain's base type, `[]` for arrays."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, where in the file, and what was probably meant."""

    path: KeyPath
    message: str
    hint: str | None = None


def find_faults(mapping: Mapping) -> Iterator[Fault]:
    """What can be said without the table."""
    if not mapping.key:
        yield Fault(("key",), "must name at least one column")
    if len(set(mapping.key)) < len(mapping.key):
        yield Fault(("key",), "names a column twice")
    for name, attribute in mapping.attributes.items():
        for fault in _attribute_faults(name, attribute, mapping):
            yield Fault(("attributes", name, *fault.path), fault.message, fault.hint)
    if mapping.version is not None:
        yield from _version_faults(mapping, mapping.version)
    for index, column in enumerate(mapping.key):
        if key_attribute(mapping, column) is None:
            message = f'no attribute of type string or number is made of "{column}"'
            mapped = [each.column for each in mapping.attributes.values() if each.column is not None]
            hint = _meant(column, mapped) if column not in mapped else None
            yield Fault(("key", index), message, hint or "an item must tell which row it is of")


def key_attribute(mapping: Mapping, column: str) -> str | None:
    """The attribute that holds a key column as it is."""
    for name, attribute in mapping.attributes.items():
        if attribute.column == column and attribute.type in (Kind.STRING, Kind.NUMBER):
            return name
    return None


def _attribute_faults(name: str, attribute: Attribute, mapping: Mapping) -> Iterator[Fault]:
    ways = [way for way in ("column", "template", "constant") if getattr(attribute, way) is not None]
    if len(ways) != 1:
        yield Fault((), "must have exactly one of column, template and constant")
        return
    if attribute.column is None and attribute.type is not None:
        yield Fault(("type",), f"only a column has a type; a {ways[0]} makes its own")
    if attribute.column is not None and attribute.type is None:
        yield Fault((), f'the type of the column "{attribute.column}" is missing', "such as type: string")
    if attribute.type == Kind.SET and attribute.items not in SET_KINDS:
        yield Fault(("items",), "a set can hold string, number or binary")
    if attribute.template is not None:
        yield from _template_faults(name, attribute.template, mapping)


def _template_faults(name: str, template: str, mapping: Mapping) -> Iterator[Fault]:
    if "{" in PLACEHOLDER.sub("", template) or "}" in PLACEHOLDER.sub("", template):
        yield Fault(("template",), "has a brace without its other one")
    for used in PLACEHOLDER.findall(template):
        other = mapping.attributes.get(used)
        if other is None:
            yield Fault(("template",), f'there is no attribute "{used}"', _meant(used, mapping.attributes))
        elif used == name or other.template is not None:
            yield Fault(("template",), f'"{used}" is a template itself')
        elif other.column is not None and other.type not in (Kind.STRING, Kind.NUMBER, Kind.TIMESTAMP, Kind.DATE):
            yield Fault(("template",), f'"{used}" is a {other.type}, which has no text')


def _version_faults(mapping: Mapping, version: str) -> Iterator[Fault]:
    attribute = mapping.attributes.get(version)
    if attribute is None:
        hint = _meant(version, mapping.attributes) or "or version: null, to write only what is not there yet"
        yield Fault(("version",), f'there is no attribute "{version}"', hint)
    elif attribute.column is None or attribute.type not in (Kind.TIMESTAMP, Kind.NUMBER):
        yield Fault(("version",), f'"{version}" must be a timestamp or a number, which have an order')


def _meant(word: str, known: Iterable[str]) -> str | None:
    meant = nearest(word, known)
    return f'did you mean "{meant}"?' if meant else None


def find_table_faults(mapping: Mapping, columns: Mappings[str, Column]) -> Iterator[Fault]:
    """What the table says against it."""
    for index, name in enumerate(mapping.key):
        if name not in columns:
            yield Fault(("key", index), f'{mapping.table} has no column "{name}"', _meant(name, columns))
        elif columns[name].nullable:
            yield Fault(("key", index), f'the column "{name}" may be NULL, so it is no key')
        elif columns[name].type not in _INTEGERS and _is_number(mapping, name):
            yield Fault(("key", index), f'the column "{name}" is {columns[name].type}: a key of numbers must be whole')
    for name, attribute in mapping.attributes.items():
        if attribute.column is None:
            continue
        column = columns.get(attribute.column)
        if column is None:
            message = f'{mapping.table} has no column "{attribute.column}"'
            yield Fault(("attributes", name, "column"), message, _meant(attribute.column, columns))
        elif problem := _unfit(Kind(attribute.type or Kind.STRING), attribute, column):
            yield Fault(("attributes", name, "type"), problem)


def _is_number(mapping: Mapping, column: str) -> bool:
    attribute = key_attribute(mapping, column)
    return attribute is not None and mapping.attributes[attribute].type == Kind.NUMBER


def find_key_faults(mapping: Mapping, keys: Mappings[str, str]) -> Iterator[Fault]:
    """What DynamoDB's key, its attributes with their types S, N or B, says against it."""
    of_rows = {key_attribute(mapping, column) for column in mapping.key}
    used: set[str] = set()
    for name, wanted in keys.items():
        attribute = mapping.attributes.get(name)
        if attribute is None:
            meant = _meant(name, mapping.attributes)
            yield Fault(("attributes",), f'DynamoDB\'s key "{name}" is not among them', meant)
            continue
        parts = PLACEHOLDER.findall(attribute.template) if attribute.template is not None else [name]
        used.update(parts)
        of_key = all(part in of_rows or mapping.attributes[part].constant is not None for part in parts)
        if not of_key:
            yield Fault(("attributes", name), "is DynamoDB's key, and must be made of the table's key columns only")
        made = "N" if attribute.type == Kind.NUMBER else "S"
        if isinstance(attribute.constant, int):
            made = "N" if not isinstance(attribute.constant, bool) else "BOOL"
        if made != wanted:
            yield Fault(("attributes", name), f"is DynamoDB's key of type {wanted}, and would become {made}")
    for index, column in enumerate(mapping.key):
        if key_attribute(mapping, column) not in used:
            joined = ", ".join(keys)
            message = f'"{column}" is in no part of DynamoDB\'s key ({joined}): several rows would become one item'
            yield Fault(("key", index), message)


def _unfit(kind: Kind, attribute: Attribute, column: Column) -> str | None:
    if kind in (Kind.LIST, Kind.SET):
        if not column.type.endswith("[]"):
            return f'the column "{column.name}" is {column.type}, not an array'
        held = Kind(attribute.items)
        return _unfit_element(held, column)
    takes = _TAKES.get(kind)
    if takes is not None and column.type not in takes:
        return f'the column "{column.name}" is {column.type}, of which no {kind.value} can be made'
    return None


def _unfit_element(held: Kind, column: Column) -> str | None:
    takes = _TAKES.get(held)
    if takes is not None and column.type.removesuffix("[]") not in takes:
        return f'the column "{column.name}" is {column.type}, which does not hold {held.value}s'
    return None
