"""Figures of the sources over a span of time, and their sums. Pure.

A measurement says what was counted between two moments; what lies between measurements was not seen, and is neither
good nor bad. Neighbours: `measured` and `prometheus` make them, `performance`, `issues`, `impact` and `series` read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proxy.telemetry.histogram import BOUNDS, BUCKETS, quantile_s

Pair = tuple[str, str]
"""A source and an operation."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Attempts of one source at one operation. `errors` are failed ones; what legacy confirmed with a 4xx is none.

    `buckets` are how many took how long: `histogram.BUCKETS` counts, not cumulative, or nothing when not known.
    """

    attempts: int = 0
    errors: int = 0
    buckets: tuple[int, ...] = ()

    @property
    def timed(self) -> int:
        """How many attempts the histogram holds."""
        return sum(self.buckets)

    def quantile_s(self, quantile: float) -> float | None:
        """The quantile in seconds, linear inside its bucket; None without attempts."""
        return quantile_s([*self.buckets, 0.0], quantile) if self.buckets else None

    def beyond(self, bound_s: float) -> int | None:
        """How many took longer than a bound of the histogram; None for another bound, or when not known."""
        if bound_s not in BOUNDS or not self.buckets:
            return None
        return sum(self.buckets[BOUNDS.index(bound_s) + 1 :])


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was counted between `began` and `ended`; None is not known.

    `answered` and `user_errors` are requests as clients saw them. `meant` were to go to the target first; `fallbacks`
    are those that legacy answered for it, by reason, and `unsaved` those that it could not. `gaps` are sidecars that
    could not be read at some time in it, and why.
    """

    began: float
    ended: float
    pairs: Mapping[Pair, Counts] = field(default_factory=dict)
    answered: int | None = None
    user_errors: int | None = None
    meant: int | None = None
    fallbacks: Mapping[str, int] | None = None
    unsaved: int | None = None
    breaker_trips: int | None = None
    rejected_configs: int | None = None
    percentage: int | None = None
    gaps: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it was."""
        return max(self.ended - self.began, 0.0)

    @property
    def stood_in(self) -> int | None:
        """How many requests legacy answered for the target."""
        return None if self.fallbacks is None else sum(self.fallbacks.values())


def add_counts(several: Iterable[Counts]) -> Counts:
    """The sum; its histogram is only known when every part's is."""
    attempts = errors = 0
    buckets = [0] * BUCKETS
    known = True
    for one in several:
        attempts += one.attempts
        errors += one.errors
        known = known and (bool(one.buckets) or not one.attempts)
        for place, count in enumerate(one.buckets):
            buckets[place] += count
    return Counts(attempts, errors, tuple(buckets) if known else ())


def add_up(several: Iterable[Measurement]) -> Measurement | None:
    """The sum of measurements, or None of none. A figure that any part lacks is known as far as the others say."""
    parts = tuple(several)
    if not parts:
        return None
    pairs: dict[Pair, list[Counts]] = {}
    for part in parts:
        for pair, counts in part.pairs.items():
            pairs.setdefault(pair, []).append(counts)
    reasons: dict[str, int] = {}
    for part in parts:
        for reason, count in (part.fallbacks or {}).items():
            reasons[reason] = reasons.get(reason, 0) + count
    return Measurement(
        began=parts[0].began,
        ended=parts[-1].ended,
        pairs={pair: add_counts(counts) for pair, counts in pairs.items()},
        answered=_sum(part.answered for part in parts),
        user_errors=_sum(part.user_errors for part in parts),
        meant=_sum(part.meant for part in parts),
        fallbacks=reasons if any(part.fallbacks is not None for part in parts) else None,
        unsaved=_sum(part.unsaved for part in parts),
        breaker_trips=_sum(part.breaker_trips for part in parts),
        rejected_configs=_sum(part.rejected_configs for part in parts),
        percentage=parts[-1].percentage,
        gaps={place: why for part in parts for place, why in part.gaps.items()},
    )


def of_source(measurement: Measurement, source: str, operation: str | None = None) -> Counts:
    """One source's attempts, of one operation or of all."""
    return add_counts(
        counts for (name, what), counts in measurement.pairs.items() if name == source and operation in (None, what)
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
