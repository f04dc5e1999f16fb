"""What a person sees while it runs: one line with rate and time left, on a terminal only; and the metrics.

Neighbours: `migrate` and `repair` call it as a `Watcher`, `verify` and `verify_http` as an `Onlooker`.
"""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from proxy.migration.checkpoint import Counts
from proxy.migration.findings import Findings, Kind
from proxy.migration.table import Traffic
from proxy.telemetry.migration import MigrationMetrics, VerificationMetrics


class Line:
    """A progress bar on standard error; nothing where that is no terminal."""

    def __init__(self, what: str, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(what, total=None, rate="", note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __repr__(self) -> str:
        return f"<Line {self._progress.tasks[0].completed:.0f}>"

    def begin(self, total: float, done: float) -> None:
        """There are about `total`, `done` of them already."""
        self._progress.update(self._task, total=max(total, done) or None, completed=done)
        self._progress.reset(self._task, total=max(total, done) or None, completed=int(done))

    def show(self, done: float, note: str) -> None:
        """Where it stands."""
        task: Any = self._progress.tasks[0]
        total = None if task.total is None else max(task.total, done)  # the total is PostgreSQL's estimate
        rate = f"{task.speed:,.0f}/s" if task.speed else ""
        self._progress.update(self._task, completed=done, total=total, rate=rate, note=note)


class Watching:
    """A `Watcher` that shows a line and keeps the metrics."""

    def __init__(self, line: Line, metrics: MigrationMetrics) -> None:
        self._line = line
        self._metrics = metrics

    def __repr__(self) -> str:
        return f"<Watching {self._line!r}>"

    def begin(self, rows: float, before: Counts) -> None:
        """There are about so many rows, and so much was done by runs before."""
        self._metrics.expect(rows)
        self._line.begin(rows, before.read)

    def page(self, counts: Counts, traffic: Traffic) -> None:
        """A page is done; the totals up to now."""
        totals = {name: float(getattr(counts, name)) for name in counts.__slots__}
        self._metrics.totals({**totals, "throttles": traffic.throttles, "retries": traffic.retries})
        notes = [(counts.rejected, "rejected"), (traffic.throttles, "throttled")]
        self._line.show(counts.read, ", ".join(f"{number:,} {what}" for number, what in notes if number))


class Comparing:
    """Shows a verification: a line and the metrics."""

    def __init__(self, line: Line, metrics: VerificationMetrics) -> None:
        self._line = line
        self._metrics = metrics
        self._before: dict[str, int] = {}
        self._doubts = 0

    def __repr__(self) -> str:
        return f"<Comparing {self._line!r}>"

    def begin(self, total: float) -> None:
        """There are about so many to compare."""
        self._line.begin(total, 0.0)

    def compared(self, findings: Findings) -> None:
        """The figures up to now."""
        totals = {"compared": findings.compared, **{kind.value: findings.counts[kind] for kind in Kind}}
        for name, total in totals.items():
            self._metrics.count(name, max(0, total - self._before.get(name, 0)))
        self._before = totals
        notes = [(findings.mismatches, "not the same"), (self._doubts, "to be read again")]
        self._line.show(findings.compared, ", ".join(f"{number:,} {what}" for number, what in notes if number))

    def doubted(self, number: int) -> None:
        """So many are to be read again."""
        self._doubts = number
        self._metrics.doubted(number)
