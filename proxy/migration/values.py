"""One value of PostgreSQL to one attribute value of DynamoDB, without loss or not at all. Pure.

Values come as `queries` asks for them: numbers and dates as text, timestamps as microseconds since 2000, JSON as text,
whole numbers, booleans, bytes and arrays as Python has them. Neighbours: `convert` puts an item together of these.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

Value = dict[str, Any]
Read = Callable[[Any], Value]

MOST_DIGITS: Final = 38
DEEPEST: Final = 32  # DynamoDB's limit for lists and maps within each other
_LARGEST_EXPONENT: Final = 125
_SMALLEST_EXPONENT: Final = -130

_POSTGRES_EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
_INFINITE_US: Final = (2**63 - 1, -(2**63))
_DAY_US: Final = 86_400_000_000
_FIRST_US: Final = -62_135_596_800_000_000  # 0001-01-01
_LAST_US: Final = 253_402_300_800_000_000  # 10000-01-01
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_PLAIN_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,37})", re.ASCII)
_STEP_US: Final = {"s": 1_000_000, "ms": 1000, "us": 1}


class Unconvertible(ValueError):
    """A value that DynamoDB can't hold, and why; never the value itself, which may be anything."""


def read_string(value: str) -> Value:
    """Text as it is: no normalisation, no trimming."""
    return {"S": value}


def read_boolean(value: bool) -> Value:  # noqa: FBT001 - it is the value
    """True or false."""
    return {"BOOL": value}


def read_binary(value: bytes) -> Value:
    """Bytes as they are."""
    return {"B": bytes(value)}


def read_number(value: int | str) -> Value:
    """A number with all its digits. Raises Unconvertible beyond 38 digits or 9.99…E+125, and for what is none."""
    return {"N": number_text(value)}


def number_text(value: int | str | Decimal) -> str:
    """A number as DynamoDB gives it back: no zeros at its ends, `0` without sign; an exponent where that is shorter."""
    text = str(value)
    if _PLAIN_NUMBER.fullmatch(text):
        return text if text != "-0" else "0"
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise Unconvertible("is no number") from None
    if not number.is_finite():
        raise Unconvertible("is NaN" if number.is_nan() else "is infinite")
    if number == 0:
        return "0"
    sign, digits, exponent = number.as_tuple()
    shown = "".join(map(str, digits)).lstrip("0")
    trimmed = shown.rstrip("0")
    exponent = int(exponent) + len(shown) - len(trimmed)
    if len(trimmed) > MOST_DIGITS:
        raise Unconvertible(f"has {len(trimmed)} significant digits; DynamoDB keeps {MOST_DIGITS}")
    magnitude = exponent + len(trimmed) - 1
    if not _SMALLEST_EXPONENT <= magnitude <= _LARGEST_EXPONENT:
        raise Unconvertible("is beyond what a DynamoDB number can be (1E-130 to 9.99E+125)")
    return f"{'-' if sign else ''}{_written(trimmed, exponent)}"


def _written(digits: str, exponent: int) -> str:
    if exponent >= 0 and len(digits) + exponent <= MOST_DIGITS:
        return digits + "0" * exponent
    if -MOST_DIGITS <= exponent < 0:
        whole, part = digits[:exponent], digits[exponent:]
        return f"{whole or '0'}.{part.rjust(-exponent, '0')}"
    return f"{digits}E{exponent:+d}"


