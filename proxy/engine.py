"""One process's data plane, put together: it takes configurations, accepts clients, tells its figures, drains.

Clock and randomness enter the data plane here. Neighbours: `worker` runs one on the supervisor's behalf.
"""

import asyncio
import gc
import os
import random
import socket
import time
from collections.abc import Mapping
from typing import Final

from proxy.clocks import wall_clock
from proxy.core.breaker import BreakerState
from proxy.core.model import Role
from proxy.descriptors import fitting_backlog, fitting_connections, raise_limit
from proxy.net.connector import ConnectFailed, Connector
from proxy.net.generation import Succession
from proxy.net.listener import Listener
from proxy.net.memory import BodyMemory
from proxy.net.plane import DataPlane
from proxy.settings.snapshot import Snapshot, compile_snapshot
from proxy.supervisor.messages import Configuration
from proxy.tasks import TaskKeeper
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.events import EventLog
from proxy.telemetry.labels import LabelSpace
from proxy.telemetry.lines import LineWriter
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.state import MetricsState
from proxy.telemetry.tracing import TraceIds

_TICK_S: Final = 0.05
_STANDARD_OUTPUT: Final = 1
_LOG_CLOSE_S: Final = 2.0


class Engine:
    """The data plane of one process. Every call is made on its event loop."""

    __slots__ = ("_announce", "_breaker_said", "_descriptors", "_listener", "_metrics", "_number", "_plane",
                 "_succession", "_tasks", "_writer")  # fmt: skip

    def __init__(self, configuration: Configuration, sock: socket.socket, number: int, *, announce: bool) -> None:
        """Raises OSError, naming the key, when a TLS file can't be used. `announce`: tell of unreachable upstreams."""
        settings = configuration.settings
        self._number = number
        self._announce = announce
        self._tasks = TaskKeeper()
        self._metrics = metrics = Metrics()
        self._descriptors = raise_limit()
        most_connections = fitting_connections(settings, self._descriptors)
        memory = BodyMemory(settings.limits.buffered_bytes, most_connections)
        snapshot = snapshot_of(configuration)
        self._succession = Succession(self._tasks, time.perf_counter, memory)
        generation, _ = self._succession.succeed(snapshot, configuration.tls_files)
        self._writer = LineWriter(_STANDARD_OUTPUT, metrics.log_lines_dropped)
        self._plane = DataPlane(
            generation=generation,
            memory=memory,
            metrics=metrics,
            access_log=AccessLog(self._writer, settings.logging),
            events=EventLog(self._writer, settings.logging, wall_clock),
            ids=TraceIds(random.Random(os.urandom(32)).getrandbits),  # noqa: S311 - ids are names, not secrets
            clock=time.perf_counter,
            wall_clock=wall_clock,
            most_connections=most_connections,
        )
        self._listener = Listener(self._plane, sock, fitting_backlog(self._descriptors))
        self._breaker_said = BreakerState.ADMITTING
        metrics.attach(self)
        metrics.apply(label_space(snapshot))

    def __repr__(self) -> str:
        return f"<Engine {self._number} {self._listener!r} {self._plane.generation!r}>"

    async def start(self) -> None:
        """Accept clients from here on."""
        await self._listener.start()
        self._tick()
        self._say_if_unreachable(list(Role))
        _calm_garbage_collector()

    def apply(self, configuration: Configuration) -> None:
        """Serve every following request by this. Raises OSError as the constructor does, and has changed nothing."""
        settings = configuration.settings
        snapshot = snapshot_of(configuration)
        generation, renewed = self._succession.succeed(snapshot, configuration.tls_files)
        plane = self._plane
        plane.adopt(generation, fitting_connections(settings, self._descriptors))
        plane.access_log.apply(settings.logging)
        plane.events.apply(settings.logging)
        plane.metrics.apply(label_space(snapshot))
        self._say_if_unreachable(renewed)

    def _say_if_unreachable(self, roles: list[Role]) -> None:
        for role in roles if self._announce else ():
            name = self._plane.snapshot.source(role).name
            self._tasks.spawn(self._try_to_reach(name, self._succession.connectors[role]))

    async def _try_to_reach(self, name: str, connector: Connector) -> None:
        try:
            probe = await connector.open(_Probe)
        except ConnectFailed as failure:
            self._plane.events.warning("upstream_unreachable", source=name, kind=failure.kind, detail=str(failure))
            return
        probe.close()

    def _tick(self) -> None:
        """Do what is due now and then: write log lines, tell of the breaker."""
        plane = self._plane
        state = plane.generation.breaker.state(plane.clock())
        if state is not self._breaker_said:
            said, self._breaker_said = self._breaker_said, state
            name = plane.snapshot.target.name
            plane.events.warning(
                "breaker", state=state.name.lower(), was=said.name.lower(), source=name, worker=self._number
            )
        self._writer.flush()
        asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def figures(self) -> MetricsState:
        """Everything counted so far, a copy."""
        return self._metrics.snapshot()

    @property
    def revision(self) -> str:
        """Of the configuration in force."""
        return self._plane.snapshot.revision

    @property
    def drain_timeout_s(self) -> float:
        """How long a drain may take by the configuration in force."""
        return self._plane.snapshot.limits.drain_timeout

    def hasten(self, timeout_s: float, idle_grace_s: float) -> None:
        """Let a drain that has begun end earlier."""
        self._listener.hasten(timeout_s, idle_grace_s)

    async def drain(self, timeout_s: float, idle_grace_s: float) -> None:
        """Stop accepting, finish what is under way, and write the last log lines."""
        await self._listener.drain(timeout_s, idle_grace_s)
        await self._tasks.close()
        self._writer.close(_LOG_CLOSE_S)

    # telemetry.metrics.LiveGauges

    def downstream_connections(self) -> int:
        """See LiveGauges."""
        return len(self._plane.connections)

    def upstream_connections(self) -> Mapping[tuple[str, str], int]:
        """See LiveGauges; those that earlier generations still have lent are in."""
        counts: dict[tuple[str, str], int] = {}
        for role, pool in self._plane.pools.items():
            name = self._plane.snapshot.source(role).name
            counts[name, "idle"] = pool.idle
            counts[name, "busy"] = pool.busy + self._succession.busy_retired(role)
        return counts

    def breaker_states(self) -> Mapping[str, int]:
        """See LiveGauges."""
        snapshot = self._plane.snapshot
        state = self._plane.generation.breaker.state(self._plane.clock())
        return {snapshot.target.name: int(state), snapshot.legacy.name: 0}


class _Probe(asyncio.Protocol):
    """Connects and hangs up."""

    def __init__(self) -> None:
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def snapshot_of(configuration: Configuration) -> Snapshot:
    """Compile what is in force."""
    snapshot = compile_snapshot(configuration.settings, configuration.revision)
    return snapshot.with_rollout(configuration.percentage, enabled=configuration.enabled).with_kill_switch(
        engaged=configuration.kill_switch
    )


def label_space(snapshot: Snapshot) -> LabelSpace:
    """What telemetry is to know of a snapshot."""
    return LabelSpace(
        legacy=snapshot.legacy.name,
        target=snapshot.target.name,
        operations=tuple(operation.name for operation in snapshot.operations.operations),
        statuses=tuple(sorted(snapshot.fallback.statuses)),
        revision=snapshot.revision,
        percentage=snapshot.rollout.percentage,
        enabled=snapshot.rollout.enabled,
        routes={operation.name: operation.route for operation in snapshot.operations.operations},
    )


def _calm_garbage_collector() -> None:
    """Keep it off what lives as long as the program, and let it look for cycles seldom: requests make none.

    Measured: with the defaults it took a sixth of a request's CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
