"""Connections: pipelining, keep-alive, pooled upstream connections, unasked-for bytes, clients that leave, drain."""

import asyncio

import pytest

from proxy.core.model import FailureKind

from .harness import HIGH_WATER, running

ONE = b"GET /images/1 HTTP/1.1\r\nHost: gallery.test\r\n\r\n"
TWO = b"POST /images HTTP/1.1\r\nHost: gallery.test\r\nContent-Length: 3\r\n\r\nabc"
THREE = b"POST /images HTTP/1.1\r\nHost: gallery.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n"
FOUR = b"\r\nHEAD /images/4 HTTP/1.1\r\nHost: gallery.test\r\n\r\n"
METHODS = (b"GET", b"POST", b"POST", b"HEAD")


async def test_pipelined_requests_are_answered_in_order_one_at_a_time():
    async with running() as world:
        client = world.client()
        await client.send(ONE + TWO + THREE + FOUR)
        for index in range(4):
            assert world.plane.pools["target"].busy == 1
            await world.target.answer(b"" if index == 3 else b"%d" % index)
        assert [one.body for one in client.responses(*METHODS)] == [b"0", b"1", b"2", b""]
        assert client.open
        assert world.target.opened == 1
        assert repr(client.downstream).startswith("<Downstream b'203.0.113.9' IDLE buffered=0")


async def conversation(pieces):
    async with running() as world:
        client = world.client()
        got = b""
        for piece in pieces:
            await client.send(piece)
            while (
                world.target.transports
                and b"\r\n\r\n" in world.target.last.sent
                and _whole(bytes(world.target.last.sent))
            ):
                got += world.target.got
                await world.target.answer(b"fine" if got.rpartition(b"HTTP/1.1")[0][-14:-11] != b"HEA" else b"")
        return got, [(one.status, one.body) for one in client.responses(*METHODS)]


def _whole(request):
    head, _, body = request.partition(b"\r\n\r\n")
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return b"Content-Length: 3" not in head or len(body) == 3


async def test_requests_fed_byte_by_byte_get_the_same_answers():
    stream = ONE + TWO + THREE
    whole = await conversation([stream])
    single = await conversation([bytes([byte]) for byte in stream])
    assert single[1] == whole[1] == [(200, b"fine")] * 3
    assert single[0].count(b"HTTP/1.1\r\n") == whole[0].count(b"HTTP/1.1\r\n") == 3


@pytest.mark.parametrize("at", range(1, len(ONE + THREE)))
async def test_requests_split_anywhere_get_the_same_answers(at):
    stream = ONE + THREE
    _, answers = await conversation([stream[:at], stream[at:]])
    assert answers == [(200, b"fine")] * 2


async def test_what_is_sent_ahead_is_bounded():
    async with running() as world:
        client = world.client()
        await client.send(ONE)
        for _ in range(100):
            client.transport.feed(b"GET /images/%d HTTP/1.1\r\nHost: a\r\n\r\n" % 7 * 100)
        assert not client.transport.is_reading()
        assert len(client.downstream._buffer) <= 64 * 1024 + 4000


async def test_what_is_sent_ahead_stays_bounded_while_requests_are_answered():
    async with running() as world:
        client = world.client()
        await client.send(ONE)
        piece = b"GET /images/7 HTTP/1.1\r\nHost: a\r\n\r\n" * 1800  # about 64 KiB, as much as one read brings
        most = 0
        for _ in range(60):
            client.transport.feed(piece)
        for _ in range(40):
            await world.target.answer(b"")
            most = max(most, len(client.downstream._buffer))
        assert most <= 64 * 1024 + 2 * len(piece)


async def test_requests_of_a_client_that_does_not_read_are_bounded():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client(taking=0)
        await client.send(ONE)
        await world.legacy.answer(b"x" * 2 * HIGH_WATER)
        for _ in range(100):
            client.transport.feed(b"GET /images/7 HTTP/1.1\r\nHost: a\r\n\r\n" * 1800)
        assert len(client.downstream._buffer) <= 64 * 1024 + 2 * 1800 * 35


async def test_a_client_that_reads_late_gets_all_its_answers():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client(taking=0)
        await client.send(ONE + FOUR)
        await world.legacy.answer(b"x" * 2 * HIGH_WATER)
        assert world.legacy.opened == 1
        assert world.plane.pools["legacy"].busy == 0
        client.transport.take(None)
        await world.settle()
        await world.legacy.answer(b"")
        assert len(client.responses(b"GET", b"HEAD")) == 2


