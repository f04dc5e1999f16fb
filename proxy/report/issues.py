"""What went wrong, or was done by hand: everything that a reader must know of, in order of time. Pure.

Neighbours: `run_story` has found what the controller and people did; bursts, breaker trips and rejected
configurations are found here in what was measured. `sections.issues` tells.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import Final

from proxy.report.figures import Measurement
from proxy.report.findings import Event, Findings, Snapshot, Topic
from proxy.report.wording import share, things

BURST_RATIO: Final = 0.01
BURST_LEAST: Final = 10
BURST_DEFINITION: Final = (
    f"A fallback burst is an unbroken row of measured intervals in each of which legacy answered at least"
    f" {BURST_LEAST} requests for the target, and more than {BURST_RATIO * 100:g} % of those meant for it."
)

ISSUES: Final = frozenset(
    {
        Topic.NO_GO,
        Topic.FAILING,
        Topic.BURST,
        Topic.BREAKER,
        Topic.REJECTED,
        Topic.PAUSED,
        Topic.ABORTED,
        Topic.OVERRIDE,
        Topic.REFUSED,
        Topic.FAILED_STEP,
        Topic.UNSEEN,
        Topic.RESUMED,
        Topic.MONITORING,
    }
)


def find_issues(findings: Findings) -> tuple[Event, ...]:
    """All of them, in order of time; those of the journal's earlier runs too, as far as their events tell."""
    told = [event for event in findings.run.events if event.topic in ISSUES]
    before = [
        replace(event, text=f"Run {run.number}: {event.text}")
        for run in findings.earlier
        for event in run.events
        if event.topic in ISSUES
    ]
    found = [*before, *told, *_bursts(findings.measured), *_counted(findings.measured), *_monitored(findings)]
    return tuple(sorted(found, key=lambda event: (event.at, event.topic.value)))


def is_burst(one: Measurement) -> bool:
    """Whether an interval is part of a burst."""
    stood_in = one.stood_in
    if stood_in is None or not one.meant:
        return False
    return stood_in >= BURST_LEAST and stood_in / one.meant > BURST_RATIO


def _bursts(measured: Iterable[Measurement]) -> list[Event]:
    rows: list[list[Measurement]] = []
    last_was = False
    for one in measured:
        if is_burst(one):
            if last_was and one.began <= rows[-1][-1].ended:
                rows[-1].append(one)
            else:
                rows.append([one])
            last_was = True
        else:
            last_was = False
    return [_burst(row) for row in rows]


def _burst(row: list[Measurement]) -> Event:
    stood_in = sum(one.stood_in or 0 for one in row)
    meant = sum(one.meant or 0 for one in row)
    reasons: dict[str, int] = {}
    for one in row:
        for reason, count in (one.fallbacks or {}).items():
            reasons[reason] = reasons.get(reason, 0) + count
    most = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items(), key=lambda it: (-it[1], it[0])))
    text = (
        f"Legacy answered {stood_in:,} of {meant:,} requests meant for the target ({share(stood_in / meant)}): {most}"
    )
    return Event(row[0].began, Topic.BURST, text, row[-1].ended)


def _counted(measured: Iterable[Measurement]) -> list[Event]:
    events = []
    for one in measured:
        if one.breaker_trips:
            times = "once" if one.breaker_trips == 1 else f"{one.breaker_trips} times"
            events.append(Event(one.began, Topic.BREAKER, f"The target's circuit breaker opened {times}", one.ended))
        if one.rejected_configs:
            text = (
                f"{things(one.rejected_configs, 'invalid configuration')} rejected; the last good one stayed in force"
            )
            events.append(Event(one.began, Topic.REJECTED, text, one.ended))
    return events


def _monitored(findings: Findings) -> list[Event]:
    """Snapshots in a row with the same verdict are one issue, told in the words of the last."""
    events = []
    for verdict, group in groupby(findings.snapshots, key=lambda one: one.verdict):
        row: list[Snapshot] = list(group)
        if verdict != "GO":
            looks = f"{things(len(row), 'hourly snapshot')} {verdict}"
            events.append(Event(row[0].at, Topic.MONITORING, f"{looks}; the last: {row[-1].why}", row[-1].at))
    return events
