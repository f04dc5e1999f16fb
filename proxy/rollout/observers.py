"""What can be observed: one interface, and the sum of several.

An observer never raises for what it observes: what can't be had is a gap, or missing, with its reason. Neighbours:
`scrape`, `prometheus` and `cloudwatch` implement it, `controller` asks at each tick.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from proxy.rollout.place import Observation
from proxy.rollout.plan import CheckKind, Plan


class Observer(Protocol):
    """Somebody who can be asked for figures."""

    async def observe(self) -> Observation:
        """See what there is to see now, within a few seconds."""

    async def close(self) -> None:
        """Close what is open."""


class Everything:
    """All observers at once."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def __repr__(self) -> str:
        return f"<Everything of {len(self._observers)} observers>"

    async def observe(self) -> Observation:
        """See Observer; they are asked at the same time."""
        seen = await asyncio.gather(*(observer.observe() for observer in self._observers))
        return Observation(
            readings={name: reading for one in seen for name, reading in one.readings.items()},
            gaps={name: why for one in seen for name, why in one.gaps.items()},
            values={name: value for one in seen for name, value in one.values.items()},
            missing={name: why for one in seen for name, why in one.missing.items()},
        )

    async def close(self) -> None:
        """See Observer."""
        for observer in self._observers:
            await observer.close()


class Nobody:
    """Says which checks nobody can answer, because their observer is not in the plan."""

    def __init__(self, plan: Plan) -> None:
        lacking = {}
        for check in plan.checks:
            if check.kind is CheckKind.PROMQL and not plan.observe.prometheus:
                lacking[check.name] = "observe.prometheus is not in the plan"
            if check.kind is CheckKind.CLOUDWATCH and plan.observe.cloudwatch is None:
                lacking[check.name] = "observe.cloudwatch is not in the plan"
        self._seen = Observation(missing=lacking)

    def __repr__(self) -> str:
        return f"<Nobody for {len(self._seen.missing)} checks>"

    async def observe(self) -> Observation:
        """See Observer."""
        return self._seen

    async def close(self) -> None:
        """See Observer."""


def open_observers(plan: Plan) -> Everything:
    """The observers that a plan names. Raises ImportError when the extra for one is not installed."""
    timeout_s = min(5.0, max(plan.interval * 0.8, 0.2))
    observers: list[Observer] = [Nobody(plan)]
    if plan.observe.sidecars:
        from proxy.rollout.scrape import SidecarObserver  # noqa: PLC0415 - a plan needs one of the two

        observers.append(SidecarObserver(plan.observe.sidecars, timeout_s))
    if plan.observe.prometheus:
        from proxy.rollout.prometheus import PrometheusObserver  # noqa: PLC0415 - a plan needs one of the two

        observers.append(PrometheusObserver(plan, timeout_s))
    if plan.observe.cloudwatch is not None:
        from proxy.rollout.cloudwatch import CloudWatchObserver  # noqa: PLC0415 - needs the extra `rollout`

        observers.append(CloudWatchObserver(plan, timeout_s))
    return Everything(observers)