async def test_connection_close_is_honoured():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", "Connection: Close")
        await world.target.answer()
        assert client.response.get(b"connection") == b"close"
        assert client.transport.eof_written
        await world.pass_time(2.0)
        assert client.transport.aborted


async def test_bytes_after_the_last_answer_are_thrown_away_to_a_bound():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", "Connection: close")
        await world.target.answer()
        for _ in range(17):
            assert not client.transport.aborted
            await client.send(b"x" * 65536)
        assert client.transport.aborted
        assert world.target.opened == 1


# upstream connections


async def test_a_kept_connection_serves_the_next_client():
    async with running() as world:
        first, second = world.client(), world.client()
        await first.request("GET /images/1")
        await world.target.answer(b"one")
        await second.request("GET /images/2")
        await world.target.answer(b"two")
        assert (first.response.body, second.response.body) == (b"one", b"two")
        assert world.target.opened == 1


ODD_ENDS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nX",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
]


@pytest.mark.parametrize("answer", ODD_ENDS)
async def test_a_connection_with_an_odd_end_is_closed_and_its_bytes_reach_nobody(answer):
    async with running() as world:
        first, second = world.client(), world.client()
        await first.request("GET /images/1")
        odd = world.target.last
        await world.target.say(answer)
        assert first.response.body == b"ok"
        assert odd.closing
        await second.request("GET /images/2")
        assert world.target.last is not odd
        await world.target.answer(b"clean")
        assert second.response.body == b"clean"


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 204 No Content\r\n\r\nbody", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody"]
)
async def test_a_body_where_none_may_be_closes_the_connection(answer):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.say(answer)
        assert client.response.body == b""
        assert world.target.last.closing
        await client.request("HEAD /images/1")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
        assert world.target.last.closing
        assert len(client.responses()) == 2


async def test_bytes_on_an_idle_connection_close_it():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        idle = world.target.last
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert idle.closing
        assert repr(world.plane.pools["target"]) == "<Pool idle=0 busy=0 connecting=0 pending=0>"
        await client.request("GET /images/2")
        await world.target.answer(b"clean")
        assert client.responses()[1].body == b"clean"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_stale_pooled_connection_is_replaced_once_unnoticed(method):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        await client.request(f"{method} /images/1", "Content-Length: 1", body=b"a")
        await world.target.reset()
        assert world.target.opened == 2
        assert world.target.head()[2] == b"a"
        await world.target.answer(b"fresh")
        assert client.responses()[1].body == b"fresh"
        assert world.counted("fallbacks") == {}
        assert sum(world.attempts.values()) == 2


async def test_a_fresh_connection_that_closes_is_a_reset():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        await client.request("GET /images/2")
        await world.target.reset()
        await world.target.reset()
        assert world.target.opened == 2
        await world.legacy.answer()
        assert client.responses()[1].get(b"x-cutover-fallback") == b"reset"


async def test_a_pooled_connection_that_said_something_is_not_stale():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        await client.request("GET /images/2")
        await world.target.say(b"HTT")
        await world.target.reset()
        assert world.target.opened == 1
        await world.legacy.answer()
        assert client.responses()[1].get(b"x-cutover-fallback") == b"reset"


async def test_a_post_is_not_replayed_on_a_stale_connection():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        await client.request("POST /images", "Content-Length: 1", body=b"a")
        await world.target.reset()
        assert (world.target.opened, world.legacy.opened) == (1, 0)
        assert client.responses()[1].problem["status"] == 502


@pytest.mark.parametrize(
    ("method", "waited", "fresh"), [("POST", 1.1, True), ("POST", 0.9, False), ("GET", 1.1, False)]
)
async def test_other_methods_use_a_fresh_connection_after_a_second(method, waited, fresh):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        await world.pass_time(waited)
        await client.request(f"{method} /images" + ("" if method == "POST" else "/1"))
        assert world.target.opened == (2 if fresh else 1)
        await world.target.answer()
        assert len(client.responses()) == 2


async def test_an_idle_connection_that_was_told_goodbye_is_not_lent():
    """The upstream's FIN is read before the client's request, in the same turn of the event loop."""
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        world.target.last.feed_eof()
        await client.request("POST /images", "Content-Length: 1", body=b"a")
        assert world.target.opened == 2
        await world.target.answer(b"stored")
        assert client.responses()[1].body == b"stored"


async def test_a_connection_never_used_counts_as_pooled_when_it_turns_out_stale():
    async with running() as world:
        world.target.gate = asyncio.Event()
        first, second = world.client(), world.client()
        await first.request("GET /images/1")
        first.transport.reset()
        world.target.gate.set()
        await world.settle()
        assert world.plane.pools["target"].idle == 1
        await second.request("GET /images/2")
        await world.target.reset()
        assert world.target.opened == 2
        assert world.legacy.opened == 0


