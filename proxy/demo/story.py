"""The story: a staged rollout under traffic, the Image Service killed at 50 %, taken back, and completed after all.

The percentage is the controller's business alone (`rollout`): the story starts it, harms the Image Service, and looks
at the sidecar five times a second to know which percentage is in force. Neighbours: `gallery` and `sidecar` are the
world, `load` the users, `scenes` what is shown, `summary` the verdict.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from proxy.demo.compare import compare_sources
from proxy.demo.display import Display
from proxy.demo.gallery import Gallery
from proxy.demo.load import Load
from proxy.demo.processes import Child, StartError
from proxy.demo.rollout import Rehearsed, Rollout
from proxy.demo.scenes import Phases
from proxy.demo.sidecar import Seen, Sidecar
from proxy.demo.stats import Record
from proxy.demo.summary import RolloutEnd, Summary, back_on_legacy_s, summarise

_LOOK_S: Final = 0.2
_PATIENCE_S: Final = 90.0
_MOST_RUNS: Final = 5
_REST_S: Final = 2.0
_EASIER: Final = 0.6
_FIRST: Final = {10: "the first users move", 50: "half of the users", 100: "all on Image Service", 0: "rolled back"}
_AGAIN: Final = {10: "once more: the first", 50: "half of the users", 100: "all on Image Service", 0: "rolled back"}


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the story plays in."""

    gallery: Gallery
    sidecar: Sidecar
    rollout: Rollout
    display: Display


class Story:
    """Plays the parts and keeps every record."""

    def __init__(self, world: World, rate: float, hold_s: float) -> None:
        self._world = world
        self._hold_s = hold_s
        self._records: list[Record] = []
        self._phases = Phases(world.display, self._records, hold_s)
        self._ends: list[RolloutEnd] = []
        self._rehearsed: Rehearsed | None = None
        self._harmed: int | None = None
        self._back_s: float | None = None
        gallery = world.gallery
        self._load = Load(world.sidecar.url, gallery.content, self._records.append, rate, gallery.options.seed)

    def __repr__(self) -> str:
        return f"<Story {len(self._records)} records, {len(self._ends)} rollouts>"

    async def play(self) -> Summary:
        """Play it under load and return the summary. Raises SidecarError or StartError."""
        self._phases.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._load.run())
            await self._parts()
            self._load.stop()
        return await self._conclude()

    async def _parts(self) -> None:
        world, phases = self._world, self._phases
        world.rollout.write_plan(world.sidecar.config_file, world.sidecar.admin_url, self._hold_s)
        phases.open("all on PostgreSQL", 0, "traffic begins, everything on PostgreSQL", length_s=self._hold_s * 0.6)
        await self._rehearse()
        await self._look_until(lambda _seen: phases.age_s >= self._hold_s * 0.6)
        for run in range(_MOST_RUNS):
            controller = self._start(_AGAIN if self._back_s is not None else _FIRST)
            if self._back_s is None:
                await self._harm(controller)
                continue
            if (await self._run_out(controller)).completed:
                return
            if run + 1 < _MOST_RUNS:
                await self._go_easy()

    async def _rehearse(self) -> None:
        image = next(image.id for image in self._world.gallery.content.images)
        rehearsal = asyncio.ensure_future(self._world.rollout.rehearse(f"/images/{image}"))
        try:
            await self._look_until(lambda _seen: rehearsal.done())
        finally:
            rehearsal.cancel()
        self._rehearsed = done = rehearsal.result()
        self._phases.event(
            f"cutover rollout rehearse: {done.users} test users, there in {done.to_target_s:.2f} s, "
            f"back in {done.to_legacy_s:.2f} s"
        )

    def _start(self, titles: dict[int, str]) -> Child:
        self._phases.name(titles)
        self._phases.event("cutover rollout start rollout.yaml")
        return self._world.rollout.start()

    async def _harm(self, controller: Child) -> None:
        """Kill the Image Service once half of the users are seen to be well; what follows is the controller's doing."""
        phases = self._phases
        await self._look_until(
            lambda seen: not controller.running or (seen.share >= 50 and seen.verdict == "GO" and phases.age_s >= 1.0)
        )
        if not controller.running:
            await self._run_out(controller)
            await self._go_easy()
            return
        self._world.gallery.kill_image_service()
        killed_s = phases.clock()
        phases.open("Image Service killed", phases.share, "SIGKILL to the Image Service", length_s=2.0)
        await self._run_out(controller)
        self._harmed = len(self._ends)
        self._back_s = back_on_legacy_s(self._records, killed_s, phases.share_before)
        await self._look_until(lambda _seen: phases.age_s >= _REST_S)
        await self._world.gallery.start_image_service()
        phases.event("Image Service restarted")
        await self._look_until(lambda _seen: phases.age_s >= 2 * _REST_S)

    async def _go_easy(self) -> None:
        """A machine that is too slow for this much traffic has failed a gate: less of it, and once more."""
        self._load.slow_down(_EASIER)
        self._phases.event(f"this machine is too slow for so much traffic: on with {_EASIER:.0%} of it")
        await self._look_until(lambda _seen: self._phases.age_s >= _REST_S)

    async def _run_out(self, controller: Child) -> RolloutEnd:
        """Wait for a rollout's end."""
        await self._look_until(lambda _seen: not controller.running)
        status = await controller.wait()
        seen = await self._look()  # what is in force now, and the last that the controller said
        end = RolloutEnd(status == 0, seen.phase, seen.why)
        if seen.phase not in ("completed", "rolled_back"):
            raise controller.failure(f"ended with {status}:")
        self._ends.append(end)
        self._phases.event(f"the controller has ended, {end.phase.replace('_', ' ')}: {end.brief}")
        return end

    async def _look_until(self, holds: Callable[[Seen], bool]) -> Seen:
        """Look at the sidecar, and show it, until something holds. Raises StartError when it never does."""
        clock = asyncio.get_running_loop().time
        until = clock() + _PATIENCE_S
        while True:
            seen = await self._look()
            if holds(seen):
                return seen
            if clock() > until:
                raise StartError(f"nothing happens any more: {seen.phase}: {seen.why}")
            await asyncio.sleep(_LOOK_S)

    async def _look(self) -> Seen:
        seen = await self._world.sidecar.look()
        self._phases.see(seen)
        return seen

    async def _conclude(self) -> Summary:
        self._phases.close()
        self._phases.event("traffic stopped; comparing every image of both sources")
        gallery = self._world.gallery
        compared, agree = await compare_sources(gallery)
        summary = summarise(
            self._phases.done,
            self._records,
            gallery.content.users,
            images_compared=compared,
            sources_agree=agree,
            latency_factor=gallery.options.latency_factor,
        )
        return replace(
            summary,
            rollouts=tuple(self._ends),
            rehearsed=self._rehearsed,
            harmed=self._harmed,
            back_s=self._back_s,
        )

    async def linger(self, rate: float) -> None:
        """Go on with light traffic until cancelled; nothing of it is judged."""
        load = Load(self._world.sidecar.url, self._world.gallery.content, lambda _record: None, rate)
        await load.run()
