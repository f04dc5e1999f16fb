"""Looks at the running proxy now and then, for the live page: its status, the history, what is notable.

One look serves every open page, and without one it looks less often. Whoever watches reads
from here at its own pace and is owed nothing: there is no queue that could grow. Neighbours: `stream` watches,
`history` and `notable` keep.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from proxy.admin.control import Control
from proxy.admin.history import EVERY_S, History
from proxy.admin.notable import Notables

LOOK_EVERY_S: Final = 1.0
IDLE_LOOK_EVERY_S: Final = 2.5  # half the time between two points
MAX_STREAMS: Final = 16
_EARLY_S: Final = 0.1  # a look that comes this much before a point is due makes it


class Observer:
    """What open pages are shown. `wall_clock` is shown to people, `report` is told of a status that fails."""

    def __init__(self, control: Control, wall_clock: Callable[[], float], report: Callable[[str], None]) -> None:
        self._control = control
        self._wall_clock = wall_clock
        self._report = report
        self._failing = ""
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._streams = 0
        self._next_point = 0.0
        self.history = History()
        self.notables = Notables()
        self.serial = 0
        self.body = "{}"
        self.closing = False

    def __repr__(self) -> str:
        return f"<Observer streams={self._streams} serial={self.serial} {self.history!r} {self.notables!r}>"

    # looking

    async def run(self) -> None:
        """Look until cancelled. A status that can't be had is told once, and looked for again."""
        while True:
            self._wanted.clear()
            try:
                await self.look(asyncio.get_running_loop().time())
            except Exception as error:  # noqa: BLE001 - the boundary: the page goes on, and says that it has no figures
                self._tell(repr(error))
            else:
                self._tell("")
            await self._pause()

    async def look(self, now: float) -> None:
        """Take one status; `now` is monotonic."""
        status = await self._control.status()
        at = self._wall_clock()
        self.notables.look(status, at)
        if now >= self._next_point - _EARLY_S:
            self._next_point = now + EVERY_S
            self.history.add(status, at)
        self.body = json.dumps({"at": round(at, 3), "status": status}, default=str, separators=(",", ":"))
        self.serial += 1
        self.wake()

    async def _pause(self) -> None:
        """Until the next look is due."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S if self._streams else IDLE_LOOK_EVERY_S):
                await self._wanted.wait()

    def look_soon(self) -> None:
        """Make a look due at once: something was changed, or somebody begins to watch."""
        self._wanted.set()

    def _tell(self, failing: str) -> None:
        if failing and failing != self._failing:
            self._report(failing)
        self._failing = failing

    # watching

    @contextlib.contextmanager
    def watching(self) -> Iterator[bool]:
        """A place for one stream; False when all are taken."""
        if self._streams >= MAX_STREAMS or self.closing:
            yield False
            return
        self._streams += 1
        self.look_soon()
        try:
            yield True
        finally:
            self._streams -= 1

    async def changes(self, within_s: float) -> AsyncIterator[None]:
        """Come back after each change, and after this long without one; ends when the program does."""
        while not self.closing:
            yield
            if self.closing:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._changed.wait()

    def close(self) -> None:
        """Let every stream end."""
        self.closing = True
        self.wake()

    def wake(self) -> None:
        """There is something new to be sent, of the status or of what else a stream shows."""
        self._changed.set()
        self._changed.clear()
