"""Latency histograms as plain lists: the bounds, the cell layout, and what can be read back from one.

A *cell* is `[count of bucket 0, ..., count of the +Inf bucket, sum of seconds]`: one list, so that an
observation is one bisect and two item additions. Measured together with finding the cell: 0.15 us; a counter
in one dict and a histogram in another took 0.24 us. Beside a cell lie its *traces*: for each bucket the last
request that fell into it.
Pure: no clock, no names. Neighbours: `metrics` writes cells, `exposition` and `window` read them.
"""

from collections.abc import Iterable, Sequence
from typing import Final

# fmt: off
BOUNDS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15,
    0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
)
"""Upper bounds in seconds, inclusive. 0.05, 0.08, 0.1, 0.3, 1 and 5 are rollout targets: exactly bounds."""
# fmt: on

BUCKETS: Final = len(BOUNDS) + 1
"""Number of buckets, the last being everything above the highest bound."""

SUM: Final = BUCKETS
"""Where a cell keeps the sum of its observations, in seconds."""

Cell = list[float]
"""`BUCKETS` whole counts, then the sum in seconds."""

Trace = tuple[bytes, float, float]
"""One observation: its `traceparent`, its seconds, and when it was made (monotonic, the same in every process)."""

Traces = list[Trace | None]
"""The last observation of each bucket, `BUCKETS` long."""


def new_cell() -> Cell:
    """Make an empty cell."""
    return [0] * BUCKETS + [0.0]


def new_traces() -> Traces:
    """Make the traces of an empty cell."""
    return [None] * BUCKETS


def latest(first: Traces, second: Traces) -> Traces:
    """Keep the later observation of each bucket, in a new list."""
    return [a if b is None or (a is not None and a[2] >= b[2]) else b for a, b in zip(first, second, strict=True)]


def count_of(cell: Sequence[float]) -> int:
    """Tell how many observations a cell holds."""
    return int(sum(cell[:BUCKETS]))


def fold(cells: Iterable[Sequence[float]]) -> Cell:
    """Add cells up, into a new one."""
    total = new_cell()
    for cell in cells:
        for index, value in enumerate(cell):
            total[index] += value
    return total


def difference(later: Sequence[float], earlier: Sequence[float] | None) -> Cell:
    """Give what was observed between two copies of a cell; without an earlier one, everything."""
    if earlier is None:
        return list(later)
    return [after - before for after, before in zip(later, earlier, strict=True)]


def quantile_s(cell: Sequence[float], quantile: float) -> float | None:
    """Estimate a quantile (0..1) in seconds, linearly inside its bucket; None when the cell is empty.

    As Prometheus' `histogram_quantile` does it: the first bucket starts at 0, and a quantile above the
    highest bound is that bound (the histogram knows no more).
    """
    total = sum(cell[:BUCKETS])
    if total <= 0:
        return None
    rank = quantile * total
    seen = 0.0
    lower = 0.0
    for bound, count in zip(BOUNDS, cell, strict=False):
        if count and seen + count >= rank:
            return lower + (bound - lower) * (rank - seen) / count
        seen += count
        lower = bound
    return BOUNDS[-1]
