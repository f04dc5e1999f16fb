"""How the times of attempts were spread, before on legacy and after on the target: cumulative, per operation.

Neighbours: `canvas` has the look, `performance` what is compared, `composition` places it.
"""

from typing import Final

from matplotlib.figure import Figure as Canvas

from proxy.report.canvas import (
    BOUND_LINE,
    LEGACY_LINE,
    TARGET_LINE,
    draw,
    finished,
    label_values,
    legend,
    logarithmic,
)
from proxy.report.document import Figure
from proxy.report.figures import Counts
from proxy.report.findings import Findings
from proxy.report.performance import compare
from proxy.report.wording import listed, shortened
from proxy.telemetry.histogram import BOUNDS

_COLUMNS: Final = 3
_MOST_OPERATIONS: Final = 6


def draw_distributions(findings: Findings) -> Figure | None:
    """Cumulative distributions of times, before on legacy and after on the target."""
    rows = [row for row in compare(findings) if _timed(row.before) or _timed(row.after)][:_MOST_OPERATIONS]
    names = findings.sources
    if not rows or names is None:
        return None
    lines = -(-len(rows) // _COLUMNS)

    def paint(canvas: Canvas) -> None:
        columns = min(len(rows), _COLUMNS)
        panels = canvas.subplots(lines, columns, sharey=True, squeeze=False).flat
        for axes, row in zip(panels, rows, strict=False):
            for counts, style in ((row.before, LEGACY_LINE), (row.after, TARGET_LINE)):
                if counts is not None and counts.timed:
                    times, shares = distribution(counts)
                    axes.plot(times, shares, marker="o", markersize=3, **style)
            axes.axvline(row.expected.target_s, **BOUND_LINE)
            axes.axhline(0.95, **{**BOUND_LINE, "linewidth": 0.8})
            axes.set_title(shortened(row.expected.operation))
            logarithmic(axes.xaxis, (1.0,))
            axes.set_ylim(0, 1.02)
            axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95])
            label_values(axes.yaxis, lambda value: f"{value * 100:g} %")
        for axes in list(canvas.axes)[len(rows) :]:
            axes.set_axis_off()
        legend(canvas, names, bound="target, and 95 %", suffixes=(", before", ", after"))

    text = (
        f"The share of attempts (up) that took at most so long (right, logarithmic), before on {names.legacy} (dashed)"
        f" and after on {names.target} (solid), for {listed(row.expected.operation for row in rows)}. Points are the"
        " histogram's bounds, where the share is exact; a line that ends below 100 % goes on beyond the last bound."
    )
    return finished("distributions", "Latency before and after", text, draw(paint, 0.6 + 2.3 * lines))


def distribution(counts: Counts) -> tuple[list[float], list[float]]:
    """The bounds and the share of attempts within each, from the last bound of none to the first of all."""
    total, seen = counts.timed, 0
    shares = []
    for number in counts.buckets[: len(BOUNDS)]:
        seen += number
        shares.append(seen / total)
    first = max((place for place, reached in enumerate(shares) if reached == 0), default=0)
    last = next((place for place, reached in enumerate(shares) if reached == 1), len(shares) - 1)
    return list(BOUNDS[first : last + 1]), shares[first : last + 1]


def _timed(counts: Counts | None) -> bool:
    return counts is not None and counts.timed > 0
