"""A target that fails as it is told, at the phase of the exchange that it is told.

A request says what to do in `X-Fault: PHASE/FAILURE[/FRAMING]`; failures before any request could say so are set
with `door`. A request without the field is answered well.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

from tests.e2e.conftest import Server
from tests.e2e.upstream import (
    BEHAVIOURS,
    Connection,
    Hangup,
    Hosted,
    Seen,
    Upstream,
    account,
    head_of,
    pattern,
    read_body,
)

SMALL: Final = 2_000
LARGE: Final = 120_000
GARBAGE: Final = b"\x16\x03\x01 this is no HTTP\r\n\r\n"
ANSWER_503: Final = head_of("503 Told So", "Content-Length: 4", "X-Told: 503") + b"told"
BOTH_FRAMINGS: Final = head_of("200 OK", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
_PIECE: Final = 16 * 1024


class FaultTarget(Upstream):
    """Fails as told. `door` is what happens to a connection that was just accepted."""

    door = "open"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.door == "open":
            await super()._serve(reader, writer)
            return
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        connection = Connection(self.connections, reader, writer)
        self.open.add(connection)
        try:
            await fail(connection, Seen(connection.number, b"", []), self.door)
            await connection.reader.read()
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
        phase, failure, framing = ((seen.one("X-Fault") or b"").decode() + "//").split("/")[:3]
        if phase == "after_request_head":
            await fail(connection, seen, failure)
        elif phase == "mid_request_body":
            await connection.reader.readexactly(1)
            await fail(connection, seen, failure)
        else:
            await read_body(connection.reader, seen)
            await self._answer(connection, seen, phase, failure, framing)
        return seen.whole

    async def _answer(self, connection: Connection, seen: Seen, phase: str, failure: str, framing: str) -> None:
        if not phase:
            await BEHAVIOURS["answer"](self, connection, seen)
        elif phase == "before_response_head":
            await fail(connection, seen, failure)
        elif phase == "mid_response_head":
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
            await fail(connection, seen, failure)
        elif phase == "after_the_end":
            await self._overdo(connection, seen, failure)
        else:
            await break_body(connection, seen, phase, failure, framing)

    async def _overdo(self, connection: Connection, seen: Seen, failure: str) -> None:
        """Answer well, and then spoil the connection."""
        body = account(self, seen)
        good = head_of("200 OK", f"Content-Length: {len(body)}") + (b"" if seen.method == "HEAD" else body)
        if failure == "garbage":
            await connection.send(good + GARBAGE)
        elif failure == "second_answer":
            await connection.send(good + head_of("200 OK", "Content-Length: 4") + b"EVIL")
        else:
            await connection.send(good)
            await asyncio.sleep(0.02)
            await fail(connection, seen, failure)


async def break_body(connection: Connection, seen: Seen, phase: str, failure: str, framing: str) -> None:
    """Send a good head, some of the content, and fail."""
    size = LARGE if phase.endswith("large_body") else SMALL
    line = {
        "length": f"Content-Length: {size}",
        "chunked": "Transfer-Encoding: chunked",
        "until_close": "Connection: close",
    }[framing]
    await connection.send(head_of("200 OK", line))
    if seen.method != "HEAD" and phase != "after_response_head":
        sent = size // 2 if phase != "at_the_end" else size - 1 if framing == "length" else size
        for start in range(0, sent, _PIECE):
            piece = pattern(start, min(_PIECE, sent - start))
            await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
        if phase == "at_the_end" and framing == "chunked":
            await connection.send(b"0\r\n")
    if failure == "garbage":
        failure = "bad_chunk"
    await fail(connection, seen, failure)


async def fail(connection: Connection, seen: Seen, failure: str) -> None:
    """Do what goes wrong. Returns only when the connection may be used on."""
    if failure == "reset":
        await connection.reset()
    elif failure == "close":
        connection.close()
    elif failure == "stall":
        await connection.reader.read()
    elif failure == "503":
        await connection.send(ANSWER_503 if seen.method != "HEAD" else ANSWER_503[:-4])
        if not seen.line:
            await connection.reader.readuntil(b"\r\n\r\n")  # the request that was answered before it came
            connection.close()
        if not seen.whole:
            await read_body(connection.reader, seen)
        return
    elif failure == "both_framings":
        await connection.send(BOTH_FRAMINGS)
    elif failure == "garbage":
        await connection.send(GARBAGE)
    elif failure == "bad_chunk":
        await connection.send(b"zz\r\nno chunk\r\n0\r\n\r\n")
    else:
        await BEHAVIOURS["nonsense"](None, connection, seen, failure)
    await connection.reader.read()
    raise Hangup


class FaultServer(Server):
    """A `FaultTarget` in the tests' process, with blocking calls."""

    def open_door(self) -> None:
        """Accept, and answer."""
        self.upstream.door = "open"

    def shut(self) -> None:
        """Stop listening and close every connection."""
        self.hosted.call(self.upstream.stop())

    def listen_again(self) -> None:
        self.open_door()
        self.hosted.call(self.upstream.listen(self.port))

    @contextlib.contextmanager
    def unaccepted(self, backlog: int) -> Iterator[socket.socket]:
        """Instead of the server a socket that never accepts; `shut` must have been called."""
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", self.port))
            sock.listen(backlog)
            yield sock
        finally:
            sock.close()


def start_fault_server(hosted: Hosted) -> FaultServer:
    upstream = FaultTarget("target")
    server = FaultServer(upstream, hosted)
    server.port = hosted.call(upstream.listen())
    return server
