"""Verdicts of single checks, from figures that are made up."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.model import Role
from proxy.rollout.checks import (
    CheckVerdict,
    Evidence,
    Finding,
    Outcome,
    Verdict,
    conclude,
    judge_requests,
    judge_value,
    overall,
)
from proxy.rollout.decision import State
from proxy.rollout.history import History
from proxy.rollout.judging import Judge, gather_evidence
from proxy.rollout.place import Observation
from proxy.rollout.plan import Check
from proxy.rollout.tally import Tally, tally
from tests.rollout.world import LAYOUT, LEGACY, Sidecar, make_plan


def check(**keys: Any) -> Check:
    return Check.model_validate({"name": "one", **keys})


P95 = check(operation="get", quantile=0.95, below="50ms")
ERRORS = check(error_ratio_below=0.001)


def judged(one: Check, failures: int, total: int, recent: Tally | None = None, **more: Any) -> Outcome:
    evidence = Evidence(Tally(failures, total), recent or Tally(0, 0), span_s=100.0, **more)
    return judge_requests(one, evidence, 0.95, 600.0)


@pytest.mark.parametrize(
    ("one", "failures", "total", "finding"),
    [
        (P95, 0, 58, Finding.UNSURE),
        (P95, 0, 59, Finding.PASSES),
        (P95, 1, 92, Finding.UNSURE),
        (P95, 1, 93, Finding.PASSES),
        (P95, 10, 59, Finding.FAILS),
        (ERRORS, 0, 2994, Finding.UNSURE),
        (ERRORS, 0, 2995, Finding.PASSES),
        (ERRORS, 1, 500, Finding.UNSURE),
        (ERRORS, 2, 100, Finding.FAILS),
        (ERRORS, 0, 0, Finding.ABSENT),
    ],
)
def test_the_sample_decides(one: Check, failures: int, total: int, finding: Finding) -> None:
    assert judged(one, failures, total).finding is finding


def test_it_says_how_many_are_needed_and_when() -> None:
    found = judged(ERRORS, 0, 1000)
    assert (found.samples, found.needed, found.eta_s) == (1000, 1995, 199.5)
    assert "1995 more are needed to be sure" in found.why
    assert "at today's traffic" in found.why
    slow = judged(ERRORS, 0, 10)
    assert slow.eta_s is None
    assert "too short" in slow.why
    assert "not within the bound" in judged(ERRORS, 1, 900).why
    assert judged(ERRORS, 0, 0).eta_s is None


def test_a_good_past_does_not_hide_a_bad_present() -> None:
    assert judged(ERRORS, 10, 100_000, Tally(10, 100)).finding is Finding.FAILS
    assert "since the last tick" in judged(ERRORS, 10, 100_000, Tally(10, 100)).why


def test_the_hard_limit_is_what_came_last() -> None:
    hard = check(error_ratio_below=0.001, hard_limit=0.05)
    assert judged(hard, 50, 100_000, Tally(50, 100)).finding is Finding.FAILS_HARD
    assert judged(hard, 5, 100_000, Tally(2, 100)).finding is Finding.FAILS
    cache = check(cache_hit_ratio_above=0.85, hard_limit=0.5)
    assert judged(cache, 0, 1000, Tally(90, 100)).finding is Finding.FAILS_HARD
    assert judged(cache, 0, 1000, Tally(40, 100)).finding is Finding.FAILS
    slow = check(quantile=0.95, below="50ms", hard_limit="1s")
    assert judged(slow, 0, 1000, beyond_limit=Tally(50, 100)).finding is Finding.FAILS_HARD
    assert judged(slow, 0, 1000).finding is Finding.PASSES


def test_a_gap_never_passes_and_never_hides_a_failure() -> None:
    found = judged(ERRORS, 0, 100_000, gap="sidecar: no answer in time")
    assert found.finding is Finding.ABSENT
    assert "sidecar: no answer in time" in found.why
    assert judged(ERRORS, 1000, 10_000, gap="sidecar: gone").finding is Finding.FAILS


def test_an_operation_that_is_not_split_is_no_reason_to_go_back() -> None:
    found = judged(P95, 50, 100, unsplit=True, source=LEGACY)
    assert found.finding is Finding.UNSURE
    assert "its route is fixed" in found.why
    passing = judged(P95, 0, 100, unsplit=True, source=LEGACY)
    assert passing.finding is Finding.PASSES
    assert "postgresql, which serves this operation whatever the percentage" in passing.why


def test_it_holds_while_legacy_is_surely_better() -> None:
    compared = check(operation="get", quantile=0.95, below="50ms", baseline="300ms", compare="legacy")
    assert judged(compared, 300, 10_000, other=Tally(10, 10_000)).finding is Finding.UNSURE
    assert "legacy is better" in judged(compared, 300, 10_000, other=Tally(10, 10_000)).why
    assert judged(compared, 300, 10_000, other=Tally(9000, 10_000)).finding is Finding.PASSES
    assert judged(compared, 300, 10_000, other=Tally(0, 0)).finding is Finding.PASSES
    assert "(before: p95 300ms)" in judged(compared, 300, 10_000).why


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_no_number_never_passes(value: float | None) -> None:
    for one in (check(promql="x", below=1), check(promql="x", above=1)):
        assert judge_value(one, value).finding is Finding.ABSENT


def test_numbers() -> None:
    below, above = check(promql="x", below=1, hard_limit=5), check(promql="x", above=1, hard_limit=0.5)
    assert [judge_value(below, value).finding for value in (0, 1, 5)] == [
        Finding.PASSES,
        Finding.FAILS,
        Finding.FAILS_HARD,
    ]
    assert [judge_value(above, value).finding for value in (2, 1, 0.5)] == [
        Finding.PASSES,
        Finding.FAILS,
        Finding.FAILS_HARD,
    ]


def test_failures_in_a_row() -> None:
    def after(finding: Finding, streak: int) -> tuple[Verdict, int]:
        shown, now = conclude(ERRORS, Outcome(finding, "why"), streak, 3)
        return shown.verdict, now

    assert after(Finding.FAILS, 0) == (Verdict.HOLD, 1)
    assert after(Finding.FAILS, 1) == (Verdict.HOLD, 2)
    assert after(Finding.FAILS, 2) == (Verdict.NO_GO, 3)
    assert after(Finding.ABSENT, 2) == (Verdict.HOLD, 2)
    assert after(Finding.UNSURE, 2) == (Verdict.HOLD, 0)
    assert after(Finding.PASSES, 2) == (Verdict.GO, 0)
    assert after(Finding.FAILS_HARD, 0) == (Verdict.NO_GO, 1)


def verdict(name: str, said: Verdict, *, required: bool = True) -> CheckVerdict:
    return CheckVerdict(name, said, None, 1.0, None, None, None, f"{name} is so", required)


def test_all_checks_together() -> None:
    go, hold, no_go = (verdict(said.value, said) for said in Verdict)
    assert overall([go], {}) == (Verdict.GO, "every check passes")
    assert overall([go, hold], {}) == (Verdict.HOLD, "HOLD: HOLD is so")
    assert overall([go, hold, no_go], {})[0] is Verdict.NO_GO
    assert overall([go, hold, no_go], {"NO_GO": "known", "HOLD": "known"})[0] is Verdict.GO
    assert overall([verdict("x", Verdict.HOLD, required=False)], {})[0] is Verdict.GO
    assert overall([verdict("x", Verdict.NO_GO, required=False)], {})[0] is Verdict.NO_GO


@settings(deadline=None)
@given(failures=st.integers(0, 500), more=st.integers(0, 100_000), recent=st.integers(0, 100), gap=st.booleans())
def test_passing_needs_data_without_a_gap(failures: int, more: int, recent: int, gap: bool) -> None:
    found = judged(ERRORS, failures, failures + more, Tally(0, recent), gap="gone" if gap else None)
    if found.finding is Finding.PASSES:
        assert not gap
        assert more >= 2995
        assert failures / (failures + more) < 0.001


# what is counted


def counted(sidecar: Sidecar) -> dict[Any, float]:
    return dict(sidecar.counters)


def test_quantiles_count_attempts_within_an_exact_bound() -> None:
    sidecar = Sidecar()
    sidecar.serve(90, seconds=0.05)
    sidecar.serve(10, seconds=0.051)
    assert tally(P95, counted(sidecar), LAYOUT) == Tally(10, 100)
    assert tally(check(quantile=0.95, below="50ms"), counted(sidecar), LAYOUT) == Tally(10, 100)
    assert tally(check(quantile=0.95, below="50ms", source="legacy"), counted(sidecar), LAYOUT) == Tally(0, 0)


def test_errors_are_first_attempts_and_a_confirmed_404_is_none() -> None:
    sidecar = Sidecar()
    sidecar.serve(100)
    sidecar.serve(5, outcome="status_404")
    sidecar.serve(3, outcome="timeout")
    sidecar.serve(7, outcome="cancelled")
    sidecar.fall_back(4, "status_404", "confirmed")
    sidecar.fall_back(1, "status_404", "served")
    assert tally(ERRORS, counted(sidecar), LAYOUT) == Tally(4, 108)


def test_fallbacks_count_an_open_breaker_too() -> None:
    sidecar = Sidecar()
    sidecar.serve(100)
    sidecar.add(("cutover_decisions_total", LEGACY, "get", "breaker_open"), 20)
    sidecar.fall_back(5)
    sidecar.fall_back(2, "status_404", "confirmed")
    sidecar.fall_back(3, "timeout", "suppressed")
    assert tally(check(fallback_ratio_below=0.01), counted(sidecar), LAYOUT) == Tally(25, 120)


def test_users_see_5xx_and_broken_answers_but_not_their_own_mistakes() -> None:
    sidecar = Sidecar()
    sidecar.counters.clear()
    for source, code, count in (
        (LEGACY, "200", 90),
        (LEGACY, "500", 2),
        (LEGACY, "501", 1),
        ("proxy", "503", 3),
        ("proxy", "505", 40),
        ("proxy", "499", 50),
        (LEGACY, "404", 4),
    ):
        sidecar.add(("cutover_requests_total", source, "get", code), count)
    sidecar.add(("cutover_truncated_responses_total", LEGACY, "get"), 1)
    users = check(user_error_ratio_below=0.001)
    assert tally(users, counted(sidecar), LAYOUT) == Tally(7, 100)
    assert tally(check(user_error_ratio_below=0.001, source="target"), counted(sidecar), LAYOUT) == Tally(0, 0)
    assert tally(check(user_error_ratio_below=0.001, operation="list"), counted(sidecar), LAYOUT) == Tally(0, 0)


def test_cache_hits() -> None:
    sidecar = Sidecar()
    sidecar.cache(90, 10)
    assert tally(check(cache_hit_ratio_above=0.85), counted(sidecar), LAYOUT) == Tally(10, 100)


@pytest.mark.parametrize(
    ("operation", "source", "role"),
    [
        ("get", None, "target"),
        ("get", "legacy", "legacy"),
        ("upload", None, "legacy"),
        ("upload", "target", "legacy"),
        ("moved", "legacy", "target"),
        (None, None, "target"),
        ("other", None, "legacy"),
    ],
)
def test_a_check_judges_the_source_that_serves_its_operation(
    operation: str | None, source: str | None, role: str
) -> None:
    assert LAYOUT.serving(check(operation=operation, source=source, error_ratio_below=0.1)) is Role(role)


def test_an_unsplit_operation_is_judged_on_legacy_and_named() -> None:
    sidecar, history = Sidecar(), History(60)
    history.add(0, {"s": sidecar.reading()})
    sidecar.serve(100, source=LEGACY, operation="upload", seconds=0.3)
    history.add(5, {"s": sidecar.reading()})
    upload = check(operation="upload", quantile=0.95, below="1s")
    evidence = gather_evidence(upload, LAYOUT, history.span(60), history.latest(), None)
    assert (evidence.source, evidence.unsplit, evidence.window) == (LEGACY, True, Tally(0, 100))
    assert evidence.estimate_s == pytest.approx(0.295, abs=0.01)


def test_a_judge_without_a_configuration_holds() -> None:
    judge = Judge(make_plan())
    found = judge.judge(0, Observation({"s": Sidecar().reading()}), None, State())
    assert found.verdict is Verdict.HOLD
    assert "configuration can't be read" in found.why
    assert repr(judge) == "<Judge of 2 checks, <History of 1 sidecars, 1 copies>>"
