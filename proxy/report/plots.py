"""The report's plots over time: how many users, how fast, and how often it failed.

Each is drawn only when there is something to draw, and says in words what it shows. Neighbours: `series` has the
curves, `canvas` the look, `composition` places them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from proxy.report.canvas import (
    BAD,
    BAND,
    BOUND_LINE,
    LEGACY_LINE,
    MUTED,
    TARGET,
    TARGET_LINE,
    WARN,
    as_dates,
    draw,
    finished,
    label_values,
    legend,
    logarithmic,
    time_axis,
)
from proxy.report.document import Figure
from proxy.report.findings import Findings, Topic
from proxy.report.performance import Comparison, compare
from proxy.report.series import LEAST_SAMPLES, Curve, end_of, latency_curves, percentage_steps, ratio_curves
from proxy.report.wording import listed, share, shortened

_MOST_OPERATIONS: Final = 6


def draw_percentage(findings: Findings) -> Figure | None:
    """The percentage over time."""
    if not findings.run.stages:
        return None
    steps = percentage_steps(findings)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.step(as_dates(steps.times), steps.values, where="post", color=TARGET, linewidth=2)
        axes.fill_between(as_dates(steps.times), steps.values, step="post", color=TARGET, alpha=0.12, linewidth=0)
        for at in (event.at for event in findings.run.events if event.topic is Topic.NO_GO):
            axes.axvline(as_dates([at])[0], color=BAD, linewidth=1.2)
            axes.annotate("NO_GO", (as_dates([at])[0], 96), color=BAD, xytext=(4, 0), textcoords="offset points")
        axes.set_ylim(0, 105)
        axes.set_yticks([0, 10, 25, 50, 75, 100])
        label_values(axes.yaxis, lambda value: f"{value:g} %")
        time_axis(axes, findings.run.began, end_of(findings))

    way = " → ".join(f"{value:g} %" for value in steps.values[:-1])
    text = f"How many users the target serves over time (UTC): {way}."
    return finished("percentage", "Percentage of users on the target", text, draw(paint, 2.1))


def draw_latency(findings: Findings) -> Figure | None:
    """The p95 of each source over time, one panel for each operation."""
    rows = {row.expected.operation: row for row in compare(findings)}
    curves = {}
    for operation in _operations(findings, rows):
        pair = latency_curves(findings, operation)
        if not all(curve.is_empty for curve in pair):
            curves[operation] = pair
    names = findings.sources
    if not curves or names is None:
        return None

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (operation, (legacy, target)) in zip(panels, curves.items(), strict=True):
            _bands(axes, findings, labels=axes is panels[0])
            _line(axes, legacy, LEGACY_LINE)
            _line(axes, target, TARGET_LINE)
            if operation in rows:
                axes.axhline(rows[operation].expected.target_s, **BOUND_LINE)
            axes.set_title(shortened(operation), pad=14 if axes is panels[0] else 4)
            logarithmic(axes.yaxis, (1.0, 2.0, 5.0))
            time_axis(axes, _began(findings), end_of(findings))
        legend(canvas, names, bound="target, per operation")

    bands = listed(f"{stage.percentage} %" for stage in findings.run.stages) or "none"
    text = (
        f"The 95th percentile of attempts over time (UTC, logarithmic) on {names.legacy} (dashed) and {names.target}"
        f" (solid), for {listed(curves)}; dotted is the target. Bands are the stages: {bands}. A line has a gap where"
        f" nothing, or fewer than {LEAST_SAMPLES} attempts, was measured."
    )
    return finished("latency", "Latency per source over time", text, draw(paint, 0.7 + 1.75 * len(curves)))


def draw_ratios(findings: Findings) -> Figure | None:
    """Errors and fallbacks over time."""
    ratios, names = ratio_curves(findings), findings.sources
    curves = (ratios.target_errors, ratios.legacy_errors, ratios.fallbacks, ratios.user_errors)
    if names is None or all(curve.is_empty for curve in curves):
        return None

    def paint(canvas: Canvas) -> None:
        upper, lower = canvas.subplots(2, 1, sharex=True)
        lines = (
            (upper, ratios.legacy_errors, LEGACY_LINE, f"failed attempts on {shortened(names.legacy)}"),
            (upper, ratios.target_errors, TARGET_LINE, f"failed attempts on {shortened(names.target)}"),
            (lower, ratios.fallbacks, {"color": WARN, "linestyle": "-"}, "answered by legacy for the target"),
            (lower, ratios.user_errors, {"color": BAD, "linestyle": (0, (2, 1.5))}, "client-visible errors"),
        )
        for axes, curve, style, label in lines:
            _line(axes, curve, {**style, "label": label}, marker=None)
        for axes in (upper, lower):
            _bands(axes, findings, labels=axes is upper)
            _from_nothing(axes, curves[:2] if axes is upper else curves[2:])
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0 if axes is lower else 1.1), ncols=2, borderaxespad=0)
            time_axis(axes, _began(findings), end_of(findings))
        upper.set_title("Failed attempts", pad=14)
        lower.set_title("What users got")

    worst = ", ".join(
        f"{label} {share(max((value for value in curve.values if value == value), default=None))}"  # noqa: PLR0124 - NaN
        for label, curve in (
            (f"failed attempts on {names.legacy}", ratios.legacy_errors),
            (f"failed attempts on {names.target}", ratios.target_errors),
            ("fallbacks", ratios.fallbacks),
            ("client-visible errors", ratios.user_errors),
        )
    )
    text = f"Shares of requests over time (UTC), each interval on its own. The highest of any interval: {worst}."
    return finished("ratios", "Error and fallback ratios", text, draw(paint, 3.9))


def _operations(findings: Findings, rows: Mapping[str, Comparison]) -> list[str]:
    """The plan's operations, then whatever else was measured, at most so many."""
    others = {operation for one in findings.measured for _, operation in one.pairs}
    return [*rows, *sorted(others - rows.keys())][:_MOST_OPERATIONS]


