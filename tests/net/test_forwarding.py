"""What goes through: heads both ways, bodies, framings, the proxy's own lines."""

import pytest

from proxy.core.bucketing import bucket_of

from .harness import STRANGER, TRUSTED, running

USER = "X-User-Id: user-1"  # bucket 59


async def test_users_are_split_by_their_bucket():
    async with running(rollout={"percentage": 60}) as world:
        client = world.client()
        await client.request("GET /images/1", USER)
        await world.target.answer(b"from target")
        assert client.response.body == b"from target"
        assert client.response.get(b"x-cutover-source") == b"image_service"
        assert client.response.get(b"x-cutover-reason") == b"bucket"
        assert client.response.get(b"x-cutover-bucket") == b"59"
        assert client.response.get(b"x-cutover-fallback") is None
    async with running(rollout={"percentage": 59}) as world:
        client = world.client()
        await client.request("GET /images/1", USER)
        await world.legacy.answer(b"from legacy")
        assert client.response.body == b"from legacy"
        assert client.response.get(b"x-cutover-source") == b"postgresql"
        assert world.target.opened == 0
        assert world.answered == {("postgresql", "get", 200): 1}
        assert world.attempts == {("postgresql", "get", "ok"): 1}


async def test_an_operation_that_is_not_configured_goes_to_legacy():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/%2e%2e", USER)
        await world.legacy.answer()
        assert client.response.get(b"x-cutover-reason") == b"operation"
        assert world.counted("decisions") == {("postgresql", "other", "operation"): 1}


async def test_the_force_header_needs_its_token_and_goes_no_further():
    settings = {"percentage": 0, "force": {"token": "s3cret-token-value"}}
    async with running(rollout=settings) as world:
        client = world.client()
        await client.request("GET /images/1", "X-Cutover-Force: target;wrong")
        assert world.target.opened == 0
        await world.legacy.answer()
        await client.request("GET /images/1", "X-Cutover-Force: target;s3cret-token-value")
        _, fields, _ = world.target.head()
        assert b"x-cutover-force" not in fields
        await world.target.answer()
        first, second = client.responses()
        assert first.get(b"x-cutover-reason") == b"percentage"
        assert second.get(b"x-cutover-reason") == b"forced"


async def test_path_order_case_and_duplicates_are_forwarded_byte_for_byte():
    async with running() as world:
        client = world.client()
        target = "/images/a%2Db;v=1?q=%7e&&=+\xe9"
        await client.request(f"GET {target}", "x-b: 1", "X-A: \xff  spaced", "X-B: 2", "x-b: 1", "Accept:")
        got = bytes(world.target.last.sent)
        assert got.startswith(b"GET " + target.encode("latin-1") + b" HTTP/1.1\r\nHost: target.test:4000\r\n")
        assert b"\r\nx-b: 1\r\nX-A: \xff  spaced\r\nX-B: 2\r\nx-b: 1\r\nAccept: \r\n" in got
        await world.target.say(
            b"HTTP/1.1 200 Fine\xe9 then\r\nx-z: 1\r\nX-Y: 2\r\nX-Z: 3\r\nContent-Length: 2\r\n\r\nok"
        )
        assert client.response.status_line == b"HTTP/1.1 200 Fine\xe9 then"
        assert client.response.fields[:4] == [(b"x-z", b"1"), (b"X-Y", b"2"), (b"X-Z", b"3"), (b"Content-Length", b"2")]


HOP_BY_HOP = ("Keep-Alive: timeout=5", "Proxy-Connection: x", "TE: trailers", "Proxy-Authorization: a", "X-Named: 1")


async def test_hop_by_hop_fields_are_removed_both_ways():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", "Connection: keep-alive, X-Named", *HOP_BY_HOP, "X-Kept: 1")
        _, fields, _ = world.target.head()
        removed = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"proxy-authorization", b"x-named"}
        assert not removed & fields.keys()
        assert fields[b"x-kept"] == [b"1"]
        await world.target.answer(b"", "200 OK", "Connection: X-Named", *HOP_BY_HOP, "X-Kept: 2", "Upgrade: h2c")
        names = {name.lower() for name, _ in client.response.fields}
        assert not (removed | {b"upgrade"}) & names
        assert client.response.get(b"x-kept") == b"2"


async def test_cutover_fields_are_stripped_both_ways():
    async with running(expose=False) as world:
        client = world.client()
        await client.request("GET /images/1", "x-cutover-SOURCE: forged", "X-Cutover-Anything: 1")
        _, fields, _ = world.target.head()
        assert fields[b"x-cutover-source"] == [b"image_service"]
        assert b"x-cutover-anything" not in fields
        await world.target.answer(b"", "200 OK", "X-Cutover-Source: forged", "x-cutover-secret: 1")
        assert b"cutover-" not in client.received.lower()


