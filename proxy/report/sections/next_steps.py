"""Section 7: what is left to do, derived from what is open."""

from collections.abc import Iterator

from proxy.report.conclusions import MONITORED_S, Conclusion, Outcome
from proxy.report.document import Cell, Listing, Section
from proxy.report.findings import Findings
from proxy.report.performance import Result, results_of
from proxy.report.wording import LONGEST_REASON, listed, shortened


def write_next_steps(findings: Findings, conclusion: Conclusion) -> Section:
    """Write it."""
    steps = (*_of_outcome(findings, conclusion), *_of_targets(conclusion), *_of_gaps(findings, conclusion))
    return Section("Next steps", (Listing(tuple(Cell(text) for text in dict.fromkeys(steps))),))


def _of_outcome(findings: Findings, conclusion: Conclusion) -> Iterator[str]:
    run = findings.run
    match conclusion.outcome:
        case Outcome.ROLLED_BACK:
            why = shortened(run.why, LONGEST_REASON)
            yield f"Find the cause of the NO_GO ({why}), mend it, rehearse, and start again."
            yield "Leave dual-write on: users are answered by legacy."
        case Outcome.ABORTED:
            yield f"Decide how to go on: {run.percentage} % is what this rollout last put in force ({run.why})."
        case Outcome.UNFINISHED:
            yield f"Go on with the plan: it is {run.phase.replace('_', ' ')} ({run.why})."
            yield "Make this report again when it is over."
        case _:
            yield "Keep dual-write and PostgreSQL as they are for as long as somebody may want to go back."
            yield "Then clean up (Epic 6): end dual-write, remove the switch and the sidecar, retire the old tables."
            yield "Tell the stakeholders, and attach this report."


def _of_targets(conclusion: Conclusion) -> Iterator[str]:
    found = results_of(conclusion.comparisons)
    if found[Result.MISSED]:
        yield f"Bring the p95 of {listed(found[Result.MISSED])} below its target, or have the miss accepted in writing."
    if found[Result.NOT_MOVED] and conclusion.outcome in (Outcome.COMPLETE, Outcome.RESERVED):
        yield f"Move {listed(found[Result.NOT_MOVED])}: legacy still serves it; cleaning up needs it moved."
    unknown = (*found[Result.UNSURE], *found[Result.NOT_MEASURED])
    if unknown:
        yield f"Measure {listed(unknown)}: nothing is known, or too little to be sure."


def _of_gaps(findings: Findings, conclusion: Conclusion) -> Iterator[str]:
    run = findings.run
    for stage in run.stages:
        for name in stage.overrides:
            yield f"Settle the check “{name}”, which was overridden at {stage.percentage} %."
    if run.phase == "completed" and conclusion.monitored_s < MONITORED_S * 0.99:
        yield f"Watch for a whole day: cutover rollout watch {run.plan} --for 24h."
    if run.stages:
        for result in run.stages[-1].results:
            if result.verdict != "GO" and result.name not in run.stages[-1].overrides:
                yield f"Have “{result.name}” answered: {result.why}."
    for one in conclusion.impact.complaints:
        if one.value is None:
            yield f"Ask support for “{one.check}”, and enter it: cutover rollout note … --check."
    missing = [one.name for one in findings.origins if one.needed and not one.supplied]
    if missing:
        yield f"Supply what this report lacks: {listed(name.lower() for name in missing)}."
