"""The binomial bounds, against published values and against sums of exact fractions."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rollout.statistics import (
    at_least,
    at_most,
    lower_bound,
    samples_needed,
    surely_above,
    surely_below,
    upper_bound,
)


def exactly_at_most(failures: int, total: int, ratio: Fraction) -> float:
    return float(sum(comb(total, k) * ratio**k * (1 - ratio) ** (total - k) for k in range(failures + 1)))


@pytest.mark.parametrize(
    ("bound", "confidence", "needed"),
    # The success-run sample sizes ln(1 - confidence) / ln(1 - bound), rounded up.
    [(0.001, 0.95, 2995), (0.05, 0.95, 59), (0.01, 0.95, 299), (0.05, 0.99, 90), (0.1, 0.90, 22), (0.15, 0.95, 19)],
)
def test_without_failures_the_published_sample_sizes_are_needed(bound: float, confidence: float, needed: int) -> None:
    assert samples_needed(0, bound, confidence) == needed
    assert surely_below(0, needed, bound, confidence)
    assert not surely_below(0, needed - 1, bound, confidence)


@pytest.mark.parametrize(
    ("failures", "needed"),
    # MIL-STD and Wilks tables: samples for p95 at 95 % with 0, 1, 2, 3, 4 beyond it.
    [(0, 59), (1, 93), (2, 124), (3, 153), (4, 181)],
)
def test_the_table_of_wilks_for_a_95_percentile(failures: int, needed: int) -> None:
    assert samples_needed(failures, 0.05, 0.95) == needed


@pytest.mark.parametrize(
    ("failures", "total", "lower", "upper"),
    # One-sided 95 % limits are the two-sided 90 % ones, as tabulated for Clopper-Pearson.
    [(0, 10, 0.0, 0.258866), (1, 10, 0.005116, 0.394163), (5, 10, 0.222441, 0.777559), (2, 200, 0.001779, 0.031143)],
)
def test_the_bounds_are_those_of_clopper_and_pearson(failures: int, total: int, lower: float, upper: float) -> None:
    assert lower_bound(failures, total, 0.95) == pytest.approx(lower, abs=2e-6)
    assert upper_bound(failures, total, 0.95) == pytest.approx(upper, abs=2e-6)


@given(
    total=st.integers(1, 120),
    share=st.floats(0, 1),
    percent=st.integers(1, 999),
)
def test_the_distribution_is_the_sum_of_its_terms(total: int, share: float, percent: int) -> None:
    failures, ratio = round(share * total), Fraction(percent, 1000)
    exact = exactly_at_most(failures, total, ratio)
    assert at_most(failures, total, float(ratio)) == pytest.approx(exact, abs=1e-10)
    above = 1.0 if failures == 0 else 1 - exactly_at_most(failures - 1, total, ratio)
    assert at_least(failures, total, float(ratio)) == pytest.approx(above, abs=1e-10)


@given(failures=st.integers(0, 50), more=st.integers(1, 10_000), bound=st.floats(0.0005, 0.5))
def test_nothing_is_surely_below_and_surely_above(failures: int, more: int, bound: float) -> None:
    total = failures + more
    assert not (surely_below(failures, total, bound, 0.95) and surely_above(failures, total, bound, 0.95))
    assert lower_bound(failures, total, 0.95) <= failures / total <= upper_bound(failures, total, 0.95)


def test_the_edges() -> None:
    assert at_most(-1, 5, 0.5) == 0.0
    assert at_least(6, 5, 0.5) == 0.0
    assert at_most(2, 5, 0.0) == 1.0
    assert at_most(2, 5, 1.0) == 0.0
    assert upper_bound(0, 0, 0.95) == 1.0
    assert upper_bound(7, 7, 0.95) == 1.0
    assert not surely_below(0, 0, 0.5, 0.95)
    assert not surely_above(0, 0, 0.5, 0.95)


def test_a_hundred_million_requests_are_no_trouble() -> None:
    assert surely_below(99_000, 100_000_000, 0.001, 0.95)
    assert surely_above(101_000, 100_000_000, 0.001, 0.95)
    assert samples_needed(0, 1e-9, 0.95) == pytest.approx(2.9957e9, rel=1e-3)
