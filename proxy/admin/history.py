"""The last 15 minutes for the live page's charts: one point every 5 seconds, made from bodies of `/status`. Pure.

Every figure is the one `/status` shows for the last minute, so a chart's right end equals the page's table. An
operation that was not asked for is left out of its point. Bounded: `POINTS` points of at most `MAX_PAIRS` pairs of
source and operation. Neighbours: `observer` adds points, `stream` sends them.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

EVERY_S: Final = 5.0
SPAN_S: Final = 15 * 60.0
POINTS: Final = int(SPAN_S / EVERY_S) + 1
MAX_PAIRS: Final = 64
WINDOW: Final = "1m"
_FIGURES: Final = ("rate", "error_ratio", "p95_ms")

Point = dict[str, object]


class History:
    """A ring of points. `serial` counts all that were ever added, so a reader can tell which are new to it."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=POINTS)
        self.serial = 0

    def __repr__(self) -> str:
        return f"<History {len(self._points)} points, serial={self.serial}>"

    def add(self, status: Mapping[str, Any], at: float) -> None:
        """Add the point of a status that was taken `at`, in seconds since the epoch."""
        self._points.append(point_of(status, at))
        self.serial += 1

    def since(self, serial: int) -> list[Point]:
        """The points added after `serial`, as far as they are still here; all of them since 0."""
        new = min(max(self.serial - serial, 0), len(self._points))
        return list(self._points)[len(self._points) - new :]


def point_of(status: Mapping[str, Any], at: float) -> Point:
    """`{"at", "share", "sources": {source: {operation: [rate, error_ratio, p95_ms]}}}`, all of the last minute.

    `share` is the percentage that really counts: 0 while not enabled or while the kill switch is on.
    """
    sources: dict[str, dict[str, list[float | None]]] = {}
    for source, operation, figures in list(_busy(status.get("sources")))[:MAX_PAIRS]:
        sources.setdefault(source, {})[operation] = [_number(figures.get(name)) for name in _FIGURES]
    return {"at": round(at, 1), "share": share_in_force(status), "sources": sources}


def share_in_force(status: Mapping[str, Any]) -> int:
    """The percentage of users that the target answers, whatever is written where."""
    percentage = status.get("percentage")
    counts = bool(status.get("enabled")) and not status.get("kill_switch")
    return percentage if counts and isinstance(percentage, int) else 0


def _busy(sources: object) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for source, operations in _mapping(sources).items():
        for operation, windows in _mapping(operations).items():
            figures = _mapping(_mapping(windows).get(WINDOW))
            if figures.get("requests"):
                yield source, operation, figures


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
