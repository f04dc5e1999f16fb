"""What happened within a window, over all sidecars: increases, whatever restarts in between. Pure: time is given in.

A sidecar seen for the first time is a baseline: what it counted before is not ours. One whose counters go back was
restarted: what it counts since is an increase. One that can't be read makes a gap, which no verdict passes; its
increases are added when it is back. Neighbours: `reading` gives the counters, `tally` takes the increases.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.rollout.reading import Key, Reading

_COPIES_A_WINDOW: Final = 240

Increase = Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Span:
    """What was counted between two moments, and how long that was."""

    seconds: float
    increase: Increase


@dataclass(frozen=True, slots=True)
class _Copy:
    at: float
    totals: dict[Key, float]


class History:
    """Adds readings up. `window_s` is the longest span that will be asked for."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._totals: dict[Key, float] = {}
        self._last: dict[str, Mapping[Key, float]] = {}
        self._copies: deque[_Copy] = deque()

    def __repr__(self) -> str:
        return f"<History of {len(self._last)} sidecars, {len(self._copies)} copies>"

    def begin(self) -> None:
        """Forget what was counted up to the last reading: a stage is judged by what happens in it."""
        while len(self._copies) > 1:
            self._copies.popleft()

    def add(self, at: float, readings: Mapping[str, Reading]) -> None:
        """Take the readings of one tick, `at` monotonic seconds."""
        for instance, reading in readings.items():
            for key, increase in increases(self._last.get(instance), reading.counters):
                self._totals[key] = self._totals.get(key, 0.0) + increase
            self._last[instance] = reading.counters
        self._copies.append(_Copy(at, dict(self._totals)))
        self._thin_out(at)

    def span(self, window_s: float) -> Span:
        """What was counted within the last `window_s` seconds, as far as it is known.

        It begins with the last reading before them, for ticks are never exactly on time.
        """
        if not self._copies:
            return Span(0.0, {})
        newest = self._copies[-1]
        before = [copy for copy in self._copies if copy.at <= newest.at - window_s]
        return _between(before[-1] if before else self._copies[0], newest)

    def latest(self) -> Span:
        """What was counted since the tick before."""
        if len(self._copies) < 2:
            return Span(0.0, {})
        return _between(self._copies[-2], self._copies[-1])

    def _thin_out(self, now: float) -> None:
        copies = self._copies
        while len(copies) > 1 and copies[1].at <= now - self._window_s:
            copies.popleft()
        # The last two stay, for `latest`; of older ones, one in so many seconds is enough.
        if len(copies) > 3 and copies[-2].at - copies[-4].at < self._window_s / _COPIES_A_WINDOW:
            del copies[-3]


def _between(start: _Copy, end: _Copy) -> Span:
    increase = {key: total - start.totals.get(key, 0.0) for key, total in end.totals.items()}
    return Span(end.at - start.at, increase)


def increases(before: Mapping[Key, float] | None, now: Mapping[Key, float]) -> list[tuple[Key, float]]:
    """By how much each counter of one sidecar has grown since the reading before, None when this is the first.

    Known keys come with 0, so that what can be counted is known.
    """
    if before is None:
        return [(key, 0.0) for key in now]
    restarted = any(now.get(key, 0.0) < value for key, value in before.items())
    return [(key, value if restarted else value - before.get(key, 0.0)) for key, value in now.items()]
