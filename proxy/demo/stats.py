"""The arithmetic of the demo: one record per request, percentiles, and what one phase or source amounts to.

Pure; times are seconds of one monotonic clock.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

LEGACY: Final = "postgresql"
TARGET: Final = "image_service"
PROXY: Final = "proxy"
SPLIT_OPERATIONS: Final = frozenset({"get", "list"})
BREAKER_OPEN: Final = "breaker_open"


@dataclass(frozen=True, slots=True)
class Record:
    """One request as its client saw it; `error` says what was wrong with it, None when nothing was."""

    user: str
    operation: str
    started_s: float
    ended_s: float
    status: int | None = None
    source: str | None = None
    reason: str | None = None
    bucket: int | None = None
    fallback: str | None = None
    cache_hit: bool | None = None
    error: str | None = None

    @property
    def latency_s(self) -> float:
        """From sending the request to the last byte of the answer."""
        return self.ended_s - self.started_s

    @property
    def split(self) -> bool:
        """Whether the rollout decides who answers this operation."""
        return self.operation in SPLIT_OPERATIONS


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Latencies in seconds; all None without a sample."""

    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


def percentile(ordered: Sequence[float], quantile: float) -> float | None:
    """Return the nearest-rank percentile of ascending values: the smallest that `quantile` of them do not exceed."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]


def quantiles(records: Iterable[Record]) -> Quantiles:
    """Return the latency quantiles of the records that got an answer."""
    ordered = sorted(record.latency_s for record in records if record.status is not None)
    return Quantiles(percentile(ordered, 0.50), percentile(ordered, 0.95), percentile(ordered, 0.99))


def covered_by_legacy(record: Record) -> bool:
    """Whether legacy answered in the target's place: after a failed attempt, or because its breaker is open."""
    return record.split and (record.fallback is not None or record.reason == BREAKER_OPEN)


def cover_reasons(records: Iterable[Record]) -> dict[str, int]:
    """Count why legacy answered in the target's place, most frequent first."""
    reasons = Counter(record.fallback or BREAKER_OPEN for record in records if covered_by_legacy(record))
    return dict(reasons.most_common())


def ratio(part: int, whole: int) -> float | None:
    """Return `part / whole`, None when there is no whole."""
    return part / whole if whole else None


def cache_hit_ratio(records: Iterable[Record]) -> float | None:
    """Return the share of CDN hits among the answers that passed the CDN."""
    seen = [record.cache_hit for record in records if record.cache_hit is not None]
    return ratio(sum(seen), len(seen))


def is_legacy_read(record: Record) -> bool:
    """A get or list that legacy answered in its own right."""
    return record.split and record.source == LEGACY and not covered_by_legacy(record)


def is_target_read(record: Record) -> bool:
    """A get or list that the target answered."""
    return record.split and record.source == TARGET


def is_write(record: Record) -> bool:
    """An upload, update or delete; they stay on legacy, which dual-writes."""
    return not record.split
