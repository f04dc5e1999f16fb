"""The running program as its operators see it: `admin.control.Control` over all workers.

Neighbours: `admin.api` calls it; `keeper`, `changes`, `fleet` and `figures` know the answers.
"""

from collections.abc import Callable

from proxy import __version__
from proxy.admin.control import RolloutChange, RolloutOutcome
from proxy.core.breaker import BreakerState
from proxy.core.model import Role
from proxy.explain import explain
from proxy.settings.effective import effective_settings
from proxy.supervisor.changes import Changes
from proxy.supervisor.figures import Figures
from proxy.supervisor.fleet import Fleet
from proxy.supervisor.keeper import Keeper


class RunningProgram:
    """Implements `Control`. `serving` is false while starting or draining."""

    def __init__(
        self, keeper: Keeper, fleet: Fleet, figures: Figures, clock: Callable[[], float], *, admin_is_local: bool
    ) -> None:
        self._keeper = keeper
        self._changes = Changes(keeper)
        self._fleet = fleet
        self._figures = figures
        self._clock = clock
        self._admin_is_local = admin_is_local
        self.serving = False

    def __repr__(self) -> str:
        return f"<RunningProgram serving={self.serving} {self._keeper!r}>"

    def ready(self) -> bool:
        """See Control."""
        return self.serving and self._fleet.serving

    def revision(self) -> str:
        """See Control."""
        return self._keeper.reading.loaded.revision

    async def status(self) -> dict[str, object]:
        """See Control."""
        await self._figures.refresh()
        keeper, snapshot = self._keeper, self._keeper.snapshot
        override, reload = keeper.state.override, keeper.last_reload
        breaker = max((report.breaker for _, report in self._fleet.reports()), default=0)
        return {
            "version": __version__,
            "revision": self.revision(),
            "percentage": keeper.state.share.percentage,
            "enabled": keeper.state.share.enabled,
            "override": None
            if override is None
            else {
                "percentage": override.share.percentage,
                "enabled": override.share.enabled,
                "origin": override.origin,
                "at": override.at,
            },
            "kill_switch": keeper.state.kill_switch,
            "breaker": BreakerState(breaker).name.lower(),
            "ready": self.ready(),
            "last_reload": {"result": reload.result, "at": reload.at, "error": reload.error},
            "workers": self._workers(),
            "roles": {role: snapshot.source(role).name for role in Role},
            "sources": self._figures.rolling(self._clock()),
        }

    def _workers(self) -> list[dict[str, object]]:
        return [
            {
                "worker": member.slot,
                "pid": member.body.pid,
                "revision": report.revision,
                "connections": report.connections,
                "state": member.stage.name.lower(),
                "breaker": BreakerState(report.breaker).name.lower(),
            }
            for member, report in sorted(self._fleet.reports(), key=lambda told: told[0].slot)
        ]

    def explain(self, user: str | None, method: str, path: str) -> dict[str, object]:
        """See Control."""
        return explain(self._keeper.snapshot, user, method, path)

    def effective_config(self) -> dict[str, object]:
        """See Control."""
        return effective_settings(self._keeper.snapshot.settings, user_lists="counts")

    async def expose_metrics(self, accept: str) -> tuple[bytes, str]:
        """See Control."""
        await self._figures.refresh()
        return self._figures.expose(accept)

    def admin_token(self) -> str | None:
        """See Control."""
        return self._keeper.reading.loaded.settings.admin.token

    def listens_on_loopback_only(self) -> bool:
        """See Control."""
        return self._admin_is_local

    async def change_rollout(self, change: RolloutChange) -> RolloutOutcome:
        """See Control."""
        return await self._changes.change(change)

    async def roll_back(self) -> RolloutOutcome:
        """See Control."""
        return await self._changes.roll_back()
