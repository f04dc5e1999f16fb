"""The heads that go on, byte for byte."""

import pytest

from proxy.core.fields import DROP_FOR_LEGACY, DROP_FOR_TARGET, request_table, response_table
from proxy.core.request_head import parse_request
from proxy.core.response_head import parse_response
from proxy.core.rewrite import (
    Hop,
    UpstreamFace,
    connection_line,
    exposed_lines,
    request_bytes,
    response_bytes,
    via_line,
)

FATES = request_table(noted=[b"cookie"], target_drops=[b"cookie"], legacy_drops=[b"x-new"])
LEGACY = UpstreamFace(b"postgresql", b"legacy:3000", DROP_FOR_LEGACY)
TARGET = UpstreamFace(
    b"image_service", b"target", DROP_FOR_TARGET, host=b"target", set_lines=(b"Cookie: own", b"X-B: c")
)


def head(line, *fields):
    return parse_request("\r\n".join([line, *fields, "", ""]).encode("latin-1"), FATES)


def hop(address=b"192.0.2.1", *, trusted=False):
    return Hop(address, trusted, b"id-1", b"00-trace")


TAIL = (
    b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Request-Id: id-1\r\n"
    b"traceparent: 00-trace\r\nX-Cutover-Source: %b\r\n%b\r\n"
)


def test_a_request_head_is_written_whole():
    request = head("GET /p?q=%20 HTTP/1.1", "Host: a", "x-b: 1", "X-A: 2", "x-b: 3", "Cookie: c", "X-New: n")
    assert request_bytes(request, LEGACY, hop()) == (
        b"GET /p?q=%20 HTTP/1.1\r\nHost: a\r\nx-b: 1\r\nX-A: 2\r\nx-b: 3\r\nCookie: c\r\n"
        + TAIL % (b"postgresql", b"Via: 1.1 cutover\r\n")
    )
    assert request_bytes(request, TARGET, hop()) == (
        b"GET /p?q=%20 HTTP/1.1\r\nHost: target\r\nx-b: 1\r\nX-A: 2\r\nx-b: 3\r\nX-New: n\r\nCookie: own\r\nX-B: c\r\n"
        + TAIL % (b"image_service", b"Via: 1.1 cutover\r\n")
    )


def test_a_bare_request_head_is_written_whole():
    face = UpstreamFace(b"postgresql", b"legacy:3000", DROP_FOR_LEGACY, via=False)
    assert request_bytes(head("GET / HTTP/1.0"), face, hop(None)) == (
        b"GET / HTTP/1.1\r\nHost: legacy:3000\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: legacy:3000\r\n"
        b"X-Request-Id: id-1\r\ntraceparent: 00-trace\r\nX-Cutover-Source: postgresql\r\n\r\n"
    )


def test_the_version_that_was_received_is_in_via():
    assert b"\r\nVia: 1.0 cutover\r\n" in request_bytes(head("GET / HTTP/1.0"), LEGACY, hop())


def test_a_chunked_body_is_announced_anew():
    request = head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: CHUNKED", "TE: x")
    assert request_bytes(request, LEGACY, hop()).count(b"Transfer-Encoding: chunked\r\n") == 1
    assert b"CHUNKED" not in request_bytes(request, LEGACY, hop())


def test_a_change_of_protocol_is_asked_for_on_this_hop_anew():
    request = head("GET / HTTP/1.1", "Host: a", "Connection: keep-alive, UPGRADE", "Upgrade: websocket")
    got = request_bytes(request, LEGACY, hop())
    assert got.count(b"Connection:") == got.count(b"Upgrade: ") == 1
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in got


FORWARDED = ("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2", "X-Forwarded-Proto: https", "X-Forwarded-Host: b",
             "Forwarded: for=1", "X-Real-IP: 3")  # fmt: skip


