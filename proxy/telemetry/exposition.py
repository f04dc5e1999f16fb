"""The metric families: every name, type, label name and help text, and how a state becomes samples.

With `metrics` (which counts) and `labels` (which values can occur) this is the only place that knows how
figures are called. Names are part of the contract (section 7). Neighbour: `metrics.Metrics` owns one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from proxy.core.model import OUTCOME_CANCELLED
from proxy.telemetry.histogram import BOUNDS, BUCKETS, SUM, Cell, Trace, Traces, count_of, fold, latest, new_traces
from proxy.telemetry.processes import ProcessTree
from proxy.telemetry.state import MetricsState
from proxy.telemetry.tracing import trace_id_of

Last = TypeVar("Last")
LabelSet = TypeVar("LabelSet", bound=tuple[str, ...])


class Family(NamedTuple):
    """How one metric is called, explained and labelled."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


REQUESTS: Final = Family(
    "cutover_requests_total",
    "Requests by who answered (proxy: an error made here) and the status sent; 499: the client left.",
    ("source", "operation", "code"),
)
REQUEST_DURATION: Final = Family(
    "cutover_request_duration_seconds",
    "Request head received to last response byte written.",
    ("source", "operation"),
)
ATTEMPTS: Final = Family(
    "cutover_attempts_total",
    "Exchanges with a source, by how they ended.",
    ("source", "operation", "outcome"),
)
ATTEMPT_DURATION: Final = Family(
    "cutover_attempt_duration_seconds",
    "Attempt started to its last byte received or its failure; cancelled attempts are not observed.",
    ("source", "operation"),
)
DECISIONS: Final = Family(
    "cutover_decisions_total", "Which source was chosen first, and why.", ("source", "operation", "reason")
)
FALLBACKS: Final = Family(
    "cutover_fallbacks_total",
    "Failed target attempts that could be or were answered by legacy, and what became of it.",
    ("operation", "reason", "result"),
)
HEDGES: Final = Family(
    "cutover_hedges_total", "Requests sent to legacy too while the target was slow.", ("operation", "winner")
)
TRUNCATED: Final = Family(
    "cutover_truncated_responses_total",
    "Responses that failed after commit; the client got no valid end of message.",
    ("source", "operation"),
)
CACHE: Final = Family(
    "cutover_upstream_cache_total",
    "Cache results as told by X-Cache, CF-Cache-Status or Age.",
    ("source", "operation", "result"),
)
CLIENT_ERRORS: Final = Family(
    "cutover_client_errors_total", "Requests or connections that were refused or broken off.", ("kind",)
)
RELOADS: Final = Family("cutover_config_reloads_total", "Configurations read, by what became of them.", ("result",))
LOG_LINES_DROPPED: Final = Family(
    "cutover_log_lines_dropped_total", "Log lines dropped because their reader was slow or gone."
)

INFLIGHT: Final = Family("cutover_inflight_requests", "Requests a source is answering at this moment.", ("source",))
DOWNSTREAM_CONNECTIONS: Final = Family("cutover_downstream_connections", "Open client connections.")
UPSTREAM_CONNECTIONS: Final = Family(
    "cutover_upstream_connections", "Open connections to a source.", ("source", "state")
)
BREAKER_STATE: Final = Family(
    "cutover_breaker_state", "Circuit breaker: 0 admitting, 1 probing, 2 rejecting.", ("source",)
)
PERCENTAGE: Final = Family("cutover_rollout_percentage", "Percentage of users routed to the target.")
ENABLED: Final = Family("cutover_rollout_enabled", "1 while the rollout is enabled.")
RELOAD_SUCCESSFUL: Final = Family(
    "cutover_config_last_reload_successful", "1 unless the configuration last read was rejected."
)
RELOAD_TIMESTAMP: Final = Family(
    "cutover_config_last_reload_timestamp_seconds", "When the configuration was last read."
)
CONFIG_INFO: Final = Family("cutover_config_info", "The configuration in force.", ("revision",))
SOURCE_INFO: Final = Family("cutover_source_info", "The configured sources.", ("source", "role"))
BUILD_INFO: Final = Family("cutover_build_info", "What runs here.", ("version", "python"))

_COUNTERS: Final = (DECISIONS, FALLBACKS, HEDGES, TRUNCATED, CACHE, CLIENT_ERRORS, RELOADS)
_LE: Final = (*map(floatToGoString, BOUNDS), "+Inf")


class StateCollector(Collector):
    """Turns the state it is given at each scrape into metric families."""

    def __init__(self, read: Callable[[], MetricsState], version: str, python: str) -> None:
        self._read = read
        self._build = (version, python)
        # Once: the same observation must not seem to be another one at the next scrape.
        self._epoch = time.time() - time.perf_counter()  # noqa: TID251 - to say when, not to measure

    def collect(self) -> Iterable[Metric]:
        """All families, those without a sample too."""
        state = self._read()
        yield from _cell_families(state, self._epoch)
        for family, counts in zip(_COUNTERS, state.counters(), strict=True):
            yield _counter(family, counts)
        yield _counter(LOG_LINES_DROPPED, {(): state.log_lines_dropped})
        yield from _gauge_families(state)
        yield _gauge(BUILD_INFO, {self._build: 1})

    def describe(self) -> Iterable[Metric]:
        """Nothing: spares a collection at registration."""
        return ()

    def __repr__(self) -> str:
        return f"<StateCollector version={self._build[0]}>"


