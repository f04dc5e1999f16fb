"""Adds up what sidecars count until it is taken, so that a journal can tell it without asking anybody again. Pure.

`history` remembers windows for verdicts and forgets them; this forgets nothing and gives each request away once.
Neighbours: `measuring` asks it, `measured` puts what was taken into words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.rollout.history import Increase, increases
from proxy.rollout.place import Observation
from proxy.rollout.reading import Key

_ADMITTING: Final = 0


@dataclass(frozen=True, slots=True)
class Breaker:
    """What ticks saw of a source's circuit breaker: its worst state, and how often it was seen to open."""

    worst: int = 0
    opened: int = 0


@dataclass(frozen=True, slots=True)
class Metered:
    """What was counted between two moments, seconds since the epoch; `gaps` are sidecars that could not be read in it.

    `began` and `seconds` are None for what sidecars had counted before anybody looked.
    """

    increase: Increase
    ended: float
    began: float | None = None
    seconds: float | None = None
    gaps: Mapping[str, str] = field(default_factory=dict)
    breakers: Mapping[str, Breaker] = field(default_factory=dict)


class Meter:
    """Counts on and on. A sidecar that is new is a baseline, one that restarted counts from nothing."""

    def __init__(self) -> None:
        self._last: dict[str, Mapping[Key, float]] = {}
        self._states: dict[tuple[str, str], int] = {}
        self._now = self._wall = 0.0
        self._since: tuple[float, float] | None = None
        self._begin()

    def __repr__(self) -> str:
        return f"<Meter of {len(self._last)} sidecars>"

    def _begin(self) -> None:
        self._totals: dict[Key, float] = {}
        self._gaps: dict[str, str] = {}
        self._breakers: dict[str, Breaker] = {}

    @property
    def seconds(self) -> float:
        """How much time is in it."""
        return 0.0 if self._since is None else self._now - self._since[0]

    def add(self, now: float, wall: float, seen: Observation) -> None:
        """Take what was seen at a tick; `now` is monotonic, `wall` since the epoch, in seconds."""
        self._now, self._wall = now, wall
        if self._since is None:
            self._since = (now, wall)
        self._gaps.update(seen.gaps)
        for instance, reading in seen.readings.items():
            for key, increase in increases(self._last.get(instance), reading.counters):
                self._totals[key] = self._totals.get(key, 0.0) + increase
            self._last[instance] = reading.counters
            for source, state in reading.breakers.items():
                self._see_breaker(instance, source, state)

    def found(self) -> Metered:
        """What the sidecars have counted in their lives, as of what was seen last."""
        whole: dict[Key, float] = {}
        for counters in self._last.values():
            for key, count in counters.items():
                whole[key] = whole.get(key, 0.0) + count
        return Metered(whole, self._wall, gaps=dict(self._gaps))

    def take(self) -> Metered:
        """What was counted since it was taken last, and begin anew."""
        began = self._wall if self._since is None else self._since[1]
        taken = Metered(self._totals, self._wall, began, self.seconds, self._gaps, self._breakers)
        self._since = (self._now, self._wall)
        self._begin()
        return taken

    def _see_breaker(self, instance: str, source: str, state: int) -> None:
        before = self._states.get((instance, source), _ADMITTING)
        self._states[instance, source] = state
        seen = self._breakers.get(source, Breaker())
        opened = seen.opened + (state != _ADMITTING and before == _ADMITTING)
        self._breakers[source] = Breaker(max(seen.worst, state), opened)
