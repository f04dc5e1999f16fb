"""The figures of a run as SVG. Needs matplotlib, which nothing else does."""

import statistics
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.results import Results

COLOURS: Final = {
    "cutover": "#0f62fe",
    "cutover-bare": "#78a9ff",
    "cutover-pure": "#a6c8ff",
    "nginx": "#2d8a5f",
    "nginx-error-page": "#8fc7ab",
    "haproxy": "#8a5fbf",
    "envoy": "#d9822b",
    "aiohttp": "#8d8d8d",
}
INK: Final = "#262626"
FAINT: Final = "#e5e5e5"
SILENT: Final = "#fdecea"
ERROR: Final = "#da1e28"
ROW_IN: Final = 0.36
WIDTH_IN: Final = 9.6
STYLE: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cutover",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#a8a8a8",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
}


def draw(results: Results, directory: Path, suffix: str = "svg") -> list[Path]:
    """Draw what was measured; returns the files."""
    bars = {
        "cost": ("CPU time per request", "µs", [(x, "cpu_us") for x in ("c1", "c64", "c512")]),
        "bodies": ("Throughput of large bodies", "MB/s", [(x, "mb_s") for x in ("64KiB", "1MiB", "100MiB")]),
        "bodies-cost": ("CPU time per MiB", "µs", [(x, "cpu_us_per_mib") for x in ("64KiB", "1MiB", "100MiB")]),
        "more": (
            "CPU time per request",
            "µs",
            [(x, "cpu_us") for x in ("rate", "tls", "two-workers")],
        ),
        "idle": ("Memory of an idle keep-alive connection", "KiB", [("idle", "kib_each")]),
    }
    written = []
    with mpl.rc_context(STYLE):
        figures = {name: _bars(results, *what) for name, what in bars.items()}
        figures |= {"latency": _latency(results), "outage": _outage(results)}
        for name, figure in figures.items():
            path = directory / f"{name}.{suffix}"
            path.unlink(missing_ok=True)
            if figure is not None:
                figure.savefig(path, metadata={"Date": None} if suffix == "svg" else None, dpi=110)
                written.append(path)
    return written


def _bars(results: Results, title: str, unit: str, panels: list[tuple[str, str]]) -> Figure | None:
    """A panel of horizontal bars for each scenario, with whiskers from the lowest to the highest round."""
    panels = [panel for panel in panels if results.rounds.get(panel[0])]
    if not panels:
        return None
    names = [name for name in results.labels if any(name in results.rounds[scenario] for scenario, _ in panels)]
    figure = Figure(figsize=(WIDTH_IN, ROW_IN * len(names) + 1.15), layout="constrained")
    figure.suptitle(f"{title} ({unit})", x=0.01, ha="left", fontweight="bold", fontsize=12.5)
    row_of_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for at, (axes, (scenario, key)) in enumerate(zip(row_of_axes, panels, strict=True)):
        top = max(max(results.values(scenario, name, key), default=0.0) for name in names)
        for row, name in enumerate(names):
            _bar(axes, row, results.values(scenario, name, key), COLOURS.get(name, INK), top)
        axes.set_title(results.titles[scenario], fontsize=10)
        axes.set_yticks(range(len(names)), [results.labels[name] for name in names] if not at else [""] * len(names))
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, top * 1.28)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        axes.grid(axis="x", color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
    return figure


def _bar(axes: Axes, row: int, values: list[float], colour: str, top: float) -> None:
    if not values:
        axes.text(top * 0.01, row, "not measured", va="center", color="#a8a8a8", fontsize=9)
        return
    low, median, high = min(values), statistics.median(values), max(values)
    axes.barh(row, median, height=0.62, color=colour)
    if len(values) > 1:
        axes.errorbar(median, row, xerr=[[median - low], [high - median]], color=INK, linewidth=0.9, capsize=2.5)
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    axes.text(high + top * 0.025, row, f"{median:,.{digits}f}", va="center", fontsize=9)


def _latency(results: Results) -> Figure | None:
    """Percentiles at the fixed rate, on a logarithmic axis."""
    names = [name for name in results.labels if name in results.rounds.get("rate", {})]
    if not names:
        return None
    figure = Figure(figsize=(WIDTH_IN, ROW_IN * len(names) + 1.3), layout="constrained")
    rate = results.options["rate"]
    figure.suptitle(
        f"Latency at {rate:,.0f} requests/s, open model (ms, logarithmic)", x=0.01, ha="left", fontweight="bold"
    )
    axes = figure.add_subplot()
    for row, name in enumerate(names):
        points = [results.median("rate", name, key) or 0.0 for key in ("p50_ms", "p99_ms", "p999_ms")]
        axes.plot(points, [row] * len(points), color=COLOURS[name], linewidth=2, alpha=0.35, zorder=1)
        for marker, point in zip("os^", points, strict=True):
            axes.scatter(point, row, marker=marker, s=52, color=COLOURS[name], zorder=2)
            axes.annotate(f"{point:.2g}", (point, row), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    for marker, label in zip("os^", ("p50", "p99", "p99.9"), strict=True):
        axes.scatter([], [], marker=marker, s=45, color="#6f6f6f", label=label)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 1.19), ncols=3, frameon=False, handletextpad=0.2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(names)), [results.labels[name] for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    return figure


def _outage(results: Results) -> Figure | None:
    """A line of time for each contestant: what its clients waited, and what they got."""
    lines = {name: results.time_lines[name] for name in results.labels if name in results.time_lines}
    if not lines:
        return None
    well, silent, _ = results.options["outage_s"]
    figure = Figure(figsize=(WIDTH_IN, 1.35 * len(lines) + 1.1), layout="constrained")
    figure.suptitle(
        f"The target falls silent: what clients wait (ms), {results.options['outage_rate']:g} requests/s arriving",
        x=0.01,
        ha="left",
        fontweight="bold",
    )
    most = max(point[2] for line in lines.values() for point in line)
    panels = figure.subplots(len(lines), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, line) in zip(panels, lines.items(), strict=True):
        seconds, median, slowest = ([point[at] for point in line] for at in (0, 1, 2))
        axes.axvspan(well, well + silent, color=SILENT, zorder=0)
        axes.fill_between(seconds, slowest, step="post", color=COLOURS[name], alpha=0.22, label="slowest")
        axes.step(seconds, median, where="post", color=COLOURS[name], linewidth=1.8, label="median")
        legacy = [most * 1.12 if point[4] > 0.5 else None for point in line]
        axes.plot(seconds, legacy, color="#6f6f6f", linewidth=3, solid_capstyle="butt", label="mostly legacy answers")
        wrong = [point[0] for point in line if point[3]]
        if wrong:
            axes.scatter(wrong, [most * 0.55] * len(wrong), marker="x", s=28, color=ERROR, label="errors", zorder=3)
        errors = int(results.errors("outage", name))
        axes.set_title(f"{results.labels[name]}: {errors} errors" if errors else f"{results.labels[name]}: no errors")
        axes.set_ylim(0, most * 1.22)
        axes.set_xlim(0, seconds[-1] + 0.25)
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
    panels[0].text(well + silent - 0.08, most * 0.08, "target silent", ha="right", color="#a2565a", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=len(labels), frameon=False, fontsize=9)
    panels[-1].set_xlabel("seconds", loc="left")
    return figure
