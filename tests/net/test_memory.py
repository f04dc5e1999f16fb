"""The ledger of held bytes, and who is counted in it."""

import sys

import pytest

from proxy.net.memory import SMALL_READ, BodyMemory

from .harness import running

MIB = 1024 * 1024
TINY_CHUNK = b"2\r\nxx\r\n"


@pytest.mark.parametrize(
    ("limit", "connections", "low"),
    [
        (256 * MIB, 10_000, 256 * MIB - 10_000 * SMALL_READ),
        (8 * MIB, 10_000, 4 * MIB),  # half of it at most is kept free
        (0, 10, 0),
    ],
)
def test_a_small_read_of_each_connection_is_kept_free(limit, connections, low):
    memory = BodyMemory(limit, connections)
    memory.add(low)
    assert not memory.tight
    assert len(memory.view) == 256 * 1024
    memory.add(1)
    assert memory.tight
    assert len(memory.view) == SMALL_READ
    memory.add(-1)
    assert not memory.tight
    assert len(memory.view) == 256 * 1024
    assert repr(memory) == f"<BodyMemory held={low} of {low}>"


def test_another_limit_counts_at_once():
    memory = BodyMemory(1000, 0)
    memory.add(600)
    memory.set_limit(500, 0)
    assert memory.tight
    memory.set_limit(1000, 0)
    assert not memory.tight


async def test_what_a_slow_client_has_not_taken_is_held_until_the_last_byte_is_out():
    async with running() as world:
        client = world.client(taking=1000)
        await client.request("GET /images/1")
        await world.target.answer(b"x" * 100_000)
        written = world.memory.held
        assert written > 100_000, "the transport keeps the whole of it"
        client.transport.take(50_000)
        await world.settle()
        assert world.memory.held == written
        client.transport.take(None)
        await world.settle()
        assert world.memory.held == 0
        assert client.response.body == b"x" * 100_000


async def test_what_a_slow_client_leaves_behind_is_free_when_it_has_gone():
    async with running() as world:
        client = world.client(taking=0)
        await client.request("GET /images/1")
        await world.target.answer(b"x" * 100_000)
        assert world.memory.held > 100_000
        client.transport.reset()
        await world.settle()
        assert world.memory.held == 0


async def test_what_a_slow_upstream_has_not_taken_is_held():
    async with running() as world:
        world.target.taking = 0
        client = world.client()
        await client.request("POST /images", "Content-Length: 150000", body=b"x" * 100_000)
        assert world.memory.held > 100_000
        world.target.last.take(None)
        await world.settle()
        await client.send(b"x" * 50_000)
        await world.target.answer()
        assert client.response.status == 200
        assert world.memory.held == 0


async def test_when_much_is_held_answers_stream_in_small_portions():
    async with running(
        fallback={"response_buffer": 99_000}, limits={"buffered_bytes": 100_000, "connections": 2}
    ) as world:
        slow, other = world.client(taking=0), world.client(taking=0)
        await slow.request("GET /images/1")
        await world.target.answer(b"x" * 99_000)
        assert world.memory.tight
        held = world.memory.held
        await other.request("GET /images/2")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 80_000)
        assert world.memory.held - held <= 2 * SMALL_READ, "one read is the most that it can hold"
        other.transport.take(None)
        await world.settle()
        await world.target.say(b"x" * 10_000)
        assert other.response.body == b"x" * 90_000


def weight(pieces):
    """What content costs, with what Python keeps beside it."""
    return sys.getsizeof(pieces) + sum(map(sys.getsizeof, pieces))


@pytest.mark.parametrize("portion", [7, 7 * 1000], ids=["a chunk at a time", "a thousand at a time"])
async def test_an_answer_in_tiny_chunks_is_held_at_about_its_own_size(portion):
    """Held as it came, each chunk of 2 bytes cost 43: 20 times of what the ledger knew of."""
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        data = TINY_CHUNK * 10_000
        await world.target.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(data), portion):
            world.target.last.feed(data[at : at + portion])
        (connection,) = world.plane.connections
        (attempt,) = connection.exchange._attempts
        assert attempt.held == world.memory.held == 20_000
        assert weight(attempt.pieces) < 1.5 * 20_000
        await world.target.say(b"0\r\n\r\n")
        assert client.response.body == b"xx" * 10_000


@pytest.mark.parametrize("portion", [7, 7 * 1000], ids=["a chunk at a time", "a thousand at a time"])
async def test_a_request_body_in_tiny_chunks_is_kept_at_about_its_own_size(portion):
    async with running() as world:
        client = world.client()
        await client.request("PUT /images/1", "Transfer-Encoding: chunked")
        data = TINY_CHUNK * 10_000
        for at in range(0, len(data), portion):
            client.transport.feed(data[at : at + portion])
        await world.settle()
        (connection,) = world.plane.connections
        body = connection.exchange.request_body
        assert body.accounted == world.memory.held == 20_000
        assert weight(body.kept) < 1.5 * 20_000
        await client.send(b"0\r\n\r\n")
        await world.target.answer()
        assert client.response.status == 200
