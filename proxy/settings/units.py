"""Durations and sizes as people write them, and back.

Pure. Reading and showing are inverse: `parse_duration(format_duration(x)) == x`. Used by the field types of
the configuration and by rollout plans.
"""

import re
from decimal import Decimal
from typing import Final

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
DURATION_PATTERN: Final = rf"^(?=[0-9])(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?$"
"""A regular expression (ECMA and Python) for a duration, for the JSON Schema."""

SIZE_PATTERN: Final = r"^(?:0|[1-9][0-9]*)(?:B|KiB|MiB|GiB)$"
"""A regular expression (ECMA and Python) for a size."""

_DURATION: Final = re.compile(rf"(?=[0-9])(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER})s)?(?:({_NUMBER})ms)?")
_DURATION_UNITS_S: Final = (Decimal(3600), Decimal(60), Decimal(1), Decimal("0.001"))

_SIZE: Final = re.compile(r"(0|[1-9][0-9]*)(B|KiB|MiB|GiB)")
_SIZE_UNITS: Final = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}

_LONGEST: Final = 40  # characters; more is no number a person wrote


def parse_duration(text: str) -> float:
    """Seconds in `500ms`, `5s`, `1m30s`, `4h`; decimals are allowed in each part. Raises ValueError."""
    found = _DURATION.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise ValueError("not a duration")
    parts = zip(found.groups(), _DURATION_UNITS_S, strict=True)
    return float(sum((Decimal(number) * unit for number, unit in parts if number), start=Decimal(0)))


def format_duration(seconds: float) -> str:
    """The shortest usual form of a finite, non-negative number of seconds: `0s`, `250ms`, `1.5s`, `1h30m`."""
    exact = Decimal(repr(float(seconds)))
    if 0 < exact < 1:
        return f"{_plain(exact * 1000)}ms"
    hours, rest = divmod(exact, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "m"), (rest, "s")]
    return "".join(f"{_plain(number)}{unit}" for number, unit in parts if number) or "0s"


def parse_size(text: str) -> int:
    """Bytes in `512B`, `64KiB`, `10MiB`, `1GiB`. Raises ValueError."""
    found = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise ValueError("not a size")
    return int(found[1]) * _SIZE_UNITS[found[2]]


def format_size(size_bytes: int) -> str:
    """A non-negative number of bytes in the largest unit that holds it exactly: `64KiB`, `1000B`."""
    for unit, factor in _SIZE_UNITS.items():
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return "0B"


def _plain(number: Decimal) -> str:
    """Digits without an exponent and without trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
