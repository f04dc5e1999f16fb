"""How times, spans, shares and counts are written in the report. Pure; every time is UTC.

Neighbours: `sections` and `plots` write with it.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from proxy.report.findings import CheckUnit

NOT_MEASURED: Final = "not measured"
NOT_SUPPLIED: Final = "not supplied"
LONGEST_REASON: Final = 240  # characters, where a reason is one of several things said
NOTHING: Final = "—"
LATEST_S: Final = 253402300799.0  # the end of year 9999


def moment(at: float) -> str:
    """A time to the second, as in `2026-11-27 10:00:04`."""
    return _utc(at).strftime("%Y-%m-%d %H:%M:%S")


def minute(at: float) -> str:
    """A time to the minute, as in `2026-11-27 10:00`."""
    return _utc(at).strftime("%Y-%m-%d %H:%M")


def period(began: float, ended: float) -> tuple[str, str]:
    """Two times, to the minute, or to the second when they are close."""
    write = moment if ended - began < 600 else minute
    return write(began), write(ended)


def span(seconds: float) -> str:
    """How long, in the two largest units: `4 h 2 min`, `35 s`, `0.4 s`."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds else "0 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < 2 * 86400:
        return _two(whole, 3600, "h", 60, "min")
    return _two(whole, 86400, "d", 3600, "h")


def duration(seconds: float | None) -> str:
    """A latency with three digits: `43 ms`, `1.25 s`."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_MEASURED
    if seconds < 1:
        return f"{_three(seconds * 1000)} ms"
    return f"{_three(seconds)} s"


def share(ratio: float | None) -> str:
    """A ratio in per cent; never rounded to 0 or to 100 when it is not."""
    if ratio is None or not math.isfinite(ratio):
        return NOT_MEASURED
    percent = ratio * 100
    text = f"{percent:.3g}"
    if ratio and abs(percent) < 0.001:
        return "< 0.001 %"
    if ratio < 1 and float(text) >= 100:
        return "> 99.9 %"
    return f"{float(text):g} %"


def count(number: int | None) -> str:
    """A whole number."""
    return NOT_MEASURED if number is None else f"{number:,}"


def things(number: int, one: str, many: str | None = None) -> str:
    """So many of something: `1 request`, `2 requests`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def shortened(text: str, most: int = 28) -> str:
    """A name for where there is little room."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    every = list(words)
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}" if every else ""


def checked(value: float | None, unit: CheckUnit) -> str:
    """A check's value in its own unit."""
    if value is None or not math.isfinite(value):
        return "no data"
    if unit is CheckUnit.SECONDS:
        return duration(value)
    return share(value) if unit is CheckUnit.RATIO else f"{value:g}"


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(min(max(at, 0.0), LATEST_S), UTC)


def _two(whole: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = whole % large // small
    return f"{whole // large} {large_name}" + (f" {rest} {small_name}" if rest else "")


def _three(number: float) -> str:
    return f"{float(f'{number:.3g}'):g}"
