"""What all connections of a process share: the current snapshot, pools, records, clock and open connections.

Neighbours: `app` builds it, `listener` runs it, `downstream` and `handler` use it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.core.breaker import Breaker
from proxy.core.heads import RequestHead
from proxy.core.model import Role
from proxy.core.rewrite import Hop, request_bytes
from proxy.core.routing import Operation
from proxy.net.attempt import Attempt, AttemptOwner, OutgoingRequest
from proxy.net.gate import FallbackGate
from proxy.net.pool import Pool
from proxy.settings.snapshot import Snapshot
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.events import EventLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.tracing import TraceIds

if TYPE_CHECKING:
    from proxy.net.downstream import Downstream
    from proxy.net.probe import Probe


def _call_later(delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(delay_s, action)


@dataclass(slots=True, eq=False)
class DataPlane:
    """The data plane of one process.

    `snapshot` is replaced as a whole; `clock` is monotonic seconds, `wall_clock` seconds since the epoch.
    `held_bytes` counts content held for a possible fallback, of requests and responses. `most_connections` is
    `limits.connections`, or as many as the limit of open files allows. `call_later` is for hedging
    alone: everything else is timed by the listener's sweep.
    """

    snapshot: Snapshot
    pools: dict[Role, Pool]
    metrics: Metrics
    access_log: AccessLog
    events: EventLog
    ids: TraceIds
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle] = _call_later
    connections: "set[Downstream]" = field(default_factory=set)
    probes: "set[Probe]" = field(default_factory=set)
    held_bytes: int = 0
    draining: bool = False
    said_untrusted: bool = False
    most_connections: int = 0
    breaker: Breaker = field(init=False)
    gate: FallbackGate = field(init=False)

    def __post_init__(self) -> None:
        self.most_connections = self.most_connections or self.snapshot.limits.connections
        self.breaker = Breaker(self.snapshot.breaker)
        self.gate = FallbackGate(self.snapshot.settings.fallback.max_concurrent)

    @property
    def memory_left(self) -> bool:
        """Whether more content may be held back."""
        return self.held_bytes <= self.snapshot.limits.buffered_bytes

    def new_attempt(
        self, owner: AttemptOwner, snapshot: Snapshot, role: Role, operation: Operation, head: RequestHead, hop: Hop
    ) -> Attempt:
        """Make the attempt of a request on one source, counted as in flight, not yet opened."""
        plan = snapshot.source(role)
        self.metrics.inflight[plan.name] += 1
        request = OutgoingRequest(head.method, request_bytes(head, plan.face, hop), head.upgrade)
        timeout_s = operation.timeout_s or plan.timeout_s
        return Attempt(owner, plan, self.pools[role], snapshot.response_rules, request, timeout_s)
