"""One sidecar's figures at one moment: what verdicts need of a scrape, and nothing else. Pure.

A scrape that holds anything impossible (NaN, infinity, a negative count, no cutover metrics at all) is no reading:
half a truth must not pass a gate. Neighbours: `scrape` and `prometheus` make readings, `history` adds them up.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.telemetry.exposition import (
    ATTEMPT_DURATION,
    ATTEMPTS,
    BREAKER_STATE,
    CACHE,
    CONFIG_INFO,
    DECISIONS,
    ENABLED,
    FALLBACKS,
    PERCENTAGE,
    RELOADS,
    REQUEST_DURATION,
    REQUESTS,
    TRUNCATED,
)

Key = tuple[str, ...]
"""The sample's name and the values of its labels, in the order of their family."""

BUCKET: Final = f"{ATTEMPT_DURATION.name}_bucket"
REQUEST_BUCKET: Final = f"{REQUEST_DURATION.name}_bucket"
_COUNTERS: Final = {
    **{family.name: family.labels for family in (ATTEMPTS, CACHE, DECISIONS, FALLBACKS, RELOADS, REQUESTS, TRUNCATED)},
    BUCKET: (*ATTEMPT_DURATION.labels, "le"),
    REQUEST_BUCKET: (*REQUEST_DURATION.labels, "le"),
}
_GAUGES: Final = {family.name: family.labels for family in (BREAKER_STATE, CONFIG_INFO, ENABLED, PERCENTAGE)}

NAMES: Final = frozenset({*_COUNTERS, *_GAUGES})
"""The samples that a reading needs."""


class NotReadable(Exception):
    """Nothing that a verdict may rest on; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample, wherever it came from."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """`counters` only grow while the sidecar lives; the rest is what it has in force.

    `breakers` maps a source to the state of its circuit breaker: 0 admitting, 1 probing, 2 rejecting.
    """

    counters: Mapping[Key, float] = field(default_factory=dict)
    percentage: int = 0
    enabled: bool = False
    revisions: frozenset[str] = frozenset()
    breakers: Mapping[str, int] = field(default_factory=dict)


def read_samples(samples: Iterable[Sample]) -> Reading:
    """Make a reading of a sidecar's samples; others are ignored. Raises NotReadable."""
    counters: dict[Key, float] = {}
    percentage = enabled = None
    revisions: set[str] = set()
    breakers: dict[str, int] = {}
    for sample in samples:
        if sample.name not in NAMES:
            continue
        value = sample.value
        if not math.isfinite(value) or value < 0:
            raise NotReadable(f"{sample.name} is {value}")
        if sample.name in _COUNTERS:
            counters[_key(sample, _COUNTERS[sample.name])] = value
        elif sample.name == PERCENTAGE.name:
            percentage = int(value)
        elif sample.name == ENABLED.name:
            enabled = value > 0
        elif sample.name == BREAKER_STATE.name:
            breakers[sample.labels.get("source", "")] = int(value)
        elif value > 0:
            revisions.add(sample.labels.get("revision", ""))
    if percentage is None or enabled is None or not revisions:
        raise NotReadable("no sidecar's metrics")
    return Reading(counters, percentage, enabled, frozenset(revisions), breakers)


def _key(sample: Sample, labels: tuple[str, ...]) -> Key:
    try:
        values = [sample.labels[label] for label in labels]
    except KeyError as missing:
        raise NotReadable(f"{sample.name} has no label {missing}") from None
    if labels[-1] == "le":
        values[-1] = bound_label(float(values[-1]) if values[-1] != "+Inf" else math.inf)
    return (sample.name, *values)


def bound_label(bound: float) -> str:
    """A histogram's bound as readings have it, however a scrape spells it (`1`, `1.0`)."""
    return "+Inf" if math.isinf(bound) else repr(float(bound))
