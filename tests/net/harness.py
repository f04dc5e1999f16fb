"""Bytes in, bytes out: a data plane on fake transports, a fake clock and a fake connector. No sockets, no sleeps.

`running(settings)` gives a `World`. When it ends, every client leaves and the world checks what must hold after
every scenario: nothing in flight, nothing held, no connection lent, each request recorded exactly once, no
exception in a callback.
"""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from proxy.core.breaker import Breaker
from proxy.core.model import FailureKind, Role
from proxy.net.connector import ConnectFailed
from proxy.net.downstream import Downstream
from proxy.net.generation import Generation
from proxy.net.memory import BodyMemory
from proxy.net.plane import DataPlane
from proxy.net.pool import Pool, PoolLimits
from proxy.settings.load import parse_settings
from proxy.settings.snapshot import compile_snapshot
from proxy.tasks import TaskKeeper
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.events import EventLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.tracing import TraceIds

HIGH_WATER = 64 * 1024  # the usual one; a protocol may set another
STRANGER = ("203.0.113.9", 40000)
TRUSTED = ("127.0.0.1", 40000)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeSocket:
    """Remembers the options set on it."""

    def __init__(self) -> None:
        self.options: list[tuple] = []

    def setsockopt(self, *option: object) -> None:
        self.options.append(option)


def read_in(protocol: asyncio.BufferedProtocol, data: bytes) -> bytes:
    """Give a protocol bytes as an event loop does: as many as its own buffer takes; the rest is returned."""
    buffer = protocol.get_buffer(-1)
    size = min(len(data), len(buffer))
    buffer[:size] = data[:size]
    protocol.buffer_updated(size)
    return data[size:]


class FakeTransport(asyncio.Transport):
    """A transport with asyncio's rules of flow control and closing.

    `taking` says how many bytes the peer is ready to take (None: all). What it does not take is buffered here,
    with `pause_writing` and `resume_writing` at the usual water marks.
    """

    def __init__(self, protocol: asyncio.Protocol, peer: object = None, taking: int | None = None) -> None:
        super().__init__()
        self.protocol = protocol
        self.peer = peer
        self.socket = FakeSocket()
        self.sent = bytearray()
        self.buffer = bytearray()
        self.most_buffered = 0
        self.inbox: list[bytes] = []
        self.taking = taking
        self.closing = self.aborted = self.eof_written = self.lost = False
        self.reading = True
        self.write_paused = False
        self.high_water = HIGH_WATER
        self.low_water = HIGH_WATER // 4
        protocol.connection_made(self)

    # what the protocol calls

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": self.peer, "socket": self.socket}.get(name, default)

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return self.reading and not self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = HIGH_WATER if high is None else high
        self.low_water = self.high_water // 4 if low is None else low

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if self.closing or self.reading:
            return
        self.reading = True
        asyncio.get_running_loop().call_soon(self._deliver)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def write(self, data: bytes) -> None:
        assert not self.eof_written, "write after write_eof"
        assert isinstance(data, bytes)
        if self.closing:
            return
        self.buffer += data
        self._flush()
        self.most_buffered = max(self.most_buffered, len(self.buffer))
        if len(self.buffer) > self.high_water and not self.write_paused:
            self.write_paused = True
            self.protocol.pause_writing()

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.buffer:
                asyncio.get_running_loop().call_soon(self._lose, None)

    def abort(self) -> None:
        self.aborted = True
        self.buffer.clear()
        if not self.closing or not self.lost:
            self.closing = True
            asyncio.get_running_loop().call_soon(self._lose, None)

    def _lose(self, exc: Exception | None) -> None:
        if not self.lost:
            self.lost = self.closing = True
            self.protocol.connection_lost(exc)

    def _flush(self) -> None:
        size = len(self.buffer) if self.taking is None else min(self.taking, len(self.buffer))
        self.sent += self.buffer[:size]
        del self.buffer[:size]
        if self.taking is not None:
            self.taking -= size

    # what the test does, as the peer

    def take(self, size: int | None) -> None:
        """Be ready to take `size` more bytes (None: all from now on)."""
        self.taking = size
        self._flush()
        if self.write_paused and len(self.buffer) <= self.low_water:
            self.write_paused = False
            self.protocol.resume_writing()
        if self.closing and not self.buffer and not self.lost:
            asyncio.get_running_loop().call_soon(self._lose, None)

    def feed(self, data: bytes) -> None:
        """Send bytes to the protocol; while it does not read they wait."""
        self.inbox.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self.inbox and self.is_reading():
            rest = read_in(self.protocol, self.inbox.pop(0))
            if rest:
                self.inbox.insert(0, rest)

    def feed_eof(self) -> None:
        """Send a FIN."""
        if not self.closing and not self.protocol.eof_received():
            self.close()

    def reset(self) -> None:
        """Send a RST."""
        if not self.lost:
            self.closing = True
            self._lose(ConnectionResetError("reset by peer"))


