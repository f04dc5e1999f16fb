"""Faults that the Image Service shows on request, each as it looks on a real wire.

Neighbours: `image_service` mounts `GET|PUT /internal/faults` and the middleware; `/internal` and `/healthz` are
never harmed, or nobody could switch a fault off again.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiohttp import web

from proxy.demo.gallery_app import Handler, problem
from proxy.demo.validation import InvalidFieldsError

_MISSING_BYTES: Final = 512
_POLL_S: Final = 0.1
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: close sends RST instead of FIN


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, per request; ratios from 0 to 1 are drawn in the order reset, truncate, error."""

    latency_ms: float = 0.0
    error_ratio: float = 0.0
    reset_ratio: float = 0.0
    truncate_ratio: float = 0.0
    black_hole: bool = False
    seed: int | None = None


def parse_faults(document: Mapping[str, Any]) -> Faults:
    """Read the faults of a PUT; what is left out is off. Raises InvalidFieldsError."""
    problems: dict[str, str] = {}
    for name, value in document.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name == "black_hole":
            if not isinstance(value, bool):
                problems[name] = "must be true or false"
        elif name == "seed":
            if value is not None and not (number and isinstance(value, int)):
                problems[name] = "must be a whole number or null"
        elif name not in {"latency_ms", "error_ratio", "reset_ratio", "truncate_ratio"}:
            problems[name[:64]] = "is not a fault"
        elif not number or not 0 <= value <= (60_000 if name == "latency_ms" else 1):
            problems[name] = "is out of range"
    if problems:
        raise InvalidFieldsError(problems)
    return Faults(**document)


def _transport(request: web.Request) -> asyncio.Transport:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has left")
    return transport


def _reset(request: web.Request) -> web.Response:
    transport = _transport(request)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
    return web.Response()  # aiohttp wants one; there is nobody left to get it


async def _truncate(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
    partial = web.StreamResponse(status=response.status, headers=response.headers)
    partial.content_length = len(body) + _MISSING_BYTES
    await partial.prepare(request)
    await partial.write(body[: max(1, len(body) // 2)])
    _transport(request).close()  # sends what is written, then FIN, with the rest of Content-Length owed
    return partial


class FaultInjector:
    """Holds the faults in force; its middleware goes outermost."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._rng = random.Random()

    def __repr__(self) -> str:
        return f"<FaultInjector {self.faults}>"

    def switch(self, faults: Faults) -> None:
        """Put `faults` in force from the next request on; with a seed their sequence is repeatable."""
        self.faults = faults
        self._rng = random.Random(faults.seed)

    def as_json(self) -> dict[str, Any]:
        """The faults in force."""
        return asdict(self.faults)

    def middleware(self) -> object:
        """Return the middleware that lets the faults happen to `/images`."""

        @web.middleware
        async def apply(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not request.path.startswith("/images"):
                return await handler(request)
            return await self._apply(request, handler)

        return apply

    async def _apply(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        faults, draw = self.faults, self._rng.random
        if faults.black_hole:
            # aiohttp has no event for a client that left.
            while self.faults.black_hole and request.transport is not None:  # noqa: ASYNC110 - see above
                await asyncio.sleep(_POLL_S)
            return _reset(request)  # switched off meanwhile: still no answer
        if faults.latency_ms:
            await asyncio.sleep(faults.latency_ms / 1000)
        if draw() < faults.reset_ratio:
            return _reset(request)
        if draw() < faults.truncate_ratio:
            return await _truncate(request, await handler(request))
        if draw() < faults.error_ratio:
            return problem(500, "Internal server error", "A fault was asked for.")
        return await handler(request)
