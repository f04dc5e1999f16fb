"""Request bodies: streamed with backpressure both ways, framed strictly, bounded, never replayed by accident."""

import asyncio

import pytest

from .harness import HIGH_WATER, running

MIB = 1024 * 1024


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_is_streamed_as_it_comes(chunked):
    async with running() as world:
        client = world.client()
        await client.request("POST /images", "Transfer-Encoding: chunked" if chunked else "Content-Length: 9")
        world.target.got  # noqa: B018 - looks away from the head
        for piece in (b"abc", b"def", b"ghi"):
            await client.send(b"3\r\n%b\r\n" % piece if chunked else piece)
            assert world.target.got == (b"3\r\n%b\r\n" % piece if chunked else piece)
        if chunked:
            await client.send(b"0\r\n\r\n")
            assert world.target.got == b"0\r\n\r\n"
        await world.target.answer(b"stored")
        assert client.response.body == b"stored"
        assert client.open
        assert world.access[0]["bytes_in"] == 9


async def test_chunk_extensions_are_left_out():
    async with running() as world:
        client = world.client()
        await client.request(
            "POST /images", "Transfer-Encoding: chunked", body=b'3;a="b;\\"c";d\r\nabc\r\n0;x=y\r\n\r\n'
        )
        assert world.target.head()[2] == b"3\r\nabc\r\n0\r\n\r\n"


async def test_a_slow_upstream_pauses_the_client():
    async with running() as world:
        world.target.taking = 0
        client = world.client()
        await client.request("POST /images", f"Content-Length: {10 * MIB}")
        sent = 0
        while client.transport.is_reading() and sent < 10 * MIB:
            await client.send(b"x" * 10_000)
            sent += 10_000
        assert sent <= 2 * HIGH_WATER
        world.target.last.take(None)
        await world.settle()
        assert client.transport.is_reading()


@pytest.mark.parametrize("first", [100_000, 256 * 1024])
async def test_a_slow_upstream_pauses_the_client_from_the_first_bytes_on(first):
    """The body is ahead of the connection, so that its beginning goes out with the head, past the water mark."""
    async with running(limits={"body_bytes": 10 * MIB}) as world:
        world.target.taking = 0
        client = world.client()
        await client.request("POST /images", f"Content-Length: {8 * MIB}", body=b"x" * first)
        sent = first
        while client.transport.is_reading() and sent < 8 * MIB - 10_000:
            await client.send(b"x" * 10_000)
            sent += 10_000
        assert world.target.last.most_buffered <= first + 2 * HIGH_WATER


async def test_while_there_is_no_connection_the_client_is_paused_at_the_buffer():
    async with running(fallback={"request_buffer": 1000}) as world:
        world.target.gate = asyncio.Event()
        client = world.client()
        await client.request("POST /images", "Content-Length: 5000", body=b"x" * 900)
        assert client.transport.is_reading()
        await client.send(b"x" * 200)
        assert not client.transport.is_reading()
        world.target.gate.set()
        await world.settle()
        assert client.transport.is_reading()
        await client.send(b"x" * 3900)
        assert world.target.head()[2] == b"x" * 5000
        await world.target.answer()
        assert client.response.status == 200


async def test_a_slow_client_pauses_the_upstream():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client(taking=0)
        await client.request("GET /images/1")
        await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        sent = 0
        while world.legacy.last.is_reading() and sent < 1_000_000:
            await world.legacy.say(b"x" * 10_000)
            sent += 10_000
        assert sent <= 2 * HIGH_WATER
        client.transport.take(None)
        await world.settle()
        assert world.legacy.last.is_reading()
        await world.legacy.say(b"x" * (1_000_000 - sent))
        assert client.response.body == b"x" * 1_000_000


async def test_a_client_slow_before_the_commit_still_pauses_the_upstream():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client(taking=0)
        await client.request("GET /images/1")
        for _ in range(4):
            await world.legacy.say(b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 30_000 + b"\r\n\r\n")
        await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        sent = 0
        while world.legacy.last.is_reading() and sent < 5_000_000:
            await world.legacy.say(b"x" * 10_000)
            sent += 10_000
        assert sent <= 4 * HIGH_WATER


BAD_BODIES = [
    b"zz\r\n",
    b"0x3\r\nabc\r\n",
    b"+3\r\nabc\r\n",
    b"3 \r\nabc\r\n",
    b"3\nabc\r\n",
    b"3\r\nabcd\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"1000000000000000\r\n",
    b"0\r\nbad trailer\r\n\r\n",
    b"0\r\n folded: a\r\n\r\n",
]


@pytest.mark.parametrize("bad", BAD_BODIES)
@pytest.mark.parametrize("ahead", [True, False], ids=["with the head", "after the head"])
async def test_a_body_that_breaks_the_grammar_is_refused(bad, ahead):
    async with running() as world:
        client = world.client()
        await client.request("POST /images", "Transfer-Encoding: chunked", body=bad if ahead else b"")
        if not ahead:
            await client.send(bad)
        assert client.response.problem["status"] == 400
        assert not client.open
        if ahead:
            assert world.target.opened == 0
        else:
            assert world.target.last.closing
            assert b"0\r\n\r\n" not in world.target.last.sent
        assert world.counted("client_errors") == {("malformed",): 1}


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413(chunked):
    async with running(limits={"body_bytes": 1000}) as world:
        client = world.client()
        if chunked:
            await client.request("POST /images", "Transfer-Encoding: chunked", body=b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            assert client.received == b""
            await client.send(b"1\r\nx\r\n")
            assert world.target.last.closing
        else:
            await client.request("POST /images", "Content-Length: 1001")
            assert world.target.opened == 0
        assert client.response.problem["status"] == 413
        assert not client.open


async def test_an_early_answer_ends_the_upload_and_the_connection():
    async with running() as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 1000", body=b"x" * 10)
        await world.target.answer(b"too big for me", "413 Content Too Large")
        assert client.response.status == 413
        assert client.response.get(b"connection") == b"close"
        assert not client.open
        await client.send(b"x" * 990)
        assert world.target.last.closing
        assert world.answered == {("image_service", "upload", 413): 1}


async def test_a_target_that_stalls_in_its_answer_times_out_though_the_body_came_late():
    async with running(target={"timeout": "5s"}) as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 6", body=b"abc")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await client.send(b"def")
        for _ in range(100):
            await world.pass_time(5.0)
        assert client.response.problem["status"] == 504


async def test_the_attempts_time_stands_still_while_the_client_sends():
    async with running() as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 6")
        await world.pass_time(3.0)
        for byte in b"abcde":
            await world.pass_time(20.0)
            await client.send(bytes([byte]))
        assert client.received == b""
        await world.pass_time(20.0)
        await client.send(b"f")
        await world.pass_time(1.9)
        assert client.received == b""
        await world.pass_time(3.2)
        assert client.response.problem["status"] == 504


async def test_an_upstream_that_takes_nothing_times_out():
    async with running() as world:
        world.target.taking = 0
        client = world.client()
        await client.request("POST /images", "Content-Length: 1000000", body=b"")
        await client.send(b"x" * 100_000)
        await world.pass_time(5.0)
        assert client.response.problem["status"] == 504
