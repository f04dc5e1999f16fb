"""The kinds of scalar a field can have: how each is read, shown and described.

One `Scalar` serves three readers: pydantic (validation), `effective` (showing) and `json_schema`
(describing), so the three cannot drift apart. Must not know any key. Neighbours: the section modules
annotate their fields with these.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from proxy.settings.raw import BROKEN, MASK, NumberLike, Secret, Substituted, kind_of, shown
from proxy.settings.suggest import nearest
from proxy.settings.units import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

Value = TypeVar("Value")
LONGEST_DURATION_S: Final = 8760 * 3600.0  # a year: more is a typing error

_DIGITS: Final = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_DECIMAL: Final = re.compile(r"[-+]?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_QUOTE_IT: Final = "put it in quotes"


def rejected(message: str, hint: str | None = None) -> PydanticCustomError:
    """The one error a reader raises: a sentence for the person who wrote the file. Must not hold a secret."""
    return PydanticCustomError("rejected", "{message}", {"message": message, "hint": hint})


def as_is(value: Any) -> Any:  # noqa: ANN401 - shows any JSON-able value unchanged
    """Show a value that is already what the file would say."""
    return value


@dataclass(frozen=True, slots=True)
class Scalar:
    """`read` takes a raw value and returns the typed one or raises `rejected`; `show` is its inverse.

    `schema` describes what the file may say, apart from null (`nullable`) and placeholders (any scalar).
    """

    read: Callable[[object], object]
    schema: Mapping[str, object]
    show: Callable[[Any], object] = as_is
    nullable: bool = False

    def accept(self, value: object) -> object:
        """Read a raw value. An empty substitution is null where null is allowed, as in `${env:TOKEN:-}`."""
        if value is BROKEN:
            raise rejected("reported already")
        if self.nullable and (value is None or (isinstance(value, Substituted) and not value.strip())):
            return None
        return self.read(value)

    def display(self, value: object) -> object:
        """The typed value as the file would say it; secrets masked."""
        if isinstance(value, Secret):
            return MASK
        return None if value is None else self.show(value)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.accept)


def whole_number(lowest: int, highest: int | None = None, *, nullable: bool = False) -> Scalar:
    """A whole number within bounds, both included; digits if it was substituted."""
    bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
    schema: dict[str, object] = {"type": "integer", "minimum": lowest}
    if highest is not None:
        schema["maximum"] = highest

    def read(value: object) -> int:
        number = value
        if isinstance(value, Substituted) and _DIGITS.fullmatch(value.strip()):
            number = int(value)
        in_range = isinstance(number, int) and lowest <= number <= (math.inf if highest is None else highest)
        if isinstance(number, bool) or not isinstance(number, int) or not in_range:
            hint = "remove the quotes" if _is_quoted(value, _DIGITS) else None
            raise rejected(f"expected a whole number {bounds}, got {shown(value)}", hint)
        return number

    return Scalar(read, schema, nullable=nullable)


def number(lowest: float, highest: float, *, above: bool = False) -> Scalar:
    """A number within bounds; with `above` the lower bound itself is out."""
    bounds = f"above {lowest:g} and up to {highest:g}" if above else f"from {lowest:g} to {highest:g}"
    schema = {"type": "number", "exclusiveMinimum" if above else "minimum": lowest, "maximum": highest}

    def read(value: object) -> float:
        found = value
        if isinstance(value, Substituted) and _DECIMAL.fullmatch(value.strip()):
            found = float(value)
        if isinstance(found, bool) or not isinstance(found, int | float):
            hint = "remove the quotes" if _is_quoted(value, _DECIMAL) else None
            raise rejected(f"expected a number {bounds}, got {shown(value)}", hint)
        if not lowest <= found <= highest or (above and found == lowest):
            raise rejected(f"expected a number {bounds}, got {shown(value)}")
        return float(found)

    return Scalar(read, schema)


def _is_quoted(value: object, pattern: re.Pattern[str]) -> bool:
    literal = isinstance(value, str) and not isinstance(value, Substituted | NumberLike)
    return literal and bool(pattern.fullmatch(str(value)))


def read_boolean(value: object) -> bool:
    """Read true or false; in any case if it was substituted."""
    words = {"true": True, "false": False}
    if isinstance(value, Substituted) and value.strip().lower() in words:
        return words[value.strip().lower()]
    if not isinstance(value, bool):
        raise rejected(f"expected true or false, got {shown(value)}")
    return value


def read_duration(value: object, lowest_s: float = 0.001) -> float:
    """Seconds from `5s`; between `lowest_s` and a year."""
    expected = "expected a duration such as 500ms, 5s or 1m30s"
    if not isinstance(value, str):
        hint = f"write {value}s" if isinstance(value, int) and not isinstance(value, bool) else None
        raise rejected(f"{expected}, got {shown(value)}", hint)
    try:
        seconds = parse_duration(value.strip() if isinstance(value, Substituted) else value)
    except ValueError:
        raise rejected(f"{expected}, got {shown(value)}") from None
    if not lowest_s <= seconds <= LONGEST_DURATION_S:
        span = f"from {format_duration(lowest_s)} to {format_duration(LONGEST_DURATION_S)}"
        raise rejected(f"expected a duration {span}, got {shown(value)}")
    return seconds


def size(lowest_bytes: int = 1) -> Scalar:
    """Bytes from `64KiB`."""
    expected = "expected a size such as 512B, 64KiB or 10MiB"

    def read(value: object) -> int:
        if not isinstance(value, str):
            hint = f"write {value}B" if isinstance(value, int) and not isinstance(value, bool) else None
            raise rejected(f"{expected}, got {shown(value)}", hint)
        try:
            found = parse_size(value.strip() if isinstance(value, Substituted) else value)
        except ValueError:
            raise rejected(f"{expected}, got {shown(value)}") from None
        if not lowest_bytes <= found <= 1 << 50:
            raise rejected(f"expected a size from {format_size(lowest_bytes)} to 1PiB, got {shown(value)}")
        return found

    return Scalar(read, {"type": "string", "pattern": SIZE_PATTERN}, format_size)


def choice(*words: str) -> Scalar:
    """One of a few words."""
    expected = f"expected {' or '.join([', '.join(words[:-1]), words[-1]] if words[1:] else words)}"

    def read(value: object) -> str:
        if not isinstance(value, str) or str(value) not in words:
            meant = nearest(value, words) if isinstance(value, str) else None
            hint = f'did you mean "{meant}"?' if meant and not isinstance(value, Substituted) else None
            raise rejected(f"{expected}, got {shown(value)}", hint)
        return str(value)

    return Scalar(read, {"type": "string", "enum": list(words)})


def read_text(value: object) -> str:
    """Text that can be encoded; a bare number is refused, because YAML would have changed it."""
    if isinstance(value, NumberLike) or (isinstance(value, int | float) and not isinstance(value, bool)):
        raise rejected(f"expected text, got the number {value}", _QUOTE_IT)
    if not isinstance(value, str):
        raise rejected(f"expected text, got {shown(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise rejected("holds half a Unicode character, which cannot be sent")
    return str(value)


def read_secret(value: object) -> Secret:
    """Text that is never shown, not even by the errors about it."""
    if isinstance(value, NumberLike) or not isinstance(value, str):
        raise rejected(f"expected text, got {kind_of(value)}", "put it in quotes")
    if not value.strip():
        raise rejected("must not be empty", "leave the key out, or write null")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise rejected("must be visible ASCII characters without spaces")
    return Secret(value)


def parsed(
    parse: Callable[[str], Value],
    schema: Mapping[str, object],
    *,
    nullable: bool = False,
    private: bool = False,
) -> Scalar:
    """Text that `parse` turns into a value; its ValueError is the message, and must not repeat the text.

    With `private` the message does not show the text either (a URL may hold a password).
    """

    def read(value: object) -> Value:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        text = str(value) if is_number else read_text(value)
        try:
            found = parse(text)
        except ValueError as fault:
            got = kind_of(value) if private else shown(value)
            raise rejected(str(fault) if got == "text" else f"{fault}, got {got}") from None
        read_text(value)  # what parses but is a bare number has to be quoted all the same
        return found

    return Scalar(read, schema, str, nullable=nullable)


_DURATION_SCHEMA: Final = {"type": "string", "pattern": DURATION_PATTERN}

Flag = Annotated[bool, Scalar(read_boolean, {"type": "boolean"})]
Text = Annotated[str, Scalar(read_text, {"type": "string"})]
Duration = Annotated[float, Scalar(read_duration, _DURATION_SCHEMA, format_duration)]
DurationOrZero = Annotated[float, Scalar(lambda value: read_duration(value, 0.0), _DURATION_SCHEMA, format_duration)]
OptionalDuration = Annotated[float | None, Scalar(read_duration, _DURATION_SCHEMA, format_duration, nullable=True)]
OptionalSecret = Annotated[Secret | None, Scalar(read_secret, {"type": "string"}, nullable=True)]
Percentage = Annotated[int, whole_number(0, 100)]
OptionalPercentage = Annotated[int | None, whole_number(0, 100, nullable=True)]
Count = Annotated[int, whole_number(1)]
CountOrZero = Annotated[int, whole_number(0)]
Size = Annotated[int, size()]
SizeOrZero = Annotated[int, size(0)]
