"""Section 4: everything that went wrong or was done by hand, with its times."""

from proxy.report.document import Block, Cell, Paragraph, Section, Table, Tone
from proxy.report.findings import Findings, Topic
from proxy.report.issues import BURST_DEFINITION, find_issues
from proxy.report.wording import moment, span

_BAD = frozenset({Topic.NO_GO, Topic.ABORTED, Topic.FAILED_STEP})


def write_issues(findings: Findings) -> Section:
    """Write it."""
    issues = find_issues(findings)
    blocks: list[Block] = []
    if issues:
        rows = tuple(
            (
                Cell(moment(event.at)),
                Cell("" if event.until is None or event.until <= event.at else span(event.until - event.at)),
                Cell(event.topic.value, Tone.BAD if event.topic in _BAD else Tone.WARN),
                Cell(event.text),
            )
            for event in issues
        )
        blocks.append(Table("Issues (times are UTC)", ("When", "Lasted", "Kind", "What"), rows))
    else:
        blocks.append(Paragraph("None was found in what was supplied."))
    blocks += [Paragraph(BURST_DEFINITION), *(Paragraph(text, Tone.WARN) for text in _unseen(findings))]
    return Section("Issues encountered", tuple(blocks))


def _unseen(findings: Findings) -> list[str]:
    """Which kinds of issues could not have been found."""
    measured = findings.measured
    lacking = []
    if not any(one.fallbacks is not None for one in measured):
        lacking.append("fallback bursts")
    if not any(one.breaker_trips is not None for one in measured):
        lacking.append("breaker trips")
    if not any(one.rejected_configs is not None for one in measured):
        lacking.append("rejected configurations")
    if not lacking:
        return []
    return [f"Not supplied, so nothing can be said of them: {', '.join(lacking)}."]
