"""Counting: one verb for each thing that happens to a request, cheap enough for every request.

The data plane calls the verbs and knows no metric name; `exposition` reads the state at a scrape. The verbs
take source *names*, not roles, and never a path, a user or a header's value. Not thread-safe: one event loop
counts.
"""

import platform
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from proxy import __version__
from proxy.telemetry import labels
from proxy.telemetry.histogram import BOUNDS, SUM, Cell, Traces, new_cell, new_traces
from proxy.telemetry.labels import ClientErrorKind, ConnectionState, LabelSpace, ReloadResult
from proxy.telemetry.state import Counter, Labels, MetricsState

if TYPE_CHECKING:
    from proxy.telemetry.exposition import Exposition

_FIRST_BOUND: Final = BOUNDS[0]

__all__ = ["ClientErrorKind", "LabelSpace", "LiveGauges", "Metrics"]


class LiveGauges(Protocol):
    """What is asked for at a scrape instead of being kept up to date."""

    def downstream_connections(self) -> int:
        """Open client connections."""

    def upstream_connections(self) -> Mapping[tuple[str, str], int]:
        """Open connections by (source name, `idle` or `busy`)."""

    def breaker_states(self) -> Mapping[str, int]:
        """By source name: 0 admitting, 1 probing, 2 rejecting."""


