"""A world for the controller in which nothing waits: time, a store, and sidecars that count what they are told."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from proxy.core.model import Role, Route
from proxy.rollout.controller import Controller, Surroundings
from proxy.rollout.decision import Step
from proxy.rollout.hooks import Hooks
from proxy.rollout.journal import Journal
from proxy.rollout.place import InForce, Observation
from proxy.rollout.plan import Plan
from proxy.rollout.reading import BUCKET, Key, Reading, bound_label
from proxy.rollout.record import Record
from proxy.rollout.stores import StoreError
from proxy.rollout.tally import Layout
from proxy.telemetry.exposition import ATTEMPTS, CACHE, DECISIONS, FALLBACKS, REQUESTS
from proxy.telemetry.histogram import BOUNDS

LEGACY, TARGET = "postgresql", "image_service"
LAYOUT = Layout(
    {Role.LEGACY: LEGACY, Role.TARGET: TARGET},
    {"get": Route.SPLIT, "list": Route.SPLIT, "upload": Route.LEGACY, "moved": Route.TARGET, "other": Route.LEGACY},
)
CHECKS: list[dict[str, Any]] = [
    {"name": "get p95", "source": "target", "operation": "get", "quantile": 0.95, "below": "50ms"},
    {"name": "target errors", "source": "target", "error_ratio_below": 0.01, "hard_limit": 0.2},
]


def make_plan(**changes: Any) -> Plan:
    base: dict[str, Any] = {
        "stages": [
            {"percentage": 10, "hold": "60s"},
            {"percentage": 50, "hold": "60s"},
            {"percentage": 100, "hold": "60s"},
        ],
        "interval": "5s",
        "settle": "10s",
        "window": "30s",
        "observe": {"sidecars": ["http://127.0.0.1:1"]},
        "apply": {"file": "unused"},
        "checks": CHECKS,
    }
    return Plan.model_validate({**base, **changes})


class FakeTime:
    """Monotonic and wall time that only go when told; sleeping tells them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_offset = 1.7e9
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.wall_offset

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-6)
        self.on_sleep()


class Sidecar:
    """Counters of one sidecar."""

    def __init__(self) -> None:
        self.counters: dict[Key, float] = {}
        self.percentage, self.enabled, self.revision = 0, False, "r0"
        for source in (LEGACY, TARGET):
            self.serve(0, source=source)
            self.serve(0, source=source, outcome="status_500")

    def add(self, key: Key, count: float) -> None:
        self.counters[key] = self.counters.get(key, 0.0) + count

    def serve(
        self, count: int, *, seconds: float = 0.01, outcome: str = "ok", source: str = TARGET, operation: str = "get"
    ) -> None:
        """So many attempts, and their requests."""
        self.add((ATTEMPTS.name, source, operation, outcome), count)
        self.add((DECISIONS.name, source, operation, "bucket"), count)
        for bound in BOUNDS:
            self.add((BUCKET, source, operation, bound_label(bound)), count if seconds <= bound else 0)
        self.add((BUCKET, source, operation, "+Inf"), count)
        self.add((REQUESTS.name, source, operation, "200"), count)

    def fall_back(self, count: int, reason: str = "status_500", result: str = "served", operation: str = "get") -> None:
        self.add((FALLBACKS.name, operation, reason, result), count)

    def cache(self, hits: int, misses: int) -> None:
        self.add((CACHE.name, TARGET, "get", "hit"), hits)
        self.add((CACHE.name, TARGET, "get", "miss"), misses)

    def reading(self) -> Reading:
        return Reading(dict(self.counters), self.percentage, self.enabled, frozenset((self.revision,)))

    def restart(self) -> None:
        self.counters = dict.fromkeys(self.counters, 0.0)


class World:
    """Everything a controller works with. `effects` is told before and after each effect, and may raise."""

    def __init__(self, directory: Path, plan: Plan | None = None, sidecars: int = 1) -> None:
        self.plan = plan or make_plan()
        self.time = FakeTime()
        self.sidecars = {f"sidecar-{number}": Sidecar() for number in range(sidecars)}
        self.percentage, self.enabled, self.revision = 0, False, "r0"
        self.applied: list[int] = []
        self.path = directory / "rollout.db"
        self.said: list[str] = []
        self.down: dict[str, str] = {}
        self.values: dict[str, float] = {}
        self.store_error: str | None = None
        self.apply_error: str | None = None
        self.effect: Callable[[str], None] = lambda _name: None
        self.traffic: Callable[[], None] = lambda: None
        self.waived = frozenset(("owner", "rehearsal"))
        self.kill_switch = False

    # the store

    async def read(self) -> InForce:
        if self.store_error is not None:
            raise StoreError(self.store_error)
        place = {"file": (self.percentage, self.enabled)}
        return InForce(place, frozenset((self.revision,)), LAYOUT, self.kill_switch)

    async def apply(self, step: Step) -> None:
        self.effect("before apply")
        if self.apply_error is not None:
            raise StoreError(self.apply_error)
        self.put(step.percentage, enabled=step.enabled)
        self.applied.append(step.percentage)
        self.effect("after apply")

    def put(self, percentage: int, *, enabled: bool = True) -> None:
        """What a change of the file does, its sidecars having seen it."""
        if (percentage, enabled) != (self.percentage, self.enabled):
            self.revision = f"r{percentage}{enabled}"
        self.percentage, self.enabled = percentage, enabled
        for sidecar in self.sidecars.values():
            sidecar.percentage, sidecar.enabled, sidecar.revision = percentage, enabled, self.revision

    # the observer

    async def observe(self) -> Observation:
        self.traffic()
        up = {name: sidecar.reading() for name, sidecar in self.sidecars.items() if name not in self.down}
        return Observation(readings=up, gaps=dict(self.down), values=dict(self.values))

    async def close(self) -> None:
        pass

    def controller(self, journal: Journal) -> Controller:
        around = Surroundings(
            store=self,
            observer=self,
            record=Record(journal, self.time),
            time=self.time,
            hooks=Hooks((), self.time),
            say=self.said.append,
            waived=self.waived,
        )
        return Controller(self.plan, around)

    def facts(self) -> Mapping[str, Any]:
        return {
            "plan": "plan.yaml",
            "digest": "d",
            "stages": [stage.percentage for stage in self.plan.stages],
            "holds": [stage.hold for stage in self.plan.stages],
            "manual": [check.name for check in self.plan.checks if check.manual],
            "waived": sorted(self.waived),
        }

    def good_traffic(self, each: int = 200) -> None:
        def serve() -> None:
            for sidecar in self.sidecars.values():
                share = sidecar.percentage if sidecar.enabled else 0
                if share:
                    sidecar.serve(each)

        self.traffic = serve

    def bad_traffic(self, each: int = 200, failing: float = 0.5) -> None:
        def serve() -> None:
            for sidecar in self.sidecars.values():
                if sidecar.enabled and sidecar.percentage:
                    sidecar.serve(round(each * (1 - failing)))
                    sidecar.serve(round(each * failing), outcome="status_500")

        self.traffic = serve
