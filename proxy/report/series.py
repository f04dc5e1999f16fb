"""Curves over time, from what was measured; where nothing was, the curve has a gap. Pure.

Neighbours: `figures` are counted, `plots` draw.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from proxy.report.figures import Measurement, add_up, of_source
from proxy.report.findings import Findings
from proxy.report.performance import QUANTILE

LEAST_SAMPLES: Final = 20  # a p95 of fewer is one slow request
MOST_POINTS: Final = 300
_TOUCHING_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in order of time; NaN where nothing is known."""

    times: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return all(math.isnan(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Ratios:
    """Shares of requests over time."""

    target_errors: Curve
    legacy_errors: Curve
    fallbacks: Curve
    user_errors: Curve


def latency_curves(findings: Findings, operation: str) -> tuple[Curve, Curve]:
    """The p95 of legacy and of the target, in seconds."""
    names = findings.sources
    if names is None:
        return Curve((), ()), Curve((), ())
    measured = thinned(findings.measured)
    return (
        _curve(measured, lambda one: _quantile(one, names.legacy, operation)),
        _curve(measured, lambda one: _quantile(one, names.target, operation)),
    )


def ratio_curves(findings: Findings) -> Ratios:
    """Errors of each source's attempts, fallbacks of what was meant for the target, and errors that clients saw."""
    measured, names = thinned(findings.measured), findings.sources
    legacy, target = (names.legacy, names.target) if names else ("", "")
    return Ratios(
        target_errors=_curve(measured, lambda one: _error_ratio(one, target)),
        legacy_errors=_curve(measured, lambda one: _error_ratio(one, legacy)),
        fallbacks=_curve(measured, lambda one: _ratio(one.stood_in, one.meant)),
        user_errors=_curve(measured, lambda one: _ratio(one.user_errors, one.answered)),
    )


def percentage_steps(findings: Findings) -> Curve:
    """The percentage over time, a point for each change, and one for the end."""
    run = findings.run
    times, values = [run.began], [0.0]
    for stage in run.stages:
        times.append(stage.began)
        values.append(float(stage.percentage))
    if run.stages and values[-1] != run.percentage:
        times.append(run.stages[-1].ended or run.ended)
        values.append(float(run.percentage))
    return Curve((*times, end_of(findings)), (*values, values[-1]))


def end_of(findings: Findings) -> float:
    """The newest moment of which anything is known."""
    ends = [findings.run.ended, *(one.at for one in findings.snapshots), *(one.ended for one in findings.measured)]
    return max(ends)


def thinned(measured: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The same, neighbours added up until there are few enough; never across a gap or a change of percentage."""
    size = math.ceil(len(measured) / MOST_POINTS) if measured else 1
    return tuple(_groups(measured, size))


def _groups(measured: Sequence[Measurement], size: int) -> Iterator[Measurement]:
    group: list[Measurement] = []
    for one in measured:
        apart = bool(group) and (group[-1].percentage != one.percentage or not _touch(group[-1], one))
        if group and (apart or len(group) >= size):
            yield _whole(group)
            group = []
        group.append(one)
    if group:
        yield _whole(group)


def _whole(group: list[Measurement]) -> Measurement:
    whole = add_up(group)
    assert whole is not None  # noqa: S101 - a group is never empty
    return whole


def _touch(first: Measurement, second: Measurement) -> bool:
    return second.began - first.ended <= _TOUCHING_S


def _curve(measured: Sequence[Measurement], value_of: Callable[[Measurement], float]) -> Curve:
    times: list[float] = []
    values: list[float] = []
    for before, one in pairwise((None, *measured)):
        if one is None:
            continue
        if before is not None and not _touch(before, one):
            times.append((before.ended + one.began) / 2)
            values.append(math.nan)
        times.append((one.began + one.ended) / 2)
        values.append(value_of(one))
    return Curve(tuple(times), tuple(values))


def _quantile(one: Measurement, source: str, operation: str) -> float:
    counts = of_source(one, source, operation)
    value = counts.quantile_s(QUANTILE) if counts.timed >= LEAST_SAMPLES else None
    return math.nan if value is None else value


def _error_ratio(one: Measurement, source: str) -> float:
    counts = of_source(one, source)
    return _ratio(counts.errors, counts.attempts)


def _ratio(part: int | None, whole: int | None) -> float:
    return math.nan if part is None or not whole else part / whole
