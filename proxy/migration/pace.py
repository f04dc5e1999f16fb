"""How fast to write: a token bucket that a limit or the table's throttling fills, and how long to wait after a failure.

Pure but for the clock and the randomness that it is given.
"""

from collections.abc import Callable
from typing import Final

_BURST_S: Final = 0.25
_CUT: Final = 0.7
_GROWTH_PER_S: Final = 1.1
_CUT_APART_S: Final = 1.0
_SLOWEST_UNITS_S: Final = 5.0
_MEASURED_OVER_S: Final = 2.0

_FIRST_BACKOFF_S: Final = 0.05
_LONGEST_BACKOFF_S: Final = 10.0


class Pace:
    """Write units a second. With `limit` never more; without one as many as the table takes.

    After a throttle the rate falls to seven tenths of what was being written, at most once a second, and grows by a
    tenth each second without one: it settles a little below what the table allows, and follows when that changes.
    """

    def __init__(self, limit: float | None, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._rate: float | None = limit
        self._tokens = (limit or 0.0) * _BURST_S
        self._filled_s = clock()
        self._cut_s = float("-inf")
        self._window_s = self._filled_s
        self._window_units = 0.0
        self._measured = 0.0

    def __repr__(self) -> str:
        rate = "as fast as it goes" if self._rate is None else f"{self._rate:.0f} units/s"
        return f"<Pace {rate}, limit {self._limit}>"

    @property
    def rate(self) -> float | None:
        """Units a second at the moment; None: not limited."""
        return self._rate

    @property
    def burst_units(self) -> float:
        """How many units may come at one moment."""
        return float("inf") if self._rate is None else self._rate * _BURST_S

    def delay_s(self, units: float) -> float:
        """Take so many units, and return how long to wait before they are used. A large item goes into debt."""
        now_s = self._clock()
        self._measure(now_s, units)
        if self._rate is None:
            return 0.0
        self._fill(now_s)
        self._tokens -= units
        return max(0.0, -self._tokens / self._rate)

    def throttled(self) -> None:
        """The table said that it was too much."""
        now_s = self._clock()
        if now_s - self._cut_s < _CUT_APART_S:
            return
        self._fill(now_s)
        self._cut_s = now_s
        current = self._measured or self._window_units / max(now_s - self._window_s, 0.1)
        before = min(self._rate, current or self._rate) if self._rate is not None else current
        self._rate = max(_SLOWEST_UNITS_S, before * _CUT)
        self._tokens = min(self._tokens, 0.0)

    def _fill(self, now_s: float) -> None:
        elapsed_s = max(0.0, now_s - self._filled_s)
        self._filled_s = now_s
        if self._rate is None:
            return
        if self._cut_s != float("-inf") and now_s - self._cut_s >= _CUT_APART_S:
            self._rate *= _GROWTH_PER_S ** min(elapsed_s, now_s - self._cut_s)
            if self._limit is not None:
                self._rate = min(self._rate, self._limit)
        self._tokens = min(self._tokens + elapsed_s * self._rate, self._rate * _BURST_S)

    def _measure(self, now_s: float, units: float) -> None:
        if now_s - self._window_s >= _MEASURED_OVER_S:
            self._measured = self._window_units / (now_s - self._window_s)
            self._window_s, self._window_units = now_s, 0.0
        self._window_units += units


def backoff_s(attempt: int, draw: float) -> float:
    """How long to wait after the failure of attempt 0, 1, …: exponential, with full jitter (`draw` from 0 to 1).

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return draw * min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(attempt, 30))
