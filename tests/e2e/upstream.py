"""An upstream that does what a test tells it, and remembers what it saw.

What to do is said request by request in a header, `X-<Name>-Does: VERB[:ARGUMENT...]` (`X-Target-Does: status:503`),
so that one request can tell the two sources different things and nothing has to be reset between tests.

It runs in a thread of the tests' process (`Hosted`) or as a process that can be killed:
`python upstream.py --name target --port 0` prints its port.
"""

import argparse
import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

MIB: Final = 1024 * 1024
_PIECE: Final = 256 * 1024
_LINGER_NONE: Final = struct.pack("ii", 1, 0)
_ESTABLISHED: Final = 1
_PATTERN: Final = bytes(range(251)) * (_PIECE // 251 + 2)
T = TypeVar("T")


def pattern(start: int, size: int) -> bytes:
    """`size` bytes (at most 256 KiB) of the endless test content from offset `start`."""
    offset = start % 251
    return _PATTERN[offset : offset + size]


def pattern_sha256(size: int) -> str:
    """The digest of the first `size` bytes of the test content."""
    digest = hashlib.sha256()
    for start in range(0, size, _PIECE):
        digest.update(pattern(start, min(_PIECE, size - start)))
    return digest.hexdigest()


@dataclass
class Seen:
    """One request as it came in. `fields` in order, names as sent; `whole` once its body has ended well."""

    connection: int
    line: bytes
    fields: list[tuple[bytes, bytes]]
    length: int = 0
    sha256: str = ""
    body: bytes = b""
    chunked: bool = False
    trailers: list[bytes] = field(default_factory=list)
    whole: bool = False

    @property
    def method(self) -> str:
        return self.line.split(b" ")[0].decode()

    @property
    def target(self) -> bytes:
        return self.line.split(b" ", 1)[1].rsplit(b" ", 1)[0]

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    def one(self, name: str) -> bytes | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class Hangup(Exception):
    """The behaviour has ended the connection."""


class Connection:
    """One accepted connection."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.requests = 0

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reset(self) -> None:
        """End with a RST, after what was sent has arrived."""
        await asyncio.sleep(0.03)
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.writer.transport.abort()
        raise Hangup

    def close(self) -> None:
        """End with a FIN."""
        raise Hangup

    async def send_pattern(self, size: int, *, chunked: bool) -> None:
        for start in range(0, size, _PIECE):
            piece = pattern(start, min(_PIECE, size - start))
            await self.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)


class Upstream:
    """The server itself; lives on one event loop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Seen] = []
        self.connections = 0
        self.open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, port: int = 0, *, path: str | None = None, tls: ssl.SSLContext | None = None) -> int:
        if path is not None:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=MIB)
            return 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=tls, limit=MIB, backlog=2048)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close_connections(self) -> None:
        """Close every open connection with a FIN."""
        for connection in tuple(self.open):
            connection.writer.close()
        while self.open:  # noqa: ASYNC110 - tests may look now and then
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = Connection(self.connections, reader, writer)
        self.open.add(connection)
        try:
            while await self._serve_one(connection):
                pass
        except (Hangup, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.open.discard(connection)
            writer.close()

    async def _serve_one(self, connection: Connection) -> bool:
        head = await connection.reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].split(b"\r\n")
        fields = [(name, value.strip()) for name, _, value in (each.partition(b":") for each in lines)]
        seen = Seen(connection.number, line, fields)
        self.seen.append(seen)
        connection.requests += 1
        verb, *arguments = (seen.one(f"X-{self.name}-Does") or b"answer").decode().split(":")
        behaviour = BEHAVIOURS[verb]
        if verb not in _BEFORE_BODY:
            if seen.one("Expect"):
                await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await read_body(connection.reader, seen)
        await behaviour(self, connection, seen, *arguments)
        return seen.whole


