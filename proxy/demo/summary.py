"""What the story's records amount to: one line per phase, one per source and operation, and a verdict.

Pure; `report` shows it to people, `as_json` to machines.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from proxy.demo.checks import SideReport, bucket_of, judge_sides
from proxy.demo.latency import EPIC_AFTER_P95_MS, EPIC_BEFORE_P95_MS
from proxy.demo.rollout import Rehearsed
from proxy.demo.stats import (
    LEGACY,
    TARGET,
    Quantiles,
    Record,
    cache_hit_ratio,
    cover_reasons,
    covered_by_legacy,
    is_legacy_read,
    is_target_read,
    is_write,
    quantiles,
    ratio,
)


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """One phase: its percentage held from `began_s` (change confirmed) to `ended_s` (next one asked for)."""

    title: str
    percentage: int
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class RolloutEnd:
    """How one `cutover rollout start` ended."""

    completed: bool
    phase: str
    why: str

    @property
    def brief(self) -> str:
        """The first of its reasons, and how many more there are."""
        first, *more = self.why.split("; ")
        return f"{first} (and {len(more)} more)" if more else first


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    """What happened in one phase, by the requests that started in it."""

    title: str
    percentage: int
    seconds: float
    requests: int
    legacy_reads: int
    target_reads: int
    covered_reads: int
    writes: int
    share: float | None  # of the reads that were sent to the target first
    users_share: float  # of the users whose bucket is inside
    fallbacks: dict[str, int]
    client_errors: int
    sides: SideReport
    legacy_latency: Quantiles
    target_latency: Quantiles
    covered_latency: Quantiles


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """The latencies of one operation at one source, beside the epic's p95 for it (None: it has none there)."""

    source: str
    operation: str
    requests: int
    measured: Quantiles
    epic_p95_s: float | None
    padded: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole story."""

    phases: tuple[PhaseSummary, ...]
    latencies: tuple[LatencySummary, ...]
    requests: int
    users: int
    seconds: float
    client_errors: int
    error_examples: tuple[str, ...]
    fallbacks: dict[str, int]
    cache_hit_ratio: float | None
    sources_agree: bool
    images_compared: int
    latency_factor: float
    rollouts: tuple[RolloutEnd, ...] = ()
    rehearsed: Rehearsed | None = None
    harmed: int | None = None  # the number of the rollout during which the Image Service was killed
    back_s: float | None = None  # from the fault to the first read that the rollout, not a fallback, gave to legacy

    @property
    def users_off_side(self) -> int:
        """How many users got at least one answer from the wrong source."""
        return len({user for phase in self.phases for user in phase.sides.users_off_side})

    @property
    def failures(self) -> list[str]:
        """Say what did not hold; empty when everything did."""
        found = []
        if self.client_errors:
            found.append(f"clients saw {self.client_errors} errors")
        if self.users_off_side:
            found.append(f"{self.users_off_side} users were answered by the wrong source")
        if not self.sources_agree:
            found.append("the two sources do not hold the same images")
        if any(phase.requests == 0 for phase in self.phases):
            found.append("a phase without traffic proves nothing")
        if self.rollouts and self.back_s is None:
            found.append("nobody was taken back from the dead Image Service")
        if self.rollouts and not self.rollouts[-1].completed:
            found.append(f"the rollout was not completed: {self.rollouts[-1].brief}")
        return found

    @property
    def passed(self) -> bool:
        """Whether no client saw an error and every user stayed on their side."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Return the summary as plain values; times in seconds, ratios from 0 to 1."""
        return {
            "passed": self.passed,
            "failures": self.failures,
            "users_off_side": self.users_off_side,
            **asdict(self),
        }


def back_on_legacy_s(records: Sequence[Record], fault_s: float, percentage: int) -> float | None:
    """Seconds from a fault until legacy answered, in its own right, a user who was in; None when it never did."""
    ended = [
        record.ended_s
        for record in records
        if is_legacy_read(record) and record.started_s >= fault_s and bucket_of(record.user) < percentage
    ]
    return min(ended) - fault_s if ended else None


def _quantiles_of(records: Sequence[Record], which: Callable[[Record], bool]) -> Quantiles:
    return quantiles(filter(which, records))


def summarise_phase(phase: PhaseTimes, records: Sequence[Record], users: Sequence[str]) -> PhaseSummary:
    """Summarise one phase from the records of the whole story."""
    started = [record for record in records if phase.began_s <= record.started_s < phase.ended_s]
    settled = [record for record in started if record.ended_s <= phase.ended_s and record.split]
    legacy, target = sum(map(is_legacy_read, started)), sum(map(is_target_read, started))
    sent_to_target = sum(is_target_read(record) or covered_by_legacy(record) for record in settled)
    return PhaseSummary(
        title=phase.title,
        percentage=phase.percentage,
        seconds=phase.ended_s - phase.began_s,
        requests=len(started),
        legacy_reads=legacy,
        target_reads=target,
        covered_reads=sum(map(covered_by_legacy, started)),
        writes=sum(map(is_write, started)),
        share=ratio(sent_to_target, len(settled)),
        users_share=sum(bucket_of(user) < phase.percentage for user in users) / len(users),
        fallbacks=cover_reasons(started),
        client_errors=sum(record.error is not None for record in started),
        sides=judge_sides(started, phase.percentage, phase.began_s, phase.ended_s),
        legacy_latency=_quantiles_of(started, is_legacy_read),
        target_latency=_quantiles_of(started, is_target_read),
        covered_latency=_quantiles_of(started, covered_by_legacy),
    )


def summarise_latencies(records: Sequence[Record], factor: float) -> tuple[LatencySummary, ...]:
    """Compare with the epic's table: legacy with "before", scaled as the padding is, the target with "after"."""
    found = []
    for source, epic_ms in ((LEGACY, EPIC_BEFORE_P95_MS), (TARGET, EPIC_AFTER_P95_MS)):
        for operation, p95_ms in epic_ms.items():
            own = [
                record
                for record in records
                if record.source == source and record.operation == operation and not covered_by_legacy(record)
            ]
            if not own:
                continue
            padded = source == LEGACY and factor > 0
            scale = factor if padded else 1.0
            epic_p95_s = p95_ms * scale / 1000
            found.append(LatencySummary(source, operation, len(own), quantiles(own), epic_p95_s, padded))
    return tuple(found)


def summarise(
    phases: Sequence[PhaseTimes],
    records: Sequence[Record],
    users: Sequence[str],
    *,
    images_compared: int,
    sources_agree: bool,
    latency_factor: float,
) -> Summary:
    """Summarise the story."""
    errors = [record.error for record in records if record.error is not None]
    return Summary(
        phases=tuple(summarise_phase(phase, records, users) for phase in phases),
        latencies=summarise_latencies(records, latency_factor),
        requests=len(records),
        users=len({record.user for record in records}),
        seconds=phases[-1].ended_s - phases[0].began_s if phases else 0.0,
        client_errors=len(errors),
        error_examples=tuple(dict.fromkeys(errors))[:5],
        fallbacks=cover_reasons(records),
        cache_hit_ratio=cache_hit_ratio(records),
        sources_agree=sources_agree,
        images_compared=images_compared,
        latency_factor=latency_factor,
    )
