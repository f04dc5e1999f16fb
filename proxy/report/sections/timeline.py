"""Section 2: the stages with their durations, everything that happened, and the hours of monitoring after it."""

import math
from collections.abc import Sequence

from proxy.report.conclusions import Conclusion
from proxy.report.document import Block, Cell, Figure, Paragraph, Section, Subheading, Table, Tone
from proxy.report.findings import Event, Findings, Run, Snapshot, Stage, Topic
from proxy.report.wording import NOT_SUPPLIED, NOTHING, checked, duration, listed, minute, moment, span

VERDICTS = {"GO": Tone.GOOD, "HOLD": Tone.WARN, "NO_GO": Tone.BAD, "aborted": Tone.BAD}
_TONES = {
    Topic.NO_GO: Tone.BAD,
    Topic.BACK: Tone.BAD,
    Topic.ABORTED: Tone.BAD,
    Topic.FAILED_STEP: Tone.BAD,
    Topic.FAILING: Tone.WARN,
    Topic.UNSEEN: Tone.WARN,
    Topic.OVERRIDE: Tone.WARN,
    Topic.REFUSED: Tone.WARN,
    Topic.PAUSED: Tone.WARN,
    Topic.COMPLETED: Tone.GOOD,
}
_MOST_SNAPSHOTS = 96
_MANY = 60  # events; a run that was interrupted every minute must not fill a hundred pages


def write_timeline(findings: Findings, conclusion: Conclusion, figures: tuple[Figure, ...]) -> Section:
    """Write it. `figures` are the plots that belong here."""
    blocks: list[Block] = [_people(findings.run), _stages(findings), *figures]
    events = sorted([*findings.run.events, *_rehearsals(findings)], key=lambda event: event.at)
    blocks.append(_events(events[-_MANY:], "What happened (times are UTC)"))
    if len(events) > _MANY:
        blocks.append(Paragraph(f"The first {len(events) - _MANY} events are left out; the journal has them all."))
    blocks += [Subheading("Monitoring after the last step"), *_monitoring(findings, conclusion)]
    if findings.earlier:
        blocks += [Subheading("Earlier runs in this journal"), _earlier(findings)]
    return Section("Timeline", tuple(blocks))


def _people(run: Run) -> Paragraph:
    approver, on_call = (one or "nobody named" for one in (run.approver, run.on_call))
    return Paragraph(f"Plan {run.plan} ({run.digest}), run {run.number}. Approver: {approver}. On call: {on_call}.")


def _stages(findings: Findings) -> Table:
    run = findings.run
    rows = [_stage_row(stage, run.ended) for stage in run.stages]
    for number in range(len(run.stages) + 1, len(run.planned) + 1):
        hold = span(run.holds[number - 1]) if number <= len(run.holds) else ""
        muted = Cell(NOTHING, Tone.MUTED)
        rows.append(
            (Cell(str(number)), Cell(f"{run.planned[number - 1]} %"), muted, muted, Cell(hold), muted, _not_begun())
        )
    heads = ("Stage", "Users", "Began (UTC)", "Lasted", "Planned", "Watched", "Outcome")
    return Table("Stages", heads, tuple(rows))


def _not_begun() -> Cell:
    return Cell("not begun", Tone.MUTED)


def _stage_row(stage: Stage, end: float) -> tuple[Cell, ...]:
    lasted = span((stage.ended or end) - stage.began)
    if stage.ended is None:
        lasted = f"{lasted}, so far"
    outcome = stage.outcome.replace("_", " ") if stage.outcome not in VERDICTS else stage.outcome
    if stage.overrides:
        outcome = f"{outcome}, with {listed(stage.overrides)} overridden"
    tone = Tone.WARN if stage.overrides else VERDICTS.get(stage.outcome, Tone.WARN)
    return (
        Cell(str(stage.number)),
        Cell(f"{stage.percentage} %"),
        Cell(moment(stage.began)),
        Cell(lasted),
        Cell(NOT_SUPPLIED if stage.hold_s is None else span(stage.hold_s)),
        Cell(span(stage.held_s)),
        Cell(outcome, tone),
    )