async def test_a_connection_that_dies_as_it_is_made_fails_its_waiter_at_once():
    async with running() as world:
        world.target.dead_on_arrival = True
        client = world.client()
        await client.request("GET /images/1")
        await world.settle()
        assert world.legacy.opened == 1
        await world.legacy.answer(b"saved")
        assert client.response.body == b"saved"


async def test_idle_connections_are_closed_after_their_time():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer()
        await world.pass_time(3.9)
        assert world.plane.pools["target"].idle == 1
        await world.pass_time(0.2)
        assert world.plane.pools["target"].idle == 0
        assert world.target.last.closing


async def test_no_more_connections_are_opened_than_allowed_and_waiters_are_served_in_order():
    async with running(target={"pool": {"max_connections": 2, "max_idle": 1}}) as world:
        clients = [world.client() for _ in range(5)]
        for number, client in enumerate(clients):
            await client.request(f"GET /images/{number}")
        assert world.target.opened == 2
        assert repr(world.plane.pools["target"]) == "<Pool idle=0 busy=2 connecting=0 pending=3>"
        served = []
        for _ in range(5):
            transport = next(one for one in world.target.transports if not one.closing and b"GET" in one.sent)
            served.append(bytes(transport.sent).split(b" ")[1])
            transport.sent.clear()
            transport.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await world.settle()
        assert served == [b"/images/%d" % number for number in (0, 2, 3, 4, 1)]
        assert world.target.opened == 2
        assert world.plane.pools["target"].idle == 1


async def test_waiting_for_a_connection_too_long_is_overload():
    async with running(target={"pool": {"max_connections": 1, "max_idle": 1}, "timeout": "5s"}) as world:
        first, second = world.client(), world.client()
        await first.request("GET /images/1")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await second.request("POST /images", "Content-Length: 1", body=b"a")
        await world.pass_time(5.0)
        await world.legacy.answer()
        assert second.response.get(b"x-cutover-fallback") == b"overload"


async def test_a_connection_freed_by_failure_is_made_anew_for_the_next():
    async with running(target={"pool": {"max_connections": 1, "max_idle": 1}}) as world:
        first, second = world.client(), world.client()
        await first.request("GET /images/1")
        await second.request("GET /images/2")
        await world.target.reset()
        await world.legacy.answer(b"one")
        assert world.target.opened == 2
        await world.target.answer(b"two")
        assert (first.response.body, second.response.body) == (b"one", b"two")


async def test_a_refused_connection_fails_one_waiter_and_the_next_tries_again():
    async with running(target={"pool": {"max_connections": 1, "max_idle": 1}}) as world:
        world.target.gate = asyncio.Event()
        world.target.failure = FailureKind.CONNECT_ERROR
        first, second = world.client(), world.client()
        await first.request("GET /images/1")
        await second.request("GET /images/2")
        world.target.gate.set()
        await world.settle()
        assert world.target.opened == 2
        assert world.legacy.opened == 2


async def test_clients_that_left_do_not_take_up_the_queue():
    async with running(target={"pool": {"max_connections": 1, "max_idle": 1, "max_pending": 2}}) as world:
        busy, waiting = world.client(), world.client()
        await busy.request("GET /images/1")
        await waiting.request("GET /images/2")
        leaver = world.client()
        await leaver.request("GET /images/3")
        leaver.transport.reset()
        await world.pass_time(0.1)
        late = world.client()
        await late.request("GET /images/4")
        assert world.attempts.get(("image_service", "get", "overload")) is None


# clients that leave


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("when", ["waiting", "sent", "half-way", "falling back"])
async def test_a_client_that_leaves_cancels_its_attempts(how, when):
    async with running() as world:
        if when == "waiting":
            world.target.gate = asyncio.Event()
        client = world.client()
        await client.request("GET /images/1")
        if when == "half-way":
            await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        if when == "falling back":
            await world.target.answer(b"own", "503 Busy")
        if how == "fin":
            client.transport.feed_eof()
        else:
            client.transport.reset()
        await world.settle()
        assert world.plane.memory.held == 0
        assert world.answered == {("proxy", "get", 499): 1}
        used = world.legacy if when == "falling back" else world.target
        assert all(transport.closing for transport in used.transports)
        assert world.attempts[(("postgresql" if when == "falling back" else "image_service"), "get", "cancelled")] == 1
        assert world.access[0]["status"] == 499
        if when == "waiting":
            world.target.gate.set()
            await world.settle()
            assert world.target.last.sent == b""


