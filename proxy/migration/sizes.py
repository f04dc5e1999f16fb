"""How large an item is, as DynamoDB counts, and what writing it costs. Pure.

Source: Amazon DynamoDB Developer Guide, "Item sizes and formats" and "Write capacity unit consumption": names and
texts in UTF-8 bytes; a number one byte for two significant digits and one more (and one for a minus); lists and maps
three bytes and one for each element. DynamoDB calls its own figures approximate, so an item just below 400 KB may
still be refused: such a refusal is a reject, too.
"""

from collections.abc import Mapping
from typing import Any, Final

_WRITE_UNIT_BYTES: Final = 1024
_CONTAINER_BYTES: Final = 3

Item = dict[str, dict[str, Any]]


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """The size of an item. Raises UnicodeEncodeError for text that has no UTF-8."""
    total = 0
    for name, value in item.items():
        text = value.get("S")  # most are; to ask `_value_bytes` takes three times as long
        total += text_bytes(name) + (_value_bytes(value) if text is None else text_bytes(text))
    return total


def write_units(size_bytes: int) -> int:
    """What a write of an item of this size consumes, its indexes apart: one unit for each KiB begun."""
    return max(1, -(-size_bytes // _WRITE_UNIT_BYTES))


def text_bytes(text: str) -> int:
    """The length in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def number_bytes(text: str) -> int:
    """The size of a number in any notation."""
    mantissa = text.lower().partition("e")[0].lstrip("+-").lstrip("0")
    digits = mantissa.replace(".", "")
    # zeros at the ends are not stored; between the point and the first digit neither
    significant = len(digits.strip("0"))
    return -(-significant // 2) + 1 + text.startswith("-")


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    if kind == "S":
        return text_bytes(held)
    if kind == "N":
        return number_bytes(held)
    if kind == "B":
        return len(held)
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "L":
        return _CONTAINER_BYTES + sum(1 + _value_bytes(each) for each in held)
    if kind == "M":
        return _CONTAINER_BYTES + sum(1 + text_bytes(name) + _value_bytes(each) for name, each in held.items())
    count = {"SS": text_bytes, "NS": number_bytes, "BS": len}[kind]
    return sum(count(each) for each in held)
