"""What all connections of a process share: the current generation, records, clock and open connections.

Neighbours: `worker` builds it, `listener` runs it, `downstream` and `handler` use it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.core.heads import RequestHead
from proxy.core.model import Role
from proxy.core.rewrite import Hop, request_bytes
from proxy.core.routing import Operation
from proxy.net.attempt import Attempt, AttemptOwner, OutgoingRequest
from proxy.net.gate import FallbackGate
from proxy.net.generation import Generation
from proxy.net.memory import BodyMemory
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

    `generation` is replaced as a whole, by `adopt`; `clock` is monotonic seconds, `wall_clock` seconds since the epoch.
    `most_connections` is `limits.connections`, or as many as the limit of open files allows. `call_later` is for
    hedging alone: everything else is timed by the listener's sweep.
    """

    generation: Generation
    memory: BodyMemory
    metrics: Metrics
    access_log: AccessLog
    events: EventLog
    ids: TraceIds
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle] = _call_later
    connections: "set[Downstream]" = field(default_factory=set)
    probes: "set[Probe]" = field(default_factory=set)
    draining: bool = False
    said_untrusted: bool = False
    most_connections: int = 0
    gate: FallbackGate = field(init=False)

    def __post_init__(self) -> None:
        self.most_connections = self.most_connections or self.snapshot.limits.connections
        self.gate = FallbackGate(self.snapshot.settings.fallback.max_concurrent)

    @property
    def snapshot(self) -> Snapshot:
        """The current generation's: for what belongs to no request."""
        return self.generation.snapshot

    @property
    def pools(self) -> dict[Role, Pool]:
        """The current generation's pools."""
        return {role: self.generation.pool(role) for role in Role}

    def adopt(self, generation: Generation, most_connections: int) -> None:
        """Give every following request this generation; those under way keep theirs."""
        self.generation = generation
        self.most_connections = most_connections
        self.memory.set_limit(generation.snapshot.limits.buffered_bytes, most_connections)
        self.gate.change_limit(generation.snapshot.settings.fallback.max_concurrent)
        for connection in self.connections:
            if connection.exchange is None:  # an idle connection must not keep an old generation alive
                connection.adopt(generation)

    def new_attempt(
        self, owner: AttemptOwner, generation: Generation, role: Role, operation: Operation, head: RequestHead, hop: Hop
    ) -> Attempt:
        """Make the attempt of a request on one source, counted as in flight, not yet opened."""
        snapshot = generation.snapshot
        plan = snapshot.source(role)
        self.metrics.inflight[plan.name] += 1
        request = OutgoingRequest(head.method, request_bytes(head, plan.face, hop), head.upgrade)
        timeout_s = operation.timeout_s or plan.timeout_s
        return Attempt(owner, plan, generation.pool(role), snapshot.response_rules, request, timeout_s)
