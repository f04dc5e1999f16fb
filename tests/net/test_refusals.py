"""Requests that are refused: the right status, problem details, a closed connection, nothing upstream."""

import pytest

from .harness import running

HOST = "Host: a\r\n"
REFUSED = [
    ("GET /\r\n\r\n", 400),
    ("GET  / HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET / HTTP/1.1 \r\n" + HOST + "\r\n", 400),
    ("GET / HTTP/2.0\r\n" + HOST + "\r\n", 505),
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n" + HOST + HOST + "\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n" + HOST + "X : a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n" + HOST + "X: a\r\n b\r\n\r\n", 400),
    ("GET / HTTP/1.1\n" + "Host: a\n\n" + "\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n" + HOST + "Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\n" + HOST + "Transfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\n" + HOST + "Transfer-Encoding: gzip\r\n\r\n", 501),
    ("CONNECT a:443 HTTP/1.1\r\n" + HOST + "\r\n", 405),
    ("TRACE / HTTP/1.1\r\n" + HOST + "\r\n", 405),
    ("GET / HTTP/1.1\r\n" + HOST + "Connection: Host\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n" + HOST + "Connection: x-user-id\r\nX-User-Id: a\r\n\r\n", 400),
    ("GET /" + "a" * 8192 + " HTTP/1.1\r\n" + HOST + "\r\n", 414),
    ("GET /" + "a" * 9000, 414),
    ("GET / HTTP/1.1\r\n" + HOST + "X: " + "a" * 40_000, 431),
    ("GET / HTTP/1.1\r\n" + HOST + "X: a\r\n" * 100 + "\r\n", 431),
    ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: 104857601\r\n\r\n", 413),
    ("POST / HTTP/1.1\r\n" + HOST + "Content-Length: 999999999999999999\r\n\r\n", 413),
    ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("\nGET / HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("\rGET / HTTP/1.1\r\n" + HOST + "\r\n", 400),
]


@pytest.mark.parametrize(("sent", "status"), REFUSED)
async def test_a_refused_request_gets_problem_details_and_reaches_nobody(sent, status):
    async with running() as world:
        client = world.client()
        await client.send(sent.encode() + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        (response,) = client.responses(b"GET")
        assert response.problem["status"] == response.status == status
        assert response.get(b"connection") == b"close"
        assert (response.get(b"allow") is not None) is (status == 405)
        assert not client.open
        assert (world.target.opened, world.legacy.opened) == (0, 0)
        assert world.answered == {("proxy", "other", status): 1}
        assert sum(world.counted("client_errors").values()) == 1
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (world.target.opened, world.legacy.opened) == (0, 0)


@pytest.mark.parametrize(("sent", "status"), REFUSED)
async def test_byte_by_byte_the_same_is_refused(sent, status):
    async with running() as world:
        client = world.client()
        for byte in sent.encode():
            client.transport.feed(bytes([byte]))
        await world.settle()
        (response,) = client.responses(b"GET")
        assert response.status == status
        assert (world.target.opened, world.legacy.opened) == (0, 0)


async def test_a_chunked_body_cannot_be_hidden_by_connection():
    """The edge reads a chunked body; who believes `Connection: transfer-encoding` reads its content as a request."""
    hidden = b"POST /images HTTP/1.1\r\nHost: a\r\nConnection: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
    for nominated in (b"transfer-encoding", b"close, Transfer-Encoding", b"keep-alive,transfer-encoding"):
        async with running() as world:
            client = world.client()
            await client.send(hidden % nominated + body)
            if world.target.opened:
                _, fields, rest = world.target.head()
                assert fields.get(b"transfer-encoding") == [b"chunked"]
                assert rest == body
            else:
                (response,) = client.responses(b"POST")
                assert response.status == 400


LIMIT_HEADERS = b"GET /images/1 HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 99 + b"\r\n"  # 100 of them
LIMIT_BYTES = b"GET /images/1 HTTP/1.1\r\nHost: a\r\nX: "
LIMIT_BYTES += b"a" * (32 * 1024 - len(LIMIT_BYTES)) + b"\r\n\r\n"


@pytest.mark.parametrize("head", [LIMIT_HEADERS, LIMIT_BYTES], ids=["count", "bytes"])
@pytest.mark.parametrize("split", [0, 1, 2, 3])
async def test_a_head_at_its_limit_is_served_however_it_is_split(head, split):
    async with running() as world:
        client = world.client()
        await client.send(head[: len(head) - split])
        await client.send(head[len(head) - split :] or b"")
        assert client.received == b""
        assert world.target.opened == 1


async def test_empty_lines_before_a_request_are_skipped():
    async with running() as world:
        client = world.client()
        for byte in b"\r\n\r\nGET /images/1 HTTP/1.1\r\nHost: a\r\n\r\n":
            await client.send(bytes([byte]))
        await world.target.answer()
        assert client.responses(b"GET")[0].status == 200


async def test_a_refusal_of_head_has_no_body_once_the_method_is_known():
    async with running() as world:
        client = world.client()
        await client.request("HEAD /images/1")
        await world.target.reset()
        await world.legacy.reset()
        assert client.response.status == 502
        assert client.response.body == b""
        assert client.open


async def test_a_request_after_a_refused_one_is_not_served():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await client.send(b"BAD\r\n\r\nGET /images/2 HTTP/1.1\r\nHost: a\r\n\r\n")
        await world.target.answer(b"one")
        assert [one.status for one in client.responses(b"GET", b"GET")] == [200, 400]
        assert world.target.opened == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HEAD /images/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n",
        b"HEAD /images/1 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"HEAD /images/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_refused_head_has_no_content_however_it_is_refused(head):
    async with running() as world:
        client = world.client()
        await client.send(head)
        assert client.received.endswith(b"\r\n\r\n")
        assert client.received.startswith(b"HTTP/1.1 4")


async def test_trailing_space_of_a_length_is_not_passed_on():
    async with running() as world:
        client = world.client()
        await client.send(b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 3 \t\r\n\r\nabc")
        assert b"\r\nContent-Length: 3\r\n" in world.target.got


async def test_content_in_a_205_is_an_invalid_response():
    async with running(rollout={"percentage": 0}) as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.legacy.say(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 3\r\n\r\nabc")
        assert client.response.status == 502
