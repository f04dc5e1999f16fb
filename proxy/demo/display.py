"""What the person in front of the demo sees while it runs: a live table on a terminal, a line a second elsewhere.

Must not decide anything. Neighbours: `story` hands over a `Scene` twice a second; `report` shows the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from proxy.demo.sidecar import Gate
from proxy.demo.stats import (
    Quantiles,
    Record,
    cache_hit_ratio,
    cover_reasons,
    covered_by_legacy,
    is_legacy_read,
    is_target_read,
    is_write,
    quantiles,
)

NO_FIGURE: Final = "·"
LEGACY_STYLE: Final = "dodger_blue2"
TARGET_STYLE: Final = "green3"
COVER_STYLE: Final = "dark_orange"
VERDICT_STYLES: Final = {"GO": "green3", "HOLD": "yellow3", "NO_GO": "bold red"}
_WINDOW_S: Final = 2.0
_BAR_CELLS: Final = 32  # with its labels, fits 80 columns
_TARGET_CELL: Final = "━"
_EVENT_LINES: Final = 8

ROWS: Final[tuple[tuple[str, str, Callable[[Record], bool]], ...]] = (
    ("PostgreSQL, reads", LEGACY_STYLE, is_legacy_read),
    ("Image Service, reads", TARGET_STYLE, is_target_read),
    ("PostgreSQL, stood in", COVER_STYLE, covered_by_legacy),
    ("PostgreSQL, writes", "grey62", is_write),
)
"""Who answered: each request is in exactly one row, but for those that got no answer at all."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of the story. Times are seconds; `clock_s` counts from its beginning."""

    title: str
    percentage: int
    elapsed_s: float
    length_s: float
    now_s: float
    clock_s: float
    phase_records: Sequence[Record]
    records: Sequence[Record]
    users_off_side: int
    gate: Gate | None = None

    @property
    def recent(self) -> list[Record]:
        """The requests that ended in the last two seconds (or since the phase began)."""
        return [record for record in self.phase_records if record.ended_s > self.now_s - _WINDOW_S]

    @property
    def window_s(self) -> float:
        """The time `recent` covers."""
        return max(0.1, min(_WINDOW_S, self.elapsed_s))

    @property
    def client_errors(self) -> int:
        """Errors that clients have seen since the beginning."""
        return sum(record.error is not None for record in self.records)


class Display(Protocol):
    """A screen, or a log."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen as it is."""

    def event(self, clock_s: float, text: str) -> None:
        """Something was done."""

    def show(self, scene: Scene) -> None:
        """Time has passed."""


def as_ms(seconds: float | None) -> str:
    """Format a latency: milliseconds, with a decimal where it matters."""
    if seconds is None:
        return NO_FIGURE
    milliseconds = seconds * 1000
    return f"{milliseconds:.1f}" if milliseconds < 10 else f"{milliseconds:.0f}"


def as_percent(value: float | None) -> str:
    """Format a ratio."""
    return NO_FIGURE if value is None else f"{value * 100:.0f} %"