class Metrics:
    """All figures of one process.

    `inflight` (source name -> requests in flight) is changed by its users in place. `state` holds everything;
    whoever sums several processes reads `snapshot()`.
    """

    __slots__ = ("_attempts", "_build", "_decisions", "_exposition", "_live", "_requests", "inflight", "state")

    def __init__(self, version: str = __version__, python: str = platform.python_version()) -> None:
        self.state = MetricsState()
        self.inflight: dict[str, int] = self.state.inflight
        # The three counted for every request: one attribute less on the way there, and one lookup for a cell and
        # its traces.
        self._requests: dict[tuple[str, str, int], tuple[Cell, Traces]] = {}
        self._attempts: dict[tuple[str, str, str], tuple[Cell, Traces]] = {}
        self._decisions = self.state.decisions
        self._live: LiveGauges | None = None
        self._build = (version, python)
        self._exposition: Exposition | None = None
        _create(self.state.client_errors, ((str(kind),) for kind in ClientErrorKind))
        _create(self.state.reloads, ((str(result),) for result in ReloadResult))

    # The next three run for every request: dict and list primitives only, no call but bisect (a label set's first
    # observation finds or makes its cell). `histogram` says what was measured.

    def decided(self, source: str, operation: str, reason: str) -> None:
        """Count a decision."""
        key = (source, operation, reason)
        try:
            self._decisions[key] += 1
        except KeyError:
            self._decisions[key] = 1

    def attempted(
        self, source: str, operation: str, outcome: str, seconds: float, traceparent: bytes = b"", at: float = 0.0
    ) -> None:
        """Count an attempt that has ended, and the time to its last byte or its failure.

        Every outcome's time is kept; all but `cancelled` are in the histogram (`exposition.observed`). With a
        `traceparent` the request is its bucket's example, seen at `at` (monotonic), until the next one.
        """
        key = (source, operation, outcome)
        try:
            cell, traces = self._attempts[key]
        except KeyError:
            cell, traces = self._first_attempt(key)
        index = 0 if seconds <= _FIRST_BOUND else bisect_left(BOUNDS, seconds)
        cell[index] += 1
        cell[SUM] += seconds
        if traceparent:
            traces[index] = (traceparent, seconds, at)

    def answered(
        self, source: str, operation: str, code: int, seconds: float, traceparent: bytes = b"", at: float = 0.0
    ) -> None:
        """Count a request that has ended; the source is `proxy` when the answer was made here. See `attempted`."""
        key = (source, operation, code)
        try:
            cell, traces = self._requests[key]
        except KeyError:
            cell, traces = self._first_request(key)
        index = 0 if seconds <= _FIRST_BOUND else bisect_left(BOUNDS, seconds)
        cell[index] += 1
        cell[SUM] += seconds
        if traceparent:
            traces[index] = (traceparent, seconds, at)

    def _first_attempt(self, key: tuple[str, str, str]) -> tuple[Cell, Traces]:
        state = self.state
        found = state.attempts.setdefault(key, new_cell()), state.attempt_traces.setdefault(key, new_traces())
        self._attempts[key] = found
        return found

    def _first_request(self, key: tuple[str, str, int]) -> tuple[Cell, Traces]:
        state = self.state
        found = state.requests.setdefault(key, new_cell()), state.request_traces.setdefault(key, new_traces())
        self._requests[key] = found
        return found

    def fell_back(self, operation: str, reason: str, result: str) -> None:
        """Count a fallback, by what failed and what became of it (`FallbackResult`)."""
        _count(self.state.fallbacks, (operation, reason, result))

    def hedged(self, operation: str, winner: str) -> None:
        """Count a hedge, by the name of the source that answered first."""
        _count(self.state.hedges, (operation, winner))

    def truncated(self, source: str, operation: str) -> None:
        """Count a response that failed after commit."""
        _count(self.state.truncated, (source, operation))

    def cache_looked_up(self, source: str, operation: str, result: str) -> None:
        """Count what a cache in front of the source said: `hit` or `miss`."""
        _count(self.state.cache, (source, operation, result))

    def client_erred(self, kind: str) -> None:
        """Count a client's error (`ClientErrorKind`)."""
        _count(self.state.client_errors, (kind,))

    def log_lines_dropped(self, count: int) -> None:
        """Count log lines that were not written."""
        self.state.log_lines_dropped += count

    def config_reloaded(self, result: str, at: float) -> None:
        """Count a configuration that was read (`ReloadResult`), `at` seconds since the epoch.

        The configuration read at start counts too, as `applied`.
        """
        _count(self.state.reloads, (result,))
        self.state.last_reload_successful = result != ReloadResult.REJECTED
        self.state.last_reload_at = at

    def apply(self, space: LabelSpace) -> None:
        """Take over a snapshot: its gauges, and at 0 every label set that can occur under it.

        What has been counted stays, under the labels it was counted with, whatever the new snapshot says.
        """
        state = self.state
        for request in labels.request_labels(space):
            state.requests.setdefault(request, new_cell())
        for attempt in labels.attempt_labels(space):
            state.attempts.setdefault(attempt, new_cell())
        _create(state.decisions, labels.decision_labels(space))
        _create(state.fallbacks, labels.fallback_labels(space))
        _create(state.hedges, labels.hedge_labels(space))
        _create(state.truncated, space.pairs())
        _create(state.cache, labels.cache_labels(space))
        state.roles = space.roles()
        for source in state.roles:
            self.inflight.setdefault(source, 0)
        state.percentage = space.percentage
        state.enabled = space.enabled
        state.revisions = (space.revision,)

    def attach(self, live: LiveGauges) -> None:
        """Ask `live` for the gauges of connections and breakers from now on; until then they are 0."""
        self._live = live

    def snapshot(self) -> MetricsState:
        """Copy everything as of now, live gauges included: picklable, and addable with `merge`."""
        self._pull()
        return self.state.copy()

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """Render a scrape: body and content type, in the format that the `Accept` value asks for."""
        if self._exposition is None:
            # Workers never come here: 12 MiB that each of them saves.
            from proxy.telemetry.exposition import Exposition  # noqa: PLC0415 - see the line above

            self._exposition = Exposition(self.snapshot, *self._build)
        return self._exposition.render(accept)

    def _pull(self) -> None:
        state = self.state
        sources = tuple(state.roles)
        state.upstream_connections = {(source, str(kind)): 0 for source in sources for kind in ConnectionState}
        state.breakers = dict.fromkeys(sources, 0)
        if self._live is not None:
            state.downstream_connections = self._live.downstream_connections()
            state.upstream_connections.update(self._live.upstream_connections())
            state.breakers.update(self._live.breaker_states())

    def __repr__(self) -> str:
        live = "attached" if self._live is not None else "none"
        return f"<Metrics revision={','.join(self.state.revisions) or None} live={live} {self.state!r}>"


def _count(counter: Counter, key: Labels) -> None:
    try:
        counter[key] += 1
    except KeyError:
        counter[key] = 1


def _create(counter: Counter, label_sets: Iterable[Labels]) -> None:
    for key in label_sets:
        counter.setdefault(key, 0)
