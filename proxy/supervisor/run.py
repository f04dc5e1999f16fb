"""The composition root of `cutover run`: sockets, workers, the admin port, signals; from the first to the last.

| signal | does |
| --- | --- |
| SIGTERM, SIGINT | drain and end, exit 0; a second one ends at once, exit 1 |
| SIGHUP | read the configuration again |
| SIGUSR2 | replace all workers, one after another |

Neighbours: `cli.run` calls `run`; everything else of this package is put together here.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from proxy import __version__
from proxy.admin.api import build_admin_app
from proxy.admin.server import AdminServer, is_local
from proxy.clocks import wall_clock
from proxy.descriptors import fitting_backlog, fitting_connections, raise_limit
from proxy.settings.addresses import ListenAddress
from proxy.settings.schema import Settings
from proxy.settings.watch import ConfigWatcher, paths_of
from proxy.supervisor.control import RunningProgram
from proxy.supervisor.cpus import worker_count
from proxy.supervisor.figures import Figures
from proxy.supervisor.fleet import Fleet
from proxy.supervisor.keeper import Keeper, Surroundings
from proxy.supervisor.messages import Drain
from proxy.supervisor.process import Nursery
from proxy.supervisor.reading import Reading, read
from proxy.supervisor.sockets import Sockets, StartFailed, open_sockets, share_inherited
from proxy.systemd import Notifier, take_sockets
from proxy.tasks import TaskKeeper
from proxy.telemetry.events import EventLog
from proxy.telemetry.lines import LineWriter
from proxy.telemetry.metrics import Metrics

_TICK_S: Final = 0.05  # how late the kill switch may be seen where the kernel tells nothing
_STANDARD_OUTPUT: Final = 1
_LOG_CLOSE_S: Final = 2.0
_IDLE_GRACE_S: Final = 1.0  # at the end of the program; a worker that is replaced waits for its clients
_WATCH_AGAIN_S: Final = 1.0
_ADMIN_NAME: Final = "admin"


class Program:
    """The supervisor process."""

    def __init__(self, path: Path, env: Mapping[str, str], reading: Reading) -> None:
        """Open everything that can fail. Raises StartFailed."""
        settings = reading.loaded.settings
        descriptors = raise_limit()
        self._stop = asyncio.Event()
        self._hurried = False
        self._ticking: asyncio.TimerHandle | None = None
        self._tasks = TaskKeeper()
        self._metrics = Metrics()
        self._writer = LineWriter(_STANDARD_OUTPUT, self._metrics.log_lines_dropped)
        self._events = EventLog(self._writer, settings.logging, wall_clock)
        self._notifier = Notifier(os.environ)
        self._watchdog_due = 0.0
        self._sockets, admin = _open(settings, fitting_backlog(descriptors))
        self._nursery = Nursery(self._tasks)
        self._fleet = Fleet(
            len(self._sockets.slots),
            lambda slot, *ears: self._nursery.start(slot, self._sockets.slots[slot], *ears),
            self._events,
            time.monotonic,
            self._drain_of_replaced,
        )
        self._watcher = ConfigWatcher(
            paths_of(reading.loaded), read_since=reading.began, on_fallback=self._tell_of_polling
        )
        self._keeper = Keeper(
            path,
            env,
            reading,
            Surroundings(
                self._fleet,
                self._events,
                self._metrics,
                self._notifier,
                lambda paths, began: self._watcher.watch(paths, read_since=began),
            ),
        )
        self._figures = Figures(self._metrics, self._fleet)
        local = is_local(settings.admin.listen, admin)
        self._control = RunningProgram(self._keeper, self._fleet, self._figures, time.monotonic, admin_is_local=local)
        app = build_admin_app(self._control, audit=self._events.info)
        self._admin = AdminServer(app, settings.admin.listen, admin)
        self._fitting = fitting_connections(settings, descriptors)

    def __repr__(self) -> str:
        return f"<Program {self._sockets!r} {self._fleet!r}>"

    async def run(self) -> int:
        """Serve until a signal, then drain; returns the exit status. Raises StartFailed."""
        self._install_signals()
        await self._start_admin()
        try:
            await self._start()
            await self._stop.wait()
            await self._drain()
        finally:
            self._sockets.close()
            if self._ticking is not None:
                self._ticking.cancel()
            await self._fleet.end()
            self._watcher.close()
            await self._tasks.close()
            await self._admin.stop()
        self._events.info("stopped")
        self._writer.close(_LOG_CLOSE_S)
        return int(self._hurried)

    # start

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        loop.add_signal_handler(signal.SIGUSR2, self._on_renew)
        self._nursery.install()

    async def _start_admin(self) -> None:
        try:
            await self._admin.start()
        except OSError as error:
            self._sockets.close()
            raise _cannot_listen("admin.listen", self._admin.address, error) from error

    async def _start(self) -> None:
        self._tick()
        try:
            await self._fleet.start(self._keeper.configuration())
        except StartFailed:
            if self._stop.is_set():
                return  # told to end before it had begun
            raise
        self._control.serving = True
        self._tell_started()
        self._tasks.spawn(self._follow_changes())
        self._notifier.ready()

    def _tell_started(self) -> None:
        loaded, share = self._keeper.reading.loaded, self._keeper.state.share
        self._events.info(
            "started",
            version=__version__,
            listen=self._sockets.address,
            admin=self._admin.address,
            workers=len(self._sockets.slots),
            revision=loaded.revision,
            percentage=share.percentage,
            enabled=share.enabled,
        )
        self._keeper.tell_warnings()
        if self._fitting < loaded.settings.limits.connections:
            self._events.warning(
                "config_warning",
                key="limits.connections",
                message=f"the limit of open files allows {self._fitting} connections",
            )

    # life

    def _tick(self) -> None:
        """Do what is due now and then."""
        now = time.monotonic()
        self._keeper.look_for_kill_switch()
        self._fleet.tick(now)
        self._figures.tick(now)
        self._writer.flush()
        every_s = self._notifier.watchdog_every_s
        if every_s is not None and now >= self._watchdog_due:
            self._watchdog_due = now + every_s
            self._notifier.alive()
        self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    async def _follow_changes(self) -> None:
        """Reload whenever a file has changed; should the watcher fail, it is started again."""
        while True:
            try:
                async for change in self._watcher.changes():
                    if change.kill_switch:
                        self._keeper.look_for_kill_switch()
                    if change.configuration:
                        await self._keeper.reload("file")
            except Exception as error:  # noqa: BLE001 - the boundary: the program serves on, and says what is wrong
                self._events.error("watcher_failed", error=repr(error))
            await asyncio.sleep(_WATCH_AGAIN_S)

    def _tell_of_polling(self, reason: str) -> None:
        self._events.warning("config_polled", message="changes of files are seen by polling", reason=reason)

    def _on_hangup(self) -> None:
        self._tasks.spawn(self._keeper.reload("signal"))

    def _on_renew(self) -> None:
        self._events.info("workers_renewed", workers=len(self._sockets.slots))
        self._fleet.renew()

    def _drain_of_replaced(self) -> Drain:
        """A worker that is replaced is in nobody's way: its idle clients have all the time of a drain."""
        timeout_s = self._keeper.snapshot.limits.drain_timeout
        return Drain(timeout_s, timeout_s)

    # end

    def _on_stop(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            if not self._control.serving:
                self._tasks.spawn(self._fleet.end())
        else:
            self._hurried = True
            self._tasks.spawn(self._fleet.end())

    async def _drain(self) -> None:
        """Contract section 9."""
        limits = self._keeper.snapshot.limits
        self._control.serving = False
        self._fleet.cease_renewing()
        self._notifier.stopping()
        connections = sum(report.connections for _, report in self._fleet.reports())
        self._events.info("draining", connections=connections)
        await asyncio.sleep(limits.drain_delay)
        self._sockets.close()
        await self._fleet.drain(Drain(limits.drain_timeout, _IDLE_GRACE_S))


def _open(settings: Settings, backlog: int) -> tuple[Sockets, socket.socket | None]:
    """The listening sockets, and the admin port's if it was passed in. Raises StartFailed."""
    workers = worker_count(settings.workers)
    try:
        passed = take_sockets(os.environ)
    except OSError as error:
        raise StartFailed(str(error)) from error
    admin = [sock for name, sock in passed if name == _ADMIN_NAME]
    inherited = [sock for name, sock in passed if name != _ADMIN_NAME]
    with ExitStack() as failing:
        for _, sock in passed:
            failing.enter_context(sock)
        try:
            sockets = (
                share_inherited(inherited, workers) if inherited else open_sockets(settings.listen, workers, backlog)
            )
        except OSError as error:
            raise _cannot_listen("listen", settings.listen, error) from error
        failing.pop_all()
    return sockets, admin[0] if admin else None


def _cannot_listen(key: str, address: ListenAddress | str, error: OSError) -> StartFailed:
    return StartFailed(f"{key}: can't listen on {address}: {error.strerror or error}")


async def _run(path: Path, env: Mapping[str, str], reading: Reading) -> int:
    return await Program(path, env, reading).run()


def run(path: Path, env: Mapping[str, str]) -> int:
    """Run the program; returns its exit status. Raises ConfigError and StartFailed."""
    return asyncio.run(_run(path, env, read(path, env)))
