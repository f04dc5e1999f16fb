"""Servers on loopback that answer as a test says: well, slowly, with garbage, or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.settings.addresses import UpstreamUrl, parse_upstream

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[UpstreamUrl]:
    """One server whose every request is answered by `answer`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    try:
        yield parse_upstream(str(server.make_url("")).rstrip("/"))
    finally:
        await server.close()


@asynccontextmanager
async def raw_server(data: bytes, *, hang: bool = False) -> AsyncIterator[UpstreamUrl]:
    """One that sends these bytes whatever it is asked, and closes or hangs."""
    gone = asyncio.Event()
    handling: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.add(task)
        try:
            await reader.read(1000)
            writer.write(data)
            await writer.drain()
            if hang:
                await gone.wait()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield parse_upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        gone.set()
        server.close()
        await asyncio.gather(*handling, return_exceptions=True)


class Admin:
    """A sidecar's admin API, as far as a store needs it."""

    def __init__(self, percentage: int = 0, revision: str = "r1") -> None:
        self.percentage, self.enabled, self.revision = percentage, percentage > 0, revision
        self.operations: list[dict[str, Any]] = [
            {"name": "get", "route": "split", "percentage": None},
            {"name": "upload", "route": "legacy", "percentage": None},
            {"name": "tuned", "route": "split", "percentage": 0},
        ]
        self.refuse: int | None = None
        self.hang_after_change = False
        self.hang = False
        self.patches: list[tuple[dict[str, Any], str | None, str | None, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.hang:
            await asyncio.sleep(30)
        if request.path == "/status":
            return web.json_response(
                {
                    "percentage": self.percentage,
                    "enabled": self.enabled,
                    "revision": self.revision,
                    "kill_switch": False,
                    "roles": {"legacy": "postgresql", "target": "image_service"},
                }
            )
        if request.path == "/config":
            return web.json_response({"operations": self.operations})
        wish = json.loads(await request.read())
        headers = request.headers
        self.patches.append((wish, headers.get("If-Match"), headers.get("Authorization"), request.query_string))
        if self.refuse is not None:
            return web.json_response({"detail": "not now"}, status=self.refuse)
        self.percentage, self.enabled = wish["percentage"], wish["enabled"]
        if self.hang_after_change:
            self.hang_after_change = False
            await asyncio.sleep(30)
        return web.json_response({"percentage": self.percentage})
