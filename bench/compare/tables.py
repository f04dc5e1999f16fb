"""Tables of a run's figures: as rows of text, which `report` aligns and `readme` writes as Markdown."""

from dataclasses import dataclass
from typing import Final

from bench.compare.results import Results
from bench.compare.targets import judge


@dataclass(frozen=True, slots=True)
class Column:
    """A figure and how it is written."""

    figure: str
    head: str
    digits: int = 0
    spread: bool = False


COST: Final = Column("cpu_us", "CPU µs/request", 1, spread=True)
REQUESTS: Final = Column("requests_s", "requests/s")
LATENCY: Final = (Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 1), Column("p999_ms", "p99.9 ms", 1))
MEMORY: Final = Column("rss_mib", "memory MiB", 1)
SMALL: Final = (COST, REQUESTS, *LATENCY, MEMORY, Column("cpu_busy", "CPUs used", 2))
LARGE: Final = (
    Column("cpu_us_per_mib", "CPU µs/MiB", 0, spread=True),
    Column("mb_s", "MB/s", 0, spread=True),
    *LATENCY[:2],
    MEMORY,
    Column("cpu_busy", "CPUs used", 2),
)
RATE: Final = (COST, REQUESTS, *LATENCY, Column("late_p99_ms", "generator late p99 ms", 2))
IDLE: Final = (
    Column("kib_each", "KiB each", 2, spread=True),
    Column("connections", "connections"),
    Column("rss_mib", "memory MiB", 1),
)
OUTAGE: Final = (
    Column("requests", "requests"),
    Column("slow", "slower than 100 ms"),
    Column("slow_s", "during s", 2),
    Column("p99_ms", "p99 ms"),
    Column("max_ms", "slowest ms"),
    Column("back_s", "target used again after s", 1),
)
LARGE_SCENARIOS: Final = frozenset({"64KiB", "1MiB", "100MiB"})

Table = list[list[str]]
DASH: Final = "\N{EN DASH}"


def columns(scenario: str) -> tuple[Column, ...]:
    """What is worth showing of a scenario."""
    kinds = {"rate": RATE, "idle": IDLE, "outage": OUTAGE}
    return kinds.get(scenario, LARGE if scenario in LARGE_SCENARIOS else SMALL)


def scenario_table(results: Results, scenario: str) -> Table:
    """A head row and a row for each contestant; who made errors is marked, who was left out has the reason."""
    shown = columns(scenario)
    table = [["", *(column.head for column in shown), "errors"]]
    for name, label in results.labels.items():
        if name in results.rounds.get(scenario, {}):
            errors = results.errors(scenario, name)
            cells = [cell(results, scenario, name, column) for column in shown]
            table.append([label, *cells, f"{errors:g} (!)" if errors else "0"])
        elif reason := results.left_out.get(scenario, {}).get(name):
            table.append([label, f"not measured: {reason}"])
    return table


def cell(results: Results, scenario: str, contestant: str, column: Column) -> str:
    """The median, with the lowest and highest round where the spread matters."""
    values = results.values(scenario, contestant, column.figure)
    median = results.median(scenario, contestant, column.figure)
    if median is None:
        return DASH
    if column.figure == "back_s" and median < 0:
        return "not yet"
    text = f"{median:,.{column.digits}f}"
    if column.spread and len(values) > 1:
        text += f" ({min(values):,.{column.digits}f}{DASH}{max(values):,.{column.digits}f})"
    return text


def target_table(results: Results) -> Table:
    """The targets: what was asked, what was found, met or missed."""
    table = [["target", "bound", "found", "of the rounds", ""]]
    for judged in judge(results):
        found, spread = DASH, DASH
        if judged.ratio is not None:
            median, low, high = judged.ratio
            found, spread = f"{median:.2f}", f"{low:.2f}{DASH}{high:.2f}"
        table.append([judged.target.says, judged.target.bound_text, found, spread, judged.verdict])
    return table


def ratio_table(results: Results) -> Table:
    """CPU per request (per MiB for large bodies) of every contestant as a multiple of cutover's."""
    names = [name for name in results.labels if name != "cutover"]
    table = [["CPU, cutover = 1", *(results.labels[name] for name in names)]]
    for scenario in results.rounds:
        figure = "cpu_us_per_mib" if scenario in LARGE_SCENARIOS else "cpu_us"
        ratios = [results.ratio(scenario, figure, name, "cutover") for name in names]
        if any(ratios):
            row = [f"{ratio[0]:.2f} ({ratio[1]:.2f}{DASH}{ratio[2]:.2f})" if ratio else DASH for ratio in ratios]
            table.append([results.titles[scenario], *row])
    return table


def aligned(table: Table) -> str:
    """For a terminal: first column to the left, the others to the right; a short row's last cell runs on."""
    width = max(map(len, table))
    whole = [row for row in table if len(row) == width]
    widths = [max(len(row[at]) for row in whole) for at in range(width)]
    widths[0] = max(len(row[0]) for row in table)
    lines = []
    for row in table:
        if len(row) < width:
            lines.append(f"{row[0]:<{widths[0]}}  {row[1]}")
        else:
            cells = [f"{row[0]:<{widths[0]}}", *(f"{x:>{w}}" for x, w in zip(row[1:], widths[1:], strict=True))]
            lines.append("  ".join(cells))
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """The same as Markdown."""
    width = max(map(len, table))
    rows = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in table]
    rows.insert(1, f"| --- |{' ---: |' * (width - 1)}")
    return "\n".join(rows)
