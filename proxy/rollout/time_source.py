"""Time for the controller, given in, so that tests have their own.

`monotonic` decides, `wall` is only shown. Neighbours: `controller`, `watching`, `hooks`.
"""

import asyncio
import time
from typing import Protocol

from proxy.clocks import wall_clock


class TimeSource(Protocol):
    """Clocks, and a way to wait."""

    def monotonic(self) -> float:
        """Seconds that never jump."""

    def wall(self) -> float:
        """Seconds since the epoch, for people."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemTime:
    """The machine's."""

    def __repr__(self) -> str:
        return "<SystemTime>"

    def monotonic(self) -> float:
        """See TimeSource."""
        return time.monotonic()

    def wall(self) -> float:
        """See TimeSource."""
        return wall_clock()

    async def sleep(self, seconds: float) -> None:
        """See TimeSource."""
        await asyncio.sleep(max(seconds, 0.0))
