"""What all connections of a process share: the current snapshot, pools, records, clock and open connections.

Neighbours: `app` builds it, `listener` runs it, `downstream` and `handler` use it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.core.model import Role
from proxy.net.pool import Pool
from proxy.settings.snapshot import Snapshot
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.events import EventLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.tracing import TraceIds

if TYPE_CHECKING:
    from proxy.net.downstream import Downstream


@dataclass(slots=True, eq=False)
class DataPlane:
    """The data plane of one process.

    `snapshot` is replaced as a whole; `clock` is monotonic seconds, `wall_clock` seconds since the epoch.
    `held_bytes` counts content held back for a possible fallback, over all requests.
    """

    snapshot: Snapshot
    pools: dict[Role, Pool]
    metrics: Metrics
    access_log: AccessLog
    events: EventLog
    ids: TraceIds
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    connections: "set[Downstream]" = field(default_factory=set)
    held_bytes: int = 0
    draining: bool = False
    said_untrusted: bool = False

    @property
    def memory_left(self) -> bool:
        """Whether more content may be held back."""
        return self.held_bytes <= self.snapshot.limits.buffered_bytes