async def read_body(reader: asyncio.StreamReader, seen: Seen) -> None:
    """Read and digest the body; raises IncompleteReadError when it ends early."""
    digest = hashlib.sha256()
    seen.chunked = bool(seen.one("Transfer-Encoding"))

    async def take(size: int) -> None:
        while size:
            piece = await reader.read(min(size, _PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            digest.update(piece)
            seen.length += len(piece)
            if seen.length <= 4096:
                seen.body += piece
            size -= len(piece)

    if seen.chunked:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await take(size)
            assert await reader.readexactly(2) == b"\r\n"
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            seen.trailers.append(line[:-2])
    else:
        await take(int(seen.one("Content-Length") or 0))
    seen.sha256 = digest.hexdigest()
    seen.whole = True


Behaviour = Callable[..., Awaitable[None]]
BEHAVIOURS: dict[str, Behaviour] = {}
_BEFORE_BODY: Final = frozenset({"refuse-body", "deaf"})


def behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[function.__name__.strip("_").replace("_", "-")] = function
    return function


def head_of(status: str, *lines: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode("latin-1")


def account(upstream: Upstream, seen: Seen) -> bytes:
    """The usual content: who answers what, and the digest of the body it got."""
    return b"%b %b %b %d %b" % (
        upstream.name.encode(),
        seen.method.encode(),
        seen.target,
        seen.length,
        seen.sha256.encode(),
    )


@behaviour
async def answer(upstream: Upstream, connection: Connection, seen: Seen) -> None:
    body = account(upstream, seen)
    head = head_of("200 OK", f"Content-Length: {len(body)}", "Content-Type: text/plain")
    await connection.send(head + (b"" if seen.method == "HEAD" else body))


@behaviour
async def delay(upstream: Upstream, connection: Connection, seen: Seen, seconds: str) -> None:
    await asyncio.sleep(float(seconds))
    await answer(upstream, connection, seen)


@behaviour
async def status(_: Upstream, connection: Connection, seen: Seen, code: str, size: str = "9") -> None:
    body = (f"status {code} ".encode() * (int(size) // 8 + 1))[: int(size)]
    head = head_of(f"{code} Told So", f"Content-Length: {len(body)}", f"X-Told: {code}")
    await connection.send(head + (b"" if seen.method == "HEAD" else body))


@behaviour
async def bare(_: Upstream, connection: Connection, seen: Seen, code: str) -> None:
    """A status that has no body, with a length that is not one (304)."""
    length = ("Content-Length: 4242",) if code == "304" else ()
    await connection.send(head_of(f"{code} Bare", 'ETag: "x"', *length))


@behaviour
async def reset(_: Upstream, connection: Connection, seen: Seen) -> None:
    await connection.reset()


@behaviour
async def hang_up(_: Upstream, connection: Connection, seen: Seen) -> None:
    connection.close()


@behaviour
async def reset_mid_head(_: Upstream, connection: Connection, seen: Seen) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    await connection.reset()


@behaviour
async def close_mid_head(_: Upstream, connection: Connection, seen: Seen) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    connection.close()


@behaviour
async def cut_length(_: Upstream, connection: Connection, seen: Seen, size: str, how: str = "close") -> None:
    """Half of what Content-Length promised."""
    await connection.send(head_of("200 OK", f"Content-Length: {int(size) * 2}"))
    await connection.send_pattern(int(size), chunked=False)
    if how == "reset":
        await connection.reset()
    connection.close()


@behaviour
async def cut_chunked(_: Upstream, connection: Connection, seen: Seen, size: str, how: str = "close") -> None:
    """Whole chunks without the last one."""
    await connection.send(head_of("200 OK", "Transfer-Encoding: chunked"))
    await connection.send_pattern(int(size), chunked=True)
    if how == "reset":
        await connection.reset()
    connection.close()


@behaviour
async def bad_chunk(_: Upstream, connection: Connection, seen: Seen, size: str) -> None:
    await connection.send(head_of("200 OK", "Transfer-Encoding: chunked"))
    await connection.send_pattern(int(size), chunked=True)
    await connection.send(b"zz\r\nnot a chunk\r\n0\r\n\r\n")


@behaviour
async def reset_close_delimited(_: Upstream, connection: Connection, seen: Seen, size: str) -> None:
    await connection.send(head_of("200 OK", "Connection: close"))
    await connection.send_pattern(int(size), chunked=False)
    await connection.reset()


_NONSENSE: Final = {
    "status-line": b"HTTP/1.1 banana\r\nContent-Length: 2\r\n\r\nok",
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "status-999": b"HTTP/1.1 999 Beyond\r\nContent-Length: 2\r\n\r\nok",
    "status-000": b"HTTP/1.1 000 Below\r\nContent-Length: 2\r\n\r\nok",
    "http-2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "cl-and-te": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "negative-length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "gzip-te": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "space-colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "nul": b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n",
    "huge-head": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "storm": b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n",
}
NONSENSE: Final = tuple(_NONSENSE)


@behaviour
async def nonsense(_: Upstream, connection: Connection, seen: Seen, what: str) -> None:
    await connection.send(_NONSENSE[what])


@behaviour
async def smuggle(upstream: Upstream, connection: Connection, seen: Seen) -> None:
    """A good answer, and another one behind it that nobody asked for."""
    body = account(upstream, seen)
    evil = head_of("200 OK", "Content-Length: 4") + b"EVIL"
    await connection.send(head_of("200 OK", f"Content-Length: {len(body)}") + body + evil)


@behaviour
async def black_hole(_: Upstream, connection: Connection, seen: Seen) -> None:
    await connection.reader.read()
    raise Hangup


@behaviour
async def head_then_nothing(_: Upstream, connection: Connection, seen: Seen) -> None:
    await connection.send(head_of("200 OK", "Content-Length: 10") + b"half ")
    await connection.reader.read()
    raise Hangup


@behaviour
async def length(_: Upstream, connection: Connection, seen: Seen, size: str) -> None:
    await connection.send(head_of("200 OK", f"Content-Length: {size}"))
    await connection.send_pattern(int(size), chunked=False)


@behaviour
async def chunked(_: Upstream, connection: Connection, seen: Seen, size: str) -> None:
    await connection.send(head_of("200 OK", "Transfer-Encoding: chunked"))
    await connection.send_pattern(int(size), chunked=True)
    await connection.send(b"0\r\n\r\n")


@behaviour
async def close_delimited(_: Upstream, connection: Connection, seen: Seen, size: str) -> None:
    await connection.send(head_of("200 OK", "Connection: close"))
    await connection.send_pattern(int(size), chunked=False)
    connection.close()


@behaviour
async def trailers(_: Upstream, connection: Connection, seen: Seen, size: str) -> None:
    head = head_of("200 OK", "Transfer-Encoding: chunked", "Trailer: X-Checksum")
    await connection.send(head)
    await connection.send_pattern(int(size), chunked=True)
    await connection.send(b"0\r\nX-Checksum: abc\r\nContent-Length: 7\r\nX-Cutover-Source: liar\r\n\r\n")


@behaviour
async def hints(upstream: Upstream, connection: Connection, seen: Seen) -> None:
    await connection.send(head_of("103 Early Hints", "Link: </a.css>; rel=preload"))
    await connection.send(head_of("102 Processing"))
    await answer(upstream, connection, seen)


@behaviour
async def hints_then_reset(_: Upstream, connection: Connection, seen: Seen) -> None:
    await connection.send(head_of("103 Early Hints", "Link: </a.css>; rel=preload"))
    await connection.reset()


@behaviour
async def fields(upstream: Upstream, connection: Connection, seen: Seen) -> None:
    """Fields that must go through, and fields that must not."""
    body = account(upstream, seen)
    lines = (
        "Set-Cookie: a=1",
        "X-Dup: one",
        "Set-Cookie: b=2",
        "x-dup: two",
        "Connection: X-Hop, keep-alive",
        "X-Hop: gone",
        "Keep-Alive: timeout=5",
        "Proxy-Authenticate: Basic",
        "X-Cutover-Source: liar",
        "X-Cutover-Anything: liar",
        "X-Request-Id: liar",
        "Via: 1.1 cdn",
        "X-Empty:",
        f"Content-Length: {len(body)}",
    )
    await connection.send(head_of("200 OK", *lines) + body)


@behaviour
async def events(_: Upstream, connection: Connection, seen: Seen) -> None:
    """An event stream: one event at once, the next only after a while."""
    await connection.send(head_of("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"))
    await connection.send(b"9\r\ndata: 1\n\n\r\n")
    await asyncio.sleep(1.5)
    await connection.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")


@behaviour
async def drip(_: Upstream, connection: Connection, seen: Seen, size: str, seconds: str) -> None:
    """A body in ten portions over the time given."""
    await connection.send(head_of("200 OK", f"Content-Length: {int(size) * 10}"))
    for _portion in range(10):
        await connection.send_pattern(int(size), chunked=False)
        await asyncio.sleep(float(seconds) / 10)


@behaviour
async def hang_up_if_reused(upstream: Upstream, connection: Connection, seen: Seen) -> None:
    """What a keep-alive connection looks like whose time ran out just as the request was sent."""
    if connection.requests > 1:
        upstream.seen.remove(seen)
        connection.close()
    await answer(upstream, connection, seen)


@behaviour
async def refuse_body(_: Upstream, connection: Connection, seen: Seen) -> None:
    """A final answer before a single byte of the body was read."""
    await connection.send(head_of("417 Expectation Failed", "Content-Length: 2", "Connection: close") + b"no")
    connection.close()


@behaviour
async def deaf(_: Upstream, connection: Connection, seen: Seen) -> None:
    """Take the head and nothing more, and answer nothing; until the other side hangs up."""
    connection.writer.transport.pause_reading()
    while not _has_left(connection):  # noqa: ASYNC110 - a paused transport hears of nothing
        await asyncio.sleep(0.05)
    connection.close()


def _has_left(connection: Connection) -> bool:
    sock = connection.writer.get_extra_info("socket")
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return bool(state != _ESTABLISHED)


@behaviour
async def stall(_: Upstream, connection: Connection, seen: Seen, size: str) -> None:
    """Half of the content, and then nothing."""
    await connection.send(head_of("200 OK", f"Content-Length: {int(size) * 2}"))
    await connection.send_pattern(int(size), chunked=False)
    await connection.reader.read()
    raise Hangup


@behaviour
async def old(upstream: Upstream, connection: Connection, seen: Seen, size: str) -> None:
    """An HTTP/1.0 server."""
    await connection.send(b"HTTP/1.0 200 OK\r\n\r\n")
    await connection.send_pattern(int(size), chunked=False)
    connection.close()


class Hosted:
    """An event loop in a thread for upstreams, and blocking calls to it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstreams", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(20)
        except FutureTimeoutError:
            future.cancel()
            raise

    def close(self) -> None:
        self.call(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def _main(name: str, port: int) -> None:
    upstream = Upstream(name)
    print(await upstream.listen(port), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(options.name, options.port))
