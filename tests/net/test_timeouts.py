"""Time: heads, bodies, attempts, idleness and slow readers, by a fake clock."""

import pytest

from .harness import HIGH_WATER, running


async def test_a_slow_head_is_408_after_its_first_byte():
    async with running() as world:
        client = world.client()
        await world.pass_time(5)
        await client.send(b"GET / HTTP/1.1\r\n")
        for _ in range(9):
            await world.pass_time(1)
            await client.send(b"X: a\r\n")
        assert client.received == b""
        await world.pass_time(1.1)
        (response,) = client.responses(b"GET")
        assert response.problem["status"] == 408
        assert not client.open
        assert world.counted("client_errors") == {("header_timeout",): 1}
        assert world.answered == {("proxy", "other", 408): 1}


async def test_a_slow_second_head_is_408_too():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        await world.pass_time(60)
        await client.send(b"G")
        await world.pass_time(10.1)
        assert [one.status for one in client.responses(b"GET", b"GET")] == [200, 408]


async def test_an_idle_connection_closes_silently():
    async with running() as world:
        fresh, used = world.client(), world.client()
        await used.request("GET /images/1")
        await world.target.answer()
        before = used.received
        await world.pass_time(10.1)
        assert fresh.transport.closing
        assert not used.transport.closing
        await world.pass_time(65)
        assert used.transport.closing
        assert (fresh.received, used.received) == (b"", before)
        assert world.counted("client_errors") == {}


async def test_a_body_without_progress_is_408():
    async with running() as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 100")
        for _ in range(3):
            await world.pass_time(29)
            await client.send(b"x")
        assert client.received == b""
        await world.pass_time(30.1)
        assert client.response.problem["status"] == 408
        assert world.target.last.closing
        assert not client.open
        assert world.counted("client_errors") == {("body_timeout",): 1}
        assert world.answered == {("proxy", "upload", 408): 1}


async def test_an_operation_may_have_its_own_timeout():
    async with running(operations=[{"name": "get", "match": "GET /images/{id}", "timeout": "2s"}]) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.pass_time(2.1)
        assert world.legacy.opened == 1
        await world.pass_time(2.1)
        assert client.response.problem["status"] == 504


async def test_after_commit_the_response_needs_progress_only():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(5):
            await world.pass_time(29)
            await world.legacy.say(b"x")
        assert not client.transport.closing
        await world.pass_time(30.1)
        assert client.transport.closing
        assert world.legacy.last.closing
        assert world.counted("truncated") == {("postgresql", "get"): 1}
        assert world.attempts == {("postgresql", "get", "timeout"): 1}


async def test_a_side_paused_by_backpressure_makes_no_timeout_but_the_slow_reader_does():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client(taking=0)
        await client.request("GET /images/1")
        await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 2 * HIGH_WATER)
        assert not world.legacy.last.reading
        for _ in range(4):
            await world.pass_time(25)
            client.transport.take(10)
        assert not client.transport.closing
        await world.pass_time(31)
        await world.pass_time(31)
        assert client.transport.aborted
        assert world.counted("client_errors") == {("slow_reader",): 1}
        assert world.answered == {("postgresql", "get", 499): 1}
        assert world.counted("truncated") == {}


async def test_a_slow_reader_of_the_last_answer_is_closed_in_the_end():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client(taking=0)
        await client.request("GET /images/1", "Connection: close")
        await world.legacy.answer(b"x" * 1000)
        for _ in range(3):
            await world.pass_time(31)
        assert client.transport.aborted


async def test_a_broken_off_response_does_not_keep_its_connection_for_ever():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client(taking=0)
        await client.request("GET /images/1")
        await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await world.legacy.reset()
        for _ in range(10):
            await world.pass_time(600)
        assert client.transport.lost


async def test_a_client_that_takes_its_answers_in_the_end_may_go_on():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client(taking=0)
        await client.request("GET /images/1")
        await world.legacy.answer(b"x" * 2 * HIGH_WATER)
        await world.pass_time(20)
        client.transport.take(None)
        await world.pass_time(70)
        await client.request("GET /images/1")
        await world.legacy.answer(b"y")
        assert client.responses()[1].body == b"y"


@pytest.mark.parametrize("keepalive", ["2s", "90s"])
async def test_a_slow_reader_of_an_answer_that_is_written_has_the_time_of_a_body(keepalive):
    async with running(rollout={"percentage": 0}, limits={"keepalive_timeout": keepalive}) as world:
        client = world.client(taking=0)
        await client.request("GET /images/1")
        await world.legacy.answer(b"x" * 1000)
        await world.pass_time(29)
        assert not client.transport.closing
        await world.pass_time(2)
        assert client.transport.aborted
