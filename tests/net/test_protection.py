"""Breaker, hedging, the bound on fallbacks, tunnels: each seen from the client's side."""

import pytest

from .harness import running

BREAKER = {"circuit_breaker": {"enabled": True, "consecutive": 3, "open_for": "5s", "probes": 1}}


async def tripped(world):
    client = world.client()
    for _ in range(3):
        await client.request("GET /images/1")
        await world.target.say(b"garbage\r\n\r\n")
        await world.legacy.answer()
    return client


async def test_while_the_breaker_rejects_the_target_costs_nothing():
    async with running(target=BREAKER) as world:
        client = await tripped(world)
        opened = world.target.opened
        await client.request("GET /images/1")
        await world.legacy.answer(b"legacy")
        response = client.responses()[-1]
        assert response.get(b"x-cutover-reason") == b"breaker_open"
        assert response.get(b"x-cutover-fallback") is None
        assert world.target.opened == opened


async def test_a_probe_is_a_copy_and_its_answer_goes_to_nobody():
    async with running(target=BREAKER) as world:
        world.probes = 1
        client = await tripped(world)
        opened = world.target.opened
        await world.pass_time(5.0)
        await client.request("POST /images", "Content-Length: 1", body=b"a")
        await world.legacy.answer(b"legacy")
        assert world.target.opened == opened, "only reads are copied"
        await client.request("GET /images/1")
        assert world.target.opened == opened + 1
        await world.target.answer(b"probe")
        await world.legacy.answer(b"legacy")
        assert client.responses()[-1].body == b"legacy"
        await client.request("GET /images/1")
        await world.target.answer(b"target")
        assert client.responses()[-1].body == b"target"


@pytest.mark.parametrize("winner", ["target", "legacy"])
async def test_a_hedge_is_answered_by_whoever_is_first_and_only_once(winner):
    async with running(fallback={"hedge_after": "100ms"}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.pass_time(0.2)
        first, second = (world.target, world.legacy) if winner == "target" else (world.legacy, world.target)
        await first.answer(b"first")
        assert second.last.closing
        second.last.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        await world.settle()
        assert client.response.body == b"first"
        assert sum(world.counted("hedges").values()) == 1


async def test_an_answer_in_time_makes_no_hedge():
    async with running(fallback={"hedge_after": "100ms"}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        await world.pass_time(1)
        assert world.legacy.opened == 0


@pytest.mark.parametrize("order", ["target fails first", "legacy fails first"])
async def test_a_hedge_with_one_failure_is_answered_by_the_other(order):
    async with running(fallback={"hedge_after": "100ms"}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.pass_time(0.2)
        failing, other = (world.target, world.legacy) if order.startswith("target") else (world.legacy, world.target)
        await failing.reset()
        assert client.received == b""
        await other.answer(b"other")
        assert client.response.body == b"other"
        assert (world.target.opened, world.legacy.opened) == (1, 1)


async def test_a_hedge_where_both_fail_is_answered_once():
    async with running(fallback={"hedge_after": "100ms"}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.pass_time(0.2)
        await world.legacy.reset()
        await world.target.reset()
        assert client.response.problem["status"] == 502
        assert (world.target.opened, world.legacy.opened) == (1, 1)


async def test_an_unsafe_method_is_never_hedged():
    async with running(fallback={"hedge_after": "100ms"}) as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 1", body=b"a")
        await world.pass_time(1)
        assert world.legacy.opened == 0


async def test_fallbacks_over_the_bound_wait_their_turn():
    async with running(fallback={"max_concurrent": 1}) as world:
        clients = [world.client() for _ in range(3)]
        for client in clients:
            await client.request("GET /images/1")
            await world.target.reset()
        assert world.legacy.opened == 1
        clients[1].transport.reset()
        await world.settle()
        await world.legacy.answer(b"one")
        assert clients[0].response.body == b"one"
        await world.legacy.answer(b"three")
        assert clients[2].response.body == b"three"
        assert repr(world.plane.gate) == "<FallbackGate 0/1 inside, 0 waiting>"


async def test_a_fallback_waits_no_longer_than_legacys_timeout():
    async with running(fallback={"max_concurrent": 1}, legacy={"timeout": "10s"}) as world:
        first, second = world.client(), world.client()
        await first.request("GET /images/1")
        await world.target.reset()
        await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await second.request("GET /images/2")
        await world.target.reset()
        await world.pass_time(10.1)
        assert second.response.problem["status"] in (502, 503, 504)


ASK = ("Connection: Upgrade", "Upgrade: websocket")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


async def test_a_tunnel_passes_bytes_both_ways():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", *ASK)
        _, fields, _ = world.target.head()
        assert (fields[b"connection"], fields[b"upgrade"]) == ([b"Upgrade"], [b"websocket"])
        await world.target.say(SWITCH + b"hello")
        assert client.received.startswith(b"HTTP/1.1 101 ")
        assert client.received.endswith(b"\r\n\r\nhello")
        assert b"upgrade: websocket\r\n" in client.received.lower()
        await client.send(b"GET /images/2 HTTP/1.1\r\n\r\n")
        assert world.target.got == b"GET /images/2 HTTP/1.1\r\n\r\n"
        await world.target.say(b"bye")
        await world.target.hang_up()
        assert client.received.endswith(b"hellobye")
        assert not client.open
        assert world.target.opened == 1


async def test_a_client_ends_a_tunnel():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", *ASK)
        await world.target.say(SWITCH)
        await client.send(b"last")
        client.transport.feed_eof()
        await world.settle()
        assert world.target.got.endswith(b"last")
        assert world.target.last.closing
        assert world.answered == {("image_service", "get", 101): 1}


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_tunnel_has_backpressure(side):
    async with running() as world:
        client = world.client(taking=10_000 if side == "client" else None)
        await client.request("GET /images/1", *ASK)
        await world.target.say(SWITCH)
        if side == "upstream":
            world.target.last.taking = 0
        source = world.target.last if side == "client" else client.transport
        sent = 0
        while source.is_reading() and sent < 1_000_000:
            source.feed(b"x" * 10_000)
            sent += 10_000
        assert sent <= 200_000
        sink = client.transport if side == "client" else world.target.last
        sink.take(None)
        await world.settle()
        assert source.is_reading()


async def test_a_declined_upgrade_is_an_ordinary_answer():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", *ASK)
        await world.target.answer(b"no", "426 Upgrade Required")
        await client.request("GET /images/2")
        await world.target.answer(b"yes")
        assert [one.status for one in client.responses()] == [426, 200]


async def test_an_upgrade_that_was_asked_for_of_another_protocol_is_left_out():
    async with running() as world:
        client = world.client()
        await client.request(
            "GET /images/1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x"
        )
        assert b"upgrade" not in world.target.got.lower()


@pytest.mark.parametrize(
    "answer", [SWITCH.replace(b"websocket", b"h2c"), SWITCH.replace(b"Connection: upgrade\r\n", b"")]
)
async def test_a_switch_to_what_was_not_asked_for_is_an_invalid_response(answer):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", *ASK)
        await world.target.say(answer)
        assert not client.received.startswith(b"HTTP/1.1 101")


async def test_fallbacks_that_gave_up_waiting_are_forgotten():
    async with running(fallback={"max_concurrent": 1}) as world:
        first = world.client()
        await first.request("GET /images/1")
        await world.target.reset()
        await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(50):
            client = world.client()
            await client.request("GET /images/1")
            await world.target.reset()
            client.transport.reset()
            await world.settle()
        assert len(world.plane.gate._waiting) <= 10
