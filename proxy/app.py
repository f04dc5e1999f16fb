"""The composition root of `cutover run`: builds everything, runs until a signal, drains.

Clock and randomness enter the program here. Neighbours: `cli.run` calls it; `control` is what the admin API sees.
"""

import asyncio
import gc
import math
import os
import random
import signal
import ssl
import time
from collections.abc import Coroutine
from typing import Final

from proxy import __version__
from proxy.admin.api import build_admin_app
from proxy.admin.server import AdminServer
from proxy.control import RunningProxy
from proxy.core.model import Role
from proxy.descriptors import fitting_backlog, fitting_connections, raise_limit
from proxy.net.connector import ConnectFailed, Connector
from proxy.net.listener import Listener
from proxy.net.plane import DataPlane
from proxy.net.pool import Pool, PoolLimits
from proxy.net.tasks import TaskKeeper
from proxy.net.tls import client_context
from proxy.settings.addresses import ListenAddress
from proxy.settings.load import LoadedSettings
from proxy.settings.schema import Source
from proxy.settings.snapshot import compile_snapshot
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.events import EventLog
from proxy.telemetry.lines import LineWriter
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.tracing import TraceIds
from proxy.telemetry.window import RollingWindow

_MOST_AGE_S: Final = 20.0  # with the resolver's 10 s, a name that changes is followed within 30 s
_TICK_S: Final = 0.05
_STANDARD_OUTPUT: Final = 1
_LOG_CLOSE_S: Final = 2.0


class StartFailed(Exception):
    """The proxy can't start; the message is one clear line."""


class Sidecar:
    """One process's data plane, admin port and clockwork."""

    __slots__ = (
        "_admin",
        "_connectors",
        "_listener",
        "_loaded",
        "_tasks",
        "_window",
        "control",
        "plane",
        "writer",
    )

    def __init__(self, loaded: LoadedSettings) -> None:
        settings = loaded.settings
        descriptors = raise_limit()
        snapshot = compile_snapshot(settings, loaded.revision)
        metrics = Metrics()
        self._loaded = loaded
        self._tasks = TaskKeeper()
        self.writer = LineWriter(_STANDARD_OUTPUT, metrics.log_lines_dropped)
        self._connectors = {
            Role.LEGACY: _connector(settings.legacy, "legacy"),
            Role.TARGET: _connector(settings.target, "target"),
        }
        self.plane = DataPlane(
            snapshot=snapshot,
            pools={
                Role.LEGACY: _pool(self._connectors[Role.LEGACY], settings.legacy, self._tasks),
                Role.TARGET: _pool(self._connectors[Role.TARGET], settings.target, self._tasks),
            },
            metrics=metrics,
            access_log=AccessLog(self.writer, settings.logging),
            events=EventLog(self.writer, settings.logging, wall_clock),
            ids=TraceIds(random.Random(os.urandom(32)).getrandbits),  # noqa: S311 - ids are names, not secrets
            clock=time.perf_counter,
            wall_clock=wall_clock,
            most_connections=fitting_connections(settings, descriptors),
        )
        self._window = RollingWindow(metrics.snapshot)
        self.control = RunningProxy(self.plane, loaded, self._window)
        metrics.attach(self.control)
        metrics.config_reloaded("applied", wall_clock())
        self._listener = Listener(self.plane, settings.listen, fitting_backlog(descriptors))
        self._admin = AdminServer(build_admin_app(self.control, audit=self.plane.events.info), settings.admin.listen)

    def __repr__(self) -> str:
        return f"<Sidecar {self._listener!r}>"

    async def start(self) -> None:
        """Listen on both ports. Raises StartFailed when one can't be had."""
        settings = self._loaded.settings
        await _listening(self._admin.start(), "admin.listen", settings.admin.listen)
        try:
            await _listening(self._listener.start(), "listen", settings.listen)
        except StartFailed:
            await self._admin.stop()
            raise
        self._tick()
        for role, connector in self._connectors.items():
            self._tasks.spawn(self._say_if_unreachable(self.plane.snapshot.source(role).name, connector))
        self.control.serving = True
        self.plane.events.info(
            "started",
            version=__version__,
            listen=self._listener.bound,
            admin=self._admin_address(),
            revision=self._loaded.revision,
            percentage=self.plane.snapshot.rollout.percentage,
            enabled=self.plane.snapshot.rollout.enabled,
        )
        for warning in self._loaded.warnings:
            self.plane.events.warning("config_warning", key=warning.key, message=warning.message)
        if self.plane.most_connections < settings.limits.connections:
            self.plane.events.warning(
                "config_warning",
                key="limits.connections",
                message=f"the limit of open files allows {self.plane.most_connections} connections",
            )

    def _admin_address(self) -> str:
        port = self._admin.port
        configured = str(self._loaded.settings.admin.listen)
        return configured if port is None else f"{configured.rpartition(':')[0]}:{port}"

    async def _say_if_unreachable(self, name: str, connector: Connector) -> None:
        try:
            probe = await connector.open(_Probe)
        except ConnectFailed as failure:
            self.plane.events.warning("upstream_unreachable", source=name, kind=failure.kind, detail=str(failure))
            return
        probe.close()

    def _tick(self) -> None:
        """Do what is due now and then: write log lines, look for the kill switch, keep the rolling figures."""
        self.control.look_for_kill_switch()
        self.control.look_at_breaker()
        self._window.tick(self.plane.clock())
        self.writer.flush()
        asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def on_hangup(self) -> None:
        """Say that SIGHUP changes nothing in this version; it must not end the program either."""
        self.plane.events.warning("signal", signal="SIGHUP", message="the configuration is read at start only")

    async def stop(self) -> None:
        """Drain (contract section 9), then close everything."""
        limits = self.plane.snapshot.limits
        self.control.serving = False
        self.plane.events.info("draining", connections=len(self.plane.connections))
        await asyncio.sleep(limits.drain_delay)
        await self._listener.drain(limits.drain_timeout)
        await self._tasks.close()
        await self._admin.stop()
        self.plane.events.info("stopped")
        self.writer.close(_LOG_CLOSE_S)


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


