"""The whole report, from findings to a document: title, verdict, figures at the top, the seven sections.

Neighbours: `sections` write, `plots` draw, `html` and `markdown` render what is made here.
"""

from collections.abc import Iterable, Iterator

from proxy import __version__
from proxy.report.conclusions import Conclusion, Outcome, conclude
from proxy.report.distribution_plot import draw_distributions
from proxy.report.document import Document, Figure, Tile, Tone
from proxy.report.findings import Findings, Run, Topic
from proxy.report.performance import Result
from proxy.report.plots import draw_latency, draw_percentage, draw_ratios
from proxy.report.sections.issues import write_issues
from proxy.report.sections.lessons import write_lessons
from proxy.report.sections.next_steps import write_next_steps
from proxy.report.sections.performance import write_performance
from proxy.report.sections.summary import TONES, write_summary
from proxy.report.sections.timeline import write_timeline
from proxy.report.sections.user_impact import write_user_impact
from proxy.report.wording import LONGEST_REASON, NOT_MEASURED, NOTHING, count, duration, minute, share, shortened, span
from proxy.rollout.decision import Phase


def compose(findings: Findings) -> Document:
    """Compose it."""
    conclusion = conclude(findings)
    run, names = findings.run, findings.sources
    what = f"{names.legacy} → {names.target}" if names else "legacy → target"
    return Document(
        title=f"Cutover report: {what}",
        subtitle=f"{run.plan}, run {run.number}, {minute(run.began)} to {minute(run.ended)} UTC",
        verdict=_verdict(findings, conclusion),
        tone=TONES[conclusion.outcome],
        tiles=tuple(_tiles(findings, conclusion)),
        sections=(
            write_summary(findings, conclusion),
            write_timeline(findings, conclusion, _drawn(draw_percentage(findings))),
            write_performance(
                findings,
                conclusion,
                _drawn(draw_latency(findings), draw_distributions(findings), draw_ratios(findings)),
            ),
            write_issues(findings),
            write_user_impact(findings, conclusion),
            write_lessons(findings),
            write_next_steps(findings, conclusion),
        ),
        footer=f"Made by cutover {__version__} from the inputs named in section 1. All times are UTC.",
    )


def _drawn(*figures: Figure | None) -> tuple[Figure, ...]:
    return tuple(figure for figure in figures if figure is not None)


def _verdict(findings: Findings, conclusion: Conclusion) -> str:
    text = conclusion.outcome.value
    match conclusion.outcome:
        case Outcome.COMPLETE:
            return text
        case Outcome.RESERVED:
            number = len(conclusion.reservations)
            return f"{text}: {number} {'point is' if number == 1 else 'points are'} open"
        case _:
            to = "to" if conclusion.outcome is Outcome.ROLLED_BACK else "at"
            why = "" if findings.run.why == findings.run.phase else f": {shortened(findings.run.why, LONGEST_REASON)}"
            return f"{text} {to} {findings.run.percentage} %{why}"


def _tiles(findings: Findings, conclusion: Conclusion) -> Iterator[Tile]:
    run, impact = findings.run, conclusion.impact
    moved = [event.at for event in run.events if event.topic in (Topic.STEP, Topic.BACK)]
    since = f"since {minute(moved[-1])}" if moved else "no step has been taken"
    if run.phase == Phase.ABORTED:  # somebody else may have changed it
        since = "as this rollout last put it"
    yield Tile("Users on the target", f"{run.percentage} %", since)
    errors = impact.user_errors
    tone = Tone.WARN if errors is None else Tone.GOOD if errors == 0 else Tone.BAD
    of = "" if impact.answered is None else f"in {impact.answered:,} requests"
    yield Tile("Client-visible errors", count(errors), of, tone)
    yield Tile("Saved by a fallback", count(impact.saved), _share_of_meant(conclusion))
    backs, before = _times_back([run]), _times_back(findings.earlier)
    of = f"and {before} in earlier runs" if before else "automatic or ordered"
    tone = Tone.BAD if backs else Tone.WARN if before else Tone.GOOD
    yield Tile("Rollbacks", str(backs), of, tone)
    rows = conclusion.comparisons
    met = sum(row.result is Result.MET for row in rows)
    tone = Tone.GOOD if met == len(rows) else Tone.WARN
    yield Tile("Latency targets met", f"{met} of {len(rows)}", "95th percentile, per operation", tone)
    get = next((row for row in rows if row.expected.operation == "get"), rows[0])
    was = f"before: {duration(get.before_s)}"
    now = duration(get.after_s) if get.after_s is not None else NOT_MEASURED
    yield Tile(f"p95 of {get.expected.operation}", now, f"{was}; target < {duration(get.expected.target_s)}")
    good = sum(one.verdict == "GO" for one in findings.snapshots)
    looks = (
        f"{good} of {len(findings.snapshots)} hourly snapshots are GO" if findings.snapshots else "no hourly snapshots"
    )
    yield Tile("Watched at the end", span(conclusion.monitored_s), looks)
    took = span(run.ended - run.stages[0].began) if run.stages else NOTHING
    yield Tile("From the first step", took, "to the end of the rollout" if run.is_over else "so far")


def _times_back(runs: Iterable[Run]) -> int:
    return sum(event.topic is Topic.BACK for run in runs for event in run.events)


def _share_of_meant(conclusion: Conclusion) -> str:
    impact = conclusion.impact
    if impact.saved is None or not impact.meant:
        return "legacy answered for the target"
    return f"{share(impact.saved / impact.meant)} of what was meant for the target"
