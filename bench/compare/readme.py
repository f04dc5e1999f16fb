"""A table for the README, made from a run's JSON, between two markers."""

from pathlib import Path
from typing import Final

from bench.compare.results import Results
from bench.compare.tables import COST, DASH, IDLE, LARGE, MEMORY, REQUESTS, Column, Table, cell, markdown, target_table

BEGIN: Final = "<!-- bench:begin (made by `python -m bench.compare --readme`; edit nothing here) -->"
END: Final = "<!-- bench:end -->"
COLUMNS: Final[tuple[tuple[str, Column, str], ...]] = (
    ("c64", COST, "CPU µs/request"),
    ("c64", REQUESTS, "requests/s"),
    ("c64", MEMORY, "memory MiB"),
    ("1MiB", LARGE[1], "MB/s, 1 MiB bodies"),
    ("rate", Column("p99_ms", "", 2), "p99 ms at {rate:g}/s"),
    ("idle", IDLE[0], "KiB per idle connection"),
)


class NoMarkers(Exception):
    """The file has no place for the table."""


def snippet(results: Results) -> str:
    """Markers, machine, figures and targets as Markdown."""
    facts, options = results.machine, results.options
    versions = ", ".join(f"{results.labels.get(name, name)} {version}" for name, version in results.versions.items())
    table: Table = [["", *(head.format(**options) for _, _, head in COLUMNS)]]
    for name, label in results.labels.items():
        cells = [_plain(results, scenario, name, column) for scenario, column, _ in COLUMNS]
        if any(each != DASH for each in cells):
            table.append([label, *cells])
    said = (
        f"{results.date}, {facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['pinning']}; "
        f"{options['rounds']} interleaved rounds of {options['seconds']:g} s, medians. {versions}."
    )
    return "\n\n".join([BEGIN, markdown(table), markdown(target_table(results)), said, END])


def write(results: Results, readme: Path) -> None:
    """Put the table between the markers. Raises NoMarkers."""
    text = readme.read_text()
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise NoMarkers(f"{readme} has no markers; put these two lines where the table belongs:\n{BEGIN}\n{END}")
    readme.write_text(before + snippet(results) + after)


def _plain(results: Results, scenario: str, contestant: str, column: Column) -> str:
    flag = " (errors)" if results.errors(scenario, contestant) else ""
    return cell(results, scenario, contestant, Column(column.figure, column.head, column.digits)) + flag
