"""Keeps what is in force: the configuration last read, the override, the kill switch.

Whatever changes ends in one complete configuration to every worker. Readings go one after another, under `lock`;
an override and the kill switch take effect without waiting for it. Neighbours: `rollout_state` decides what is in
force, `reading` reads, `fleet` tells the workers, `changes` carries out what operators want.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from proxy.clocks import wall_clock
from proxy.settings.errors import ConfigError
from proxy.settings.schema import RESTART_KEYS
from proxy.settings.snapshot import Snapshot, compile_snapshot
from proxy.settings.watch import PathKind, paths_named_in, paths_of
from proxy.supervisor.fleet import Fleet
from proxy.supervisor.messages import Configuration
from proxy.supervisor.off_loop import off_loop
from proxy.supervisor.reading import Reading, content_digest, read
from proxy.supervisor.rollout_state import (
    Override,
    RolloutState,
    Share,
    on_file,
    on_kill_switch,
    on_override,
)
from proxy.systemd import Notifier
from proxy.tasks import TaskKeeper
from proxy.telemetry.events import EventLog
from proxy.telemetry.labels import ReloadResult
from proxy.telemetry.metrics import Metrics

OnRead = Callable[[RolloutState, Share, str], RolloutState]
"""The state after the file was read: from the state before, the file's share, its section's fingerprint."""


class LastReload(NamedTuple):
    """What became of the last reading; `at` in seconds since the epoch."""

    result: ReloadResult
    at: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the keeper tells of its doings. `watch` is given the paths, and when reading them began."""

    fleet: Fleet
    events: EventLog
    metrics: Metrics
    notifier: Notifier
    watch: Callable[[Mapping[Path, PathKind], float], None]


