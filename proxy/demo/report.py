"""The end of the demo, for people: what happened in each phase, how fast, and whether it passed."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.demo.display import (
    COVER_STYLE,
    LEGACY_STYLE,
    NO_FIGURE,
    TARGET_STYLE,
    as_ms,
    as_percent,
    as_reasons,
)
from proxy.demo.latency import EPIC_BEFORE_P95_MS
from proxy.demo.stats import LEGACY
from proxy.demo.summary import PhaseSummary, Summary

_LEGEND = (
    "stood in: reads that PostgreSQL answered because the Image Service did not; "
    "share sent: of the reads, to the Image Service first; share in: of the users, with a bucket below the "
    "percentage; p95 in ms; off side: users answered by the wrong source."
)
_ENDS = {"completed": ("completed", "bold green"), "rolled_back": ("rolled back", "bold red")}
_NAMES = {"postgresql": "PostgreSQL", "image_service": "Image Service"}


def added_latency_note(factor: float) -> str:
    """Say what the demo adds to the truth."""
    if factor <= 0:
        return "No latency is added: both sources are as fast as they are on this machine."
    return (
        f"Added by the demo: the legacy API holds its answers back until its p95 is {factor:g} x the plan's "
        '"before" column (get 300, list 400, upload 2500, update 350, delete 300 ms). '
        "Nothing is added to the Image Service or the sidecar; behind it stands moto, a simulation of DynamoDB in "
        "Python, whose time grows with the load of this machine."
    )


def _count(number: int) -> str:
    return str(number) if number else NO_FIGURE


def _phase_row(phase: PhaseSummary) -> list[str | Text]:
    errors, off = phase.client_errors, len(phase.sides.users_off_side)
    return [
        f"{phase.percentage} %",
        phase.title,
        Text(_count(phase.legacy_reads), style=LEGACY_STYLE),
        Text(_count(phase.target_reads), style=TARGET_STYLE),
        Text(_count(phase.covered_reads), style=COVER_STYLE),
        _count(phase.writes),
        as_percent(phase.share),
        as_percent(phase.users_share),
        as_ms(phase.legacy_latency.p95_s),
        as_ms(phase.target_latency.p95_s),
        Text(str(errors), style="bold red" if errors else "green"),
        Text(str(off), style="bold red" if off else "green"),
    ]


def _phases_table(summary: Summary) -> Table:
    table = Table(
        title="Phases",
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column("asked", justify="right")
    table.add_column("phase", no_wrap=True)
    headings = (
        "PostgreSQL\nreads",
        "Image Svc\nreads",
        "stood\nin",
        "\nwrites",
        "share\nsent",
        "share\nin",
        "PostgreSQL\np95",
        "Image Svc\np95",
        "client\nerrors",
        "off\nside",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for phase in summary.phases:
        table.add_row(*_phase_row(phase))
    return table


def _latency_table(summary: Summary) -> Table:
    table = Table(
        title="Latency as clients saw it, ms",
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
    )
    table.add_column("source")
    table.add_column("operation")
    for heading in ("requests", "p50", "p95", "p99"):
        table.add_column(heading, justify="right", min_width=6)
    table.add_column("the plan's p95")
    for row in summary.latencies:
        if row.epic_p95_s is None:
            epic = Text()
        elif row.source == LEGACY:
            unscaled_ms = EPIC_BEFORE_P95_MS[row.operation]
            scaled_ms = unscaled_ms * summary.latency_factor
            padding = f" x {summary.latency_factor:g} = {scaled_ms:.0f}" if row.padded else "  (nothing added here)"
            epic = Text(f"before: {unscaled_ms}{padding}")
        else:
            met = row.measured.p95_s is not None and row.measured.p95_s < row.epic_p95_s
            epic = Text.assemble(
                f"after: < {as_ms(row.epic_p95_s)}  ", ("met", "green") if met else ("not met", "yellow")
            )
        source = Text(_NAMES[row.source], style=LEGACY_STYLE if row.source == LEGACY else TARGET_STYLE)
        figures = row.measured
        table.add_row(
            source,
            row.operation,
            str(row.requests),
            as_ms(figures.p50_s),
            as_ms(figures.p95_s),
            as_ms(figures.p99_s),
            epic,
        )
    return table


def print_report(console: Console, summary: Summary) -> None:
    """Print the summary, the PASS or FAIL line last."""
    console.print()
    console.print(_phases_table(summary))
    console.print(Text(_LEGEND, style="grey62"))
    console.print()
    console.print(_latency_table(summary))
    console.print()
    for line in _rollout_lines(summary):
        console.print(line)
    console.print(Text(f"Legacy stood in for the Image Service: {as_reasons(summary.fallbacks)}"))
    hits = as_percent(summary.cache_hit_ratio)
    same = "the same in both sources" if summary.sources_agree else "NOT the same in both sources"
    console.print(Text(f"CDN hits: {hits}. After the end: {summary.images_compared} images {same}."))
    console.print(Text(added_latency_note(summary.latency_factor)))
    for example in (*summary.error_examples, *(x for phase in summary.phases for x in phase.sides.examples)):
        console.print(Text(f"  {example}", style="red"))
    console.print()
    console.print(_verdict(summary))


def _rollout_lines(summary: Summary) -> Iterator[Text]:
    """What the controller did, each time it was started."""
    if summary.rehearsed is not None:
        done = summary.rehearsed
        yield Text(
            f"Rehearsed with {done.users} test users: on the Image Service after {done.to_target_s:.2f} s, "
            f"back on PostgreSQL after {done.to_legacy_s:.2f} s."
        )
    harmed = summary.harmed
    for number, end in enumerate(summary.rollouts, 1):
        word, style = _ENDS.get(end.phase, (end.phase, ""))
        line = Text.assemble(f"Rollout {number}: ", (word, style))
        if number == harmed and summary.back_s is not None:
            line.append(f" by itself, users on PostgreSQL again {summary.back_s:.1f} s after the Image Service died")
        yield line.append(f": {end.brief}.")


def _verdict(summary: Summary) -> Text:
    if not summary.passed:
        return Text.assemble((" FAIL ", "bold white on red"), " " + "; ".join(summary.failures) + ".")
    said = (
        f" {summary.requests} requests of {summary.users} users in {summary.seconds:.0f} s, "
        "0 errors seen by clients, every user on their side."
    )
    return Text.assemble((" PASS ", "bold white on green4"), said)
