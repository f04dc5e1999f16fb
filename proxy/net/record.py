"""record: what is written down when an attempt and a request end.

Metrics and the access line, nothing else. Neighbours: `handler` calls it with the facts.
"""

from typing import TYPE_CHECKING

from proxy.core.errors import MalformedRequest
from proxy.core.fallback import FallbackPolicy, is_failure
from proxy.core.fields import TELLS_CACHE
from proxy.core.heads import RequestHead, ResponseHead
from proxy.core.model import (
    OTHER_OPERATION,
    OUTCOME_OK,
    PROXY_SOURCE,
    FallbackResult,
    Role,
    status_label,
)
from proxy.net.plane import DataPlane
from proxy.telemetry.access_log import AccessEntry
from proxy.telemetry.tracing import trace_id_of
from proxy.telemetry.upstream_cache import cache_result

if TYPE_CHECKING:
    from proxy.net.handler import Exchange


def outcome_of(policy: FallbackPolicy, role: Role, status: int) -> str:
    """The outcome of an attempt with a whole response: `ok`, or its status where that is a failure."""
    return status_label(status) if is_failure(policy, role, status) else OUTCOME_OK


def fallback_result(
    target_status: int | None, answered_by: Role | None, status: int, *, complete: bool
) -> FallbackResult:
    """What became of a fallback. `target_status` is the status that caused it, if one did.

    `answered_by` is None when the proxy answered itself or the client left before any answer.
    """
    if answered_by is not Role.LEGACY or not complete:
        return FallbackResult.FAILED
    if status == target_status:
        return FallbackResult.CONFIRMED
    return FallbackResult.SERVED if status < 500 else FallbackResult.FAILED


def record_cache(plane: DataPlane, source: str, operation: str, head: ResponseHead) -> None:
    """Count what a CDN in front of the source said of its cache."""
    if not head.told & TELLS_CACHE:
        return
    result = cache_result(head.noted)
    if result is not None:
        plane.metrics.cache_looked_up(source, operation, result)


def log_refusal(plane: DataPlane, request_id: bytes, fault: MalformedRequest, head: RequestHead | None) -> None:
    """Write the access line of a request that never became an exchange; `head` is None if it could not be read."""
    if plane.access_log.enabled:
        entry = AccessEntry(
            ts=plane.wall_clock(),
            request_id=request_id,
            trace_id=b"",
            method=head.method if head is not None else b"",
            path=head.path if head is not None else b"",
            operation=OTHER_OPERATION,
            bucket=None,
            source=PROXY_SOURCE,
            reason=fault.fault,
            status=fault.status,
            duration_s=0.0,
            bytes_in=0,
            bytes_out=0,
        )
        plane.access_log.record(entry)


def log_request(exchange: "Exchange", source: str, status: int, seconds: float) -> None:
    """Write the access line of a request that has ended."""
    plane, head, hop, decision = exchange.plane, exchange.head, exchange.hop, exchange.decision
    entry = AccessEntry(  # by position: measured at half the cost
        plane.wall_clock(),
        hop.request_id,
        trace_id_of(hop.traceparent),
        head.method,
        head.path,
        exchange.operation.name,
        decision.bucket,
        source,
        decision.reason,
        status,
        seconds,
        exchange.request_body.received,
        exchange.bytes_out,
        exchange.records,
        exchange.fallback,
    )
    plane.access_log.record(entry)