def as_clock(seconds: float) -> str:
    """Format a time of the story: `01:07`."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def as_reasons(reasons: dict[str, int]) -> str:
    """Format counts by reason."""
    return " · ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none"


def _bar(scene: Scene) -> Text:
    """Draw who answers reads at the moment: legacy from the left, the target up to the right."""
    reads = [record for record in scene.recent if record.split and record.source is not None]
    bar = Text("  reads now   PostgreSQL ")
    if not reads:
        return bar.append(_TARGET_CELL * _BAR_CELLS, style="grey23").append(" Image Service")
    legacy = round(_BAR_CELLS * sum(map(is_legacy_read, reads)) / len(reads))
    covered = round(_BAR_CELLS * sum(map(covered_by_legacy, reads)) / len(reads))
    bar.append("█" * legacy, style=LEGACY_STYLE)
    bar.append("▒" * covered, style=COVER_STYLE)
    bar.append(_TARGET_CELL * max(0, _BAR_CELLS - legacy - covered), style=TARGET_STYLE)
    return bar.append(f" Image Service {as_percent(sum(map(is_target_read, reads)) / len(reads))}")


def _table(scene: Scene) -> Table:
    table = Table(expand=True, box=None, padding=(0, 1), header_style="bold")
    table.add_column("who answered, in this phase")
    for heading in ("requests", "now /s", "p50 ms", "p95 ms", "p99 ms", "errors"):
        table.add_column(heading, justify="right", min_width=7)
    recent = scene.recent
    for name, style, which in ROWS:
        own = [record for record in scene.phase_records if which(record)]
        figures: Quantiles = quantiles(own)
        errors = sum(record.error is not None for record in own)
        now = sum(map(which, recent)) / scene.window_s
        table.add_row(
            Text(name, style=style if own else "grey42"),
            str(len(own)) if own else NO_FIGURE,
            f"{now:.0f}" if now else NO_FIGURE,
            as_ms(figures.p50_s),
            as_ms(figures.p95_s),
            as_ms(figures.p99_s),
            Text(str(errors), style="bold red" if errors else "grey42"),
        )
    return table


def _gate_line(gate: Gate | None) -> Text:
    """What the controller says: its phase, and each check in the colour of its verdict."""
    if gate is None:
        return Text("  rollout     not started")
    line = Text.assemble("  rollout     ", (gate.phase.replace("_", " "), "bold"), "   ")
    for number, (name, verdict) in enumerate(gate.checks):
        line.append(f"{' · ' if number else ''}{name} ", style="grey62")
        line.append(verdict, style=VERDICT_STYLES.get(verdict, ""))
    return line


class TerminalDisplay:
    """A live picture for a terminal."""

    def __init__(self, console: Console, heading: str) -> None:
        self._console = console
        self._heading = heading
        self._events: list[str] = []
        self._scene: Scene | None = None
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def event(self, clock_s: float, text: str) -> None:
        """Add a line to the log under the table."""
        self._events.append(f"{as_clock(clock_s)}  {text}")
        if self._scene is not None:
            self.show(self._scene)

    def show(self, scene: Scene) -> None:
        """Draw the scene."""
        self._scene = scene
        self._live.update(Panel(self._picture(scene), title=self._heading, border_style="grey50"))

    def _picture(self, scene: Scene) -> Group:
        phase = Text.assemble(
            (f" {scene.percentage:>3} % ", "bold reverse"),
            ("  " + scene.title, "bold"),
            f"   for {scene.elapsed_s:.0f} s, at least {scene.length_s:.0f} s",
        )
        errors, off = scene.client_errors, scene.users_off_side
        verdict = Text.assemble(
            "  errors seen by clients ",
            (str(errors), "bold green" if not errors else "bold red"),
            "    users off their side ",
            (str(off), "bold green" if not off else "bold red"),
            f"    requests {len(scene.records)}",
            f"    CDN hits {as_percent(cache_hit_ratio(scene.phase_records))}",
        )
        fallbacks = Text(f"  legacy stood in   {as_reasons(cover_reasons(scene.records))}")
        log = [Text(f"  {line}", style="grey62") for line in self._events[-_EVENT_LINES:]]
        log += [Text()] * (_EVENT_LINES - len(log))
        blank = Text()
        gate = _gate_line(scene.gate)
        return Group(phase, blank, _bar(scene), gate, blank, _table(scene), blank, fallbacks, verdict, blank, *log)


class LineDisplay:
    """A line a second, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def event(self, clock_s: float, text: str) -> None:
        """Print what was done."""
        self._line(f"{as_clock(clock_s)}  ==  {text}")

    def show(self, scene: Scene) -> None:
        """Print one line, if the last one is a second old."""
        if scene.clock_s < self._next_s:
            return
        self._next_s = scene.clock_s + 0.9
        recent = scene.recent
        parts = [f"{as_clock(scene.clock_s)}  {scene.percentage:>3} %  {len(recent) / scene.window_s:>4.0f} req/s"]
        for name, which in (("postgresql", is_legacy_read), ("image_service", is_target_read)):
            own = [record for record in recent if which(record)]
            parts.append(f"{name} {len(own) / scene.window_s:>3.0f}/s p95 {as_ms(quantiles(own).p95_s):>4} ms")
        parts.append(f"stood in {sum(map(covered_by_legacy, recent)) / scene.window_s:>3.0f}/s")
        if scene.gate is not None:
            parts.append(f"{scene.gate.phase} {scene.gate.verdict}")
        parts.append(f"client errors {scene.client_errors}  off side {scene.users_off_side}")
        self._line("  ".join(parts))

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def open_display(console: Console, heading: str) -> TerminalDisplay | LineDisplay:
    """Return the display that fits the console."""
    return TerminalDisplay(console, heading) if console.is_terminal else LineDisplay(console)