def _began(findings: Findings) -> float:
    return min([findings.run.began, *(one.began for one in findings.measured)])


def _line(axes: Axes, curve: Curve, style: Mapping[str, Any], marker: str | None = ".") -> None:
    lonely = _lonely(curve.values) if marker else []
    axes.plot(as_dates(curve.times), curve.values, **style)
    if lonely:  # a point between two gaps would not be seen
        times = as_dates([curve.times[place] for place in lonely])
        values = [curve.values[place] for place in lonely]
        axes.plot(times, values, linestyle="none", marker=marker, markersize=4, color=style["color"])


def _lonely(values: Sequence[float]) -> list[int]:
    known = [False, *(value == value for value in values), False]  # noqa: PLR0124 - NaN
    return [place for place in range(len(values)) if known[place + 1] and not known[place] and not known[place + 2]]


def _bands(axes: Axes, findings: Findings, *, labels: bool) -> None:
    """Every other stage shaded, each with its percentage above."""
    end = end_of(findings)
    stages = findings.run.stages
    edges = [stage.began for stage in stages]
    edges.append((stages[-1].ended if stages[-1].outcome in ("NO_GO", "aborted") else None) or end) if stages else None
    for place, ((began, ended), stage) in enumerate(zip(pairwise(edges), stages, strict=True)):
        if place % 2 == 0:
            axes.axvspan(*as_dates((began, ended)), color=BAND, linewidth=0, zorder=0)
        if labels:
            middle = as_dates([(began + ended) / 2])[0]
            axes.annotate(
                f"{stage.percentage} %",
                (middle, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                color=MUTED,
            )


def _from_nothing(axes: Axes, curves: Sequence[Curve]) -> None:
    """From 0 to above the highest; a line at 0 stays a line at 0."""
    highest = max((value for curve in curves for value in curve.values if value == value), default=0.0)  # noqa: PLR0124
    axes.set_ylim(0, max(highest * 1.15, 0.001))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    label_values(axes.yaxis, share)
