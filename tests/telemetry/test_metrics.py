"""Counting, and what a scrape shows of it."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.core.model import FailureKind, FallbackResult
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.histogram import BOUNDS, count_of, difference, fold, new_cell, quantile_s
from proxy.telemetry.labels import (
    ClientErrorKind,
    LabelSpace,
    attempt_labels,
    decision_labels,
    fallback_labels,
    listed_codes,
    request_labels,
)
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.state import MetricsState

SPACE = LabelSpace(
    legacy="postgresql",
    target="image_service",
    operations=("get", "upload", "search", "other"),
    statuses=(404, 429, *range(500, 600)),
    revision="0123456789ab",
    percentage=10,
    enabled=True,
    routes={"get": "split", "upload": "legacy", "search": "target"},
)

# Contract section 7: name -> type, labels.
FAMILIES = {
    "cutover_requests": ("counter", {"source", "operation", "code"}),
    "cutover_request_duration_seconds": ("histogram", {"source", "operation", "le"}),
    "cutover_decisions": ("counter", {"source", "operation", "reason"}),
    "cutover_attempts": ("counter", {"source", "operation", "outcome"}),
    "cutover_attempt_duration_seconds": ("histogram", {"source", "operation", "le"}),
    "cutover_fallbacks": ("counter", {"operation", "reason", "result"}),
    "cutover_hedges": ("counter", {"operation", "winner"}),
    "cutover_truncated_responses": ("counter", {"source", "operation"}),
    "cutover_inflight_requests": ("gauge", {"source"}),
    "cutover_downstream_connections": ("gauge", set()),
    "cutover_upstream_connections": ("gauge", {"source", "state"}),
    "cutover_upstream_cache": ("counter", {"source", "operation", "result"}),
    "cutover_breaker_state": ("gauge", {"source"}),
    "cutover_rollout_percentage": ("gauge", set()),
    "cutover_rollout_enabled": ("gauge", set()),
    "cutover_config_reloads": ("counter", {"result"}),
    "cutover_config_last_reload_successful": ("gauge", set()),
    "cutover_config_last_reload_timestamp_seconds": ("gauge", set()),
    "cutover_config_info": ("gauge", {"revision"}),
    "cutover_source_info": ("gauge", {"source", "role"}),
    "cutover_client_errors": ("counter", {"kind"}),
    "cutover_log_lines_dropped": ("counter", set()),
    "cutover_build_info": ("gauge", {"version", "python"}),
}


class Live:
    def downstream_connections(self):
        return 7

    def upstream_connections(self):
        return {("postgresql", "idle"): 2, ("image_service", "busy"): 3}

    def breaker_states(self):
        return {"image_service": 2}


@pytest.fixture
def metrics():
    made = Metrics(version="1.2.3", python="3.11.7")
    made.apply(SPACE)
    return made


def samples(metrics):
    """Scrape: {(sample name, (label, value)...): value}."""
    body, _ = metrics.expose("")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def value(metrics, name, **labels):
    return samples(metrics)[name, *sorted(labels.items())]


def test_every_family_of_the_contract_is_exposed_with_its_type_and_labels(metrics):
    body, content_type = metrics.expose("")
    found = {family.name: family for family in parse_text(body.decode())}
    assert content_type.startswith("text/plain")
    assert {name for name in found if name.startswith("cutover_")} == set(FAMILIES)
    for name, (kind, labels) in FAMILIES.items():
        assert found[name].type == kind, name
        assert found[name].documentation, name
        seen = set().union(*(sample.labels for sample in found[name].samples))
        assert seen == labels, name


def test_counters_end_in_total_exactly_once(metrics):
    names = {name for name, *_ in samples(metrics)}
    for name, (kind, _) in FAMILIES.items():
        if kind == "counter":
            assert f"{name}_total" in names
    assert not any("_total_total" in name for name in names)


def test_openmetrics_is_given_on_request_and_parses(metrics):
    metrics.answered("postgresql", "get", 200, 0.01)
    body, content_type = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    found = {family.name: family.type for family in parse_openmetrics(body.decode())}
    for name, (kind, _) in FAMILIES.items():
        assert found[name] == kind


def test_the_process_is_described_too(metrics):
    names = {name for name, *_ in samples(metrics)}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names


def test_each_verb_counts_in_its_family(metrics):
    metrics.decided("image_service", "get", "bucket")
    metrics.attempted("image_service", "get", "timeout", 5.2)
    metrics.attempted("postgresql", "get", "ok", 0.05)
    metrics.answered("postgresql", "get", 200, 5.3)
    metrics.answered("proxy", "other", 400, 0.0)
    metrics.fell_back("get", "timeout", "served")
    metrics.hedged("get", "postgresql")
    metrics.truncated("postgresql", "get")
    metrics.cache_looked_up("image_service", "get", "hit")
    metrics.client_erred(ClientErrorKind.MALFORMED)
    metrics.log_lines_dropped(3)
    metrics.config_reloaded("rejected", 1_700_000_000.5)
    metrics.inflight["postgresql"] += 2
    get = {"operation": "get"}
    assert value(metrics, "cutover_decisions_total", source="image_service", reason="bucket", **get) == 1
    assert value(metrics, "cutover_attempts_total", source="image_service", outcome="timeout", **get) == 1
    assert value(metrics, "cutover_attempts_total", source="postgresql", outcome="ok", **get) == 1
    assert value(metrics, "cutover_requests_total", source="postgresql", code="200", **get) == 1
    assert value(metrics, "cutover_requests_total", source="proxy", code="400", operation="other") == 1
    assert value(metrics, "cutover_fallbacks_total", reason="timeout", result="served", **get) == 1
    assert value(metrics, "cutover_hedges_total", winner="postgresql", **get) == 1
    assert value(metrics, "cutover_truncated_responses_total", source="postgresql", **get) == 1
    assert value(metrics, "cutover_upstream_cache_total", source="image_service", result="hit", **get) == 1
    assert value(metrics, "cutover_client_errors_total", kind="malformed") == 1
    assert value(metrics, "cutover_log_lines_dropped_total") == 3
    assert value(metrics, "cutover_config_reloads_total", result="rejected") == 1
    assert value(metrics, "cutover_config_last_reload_successful") == 0
    assert value(metrics, "cutover_config_last_reload_timestamp_seconds") == 1_700_000_000.5
    assert value(metrics, "cutover_inflight_requests", source="postgresql") == 2
    duration = {"source": "postgresql", "operation": "get"}
    name = "cutover_attempt_duration_seconds"
    assert value(metrics, f"{name}_bucket", le="0.05", **duration) == 1
    assert value(metrics, f"{name}_bucket", le="0.03", **duration) == 0
    assert value(metrics, f"{name}_sum", **duration) == 0.05
    assert value(metrics, "cutover_request_duration_seconds_count", **duration) == 1


def test_label_sets_nobody_foresaw_are_counted_all_the_same(metrics):
    metrics.answered("postgresql", "get", 302, 0.01)
    metrics.attempted("postgresql", "get", "status_418", 0.01)
    metrics.decided("postgresql", "get", "a_new_reason")
    metrics.client_erred("a_new_kind")
    assert value(metrics, "cutover_requests_total", source="postgresql", operation="get", code="302") == 1
    assert value(metrics, "cutover_client_errors_total", kind="a_new_kind") == 1


def test_cancelled_attempts_are_counted_but_not_timed(metrics):
    metrics.attempted("image_service", "get", "cancelled", 3.0)
    metrics.attempted("image_service", "get", "timeout", 5.0)
    pair = {"source": "image_service", "operation": "get"}
    assert value(metrics, "cutover_attempts_total", outcome="cancelled", **pair) == 1
    assert value(metrics, "cutover_attempt_duration_seconds_count", **pair) == 1
    assert value(metrics, "cutover_attempt_duration_seconds_sum", **pair) == 5.0


def test_targets_of_the_rollout_are_bounds():
    assert {0.05, 0.08, 0.1, 0.3, 1, 5} <= set(BOUNDS)
    assert list(BOUNDS) == sorted(set(BOUNDS))


def test_what_can_occur_exists_at_zero(metrics):
    found = samples(metrics)
    for code in (200, 404, 429, 500, 502, 503, 504):
        labels = (("code", str(code)), ("operation", "get"), ("source", "image_service"))
        assert found["cutover_requests_total", *labels] == 0
    for kind in FailureKind:
        for result in FallbackResult:
            labels = (("operation", "get"), ("reason", str(kind)), ("result", str(result)))
            assert found["cutover_fallbacks_total", *labels] == 0
    assert found["cutover_requests_total", ("code", "502"), ("operation", "get"), ("source", "proxy")] == 0
    for kind in ClientErrorKind:
        assert found["cutover_client_errors_total", ("kind", str(kind))] == 0
    for result in ("applied", "unchanged", "rejected"):
        assert found["cutover_config_reloads_total", ("result", result)] == 0


def test_what_cannot_occur_is_not_created():
    assert ("image_service", "upload", 200) not in set(request_labels(SPACE))
    assert ("image_service", "other", "ok") not in set(attempt_labels(SPACE))
    assert not any(operation in ("upload", "other") for operation, *_ in fallback_labels(SPACE))
    decisions = set(decision_labels(SPACE))
    assert ("image_service", "get", "kill_switch") not in decisions
    assert ("postgresql", "get", "operation") not in decisions
    assert ("postgresql", "get", "breaker_open") in decisions
    assert {reason for source, operation, reason in decisions if operation == "upload"} == {
        "kill_switch",
        "disabled",
        "operation",
    }
    assert {
        reason for source, operation, reason in decisions if (source, operation) == ("image_service", "search")
    } == {"operation"}


def test_an_operation_whose_route_is_not_told_may_do_anything():
    space = LabelSpace("a", "b", ("get",), statuses=(404,))
    assert space.operations == ("get", "other")
    assert {("b", "get", "operation"), ("a", "get", "bucket")} <= set(decision_labels(space))


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((), ()),
        ((503, 404), (404, 503)),
        (tuple(range(500, 600)), (500, 502, 503, 504)),
        ((404, *range(500, 599)), (404, *range(500, 599))),
        (tuple(range(400, 500)), (400, 401, 403, 404, 408, 409, 413, 429)),
    ],
)
def test_a_whole_class_of_statuses_stands_for_those_seen_in_life(statuses, expected):
    assert listed_codes(statuses) == expected


def test_a_new_snapshot_changes_gauges_and_never_takes_a_count_back(metrics):
    metrics.answered("image_service", "get", 200, 0.01)
    metrics.decided("image_service", "get", "bucket")
    metrics.inflight["image_service"] = 1
    before = samples(metrics)
    metrics.apply(LabelSpace("postgresql", "renamed", ("list",), revision="ffffffffffff", percentage=50))
    after = samples(metrics)
    kept = [key for key in before if key[0].endswith(("_total", "_bucket", "_count", "_sum"))]
    kept = [key for key in kept if key[0].startswith("cutover_")]
    assert all(after[key] >= before[key] for key in kept)
    assert after["cutover_config_info", ("revision", "ffffffffffff")] == 1
    assert ("cutover_config_info", ("revision", "0123456789ab")) not in after
    assert ("cutover_source_info", ("role", "target"), ("source", "image_service")) not in after
    assert after["cutover_source_info", ("role", "target"), ("source", "renamed")] == 1
    assert after[("cutover_rollout_percentage",)] == 50
    assert after[("cutover_rollout_enabled",)] == 0
    assert metrics.inflight == {"postgresql": 0, "image_service": 1, "renamed": 0}


def test_applying_the_same_snapshot_again_changes_nothing(metrics):
    metrics.answered("image_service", "get", 200, 0.01)
    before = {key: v for key, v in samples(metrics).items() if not key[0].startswith("process_")}
    metrics.apply(SPACE)
    after = {key: v for key, v in samples(metrics).items() if not key[0].startswith("process_")}
    assert after == before


def test_live_gauges_are_zero_until_attached_and_asked_for_at_each_scrape(metrics):
    idle = {"source": "postgresql", "state": "idle"}
    assert value(metrics, "cutover_upstream_connections", **idle) == 0
    assert value(metrics, "cutover_breaker_state", source="image_service") == 0
    metrics.attach(Live())
    assert value(metrics, "cutover_upstream_connections", **idle) == 2
    assert value(metrics, "cutover_upstream_connections", source="postgresql", state="busy") == 0
    assert value(metrics, "cutover_downstream_connections") == 7
    assert value(metrics, "cutover_breaker_state", source="image_service") == 2


def test_the_states_of_workers_add_up(metrics):
    other = Metrics()
    other.apply(LabelSpace("postgresql", "image_service", ("get",), revision="ffffffffffff", percentage=20))
    other.attach(Live())
    metrics.attach(Live())
    for each in (metrics, other):
        each.answered("postgresql", "get", 200, 0.01)
        each.decided("postgresql", "get", "bucket")
        each.log_lines_dropped(2)
        each.inflight["postgresql"] += 1
    other.config_reloaded("rejected", 5.0)
    total = MetricsState()
    for each in (metrics, other):
        total.merge(pickle.loads(pickle.dumps(each.snapshot())))
    assert count_of(total.requests["postgresql", "get", 200]) == 2
    assert total.decisions["postgresql", "get", "bucket"] == 2
    assert total.log_lines_dropped == 4
    assert total.inflight["postgresql"] == 2
    assert total.downstream_connections == 14
    assert total.upstream_connections["postgresql", "idle"] == 4
    assert total.breakers == {"postgresql": 0, "image_service": 2}
    assert (total.percentage, total.enabled) == (20, True)
    assert (total.last_reload_successful, total.last_reload_at) == (False, 5.0)
    assert total.revisions == ("0123456789ab", "ffffffffffff")


def test_what_is_kept_of_a_dead_worker_is_its_counters():
    dead = Metrics()
    dead.apply(SPACE)
    dead.answered("postgresql", "get", 200, 0.01)
    dead.inflight["postgresql"] += 1
    total = MetricsState()
    total.merge_counters(dead.snapshot())
    assert count_of(total.requests["postgresql", "get", 200]) == 1
    assert (total.inflight, total.percentage, total.revisions) == ({}, 0, ())


def test_a_snapshot_is_independent(metrics):
    copy = metrics.snapshot()
    metrics.answered("postgresql", "get", 200, 0.01)
    assert count_of(copy.requests["postgresql", "get", 200]) == 0


def test_reprs_show_the_state(metrics):
    assert repr(metrics).startswith("<Metrics revision=0123456789ab live=none <MetricsState requests=")
    metrics.attach(Live())
    assert "live=attached" in repr(metrics)
    assert repr(Metrics()).startswith("<Metrics revision=None live=none")
    assert repr(metrics.snapshot()).endswith("revisions=0123456789ab>")
    assert repr(Exposition(metrics.snapshot, "1.2.3", "3.11.7")) == "<Exposition <StateCollector version=1.2.3>>"


seconds = st.floats(min_value=0, max_value=200, allow_nan=False) | st.sampled_from(BOUNDS)


@given(st.lists(seconds))
def test_exposed_buckets_agree_with_a_naive_histogram(observed):
    metrics = Metrics()
    for one in observed:
        metrics.answered("s", "o", 200, one)
    pair = (("operation", "o"), ("source", "s"))
    if not observed:
        return
    found = samples(metrics)
    name = "cutover_request_duration_seconds"
    for bound in BOUNDS:
        expected = sum(one <= bound for one in observed)
        assert found[f"{name}_bucket", *sorted((("le", str(bound)), *pair))] == expected
    assert found[f"{name}_bucket", ("le", "+Inf"), *pair] == len(observed)
    assert found[f"{name}_count", *pair] == len(observed)
    assert found[f"{name}_sum", *pair] == pytest.approx(sum(observed))


def cell_of(observed):
    metrics = Metrics()
    for one in observed:
        metrics.attempted("s", "o", "ok", one)
    return metrics.state.attempts.get(("s", "o", "ok"), new_cell())


@given(st.lists(seconds), st.lists(seconds))
def test_folding_and_taking_apart_are_inverse(first, second):
    both = fold([cell_of(first), cell_of(second)])
    assert count_of(both) == len(first) + len(second)
    assert difference(both, cell_of(first)) == pytest.approx(cell_of(second), abs=1e-6)
    assert difference(both, None) == both


@given(st.lists(seconds, min_size=1), st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(observed, quantile):
    estimate = quantile_s(cell_of(observed), quantile)
    rank = max(1, -(-quantile * len(observed) // 1))
    true = sorted(observed)[int(rank) - 1]
    upper = next((bound for bound in BOUNDS if true <= bound), BOUNDS[-1])
    lower = max((bound for bound in BOUNDS if bound < true), default=0.0)
    assert min(lower, BOUNDS[-1]) <= estimate <= upper + 1e-9


def test_an_empty_cell_has_no_quantile():
    assert quantile_s(new_cell(), 0.5) is None
