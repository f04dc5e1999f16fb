"""What is concluded, from figures made for each case: nothing absent ever counts as passed."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.report.collect import Asked, assemble
from proxy.report.composition import compose
from proxy.report.conclusions import Outcome, conclude
from proxy.report.document import Paragraph, Table, Tone
from proxy.report.figures import Counts, Measurement, add_up
from proxy.report.findings import (
    CheckDefinition,
    CheckResult,
    Event,
    Findings,
    Note,
    Origin,
    Rehearsal,
    Run,
    Snapshot,
    Sources,
    Stage,
    Topic,
)
from proxy.report.issues import find_issues
from proxy.report.performance import EPIC, Result, compare
from proxy.report.reading import read_journal
from proxy.report.sections.issues import write_issues
from proxy.report.sections.next_steps import write_next_steps
from proxy.report.sections.summary import TONES, write_summary
from proxy.report.sections.timeline import choose_snapshots
from proxy.report.series import latency_curves, ratio_curves, thinned
from proxy.telemetry.histogram import BOUNDS, BUCKETS

LEGACY, TARGET = "old", "new"
HOUR = 3600.0


def counts(seconds: float, number: int, errors: int = 0) -> Counts:
    """So many attempts that all took the same time."""
    buckets = [0] * BUCKETS
    buckets[next(place for place, bound in enumerate((*BOUNDS, math.inf)) if seconds <= bound)] = number
    return Counts(number, errors, tuple(buckets))


def measurement(began: float, ended: float, **changes: Any) -> Measurement:
    pairs = {(TARGET, one.operation): counts(one.target_s / 2, 5000) for one in EPIC}
    known: dict[str, Any] = {
        "pairs": pairs,
        "answered": 25_000,
        "user_errors": 0,
        "meant": 25_000,
        "fallbacks": {},
        "unsaved": 0,
        "breaker_trips": 0,
        "rejected_configs": 0,
        "percentage": 100,
    }
    return Measurement(began, ended, **{**known, **changes})


def result(name: str, verdict: str = "GO", **changes: Any) -> CheckResult:
    return replace(CheckResult(name, verdict, 0.01, 0.05, 5000, "fine"), **changes)


def findings(**changes: Any) -> Findings:
    """A cutover in which everything that can be asked for was shown."""
    stage = Stage(
        1, 100, 0.0, 24 * HOUR, hold_s=24 * HOUR, held_s=24 * HOUR, outcome="GO", results=(result("get p95"),)
    )
    run = Run(
        number=1,
        plan="plan.yaml",
        digest="d",
        began=0.0,
        ended=24 * HOUR,
        phase="completed",
        is_over=True,
        percentage=100,
        why="every stage is GO",
        planned=(100,),
        holds=(24 * HOUR,),
        approver="Ann",
        on_call="Bo",
        waived=(),
        manual=("complaints",),
        definitions=(),
        stages=(stage,),
        events=(),
    )
    whole = measurement(0.0, 24 * HOUR)
    before = {(LEGACY, one.operation): counts(one.before_s or 1, 5000) for one in EPIC}
    known = Findings(
        journal="rollout.db",
        run=run,
        earlier=(),
        sources=Sources(LEGACY, TARGET),
        baseline=measurement(-HOUR, 0.0, pairs=before),
        baseline_text="an hour",
        measured=(whole,),
        after=(whole,),
        rehearsals=(Rehearsal(-10.0, ok=True, users=3, to_target_s=0.1, to_legacy_s=0.1, why=""),),
        snapshots=(),
        notes=(Note(1, 5.0, "none", "complaints", 0.0),),
        units={},
        origins=(Origin("Rollout journal", supplied=True, text=""),),
    )
    return replace(known, **changes)


def with_run(**changes: Any) -> Findings:
    base = findings()
    return replace(base, run=replace(base.run, **changes))


def with_stage(**changes: Any) -> Findings:
    base = findings()
    return replace(base, run=replace(base.run, stages=(replace(base.run.stages[0], **changes),)))


def test_only_when_everything_was_shown_is_it_complete_without_reservation() -> None:
    conclusion = conclude(findings())
    assert conclusion.reservations == ()
    assert conclusion.outcome is Outcome.COMPLETE
    assert {row.result for row in conclusion.comparisons} == {Result.MET}


ABSENT: dict[str, tuple[Findings, str]] = {
    "nothing measured": (findings(measured=(), after=()), "client-visible errors were not counted"),
    "no errors counted": (findings(measured=(measurement(0, 24 * HOUR, user_errors=None),)), "were not counted"),
    "half the time": (findings(measured=(measurement(0, 12 * HOUR),)), "counted for 50 % of the time only"),
    "an error": (findings(measured=(measurement(0, 24 * HOUR, user_errors=1),)), "clients saw 1 error"),
    "no baseline": (findings(baseline=None), "nothing was measured before the first step"),
    "no target figures": (findings(after=(measurement(0, 9, pairs={}),)), "not measured for upload, get, list"),
    "nobody asked support": (findings(notes=()), "complaints: nobody has entered a number"),
    "complaints of another run": (
        findings(notes=(Note(0, 5.0, "none", "complaints", 0.0),)),
        "complaints: nobody has entered a number",
    ),
    "a complaint": (findings(notes=(Note(1, 5.0, "slow", "complaints", 1.0),)), "complaints: 1 entered"),
    "no rehearsal": (findings(rehearsals=()), "no rehearsal has succeeded"),
    "a failed rehearsal": (
        findings(rehearsals=(Rehearsal(1.0, ok=False, users=None, to_target_s=None, to_legacy_s=None, why="no"),)),
        "no rehearsal has succeeded",
    ),
    "no owner": (with_run(waived=("owner",)), "it went without an owner"),
    "half a plan": (with_run(percentage=50), "the plan ends at 50 % of users"),
    "an override": (with_stage(overrides={"get p95": "hurry"}), "“get p95” was overridden at 100 %: hurry"),
    "a check without an answer": (
        with_stage(results=(result("hits", "HOLD", required=False, why="no data"),)),
        "check “hits” (not required) ended HOLD: no data",
    ),
    "no check": (with_stage(results=()), "no check was judged at 100 %"),
    "an hour of watching": (with_stage(held_s=HOUR), "watched for 1 h, not for 24 h"),
    "a snapshot on HOLD": (
        findings(snapshots=(Snapshot(1, 25 * HOUR, "HOLD", "no data", (), {"file": 100}),)),
        "1 of 1 hourly snapshots not GO",
    ),
    "taken back by hand": (
        findings(snapshots=(Snapshot(1, 25 * HOUR, "GO", "", (), {"file": 0}),)),
        "0 % was in force at 1970-01-02 01:00, and this rollout has put 100 %",
    ),
}


@pytest.mark.parametrize("case", ABSENT)
def test_what_is_absent_or_bad_is_a_reservation_of_its_own(case: str) -> None:
    known, said = ABSENT[case]
    conclusion = conclude(known)
    assert conclusion.outcome is Outcome.RESERVED
    assert any(said in reservation for reservation in conclusion.reservations), conclusion.reservations


@pytest.mark.parametrize(
    ("phase", "outcome", "tone"),
    [
        ("rolled_back", Outcome.ROLLED_BACK, Tone.BAD),
        ("aborted", Outcome.ABORTED, Tone.BAD),
        ("judging", Outcome.UNFINISHED, Tone.WARN),
        ("waiting", Outcome.UNFINISHED, Tone.WARN),
    ],
)
def test_what_did_not_complete_is_never_called_complete(phase: str, outcome: Outcome, tone: Tone) -> None:
    assert conclude(with_run(phase=phase)).outcome is outcome
    assert TONES[outcome] is tone


def judged(after: Counts | None, **pairs: Counts) -> Result:
    found = {(TARGET, "get"): after} if after is not None else {}
    return next(
        row.result
        for row in compare(findings(after=(measurement(0, 1, pairs={**found, **pairs}),)))
        if row.expected.operation == "get"
    )


def test_a_target_is_met_or_missed_only_when_that_is_sure() -> None:
    assert judged(counts(0.04, 59)) is Result.MET
    assert judged(counts(0.04, 58)) is Result.UNSURE
    assert judged(counts(0.3, 3)) is Result.MISSED
    assert judged(counts(0.3, 1)) is Result.UNSURE
    assert judged(None) is Result.NOT_MEASURED
    assert judged(Counts(500, 0, ())) is Result.NOT_MEASURED, "no histogram, no verdict"


def test_an_operation_that_legacy_still_serves_is_not_moved() -> None:
    pairs = {(LEGACY, "get"): counts(0.01, 5000)}
    row = next(
        row for row in compare(findings(after=(measurement(0, 1, pairs=pairs),))) if row.expected.operation == "get"
    )
    assert (row.result, row.after_s, row.improvement) == (Result.NOT_MOVED, None, None)


def test_the_plans_own_targets_replace_the_epics() -> None:
    check = CheckDefinition("x", "quantile", None, "get", 0.95, 0.02, 0.2)
    other = CheckDefinition("y", "quantile", "legacy", "list", 0.95, 0.02, 0.2)
    new = CheckDefinition("z", "quantile", "target", "search", 0.95, 0.1, None)
    rows = {row.expected.operation: row.expected for row in compare(with_run(definitions=(check, other, new)))}
    assert (rows["get"].target_s, rows["get"].before_s) == (0.02, 0.2)
    assert (rows["list"].target_s, rows["list"].before_s) == (0.1, 0.4)
    assert (rows["search"].target_s, rows["search"].before_s) == (0.1, None)


def test_the_improvement_is_against_what_was_measured_and_else_against_the_plan() -> None:
    row = next(row for row in compare(findings()) if row.expected.operation == "get")
    assert row.improvement is not None
    assert row.improvement[1] == "measured"
    row = next(row for row in compare(findings(baseline=None)) if row.expected.operation == "get")
    assert row.improvement is not None
    assert row.improvement[1] == "planned"


def interval(hour: float, stood_in: int, meant: int, **changes: Any) -> Measurement:
    fallbacks = {"timeout": stood_in}
    return measurement(hour * HOUR, (hour + 1) * HOUR, fallbacks=fallbacks, meant=meant, **changes)


def test_a_burst_is_a_row_of_intervals_beyond_both_limits() -> None:
    quiet, share_only, number_only = interval(0, 0, 1000), interval(1, 9, 100), interval(2, 10, 1000)
    first, second = interval(3, 11, 1000), interval(4, 200, 1000)
    third = interval(6, 50, 1000)
    known = findings(measured=(quiet, share_only, number_only, first, second, interval(5, 0, 1000), third))
    bursts = [event for event in find_issues(known) if event.topic is Topic.BURST]
    assert [(event.at / HOUR, (event.until or 0) / HOUR) for event in bursts] == [(3, 5), (6, 7)]
    assert "211 of 2,000" in bursts[0].text
    assert "timeout 211" in bursts[0].text


def test_trips_and_rejected_configurations_are_issues_and_what_is_not_counted_is_said() -> None:
    known = findings(measured=(interval(0, 0, 10, breaker_trips=2, rejected_configs=1),))
    assert [event.topic for event in find_issues(known)] == [Topic.BREAKER, Topic.REJECTED]
    blind = findings(measured=(Measurement(0, 1),))
    text = str(write_issues(blind))
    assert "nothing can be said of them: fallback bursts, breaker trips, rejected configurations" in text


def test_snapshots_in_a_row_that_are_not_go_are_one_issue() -> None:
    verdicts = ["GO", "HOLD", "HOLD", "GO", "NO_GO"]
    looks = tuple(Snapshot(1, (25 + hour) * HOUR, v, f"why {hour}", (), {"f": 100}) for hour, v in enumerate(verdicts))
    found = [event.text for event in find_issues(findings(snapshots=looks))]
    assert found == ["2 hourly snapshots HOLD; the last: why 2", "1 hourly snapshot NO_GO; the last: why 4"]


def test_of_very_many_snapshots_those_that_are_not_go_are_shown() -> None:
    looks = [Snapshot(1, float(at), "HOLD" if at % 100 == 7 else "GO", "", (), {}) for at in range(1440)]
    shown = choose_snapshots(looks)
    assert len(shown) <= 97
    assert {one.at for one in shown if one.verdict == "HOLD"} == {float(at) for at in range(7, 1440, 100)}
    assert shown == sorted(shown, key=lambda one: one.at)
    assert choose_snapshots(looks[:24]) == looks[:24]


def test_next_steps_follow_from_what_is_open() -> None:
    def steps(known: Findings) -> str:
        return str(write_next_steps(known, conclude(known)))

    assert "Keep dual-write" in steps(findings())
    assert "Epic 6" in steps(findings())
    assert "Settle the check “get p95”" in steps(with_stage(overrides={"get p95": "hurry"}))
    assert "cutover rollout watch plan.yaml --for 24h" in steps(with_stage(held_s=HOUR))
    assert "Ask support for “complaints”" in steps(findings(notes=()))
    assert "Find the cause of the NO_GO" in steps(with_run(phase="rolled_back", why="get p95: slow"))
    assert "Epic 6" not in steps(with_run(phase="rolled_back"))
    lacking = findings(origins=(Origin("Prometheus", supplied=False, text="", needed=True),))
    assert "Supply what this report lacks: prometheus" in steps(lacking)


def test_a_curve_has_a_gap_where_nothing_was_measured() -> None:
    pairs = {(TARGET, "get"): counts(0.04, 100)}
    few = {(TARGET, "get"): counts(0.04, 19)}
    known = findings(
        measured=(measurement(0, 60, pairs=pairs), measurement(60, 120, pairs=few), measurement(300, 360, pairs=pairs))
    )
    _, target = latency_curves(known, "get")
    assert [math.isnan(value) for value in target.values] == [False, True, True, False]
    unknown = ratio_curves(findings(measured=(Measurement(0, 60), measurement(60, 120))))
    assert [math.isnan(value) for value in unknown.user_errors.values] == [True, False]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), max_size=60))
def test_thinning_loses_no_request_and_joins_nothing_across_a_gap(parts: list[tuple[int, int]]) -> None:
    at, measured = 0.0, []
    for gap, number in parts:
        at += gap * 60.0
        measured.append(Measurement(at, at + 60, {("s", "o"): counts(0.1, number)}, answered=number, percentage=gap))
        at += 60
    thin = thinned(measured)
    total, whole = add_up(thin), add_up(measured)
    assert (total and total.answered) == (whole and whole.answered)
    assert all(second.began >= first.ended for first, second in pairwise(thin))
    assert sum(one.seconds for one in thin) == 60 * len(parts)


def test_a_sum_knows_a_histogram_only_when_every_part_does() -> None:
    known, unknown = counts(0.1, 5), Counts(5, 0, ())
    both = add_up([Measurement(0, 1, {("s", "o"): known}), Measurement(1, 2, {("s", "o"): unknown})])
    assert both is not None
    assert both.pairs["s", "o"] == Counts(10, 0, ())
    assert both.user_errors is None
    assert add_up([]) is None


def test_prometheus_fills_only_the_time_that_the_journal_did_not_count(completed_journal: Any) -> None:
    facts = read_journal(completed_journal)
    alone = assemble(completed_journal, facts, None)
    began, ended = alone.measured[0].began, alone.measured[-1].ended
    inside, later = measurement(began + 60, began + 120), measurement(ended, ended + 60, user_errors=3)
    asked = Asked("http://p:9090", alone.sources, None, "", (inside, later))
    both = assemble(completed_journal, facts, asked)
    assert both.measured == (*alone.measured, later)
    assert both.after[-1] == later
    assert any("1 interval filled from Prometheus" in origin.text for origin in both.origins)
    silent = assemble(completed_journal, facts, Asked("http://p:9090", None, None, "", problem="it knows no sidecar"))
    told = next(origin for origin in silent.origins if origin.name == "Prometheus")
    assert (told.supplied, told.needed) == (False, True)


def test_every_input_that_is_missing_is_named_so() -> None:
    bare = findings(origins=(Origin("Prometheus", supplied=False, text="not asked"),))
    table = next(block for block in write_summary(bare, conclude(bare)).blocks if isinstance(block, Table))
    assert [cell.text for cell in table.rows[0]] == ["Prometheus", "not supplied", "not asked"]


def test_what_earlier_runs_of_the_journal_went_through_is_told_as_theirs():
    known = findings()
    events = (
        Event(1.0, Topic.NO_GO, "errors: beyond the bound"),
        Event(2.0, Topic.BACK, "Back to 0 %"),
    )
    known = replace(known, earlier=(replace(known.run, number=known.run.number - 1, events=events),))
    assert [event.text for event in find_issues(known)] == [f"Run {known.run.number - 1}: errors: beyond the bound"]
    document = compose(known)
    (tile,) = [tile for tile in document.tiles if tile.label == "Rollbacks"]
    assert (tile.value, tile.detail, tile.tone) == ("0", "and 1 in earlier runs", Tone.WARN)
    paragraph = next(block.text for block in document.sections[0].blocks if isinstance(block, Paragraph))
    assert (
        "There was no rollback in this run; in earlier ones users were taken back once, at 1970-01-01 00:00 UTC."
        in paragraph
    )
