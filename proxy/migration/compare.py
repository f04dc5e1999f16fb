"""Whether an item is what its row says, attribute by attribute, by type and not by spelling. Pure.

Numbers by their value, sets without order, timestamps by their instant, whatever zone they are written in. Text is
compared code point by code point: no Unicode normalisation, because a client would see the difference.
"""

import base64
import unicodedata
from collections.abc import Mapping as Mappings
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from proxy.migration.mapping import Kind, Mapping
from proxy.migration.sizes import Item

_SHOWN: Final = 120
_BEFORE: Final = 30
_SETS: Final = ("SS", "NS", "BS")
_NULL: Final = {"NULL": True}


@dataclass(frozen=True, slots=True)
class Difference:
    """One attribute that differs (`field` None: the item as a whole). A value None stands for an absent one.

    Values are fit for JSON, long ones cut.
    """

    field: str | None
    legacy: Any
    target: Any


class Comparer:
    """Compares items as one mapping says."""

    def __init__(self, mapping: Mapping) -> None:
        self._steps: dict[str, str] = {
            name: each.precision
            for name, each in mapping.attributes.items()
            if each.type == Kind.TIMESTAMP and each.format == "iso"
        }
        self._ignored = frozenset(mapping.ignore)
        self._absent_is_null = mapping.absent_is_null

    def __repr__(self) -> str:
        return f"<Comparer, {len(self._ignored)} ignored>"

    def differences(self, legacy: Item, target: Item) -> list[Difference]:
        """Every attribute that is not the same in both."""
        if legacy == target:
            return []
        return [
            _difference(name, legacy.get(name), target.get(name))
            for name in dict.fromkeys((*legacy, *target))
            if name not in self._ignored and not self._same(name, legacy.get(name), target.get(name))
        ]

    def _same(self, name: str, legacy: Any, target: Any) -> bool:  # noqa: ANN401 - attribute values
        if legacy == target:
            return True
        if legacy is None or target is None:
            return self._absent_is_null and (legacy or _NULL) == (target or _NULL)
        if name in self._steps and "S" in legacy and "S" in target:
            return _same_instant(legacy["S"], target["S"], self._steps[name])
        return canonical(legacy) == canonical(target)


def canonical(value: Mappings[str, Any]) -> tuple[str, Any]:
    """An attribute value so that what means the same is equal."""
    ((kind, held),) = value.items()
    if kind == "N":
        return kind, _decimal(held)
    if kind == "NS":
        return kind, frozenset(map(_decimal, held))
    if kind in _SETS:
        return kind, frozenset(held)
    if kind == "L":
        return kind, tuple(map(canonical, held))
    if kind == "M":
        return kind, frozenset((name, canonical(each)) for name, each in held.items())
    return kind, held


def _decimal(text: str) -> Any:  # noqa: ANN401 - Decimal, or the text itself
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _same_instant(first: str, second: str, precision: str) -> bool:
    instants = []
    for text in (first, second):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return False
        if moment.tzinfo is None:
            return False  # without a zone it is no instant
        cut = {"s": moment.microsecond, "ms": moment.microsecond % 1000, "us": 0}[precision]
        instants.append(moment.astimezone(UTC).replace(microsecond=moment.microsecond - cut))
    return instants[0] == instants[1]


def _difference(name: str, legacy: Any, target: Any) -> Difference:  # noqa: ANN401 - attribute values
    if legacy is not None and target is not None and set(legacy) != set(target):
        return Difference(name, _cut(_jsonable(legacy)), _cut(_jsonable(target)))  # the types themselves
    return Difference(name, *show_both(_plain(legacy), _plain(target)))


def show_both(legacy: Any, target: Any) -> tuple[Any, Any]:  # noqa: ANN401 - JSON values
    """Two values so that a person sees where they differ: long text is cut around the place, look-alikes escaped."""
    if isinstance(legacy, str) and isinstance(target, str):
        if unicodedata.normalize("NFC", legacy) == unicodedata.normalize("NFC", target) and legacy != target:
            legacy, target = ascii(legacy)[1:-1], ascii(target)[1:-1]
        if max(len(legacy), len(target)) > _SHOWN:
            pairs = enumerate(zip(legacy, target, strict=False))
            at = next((at for at, (one, other) in pairs if one != other), min(len(legacy), len(target)))
            return _around(legacy, at), _around(target, at)
    return _cut(legacy), _cut(target)


def _around(text: str, at: int) -> str:
    start = max(0, at - _BEFORE)
    part = text[start : start + _SHOWN]
    return f"{'…' if start else ''}{part}{'…' if start + _SHOWN < len(text) else ''}"


def _cut(value: Any) -> Any:  # noqa: ANN401 - JSON values
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    if isinstance(value, list):
        return [_cut(each) for each in value[:20]] + (["…"] if len(value) > 20 else [])
    if isinstance(value, dict):
        shown = {name: _cut(each) for name, each in list(value.items())[:20]}
        return {**shown, "…": "…"} if len(value) > 20 else shown
    return value


def _plain(value: Any) -> Any:  # noqa: ANN401 - an attribute value as a JSON value
    if value is None:
        return None
    ((kind, held),) = value.items()
    if kind in ("S", "BOOL"):
        return held
    if kind == "N":
        return int(held) if held.lstrip("-").isdigit() and len(held) <= 15 else held
    if kind == "SS":
        return sorted(held)
    if kind == "L":
        return [_plain(each) for each in held]
    if kind == "M":
        return {name: _plain(each) for name, each in held.items()}
    return _jsonable(value)


def _jsonable(value: Any) -> Any:  # noqa: ANN401 - as above, types kept
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _jsonable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_jsonable(each) for each in value]
    return value
