"""Reads the journal's records of what was measured: the figures of every sidecar together, span by span. Pure.

A record of what was *found* is how it was before the first step; those of an *increase* follow each other and add
up. Whole hours that `watch` keeps with its snapshots hold the same requests again and are not read. Neighbours:
`reading` gives the records, `figures` are what becomes of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.model import FallbackResult, Reason
from proxy.report.figures import Counts, Measurement, Pair
from proxy.report.findings import Sources
from proxy.report.wording import LATEST_S
from proxy.telemetry.histogram import BOUNDS

_FOUND: Final = "found"
_MOST: Final = 1 << 50


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `found` is what had been counted before the run; `phase` is the one that it ends in."""

    run: int
    stage: int
    phase: str
    found: bool
    sources: Sources
    measurement: Measurement


def read_record(run: int, data: Mapping[str, Any]) -> Record:
    """Read one. Raises KeyError, TypeError or ValueError for something else."""
    ended = float(data["to"])
    began = data["from"]
    if not all(0 <= at <= LATEST_S for at in (ended, began or 0.0)):
        raise ValueError("a time that is none")
    bounds_are_ours = tuple(data["bounds_s"]) == BOUNDS
    served, unsaved = _fallbacks(data)
    return Record(
        run=run,
        stage=_count(data["stage"]),
        phase=str(data["phase"]),
        found=data["what"] == _FOUND,
        sources=Sources(str(data["names"]["legacy"]), str(data["names"]["target"])),
        measurement=Measurement(
            began=ended if began is None else float(began),
            ended=ended,
            pairs=dict(_pair(one, with_buckets=bounds_are_ours) for one in data["figures"] if one.get("attempts")),
            answered=_count(data["user_errors"]["total"]),
            user_errors=_count(data["user_errors"]["failures"]),
            meant=_count(data["fallback_ratio"]["total"]),
            fallbacks=served,
            unsaved=unsaved,
            breaker_trips=sum(_count(one["opened"]) for one in data["breakers"].values()),
            rejected_configs=_count(data["configs"]["rejected"]),
            percentage=_count(data["percentage"]),
            gaps={str(place): str(why) for place, why in data["gaps"].items()},
        ),
    )


def _pair(one: Mapping[str, Any], *, with_buckets: bool) -> tuple[Pair, Counts]:
    attempts = one["attempts"]
    buckets = tuple(_count(number) for number in attempts["buckets"]) if with_buckets else ()
    if buckets and len(buckets) != len(BOUNDS) + 1:
        raise ValueError("a histogram of another length")
    return (str(one["source"]), str(one["operation"])), Counts(
        _count(attempts["count"]), _count(attempts["errors"]), buckets
    )


def _fallbacks(data: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """What legacy answered for the target, by reason, and how many it could not answer either."""
    served: dict[str, int] = {}
    unsaved = 0
    for one in data["fallbacks"]:
        number, reason = _count(one["count"]), str(one["reason"])
        if one["result"] == FallbackResult.SERVED:
            served[reason] = served.get(reason, 0) + number
        elif one["result"] == FallbackResult.FAILED:
            unsaved += number
    if data["breaker_rejected"]:
        served[Reason.BREAKER_OPEN.value] = _count(data["breaker_rejected"])
    return {reason: number for reason, number in served.items() if number}, unsaved


def _count(value: Any) -> int:  # noqa: ANN401 - whatever JSON holds
    number = int(value)
    if not 0 <= number <= _MOST:
        raise ValueError("a count that is none")
    return number
