"""The circuit breaker on the target: when users are sent to legacy at once, and when they come back.

A state table over time that is given in; it knows no requests. Neighbours: `net.handler` asks `admits` before an
attempt and reports outcomes; `net.probe` sends the copies that `wants_probe` asks for.

| state | users | leaves when |
| --- | --- | --- |
| ADMITTING | go to the target | failures in a row reach `consecutive`, or the ratio in the window is reached |
| REJECTING | go to legacy | `open_for_s` has passed |
| PROBING | go to legacy, copies of their reads go to the target | `probes` succeeded in a row, or one failed |

After M. Nygard, Release It!, "Circuit Breaker"; the difference is that no user pays for a probe.
"""

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from proxy.core.model import FailureKind

_SLOTS: Final = 10  # parts of the window; its edge is as coarse as one of them

_FAILURES: Final = frozenset(
    {
        FailureKind.CONNECT_ERROR,
        FailureKind.TLS_ERROR,
        FailureKind.TIMEOUT,
        FailureKind.RESET,
        FailureKind.INVALID_RESPONSE,
    }
)


class BreakerState(IntEnum):
    """As `cutover_breaker_state` shows it."""

    ADMITTING = 0
    PROBING = 1
    REJECTING = 2


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Contract section 2, `target.circuit_breaker`; times in seconds."""

    enabled: bool = True
    window_s: float = 10.0
    min_requests: int = 20
    failure_ratio: float = 0.5
    consecutive: int = 5
    open_for_s: float = 5.0
    probes: int = 3


def counts_as_failure(kind: FailureKind | None, status: int | None) -> bool | None:
    """Whether an attempt's end speaks against the target; None when it says nothing (no place in the pool)."""
    if kind is not None:
        return True if kind in _FAILURES else None
    return status is not None and (status >= 500 or status == 429)


class Breaker:
    """One breaker. All times are seconds on one monotonic clock."""

    __slots__ = ("_changed_at", "_in_a_row", "_policy", "_probes_out", "_probes_passed", "_round", "_slots", "_state")

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._state = BreakerState.ADMITTING
        self._changed_at = 0.0
        self._in_a_row = 0
        self._slots: deque[list[int]] = deque()  # [slot number, successes, failures], oldest first
        self._probes_out = 0
        self._probes_passed = 0
        self._round = 0

    def __repr__(self) -> str:
        return f"<Breaker {self._state.name} in_a_row={self._in_a_row} probes={self._probes_passed}>"

    def state(self, now: float) -> BreakerState:
        """The state, the end of REJECTING counted in."""
        if self._state is BreakerState.REJECTING and now - self._changed_at >= self._policy.open_for_s:
            self._enter(BreakerState.PROBING, now)
        return self._state

    def admits(self, now: float) -> bool:
        """Whether a user may be sent to the target."""
        return self._state is BreakerState.ADMITTING or not self._policy.enabled or self._admits_again(now)

    def _admits_again(self, now: float) -> bool:
        return self.state(now) is BreakerState.ADMITTING

    def wants_probe(self, now: float) -> int:
        """A round's number if a copy of a read should go to the target now, which counts as sent; else 0."""
        if self.state(now) is not BreakerState.PROBING:
            return 0
        if self._probes_out + self._probes_passed >= self._policy.probes:
            return 0
        self._probes_out += 1
        return self._round

    def on_attempt(self, now: float, *, failed: bool) -> None:
        """Count a user's attempt on the target. Those that end after the breaker has opened change nothing."""
        if not self._policy.enabled or self._state is not BreakerState.ADMITTING:
            return
        self._in_a_row = self._in_a_row + 1 if failed else 0
        self._count(now, failed=failed)
        if failed and (self._in_a_row >= self._policy.consecutive or self._ratio_reached()):
            self._enter(BreakerState.REJECTING, now)

    def on_probe(self, probe_round: int, now: float, *, failed: bool | None) -> None:
        """Count the end of a probe of that round; None when it said nothing, so that another is sent instead."""
        if self._state is not BreakerState.PROBING or probe_round != self._round:
            return
        self._probes_out -= 1
        if failed is None:
            return
        if failed:
            self._enter(BreakerState.REJECTING, now)
            return
        self._probes_passed += 1
        if self._probes_passed >= self._policy.probes:
            self._enter(BreakerState.ADMITTING, now)

    def _enter(self, state: BreakerState, now: float) -> None:
        self._state = state
        self._changed_at = now
        self._round += 1
        self._in_a_row = 0
        self._probes_out = self._probes_passed = 0
        self._slots.clear()

    def _count(self, now: float, *, failed: bool) -> None:
        width = self._policy.window_s / _SLOTS
        number = int(now / width)
        slots = self._slots
        while slots and slots[0][0] <= number - _SLOTS:
            slots.popleft()
        if not slots or slots[-1][0] != number:
            slots.append([number, 0, 0])
        slots[-1][2 if failed else 1] += 1

    def _ratio_reached(self) -> bool:
        failures = sum(slot[2] for slot in self._slots)
        requests = failures + sum(slot[1] for slot in self._slots)
        return requests >= self._policy.min_requests and failures >= self._policy.failure_ratio * requests
