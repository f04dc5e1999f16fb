"""fall back or commit: every failure of the target, by method, and what the client gets."""

import asyncio

import pytest

from proxy.core.model import FailureKind

from .harness import running

NO_BREAKER = {"circuit_breaker": {"enabled": False}}


async def fail(world, kind):
    """Let the target's attempt fail in one of the ways the contract names."""
    target = world.target
    if kind == "timeout":
        await world.pass_time(5.0)
    elif kind == "reset":
        await target.reset()
    elif kind == "reset half-way":
        await target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await target.hang_up()
    elif kind == "reset in a chunk":
        await target.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")
        await target.hang_up()
    elif kind == "reset before the close":
        await target.say(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await target.reset()
    elif kind == "timeout half-way":
        await target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await world.pass_time(5.0)
    else:
        await target.say(kind)


AFTER_SENDING = [
    ("timeout", "timeout"),
    ("timeout half-way", "timeout"),
    ("reset", "reset"),
    ("reset half-way", "reset"),
    ("reset in a chunk", "reset"),
    ("reset before the close", "reset"),
    (b"garbage\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 099 Low\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 600 High\r\n\r\n", "invalid_response"),
    (b"HTTP/2.0 200 OK\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", "invalid_response"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "invalid_response"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40_000, "invalid_response"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 101 + b"\r\n", "invalid_response"),
]


IN_THE_BODY = {  # an answer to HEAD is whole at its head
    "timeout half-way",
    "reset half-way",
    "reset in a chunk",
    "reset before the close",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}
AFTER_SENDING_SAFELY = [
    (method, how, kind)
    for method in ("GET", "HEAD", "OPTIONS")
    for how, kind in AFTER_SENDING
    if method != "HEAD" or how not in IN_THE_BODY
]


@pytest.mark.parametrize(("method", "how", "kind"), AFTER_SENDING_SAFELY)
async def test_safe_methods_fall_back_on_every_failure(method, how, kind):
    async with running(
        operations=[{"name": "get", "match": f"{'GET' if method == 'HEAD' else method} /images/{{id}}"}]
    ) as world:
        client = world.client()
        await client.request(f"{method} /images/1", "X-User-Id: u")
        await fail(world, how)
        assert client.received == b""
        assert world.target.last.closing
        await world.legacy.answer(b"" if method == "HEAD" else b"saved")
        assert client.response.status == 200
        assert client.response.get(b"x-cutover-source") == b"postgresql"
        assert client.response.get(b"x-cutover-fallback") == kind.encode()
        assert client.open
        assert world.counted("fallbacks") == {("get", kind, "served"): 1}
        assert world.attempts == {("image_service", "get", kind): 1, ("postgresql", "get", "ok"): 1}
        assert world.answered == {("postgresql", "get", 200): 1}
        assert world.access[0]["fallback"] == kind


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(("how", "kind"), AFTER_SENDING)
async def test_other_methods_do_not_fall_back_once_bytes_were_sent(method, how, kind):
    async with running(operations=[{"name": "op", "match": f"{method} /images/{{id}}"}]) as world:
        client = world.client()
        await client.request(f"{method} /images/1", "Content-Length: 3", "Idempotency-Key: k", body=b"abc")
        await fail(world, how)
        assert world.legacy.opened == 0
        assert client.response.problem["status"] == (504 if kind == "timeout" else 502)
        assert client.response.get(b"x-cutover-source") == b"proxy"
        assert world.counted("fallbacks") == {("op", kind, "suppressed"): 1}
        assert client.open


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", [FailureKind.CONNECT_ERROR, FailureKind.TLS_ERROR])
async def test_every_method_falls_back_when_nothing_was_sent(method, kind):
    async with running(operations=[{"name": "op", "match": f"{method} /images/{{id}}"}]) as world:
        world.target.failure = kind
        client = world.client()
        await client.request(f"{method} /images/1", "Content-Length: 3", body=b"abc")
        _, fields, rest = world.legacy.head()
        assert (fields[b"content-length"], rest) == ([b"3"], b"abc")
        await world.legacy.answer()
        assert client.response.get(b"x-cutover-fallback") == kind.encode()
        assert client.open


async def test_no_place_in_the_pool_is_overload_and_falls_back():
    async with running(target={"pool": {"max_connections": 1, "max_idle": 1, "max_pending": 1}}) as world:
        first, second, third = world.client(), world.client(), world.client()
        await first.request("GET /images/1")
        await second.request("GET /images/2")
        await third.request("POST /images", "Content-Length: 3", body=b"abc")
        assert repr(world.plane.pools["target"]) == "<Pool idle=0 busy=1 connecting=0 pending=1>"
        await world.legacy.answer(b"third")
        assert third.response.get(b"x-cutover-fallback") == b"overload"
        await world.pass_time(5.0)
        await world.legacy.answer(b"x")
        assert world.attempts[("image_service", "get", "timeout")] == 1
        assert world.attempts[("image_service", "get", "overload")] == 1


@pytest.mark.parametrize(
    ("unsafe", "key", "asked"),
    [(True, False, True), ("idempotency_key", True, True), ("idempotency_key", False, False)],
)
async def test_unsafe_methods_are_replayed_only_where_the_configuration_says_so(unsafe, key, asked):
    async with running(fallback={"unsafe_methods": unsafe}) as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 3", *(["Idempotency-Key: k"] if key else []), body=b"abc")
        await world.target.reset()
        assert (world.legacy.opened == 1) is asked
        if asked:
            assert world.legacy.head()[2] == b"abc"
            await world.legacy.answer()
            assert client.response.status == 200
        else:
            assert client.response.problem["status"] == 502


async def test_a_body_longer_than_the_buffer_is_not_replayed():
    async with running(fallback={"unsafe_methods": True, "request_buffer": 10}) as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 20", body=b"a" * 5)
        await client.send(b"b" * 15)
        await world.target.reset()
        assert world.legacy.opened == 0
        assert client.response.problem["status"] == 502


FAILING = [401, 403, 404, 408, 429, 500, 503, 599]
PASSING = [200, 204, 301, 400, 405, 409, 410, 422]


@pytest.mark.parametrize("status", FAILING)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_statuses_on_the_list_fall_back_for_safe_methods_only(status, method):
    async with running() as world:
        client = world.client()
        await client.request(
            f"{method} /images/1", *(["Content-Length: 1"] if method == "PUT" else []), body=b"a" * (method == "PUT")
        )
        await world.target.answer(b"targets own", f"{status} Whatever")
        if method == "GET":
            assert client.received == b""
            await world.legacy.answer(b"saved")
            assert client.response.body == b"saved"
            assert client.response.get(b"x-cutover-fallback") == b"status_%d" % status
            assert world.counted("fallbacks") == {("get", f"status_{status}", "served"): 1}
        else:
            assert world.legacy.opened == 0
            assert (client.response.status, client.response.body) == (status, b"targets own")
            assert client.response.get(b"x-cutover-fallback") is None
            assert world.counted("fallbacks") == {("update", f"status_{status}", "suppressed"): 1}
        assert world.target.opened == 1
        assert world.plane.pools["target"].idle == 1


@pytest.mark.parametrize("status", PASSING)
async def test_other_statuses_are_passed_on(status):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer(b"", f"{status} Whatever")
        assert client.response.status == status
        assert world.legacy.opened == 0


async def test_legacys_answer_is_final_and_the_same_status_confirms():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer(b"t", "404 Not Found")
        await world.legacy.answer(b"l", "404 Not Found")
        assert (client.response.status, client.response.body) == (404, b"l")
        assert world.counted("fallbacks") == {("get", "status_404", "confirmed"): 1}


async def test_without_fallback_the_targets_answer_is_the_answer():
    async with running(fallback={"enabled": False}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer(b"t", "503 Busy")
        await client.request("GET /images/1")
        await world.target.say(b"garbage\r\n\r\n")
        assert [one.status for one in client.responses()] == [503, 502]
        assert world.legacy.opened == 0


async def test_when_both_fail_the_client_gets_the_targets_own_answer():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer(b"targets own", "503 Busy", "X-Of: target")
        await world.legacy.reset()
        assert (client.response.status, client.response.body) == (503, b"targets own")
        assert client.response.get(b"x-cutover-source") == b"image_service"
        assert client.response.get(b"x-cutover-fallback") == b"status_503"
        assert world.counted("fallbacks") == {("get", "status_503", "failed"): 1}
        assert world.answered == {("image_service", "get", 503): 1}


async def test_when_both_fail_a_targets_answer_still_coming_is_streamed():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.say(b"HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\nhello")
        world.legacy.last.reset()
        await world.settle()
        await world.target.say(b"world")
        assert (client.response.status, client.response.body) == (500, b"helloworld")


@pytest.mark.parametrize(("last", "status"), [("timeout", 504), ("reset", 502), ("refused", 502)])
@pytest.mark.parametrize("first", ["timeout", "reset"])
async def test_when_both_fail_without_an_answer_the_last_failure_tells(first, last, status):
    async with running() as world:
        if last == "refused":
            world.legacy.failure = FailureKind.CONNECT_ERROR
        client = world.client()
        await client.request("GET /images/1")
        await fail(world, first)
        if last == "timeout":
            await world.pass_time(30.0)
        elif last == "reset":
            await world.legacy.reset()
        assert client.response.problem["status"] == status
        assert world.answered == {("proxy", "get", status): 1}
        assert world.counted("fallbacks") == {("get", first, "failed"): 1}
        assert client.open


async def test_legacy_first_means_no_second_source():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.legacy.reset()
        assert client.response.problem["status"] == 502
        assert world.target.opened == 0
        assert world.counted("fallbacks") == {}


@pytest.mark.parametrize("framing", ["counted", "chunked"])
async def test_a_response_is_held_until_complete(framing):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        body = b"x" * 200_000
        if framing == "counted":
            await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + body[:-1])
        else:
            await world.target.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n" + body[:-1])
        assert client.received == b""
        assert world.plane.memory.held == 199_999
        await world.target.say(b"x" if framing == "counted" else b"x\r\n0\r\n\r\n")
        assert client.response.body == body
        assert client.response.get(b"content-length") == b"200000"
        assert world.plane.memory.held == 0


async def test_a_response_over_the_buffer_commits_and_streams():
    async with running(fallback={"response_buffer": 1000}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 1000)
        assert client.received == b""
        await world.target.say(b"x")
        assert client.received.endswith(b"\r\n\r\n" + b"x" * 1001)
        await world.target.say(b"x" * 999)
        assert client.response.body == b"x" * 2000
        assert world.plane.memory.held == 0


async def test_above_the_memory_bound_a_response_commits_at_once():
    async with running(fallback={"response_buffer": 100}, limits={"buffered_bytes": 300}) as world:
        holding = [world.client(), world.client()]
        for client in holding:
            assert not world.plane.memory.tight
            await client.request("GET /images/1")
            await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 100)
            assert client.received == b""
        assert world.plane.memory.held == 200
        assert world.plane.memory.tight
        late = world.client()
        await late.request("GET /images/2")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
        assert late.received.startswith(b"HTTP/1.1 200 OK")


