"""Section 3: latency before and after, per operation, against the targets; and every check at every stage."""

from proxy.report.conclusions import Conclusion
from proxy.report.document import Block, Cell, Figure, Paragraph, Section, Table, Tone
from proxy.report.figures import Counts
from proxy.report.findings import CheckResult, Findings, Stage
from proxy.report.performance import CONFIDENCE, Comparison, Result
from proxy.report.sections.timeline import VERDICTS
from proxy.report.wording import NOT_MEASURED, NOTHING, checked, duration, minute, span

_TONES = {
    Result.MET: Tone.GOOD,
    Result.MISSED: Tone.BAD,
    Result.UNSURE: Tone.WARN,
    Result.NOT_MOVED: Tone.WARN,
    Result.NOT_MEASURED: Tone.WARN,
}


def write_performance(findings: Findings, conclusion: Conclusion, figures: tuple[Figure, ...]) -> Section:
    """Write it. `figures` are the plots that belong here."""
    blocks: list[Block] = [_comparison(conclusion), Paragraph(_explained(findings)), *figures]
    if any(stage.results for stage in findings.run.stages):
        blocks.append(_checks(findings))
    else:
        blocks.append(Paragraph("No check has been judged.", Tone.WARN))
    return Section("Performance metrics", tuple(blocks))


def _comparison(conclusion: Conclusion) -> Table:
    heads = (
        "Operation",
        "Before, planned",
        "Before, measured",
        "Target",
        "After, measured",
        "Improvement",
        "Result",
    )
    rows = tuple(_row(row) for row in conclusion.comparisons)
    return Table("95th percentile of latency, per operation", heads, rows, frozenset(range(1, 6)))


def _row(row: Comparison) -> tuple[Cell, ...]:
    expected, gain = row.expected, row.improvement
    if gain is None:
        improvement = Cell(NOTHING, Tone.MUTED)
    else:
        faster = f"{abs(gain[0]) * 100:.0f} % {'faster' if gain[0] >= 0 else 'slower'}"
        basis = "" if gain[1] == "measured" else " than planned"
        improvement = Cell(f"{faster}{basis}", Tone.PLAIN if gain[0] >= 0 else Tone.BAD)
    return (
        Cell(expected.operation),
        Cell(duration(expected.before_s) if expected.before_s is not None else NOTHING),
        _measured(row.before_s, row.before),
        Cell(f"< {duration(expected.target_s)}"),
        _measured(row.after_s, row.after),
        improvement,
        Cell(f"{row.result}: {row.why}", _TONES[row.result]),
    )


def _measured(seconds: float | None, counts: Counts | None) -> Cell:
    if seconds is None or counts is None:
        return Cell(NOT_MEASURED, Tone.MUTED)
    return Cell(f"{duration(seconds)} (n = {counts.timed:,})")


def _explained(findings: Findings) -> str:
    before, after = findings.baseline, findings.after
    texts = []
    if before is None:
        texts.append("No baseline was measured before the first step.")
    else:
        texts.append(f"Before: legacy, {findings.baseline_text}.")
    if not after:
        texts.append("Nothing was measured on the target at the last percentage.")
    else:
        seconds = sum(one.seconds for one in after)
        texts.append(f"After: the target at the last percentage, {span(seconds)} up to {minute(after[-1].ended)} UTC.")
    texts.append(
        f"A target is met when the share of attempts within it is above 95 % with {CONFIDENCE * 100:g} % confidence;"
        " the percentiles shown are interpolated within the histogram's buckets."
    )
    return " ".join(texts)


def _checks(findings: Findings) -> Table:
    stages = [stage for stage in findings.run.stages if stage.results]
    names = list(dict.fromkeys(result.name for stage in stages for result in stage.results))
    heads = ("Check", "Bound", *(f"At {stage.percentage} %" for stage in stages))
    rows = tuple(
        (Cell(name), Cell(_bound(findings, name, stages)), *(_result(findings, name, stage) for stage in stages))
        for name in names
    )
    return Table("Every check, as last judged in each stage", heads, rows)


def _bound(findings: Findings, name: str, stages: list[Stage]) -> str:
    bound = next((result.bound for stage in stages for result in stage.results if result.name == name), None)
    unit = findings.units.get(name)
    return NOTHING if bound is None or unit is None else checked(bound, unit)


def _result(findings: Findings, name: str, stage: Stage) -> Cell:
    result = next((one for one in stage.results if one.name == name), None)
    if result is None:
        return Cell("not judged", Tone.WARN)
    if result.verdict == "NO_GO" and result.value is None:
        return Cell(f"NO_GO: {result.why}", Tone.BAD)
    text = f"{result.verdict}, {_value(findings, result)}"
    if name in stage.overrides:
        return Cell(f"{text}; overridden: {stage.overrides[name]}", Tone.WARN)
    if result.verdict == "GO":
        return Cell(text, Tone.GOOD)
    optional = "" if result.required else " (not required)"
    return Cell(f"{text}{optional}: {result.why}", VERDICTS.get(result.verdict, Tone.WARN))


def _value(findings: Findings, result: CheckResult) -> str:
    unit = findings.units.get(result.name)
    return "no data" if unit is None else checked(result.value, unit)