class Exposition:
    """Our families and the processes' own (CPU, memory, descriptors), encoded as a scraper asks."""

    def __init__(
        self,
        read: Callable[[], MetricsState],
        version: str,
        python: str,
        children: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        """`children` are the process ids that count beside this one."""
        self._registry = CollectorRegistry()
        self._collector = StateCollector(read, version, python)
        self._registry.register(self._collector)
        self._registry.register(ProcessTree(children))

    def render(self, accept: str) -> tuple[bytes, str]:
        """Body and content type: OpenMetrics when `accept` asks for it, else the Prometheus text format."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def __repr__(self) -> str:
        return f"<Exposition {self._collector!r}>"


def observed(outcome: str) -> bool:
    """Whether an attempt with this outcome is in the duration histogram: all are, but the cancelled.

    A cancelled attempt's time is its client's or its rival's doing. Failures are in: leaving out timeouts
    would make a source look the faster the more often it hangs.
    """
    return outcome != OUTCOME_CANCELLED


def _cell_families(state: MetricsState, epoch: float) -> Iterator[Metric]:
    """`epoch` is when the monotonic clock was 0."""
    yield _counter(REQUESTS, {(s, o, str(code)): count_of(c) for (s, o, code), c in state.requests.items()})
    traces = _latest_by_pair(state.request_traces, lambda _code: True)
    yield _histogram(REQUEST_DURATION, _by_pair(state.requests, lambda _code: True), traces, epoch)
    yield _counter(ATTEMPTS, {labels: count_of(cell) for labels, cell in state.attempts.items()})
    traces = _latest_by_pair(state.attempt_traces, observed)
    yield _histogram(ATTEMPT_DURATION, _by_pair(state.attempts, observed), traces, epoch)


def _gauge_families(state: MetricsState) -> Iterator[Metric]:
    yield _gauge(INFLIGHT, {(source,): count for source, count in state.inflight.items()})
    yield _gauge(DOWNSTREAM_CONNECTIONS, {(): state.downstream_connections})
    yield _gauge(UPSTREAM_CONNECTIONS, state.upstream_connections)
    yield _gauge(BREAKER_STATE, {(source,): value for source, value in state.breakers.items()})
    yield _gauge(PERCENTAGE, {(): state.percentage})
    yield _gauge(ENABLED, {(): int(state.enabled)})
    yield _gauge(RELOAD_SUCCESSFUL, {(): int(state.last_reload_successful)})
    yield _gauge(RELOAD_TIMESTAMP, {(): state.last_reload_at})
    yield _gauge(CONFIG_INFO, {(revision,): 1 for revision in state.revisions})
    yield _gauge(SOURCE_INFO, dict.fromkeys(state.roles.items(), 1))


def _by_pair(cells: Mapping[tuple[str, str, Last], Cell], keep: Callable[[Last], bool]) -> dict[tuple[str, str], Cell]:
    pairs: dict[tuple[str, str], list[Cell]] = {}
    for (source, operation, last), cell in cells.items():
        if keep(last):
            pairs.setdefault((source, operation), []).append(cell)
    return {pair: fold(members) for pair, members in pairs.items()}


def _latest_by_pair(
    traces: Mapping[tuple[str, str, Last], Traces], keep: Callable[[Last], bool]
) -> dict[tuple[str, str], Traces]:
    pairs: dict[tuple[str, str], Traces] = {}
    for (source, operation, last), one in traces.items():
        if keep(last):
            pair = (source, operation)
            pairs[pair] = latest(pairs[pair], one) if pair in pairs else one
    return pairs


def _counter(family: Family, counts: Mapping[LabelSet, int]) -> Metric:
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for labels, count in counts.items():
        metric.add_metric(labels, count)
    return metric


def _gauge(family: Family, values: Mapping[LabelSet, int] | Mapping[LabelSet, float]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def _histogram(
    family: Family, cells: Mapping[tuple[str, str], Cell], traces: Mapping[tuple[str, str], Traces], epoch: float
) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, cell in cells.items():
        cumulative = 0.0
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for bound, count, trace in zip(_LE, cell[:BUCKETS], traces.get(labels) or new_traces(), strict=True):
            cumulative += count
            buckets.append((bound, cumulative) if trace is None else (bound, cumulative, _exemplar(trace, epoch)))
        metric.add_metric(labels, buckets, cell[SUM])
    return metric


def _exemplar(trace: Trace, epoch: float) -> Exemplar:
    """What OpenMetrics shows beside a bucket; the other format has no place for it."""
    traceparent, seconds, at = trace
    return Exemplar({"trace_id": trace_id_of(traceparent).decode("ascii")}, seconds, round(epoch + at, 3))
