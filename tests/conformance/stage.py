"""Plays one row of the table over the harness, for one way of cutting the bytes, and checks what is left behind."""

from tests.net.harness import Client, FakeTransport, World

from . import strict
from .cases import ANY, BROKEN, FAILED, WHOLE, Answer, Dialogue, Request

CLEAN = b"GET /images/clean HTTP/1.1\r\nHost: clean.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = 120  # bytes; up to this a case is run at every single split point
SETTINGS = {
    "target": {"host": "preserve"},
    "limits": {"header_bytes": 4096, "uri_bytes": 1024, "header_count": 30, "body_bytes": 1000},
}
SAFE = (b"GET", b"HEAD", b"OPTIONS")


def ways_to_cut(data: bytes) -> list[tuple[str, list[bytes]]]:
    """Whole, byte by byte (in steps, where that would be thousands), and in two at every point of short data."""
    if not data:
        return [("nothing", [])]
    step = 1 + len(data) // 600
    ways = [("whole", [data]), ("byte by byte", [data[at : at + step] for at in range(0, len(data), step)])]
    points = range(1, len(data), 1 if len(data) <= SHORT else 1 + len(data) // 12)
    return ways + [(f"split at {at}", [data[:at], data[at:]]) for at in points]


class Play:
    """One client, what its requests came to, and the upstreams that see them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = Client(world)
        world.clients.append(self.client)
        self.reached: list[strict.Message] = []

    @property
    def transports(self) -> list[FakeTransport]:
        return [each for source in (self.world.target, self.world.legacy) for each in source.transports]

    @property
    def methods(self) -> list[bytes]:
        return [message.start.partition(b" ")[0] for message in self.reached]

    @property
    def closed(self) -> bool:
        return not self.client.open

    async def send(self, pieces: list[bytes]) -> None:
        """Feed the client's bytes; each whole request that reaches an upstream is answered at once."""
        for piece in pieces:
            self.client.transport.feed(piece)
            await self.settle()

    async def settle(self, *, answering: bool = True) -> None:
        await self.world.settle()
        while answering and (transport := self.take_request()):
            transport.feed(OK[:-2] if self.methods[-1] == b"HEAD" else OK)
            await self.world.settle()

    def take_request(self) -> FakeTransport | None:
        """The upstream connection on which a whole request has come; it is noted in `reached`."""
        for transport in self.transports:
            if transport.sent and not transport.closing:
                messages, rest = strict.read_requests(bytes(transport.sent))
                assert len(messages) <= 1, "a second request before the first was answered"
                if messages:
                    assert rest == b"", rest
                    transport.sent.clear()
                    self.reached += messages
                    return transport
        return None

    def answers(self) -> list[strict.Message]:
        found, rest = strict.read_answers(self.client.received, self.methods, closed=self.closed)
        assert rest == b"", rest
        return found

    async def check_same_connection(self) -> None:
        """The client's connection, being kept, serves another request."""
        before = len(self.client.received)
        await self.send([CLEAN])
        assert self.reached[-1].plain == CLEAN
        (answer,), rest = strict.read_answers(self.client.received[before:], [b"GET"], closed=False)
        assert (answer.status, answer.body, rest) == (200, b"ok", b"")

    async def leave(self, path: bytes = b"/images/clean", *, thorough: bool = True) -> None:
        """The client goes, and a fresh one is served as if nothing had been."""
        self.client.transport.abort()
        await self.world.settle()
        assert all(pool.busy == 0 for pool in self.world.plane.pools.values())
        for source in (self.world.target, self.world.legacy):
            source.transports[:] = [each for each in source.transports if not each.closing]
            assert [bytes(each.sent) for each in source.transports] == [b""] * len(source.transports)
        if not thorough:
            return
        fresh = Play(self.world)
        request = CLEAN.replace(b"/images/clean", path)
        await fresh.send([request])
        assert [message.plain for message in fresh.reached] == [request]
        (answer,) = fresh.answers()
        assert (answer.status, answer.body, fresh.closed) == (200, b"ok", False)
        fresh.client.transport.abort()
        await self.world.settle()


async def play_request(world: World, row: Request, pieces: list[bytes], *, thorough: bool = True) -> None:
    play = Play(world)
    opened = world.target.opened + world.legacy.opened
    await play.send(pieces)
    answers = play.answers()
    assert [answer.status for answer in answers] == list(row.status)
    assert [message.plain for message in play.reached] == list(row.reaches)
    begun = [each for each in play.transports if each.sent]
    if not row.begins:
        assert begun == [], "not a byte may reach an upstream"
        assert row.reaches or world.target.opened + world.legacy.opened == opened
    assert not row.closed or all(each.closing for each in begun), "a request in part ends with its connection"
    assert play.closed is row.closed
    for needle in row.has:
        assert any(needle in head_of(message) for message in play.reached), needle
    for needle in row.lacks:
        assert not any(needle.lower() in head_of(message).lower() for message in play.reached), needle
    for answer in answers:
        if answer.status >= 400:
            assert answer.all(b"content-type") == [b"application/problem+json"]
            assert answer.all(b"connection") == [b"close"]
    if row.closed:
        await play.send([CLEAN])
        assert len(play.reached) == len(row.reaches), "after the last request nothing is served"
    elif row.whole and thorough:
        await play.check_same_connection()
    await play.leave(thorough=thorough)


def head_of(message: strict.Message) -> bytes:
    return b"\r\n".join([message.start, *(b"%b: %b" % field for field in message.fields)]) + b"\r\n"


async def play_answer(world: World, row: Answer, pieces: list[bytes], *, target: bool, thorough: bool = True) -> None:
    """Let a source answer as the row says. What the target spoils legacy makes good, if the request is safe."""
    play = Play(world)
    play.client.transport.feed(row.asked.replace(b"/x", b"/images/1" if target else b"/legacy"))
    await world.settle()
    transport = play.take_request()
    assert transport is not None
    for piece in pieces:
        if not transport.closing:
            transport.feed(piece)
            await world.settle()
    if not transport.closing and row.then:
        (transport.feed_eof if row.then == "fin" else transport.reset)()
        await world.settle()
    stays = b" HTTP/1.1\r\n" in row.asked  # by its version and unless the answer is in the way
    outcome, status, body, kept = row.outcome, row.status, row.body, row.kept
    if target and outcome != WHOLE:
        assert b"HTTP/1.1 2" not in play.client.received, "nothing may be committed of what fails"
        await play.settle()
        assert len(play.reached) == 2, "legacy is asked once"
        status, body = (*(code for code in row.status if code < 200), 200), b"ok"
        outcome, kept = WHOLE, stays
    elif outcome == BROKEN and play.client.received.startswith(b"HTTP/1.1 502 "):
        outcome, status, body, kept = FAILED, (502,), ANY, stays  # nothing of it had been passed on
    check_client(play, row, outcome, status, body)
    assert play.closed is not kept, "whether the client's connection is kept"
    assert transport.closing is not row.reusable, "whether the upstream's connection is kept"
    if kept and thorough:
        await play.check_same_connection()
    await play.leave(b"/images/clean" if target else b"/legacy", thorough=thorough)


def check_client(play: Play, row: Answer, outcome: str, status: tuple[int, ...], body: bytes) -> None:
    if outcome == BROKEN and play.client.transport.aborted:
        return
    closed = play.closed
    found, rest = strict.read_answers(play.client.received, play.methods, closed=closed)
    if outcome == BROKEN:
        assert rest, "the client can tell that it is not whole"
        return
    assert rest == b"", rest
    assert [answer.status for answer in found] == list(status)
    if body is not ANY:
        assert found[-1].body == body
    if outcome == FAILED:
        assert found[-1].all(b"content-type") == [b"application/problem+json"]
    if outcome == row.outcome:
        for needle in row.has:
            assert any(needle in head_of(answer) for answer in found), needle
        for needle in row.lacks:
            assert not any(needle.lower() in head_of(answer).lower() for answer in found), needle


async def play_dialogue(world: World, row: Dialogue, *, byte_by_byte: bool) -> None:
    """Play a row on a world of its own; an upstream's bytes go out on the connection that was used last."""
    play = Play(world)
    raw = bytearray()

    def look() -> None:
        while play.take_request():
            pass

    for who, data in row.steps:
        transport = play.client.transport if who == "client" else world.target.last
        if data in (b"FIN", b"RST"):
            (transport.feed_eof if data == b"FIN" else transport.reset)()
            await world.settle()
            look()
            continue
        for piece in [data[at : at + 1] for at in range(len(data))] if byte_by_byte else [data]:
            transport.feed(piece)
            await world.settle()
            look()
    raw += play.client.received
    found, rest = strict.read_answers(bytes(raw), play.methods or [b"GET"], closed=play.closed)
    assert [answer.status for answer in found] == list(row.client_gets)
    if row.client_gets[-1] == 101:
        assert rest == row.body
    else:
        assert rest == b"", rest
        assert row.body is ANY or found[-1].body == row.body
    if row.reaches:
        assert [message.plain for message in play.reached] == list(row.reaches)
    assert world.target.opened == row.opened
    if row.client_gets[-1] == 101:
        assert bytes(world.target.last.sent).endswith(b"".join(data for who, data in row.steps[2:] if who == "client"))
        play.client.transport.feed_eof()
        await world.settle()
        assert world.target.last.closing
    else:
        assert play.closed is not row.kept
        if row.kept:
            await play.check_same_connection()
    await play.leave()
