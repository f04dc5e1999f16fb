"""What a request's arrival settles before it is routed: its ids, its client, its forced source.

Neighbours: `handler` asks once for each request.
"""

import hmac
from collections.abc import Callable
from typing import Final

from proxy.core.bucketing import bucket_of
from proxy.core.heads import RequestHead
from proxy.core.identity import find_user_id
from proxy.core.model import Decision, Role
from proxy.core.request_head import drop_fields
from proxy.core.rewrite import Hop
from proxy.core.routing import Operation, choose_source
from proxy.net.plane import DataPlane
from proxy.settings.snapshot import ForceRule, Snapshot
from proxy.telemetry.tracing import valid_request_id, valid_traceparent

_TRACESTATE: Final = frozenset((b"tracestate",))
_ROLES: Final = {b"legacy": Role.LEGACY, b"target": Role.TARGET}


def hop_of(plane: DataPlane, head: RequestHead, peer: bytes | None, *, trusted: bool) -> Hop:
    """Keep the client's request id and trace if they are valid, else make new ones."""
    noted = head.noted
    request_id = traceparent = None
    if b"x-request-id" in noted:
        kept = noted[b"x-request-id"][0]
        request_id = kept if valid_request_id(kept) else None
    if b"traceparent" in noted:
        parents = noted[b"traceparent"]
        traceparent = parents[0] if len(parents) == 1 and valid_traceparent(parents[0]) else None
    if traceparent is None and b"tracestate" in noted:
        drop_fields(head, _TRACESTATE)  # told of another trace (W3C Trace Context section 4.3)
    return Hop(peer, trusted, request_id or plane.ids.new_request_id(), traceparent or plane.ids.new_traceparent())


def decide(snapshot: Snapshot, operation: Operation, head: RequestHead, hop: Hop) -> Decision:
    """The decision of contract section 3 for this request, before the breaker has its say."""
    policy = snapshot.rollout
    user_id = find_user_id(snapshot.extractors, head)
    bucket = None
    if user_id is not None:
        bucket = bucket_of(user_id, policy.salt_prefix)
    elif policy.anonymous_by_address:
        bucket = bucket_of(client_address(hop, head, snapshot.trusts), policy.salt_prefix)
    forced = forced_role(snapshot.force, head) if snapshot.force is not None else None
    return choose_source(policy, operation, user_id, bucket, forced)


def forced_role(rule: ForceRule, head: RequestHead) -> Role | None:
    """The source that the force header asks for, if its token is right (`target;TOKEN`)."""
    wishes = head.noted.get(rule.header)
    if not wishes:
        return None
    role, _, token = wishes[0].partition(b";")
    if not hmac.compare_digest(token.strip(), rule.token):
        return None
    return _ROLES.get(role.strip())


def client_address(hop: Hop, head: RequestHead, trusts: Callable[[str | None], bool]) -> bytes:
    """The client's address: the last in X-Forwarded-For that is no trusted proxy's own."""
    address = hop.address or b""
    if not hop.trusted:
        return address
    chain = b",".join(head.noted.get(b"x-forwarded-for", ())).split(b",")
    for claimed in reversed([entry.strip() for entry in chain if entry.strip()]):
        address = claimed
        if not trusts(claimed.decode("latin-1")):
            break
    return address
