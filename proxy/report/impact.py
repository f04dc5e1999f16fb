"""What users noticed, and what they were spared. Pure.

Neighbours: `figures` are counted, `conclusions` judge, `sections.impact` tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.report.figures import add_up
from proxy.report.findings import Findings


@dataclass(frozen=True, slots=True)
class Complaints:
    """What people entered for a manual check in all stages; `value` is None when nobody has."""

    check: str
    value: float | None
    entries: int


@dataclass(frozen=True, slots=True)
class Impact:
    """Requests as clients saw them since the first step; None is not counted.

    `coverage` is the share of the time since then in which they were counted. `saved` are requests that legacy
    answered for the target, `unsaved` those that it could not. `error_ratio_before` is the baseline's. `gaps` are the
    measured intervals in which some sidecar could not be read for a while.
    """

    answered: int | None
    user_errors: int | None
    coverage: float | None
    meant: int | None
    fallbacks: Mapping[str, int] | None
    saved: int | None
    unsaved: int | None
    error_ratio_before: float | None
    gaps: int
    complaints: tuple[Complaints, ...]

    @property
    def error_ratio(self) -> float | None:
        """The share of requests with a client-visible error."""
        if self.user_errors is None or not self.answered:
            return None
        return self.user_errors / self.answered


def weigh_impact(findings: Findings) -> Impact:
    """Weigh it."""
    total = add_up(findings.measured)
    before = findings.baseline
    ratio_before = None
    if before is not None and before.answered and before.user_errors is not None:
        ratio_before = before.user_errors / before.answered
    return Impact(
        answered=None if total is None else total.answered,
        user_errors=None if total is None else total.user_errors,
        coverage=covered_share(findings),
        meant=None if total is None else total.meant,
        fallbacks=None if total is None else total.fallbacks,
        saved=None if total is None else total.stood_in,
        unsaved=None if total is None else total.unsaved,
        error_ratio_before=ratio_before,
        gaps=sum(bool(one.gaps) for one in findings.measured),
        complaints=_complaints(findings),
    )


def covered_share(findings: Findings) -> float | None:
    """The share of the time since the first step in which requests were counted; None when there was none."""
    stages = findings.run.stages
    if not stages or not findings.measured:
        return None
    began, ended = stages[0].began, max(findings.run.ended, findings.measured[-1].ended)
    if ended <= began:
        return None
    inside = sum(max(min(one.ended, ended) - max(one.began, began), 0.0) for one in findings.measured)
    return min(inside / (ended - began), 1.0)


def _complaints(findings: Findings) -> tuple[Complaints, ...]:
    found = []
    for check in findings.run.manual:
        values = [
            note.value
            for note in findings.notes
            if note.check == check and note.value is not None and note.run == findings.run.number
        ]
        found.append(Complaints(check, sum(values) if values else None, len(values)))
    return tuple(found)
