"""HTTP as a reverse proxy speaks it (contract section 5)."""

import re
import time

import pytest

from tests.e2e.conftest import Gallery, StartSidecar
from tests.e2e.sidecar import config, eventually
from tests.e2e.test_failures import does
from tests.e2e.upstream import pattern_sha256
from tests.e2e.wire import Wire, request


def test_head_204_and_304_have_no_content_and_leave_the_connection_in_step(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        for _ in range(3):
            head = wire.ask("HEAD", "/images/1", does())
            get = wire.ask("GET", "/images/1", does())
            assert (head.status, head.body) == (200, b"")
            assert get.body.startswith(b"target GET /images/1 ")
            assert wire.ask("GET", "/images/2", does("bare:204")).status == 204
            not_modified = wire.ask("GET", "/images/2", does("bare:304"))
            assert (not_modified.status, not_modified["ETag"]) == (304, '"x"')
            assert not_modified["Content-Length"] == "4242"
            chunked = wire.ask("HEAD", "/images/1", does("bare:200"))
            assert (chunked.status, chunked.body) == (200, b"")
    assert {seen.method for seen in gallery.target.seen} == {"HEAD", "GET"}
    assert gallery.legacy.seen == []


def test_one_client_connection_serves_many_requests_over_one_upstream_connection(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        for number in range(50):
            assert wire.ask("GET", f"/images/{number}", does()).status == 200
    assert len({seen.connection for seen in gallery.target.seen}) == 1


def test_many_clients_share_upstream_connections(gallery: Gallery) -> None:
    before = gallery.target.upstream.connections
    for number in range(30):
        assert gallery.sidecar.ask("GET", f"/images/{number}", does()).status == 200
    assert gallery.target.upstream.connections - before <= 1


def test_pipelined_requests_are_answered_in_order(gallery: Gallery) -> None:
    kinds = ("delay:0.1", "answer", "reset", "length:300000", "status:404", "chunked:10")
    requests = [
        request("GET", f"/images/{number}", does(kinds[number % 6]))
        if number % 5
        else request("POST", "/images", does(), b"p" * number)
        for number in range(60)
    ]
    with Wire(gallery.sidecar.address) as wire:
        wire.send(b"".join(requests))
        for number in range(60):
            answer = wire.answer()
            kind = kinds[number % 6]
            assert answer.status == 200
            if not number % 5:
                assert f" {number} ".encode() in answer.body
            elif kind.startswith(("length", "chunked")):
                assert answer.length == int(kind.split(":")[1])
            else:
                who = "legacy" if kind in ("reset", "status:404") else "target"
                assert answer.body.startswith(f"{who} GET /images/{number} ".encode())


def test_more_than_64_kib_of_pipelined_requests_are_served_all_the_same(gallery: Gallery) -> None:
    count = 400
    one = request("GET", "/images/1", {**does(), "X-Padding": "x" * 300})
    assert len(one) * count > 64 * 1024
    with Wire(gallery.sidecar.address) as wire:
        wire.send(one * count)
        for _ in range(count):
            assert wire.answer().answered_by == "target"


def test_a_request_may_come_byte_by_byte(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        for byte in request("POST", "/images", does(), b"abc") + request("GET", "/images/1", does()):
            wire.send(bytes((byte,)))
        assert wire.answer().body.startswith(b"target POST /images 3 ")
        assert wire.answer().body.startswith(b"target GET /images/1 ")


def test_expect_100_continue_goes_end_to_end(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        for _ in range(2):
            wire.send(b"POST /images HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            assert wire.head().status == 100
            assert len(gallery.target.seen[-1].body) == 0
            wire.send(b"hello")
            answer = wire.answer()
            assert (answer.status, answer.interim) == (200, [])
            assert gallery.target.seen[-1].body == b"hello"
            assert gallery.target.seen[-1].one("Expect") == b"100-continue"


def test_expect_100_continue_may_be_refused_by_the_upstream(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        wire.send(
            b"POST /images HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
            b"X-Target-Does: refuse-body\r\n\r\n"
        )
        answer = wire.answer()
        assert (answer.status, answer.body, answer.interim) == (417, b"no", [])
        assert wire.is_closed()


def test_interim_responses_reach_a_1_1_client_and_not_a_1_0_client(gallery: Gallery) -> None:
    answer = gallery.sidecar.ask("GET", "/images/1", does("hints"))
    assert [interim.status for interim in answer.interim] == [103, 102]
    assert answer.interim[0]["Link"] == "</a.css>; rel=preload"
    assert answer.answered_by == "target"
    with Wire(gallery.sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does("hints"), version="1.0"))
        answer = wire.answer()
        assert (answer.interim, answer.answered_by) == ([], "target")


def test_an_interim_response_does_not_commit(gallery: Gallery) -> None:
    answer = gallery.sidecar.ask("GET", "/images/1", does("hints-then-reset"))
    assert [interim.status for interim in answer.interim] == [103]
    assert (answer.status, answer.answered_by) == (200, "legacy")


def test_a_chunked_request_passes_with_its_trailers(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        wire.send(
            b"POST /images HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\nContent-Length: 4\r\nX-User-Id: evil\r\n\r\n"
        )
        assert wire.answer().status == 200
    (seen,) = gallery.target.seen
    assert (seen.body, seen.chunked, seen.all("Content-Length")) == (b"hello world", True, [])
    assert seen.trailers == [b"X-Sum: 11"]


def test_response_trailers_reach_the_client_and_never_become_fields(gallery: Gallery) -> None:
    for size in (10, 600_000):
        answer = gallery.sidecar.ask("GET", "/images/1", does(f"trailers:{size}"))
        assert answer.sha256 == pattern_sha256(size)
        assert answer.trailers == [b"X-Checksum: abc"]
        assert answer["X-Checksum"] is None
        assert answer["X-Cutover-Source"] == "image_service"


def test_the_target_is_forwarded_byte_for_byte(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        for target in (
            "/images/a%2Fb//c?x=%zz&y=ü".encode(),
            "/images/a%2Fb//c?x=%zz&y=ü".encode("latin-1"),
            b"/images/%61?",
            b"/images/1?a=b?c=d&&=&e",
            b"//images///1/",
            b"/images/../secret/./x",
            b"/images/1;v=2?q='\"<>[]{}|\\^`",
            b"/IMAGES/1?X=y%20+z",
        ):
            wire.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert wire.answer().status == 200
            (seen,) = gallery.target.seen + gallery.legacy.seen
            assert seen.target == target
            gallery.target.forget()
            gallery.legacy.forget()


def test_an_absolute_form_target_gives_the_host_and_goes_on_as_a_path(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        wire.send(b"GET http://other.example:81/images/1?q=1 HTTP/1.1\r\nHost: ignored\r\n\r\n")
        assert wire.answer().status == 200
    (seen,) = gallery.target.seen
    assert (seen.target, seen.one("Host")) == (b"/images/1?q=1", b"other.example:81")


def test_request_fields_keep_their_order_and_duplicates_and_lose_what_is_hop_by_hop(
    gallery: Gallery,
) -> None:
    sent = [
        ("Host", "gallery.example"),
        ("X-Dup", "one"),
        ("Accept", "a"),
        ("x-dup", "two"),
        ("Accept", "b"),
        ("X-Empty", ""),
        ("Connection", "close, X-Hop"),
        ("X-Hop", "gone"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic Zm9v"),
        ("TE", "trailers"),
        ("X-Cutover-Source", "liar"),
        ("X-CUTOVER-Whatever", "liar"),
        ("X-Last", "latin-\xe9"),
    ]
    answer = gallery.sidecar.ask("GET", "/images/1", sent)
    assert answer["Connection"] == "close"
    (seen,) = gallery.target.seen
    names = [name.lower() for name, _ in seen.fields]
    ours = [(name, value) for name, value in seen.fields if name in (b"X-Dup", b"x-dup", b"Accept", b"X-Last")]
    assert ours == [
        (b"X-Dup", b"one"),
        (b"Accept", b"a"),
        (b"x-dup", b"two"),
        (b"Accept", b"b"),
        (b"X-Last", b"latin-\xe9"),
    ]
    assert seen.one("X-Empty") == b""
    assert seen.one("Host") == b"gallery.example"
    for gone in ("x-hop", "keep-alive", "proxy-connection", "proxy-authorization", "te", "x-cutover-whatever"):
        assert gone.encode() not in names
    assert seen.one("X-Cutover-Source") == b"image_service"
    assert seen.one("X-Forwarded-For") == b"127.0.0.1"
    assert seen.one("X-Forwarded-Proto") == b"http"
    assert seen.one("X-Forwarded-Host") == b"gallery.example"
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", seen.one("traceparent") or b"")
    assert seen.one("X-Request-Id") == (answer["X-Request-Id"] or "").encode()
    assert seen.one("Via") == b"1.1 cutover"


def test_response_fields_keep_their_order_and_duplicates_and_lose_what_is_hop_by_hop(
    gallery: Gallery,
) -> None:
    with Wire(gallery.sidecar.address) as wire:
        answer = wire.ask("GET", "/images/1", {**does("fields"), "X-Request-Id": "mine"})
        kept = [(name, value) for name, value in answer.fields if name.lower() in (b"set-cookie", b"x-dup", b"x-empty")]
        assert kept == [
            (b"Set-Cookie", b"a=1"),
            (b"X-Dup", b"one"),
            (b"Set-Cookie", b"b=2"),
            (b"x-dup", b"two"),
            (b"X-Empty", b""),
        ]
        for gone in ("X-Hop", "Keep-Alive", "Proxy-Authenticate", "X-Cutover-Anything", "Connection"):
            assert answer.all(gone) == []
        assert answer["X-Cutover-Source"] == "image_service"
        assert answer["X-Request-Id"] == "mine"
        assert answer.all("Via") == [b"1.1 cdn", b"1.1 cutover"]
        assert wire.ask("GET", "/images/1", does()).status == 200


def test_request_id_and_traceparent_are_kept_when_they_are_good_and_made_when_not(gallery: Gallery) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    gallery.sidecar.ask("GET", "/images/1", {"X-Request-Id": "r-1", "traceparent": parent})
    gallery.sidecar.ask("GET", "/images/1", {"X-Request-Id": "a b", "traceparent": "00-0-0-00"})
    gallery.sidecar.ask("GET", "/images/1", {"X-Request-Id": "x" * 129})
    kept, made, long = gallery.target.seen
    assert (kept.one("X-Request-Id"), kept.one("traceparent")) == (b"r-1", parent.encode())
    assert made.one("X-Request-Id") != b"a b"
    assert made.one("traceparent") != b"00-0-0-00"
    assert len(long.one("X-Request-Id")) <= 128


def test_http_1_0_is_answered_and_closed_or_kept_alive_when_it_asks(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        keep = {**does(), "Connection": "keep-alive"}
        wire.send(request("GET", "/images/1", keep, version="1.0"))
        answer = wire.answer()
        assert (answer.status, answer["Connection"]) == (200, "keep-alive")
        wire.send(b"GET /images/2 HTTP/1.0\r\n\r\n")  # Host is not needed
        assert wire.answer().body.startswith(b"target GET /images/2 ")
        assert wire.is_closed()
    assert gallery.target.seen[0].line.endswith(b" HTTP/1.1")


def test_headers_of_the_configuration_are_set_and_removed_and_prefixes_are_changed(
    gallery: Gallery, start_sidecar: StartSidecar
) -> None:
    settings = config(
        gallery.legacy.url,
        f"{gallery.target.url}/base%20path",
        target={
            "host": "upstream",
            "strip_prefix": "/api",
            "headers": {"set": {"Authorization": "Bearer ours"}, "remove": ["Cookie"]},
        },
        operations=[{"name": "get", "match": "GET /api/images/{id}"}],
        forwarded={"trusted_proxies": [], "via": False},
    )
    sidecar = start_sidecar(settings)
    fields = {
        "Authorization": "Bearer theirs",
        "Cookie": "a=b",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "1",
        "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6",
    }
    for _ in range(2):
        assert sidecar.ask("GET", "/api/images/1?x=%2f", fields).status == 200
    seen = gallery.target.seen[0]
    assert seen.target == b"/base%20path/images/1?x=%2f"
    assert seen.one("Host") == f"127.0.0.1:{gallery.target.port}".encode()
    assert (seen.one("Authorization"), seen.one("Cookie")) == (b"Bearer ours", None)
    assert (seen.one("X-Forwarded-For"), seen.one("X-Forwarded-Proto")) == (b"127.0.0.1", b"http")
    assert (seen.one("X-Real-IP"), seen.one("Forwarded"), seen.one("X-Forwarded-Port")) == (None, None, None)
    assert seen.all("Via") == []
    assert len(sidecar.events("forwarded_untrusted")) == 1
    assert sidecar.metrics().total("cutover_client_errors_total", kind="forwarded_untrusted") == 2
    other = sidecar.ask("GET", "/elsewhere", fields)
    assert other.answered_by == "legacy"
    seen = gallery.legacy.seen[0]
    assert (seen.one("Authorization"), seen.one("Cookie")) == (b"Bearer theirs", b"a=b")


def test_forwarded_claims_of_a_trusted_proxy_are_extended(gallery: Gallery) -> None:
    claims = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "edge.example",
    }
    gallery.sidecar.ask("GET", "/images/1", claims)
    (seen,) = gallery.target.seen
    assert seen.one("X-Forwarded-For") == b"203.0.113.9, 127.0.0.1"
    assert (seen.one("X-Forwarded-Proto"), seen.one("X-Forwarded-Host")) == (b"https", b"edge.example")


@pytest.mark.parametrize("how", ["head", "idle"])
def test_idle_and_slow_connections_are_closed_in_time(gallery: Gallery, start_sidecar: StartSidecar, how: str) -> None:
    limits = {"keepalive_timeout": "400ms", "header_timeout": "400ms", "connections": 3}
    sidecar = start_sidecar(config(gallery.legacy.url, gallery.target.url, limits=limits))
    with Wire(sidecar.address) as wire:
        if how == "idle":
            assert wire.ask("GET", "/images/1", does()).status == 200
        before = time.monotonic()
        assert wire.is_closed()  # silently: not one byte
        assert time.monotonic() - before < 10
    if how == "idle":
        with Wire(sidecar.address), Wire(sidecar.address), Wire(sidecar.address):
            with Wire(sidecar.address) as fourth:
                answer = fourth.answer()
            assert (answer.status, answer["Content-Type"]) == (503, "application/problem+json")
            assert answer["Retry-After"]
        eventually(lambda: sidecar.metrics().total("cutover_downstream_connections") == 0)
        assert sidecar.ask("GET", "/images/1", does()).status == 200