def _rehearsals(findings: Findings) -> list[Event]:
    events = []
    for one in findings.rehearsals:
        if one.ok and one.to_target_s is not None and one.to_legacy_s is not None:
            there, back = duration(one.to_target_s), duration(one.to_legacy_s)
            text = f"Rehearsed with {one.users} users: on the target after {there}, back on legacy after {back}"
        else:
            text = f"A rehearsal failed: {one.why}"
        events.append(Event(one.at, Topic.REHEARSAL, text))
    return events


def _events(events: list[Event], caption: str) -> Table:
    rows = tuple(
        (
            Cell(moment(event.at)),
            Cell(event.text, _TONES.get(event.topic, Tone.PLAIN)),
            Cell("" if event.until is None or event.until <= event.at else span(event.until - event.at)),
        )
        for event in events
    )
    return Table(caption, ("When", "What", "Lasted"), rows)


def _monitoring(findings: Findings, conclusion: Conclusion) -> list[Block]:
    stages = findings.run.stages
    held = span(stages[-1].held_s) if stages else "no time"
    text = f"The controller watched the last percentage for {held}."
    if not findings.snapshots:
        more = "Hourly snapshots (cutover rollout watch --for 24h): not supplied."
        return [Paragraph(text), Paragraph(more, Tone.WARN)]
    first, last = findings.snapshots[0], findings.snapshots[-1]
    good = sum(one.verdict == "GO" for one in findings.snapshots)
    total = len(findings.snapshots)
    text += f" {total} snapshots were taken from {minute(first.at)} to {minute(last.at)} UTC; {good} of them are GO."
    text += f" Together it was watched for {span(conclusion.monitored_s)}."
    shown = choose_snapshots(findings.snapshots)
    if len(shown) < total:
        text += f" The table shows {len(shown)} of them, with those that are not GO first of all."
    return [Paragraph(text), _snapshots(findings, shown)]


def choose_snapshots(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """As many as a table can hold, in their order: those that are not GO, and others evenly."""
    if len(snapshots) <= _MOST_SNAPSHOTS:
        return list(snapshots)
    bad = [one for one in snapshots if one.verdict != "GO"][-_MOST_SNAPSHOTS:]
    good = [one for one in snapshots if one.verdict == "GO"]
    room = _MOST_SNAPSHOTS - len(bad)
    step = math.ceil(len(good) / room) if room else len(good) + 1
    return sorted([*bad, *(good[::step] if room else [])], key=lambda one: one.at)


def _snapshots(findings: Findings, shown: Sequence[Snapshot]) -> Table:
    names = list(dict.fromkeys(result.name for one in shown for result in one.results))
    rows = tuple(_snapshot_row(findings, one, names) for one in shown)
    heads = ("Time (UTC)", "Verdict", *names)
    return Table("Each snapshot, with every check", heads, rows, frozenset(range(2, len(heads))), dense=True)


def _snapshot_row(findings: Findings, one: Snapshot, names: list[str]) -> tuple[Cell, ...]:
    by_name = {result.name: result for result in one.results}
    cells = [Cell(minute(one.at)), Cell(one.verdict, VERDICTS.get(one.verdict, Tone.WARN))]
    for name in names:
        result = by_name.get(name)
        if result is None:
            cells.append(Cell("not judged", Tone.WARN))
            continue
        unit = findings.units.get(name)
        text = "no data" if result.value is None or unit is None else checked(result.value, unit)
        tone = VERDICTS.get(result.verdict, Tone.WARN)
        muted = result.verdict == "HOLD" and not result.required
        cells.append(Cell(text, Tone.MUTED if muted else tone))
    return tuple(cells)


def _earlier(findings: Findings) -> Table:
    rows = tuple(
        (
            Cell(f"Run {run.number}"),
            Cell(moment(run.began)),
            Cell(span(run.ended - run.began)),
            Cell(f"{max((stage.percentage for stage in run.stages), default=0)} %"),
            Cell(run.phase.replace("_", " ")),
            Cell(run.why),
        )
        for run in findings.earlier
    )
    return Table("Earlier runs", ("Run", "Began (UTC)", "Lasted", "Highest", "Ended", "Why"), rows)
