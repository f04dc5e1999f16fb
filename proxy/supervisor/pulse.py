"""Waiting for something that will be noticed sooner or later, without saying where.

Neighbour: `fleet` beats whenever a worker says or does anything.
"""

import asyncio
from collections.abc import Callable


class Pulse:
    """Wakes everybody who waits at each beat; each then looks for himself."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __repr__(self) -> str:
        return "<Pulse>"

    def beat(self) -> None:
        """Something has changed."""
        self._event.set()
        self._event.clear()

    async def until(self, done: Callable[[], bool], within_s: float | None = None) -> bool:
        """Wait until it is true, for `within_s` at most; whether it is."""
        try:
            async with asyncio.timeout(within_s):
                while not done():
                    await self._event.wait()
        except TimeoutError:
            return done()
        return True
