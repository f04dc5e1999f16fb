"""Steady load over keep-alive connections, strict about every answer; and sources fast enough for it.

A failure is anything but a whole, right answer to each request: a refused connection, a connection that ends while an
answer is awaited, another status, another body. A connection that the proxy ends between two requests, or announced
to end, is no failure.
"""

import asyncio
import collections
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import uvloop

_PATIENCE_S: Final = 10.0
BODIES: Final = {"legacy": b"legacy " + b"x" * 93, "target": b"target " + b"y" * 293}


class _Source(asyncio.Protocol):
    """Answers every GET at once."""

    def __init__(self, name: str, open_ones: set[Any]) -> None:
        self._open_ones = open_ones
        body = BODIES[name]
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._open_ones.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        self._transport.write(self._answer * len(requests))


class Tally:
    """What has happened. `sources` counts answers; `last` is when each source last answered (perf_counter)."""

    def __init__(self) -> None:
        self.sources: collections.Counter[str] = collections.Counter()
        self.last: dict[str, float] = {}
        self.failures: list[str] = []
        self.reconnects = 0

    def __repr__(self) -> str:
        return f"<Tally {self.requests} requests, {len(self.failures)} failures, {self.reconnects} reconnects>"

    @property
    def requests(self) -> int:
        return self.sources.total() + len(self.failures)


class _Client(asyncio.Protocol):
    """One client: request after request, on one connection after another."""

    def __init__(self, load: "Load", request: bytes) -> None:
        self._load = load
        self._request = request
        self._transport: Any = None
        self._received = b""
        self.awaiting_since: float | None = None
        self.running = True

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._load.address.startswith("unix:"):
                await loop.create_unix_connection(lambda: self, self._load.address.removeprefix("unix:"))
            else:
                host, _, port = self._load.address.rpartition(":")
                await loop.create_connection(lambda: self, host, int(port))
        except OSError as error:
            self._load.fail(f"connecting: {error!r}")
            self.running = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._load.transports.add(transport)
        self._received = b""
        self._ask()

    def _ask(self) -> None:
        if self._transport.is_closing():
            return  # a FIN is here: the next request goes on another connection
        self.awaiting_since = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        self.awaiting_since = None
        source = body.partition(b" ")[0].decode("latin-1")
        if not head.startswith(b"HTTP/1.1 200 ") or BODIES.get(source) != body:
            self._load.fail(f"answer: {head[:60]!r} {body[:200]!r}")
        else:
            self._load.answered(source)
        if not self._load.running:
            self.running = False
            self._transport.close()
        elif b"connection: close" in head.lower():
            self._transport.close()
        elif self._load.pause_s:
            asyncio.get_running_loop().call_later(self._load.pause_s, self._ask)
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.transports.discard(self._transport)
        if self.awaiting_since is not None:
            self._load.fail(f"ended while an answer was awaited: {exc!r} {self._received[:60]!r}")
            self.awaiting_since = None
        if self._load.running:
            self._load.tally.reconnects += 1
            self._load.spawn(self.connect())
        else:
            self.running = False


class Load:
    """Clients and, if wanted, both sources, in a thread with an event loop of its own.

    Each client uses one connection at a time; `pause_s` is between its answer and its next request.
    """

    def __init__(self, clients: int = 16, pause_s: float = 0.0) -> None:
        self._count = clients
        self.pause_s = pause_s
        self.address = ""
        self.tally = Tally()
        self.running = False
        self.on_answer: Callable[[str], None] | None = None
        self._clients: list[_Client] = []
        self._servers: list[asyncio.Server] = []
        self.transports: set[Any] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="load", daemon=True)
        self._thread.start()
        self.ports = {name: self._call(self._serve(name)) for name in BODIES}

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _serve(self, name: str) -> int:
        server = await asyncio.get_running_loop().create_server(lambda: _Source(name, self.transports), "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def url(self, name: str) -> str:
        """Of a source that answers with its name."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self, address: str) -> None:
        """Load this address from here on."""
        self.address = address
        self.running = True
        self._call(self._start())

    async def _start(self) -> None:
        for number in range(self._count):
            request = b"GET /images/%d HTTP/1.1\r\nHost: load\r\nX-User-Id: user-%d\r\n\r\n" % (number, number)
            client = _Client(self, request)
            self._clients.append(client)
            await client.connect()

    def spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def answered(self, source: str) -> None:
        self.tally.sources[source] += 1
        self.tally.last[source] = time.perf_counter()

    def fail(self, why: str) -> None:
        self.tally.failures.append(why)

    def stop(self) -> Tally:
        """Let every request that is under way be answered; an answer that does not come is a failure."""
        self.running = False
        end = time.monotonic() + _PATIENCE_S
        while any(client.running and client.awaiting_since is not None for client in self._clients):
            if time.monotonic() > end:
                self.fail("no answer in time")
                break
            time.sleep(0.01)
        return self.tally

    def close(self) -> None:
        self.running = False
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for client in self._clients:
            client.awaiting_since = None
        for transport in tuple(self.transports):
            transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        while self.transports:  # noqa: ASYNC110 - they tell of their end one by one
            await asyncio.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
