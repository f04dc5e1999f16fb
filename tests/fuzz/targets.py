"""What is fuzzed, as plain functions of bytes: each returns normally unless a promise is broken.

Usable without any fuzzer: `test_corpus.py` runs the corpus through them, `run.py` gives them to atheris.
"""

import asyncio
import itertools
import random
import re
from collections.abc import Callable
from typing import Any

from proxy.core.errors import MalformedBody, MalformedRequest, MalformedResponse
from proxy.core.fields import request_table, response_table
from proxy.core.framing import ChunkedBody, chunk_of, last_chunk
from proxy.core.heads import HEAD_END
from proxy.core.request_head import parse_request
from proxy.core.response_head import parse_response
from proxy.core.rewrite import Hop, UpstreamFace, request_bytes, response_bytes
from tests.conformance import strict
from tests.net.harness import Client, World

_REQUEST_FATES = request_table(identity=[b"x-user-id"], noted=[b"cookie"], target_drops=[b"x-dropped"])
_RESPONSE_FATES = response_table()
_FACE = UpstreamFace(name=b"target", authority=b"target.test", drop_flag=8)
_HOP = Hop(b"203.0.113.9", False, b"id", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")
_REFUSALS = {400, 405, 408, 413, 414, 431, 501, 502, 503, 504, 505}


def _one_head(data: bytes) -> bytes:
    """`data` up to its first empty line, as the connections cut it; one is added when there is none."""
    end = data.find(HEAD_END)
    return data[: end + 4] if end >= 0 else data + HEAD_END


def request(data: bytes) -> None:
    """A request head is refused, or forwarded as one that a strict reader takes and that parses to the same."""
    try:
        head = parse_request(_one_head(data), _REQUEST_FATES)
    except MalformedRequest as refusal:
        assert refusal.status in _REFUSALS  # noqa: PT017 - it may also be taken
        return
    assert head.path.startswith(b"/") or head.target == b"*"
    assert not (head.chunked and head.content_length is not None)
    sent = request_bytes(head, _FACE, _HOP)
    ending = b"0\r\n\r\n" if head.chunked else b""
    if (head.content_length or 0) < 10_000:
        body = b"x" * (head.content_length or 0)
        (message,), rest = strict.read_requests(sent + ending + body)
        assert rest == b""
        assert message.body == body
    again = parse_request(sent, _REQUEST_FATES)
    same = ("method", "target", "path", "query", "chunked", "content_length")
    assert [getattr(again, name) for name in same] == [getattr(head, name) for name in same]
    assert again.lines[: len(head.lines) - len(head.sourced)] == [
        line for index, line in enumerate(head.lines) if index not in dict(head.sourced)
    ]


def response(data: bytes) -> None:
    """A response head is refused, or passed on as one that a strict reader takes and that parses to the same."""
    try:
        head = parse_response(_one_head(data), _RESPONSE_FATES)
    except MalformedResponse:
        return
    assert 100 <= head.status <= 599
    assert not (head.chunked and head.content_length is not None)
    bare = head.status < 200 or head.status == 204
    lengths = bool(head.content_length is not None) and not bare
    framing = b"" if lengths or bare or head.status == 304 else b"Content-Length: 0\r\n"
    sent = response_bytes(head, framing, b"")
    messages, rest = strict.read_answers(sent, [b"HEAD"], closed=True)
    assert len(messages) == 1
    assert rest == b""
    again = parse_response(sent, _RESPONSE_FATES)
    assert (again.status, again.reason) == (head.status, head.reason)
    if lengths:
        assert again.content_length == head.content_length


def _cuts(data: bytes) -> list[list[bytes]]:
    """Ways to cut data: byte by byte (long data into more), and three at random; the same for the same data."""
    rng = random.Random(data)
    step = 1 + len(data) // 512
    ways = [[data[at : at + step] for at in range(0, len(data), step)]]
    for _ in range(3):
        points = sorted({0, len(data), *(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6)))})
        ways.append([data[start:end] for start, end in itertools.pairwise(points)])
    return ways


def _dechunk(pieces: list[bytes]) -> tuple[Any, ...]:
    body, out, used = ChunkedBody(), [], 0
    for piece in pieces:
        try:
            taken = body.feed(piece, out)
        except MalformedBody:
            return ("malformed",)
        assert 0 <= taken <= len(piece)
        assert taken == len(piece) or body.complete
        used += taken
        if body.complete:
            break
    return (body.complete, used, b"".join(out), tuple(body.trailers))


def chunked(data: bytes) -> None:
    """A chunked body reads the same however it is cut, and what it hands out reads the same once framed again."""
    whole = _dechunk([data])
    for pieces in _cuts(data):
        assert _dechunk(pieces) == whole, (whole, _dechunk(pieces))
    if whole[0] is not True:
        return
    _, used, content, trailers = whole
    assert HEAD_END in data[:used] or data[:used].endswith(b"0\r\n\r\n")
    framed = (chunk_of(content) if content else b"") + last_chunk(list(trailers))
    assert _dechunk([framed + b"next"]) == (True, len(framed), content, trailers)
    (message,), rest = strict.read_requests(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
    )
    assert (rest, message.body, message.trailers) == (b"", content, trailers)