async def run(loaded: LoadedSettings) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises StartFailed."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sidecar = Sidecar(loaded)
    loop.add_signal_handler(signal.SIGHUP, sidecar.on_hangup)
    await sidecar.start()
    _calm_garbage_collector()
    await stop.wait()
    await sidecar.stop()


def _calm_garbage_collector() -> None:
    """Keep it off what lives as long as the program, and let it look for cycles seldom: requests make none.

    Measured: with the defaults it took a sixth of a request's CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def wall_clock() -> float:
    """Seconds since the epoch, for logs only: it may jump."""
    return time.time_ns() / 1e9


def _connector(source: Source, key: str) -> Connector:
    tls: ssl.SSLContext | None = None
    if source.url.scheme == "https":
        try:
            tls = client_context(source.tls)
        except OSError as error:
            raise StartFailed(f"{key}.tls: {error}") from error
    return Connector(source.url, source.connect_timeout, time.perf_counter, tls, source.tls.server_name)


def _pool(connector: Connector, source: Source, tasks: TaskKeeper) -> Pool:
    limits = PoolLimits(
        max_connections=source.pool.max_connections,
        max_idle=source.pool.max_idle,
        idle_timeout_s=source.pool.idle_timeout,
        max_pending=source.pool.max_pending,
        most_age_s=_MOST_AGE_S if source.url.is_name else math.inf,
    )
    return Pool(connector, limits, tasks, time.perf_counter)


async def _listening(start: Coroutine[None, None, None], key: str, address: ListenAddress) -> None:
    try:
        await start
    except OSError as error:
        raise StartFailed(f"{key}: can't listen on {address}: {error.strerror or error}") from error
