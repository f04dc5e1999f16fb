"""From counted increases to what a check judges: how many requests, and how many of them on the wrong side. Pure.

Definitions are those of contract section 7 and of `telemetry.window`. Neighbours: `history` gives the increases,
`checks` judges.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from proxy.core.model import (
    CLIENT_LEFT,
    OUTCOME_CANCELLED,
    OUTCOME_OK,
    PROXY_SOURCE,
    FallbackResult,
    Reason,
    Role,
    Route,
)
from proxy.rollout.history import Increase
from proxy.rollout.plan import Check, CheckKind
from proxy.rollout.reading import BUCKET, bound_label
from proxy.telemetry.exposition import ATTEMPTS, CACHE, DECISIONS, FALLBACKS, REQUESTS, TRUNCATED
from proxy.telemetry.histogram import BOUNDS, BUCKETS, Cell, quantile_s
from proxy.telemetry.labels import CacheResult

_CONFIRMED_4XX: Final = "status_4"
_PLACES: Final = {bound_label(bound): index for index, bound in enumerate((*BOUNDS, math.inf))}
_NOT_OURS: Final = (str(CLIENT_LEFT), "501", "505")  # the client's doing, whoever answers


@dataclass(frozen=True, slots=True)
class Tally:
    """`failures` of `total` are on the wrong side of what a check demands."""

    failures: int
    total: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What the configuration says about labels: the sources' names, and each operation's route."""

    names: Mapping[Role, str]
    routes: Mapping[str, Route]

    def serving(self, check: Check) -> Role:
        """Whose requests a check judges: of an operation that is not split, the source that serves it."""
        route = self.routes.get(check.operation or "", Route.SPLIT)
        if route is not Route.SPLIT:
            return Role(route.value)
        return Role(check.source or Role.TARGET)

    def is_unsplit(self, check: Check) -> bool:
        """Whether the rollout's percentage does not bear on what this check looks at."""
        return self.routes.get(check.operation or "", Route.SPLIT) is not Route.SPLIT


def tally(check: Check, increase: Increase, layout: Layout, role: Role | None = None) -> Tally:
    """Count for a check; `role` is another source's side of it."""
    source = layout.names[role or layout.serving(check)]
    operation = check.operation
    match check.kind:
        case CheckKind.QUANTILE:
            return beyond(check.bound, increase, source, operation)
        case CheckKind.ERROR_RATIO:
            is_target = source == layout.names[Role.TARGET]
            return count_errors(increase, source, operation, confirmable=is_target)
        case CheckKind.USER_ERROR_RATIO:
            named = layout.names[Role(check.source)] if check.source else None
            return count_user_errors(increase, named, operation)
        case CheckKind.FALLBACK_RATIO:
            return count_fallbacks(increase, layout.names[Role.TARGET], operation)
        case CheckKind.CACHE_HIT_RATIO:
            return _cache_misses(increase, source, operation)
        case _:
            return Tally(0, 0)


def beyond(bound_s: float, increase: Increase, source: str, operation: str | None) -> Tally:
    """Attempts that took longer than a bound of the histogram."""
    total = within = 0.0
    label = bound_label(bound_s)
    for key, count in increase.items():
        if key[0] == BUCKET and key[1] == source and operation in (None, key[2]):
            if key[3] == "+Inf":
                total += count
            elif key[3] == label:
                within += count
    return _tally(total - within, total)


def histogram_of(increase: Increase, name: str, source: str, operation: str | None) -> Cell:
    """The histogram whose samples have this name, not cumulative and without its sum of seconds."""
    cumulative = [0.0] * BUCKETS
    for key, count in increase.items():
        if key[0] == name and key[1] == source and operation in (None, key[2]) and key[3] in _PLACES:
            cumulative[_PLACES[key[3]]] += count
    return [max(above - below, 0.0) for below, above in pairwise((0.0, *cumulative))]


def estimate_quantile(quantile: float, increase: Increase, source: str, operation: str | None) -> float | None:
    """The quantile in seconds, linear inside its bucket, as Prometheus has it; for people, no verdict rests on it."""
    return quantile_s(histogram_of(increase, BUCKET, source, operation), quantile)


def count_errors(increase: Increase, source: str, operation: str | None, *, confirmable: bool) -> Tally:
    """Attempts that failed; with `confirmable`, those at which legacy gave the same 4xx are none."""
    total = failed = confirmed = 0.0
    for key, count in increase.items():
        if key[0] == ATTEMPTS.name and key[1] == source and operation in (None, key[2]):
            if key[3] != OUTCOME_CANCELLED:
                total += count
                failed += count if key[3] != OUTCOME_OK else 0.0
        elif key[0] == FALLBACKS.name and operation in (None, key[1]) and _is_confirmed(key[2], key[3]):
            confirmed += count
    return _tally(failed - confirmed if confirmable else failed, total)


def _is_confirmed(reason: str, result: str) -> bool:
    """Whether legacy gave the same 4xx: there was nothing to find, and nobody failed."""
    return result == FallbackResult.CONFIRMED and reason.startswith(_CONFIRMED_4XX)


def count_user_errors(increase: Increase, source: str | None, operation: str | None) -> Tally:
    """Requests that ended badly for their user: 5xx, and what broke off after commit."""
    total = failed = 0.0
    for key, count in increase.items():
        if (
            key[0] not in (REQUESTS.name, TRUNCATED.name)
            or operation not in (None, key[2])
            or source not in (None, key[1])
        ):
            continue
        if key[0] == TRUNCATED.name:
            failed += count
        elif key[3] not in _NOT_OURS or (key[1] != PROXY_SOURCE and key[3] != str(CLIENT_LEFT)):
            total += count
            failed += count if key[3].startswith("5") else 0.0
    return _tally(failed, total)


def count_fallbacks(increase: Increase, target: str, operation: str | None) -> Tally:
    """What was meant for the target and went to legacy, because it failed or because its breaker was open."""
    meant = missed = 0.0
    for key, count in increase.items():
        if key[0] == DECISIONS.name and operation in (None, key[2]):
            rejected = key[3] == Reason.BREAKER_OPEN
            meant += count if rejected or key[1] == target else 0.0
            missed += count if rejected else 0.0
        elif key[0] == FALLBACKS.name and operation in (None, key[1]) and key[3] != FallbackResult.SUPPRESSED:
            missed += 0.0 if _is_confirmed(key[2], key[3]) else count
    return _tally(missed, meant)


def _cache_misses(increase: Increase, source: str, operation: str | None) -> Tally:
    total = missed = 0.0
    for key, count in increase.items():
        if key[0] == CACHE.name and key[1] == source and operation in (None, key[2]):
            total += count
            missed += count if key[3] == CacheResult.MISS else 0.0
    return _tally(missed, total)


def _tally(failures: float, total: float) -> Tally:
    """Whole numbers; what is counted at its beginning and what at its end may straddle the window's edge."""
    whole = round(total)
    return Tally(min(max(round(failures), 0), whole), whole)
