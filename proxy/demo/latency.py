"""The latency the demo adds to the legacy API, to make it as slow as the epic's table says it is.

It pads: an answer is held back until the drawn time has passed, so the database's own time counts in.
"""

import asyncio
import math
import random
from typing import Final

from aiohttp import web

from proxy.demo.gallery_app import Handler, operation_of

EPIC_BEFORE_P95_MS: Final = {"get": 300, "list": 400, "upload": 2500, "update": 350, "delete": 300}
"""Epic 5, "Performance Comparison", column "Before (P95)"."""
EPIC_AFTER_P95_MS: Final = {"get": 50, "list": 100, "upload": 1000, "update": 80, "delete": 100}
"""The same table's "After (P95)"."""
DEFAULT_FACTOR: Final = 0.25

_MEDIAN_OF_P95: Final = 0.6
_SIGMA: Final = math.log(1 / _MEDIAN_OF_P95) / 1.6449  # the normal distribution's 95 % point


def draw_latency_s(operation: str, factor: float, rng: random.Random) -> float:
    """Return a log-normal time in seconds whose p95 is the epic's "before", times `factor`."""
    median_ms = EPIC_BEFORE_P95_MS[operation] * _MEDIAN_OF_P95 * factor
    return median_ms * rng.lognormvariate(0, _SIGMA) / 1000


def pad_latency(factor: float, seed: int) -> object:
    """Return the middleware; a factor of 0 adds nothing."""
    rng = random.Random(seed)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = operation_of(request)
        if operation is None or factor <= 0:
            return await handler(request)
        loop = asyncio.get_running_loop()
        due = loop.time() + draw_latency_s(operation, factor, rng)
        response = await handler(request)
        await asyncio.sleep(max(0.0, due - loop.time()))
        return response

    return middleware
