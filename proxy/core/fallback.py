"""fall back or commit: what an attempt's fate means for its request. Nothing else may decide to ask twice.

Pure: facts in, a value out (contract section 4). Neighbours: `net.handler` supplies facts and acts.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from proxy.core.model import NOTHING_SENT, FailureKind, Role

_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_IDEMPOTENT: Final = _SAFE | {b"PUT", b"DELETE"}


class Replay(Enum):
    """Whether methods other than GET, HEAD and OPTIONS may be sent to the second source after the first."""

    NEVER = auto()
    WITH_IDEMPOTENCY_KEY = auto()
    ALWAYS = auto()


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """`statuses`: the target's answers that count as failures. Sizes in bytes."""

    enabled: bool = True
    statuses: frozenset[int] = frozenset((401, 403, 404, 408, 429, *range(500, 600)))
    request_buffer: int = 64 * 1024
    response_buffer: int = 256 * 1024
    replay: Replay = Replay.NEVER


class Verdict(Enum):
    """What to do with a good answer of the target as it stands."""

    HOLD = auto()
    COMMIT = auto()


class RequestFacts(NamedTuple):
    """What bears on asking a second time.

    `body_kept`: the body so far can be sent again from its start. `sent`: something of the request has been sent,
    if only on a connection that was replaced since.
    """

    method: bytes
    has_idempotency_key: bool = False
    body_kept: bool = True
    sent: bool = False


def is_idempotent(method: bytes) -> bool:
    """Whether sending it twice intends no more than sending it once (RFC 9110 section 9.2.2)."""
    return method in _IDEMPOTENT


def may_fall_back(policy: FallbackPolicy, facts: RequestFacts, kind: FailureKind | None) -> bool:
    """Whether legacy may be asked after the target failed; `kind` is None for a failure by status."""
    if not policy.enabled or not facts.body_kept:
        return False
    if facts.method in _SAFE or (kind in NOTHING_SENT and not facts.sent):
        return True
    if policy.replay is Replay.ALWAYS:
        return True
    return policy.replay is Replay.WITH_IDEMPOTENCY_KEY and facts.has_idempotency_key


def is_failure(policy: FallbackPolicy, role: Role, status: int) -> bool:
    """Whether an answer counts as a failed attempt: the target's listed statuses, and either source's 5xx."""
    return status >= 500 or (role is Role.TARGET and status in policy.statuses)


def judge_hold(policy: FallbackPolicy, *, held: int, complete: bool, unbounded: bool, memory_left: bool) -> Verdict:
    """HOLD or COMMIT a good answer of which `held` bytes are here.

    `unbounded`: an event stream or an upgrade, which must flow at once. `memory_left`: whether the process may
    hold more.
    """
    if complete or unbounded or held > policy.response_buffer or not memory_left:
        return Verdict.COMMIT
    return Verdict.HOLD


def failure_status(kind: FailureKind) -> int:
    """The status a client gets when no source answered: 504, 503 (over a limit), or 502."""
    if kind is FailureKind.TIMEOUT:
        return 504
    return 503 if kind is FailureKind.OVERLOAD else 502
