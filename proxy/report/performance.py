"""Before and after, per operation: what was planned, what was measured, and whether the target is met. Pure.

The table of the epic is where targets come from, unless the plan's checks say others. Whether one
is met is judged as the gates judge: by how many attempts took longer than the target, with an exact binomial bound,
and not by an interpolated quantile. Neighbours: `figures` are counted, `sections.performance` tells.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from proxy.report.figures import Counts, add_up, of_source
from proxy.report.findings import Findings
from proxy.rollout.statistics import surely_above, surely_below

QUANTILE: Final = 0.95
CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was planned of an operation: its p95 before and the bound after, in seconds."""

    operation: str
    before_s: float | None
    target_s: float


EPIC: Final = (
    Expectation("upload", 2.5, 1.0),
    Expectation("get", 0.3, 0.05),
    Expectation("list", 0.4, 0.1),
    Expectation("update", 0.35, 0.08),
    Expectation("delete", 0.3, 0.1),
)


class Result(StrEnum):
    """Whether a target is met."""

    MET = "met"
    MISSED = "missed"
    UNSURE = "not sure"  # there are figures, and too few of them to tell
    NOT_MOVED = "not moved"  # legacy serves the operation still
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One operation's row. `before` and `after` are what was counted on legacy and on the target."""

    expected: Expectation
    before: Counts | None
    after: Counts | None
    result: Result
    why: str

    @property
    def before_s(self) -> float | None:
        """The measured p95 before, None when not measured."""
        return None if self.before is None else self.before.quantile_s(QUANTILE)

    @property
    def after_s(self) -> float | None:
        """The measured p95 after, None when not measured."""
        return None if self.after is None else self.after.quantile_s(QUANTILE)

    @property
    def improvement(self) -> tuple[float, str] | None:
        """By which share it is faster than before, and whether that was measured or planned."""
        after, measured, planned = self.after_s, self.before_s, self.expected.before_s
        before = measured or planned
        if after is None or not before:
            return None
        return 1.0 - after / before, "measured" if measured else "planned"


def compare(findings: Findings) -> tuple[Comparison, ...]:
    """Every operation of the plan, in its order."""
    after = add_up(findings.after)
    rows = []
    for expected in expectations(findings):
        operation, sources = expected.operation, findings.sources
        before_counts = after_counts = on_legacy = None
        if sources is not None and findings.baseline is not None:
            before_counts = _some(of_source(findings.baseline, sources.legacy, operation))
        if sources is not None and after is not None:
            after_counts = _some(of_source(after, sources.target, operation))
            on_legacy = _some(of_source(after, sources.legacy, operation))
        result, why = _judge(expected, after_counts, on_legacy)
        rows.append(Comparison(expected, before_counts, after_counts, result, why))
    return tuple(rows)


def expectations(findings: Findings) -> tuple[Expectation, ...]:
    """The epic's table, changed and added to by the plan's own p95 checks on the target."""
    known: dict[str, Expectation] = {one.operation: one for one in EPIC}
    for check in findings.run.definitions:
        ours = check.kind == "quantile" and check.quantile == QUANTILE and check.source in (None, "target")
        if ours and check.operation and check.bound:
            before = known.get(check.operation, Expectation(check.operation, None, check.bound))
            known[check.operation] = replace(
                before, target_s=check.bound, before_s=before.before_s if check.baseline_s is None else check.baseline_s
            )
    return tuple(known.values())


def results_of(rows: Iterable[Comparison]) -> Mapping[Result, tuple[str, ...]]:
    """The operations by their result; every result has a place."""
    found: dict[Result, tuple[str, ...]] = dict.fromkeys(Result, ())
    for row in rows:
        found[row.result] = (*found[row.result], row.expected.operation)
    return found


def _some(counts: Counts) -> Counts | None:
    return counts if counts.attempts or counts.timed else None


def _judge(expected: Expectation, after: Counts | None, on_legacy: Counts | None) -> tuple[Result, str]:
    if after is None or not after.timed:
        if on_legacy is not None:
            return Result.NOT_MOVED, "legacy serves it"
        return Result.NOT_MEASURED, "no requests were measured"
    slow, allowed = after.beyond(expected.target_s), 1.0 - QUANTILE
    if slow is None:  # the target is no bound of the histogram: the interpolated quantile has to do
        value = after.quantile_s(QUANTILE)
        met = value is not None and value < expected.target_s
        return (Result.MET if met else Result.MISSED), f"interpolated, of {after.timed:,}"
    share = 1.0 - slow / after.timed
    facts = f"{share * 100:.4g} % of {after.timed:,} within the target"
    if surely_below(slow, after.timed, allowed, CONFIDENCE):
        return Result.MET, facts
    if surely_above(slow, after.timed, allowed, CONFIDENCE):
        return Result.MISSED, facts
    return Result.UNSURE, f"{facts}: too few to be sure"
