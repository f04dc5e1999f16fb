"""Rolling figures of the last minute and the last five, for `/status`.

Copies of the counters are kept in a ring; a figure is the difference between now and the copy a window ago.
Pure: time is given in. Neighbours: `metrics` counts, `admin` shows.

Definitions, for one source and operation:

- `requests`: attempts that ended, but the cancelled. A request asks a source at most once, so this is how
  many requests the source was asked. `answered` is how many requests were answered by it.
- `error_ratio`: attempts that failed (any outcome but `ok` and `cancelled`) over `requests`. A 4xx that
  legacy confirmed is no failure: there was nothing to find. None without requests.
- `p50_ms`, `p95_ms`, `p99_ms`: of the attempts' durations. None without requests.
- `fallbacks`: by reason, under the source that failed (the target); suppressed ones did not take place.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.core.model import OUTCOME_CANCELLED, OUTCOME_OK, FallbackResult, Role
from proxy.telemetry.histogram import Cell, count_of, difference, fold, quantile_s
from proxy.telemetry.state import MetricsState

INTERVAL_S: Final = 5.0
WINDOWS_S: Final[Mapping[str, float]] = {"1m": 60.0, "5m": 300.0}
_QUANTILES: Final = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
_CONFIRMED_4XX: Final = "status_4"

Figures = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Copy:
    """Counters at one moment; cells and counts that are 0 are left out."""

    at: float
    attempts: dict[tuple[str, str, str], tuple[float, ...]]
    answered: Counter[tuple[str, str]]
    fallbacks: dict[tuple[str, ...], int]


class RollingWindow:
    """Keeps copies of what `read` gives (a live state, or the sum of several) and computes from them."""

    __slots__ = ("_copies", "_read")

    def __init__(self, read: Callable[[], MetricsState]) -> None:
        self._read = read
        self._copies: deque[_Copy] = deque()

    def tick(self, now: float) -> None:
        """Take a copy when one is due; `now` is monotonic, in seconds. May be called more often."""
        copies = self._copies
        if copies and now - copies[-1].at < INTERVAL_S:
            return
        copies.append(_copy(self._read(), now, copies[-1] if copies else None))
        # The oldest one kept is the newest that is old enough for the longest window.
        oldest_needed = now - max(WINDOWS_S.values())
        while len(copies) > 1 and copies[1].at <= oldest_needed:
            copies.popleft()

    def figures(self, now: float) -> dict[str, dict[str, dict[str, Figures]]]:
        """Compute source -> operation -> `1m` or `5m` -> figures, for all pairs that could occur.

        Before a window is full its figures cover the time since the first tick; the rate is over that time.
        """
        state = self._read()
        current = _copy(state, now, None)
        pairs = dict.fromkeys((source, operation) for source, operation, _ in state.attempts)
        result: dict[str, dict[str, dict[str, Figures]]] = {}
        for name, window_s in WINDOWS_S.items():
            baseline = self._baseline(now - window_s, now)
            for source, operation in pairs:
                figures = _figures(current, baseline, source, operation, state.roles.get(source))
                result.setdefault(source, {}).setdefault(operation, {})[name] = figures
        return result

    def _baseline(self, at: float, now: float) -> _Copy:
        best: _Copy | None = None
        for copy in self._copies:
            if best is None or copy.at <= at:
                best = copy
        return best if best is not None else _Copy(now, {}, Counter(), {})

    def __repr__(self) -> str:
        covered = self._copies[-1].at - self._copies[0].at if self._copies else 0.0
        return f"<RollingWindow copies={len(self._copies)} covered_s={covered:g}>"


def _copy(state: MetricsState, at: float, previous: _Copy | None) -> _Copy:
    attempts = {}
    for labels, cell in state.attempts.items():
        frozen = tuple(cell)
        if any(frozen):
            # Most label sets rest between two copies: share what did not change.
            earlier = previous.attempts.get(labels) if previous is not None else None
            attempts[labels] = earlier if earlier == frozen else frozen
    answered: Counter[tuple[str, str]] = Counter()
    for (source, operation, _), cell in state.requests.items():
        answered[source, operation] += count_of(cell)
    fallbacks = {labels: count for labels, count in state.fallbacks.items() if count}
    return _Copy(at, attempts, answered, fallbacks)


def _figures(current: _Copy, baseline: _Copy, source: str, operation: str, role: str | None) -> Figures:
    cells: dict[str, Cell] = {
        outcome: difference(cell, baseline.attempts.get((owner, named, outcome)))
        for (owner, named, outcome), cell in current.attempts.items()
        if owner == source and named == operation and outcome != OUTCOME_CANCELLED
    }
    durations = fold(cells.values())
    requests = count_of(durations)
    failed = sum(count_of(cell) for outcome, cell in cells.items() if outcome != OUTCOME_OK)
    fallbacks: Counter[str] = Counter()
    confirmed = 0
    for labels, total in current.fallbacks.items() if role == Role.TARGET else ():
        named, reason, result = labels
        count = total - baseline.fallbacks.get(labels, 0)
        if named != operation or not count or result == FallbackResult.SUPPRESSED:
            continue
        fallbacks[reason] += count
        if result == FallbackResult.CONFIRMED and reason.startswith(_CONFIRMED_4XX):
            confirmed += count
    elapsed_s = current.at - baseline.at
    figures: Figures = {
        "requests": requests,
        "answered": current.answered[source, operation] - baseline.answered[source, operation],
        "rate": round(requests / elapsed_s, 3) if elapsed_s > 0 else 0.0,
        # An attempt may have ended before the window in which legacy confirmed it.
        "error_ratio": round(max(failed - confirmed, 0) / requests, 6) if requests else None,
    }
    for name, quantile in _QUANTILES.items():
        seconds = quantile_s(durations, quantile)
        figures[name] = None if seconds is None else round(seconds * 1000, 3)
    figures["fallbacks"] = dict(fallbacks)
    return figures