class Response:
    """A response as the client parsed it."""

    def __init__(self, head: bytes, body: bytes, trailers: bytes = b"") -> None:
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1])
        self.status_line = lines[0]
        self.fields = [tuple(line.split(b": ", 1)) for line in lines[1:]]
        self.body = body
        self.trailers = trailers

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: bytes) -> bytes | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} more than once"
        return values[0] if values else None

    @property
    def problem(self) -> dict:
        assert self.get(b"content-type") == b"application/problem+json"
        told = json.loads(self.body)
        assert told["status"] == self.status
        assert set(told) == {"title", "status", "detail", "request_id"}
        assert told["request_id"].encode() == self.get(b"x-request-id")
        return told


class Incomplete(Exception):
    """The bytes are no whole response."""


def read_responses(data: bytes, methods: list[bytes], *, closed: bool) -> tuple[list[Response], bytes]:
    """Parse responses to `methods`, independently of the code under test; the rest is what follows the last."""
    responses = []
    for method in methods:
        while True:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                return responses, data
            assert re.match(rb"HTTP/1\.1 [1-5][0-9][0-9] [^\r\n]*(\r\n|\Z)", head), head[:80]
            if head[9:10] != b"1":
                break
            responses.append(Response(head, b""))
            data = rest
        response = Response(head, b"")
        try:
            data = _read_content(response, method, rest, closed=closed)
        except Incomplete:
            return responses, data
        responses.append(response)
    return responses, data


def _read_content(response: Response, method: bytes, rest: bytes, *, closed: bool) -> bytes:
    length, coding = response.get(b"content-length"), response.get(b"transfer-encoding")
    assert not (length and coding), "both framings"
    if method == b"HEAD" or response.status in (204, 304):
        return rest
    if coding == b"chunked":
        response.body, response.trailers, rest = _dechunk(rest)
        return rest
    size = len(rest) if length is None else int(length)
    if len(rest) < size or (length is None and not closed):
        raise Incomplete
    response.body = rest[:size]
    return rest[size:]


def _dechunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise Incomplete
        size = int(line, 16)
        if size == 0:
            break
        if len(data) < size + 2:
            raise Incomplete
        assert data[size : size + 2] == b"\r\n"
        body, data = body + data[:size], data[size + 2 :]
    if data.startswith(b"\r\n"):
        return body, b"", data[2:]
    trailers, end, data = data.partition(b"\r\n\r\n")
    if not end:
        raise Incomplete
    return body, trailers, data


class Client:
    """One client connection."""

    def __init__(self, world: "World", peer: object = STRANGER, taking: int | None = None) -> None:
        self.world = world
        self.downstream = Downstream(world.plane)
        self.methods: list[bytes] = []
        self.transport = FakeTransport(self.downstream, peer, taking)

    @property
    def received(self) -> bytes:
        return bytes(self.transport.sent)

    async def send(self, data: bytes) -> None:
        self.transport.feed(data)
        await self.world.settle()

    async def request(self, line: str, *fields: str, body: bytes = b"", host: bool = True) -> None:
        """Send a request; `line` is as `GET /images/1`, a version may follow."""
        method, target, *version = line.split(" ")
        self.methods.append(method.encode())
        head = [f"{method} {target} {version[0] if version else 'HTTP/1.1'}", *(["Host: gallery.test"] if host else [])]
        await self.send("\r\n".join([*head, *fields, "", ""]).encode("latin-1") + body)

    def responses(self, *methods: bytes) -> list[Response]:
        """Whole responses so far, interim ones included; asserts that nothing else was sent."""
        found, rest = read_responses(self.received, list(methods) or self.methods, closed=not self.open)
        assert rest == b"", rest[:200]
        return found

    @property
    def response(self) -> Response:
        (only,) = self.responses()
        return only

    @property
    def open(self) -> bool:
        return not self.transport.closing and not self.transport.eof_written