async def test_an_event_stream_commits_at_its_head():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n")
        assert client.received.startswith(b"HTTP/1.1 200 OK")
        await world.pass_time(600)
        await world.target.say(b"data: 1\n\n")
        assert client.received.endswith(b"9\r\ndata: 1\n\n\r\n")
        await world.target.hang_up()
        assert client.response.body == b"data: 1\n\n"


@pytest.mark.parametrize("framing", ["counted", "chunked", "close"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_a_failure_after_commit_is_never_retried_and_never_looks_whole(framing, version):
    async with running(rollout={"percentage": 0}) as world:
        client = world.client()
        await client.request(f"GET /images/1 {version}", "Connection: keep-alive")
        heads = {
            "counted": b"Content-Length: 100\r\n\r\nhalf",
            "chunked": b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "close": b"\r\nhalf",
        }
        await world.legacy.say(b"HTTP/1.1 200 OK\r\n" + heads[framing])
        assert b"half" in client.received
        before = client.received
        await world.legacy.reset()
        assert client.received == before
        assert world.legacy.opened == 1
        assert world.target.opened == 0
        assert client.transport.closing
        ends_by_close = version == "HTTP/1.0" and framing != "counted"
        assert client.transport.aborted is ends_by_close
        assert bool(client.transport.socket.options) is ends_by_close
        assert world.counted("truncated") == {("postgresql", "get"): 1}
        assert world.attempts == {("postgresql", "get", "reset"): 1}


async def test_the_targets_failure_after_commit_does_not_ask_legacy():
    async with running(fallback={"response_buffer": 10}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        await world.target.reset()
        assert world.legacy.opened == 0
        assert client.transport.closing
        assert world.counted("truncated") == {("image_service", "get"): 1}
        assert world.answered == {("image_service", "get", 200): 1}


async def test_a_late_answer_of_the_target_after_fallback_goes_nowhere():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        target = world.target.last
        await world.pass_time(5.0)
        target.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        await world.settle()
        await world.legacy.answer(b"legacy")
        assert client.response.body == b"legacy"
        assert target.closing


async def test_a_spare_answer_larger_than_the_buffer_waits_where_it_is():
    async with running(fallback={"response_buffer": 1000}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.say(b"HTTP/1.1 500 Oh\r\nContent-Length: 100000\r\n\r\n" + b"x" * 2000)
        assert not world.target.last.reading
        await world.legacy.answer(b"saved")
        assert client.response.body == b"saved"
        assert world.target.last.closing


async def test_a_replayed_body_is_whole_even_if_it_outgrew_the_buffer_meanwhile():
    """The target refuses early, legacy's connection takes its time, and the client goes on sending."""
    async with running(fallback={"unsafe_methods": True, "request_buffer": 10}) as world:
        world.legacy.gate = asyncio.Event()
        client = world.client()
        await client.request("POST /images", "Transfer-Encoding: chunked", body=b"4\r\nhead\r\n")
        await world.target.say(b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nno")
        await client.send(b"14\r\n" + b"m" * 20 + b"\r\n")
        world.legacy.gate.set()
        await world.settle()
        await client.send(b"4\r\ntail\r\n0\r\n\r\n")
        if world.legacy.transports:
            _, _, rest = world.legacy.head()
            if rest.endswith(b"0\r\n\r\n"):
                assert rest.replace(b"\r\n", b"").startswith(b"4head"), "a body without its beginning"
        else:
            assert client.response.status in (502, 503)


async def test_a_spare_that_stops_taking_the_body_does_not_stop_legacy():
    async with running(
        fallback={"unsafe_methods": True, "request_buffer": 10_000_000}, limits={"body_bytes": 10_000_000}
    ) as world:
        world.target.taking = 1000
        client = world.client()
        await client.request("POST /images", "Content-Length: 300000", body=b"a" * 1000)
        await world.target.say(b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nno")
        for _ in range(4):
            await client.send(b"a" * 50_000)
        await client.send(b"a" * 99_000)
        await world.pass_time(5.0)  # the spare's time is up
        await world.pass_time(1.0)
        assert client.transport.inbox == []
        await world.legacy.answer(b"stored")
        assert client.response.body == b"stored"