class Keeper:
    """The configuration of the running program. `snapshot` is what is in force, as requests read it."""

    def __init__(self, path: Path, env: Mapping[str, str], first: Reading, around: Surroundings) -> None:
        rollout = first.loaded.settings.rollout
        self.path = path
        self.env = env
        self.lock = asyncio.Lock()
        self.reading = first
        self.state = RolloutState(Share(rollout.percentage, rollout.enabled), first.loaded.rollout_written)
        self.state = on_kill_switch(self.state, engaged=_exists(rollout.kill_switch_file))
        self.snapshot = self._compile()
        self._around = around
        self._serial = 0
        self._tasks = TaskKeeper()
        self._rejected: tuple[str, str] | None = None
        self._refused = False
        self.last_reload = LastReload(ReloadResult.APPLIED, wall_clock(), None)
        around.metrics.config_reloaded(ReloadResult.APPLIED, self.last_reload.at)

    def __repr__(self) -> str:
        return f"<Keeper {self.reading.loaded.revision} {self.state.share} override={self.state.override}>"

    # what is in force

    def configuration(self) -> Configuration:
        """What is in force, under a serial of its own: to be sent before the next one is asked for."""
        self._serial += 1
        self.snapshot = self._compile()
        share = self.state.share
        return Configuration(
            serial=self._serial,
            settings=self.reading.loaded.settings,
            revision=self.reading.loaded.revision,
            percentage=share.percentage,
            enabled=share.enabled,
            kill_switch=self.state.kill_switch,
            tls_files=self.reading.tls_files,
        )

    def _compile(self) -> Snapshot:
        snapshot = compile_snapshot(self.reading.loaded.settings, self.reading.loaded.revision)
        share = self.state.share
        snapshot = snapshot.with_rollout(share.percentage, enabled=share.enabled)
        return snapshot.with_kill_switch(engaged=self.state.kill_switch)

    def put_in_force(self, state: RolloutState, origin: str) -> Coroutine[None, None, list[str]]:
        """Send a state to every worker, at once; awaiting the result waits until each has it in force.

        The result is why workers could not take it.
        """
        before, self.state = self.state, state
        configuration = self.configuration()
        self._tell_change(before, origin)
        return self._around.fleet.apply(configuration)

    def _tell_change(self, before: RolloutState, origin: str) -> None:
        """The audit event of a change of the rollout."""
        after = self.state
        if (before.share, before.kill_switch) == (after.share, after.kill_switch):
            return
        self._around.events.warning(
            "rollout_changed",
            origin=origin,
            old_percentage=before.share.percentage,
            new_percentage=after.share.percentage,
            old_enabled=before.share.enabled,
            new_enabled=after.share.enabled,
            old_kill_switch=before.kill_switch,
            new_kill_switch=after.kill_switch,
            override=after.override is not None,
            revision=self.reading.loaded.revision,
        )

    async def override(self, share: Share, origin: str) -> Override:
        """Put a share in force above the file; returns when every worker has it."""
        state = on_override(self.state, share, origin, wall_clock())
        await self.put_in_force(state, origin)
        assert state.override is not None  # noqa: S101 - on_override has just made it
        return state.override

    def look_for_kill_switch(self) -> None:
        """Engage or release the kill switch as its file has come or gone."""
        engaged = _exists(self.reading.loaded.settings.rollout.kill_switch_file)
        if engaged is not self.state.kill_switch:
            confirmation = self.put_in_force(on_kill_switch(self.state, engaged=engaged), "kill_switch")
            self._tasks.spawn(_finish(confirmation))

    # reading

    async def reload(self, origin: str) -> None:
        """Read the file again and put what it says in force, if it is valid and says anything new."""
        async with self.lock:
            await self.reload_locked(origin)

    async def reload_locked(self, origin: str, decide: OnRead = on_file) -> ConfigError | None:
        """As `reload`, while the caller has the lock; `decide` says what becomes of an override.

        Returns why the file was rejected.
        """
        self._around.notifier.reloading()
        began = wall_clock()
        try:
            reading = await off_loop(lambda: read(self.path, self.env))
        except ConfigError as error:
            self._reject(error, began)
            return error
        else:
            await self._accept(reading, origin, decide)
            return None
        finally:
            self._around.notifier.ready()

    def _reject(self, error: ConfigError, began: float) -> None:
        """Keep the last good one, and say why; once for each content."""
        self._note(ReloadResult.REJECTED, str(error))
        self._around.watch({**paths_of(self.reading.loaded), **paths_named_in(self.path)}, began)
        rejected = (content_digest(self.path), str(error))
        if rejected == self._rejected:
            return
        self._rejected = rejected
        first = error.problems[0]
        self._around.events.error(
            "config_rejected",
            file=first.file,
            line=first.line,
            key=first.key,
            message=first.problem,
            problems=[str(problem) for problem in error.problems],
            revision_in_force=self.reading.loaded.revision,
        )

    async def _accept(self, reading: Reading, origin: str, decide: OnRead) -> None:
        before, loaded = self.reading, reading.loaded
        rollout = loaded.settings.rollout
        state = decide(self.state, Share(rollout.percentage, rollout.enabled), loaded.rollout_written)
        state = on_kill_switch(state, engaged=_exists(rollout.kill_switch_file))
        self._rejected = None
        self.reading = reading
        self._around.watch(paths_of(loaded), reading.began)
        if reading.same_as(before) and state == self.state and not self._refused:
            self._note(ReloadResult.UNCHANGED)
            return
        self._around.events.apply(loaded.settings.logging)
        refusals = await self.put_in_force(state, origin)
        self._refused = bool(refusals)
        if refusals:
            self._note(ReloadResult.REJECTED, refusals[0])
            self._around.events.error("config_rejected", message=refusals[0], revision=loaded.revision)
            return
        self._note(ReloadResult.APPLIED)
        self._tell_applied(before, origin)

    def _tell_applied(self, before: Reading, origin: str) -> None:
        events, loaded = self._around.events, self.reading.loaded
        share = self.state.share
        events.info(
            "config_applied",
            origin=origin,
            revision=loaded.revision,
            percentage=share.percentage,
            enabled=share.enabled,
            override=self.state.override is not None,
        )
        for key in RESTART_KEYS:
            value_in = attrgetter(key)
            if value_in(loaded.settings) != value_in(before.loaded.settings):
                events.warning("config_warning", key=key, message="takes effect at the next restart; the rest applies")
        if loaded.warnings != before.loaded.warnings:
            self.tell_warnings()

    def tell_warnings(self) -> None:
        """Log what is legal in the configuration and will surprise somebody."""
        for warning in self.reading.loaded.warnings:
            self._around.events.warning("config_warning", key=warning.key, message=warning.message)

    def _note(self, result: ReloadResult, error: str | None = None) -> None:
        self.last_reload = LastReload(result, wall_clock(), error)
        self._around.metrics.config_reloaded(result, self.last_reload.at)


async def _finish(confirmation: Coroutine[None, None, list[str]]) -> None:
    await confirmation


def _exists(file: str | None) -> bool:
    return file is not None and os.path.exists(file)  # noqa: PTH110 - every 50 ms: a third of pathlib's cost
