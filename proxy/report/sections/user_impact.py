"""Section 5: what clients saw, what fallbacks spared them, and what people said."""

from collections.abc import Iterator

from proxy.report.conclusions import Conclusion
from proxy.report.document import Block, Cell, Paragraph, Section, Table, Tone
from proxy.report.findings import Findings
from proxy.report.impact import Impact
from proxy.report.wording import NOT_MEASURED, count, moment, share

_OPINIONS = 100


def write_user_impact(findings: Findings, conclusion: Conclusion) -> Section:
    """Write it."""
    impact = conclusion.impact
    blocks: list[Block] = [Table("What users noticed", ("Figure", "Value", "Note"), tuple(_rows(impact)))]
    if impact.fallbacks:
        by_count = sorted(impact.fallbacks.items(), key=lambda item: (-item[1], item[0]))
        served = tuple((Cell(reason), Cell(f"{number:,}")) for reason, number in by_count)
        blocks.append(
            Table("Fallbacks that saved users, by what the target did", ("Reason", "Requests"), served, _SECOND)
        )
    said = [note for note in findings.notes if note.check is not None and note.run == findings.run.number]
    if said:
        rows = tuple(
            (Cell(moment(note.at)), Cell(str(note.check)), Cell(f"{note.value:g}"), Cell(note.text))
            for note in said[-_OPINIONS:]
            if note.value is not None
        )
        blocks.append(
            Table("Feedback entered (times are UTC)", ("When", "Check", "Count", "Text"), rows, frozenset({2}))
        )
    if not impact.complaints:
        blocks.append(Paragraph("User feedback: not supplied; the plan has no manual check for it.", Tone.WARN))
    return Section("User impact", tuple(blocks))


_SECOND = frozenset({1})


def _rows(impact: Impact) -> Iterator[tuple[Cell, ...]]:
    covered = (
        "" if impact.coverage is None else f"counted for {share(impact.coverage)} of the time since the first step"
    )
    yield Cell("Requests answered"), _counted(impact.answered), Cell(covered)
    before = impact.error_ratio_before
    was = "before: not measured" if before is None else f"before: {share(before)}"
    errors = _counted(impact.user_errors, good=impact.user_errors == 0)
    ratio = "" if impact.error_ratio is None else f"{share(impact.error_ratio)} of requests; "
    yield Cell("Client-visible errors (5xx, or broken off)"), errors, Cell(f"{ratio}{was}")
    meant = (
        "" if not impact.meant or impact.saved is None else f"{share(impact.saved / impact.meant)} of {impact.meant:,}"
    )
    yield (
        Cell("Answered by legacy for the target"),
        _counted(impact.saved),
        Cell(f"{meant} meant for it" if meant else ""),
    )
    yield Cell("Failed on both"), _counted(impact.unsaved, good=impact.unsaved == 0), Cell("no answer was left to give")
    for one in impact.complaints:
        if one.value is None:
            yield Cell(one.check), Cell("not supplied", Tone.WARN), Cell("nobody has entered a number")
        else:
            tone = Tone.GOOD if one.value == 0 else Tone.WARN
            yield Cell(one.check), Cell(f"{one.value:g}", tone), Cell(f"in {one.entries} entries, all stages")


def _counted(number: int | None, *, good: bool = True) -> Cell:
    if number is None:
        return Cell(NOT_MEASURED, Tone.WARN)
    return Cell(count(number), Tone.PLAIN if good else Tone.BAD)