@pytest.mark.parametrize(
    ("trusted", "address", "lines"),
    [
        (False, b"192.0.2.1", [b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: a"]),
        (True, b"192.0.2.1",
         [b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.1", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: b"]),
        (True, None, [b"X-Forwarded-For: 1.1.1.1, 2.2.2.2", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: b"]),
    ],
)  # fmt: skip
def test_claims_are_believed_from_trusted_proxies_only(trusted, address, lines):
    got = request_bytes(head("GET / HTTP/1.1", "Host: a", *FORWARDED), LEGACY, hop(address, trusted=trusted))
    found = got.split(b"\r\n")
    assert [line for line in found if line.lower().startswith(b"x-forwarded")] == lines
    assert (b"Forwarded: for=1" in found) is trusted
    assert (b"X-Real-IP: 3" in found) is trusted


@pytest.mark.parametrize("address", [b"192.0.2.1", None])
def test_a_trusted_proxy_may_claim_nothing(address):
    got = request_bytes(head("GET / HTTP/1.1", "Host: a"), LEGACY, hop(address, trusted=True))
    assert (b"X-Forwarded-For: 192.0.2.1\r\n" in got) is (address is not None)
    assert b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n" in got


PATHS = [
    ("", "", "/a/b?c", "/a/b?c"),
    ("/base", "", "/a?c", "/base/a?c"),
    ("/base", "", "/", "/base/"),
    ("", "/api", "/api/a?c", "/a?c"),
    ("", "/api", "/api", "/"),
    ("", "/api", "/api?c", "/?c"),
    ("", "/api", "/api/", "/"),
    ("", "/api", "/apix/a", "/apix/a"),
    ("", "/api", "/a/api", "/a/api"),
    ("", "/api", "/%61pi/a", "/%61pi/a"),
    ("", "/api", "/api//a", "//a"),
    ("/base", "/api", "/api/a", "/base/a"),
    ("/base", "/api", "/api", "/base/"),
    ("/base", "/api", "*", "*"),
    ("/base", "", "http://b/x?y", "/base/x?y"),
]


@pytest.mark.parametrize(("base", "strip", "target", "sent"), PATHS)
def test_the_prefix_is_taken_off_and_the_base_path_put_on(base, strip, target, sent):
    face = UpstreamFace(b"n", b"u", DROP_FOR_LEGACY, base_path=base.encode(), strip_prefix=strip.encode())
    method = "OPTIONS" if target == "*" else "GET"
    got = request_bytes(head(f"{method} {target} HTTP/1.1", "Host: a"), face, hop())
    assert got.startswith(f"{method} {sent} HTTP/1.1\r\n".encode())


def response(text):
    return parse_response(text.encode("latin-1"), response_table())


def test_a_response_head_is_written_whole():
    got = response("HTTP/1.0 200 Fine\xe9\r\nx-b: 1\r\nX-A: 2\r\nx-b: 3\r\n\r\n")
    assert response_bytes(got, b"F: 1\r\n", b"A: 1\r\n") == (
        b"HTTP/1.1 200 Fine\xe9\r\nx-b: 1\r\nX-A: 2\r\nx-b: 3\r\nF: 1\r\nA: 1\r\n\r\n"
    )
    assert response_bytes(response("HTTP/1.1 200\r\n\r\n"), b"", b"") == b"HTTP/1.1 200 \r\n\r\n"


@pytest.mark.parametrize(("status", "kept"), [(100, False), (103, False), (204, False), (200, True), (304, True)])
def test_a_length_is_left_out_where_it_is_forbidden(status, kept):
    got = response_bytes(response(f"HTTP/1.1 {status} X\r\ncontent-LENGTH: 3\r\nX: 1\r\n\r\n"), b"", b"")
    assert (b"content-LENGTH: 3\r\n" in got) is kept
    assert b"X: 1\r\n" in got


def test_exposed_lines():
    assert exposed_lines("s", "bucket", None, None) == b"X-Cutover-Source: s\r\nX-Cutover-Reason: bucket\r\n"
    assert exposed_lines("s", "bucket", 0, "timeout") == (
        b"X-Cutover-Source: s\r\nX-Cutover-Reason: bucket\r\nX-Cutover-Bucket: 0\r\nX-Cutover-Fallback: timeout\r\n"
    )


@pytest.mark.parametrize(
    ("version", "keep_alive", "line"),
    [("1.1", True, b""), ("1.1", False, b"Connection: close\r\n"), ("1.0", False, b"Connection: close\r\n"),
     ("1.0", True, b"Connection: keep-alive\r\n")],
)  # fmt: skip
def test_the_client_is_told_about_its_connection_where_it_needs_telling(version, keep_alive, line):
    assert connection_line(head(f"GET / HTTP/{version}", "Host: a"), keep_alive=keep_alive) == line


def test_via_names_the_upstreams_version():
    assert via_line(response("HTTP/1.0 200 OK\r\n\r\n")) == b"Via: 1.0 cutover\r\n"
    assert via_line(response("HTTP/1.1 200 OK\r\n\r\n")) == b"Via: 1.1 cutover\r\n"


def test_a_hop_shows_who_asked():
    assert repr(Hop(b"203.0.113.9", False, b"id-1", b"00-trace")) == "<Hop b'203.0.113.9' b'id-1'>"
