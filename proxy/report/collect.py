"""Puts the inputs together: from a journal's facts, and Prometheus' where there are any, to findings. Pure.

The journal counts exactly and comes first; Prometheus fills the time in which the journal counted nothing. What
neither has is named. Neighbours: `reading` and `prometheus` have read, `composition` tells.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxy.report.figures import Measurement, add_up, of_source
from proxy.report.findings import Findings, Origin, Run, Sources
from proxy.report.impact import covered_share
from proxy.report.measured import Record
from proxy.report.proof import Proof
from proxy.report.reading import JournalFacts
from proxy.report.wording import listed, minute, share, span, things
from proxy.rollout.decision import Phase

_OVERLAP_S: Final = 1.0  # clocks are read a moment after each other


@dataclass(frozen=True, slots=True)
class Asked:
    """What Prometheus said: figures of before the first step, and interval by interval since then.

    `problem` says why it had nothing to say.
    """

    place: str
    sources: Sources | None
    before: Measurement | None
    before_text: str
    measured: tuple[Measurement, ...] = ()
    problem: str = ""


def assemble(path: Path, facts: JournalFacts, asked: Asked | None, proofs: Sequence[Proof] = ()) -> Findings:
    """The findings about the newest run."""
    run = facts.runs[-1]
    records = [record for record in facts.measured if record.run == run.number]
    ours = [record.measurement for record in records if not record.found and record.stage > 0]
    filled = _filling(ours, asked.measured if asked else ())
    baseline, text = _baseline(records, asked)
    sources = records[-1].sources if records else asked.sources if asked else None
    findings = Findings(
        journal=path.name,
        run=run,
        earlier=tuple(facts.runs[:-1]),
        sources=sources,
        baseline=baseline,
        baseline_text=text,
        measured=tuple(sorted([*ours, *filled], key=lambda one: one.began)),
        after=tuple(_after(run, records, filled)),
        rehearsals=tuple(facts.rehearsals),
        snapshots=tuple(one for one in facts.snapshots if one.run == run.number),
        notes=tuple(facts.notes),
        units=dict(facts.units),
        origins=(),
        proofs=tuple(proofs),
    )
    return _with_origins(findings, len(ours), len(filled), asked)


def _baseline(records: Iterable[Record], asked: Asked | None) -> tuple[Measurement | None, str]:
    """What legacy did before the first step: as found, and while it waited; else what Prometheus remembers."""
    parts = [record for record in records if record.found or record.stage == 0]
    before = add_up(record.measurement for record in parts)
    if before is not None and of_source(before, parts[0].sources.legacy).attempts:
        return before, f"all that the sidecars had counted up to {minute(before.ended)} UTC"
    if asked is not None and asked.before is not None:
        return asked.before, asked.before_text
    return None, ""


def _after(run: Run, records: Iterable[Record], filled: Iterable[Measurement]) -> Iterator[Measurement]:
    """What was measured at the last stage's percentage, settled, and since then."""
    if not run.stages:
        return
    stage = run.stages[-1]
    for record in records:
        settled = record.phase != Phase.SETTLING and not record.found
        if settled and record.stage == stage.number and record.measurement.percentage == stage.percentage:
            yield record.measurement
    end = stage.ended if stage.outcome in ("NO_GO", "aborted") else None
    for one in filled:
        if one.began >= stage.began and (end is None or one.ended <= end):
            yield one


def _filling(ours: Sequence[Measurement], theirs: Iterable[Measurement]) -> list[Measurement]:
    """Those of `theirs` in whose time nothing of `ours` was counted."""
    return [
        one
        for one in theirs
        if not any(our.began < one.ended - _OVERLAP_S and one.began < our.ended - _OVERLAP_S for our in ours)
    ]


def _with_origins(findings: Findings, ours: int, filled: int, asked: Asked | None) -> Findings:
    return replace(findings, origins=tuple(_origins(findings, ours, filled, asked)))


def _origins(findings: Findings, ours: int, filled: int, asked: Asked | None) -> Iterator[Origin]:
    run, snapshots = findings.run, findings.snapshots
    text = f"{findings.journal}: run {run.number}, {minute(run.began)} to {minute(run.ended)} UTC"
    yield Origin("Rollout journal", supplied=True, text=text)
    if ours:
        text = f"{things(ours, 'record')} in the journal"
    else:
        text = "the journal holds no figures (an older cutover wrote it, or nothing could be read)"
    if filled:
        text += f"; {things(filled, 'interval')} filled from Prometheus"
    covered = covered_share(findings)
    if covered is not None:
        text += f"; together {share(covered)} of the time since the first step"
    yield Origin("Figures of the sources", supplied=bool(findings.measured), text=text)
    text = findings.baseline_text or "nothing was counted on legacy before the first step"
    yield Origin("Figures of before the first step", supplied=findings.baseline is not None, text=text)
    if asked is None:
        text = "not asked (--prometheus URL)"
    else:
        text = f"{asked.place}: {asked.problem or 'its counters at the ends of each interval'}"
    supplied = asked is not None and not asked.problem
    yield Origin("Prometheus", supplied=supplied, text=text, needed=asked is not None or not ours)
    good = [one for one in findings.rehearsals if one.ok]
    text = f"{things(len(findings.rehearsals), 'rehearsal')}, {len(good)} there and back" if findings.rehearsals else ""
    yield Origin("Rehearsal", supplied=bool(good), text=text or "cutover rollout rehearse")
    if snapshots:
        text = (
            f"{len(snapshots)} over {span(snapshots[-1].at - snapshots[0].at)}, the last at {minute(snapshots[-1].at)}"
        )
    else:
        text = "cutover rollout watch --for 24h"
    yield Origin(
        "Hourly snapshots after the last step", supplied=bool(snapshots), text=text, needed=run.phase == Phase.COMPLETED
    )
    said = {note.check for note in findings.notes if note.check and note.run == run.number}
    silent = [check for check in run.manual if check not in said]
    if not run.manual:
        text = "the plan has no manual check"
    elif silent:
        text = f"nobody has entered: {listed(silent)}"
    else:
        text = f"entered: {listed(run.manual)}"
    yield Origin("User feedback", supplied=bool(run.manual) and not silent, text=text)
    words = sum(note.check is None for note in findings.notes)
    text = things(words, "note") if words else 'cutover rollout note "lesson: …"'
    yield Origin("Lessons learned", supplied=bool(words), text=text)
    text = "; ".join(map(told, findings.proofs)) or "cutover verify --report FILE, and here --verify FILE"
    yield Origin("Proof of the migrated data", supplied=bool(findings.proofs), text=text, needed=False)


def told(proof: Proof) -> str:
    """What a comparison found, and when."""
    counts = {"missing": proof.missing, "extra": proof.extra, "different": proof.different}
    bad = listed(f"{count:,} {word}" for word, count in counts.items() if count)
    found = (
        f"{things(proof.compared, 'item')} compared, {bad or 'no mismatch' if proof.compared else 'so nothing shown'}"
    )
    return f"{proof.name} of {minute(proof.written)} UTC: {found}"