CLAIMS = ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: public.test")
MORE_CLAIMS = ("Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4", "X-Forwarded-Port: 443")


async def test_forwarded_claims_of_a_trusted_proxy_are_kept_and_extended():
    async with running() as world:
        client = world.client(TRUSTED)
        await client.request("GET /images/1", *CLAIMS, *MORE_CLAIMS)
        _, fields, _ = world.target.head()
        assert fields[b"x-forwarded-for"] == [b"198.51.100.1, 127.0.0.1"]
        assert fields[b"x-forwarded-proto"] == [b"https"]
        assert fields[b"x-forwarded-host"] == [b"public.test"]
        assert fields[b"forwarded"] == [b"for=1.2.3.4"]
        assert fields[b"x-forwarded-port"] == [b"443"]


async def test_forwarded_claims_of_anybody_else_are_discarded_counted_and_said_once():
    async with running() as world:
        for _ in range(2):
            client = world.client(STRANGER)
            await client.request("GET /images/1", *CLAIMS, *MORE_CLAIMS)
            _, fields, _ = world.target.head()
            assert fields[b"x-forwarded-for"] == [b"203.0.113.9"]
            assert fields[b"x-forwarded-proto"] == [b"http"]
            assert fields[b"x-forwarded-host"] == [b"gallery.test"]
            assert not {b"forwarded", b"x-real-ip", b"x-forwarded-port"} & fields.keys()
            await world.target.answer()
        assert world.counted("client_errors") == {("forwarded_untrusted",): 2}
        assert sum(b"forwarded_untrusted" in line for line in world.lines.lines) == 1


@pytest.mark.parametrize("claim", MORE_CLAIMS)
async def test_every_discarded_claim_is_counted(claim):
    async with running() as world:
        client = world.client(STRANGER)
        await client.request("GET /images/1", claim)
        assert claim.encode() not in world.target.got
        assert world.counted("client_errors") == {("forwarded_untrusted",): 1}


