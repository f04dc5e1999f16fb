"""A whole cutover in the journal that the controller and the watch really write, in a world without waiting.

10 → 50 → 100 % over twelve hours and a day of monitoring, with what a real one has: a rehearsal, a burst of
fallbacks, a breaker that opens, a configuration that was rejected, a sidecar that could not be read, a pause, people.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from proxy.core.model import Role, Route
from proxy.rollout.journal import Journal, Kind
from proxy.rollout.place import InForce
from proxy.rollout.plan_words import check_as_json
from proxy.rollout.reading import BUCKET, Reading, bound_label
from proxy.rollout.tally import Layout
from proxy.rollout.watching import Watch
from proxy.telemetry.exposition import ATTEMPTS, DECISIONS, FALLBACKS, RELOADS, REQUESTS
from proxy.telemetry.histogram import BOUNDS
from tests.rollout.world import LEGACY, TARGET, Sidecar, World, make_plan

BEGAN = datetime(2026, 11, 20, 9, 30, tzinfo=UTC).timestamp()
CHECKS: list[dict[str, Any]] = [
    {"name": "get p95", "operation": "get", "quantile": 0.95, "below": "50ms", "baseline": "300ms"},
    {"name": "list p95", "operation": "list", "quantile": 0.95, "below": "100ms", "baseline": "400ms"},
    {"name": "upload p95", "operation": "upload", "quantile": 0.95, "below": "1s", "baseline": "2500ms"},
    {"name": "update p95", "operation": "update", "quantile": 0.95, "below": "80ms", "baseline": "350ms"},
    {"name": "target errors", "source": "target", "error_ratio_below": 0.01, "hard_limit": 0.2},
    {"name": "user errors", "user_error_ratio_below": 0.001, "hard_limit": 0.02},
    {"name": "fallbacks", "fallback_ratio_below": 0.05, "hard_limit": 0.5},
    {"name": "CDN hits", "source": "target", "cache_hit_ratio_above": 0.85, "required": False},
    {"name": "DynamoDB throttles", "below": 1, "promql": "sum(throttles)", "required": False},
    {"name": "complaints", "manual": True, "below": 1},
]
# Operation: share of the traffic, median and spread of the times on legacy and on the target.
TRAFFIC = {
    "get": (0.62, (0.11, 0.62), (0.014, 0.62)),
    "list": (0.25, (0.16, 0.56), (0.034, 0.5)),
    "upload": (0.05, (1.0, 0.55), (0.36, 0.5)),
    "update": (0.05, (0.14, 0.55), (0.031, 0.5)),
    "delete": (0.03, (0.11, 0.6), (0.03, 0.5)),
}
ROUTES = dict.fromkeys(("get", "list", "upload", "update"), Route.SPLIT) | {"delete": Route.LEGACY}


@dataclass
class Gallery(Sidecar):
    """A sidecar with the traffic of a gallery."""

    random: Random = field(default_factory=lambda: Random(20261120))
    breaker: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        for result in ("applied", "rejected"):
            self.add((RELOADS.name, result), 0)
        for reason in ("timeout", "status_500", "status_503", "reset"):  # what can occur is there from the start
            self.fail(0, reason)
            self.fail(0, reason, "failed")

    def reading(self) -> Reading:
        return replace(super().reading(), breakers={TARGET: self.breaker})

    def spread(self, count: int, source: str, operation: str, times: tuple[float, float]) -> None:
        """So many good attempts, their times spread as a lognormal distribution (median, sigma)."""
        median, sigma = times
        self.add((ATTEMPTS.name, source, operation, "ok"), count)
        self.add((REQUESTS.name, source, operation, "200"), count)
        self.add((DECISIONS.name, source, operation, "bucket"), count)
        for bound in BOUNDS:
            share = 0.5 * (1 + math.erf((math.log(bound) - math.log(median)) / (sigma * math.sqrt(2))))
            self.add((BUCKET, source, operation, bound_label(bound)), round(count * share))
        self.add((BUCKET, source, operation, "+Inf"), count)

    def hour_of(self, seconds: float, rate: float, slower: float = 1.0) -> None:
        """The traffic of so many seconds, split by the percentage."""
        share = self.percentage / 100 if self.enabled else 0.0
        for operation, (part, legacy, target) in TRAFFIC.items():
            total = round(seconds * rate * part * self.random.uniform(0.9, 1.1))
            moved = round(total * share) if ROUTES[operation] is Route.SPLIT else 0
            wobble = self.random.uniform(0.94, 1.06)
            self.spread(total - moved, LEGACY, operation, (legacy[0] * wobble, legacy[1]))
            if moved:
                self.spread(moved, TARGET, operation, (target[0] * wobble * slower, target[1]))
                self.cache(round(moved * 0.91), moved - round(moved * 0.91))

    def fail(self, count: int, reason: str, result: str = "served") -> None:
        """So many attempts that failed on the target, and what legacy made of them."""
        self.add((ATTEMPTS.name, TARGET, "get", reason), count)
        self.add((DECISIONS.name, TARGET, "get", "bucket"), count)
        for bound in BOUNDS:
            self.add((BUCKET, TARGET, "get", bound_label(bound)), count if bound >= 5 else 0)
        self.add((BUCKET, TARGET, "get", "+Inf"), count)
        self.add((FALLBACKS.name, "get", reason, result), count)
        self.add((REQUESTS.name, LEGACY, "get", "200" if result == "served" else "504"), count)


class GalleryWorld(World):
    """A world of two such sidecars. `incidents` maps a time (hours since the first step) to what happens then."""

    def __init__(self, directory: Path, interval_s: float, rate: float = 40.0, **changes: Any) -> None:
        plan: dict[str, Any] = {
            "stages": [
                {"percentage": 10, "hold": "4h"},
                {"percentage": 50, "hold": "4h"},
                {"percentage": 100, "hold": "4h"},
            ],
            "interval": f"{interval_s:g}s",
            "settle": "10m",
            "window": "1h",
            "checks": CHECKS,
            "owner": {"approver": "Ada Lovelace", "on_call": "Grace Hopper"},
        }
        super().__init__(directory, make_plan(**{**plan, **changes}))
        self.galleries = [Gallery(random=Random(seed)) for seed in (1, 2)]
        self.sidecars = {f"http://10.0.0.{place}:9900": one for place, one in enumerate(self.galleries, 7)}
        self.time.wall_offset = BEGAN - self.time.now
        self.rate = rate
        self.values = {"DynamoDB throttles": 0.0}
        self.slower = 1.0
        self.incidents: list[tuple[float, Callable[[], None]]] = []
        self.traffic = self._serve
        self._served_at = self.time.now
        self.layout = Layout({Role.LEGACY: LEGACY, Role.TARGET: TARGET}, ROUTES)

    async def read(self) -> InForce:
        return replace(await super().read(), layout=self.layout)

    def facts(self) -> dict[str, Any]:
        plan = self.plan
        return {
            **super().facts(),
            "plan": "config/rollout/production.yaml",
            "digest": "5a0f3c9b1e27",
            "checks": [check_as_json(plan, check) for check in plan.checks],
            "interval_s": plan.interval,
            "settle_s": plan.settle,
            "window_s": plan.window,
            "owner": {"approver": plan.owner.approver, "on_call": plan.owner.on_call},
        }

    def warm_up(self, hours: float = 24) -> None:
        """What the sidecars had counted before the rollout."""
        for one in self.galleries:
            one.hour_of(hours * 3600, self.rate)
        self._served_at = self.time.now

    def _serve(self) -> None:
        elapsed, self._served_at = self.time.now - self._served_at, self.time.now
        for one in self.galleries:
            one.hour_of(elapsed, self.rate, self.slower)
        hours = (self.time.wall() - BEGAN) / 3600
        for due, incident in [one for one in self.incidents if one[0] <= hours]:
            self.incidents.remove((due, incident))
            incident()


async def run_controller(world: GalleryWorld, journal: Journal, most: int = 5000) -> Any:
    """Run it to its end, obeying whoever has ordered something."""
    controller = world.controller(journal)
    await controller.begin(world.facts())
    for _ in range(most):
        state = await controller.tick()
        if state.phase.is_final:
            break
        world.time.now += world.plan.interval
        await controller._obey_orders()
    controller._measuring.write(controller.state, now=True)
    journal.add(Kind.STOPPED, world.time.wall(), {"why": controller.state.phase.value})
    return controller.state


async def watch_on(world: GalleryWorld, journal: Journal, hours: float = 24) -> None:
    """`cutover rollout watch`."""
    watch = Watch(world.plan, world, world, journal, world.time)
    await watch.run(hours * 3600, 3600, lambda _line: None)


async def successful_cutover(directory: Path, interval_s: float = 300.0, hours: float = 24) -> Path:
    """One that completed, with its incidents, and was watched for a day; its journal's path."""
    world = GalleryWorld(directory, interval_s)
    world.waived = frozenset()
    with Journal(world.path) as journal:

        def note(text: str, **figure: Any) -> None:
            journal.add(Kind.NOTE, world.time.wall(), {"text": text, **figure})

        def none() -> None:
            note("support: no tickets", check="complaints", value=0)

        first, second = world.galleries
        journal.add(Kind.REHEARSAL, BEGAN - 3600, {"ok": False, "begun": True, "digests": ["d"]})
        rehearsed = {"ok": True, "users": 12, "to_target_s": 0.41, "to_legacy_s": 0.38, "why": "there and back"}
        journal.add(Kind.REHEARSAL, BEGAN - 3590, rehearsed)
        world.incidents = _incidents(world, journal, note, none)
        world.warm_up()
        await run_controller(world, journal)
        with suppress(ValueError):
            await watch_on(world, journal, hours)
        note("well: the rehearsal took two minutes and gave everybody confidence in the way back")
        note("well: fallbacks hid the throttling of 14:40 from every user")
        note("improve: the warm-up of Lambda concurrency before each step; p95 was high for ten minutes after it")
        note("lesson: raise the provisioned concurrency before the percentage, not after")
        assert first is not second
    return world.path


