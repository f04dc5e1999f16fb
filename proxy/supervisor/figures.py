"""The figures of all workers together: those that run, and those that have ended.

A worker counts for what it reported last, and when it ends that report goes into what is kept: so what was shown
once is never taken back, however a worker ends. Neighbours: `fleet` has the reports, `control` shows the sums.
"""

import platform
from typing import Final

from proxy import __version__
from proxy.supervisor.fleet import Fleet
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.state import MetricsState
from proxy.telemetry.window import RollingWindow

FRESH_WITHIN_S: Final = 0.5


class Figures:
    """Sums, rolling figures and scrapes over a fleet. `own` is what the supervisor itself counts."""

    def __init__(self, own: Metrics, fleet: Fleet) -> None:
        self._own = own
        self._fleet = fleet
        self._exposition = Exposition(
            self.total,
            __version__,
            platform.python_version(),
            lambda: [member.body.pid for member in fleet.members],
        )
        self._window = RollingWindow(self.total)

    def __repr__(self) -> str:
        return f"<Figures {self._window!r}>"

    def total(self) -> MetricsState:
        """Everything, from the reports that are here."""
        total = MetricsState(last_reload_successful=self._own.state.last_reload_successful)
        total.merge(self._own.state)
        total.merge_counters(self._fleet.ended)
        for _, report in self._fleet.reports():
            total.merge(report.metrics)
        return total

    async def refresh(self) -> None:
        """Get fresh reports, as far as workers give them at once."""
        await self._fleet.refresh(FRESH_WITHIN_S)

    def tick(self, now: float) -> None:
        """Keep the rolling figures going."""
        self._window.tick(now)

    def rolling(self, now: float) -> dict[str, object]:
        """The figures of `/status`."""
        return dict(self._window.figures(now))

    def expose(self, accept: str) -> tuple[bytes, str]:
        """A scrape."""
        return self._exposition.render(accept)