class Upstream:
    """One source: a connector whose connections the test plays."""

    def __init__(self, world: "World", role: Role) -> None:
        self.world = world
        self.role = role
        self.transports: list[FakeTransport] = []
        self.failure: FailureKind | None = None
        self.gate: asyncio.Event | None = None
        self.dead_on_arrival = False
        self.taking: int | None = None
        self.opened = 0

    async def open(self, factory):
        """See proxy.net.connector.Connector."""
        self.opened += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise ConnectFailed(self.failure, "as the test wants")
        protocol = factory()
        transport = FakeTransport(protocol, ("192.0.2.1", 80), self.taking)
        self.transports.append(transport)
        if self.dead_on_arrival:
            transport.reset()
        return protocol

    @property
    def last(self) -> FakeTransport:
        return self.transports[-1]

    @property
    def got(self) -> bytes:
        """All that came on the latest connection and was not looked at yet; now it was."""
        if not self.transports:
            return b""
        data = bytes(self.last.sent)
        self.last.sent.clear()
        return data

    def head(self) -> tuple[bytes, dict[bytes, list[bytes]], bytes]:
        """Request line, fields by lower-case name, and what follows the head."""
        head, end, rest = self.got.partition(b"\r\n\r\n")
        assert end
        lines = head.split(b"\r\n")
        fields: dict[bytes, list[bytes]] = {}
        for line in lines[1:]:
            name, _, value = line.partition(b": ")
            fields.setdefault(name.lower(), []).append(value)
        return lines[0], fields, rest

    async def say(self, data: bytes) -> None:
        self.last.feed(data)
        await self.world.settle()

    async def answer(self, body: bytes = b"ok", status: str = "200 OK", *fields: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
        await self.say("\r\n".join(lines).encode("latin-1") + body)

    async def hang_up(self) -> None:
        self.last.feed_eof()
        await self.world.settle()

    async def reset(self) -> None:
        self.last.reset()
        await self.world.settle()


class Timer:
    """A call that is due later, on the fake clock."""

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.fire = action

    def cancel(self) -> None:
        self.fire = lambda: None


class Lines:
    """A log writer that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def flush(self) -> None:
        pass


class World:
    """A data plane and both its upstreams."""

    def __init__(self, settings: dict) -> None:
        merged = _merged(_BASE, settings)
        loaded = parse_settings(yaml.safe_dump(merged).encode(), Path("test.yaml"), {})
        self.clock = Clock()
        self.lines = Lines()
        self.tasks = TaskKeeper()
        self.legacy = Upstream(self, Role.LEGACY)
        self.target = Upstream(self, Role.TARGET)
        self.clients: list[Client] = []
        self.errors: list[dict] = []
        self.probes: int | None = 0  # how many the test expects, None if it cannot know
        self._timers: list[Timer] = []
        snapshot = compile_snapshot(loaded.settings, loaded.revision)
        self.metrics = Metrics()
        limits = loaded.settings.limits
        self.memory = BodyMemory(limits.buffered_bytes, limits.connections)
        self.plane = DataPlane(
            generation=Generation(
                snapshot,
                self._pool(self.legacy, loaded.settings.legacy),
                self._pool(self.target, loaded.settings.target),
                Breaker(snapshot.breaker),
            ),
            memory=self.memory,
            metrics=self.metrics,
            access_log=AccessLog(self.lines, loaded.settings.logging),
            events=EventLog(self.lines, loaded.settings.logging, self.clock),
            ids=TraceIds(random.Random(7).getrandbits),
            clock=self.clock,
            wall_clock=self.clock,
            call_later=self._call_later,
        )

    def _pool(self, upstream: Upstream, source) -> Pool:
        pool = source.pool
        limits = PoolLimits(pool.max_connections, pool.max_idle, pool.idle_timeout, pool.max_pending)
        return Pool(upstream, limits, self.tasks, self.clock, self.memory)

    def _call_later(self, delay_s: float, action: Callable[[], None]) -> "Timer":
        timer = Timer(self.clock.now + delay_s, action)
        self._timers.append(timer)
        return timer

    def client(self, peer: object = STRANGER, taking: int | None = None) -> Client:
        client = Client(self, peer, taking)
        self.clients.append(client)
        return client

    async def settle(self) -> None:
        """Let every task and call-back run that can."""
        for _ in range(8):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass and do what the listener's sweep does."""
        self.clock.now += seconds
        now = self.clock.now
        due = [timer for timer in self._timers if timer.at <= now]
        self._timers = [timer for timer in self._timers if timer.at > now]
        for timer in due:
            timer.fire()
        for connection in tuple(self.plane.connections):
            if connection.deadline <= now:
                connection.on_deadline(now)
            if connection.exchange is not None:
                connection.exchange.check_deadlines(now)
        for probe in tuple(self.plane.probes):
            probe.check_deadlines(now)
        for pool in self.plane.pools.values():
            pool.sweep(now)
        await self.settle()

    def counted(self, counter: str, **_: object) -> dict:
        """A counter's label sets that are not 0."""
        return {key: count for key, count in getattr(self.metrics.state, counter).items() if count}

    @property
    def answered(self) -> dict[tuple[str, str, int], int]:
        """Requests by (source, operation, code)."""
        return {key: int(sum(cell[:-1])) for key, cell in self.metrics.state.requests.items() if sum(cell[:-1])}

    @property
    def attempts(self) -> dict[tuple[str, str, str], int]:
        """Attempts by (source, operation, outcome)."""
        return {key: int(sum(cell[:-1])) for key, cell in self.metrics.state.attempts.items() if sum(cell[:-1])}

    @property
    def access(self) -> list[dict]:
        lines = [json.loads(line) for line in self.lines.lines]
        return [line for line in lines if line["event"] == "request"]

    async def end(self) -> None:
        """Let every client leave, then check what must hold after every scenario."""
        for client in self.clients:
            client.transport.abort()
        await self.settle()
        for probe in tuple(self.plane.probes):
            probe.cancel()
        for upstream in (self.legacy, self.target):
            if upstream.gate is not None:
                upstream.gate.set()
        await self.settle()
        assert self.errors == []
        assert {name: count for name, count in self.metrics.inflight.items() if count} == {}
        assert self.plane.memory.held == 0
        assert self.plane.connections == set()
        assert {role: pool.busy for role, pool in self.plane.pools.items()} == {Role.LEGACY: 0, Role.TARGET: 0}
        assert self.plane.probes == set()
        decided, total = sum(self.counted("decisions").values()), sum(self.answered.values())
        refused = sum(
            count for (source, name, _), count in self.answered.items() if (source, name) == ("proxy", "other")
        )
        assert decided <= total <= decided + refused, "each request is counted once"
        assert len(self.access) == total, "each request is logged once"
        told = sum(len(line["attempts"]) for line in self.access)
        probes = sum(self.attempts.values()) - told if self.probes is None else self.probes
        assert sum(self.attempts.values()) == told + probes, "each attempt is counted and logged once"
        assert all(len(line["attempts"]) <= 2 for line in self.access)


_BASE = {
    "legacy": {"url": "http://legacy.test:3000"},
    "target": {"url": "http://target.test:4000", "circuit_breaker": {"enabled": False}},
    "rollout": {"enabled": True, "percentage": 100},
    "operations": [
        {"name": "get", "match": "GET /images/{id}"},
        {"name": "list", "match": "GET /images"},
        {"name": "upload", "match": "POST /images"},
        {"name": "update", "match": "PUT|PATCH /images/{id}"},
        {"name": "delete", "match": "DELETE /images/{id}"},
        {"name": "legacy_only", "match": "GET|POST /legacy", "route": "legacy"},
    ],
}


_SIZES = {"request_buffer", "response_buffer", "body_bytes", "buffered_bytes", "header_bytes", "uri_bytes"}


def _merged(base: dict, changes: dict) -> dict:
    result = dict(base)
    for key, value in changes.items():
        if key in _SIZES:
            value = f"{value}B"  # noqa: PLW2901 - the file wants a unit
        old = result.get(key)
        result[key] = _merged(old or {}, value) if isinstance(value, dict) else value
    return result


@asynccontextmanager
async def running(**settings: object) -> AsyncIterator[World]:
    """Run a world with these settings on top of: everybody to the target, every operation split."""
    loop = asyncio.get_running_loop()
    world = World(settings)
    loop.set_exception_handler(lambda _, context: world.errors.append(context))
    try:
        yield world
    except BaseException:
        loop.set_exception_handler(None)
        await world.tasks.close()
        raise
    try:
        await world.end()
    finally:
        loop.set_exception_handler(None)
        await world.tasks.close()
