"""What has been counted, as plain addable data: picklable, mergeable, without a name or a format.

`Metrics` writes one of these; `exposition` and `window` read it. With several processes each has its own, and
`merge` makes their sum. Must not know metric names (`exposition` does) nor the event loop.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from proxy.telemetry.histogram import Cell, Traces, latest

Labels = tuple[str, ...]
Counter = dict[Labels, int]
K = TypeVar("K")


@dataclass(slots=True, repr=False)
class MetricsState:
    """Counters and gauges of one process, or the sum of several.

    `requests` and `attempts` hold one histogram cell for each full label set: a counter is the cell's count,
    and a family's histogram is folded from cells when it is read, so that counting costs one lookup.
    """

    requests: dict[tuple[str, str, int], Cell] = field(default_factory=dict)  # source, operation, code
    attempts: dict[tuple[str, str, str], Cell] = field(default_factory=dict)  # source, operation, outcome
    # The last request in each bucket of those cells in which there were any: never added up, and not kept.
    request_traces: dict[tuple[str, str, int], Traces] = field(default_factory=dict)
    attempt_traces: dict[tuple[str, str, str], Traces] = field(default_factory=dict)

    decisions: Counter = field(default_factory=dict)  # source, operation, reason
    fallbacks: Counter = field(default_factory=dict)  # operation, reason, result
    hedges: Counter = field(default_factory=dict)  # operation, winner
    truncated: Counter = field(default_factory=dict)  # source, operation
    cache: Counter = field(default_factory=dict)  # source, operation, result
    client_errors: Counter = field(default_factory=dict)  # kind
    reloads: Counter = field(default_factory=dict)  # result
    log_lines_dropped: int = 0

    inflight: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # source
    downstream_connections: int = 0
    upstream_connections: dict[tuple[str, str], int] = field(default_factory=dict)  # source, state
    breakers: dict[str, int] = field(default_factory=dict)  # source

    percentage: int = 0
    enabled: bool = False
    last_reload_successful: bool = True
    last_reload_at: float = 0.0  # seconds since the epoch
    revisions: tuple[str, ...] = ()  # in force: one a process, one in all unless a reload is under way
    roles: dict[str, str] = field(default_factory=dict)  # source name -> role

    def counters(self) -> Iterator[Counter]:
        """Iterate over the plain counters, always in the same order."""
        yield from (self.decisions, self.fallbacks, self.hedges, self.truncated)
        yield from (self.cache, self.client_errors, self.reloads)

    def merge(self, other: "MetricsState") -> None:
        """Add another process's figures: sums, but the maximum of percentage, enabled and breaker.

        The last reload is successful when it was so in every process. `other` is left as it is.
        """
        self.merge_counters(other)
        _keep_latest(self.request_traces, other.request_traces)
        _keep_latest(self.attempt_traces, other.attempt_traces)
        self.downstream_connections += other.downstream_connections
        _add(self.inflight, other.inflight)
        _add(self.upstream_connections, other.upstream_connections)
        for source, breaker in other.breakers.items():
            self.breakers[source] = max(breaker, self.breakers.get(source, 0))
        self.percentage = max(self.percentage, other.percentage)
        self.enabled = self.enabled or other.enabled
        self.last_reload_successful = self.last_reload_successful and other.last_reload_successful
        self.last_reload_at = max(self.last_reload_at, other.last_reload_at)
        self.revisions = tuple(dict.fromkeys(self.revisions + other.revisions))
        self.roles.update(other.roles)

    def merge_counters(self, other: "MetricsState") -> None:
        """Add only what never goes back: all that is to be kept of a process that has ended."""
        _add_cells(self.requests, other.requests)
        _add_cells(self.attempts, other.attempts)
        for mine, theirs in zip(self.counters(), other.counters(), strict=True):
            _add(mine, theirs)
        self.log_lines_dropped += other.log_lines_dropped

    def copy(self) -> "MetricsState":
        """Make an independent copy, as of now."""
        duplicate = MetricsState(last_reload_successful=self.last_reload_successful)
        duplicate.merge(self)
        return duplicate

    def __repr__(self) -> str:
        return (
            f"<MetricsState requests={len(self.requests)} attempts={len(self.attempts)}"
            f" decisions={len(self.decisions)} revisions={','.join(self.revisions) or None}>"
        )


def _add(mine: dict[K, int], theirs: dict[K, int]) -> None:
    for key, value in theirs.items():
        mine[key] = mine.get(key, 0) + value


def _add_cells(mine: dict[K, Cell], theirs: dict[K, Cell]) -> None:
    for key, cell in theirs.items():
        present = mine.get(key)
        mine[key] = list(cell) if present is None else [a + b for a, b in zip(present, cell, strict=True)]


def _keep_latest(mine: dict[K, Traces], theirs: dict[K, Traces]) -> None:
    for key, traces in theirs.items():
        present = mine.get(key)
        mine[key] = list(traces) if present is None else latest(present, traces)