async def test_a_client_that_leaves_after_commit_is_499_of_its_source():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        client.transport.reset()
        await world.settle()
        assert world.answered == {("postgresql", "get", 499): 1}
        assert world.counted("truncated") == {}


async def test_a_client_that_leaves_between_requests_is_no_request():
    async with running() as world:
        client = world.client()
        await client.send(b"GET /ima")
        client.transport.feed_eof()
        await world.settle()
        assert world.answered == {}
        assert client.transport.lost


# drain


async def test_a_drain_lets_the_request_in_flight_end_and_says_close():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        world.plane.draining = True
        client.downstream.drain()
        await world.target.answer(b"last")
        assert client.response.body == b"last"
        assert client.response.get(b"connection") == b"close"
        assert not client.open


async def test_during_a_drain_a_new_request_on_an_open_connection_is_answered_with_close():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer(b"one")
        world.plane.draining = True
        client.downstream.drain()
        await client.request("GET /images/2")
        assert client.open, "idle connections close last"
        await world.target.answer(b"two")
        assert client.responses()[1].body == b"two"
        assert client.responses()[1].get(b"connection") == b"close"


async def test_a_drain_in_the_middle_of_a_head_answers_it_with_close():
    async with running() as world:
        client = world.client()
        await client.send(ONE[:10])
        world.plane.draining = True
        client.downstream.drain()
        await client.send(ONE[10:])
        await world.target.answer()
        (response,) = client.responses(b"GET")
        assert response.get(b"connection") == b"close"


async def test_a_connection_over_the_limit_is_503_with_retry_after():
    async with running(limits={"connections": 1}) as world:
        world.client()
        second = world.client()
        (response,) = second.responses(b"GET")
        assert response.problem["status"] == 503
        assert response.get(b"retry-after") is not None
        assert not second.open
        assert world.counted("client_errors") == {("connection_limit",): 1}
        await second.send(ONE)
        assert world.target.opened == 0


async def test_a_connection_handed_on_to_a_waiting_request_counts_as_pooled_when_it_turns_out_stale():
    async with running(target={"pool": {"max_connections": 1}}) as world:
        first, second = world.client(), world.client()
        await first.request("GET /images/1")
        await second.request("GET /images/2")
        await world.target.answer(b"one")
        assert world.target.last.sent.count(b"GET /images/2") == 1, "the same connection"
        await world.target.reset()
        await world.target.answer(b"two")
        assert second.response.body == b"two"
        assert second.response.get(b"x-cutover-source") == b"image_service"


async def test_a_connection_is_replaced_once_and_a_second_stale_one_is_a_failure():
    async with running(target={"pool": {"max_connections": 1}}) as world:
        first, second, third = world.client(), world.client(), world.client()
        for number, client in enumerate((first, second, third), 1):
            await client.request(f"GET /images/{number}")
        await world.target.answer(b"one")  # and the connection goes on to the second
        await world.target.reset()
        assert b"GET /images/3" in world.target.last.sent, "the third had waited for longer"
        await world.target.answer(b"three")
        assert b"GET /images/2" in world.target.last.sent, "and hands its connection on"
        await world.target.reset()
        await world.legacy.answer(b"two")
        assert second.response.body == b"two"
        assert second.response.get(b"x-cutover-fallback") == b"reset"
        assert world.target.opened == 2


@pytest.mark.parametrize(
    ("request_line", "head"),
    [
        ("HEAD /images/1", b"200 OK\r\nContent-Length: 38"),
        ("HEAD /images/1", b"200 OK\r\nTransfer-Encoding: chunked"),
        ("GET /images/1", b"304 Not Modified\r\nContent-Length: 38"),
    ],
)
async def test_content_that_must_not_follow_a_head_answers_nobody_else(request_line, head):
    async with running() as world:
        client = world.client()
        await client.request(request_line)
        await world.target.say(b"HTTP/1.1 %b\r\n\r\n" % head)
        await client.request("POST /images", "Content-Length: 1", body=b"a")
        assert world.target.opened == 2, "not on the connection on which content may still come"
        await world.target.answer(b"the right one")
        assert client.received.endswith(b"the right one")


async def test_a_connection_is_used_again_after_a_head_that_announces_nothing():
    async with running() as world:
        client = world.client()
        await client.request("HEAD /images/1")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await client.request("GET /images/1")
        await world.target.answer(b"again")
        assert world.target.opened == 1
