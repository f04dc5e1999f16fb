"""What is not the same is read again, after a delay, before it counts: a write on its way is no corruption.

It counts when two looks in a row, a delay apart, see the very same thing; what changes in between is being written to,
and is looked at again. Bounded: a flood of doubts makes the reading wait. Neighbours: `verify`, `verify_http`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from proxy.migration.findings import Doubt, Findings, Verdict

CHUNK: Final = 500
_CHUNKS_AT_ONCE: Final = 4
_MOST_LOOKS: Final = 5

Examine = Callable[[Sequence[Doubt]], Awaitable[Sequence[Verdict | None]]]
"""Looks again, in the order of the doubts; None: the same now."""


class SecondLook:
    """Takes doubts, and confirms those that stay. `doubted` is told how many are waiting."""

    def __init__(
        self, examine: Examine, findings: Findings, delay_s: float, doubted: Callable[[int], None] | None = None
    ) -> None:
        self._examine = examine
        self._findings = findings
        self._delay_s = delay_s
        self._doubted = doubted or (lambda _number: None)
        self._waiting: list[Doubt] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(_CHUNKS_AT_ONCE)
        self._pending = 0

    def __repr__(self) -> str:
        return f"<SecondLook: {self._pending} doubts>"

    async def add(self, doubts: Sequence[Doubt]) -> None:
        """Take these; waits while there are too many."""
        self._waiting += doubts
        self._count(len(doubts))
        while len(self._waiting) >= CHUNK:
            await self._start()

    async def settle(self) -> None:
        """Look at all that is left. Raises what looking raises."""
        while self._waiting or self._tasks:
            if self._waiting:
                await self._start()
                continue
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._tasks.discard(task)
                task.result()

    async def cancel(self) -> None:
        """Give up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start(self) -> None:
        await self._places.acquire()
        chunk, self._waiting = self._waiting[:CHUNK], self._waiting[CHUNK:]
        if not chunk:  # somebody else has taken them while this one waited
            self._places.release()
            return
        task = asyncio.get_running_loop().create_task(self._look(chunk))
        self._tasks.add(task)
        task.add_done_callback(lambda _task: self._places.release())

    async def _look(self, doubts: Sequence[Doubt]) -> None:
        while doubts:
            await asyncio.sleep(self._delay_s)
            verdicts = await self._examine(doubts)
            confirmed: list[Doubt] = []
            changed: list[Doubt] = []
            for doubt, verdict in zip(doubts, verdicts, strict=True):
                if verdict is None:
                    continue
                again = replace(doubt, verdict=verdict, looks=doubt.looks + 1)
                settled = verdict == doubt.verdict or again.looks >= _MOST_LOOKS
                (confirmed if settled else changed).append(again)
            self._findings.confirm(confirmed)
            self._count(len(changed) - len(doubts))
            doubts = changed

    def _count(self, more: int) -> None:
        self._pending += more
        self._doubted(self._pending)