def timestamp_reader(form: str, precision: str) -> Read:
    """A reader of timestamps: `iso` text in UTC of one length, so that its order is the order in time, or `epoch`.

    What is finer than the precision is cut off. Raises Unconvertible for infinities and years that have no four digits.
    """
    step_us = _STEP_US[precision]

    def read(value: int) -> Value:
        if value in _INFINITE_US:
            raise Unconvertible("is infinite")
        since_1970_us = value + _POSTGRES_EPOCH_US
        if form == "epoch":
            return {"N": str(since_1970_us // step_us)}
        return {"S": format_us(since_1970_us, precision)}

    return read


def format_us(since_1970_us: int, precision: str) -> str:
    """`2026-03-01T12:00:00.000Z`. Raises Unconvertible outside the years 1 to 9999."""
    if not _FIRST_US <= since_1970_us < _LAST_US:
        raise Unconvertible("is not in the years 1 to 9999")
    days, rest_us = divmod(since_1970_us, _DAY_US)
    seconds, fraction_us = divmod(rest_us, 1_000_000)
    text = f"{_day(days)}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if precision == "s":
        return f"{text}Z"
    return f"{text}.{fraction_us // 1000:03}Z" if precision == "ms" else f"{text}.{fraction_us:06}Z"


def _day(days: int) -> str:
    """The date so many days after 1970-01-01, by the proleptic Gregorian calendar, as PostgreSQL has it."""
    cached = _DAYS.get(days)
    if cached is None:
        from datetime import date, timedelta  # noqa: PLC0415 - once for each day

        cached = (date(1970, 1, 1) + timedelta(days=days)).isoformat()
        if len(_DAYS) < 20_000:
            _DAYS[days] = cached
    return cached


_DAYS: dict[int, str] = {}


def read_date(value: str) -> Value:
    """A date as `2026-03-01`. Raises Unconvertible for infinities, BC and years after 9999."""
    if not _DATE.fullmatch(value):
        raise Unconvertible("is infinite" if "infinity" in value else "is not in the years 1 to 9999")
    return {"S": value}


def read_json(value: str) -> Value:
    """JSON as maps, lists, texts, numbers, booleans and nulls; a number keeps all its digits.

    Raises Unconvertible for what DynamoDB can't hold, and for a key that comes twice: one value would be lost.
    """
    try:
        tree = json.loads(
            value, parse_int=json_number, parse_float=json_number, parse_constant=_refuse, object_pairs_hook=_pairs
        )
    except RecursionError:
        raise Unconvertible(f"nests deeper than {DEEPEST} levels") from None
    except json.JSONDecodeError:
        raise Unconvertible("is not JSON") from None
    return _json_value(tree, 1)


class JsonNumber(str):
    """A JSON number, as text."""

    __slots__ = ()


def json_number(text: str) -> JsonNumber:
    """A JSON number's own text."""
    return JsonNumber(text)


def _refuse(_text: str) -> None:
    raise Unconvertible("holds NaN or Infinity, which are not JSON")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unconvertible("has the same key twice")
    return found


def _json_value(tree: object, depth: int) -> Value:
    if tree is None:
        return {"NULL": True}
    if isinstance(tree, bool):
        return {"BOOL": tree}
    if isinstance(tree, JsonNumber):
        return {"N": number_text(tree)}
    if isinstance(tree, str):
        return {"S": tree}
    if depth > DEEPEST:
        raise Unconvertible(f"nests deeper than {DEEPEST} levels")
    if isinstance(tree, dict):
        if "" in tree:
            raise Unconvertible("has an empty key, which DynamoDB does not allow")
        return {"M": {key: _json_value(each, depth + 1) for key, each in tree.items()}}
    return {"L": [_json_value(each, depth + 1) for each in cast("list[object]", tree)]}


def list_reader(read: Read) -> Read:
    """A reader of arrays as lists; an array of several dimensions becomes lists of lists, a NULL in it a null."""

    def read_list(value: list[Any]) -> Value:
        return {
            "L": [
                {"NULL": True} if each is None else read_list(each) if isinstance(each, list) else read(each)
                for each in value
            ]
        }

    return read_list


def set_reader(kind: str, read: Read) -> Read:
    """A reader of arrays as sets: unordered, each element once. Raises Unconvertible for NULLs and dimensions."""

    def read_set(value: list[Any]) -> Value:
        if any(each is None for each in value):
            raise Unconvertible("holds a NULL, which a set can't")
        if any(isinstance(each, list) for each in value):
            raise Unconvertible("has several dimensions, which a set can't")
        held = (next(iter(read(each).values())) for each in value)
        return {kind: sorted(set(held))}

    return read_set