class Stage:
    """A data plane whose upstreams answer every whole request with 200, kept from one run to the next."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.errors: list[dict] = []
        self.world = self.loop.run_until_complete(self._make())

    async def _make(self) -> World:
        limits = {"header_bytes": 2048, "uri_bytes": 1024, "header_count": 20, "body_bytes": 1500}
        return World({"limits": limits, "logging": {"access": "off"}})

    def play(self, pieces: list[bytes]) -> tuple[list[tuple], list[bytes], int, bool]:
        """Answers, whole requests that reached an upstream, how many that did so in part, whether it was closed."""
        return self.loop.run_until_complete(self._play(pieces))

    async def _play(self, pieces: list[bytes]) -> tuple[list[tuple], list[bytes], int, bool]:
        world = self.world
        client = Client(world)
        reached: list[bytes] = []
        methods: list[bytes] = []
        for piece in pieces:
            if client.transport.closing:
                break
            client.transport.feed(piece)
            await self._answer(reached, methods)
        await self._answer(reached, methods)
        closed = client.transport.closing or client.transport.eof_written
        answers, rest = strict.read_answers(client.received, methods, closed=closed)
        if rest:  # a HEAD that was refused in its body is answered without one
            answers, rest = strict.read_answers(client.received, [*methods, b"HEAD"], closed=closed)
        assert rest == b"", rest
        seen = [_as_compared(message) for message in answers]
        await self._clear(client)
        begun = sum(bool(transport.sent) for source in self._sources for transport in source.transports)
        for source in self._sources:
            source.transports.clear()
        world.lines.lines.clear()
        assert self.errors == []
        return seen, reached, begun, closed

    @property
    def _sources(self) -> tuple:
        return (self.world.legacy, self.world.target)

    async def _answer(self, reached: list[bytes], methods: list[bytes]) -> None:
        for _ in range(2000):
            await self.world.settle()
            busy = False
            for source in self._sources:
                for transport in source.transports:
                    if transport.closing or not transport.sent:
                        continue
                    messages, rest = strict.read_requests(bytes(transport.sent))
                    assert len(messages) <= 1, "a second request before the first was answered"
                    if messages:
                        assert rest == b"", rest
                        transport.sent.clear()
                        reached.append(messages[0].plain)
                        method = messages[0].start.partition(b" ")[0]
                        methods.append(method)
                        transport.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + b"ok" * (method != b"HEAD"))
                        busy = True
            if not busy:
                return
        raise AssertionError("no end of requests")

    async def _clear(self, client: Client) -> None:
        """Let the client and the upstreams go; nothing may be left."""
        client.transport.abort()
        await self.world.settle()
        for source in self._sources:
            for transport in source.transports:
                if not transport.closing:
                    transport.feed_eof()
        await self.world.settle()
        plane = self.world.plane
        assert plane.connections == set()
        assert plane.memory.held == 0
        assert all(pool.busy == 0 and pool.idle == 0 for pool in plane.pools.values())


def _as_compared(message: strict.Message) -> tuple:
    """What must not depend on how the request was cut; which of several faults is named first may."""
    if message.all(b"content-type") == [b"application/problem+json"]:
        assert message.status in _REFUSALS
        return (400,)
    return (message.status, message.body, tuple(name for name, _ in message.fields))


_stages: list[Stage] = []


def downstream(data: bytes) -> None:
    """A client's bytes get the same answers and reach upstreams as the same requests, whole or cut anywhere."""
    if not _stages:
        _stages.append(Stage())
    stage = _stages[0]
    data = data[:4096]
    answers, reached, _, closed = stage.play([data])
    told = [answer for answer in answers if answer[0] >= 200]
    assert len(reached) <= len(told) <= len(reached) + 1
    for ways in _cuts(data)[:3]:
        again = stage.play(ways)
        assert again[0] == answers, (again[0], answers)
        assert again[1] == reached, (again[1], reached)
        assert again[3] == closed, (again[3], closed)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "response": response,
    "chunked": chunked,
    "downstream": downstream,
}

# fmt: off
TOKENS = [
    *(b"\r\n", b"\r", b"\n", b"\r\n\r\n", b" ", b"\t", b":", b": ", b",", b";", b"\x00", b"\x80", b"\xff", b"0", b"-1"),
    *(b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b"/images/1", b"*", b"http://a", b" HTTP/1.1\r\n"),
    *(b" HTTP/1.0\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"chunked"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n"),
    *(b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\n", b"F" * 15, b"F" * 17, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 "),
    *(b"101", b"204", b"[::1]"),
]
# fmt: on


def mutated(data: bytes, rng: random.Random) -> bytes:
    """`data` with a few hostile changes."""
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((0, 0, 1, 1, 2, 8)))
        insert = rng.choice((b"", rng.choice(TOKENS), bytes((rng.randrange(256),)), data[at : at + 40]))
        data = data[:at] + insert + data[end:]
    return data[:4096]


def printable(data: bytes) -> str:
    """`data` as a Python literal for a report."""
    return re.sub(r"(.{110})", r"\1\n", repr(data))