async def test_a_client_on_a_unix_socket_is_trusted_and_has_no_address():
    async with running() as world:
        client = world.client("")
        await client.request("GET /images/1", "X-Forwarded-For: 198.51.100.1")
        _, fields, _ = world.target.head()
        assert fields[b"x-forwarded-for"] == [b"198.51.100.1"]
        await world.target.answer()
        await client.request("GET /images/1")
        _, fields, _ = world.target.head()
        assert b"x-forwarded-for" not in fields


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("abc-123", True), ("!" * 128, True), ("!" * 129, False), ("with space", False), ("caf\xe9", False), ("", False)],
)
async def test_a_request_id_is_kept_if_it_is_valid_and_always_answered(sent, kept):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", f"X-Request-Id: {sent}")
        _, fields, _ = world.target.head()
        (forwarded,) = fields[b"x-request-id"]
        assert (forwarded == sent.encode("latin-1")) is kept
        await world.target.answer(b"", "200 OK", "X-Request-Id: upstreams-own")
        assert client.response.get(b"x-request-id") == forwarded
        assert world.access[0]["request_id"].encode() == forwarded


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ((PARENT,), True),
        ((), False),
        ((PARENT, PARENT), False),
        ((PARENT.upper(),), False),
        (("00-" + "0" * 32 + "-b7ad6b7169203331-01",), False),
        (("ff" + PARENT[2:],), False),
        ((PARENT + "-more",), False),
        (("01" + PARENT[2:] + "-more",), True),
    ],
)
async def test_a_trace_is_kept_if_it_is_valid_else_started(sent, kept):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", *(f"traceparent: {value}" for value in sent), "tracestate: a=1")
        _, fields, _ = world.target.head()
        (forwarded,) = fields[b"traceparent"]
        assert (forwarded in (parent.encode() for parent in sent)) is kept
        assert fields.get(b"tracestate") == ([b"a=1"] if kept else None), "it is told of that trace and of no other"
        assert world.access == []
        await world.target.answer()
        assert world.access[0]["trace_id"].encode() == forwarded[3:35]


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_via_names_each_hops_version_unless_turned_off(version):
    async with running() as world:
        client = world.client()
        await client.request(f"GET /images/1 {version}", "Via: 1.1 edge")
        _, fields, _ = world.target.head()
        assert fields[b"via"] == [b"1.1 edge", b"1." + version[-1].encode() + b" cutover"]
        await world.target.say(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.response.all(b"via") == [b"1.0 cutover"]
    async with running(forwarded={"via": False}) as world:
        client = world.client()
        await client.request("GET /images/1")
        assert b"Via" not in world.target.got
        await world.target.answer()
        assert client.response.get(b"via") is None


async def test_an_http_1_0_request_needs_no_host_and_closes_by_itself():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1 HTTP/1.0", host=False)
        _, fields, _ = world.target.head()
        assert fields[b"host"] == [b"target.test:4000"]
        await world.target.answer()
        assert client.response.get(b"connection") == b"close"
        assert not client.open


async def test_an_http_1_0_client_may_ask_to_stay():
    async with running() as world:
        client = world.client()
        for _ in range(2):
            await client.request("GET /images/1 HTTP/1.0", "Connection: keep-alive")
            await world.target.answer()
        assert [response.get(b"connection") for response in client.responses()] == [b"keep-alive"] * 2
        assert client.open


BIG = b"x" * 300_000  # more than response_buffer: streamed


@pytest.mark.parametrize("body", [b"", b"abc", BIG])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("framing", ["counted", "chunked", "close"])
async def test_every_framing_reaches_every_client_whole(framing, version, body):
    async with running() as world:
        client = world.client()
        await client.request(f"GET /images/1 {version}", "Connection: keep-alive")
        head = b"HTTP/1.1 200 OK\r\n"
        pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
        if framing == "counted":
            await world.target.say(head + b"Content-Length: %d\r\n\r\n" % len(body))
            for piece in pieces:
                await world.target.say(piece)
        elif framing == "chunked":
            await world.target.say(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for piece in pieces:
                await world.target.say(b"%x\r\n%b\r\n" % (len(piece), piece))
            await world.target.say(b"0\r\n\r\n")
        else:
            await world.target.say(head + b"\r\n")
            for piece in pieces:
                await world.target.say(piece)
            await world.target.hang_up()
        assert client.response.body == body
        streamed_to_the_close = framing != "counted" and version == "HTTP/1.0" and body == BIG
        assert client.open is not streamed_to_the_close
        assert (client.response.get(b"connection") == b"close") is streamed_to_the_close


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("framing", ["", "Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_204_and_304_have_no_body_whatever_their_fields_say(status, framing):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        fields = f"{framing}\r\n" if framing else ""
        await world.target.say(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode())
        assert client.response.body == b""
        if status.startswith("204"):
            assert client.response.get(b"content-length") is None
        assert client.response.get(b"transfer-encoding") is None
        assert client.open
        # Content that must not follow might follow: then it would be taken for the answer to the next request.
        assert world.plane.pools["target"].idle == (0 if framing else 1)


async def test_head_keeps_the_length_and_has_no_body():
    async with running() as world:
        client = world.client()
        await client.request("HEAD /images/1")
        await world.target.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        assert client.response.get(b"content-length") == b"1000"
        await client.request("HEAD /images/1")
        await world.target.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert len(client.responses()) == 2
        assert world.answered == {("image_service", "get", 200): 2}


@pytest.mark.parametrize("big", [False, True])
async def test_response_trailers_stay_trailers(big):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        body = BIG if big else b"abc"
        await world.target.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body))
        await world.target.say(
            b"0\r\nX-Sum: 1\r\nX-Cutover-Source: forged\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\n\r\n"
        )
        assert client.response.body == body
        assert client.response.trailers == b"X-Sum: 1"
        assert client.response.get(b"x-sum") is None


NOT_AS_FIELDS = ("X-Account: 1", "Idempotency-Key: 1", "X-Secret: 1", "X-Real-IP: 1", "X_Forwarded_For: 1")


async def test_what_may_not_pass_as_a_field_may_not_pass_as_a_trailer():
    """A server that takes trailers for fields would see another user, key or address."""
    rollout = {"user_id": [{"header": "X-Account"}]}
    async with running(rollout=rollout, target={"headers": {"remove": ["X-Secret"]}}) as world:
        client = world.client()
        trailers = "".join(f"{line}\r\n" for line in (*NOT_AS_FIELDS, "X-Sum: 1")).encode()
        chunked = b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n"
        await client.request("POST /images", "Transfer-Encoding: chunked", "X-Account: 7", body=chunked)
        assert world.target.head()[2] == b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
        await world.target.say(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\nX-Cache: HIT\r\nX_Cutover_Source: forged\r\nX-Sum: 1\r\n\r\n"
        )
        assert client.response.trailers == b"X-Sum: 1"


async def test_request_trailers_stay_trailers():
    async with running() as world:
        client = world.client()
        chunked = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Cutover-Source: forged\r\nHost: evil\r\n\r\n"
        await client.request("POST /images", "Transfer-Encoding: chunked", body=chunked)
        _, fields, rest = world.target.head()
        assert fields[b"transfer-encoding"] == [b"chunked"]
        assert rest == b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
        await world.target.answer()
        assert client.open


async def test_interim_responses_go_to_1_1_clients_and_100_only_once():
    async with running() as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 3", "Expect: 100-continue")
        _, fields, _ = world.target.head()
        assert fields[b"expect"] == [b"100-continue"]
        await world.target.say(b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
        await world.target.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Cutover-X: 1\r\nContent-Length: 3\r\n\r\n")
        assert client.received == b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        await client.send(b"abc")
        await world.target.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        await world.target.answer(b"done")
        assert [one.status for one in client.responses()] == [100, 103, 200]


async def test_interim_responses_do_not_go_to_1_0_clients():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1 HTTP/1.0")
        await world.target.say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
        assert client.received == b""
        await world.target.answer()
        assert client.response.status == 200


async def test_an_interim_response_never_commits():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await world.target.reset()
        await world.legacy.answer(b"from legacy")
        assert [one.status for one in client.responses()] == [103, 200]


async def test_a_storm_of_interim_responses_is_an_invalid_response():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.say(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)
        await world.legacy.answer()
        assert client.responses()[-1].get(b"x-cutover-fallback") == b"invalid_response"


async def test_an_expectation_refused_early_closes_after_the_answer():
    async with running() as world:
        client = world.client()
        await client.request("POST /images", "Content-Length: 3", "Expect: 100-continue")
        await world.target.answer(b"no", "417 Expectation Failed")
        assert client.response.status == 417
        assert client.response.get(b"connection") == b"close"
        assert not client.open
        assert world.target.last.closing


async def test_a_response_with_a_nominated_length_still_ends_where_it_ends():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer(b"first", "200 OK", "Connection: Content-Length")
        if world.legacy.opened:  # not believed at all
            await world.legacy.answer(b"first")
        await client.request("GET /images/2")
        await world.target.answer(b"second")
        assert [one.body for one in client.responses()] == [b"first", b"second"]


@pytest.mark.parametrize(
    ("peer", "chain", "like"),
    [
        (STRANGER, ("X-Forwarded-For: 198.51.100.1",), b"203.0.113.9"),
        (TRUSTED, ("X-Forwarded-For: 198.51.100.1",), b"198.51.100.1"),
        (TRUSTED, ("X-Forwarded-For: 6.6.6.6, 198.51.100.1, 127.0.0.2",), b"198.51.100.1"),
        (TRUSTED, ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 198.51.100.1 ,"), b"198.51.100.1"),
        (TRUSTED, ("X-Forwarded-For: not-an-address",), b"not-an-address"),
        (TRUSTED, (), b"127.0.0.1"),
        ("", (), b""),
    ],
)
async def test_without_a_user_the_client_address_may_be_hashed(peer, chain, like):
    async with running(rollout={"percentage": 50, "anonymous": "client_ip"}) as world:
        client = world.client(peer)
        await client.request("GET /images/1", *chain)
        bucket = bucket_of(like)
        await (world.target if bucket < 50 else world.legacy).answer()
        assert client.response.get(b"x-cutover-reason") == b"anonymous"
        assert client.response.get(b"x-cutover-bucket") == b"%d" % bucket


@pytest.mark.parametrize("wish", ["target", "target;", ";s3cret-token-value", "moon;s3cret-token-value", "target;\xe9"])
async def test_a_wish_without_its_token_or_a_source_is_no_wish(wish):
    async with running(rollout={"percentage": 0, "force": {"token": "s3cret-token-value"}}) as world:
        client = world.client()
        await client.request("GET /images/1", f"X-Cutover-Force: {wish}")
        await world.legacy.answer()
        assert client.response.get(b"x-cutover-reason") == b"percentage"


@pytest.mark.parametrize(
    ("field", "result"),
    [
        ("X-Cache: Hit from cloudfront", "hit"),
        ("X-Cache: Miss from cloudfront", "miss"),
        ("CF-Cache-Status: HIT", "hit"),
        ("CF-Cache-Status: DYNAMIC", "miss"),
        ("Age: 12", "hit"),
        ("Age: 0", "miss"),
        ("X-Other: hit", None),
    ],
)
async def test_what_a_cache_says_is_counted(field, result):
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1")
        await world.target.answer(b"", "200 OK", field)
        assert client.response.status == 200
        assert world.counted("cache") == ({("image_service", "get", result): 1} if result else {})


async def test_the_access_line_tells_the_facts_and_no_query():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1?token=secret", USER)
        world.clock.now += 0.25
        await world.target.answer(b"hello")
        (line,) = world.access
        assert b"secret" not in b"".join(world.lines.lines)
        assert b"user-1" not in b"".join(world.lines.lines)
        expected = {"method": "GET", "path": "/images/1", "operation": "get", "bucket": 59, "source": "image_service"}
        assert expected.items() <= line.items()
        assert (line["status"], line["duration_ms"], line["bytes_in"], line["bytes_out"]) == (200, 250.0, 0, 5)
        assert line["attempts"] == [{"source": "image_service", "outcome": "ok", "status": 200, "ms": 250.0}]
