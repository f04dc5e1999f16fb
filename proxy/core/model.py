"""The vocabulary every other module shares: roles, routes, reasons, failure kinds, decisions.

Must not hold behaviour beyond naming. Neighbours: `routing` and `fallback` return these values, `net` acts on
them, `telemetry` writes them as labels. The strings are part of the contract (metric labels, headers, logs).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a source is for. Its configurable *name* is what users see."""

    LEGACY = "legacy"
    TARGET = "target"


class Route(StrEnum):
    """Where an operation may go."""

    SPLIT = "split"
    LEGACY = "legacy"
    TARGET = "target"


class Reason(StrEnum):
    """Why a source was chosen first (contract section 3, in order of precedence)."""

    KILL_SWITCH = "kill_switch"
    DISABLED = "disabled"
    OPERATION = "operation"
    FORCED = "forced"
    LISTED = "listed"
    PERCENTAGE = "percentage"
    ANONYMOUS = "anonymous"
    BUCKET = "bucket"
    BREAKER_OPEN = "breaker_open"


class FailureKind(StrEnum):
    """How an attempt can fail, apart from by its status; `status_label` names those."""

    CONNECT_ERROR = "connect_error"
    TLS_ERROR = "tls_error"
    TIMEOUT = "timeout"
    RESET = "reset"
    INVALID_RESPONSE = "invalid_response"
    OVERLOAD = "overload"


NOTHING_SENT: Final = frozenset({FailureKind.CONNECT_ERROR, FailureKind.TLS_ERROR, FailureKind.OVERLOAD})
"""Failures at which, by construction, not one byte of the request has gone upstream."""

OUTCOME_OK: Final = "ok"
OUTCOME_CANCELLED: Final = "cancelled"
OTHER_OPERATION: Final = "other"
PROXY_SOURCE: Final = "proxy"
CLIENT_LEFT: Final = 499

_STATUS_LABELS: Final = {code: f"status_{code}" for code in range(100, 600)}


def status_label(status: int) -> str:
    """The `reason`/`outcome` label of an answer that counts as a failure: `status_503`."""
    return _STATUS_LABELS[status]


class FallbackResult(StrEnum):
    """What became of a fallback (contract section 7)."""

    SERVED = "served"
    FAILED = "failed"
    CONFIRMED = "confirmed"
    SUPPRESSED = "suppressed"


@dataclass(slots=True, init=False)
class Decision:
    """Which source is asked first, why, and the user's bucket (None without a user id). Nobody changes one.

    `__init__` is written out because one is made for every request: mypyc compiles that, but not the one of a
    dataclass (250 instructions instead of 2,000; a named tuple took 2,200).
    """

    role: Role
    reason: Reason
    bucket: int | None

    def __init__(self, role: Role, reason: Reason, bucket: int | None) -> None:
        self.role = role
        self.reason = reason
        self.bucket = bucket
