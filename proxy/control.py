"""The running proxy as its operators see it: status, explanations, and changes of the rollout.

Implements `admin.control.Control` and `telemetry.metrics.LiveGauges` over the data plane. Neighbours: `app`
builds it, the admin API calls it.
"""

import os
from collections.abc import Mapping

from proxy import __version__
from proxy.admin.control import RevisionMismatch, RolloutChange, RolloutOutcome
from proxy.core.breaker import BreakerState
from proxy.core.model import Role
from proxy.explain import explain
from proxy.net.plane import DataPlane
from proxy.settings.addresses import TcpAddress
from proxy.settings.effective import effective_settings
from proxy.settings.load import LoadedSettings
from proxy.settings.snapshot import Snapshot
from proxy.telemetry.labels import LabelSpace
from proxy.telemetry.window import RollingWindow

_IN_MEMORY = "applied in memory; the configuration file was not changed"
_KILLED = "the kill-switch file exists, so everything goes to legacy all the same"
_NOT_ENABLED = "enabled is false, so nobody moves"


class RunningProxy:
    """One process's controls. `serving` is false while starting or draining."""

    __slots__ = ("_breaker_said", "_kill_switch", "_loaded", "_loaded_at", "_override", "_plane", "_window", "serving")

    def __init__(self, plane: DataPlane, loaded: LoadedSettings, window: RollingWindow) -> None:
        self._plane = plane
        self._loaded = loaded
        self._loaded_at = plane.wall_clock()
        self._window = window
        self._override: dict[str, object] | None = None
        self._kill_switch = loaded.settings.rollout.kill_switch_file
        self._breaker_said = BreakerState.ADMITTING
        self.serving = False
        self._apply(plane.snapshot)
        self.look_for_kill_switch()

    def __repr__(self) -> str:
        rollout = self._plane.snapshot.rollout
        return f"<RunningProxy percentage={rollout.percentage} enabled={rollout.enabled} serving={self.serving}>"

    def _apply(self, snapshot: Snapshot) -> None:
        """Make a snapshot the one that every following request reads."""
        self._plane.snapshot = snapshot
        self._plane.metrics.apply(
            LabelSpace(
                legacy=snapshot.legacy.name,
                target=snapshot.target.name,
                operations=tuple(operation.name for operation in snapshot.operations.operations),
                statuses=tuple(sorted(snapshot.fallback.statuses)),
                revision=snapshot.revision,
                percentage=snapshot.rollout.percentage,
                enabled=snapshot.rollout.enabled,
                routes={operation.name: operation.route for operation in snapshot.operations.operations},
            )
        )

    def look_for_kill_switch(self) -> None:
        """Engage or release the kill switch as its file appears or goes."""
        if self._kill_switch is None:
            return
        engaged = os.path.exists(self._kill_switch)  # noqa: PTH110 - every 50 ms: a third of pathlib's cost
        if engaged is not self._plane.snapshot.rollout.kill_switch:
            self._apply(self._plane.snapshot.with_kill_switch(engaged=engaged))
            self._plane.events.warning("kill_switch", engaged=engaged, file=self._kill_switch)

    def look_at_breaker(self) -> None:
        """Tell when the breaker has changed its state."""
        state = self._plane.breaker.state(self._plane.clock())
        if state is not self._breaker_said:
            self._plane.events.warning(
                "breaker",
                state=state.name.lower(),
                was=self._breaker_said.name.lower(),
                source=self._plane.snapshot.target.name,
            )
            self._breaker_said = state

    # admin.control.Control

    def ready(self) -> bool:
        """See Control."""
        return self.serving

    def status(self) -> dict[str, object]:
        """See Control."""
        snapshot = self._plane.snapshot
        rollout = snapshot.rollout
        return {
            "version": __version__,
            "revision": snapshot.revision,
            "percentage": rollout.percentage,
            "enabled": rollout.enabled,
            "override": self._override,
            "kill_switch": rollout.kill_switch,
            "breaker": self._breaker_said.name.lower(),
            "ready": self.serving,
            "last_reload": {"result": "applied", "at": self._loaded_at, "error": None},
            "workers": [
                {
                    "worker": 0,
                    "pid": os.getpid(),
                    "revision": snapshot.revision,
                    "connections": self._connections(),
                }
            ],
            "roles": {"legacy": snapshot.legacy.name, "target": snapshot.target.name},
            "sources": self._window.figures(self._plane.clock()),
        }

    def _connections(self) -> int:
        return len(self._plane.connections)

    def explain(self, user: str | None, method: str, path: str) -> dict[str, object]:
        """See Control."""
        return explain(self._plane.snapshot, user, method, path)

    def effective_config(self) -> dict[str, object]:
        """See Control."""
        return effective_settings(self._plane.snapshot.settings, user_lists="counts")

    def expose_metrics(self, accept: str) -> tuple[bytes, str]:
        """See Control."""
        return self._plane.metrics.expose(accept)

    def admin_token(self) -> str | None:
        """See Control."""
        return self._loaded.settings.admin.token

    def listens_on_loopback_only(self) -> bool:
        """See Control."""
        address = self._loaded.settings.admin.listen
        return not isinstance(address, TcpAddress) or address.is_local

    async def change_rollout(self, change: RolloutChange) -> RolloutOutcome:
        """See Control. Takes effect with the next request."""
        snapshot = self._plane.snapshot
        if change.if_match is not None and change.if_match not in ("*", snapshot.revision):
            raise RevisionMismatch(snapshot.revision)
        rollout = snapshot.rollout
        return self._override_rollout(
            rollout.percentage if change.percentage is None else change.percentage,
            enabled=rollout.enabled if change.enabled is None else change.enabled,
        )

    async def roll_back(self) -> RolloutOutcome:
        """See Control. Takes effect with the next request."""
        return self._override_rollout(0, enabled=False)

    def _override_rollout(self, percentage: int, *, enabled: bool) -> RolloutOutcome:
        before = self._plane.snapshot.rollout
        snapshot = self._plane.snapshot.with_rollout(percentage, enabled=enabled)
        self._apply(snapshot)
        self._override = {"percentage": percentage, "enabled": enabled}
        self._plane.events.info(
            "rollout_changed",
            origin="api",
            old_percentage=before.percentage,
            new_percentage=percentage,
            old_enabled=before.enabled,
            new_enabled=enabled,
            revision=snapshot.revision,
        )
        notes = [_IN_MEMORY]
        if snapshot.rollout.kill_switch:
            notes.append(_KILLED)
        if percentage and not enabled:
            notes.append(_NOT_ENABLED)
        return RolloutOutcome(
            percentage=percentage, enabled=enabled, revision=snapshot.revision, persisted=False, note="; ".join(notes)
        )

    # telemetry.metrics.LiveGauges

    def downstream_connections(self) -> int:
        """See LiveGauges."""
        return self._connections()

    def upstream_connections(self) -> Mapping[tuple[str, str], int]:
        """See LiveGauges."""
        counts: dict[tuple[str, str], int] = {}
        for role in Role:
            name, pool = self._plane.snapshot.source(role).name, self._plane.pools[role]
            counts[name, "idle"] = pool.idle
            counts[name, "busy"] = pool.busy
        return counts

    def breaker_states(self) -> Mapping[str, int]:
        """See LiveGauges."""
        state = self._plane.breaker.state(self._plane.clock())
        return {self._plane.snapshot.target.name: int(state), self._plane.snapshot.legacy.name: 0}
