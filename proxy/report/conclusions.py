"""What the facts amount to: the verdict, and everything that stands between it and an unreserved yes. Pure.

Nothing absent is taken for good: what was not measured, not supplied, waived or overridden is a reservation of its
own. Neighbours: `findings`, `performance` and `impact` are judged, `sections` tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from proxy.report.findings import Findings, Stage
from proxy.report.impact import Impact, weigh_impact
from proxy.report.performance import Comparison, Result, compare, results_of
from proxy.report.wording import listed, minute, share, span, things
from proxy.rollout.decision import Phase

MONITORED_S: Final = 24 * 3600.0
_TOLERANCE: Final = 0.99  # a day of ticks is a little less than a day


class Outcome(StrEnum):
    """How the cutover stands, in the words of the report's first line."""

    COMPLETE = "Complete: everything that was asked for was shown"
    RESERVED = "Complete, with reservations"
    ROLLED_BACK = "Rolled back"
    ABORTED = "Aborted"
    UNFINISHED = "Not finished"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The outcome, what it rests on, and the reservations in the order of their weight."""

    outcome: Outcome
    comparisons: tuple[Comparison, ...]
    impact: Impact
    monitored_s: float
    reservations: tuple[str, ...]


def conclude(findings: Findings) -> Conclusion:
    """Conclude."""
    comparisons, impact, monitored_s = compare(findings), weigh_impact(findings), watched_at_the_end(findings)
    reservations = (
        *_of_users(impact),
        *_of_targets(comparisons),
        *(
            ()
            if findings.baseline
            else ("nothing was measured before the first step: the plan's figures stand in for it",)
        ),
        *_of_the_end(findings, monitored_s),
        *_of_people(findings),
        *_of_checks(findings),
        *_of_data(findings),
    )
    return Conclusion(_outcome(findings, reservations), comparisons, impact, monitored_s, tuple(reservations))


def last_stage(findings: Findings) -> Stage | None:
    """The stage of the newest step forward."""
    return findings.run.stages[-1] if findings.run.stages else None


def watched_at_the_end(findings: Findings) -> float:
    """For how many seconds the last stage was watched: by the controller, and by hourly snapshots after it."""
    stage = last_stage(findings)
    if stage is None:
        return 0.0
    controlled = stage.held_s
    looks = [one.at for one in findings.snapshots if one.at >= (stage.ended or findings.run.ended)]
    return controlled + (looks[-1] - (stage.ended or findings.run.ended) if looks else 0.0)


def _outcome(findings: Findings, reservations: tuple[str, ...]) -> Outcome:
    match Phase(findings.run.phase):
        case Phase.ROLLED_BACK:
            return Outcome.ROLLED_BACK
        case Phase.ABORTED:
            return Outcome.ABORTED
        case Phase.COMPLETED:
            return Outcome.RESERVED if reservations else Outcome.COMPLETE
        case _:
            return Outcome.UNFINISHED


def _of_users(impact: Impact) -> Iterator[str]:
    if impact.user_errors is None:
        yield "client-visible errors were not counted"
    elif impact.user_errors:
        yield f"clients saw {things(impact.user_errors, 'error')} in {things(impact.answered or 0, 'request')}"
    if impact.coverage is not None and impact.coverage < _TOLERANCE:
        yield f"requests were counted for {share(impact.coverage)} of the time only"
    for complaint in impact.complaints:
        if complaint.value is None:
            yield f"{complaint.check}: nobody has entered a number"
        elif complaint.value:
            yield f"{complaint.check}: {complaint.value:g} entered"


def _of_targets(comparisons: tuple[Comparison, ...]) -> Iterator[str]:
    by_result = results_of(comparisons)
    words = {
        Result.MISSED: "the p95 target was missed for",
        Result.UNSURE: "too few requests to be sure of the p95 target for",
        Result.NOT_MOVED: "still served by legacy:",
        Result.NOT_MEASURED: "the p95 target was not measured for",
    }
    for result, text in words.items():
        if by_result[result]:
            yield f"{text} {listed(by_result[result])}"


def _of_the_end(findings: Findings, monitored_s: float) -> Iterator[str]:
    run = findings.run
    if run.phase == Phase.COMPLETED and run.percentage < 100:
        yield f"the plan ends at {run.percentage} % of users"
    if run.phase == Phase.COMPLETED and monitored_s < MONITORED_S * _TOLERANCE:
        yield f"the last percentage was watched for {span(monitored_s)}, not for 24 h"
    bad = [one for one in findings.snapshots if one.verdict != "GO"]
    if bad:
        yield f"{len(bad)} of {len(findings.snapshots)} hourly snapshots not GO"
    moved = next((one for one in findings.snapshots if set(one.percentages.values()) - {run.percentage}), None)
    if moved is not None:
        found = listed(f"{one} %" for one in sorted(set(moved.percentages.values())))
        yield f"{found} was in force at {minute(moved.at)}, and this rollout has put {run.percentage} %"


def _of_people(findings: Findings) -> Iterator[str]:
    for word in findings.run.waived:
        yield f"it went without {'an owner' if word == 'owner' else 'a rehearsal' if word == 'rehearsal' else word}"
    if "rehearsal" not in findings.run.waived and not any(one.ok for one in findings.rehearsals):
        yield "no rehearsal has succeeded"
    for stage in findings.run.stages:
        for name, reason in stage.overrides.items():
            yield f"check “{name}” was overridden at {stage.percentage} %: {reason}"


def _of_checks(findings: Findings) -> Iterator[str]:
    stage = last_stage(findings)
    if stage is None:
        return
    if not stage.results:
        yield f"no check was judged at {stage.percentage} %"
    for result in stage.results:
        if result.verdict != "GO" and result.name not in stage.overrides:
            kind = "" if result.required else " (not required)"
            yield f"check “{result.name}”{kind} ended {result.verdict}: {result.why}"


def _of_data(findings: Findings) -> Iterator[str]:
    for proof in findings.proofs:
        if proof.mismatches:
            yield f"{things(proof.mismatches, 'mismatch', 'mismatches')} in the migrated data ({proof.name})"
        elif not proof.compared:
            yield f"nothing was compared to prove the migrated data ({proof.name})"
