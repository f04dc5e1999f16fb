"""Section 1: what was moved, when, whether every check passed, and what users noticed, in one paragraph."""

from collections.abc import Iterable, Iterator

from proxy.report.conclusions import Conclusion, Outcome
from proxy.report.document import Block, Cell, Listing, Paragraph, Section, Subheading, Table, Tone
from proxy.report.findings import Findings, Run, Topic
from proxy.report.performance import Result
from proxy.report.wording import (
    LONGEST_REASON,
    NOT_SUPPLIED,
    duration,
    listed,
    minute,
    period,
    share,
    shortened,
    span,
    things,
)
from proxy.rollout.decision import Phase

TONES = {
    Outcome.COMPLETE: Tone.GOOD,
    Outcome.RESERVED: Tone.WARN,
    Outcome.ROLLED_BACK: Tone.BAD,
    Outcome.ABORTED: Tone.BAD,
    Outcome.UNFINISHED: Tone.WARN,
}


def write_summary(findings: Findings, conclusion: Conclusion) -> Section:
    """Write it."""
    blocks: list[Block] = [Paragraph(" ".join(_sentences(findings, conclusion)))]
    if conclusion.reservations:
        blocks.append(Subheading("Reservations"))
        blocks.append(Listing(tuple(Cell(_capitalised(text), Tone.WARN) for text in conclusion.reservations)))
    blocks.append(_origins(findings))
    return Section("Executive summary", tuple(blocks))


def _sentences(findings: Findings, conclusion: Conclusion) -> Iterator[str]:
    yield _moved(findings)
    yield _checks(findings)
    yield _users(conclusion)
    yield _way_back(findings)
    yield from _speed(conclusion)


def _moved(findings: Findings) -> str:
    run, stages = findings.run, findings.run.stages
    names = findings.sources
    way = f"from {names.legacy} to {names.target}" if names else "from legacy to the target"
    if not stages:
        return f"No user has been moved {way} yet: the rollout is {run.phase} ({shortened(run.why, LONGEST_REASON)})."
    steps = " → ".join(f"{stage.percentage} %" for stage in stages)
    began, ended = period(stages[0].began, run.ended)
    took = span(run.ended - stages[0].began)
    text = f"Between {began} and {ended} UTC, in {took}, users were moved {way} in {things(len(stages), 'stage')}"
    text += f" ({steps})."
    if run.phase == "completed":
        return f"{text} {run.percentage} % of users are on the target since {minute(stages[-1].began)}."
    why = "" if run.why == run.phase else f" ({shortened(run.why, LONGEST_REASON)})"
    if run.phase == Phase.ROLLED_BACK:
        return f"{text} It was rolled back to {run.percentage} %{why}."
    was = "It was aborted" if run.phase == Phase.ABORTED else f"The rollout is {run.phase}"
    return f"{text} {was} at {run.percentage} %{why}."


def _checks(findings: Findings) -> str:
    stages = findings.run.stages
    if not stages:
        return "No check has been judged."
    overridden = [name for stage in stages for name in stage.overrides]
    failed = [stage for stage in stages if stage.outcome == "NO_GO"]
    if failed:
        return f"A check said NO_GO at {listed(f'{stage.percentage} %' for stage in failed)}."
    if any(stage.outcome != "GO" for stage in stages):
        return "Not every stage has reached GO."
    if overridden:
        return f"Every stage reached GO, with {things(len(overridden), 'check')} overridden by hand."
    unjudged = {one.name for stage in stages for one in stage.results if one.verdict != "GO"}
    if unjudged:
        return f"Every required check passed at every stage; {things(len(unjudged), 'other check')} did not say GO."
    return "Every check passed at every stage."


def _users(conclusion: Conclusion) -> str:
    impact = conclusion.impact
    if impact.user_errors is None or impact.answered is None:
        return "Client-visible errors were not counted."
    errors = "none" if impact.user_errors == 0 else f"{impact.user_errors:,} ({share(impact.error_ratio)})"
    text = f"Of {things(impact.answered, 'request')} counted since the first step, {errors} came back with an error"
    if impact.saved:
        text += f"; {impact.saved:,} that the target failed were answered by legacy instead"
    return f"{text}."


def _way_back(findings: Findings) -> str:
    now, before = _taken_back([findings.run]), _taken_back(findings.earlier)
    if not before:
        return f"Users were taken back {now}." if now else "There was no rollback."
    text = f"Users were taken back {now}" if now else "There was no rollback in this run"
    return f"{text}; in earlier ones users were taken back {before}."


def _taken_back(runs: Iterable[Run]) -> str:
    """How often and when; empty for never."""
    back = [event for run in runs for event in run.events if event.topic is Topic.BACK]
    if not back:
        return ""
    often = "once" if len(back) == 1 else f"{len(back)} times"
    return f"{often}, at {listed(minute(one.at) for one in back)} UTC"


def _speed(conclusion: Conclusion) -> Iterator[str]:
    rows = [row for row in conclusion.comparisons if row.after_s is not None]
    texts = []
    for row in rows:
        before = row.before_s or row.expected.before_s
        basis = "" if row.before_s else " (as planned)"
        verb = {Result.MET: "met", Result.MISSED: "missed"}.get(row.result, str(row.result))
        texts.append(f"{row.expected.operation} {duration(before)}{basis} → {duration(row.after_s)} ({verb})")
    if texts:
        yield f"The 95th percentile of latency, before and after: {', '.join(texts)}."
    else:
        yield "Latency was not measured."


def _origins(findings: Findings) -> Table:
    rows = tuple(
        (
            Cell(one.name),
            Cell("supplied", Tone.GOOD)
            if one.supplied
            else Cell(NOT_SUPPLIED, Tone.WARN if one.needed else Tone.MUTED),
            Cell(one.text),
        )
        for one in findings.origins
    )
    return Table("What this report rests on", ("Input", "Supplied", "What it says"), rows)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
