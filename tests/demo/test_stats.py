import random

import pytest

from proxy.demo.latency import DEFAULT_FACTOR, EPIC_BEFORE_P95_MS, draw_latency_s
from proxy.demo.stats import (
    Record,
    cache_hit_ratio,
    cover_reasons,
    covered_by_legacy,
    percentile,
    quantiles,
    ratio,
)


def record(**facts):
    return Record(**{"user": "user-1", "operation": "get", "started_s": 0.0, "ended_s": 0.01, "status": 200} | facts)


@pytest.mark.parametrize(
    ("values", "quantile", "expected"),
    [
        ([], 0.95, None),
        ([7], 0.5, 7),
        ([7], 0.99, 7),
        ([1, 2], 0.5, 1),
        (list(range(1, 101)), 0.95, 95),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 102)), 0.95, 96),
        (list(range(1, 21)), 0.95, 19),
        ([1, 2, 3], 0.0, 1),
        ([1, 2, 3], 1.0, 3),
    ],
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values, quantile, expected):
    assert percentile(values, quantile) == expected


def test_requests_without_an_answer_have_no_latency():
    answered = [record(ended_s=n / 1000) for n in range(1, 101)]
    figures = quantiles([*answered, record(status=None, ended_s=10.0)])
    assert (figures.p50_s, figures.p95_s, figures.p99_s) == (0.05, 0.095, 0.099)


def test_legacy_covers_for_the_target_after_a_fallback_or_while_the_breaker_is_open():
    assert covered_by_legacy(record(source="postgresql", fallback="timeout"))
    assert covered_by_legacy(record(source="postgresql", reason="breaker_open"))
    assert not covered_by_legacy(record(source="postgresql", reason="bucket"))
    assert not covered_by_legacy(record(operation="upload", source="postgresql", reason="operation"))


def test_reasons_are_counted_most_frequent_first():
    records = [record(reason="breaker_open")] + [record(fallback="timeout")] * 2 + [record()]
    assert list(cover_reasons(records).items()) == [("timeout", 2), ("breaker_open", 1)]


def test_ratios_of_nothing_are_no_figures():
    assert ratio(0, 0) is None
    assert cache_hit_ratio([record()]) is None
    assert cache_hit_ratio([record(cache_hit=True), record(cache_hit=False), record()]) == 0.5


@pytest.mark.parametrize("operation", EPIC_BEFORE_P95_MS)
def test_the_added_latency_has_the_epics_p95_times_the_factor(operation):
    rng = random.Random(1)
    drawn = sorted(draw_latency_s(operation, DEFAULT_FACTOR, rng) for _ in range(20_000))
    p95_s = percentile(drawn, 0.95)
    assert p95_s == pytest.approx(EPIC_BEFORE_P95_MS[operation] * DEFAULT_FACTOR / 1000, rel=0.04)
