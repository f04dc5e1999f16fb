"""Whatever happens in whatever order: no exception, no second answer, no drift. Seeded, so that a failure repeats."""

import random

import pytest

from proxy.core.model import FailureKind

from .harness import running

REQUESTS = [
    b"GET /images/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /images/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef",
    b"PUT /images/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"GET /images/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /legacy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"BAD\r\n\r\n",
    b"GET /images/1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    b"POST /images HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000,
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the close",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\nbus",
    b"HTTP/1.1 404 No\r\nContent-Length: 30\r\n\r\nhalf",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n",
    b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"y" * 300_000,
    b"garbage\r\n\r\n",
    b"more",
]


def corner(rng):
    """Settings that bring limits within reach."""

    def pool():
        return {"max_connections": rng.choice([1, 2, 10]), "max_idle": 1, "max_pending": rng.choice([1, 50])}

    breaker = {"enabled": rng.random() < 0.3, "consecutive": 2, "open_for": "1s", "probes": 1}
    fallback = {
        "unsafe_methods": rng.choice([False, True]),
        "max_concurrent": rng.choice([1, 512]),
        "request_buffer": rng.choice([0, 4, 65536]),
        "response_buffer": rng.choice([0, 3, 262144]),
    }
    if rng.random() < 0.4:
        fallback["hedge_after"] = "100ms"
    return {"fallback": fallback, "target": {"pool": pool(), "circuit_breaker": breaker}, "legacy": {"pool": pool()}}


def say(rng, transport, data):
    """Send data whole or in two parts, while the other side listens."""
    at = rng.randrange(len(data) + 1) if rng.random() < 0.3 else len(data)
    for piece in (data[:at], data[at:]):
        if piece and not transport.closing:
            transport.feed(piece)


async def something_upstream(rng, source):
    living = [transport for transport in source.transports if not transport.closing]
    event = rng.random()
    if event < 0.05:
        source.failure = rng.choice([None, FailureKind.CONNECT_ERROR])
    elif not living:
        return
    elif event < 0.75:
        say(rng, rng.choice(living), rng.choice(ANSWERS))
    elif event < 0.83:
        rng.choice(living).feed_eof()
    elif event < 0.9:
        rng.choice(living).reset()
    else:
        rng.choice(living).take(rng.choice([0, 1000, None]))


async def something_downstream(rng, client):
    event = rng.random()
    if event < 0.85:
        say(rng, client.transport, rng.choice(REQUESTS))
    elif event < 0.95:
        client.transport.take(rng.choice([0, 100, None]))
    else:
        client.transport.feed_eof()


async def live_through(seed):
    rng = random.Random(seed)
    settings = corner(rng)
    async with running(**settings) as world:
        clients = [world.client(taking=rng.choice([None, None, 0, 500])) for _ in range(3)]
        for _ in range(rng.randrange(5, 60)):
            event = rng.random()
            if event < 0.4:
                await something_downstream(rng, rng.choice(clients))
            elif event < 0.92:
                await something_upstream(rng, rng.choice((world.target, world.legacy)))
            elif event < 0.94:
                clients[rng.randrange(3)] = world.client()
            else:
                await world.pass_time(rng.choice([0.05, 0.2, 2, 6, 31]))
            if rng.random() < 0.7:
                await world.settle()
        world.target.failure = world.legacy.failure = None
        world.probes = None if settings["target"]["circuit_breaker"]["enabled"] else 0
        await world.pass_time(100)


@pytest.mark.parametrize("seed", range(300))
async def test_nothing_drifts_whatever_happens(seed):
    await live_through(seed)


@pytest.mark.parametrize("seed", range(40))
async def test_every_request_ends_in_time(seed):
    """A client that is patient, reads, and has sent its requests whole is answered or closed, whatever upstreams do."""
    rng = random.Random(seed)
    async with running(fallback={"unsafe_methods": rng.choice([False, True])}) as world:
        clients = [world.client() for _ in range(3)]
        world.target.taking = rng.choice([None, 0, 70_000])
        world.legacy.taking = rng.choice([None, 0, 70_000])
        for client in clients:
            data = rng.choice(
                [one for one in REQUESTS if b"Upgrade" not in one and b"200000" not in one and b"Expect" not in one]
            )
            if rng.random() < 0.5:
                data = b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
            for at in range(0, len(data), 60_000):
                client.transport.feed(data[at : at + 60_000])
                await world.settle()
                if rng.random() < 0.3 and world.target.transports and not world.target.last.closing:
                    await world.target.say(
                        rng.choice([one for one in ANSWERS if b"event" not in one and b"101" not in one])
                    )
        for _ in range(200):
            await world.pass_time(1.0)
        assert [repr(connection) for connection in world.plane.connections if connection.exchange is not None] == []
