"""The story: 0 -> 10 -> 50 -> 100 -> rollback under traffic, with the Image Service killed on the way.

Neighbours: `gallery` and `sidecar` are the world, `load` the users, `display` the screen, `summary` the verdict.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxy.demo.checks import judge_sides
from proxy.demo.compare import compare_sources
from proxy.demo.display import Display, Scene
from proxy.demo.gallery import Gallery
from proxy.demo.load import Load
from proxy.demo.sidecar import Sidecar
from proxy.demo.stats import Record
from proxy.demo.summary import PhaseTimes, Summary, summarise

_TICK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """One phase: what is done first (`act`, then said as `event`), and how long it is then watched."""

    title: str
    percentage: int
    seconds: float
    event: str
    act: Callable[[], Awaitable[None]]


class Story:
    """Plays the steps and keeps every record."""

    def __init__(self, gallery: Gallery, sidecar: Sidecar, display: Display, rate: float) -> None:
        self._gallery = gallery
        self._sidecar = sidecar
        self._display = display
        self._phases: list[PhaseTimes] = []
        self._records: list[Record] = []
        self._off_side: set[str] = set()
        self._began_s = 0.0
        self._load = Load(sidecar.url, gallery.content, self._records.append, rate, gallery.options.seed)

    def __repr__(self) -> str:
        return f"<Story {len(self._phases)} phases, {len(self._records)} records>"

    def steps(self, scale: float = 1.0) -> list[Step]:
        """Return the timeline; `scale` stretches or shortens every phase."""

        def at(percentage: int) -> Callable[[], Awaitable[None]]:
            return lambda: self._sidecar.set_percentage(percentage)

        async def kill() -> None:
            self._gallery.kill_image_service()

        patch, killed = "PATCH /rollout", "SIGKILL to the Image Service"
        return [
            Step("all on PostgreSQL", 0, 5 * scale, f"{patch} 0 %", at(0)),
            Step("the first users move", 10, 8 * scale, f"{patch} 10 %", at(10)),
            Step("half of the users", 50, 7 * scale, f"{patch} 50 %", at(50)),
            Step("Image Service killed", 50, 6 * scale, killed, kill),
            Step("Image Service back", 50, 7 * scale, "Image Service restarted", self._restart),
            Step("all on Image Service", 100, 9 * scale, f"{patch} 100 %", at(100)),
            Step("rolled back", 0, 6 * scale, "POST /rollback", self._sidecar.roll_back),
        ]

    async def _restart(self) -> None:
        await self._gallery.start_image_service()

    async def play(self, scale: float = 1.0) -> Summary:
        """Play all steps under load and return the summary. Raises SidecarError or StartError."""
        steps = self.steps(scale)
        self._began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._load.run())
            for number, step in enumerate(steps, 1):
                await self._play_step(step, (number, len(steps)))
            self._load.stop()
        return await self._conclude()

    async def _play_step(self, step: Step, position: tuple[int, int]) -> None:
        clock = asyncio.get_running_loop().time
        asked_s = clock()
        await step.act()
        began_s = clock()
        self._close_gap(step, began_s)
        self._display.event(began_s - self._began_s, f"{step.event} ({(began_s - asked_s) * 1000:.0f} ms)")
        first = len(self._records)
        until_s = began_s + step.seconds
        while (now_s := clock()) < until_s:
            await asyncio.sleep(min(_TICK_S, until_s - now_s))
            self._show(step, position, began_s, self._records[first:])
        phase = PhaseTimes(step.title, step.percentage, began_s, clock())
        self._phases.append(phase)
        self._off_side |= self._off_side_in(phase, self._records[first:])

    def _close_gap(self, step: Step, began_s: float) -> None:
        """Count the time a step took to come about to the phase before, if the percentage did not change."""
        if self._phases and self._phases[-1].percentage == step.percentage:
            self._phases[-1] = replace(self._phases[-1], ended_s=began_s)

    @staticmethod
    def _off_side_in(phase: PhaseTimes, records: Sequence[Record]) -> set[str]:
        return set(judge_sides(records, phase.percentage, phase.began_s, phase.ended_s).users_off_side)

    def _show(self, step: Step, position: tuple[int, int], began_s: float, phase_records: Sequence[Record]) -> None:
        now_s = asyncio.get_running_loop().time()
        phase = PhaseTimes(step.title, step.percentage, began_s, now_s)
        self._display.show(
            Scene(
                title=step.title,
                percentage=step.percentage,
                position=position,
                elapsed_s=now_s - began_s,
                length_s=step.seconds,
                now_s=now_s,
                clock_s=now_s - self._began_s,
                phase_records=[record for record in phase_records if record.started_s >= began_s],
                records=self._records,
                users_off_side=len(self._off_side | self._off_side_in(phase, phase_records)),
            )
        )

    async def _conclude(self) -> Summary:
        clock_s = asyncio.get_running_loop().time() - self._began_s
        self._display.event(clock_s, "traffic stopped; comparing every image of both sources")
        compared, agree = await compare_sources(self._gallery)
        return summarise(
            self._phases,
            self._records,
            self._gallery.content.users,
            images_compared=compared,
            sources_agree=agree,
            latency_factor=self._gallery.options.latency_factor,
        )

    async def linger(self, rate: float) -> None:
        """Go on with light traffic until cancelled; nothing of it is judged."""
        load = Load(self._sidecar.url, self._gallery.content, lambda _record: None, rate)
        await load.run()
