"""Which label sets can occur under a snapshot, so that each exists at 0 before its first event.

A counter that appears with its first failure shows no increase over it, so an alert misses it. Pure.
Neighbour: `metrics.Metrics.apply` creates what these functions list.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import Final

from proxy.core.model import (
    CLIENT_LEFT,
    OTHER_OPERATION,
    OUTCOME_CANCELLED,
    OUTCOME_OK,
    PROXY_SOURCE,
    FailureKind,
    FallbackResult,
    Reason,
    Role,
    Route,
    status_label,
)


class ClientErrorKind(StrEnum):
    """What a client did wrong, or why it was refused: every value `cutover_client_errors_total` can have."""

    MALFORMED = "malformed"
    HEADER_TIMEOUT = "header_timeout"
    BODY_TIMEOUT = "body_timeout"
    TOO_LARGE = "too_large"
    URI_TOO_LONG = "uri_too_long"
    HEADERS_TOO_LARGE = "headers_too_large"
    VERSION = "version"
    TRANSFER_CODING = "transfer_coding"
    METHOD = "method"
    CONNECTION_LIMIT = "connection_limit"
    FORWARDED_UNTRUSTED = "forwarded_untrusted"
    SLOW_READER = "slow_reader"


class ReloadResult(StrEnum):
    """What became of a configuration that was read."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"


class CacheResult(StrEnum):
    """What a source's caching headers said."""

    HIT = "hit"
    MISS = "miss"


class ConnectionState(StrEnum):
    """What an upstream connection does."""

    IDLE = "idle"
    BUSY = "busy"


ALWAYS_LEGACY: Final = frozenset({Reason.KILL_SWITCH, Reason.DISABLED, Reason.BREAKER_OPEN})
"""Reasons that only ever choose legacy."""

_BEFORE_ROUTE: Final = frozenset({Reason.KILL_SWITCH, Reason.DISABLED, Reason.OPERATION})
_COMMON_CODES: Final = (200, 500, 502, 503, 504)
_COMMON_OF_CLASS: Final = {
    2: (200, 201, 202, 204, 206),
    3: (301, 302, 303, 304, 307, 308),
    4: (400, 401, 403, 404, 408, 409, 413, 429),
    5: (500, 502, 503, 504),
}
# Made here after routing (any operation), and made here before an operation is known.
_PROXY_CODES: Final = (408, 413, CLIENT_LEFT, 502, 503, 504)
_PROXY_CODES_UNROUTED: Final = (400, 405, 414, 431, 501, 505)


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """What one snapshot says about labels and configuration gauges.

    `operations` are the configured names in order; `other` is added when missing. `routes` maps an operation
    to its route; for one not named there everything is taken to be possible. `statuses` are the codes of
    `fallback.statuses`; a whole class (`5xx` as its hundred codes) stands for those seen in life.
    """

    legacy: str
    target: str
    operations: tuple[str, ...] = (OTHER_OPERATION,)
    reasons: tuple[str, ...] = tuple(Reason)
    statuses: tuple[int, ...] = ()
    revision: str = ""
    percentage: int = 0
    enabled: bool = False
    routes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if OTHER_OPERATION not in self.operations:
            object.__setattr__(self, "operations", (*self.operations, OTHER_OPERATION))

    def route_of(self, operation: str) -> str | None:
        """Give the route of an operation; None when not known."""
        return Route.LEGACY if operation == OTHER_OPERATION else self.routes.get(operation)

    def roles(self) -> dict[str, str]:
        """Map source names to roles."""
        return {self.legacy: Role.LEGACY, self.target: Role.TARGET}

    def pairs(self) -> Iterator[tuple[str, str]]:
        """List every (source, operation) at which an attempt is possible."""
        for operation in self.operations:
            yield self.legacy, operation
            if self.route_of(operation) != Route.LEGACY:
                yield self.target, operation


def listed_codes(statuses: tuple[int, ...]) -> tuple[int, ...]:
    """Sort out the codes to create for `fallback.statuses`: of a whole class, those that occur in life."""
    codes = set(statuses)
    for leading, common in _COMMON_OF_CLASS.items():
        whole = set(range(leading * 100, leading * 100 + 100))
        if whole <= codes:
            codes = codes - whole | set(common)
    return tuple(sorted(codes))


def request_labels(space: LabelSpace) -> Iterator[tuple[str, str, int]]:
    """List label sets of requests: source, operation, code."""
    codes = sorted({*listed_codes(space.statuses), *_COMMON_CODES})
    for (source, operation), code in product(space.pairs(), codes):
        yield source, operation, code
    for operation, code in product(space.operations, _PROXY_CODES):
        yield PROXY_SOURCE, operation, code
    for code in _PROXY_CODES_UNROUTED:
        yield PROXY_SOURCE, OTHER_OPERATION, code


def attempt_labels(space: LabelSpace) -> Iterator[tuple[str, str, str]]:
    """List label sets of attempts: source, operation, outcome."""
    outcomes = (OUTCOME_OK, OUTCOME_CANCELLED, *_failures(space))
    for (source, operation), outcome in product(space.pairs(), outcomes):
        yield source, operation, outcome


def decision_labels(space: LabelSpace) -> Iterator[tuple[str, ...]]:
    """List label sets of decisions: source, operation, reason."""
    for (source, operation), reason in product(space.pairs(), space.reasons):
        if _can_decide(space, source, operation, reason):
            yield source, operation, str(reason)


def fallback_labels(space: LabelSpace) -> Iterator[tuple[str, ...]]:
    """List label sets of fallbacks: operation, reason, result. Only what the target serves can fall back."""
    operations = [operation for source, operation in space.pairs() if source == space.target]
    yield from product(operations, _failures(space), (str(result) for result in FallbackResult))


def hedge_labels(space: LabelSpace) -> Iterator[tuple[str, ...]]:
    """List label sets of hedges: operation, winner."""
    for operation in (operation for source, operation in space.pairs() if source == space.target):
        yield operation, space.legacy
        yield operation, space.target


def cache_labels(space: LabelSpace) -> Iterator[tuple[str, ...]]:
    """List label sets of upstream cache results: source, operation, result."""
    for (source, operation), result in product(space.pairs(), CacheResult):
        yield source, operation, str(result)


def _failures(space: LabelSpace) -> tuple[str, ...]:
    return (*(str(kind) for kind in FailureKind), *map(status_label, listed_codes(space.statuses)))


def _can_decide(space: LabelSpace, source: str, operation: str, reason: str) -> bool:
    if source == space.target and reason in ALWAYS_LEGACY:
        return False
    match space.route_of(operation):
        case Route.LEGACY:
            return reason in _BEFORE_ROUTE
        case Route.TARGET if source == space.target:
            return reason == Reason.OPERATION
        case Route.TARGET:
            return reason in ALWAYS_LEGACY
        case Route.SPLIT:
            return reason != Reason.OPERATION
        case _:
            return True