def _incidents(world: GalleryWorld, journal: Journal, note: Any, none: Any) -> list[tuple[float, Callable[[], None]]]:
    first, second = world.galleries
    place = list(world.sidecars)[1]

    def order(name: str, **more: Any) -> Callable[[], None]:
        return lambda: (journal.add(Kind.ORDER, world.time.wall(), {"order": name, **more}), None)[1]

    def throttled() -> None:
        first.fail(420, "status_503")
        second.fail(260, "timeout")
        first.add((DECISIONS.name, LEGACY, "get", "breaker_open"), 310)
        first.add((REQUESTS.name, LEGACY, "get", "200"), 310)
        first.breaker = 2

    def better() -> None:
        first.breaker = 0

    return [
        (0.5, none),
        (1.2, lambda: first.fail(9, "timeout")),
        (2.1, lambda: second.add((RELOADS.name, "rejected"), 1)),
        (4.4, none),
        (5.1, throttled),
        (5.3, better),
        (6.0, order("pause")),
        (6.6, order("resume")),
        (6.7, lambda: world.down.update({place: "connection refused"})),
        (7.0, world.down.clear),
        (9.5, none),
        (14.0, lambda: note("support: one question about thumbnails, no error", check="complaints", value=0)),
        (20.0, lambda: second.fail(31, "reset")),
        (27.0, lambda: first.fail(2, "timeout", "failed")),
        (30.0, lambda: setattr(world, "slower", 1.15)),
    ]


async def rolled_back(directory: Path, interval_s: float = 300.0) -> Path:
    """One that a hard limit ended at 50 %."""
    world = GalleryWorld(directory, interval_s)
    with Journal(world.path) as journal:
        world.warm_up()

        def none() -> None:
            journal.add(Kind.NOTE, world.time.wall(), {"text": "none", "check": "complaints", "value": 0})

        world.incidents = [
            (0.5, none),
            (4.5, none),
            (5.5, lambda: [one.fail(3000, "status_500", "served") for one in world.galleries] and None),
            (5.5, lambda: [one.fail(60, "status_500", "failed") for one in world.galleries] and None),
        ]
        await run_controller(world, journal)
    return world.path


async def waiting(directory: Path) -> Path:
    """One that waits for somebody to be named."""
    world = GalleryWorld(directory, 600, owner={"approver": None, "on_call": None})
    world.waived = frozenset(("rehearsal",))
    with Journal(world.path) as journal:
        await run_controller(world, journal, most=3)
    return world.path
