"""Heads: what is refused and how, what passes byte for byte, and a second opinion on both."""

import contextlib
import ipaddress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.core import request_head
from proxy.core.errors import MalformedRequest, MalformedResponse, RequestFault
from proxy.core.fields import request_table, response_table
from proxy.core.heads import tokens_of
from proxy.core.request_head import parse_request
from proxy.core.response_head import parse_response

FATES = request_table(identity=[b"x-user-id"], noted=[b"cookie"], target_drops=[b"x-dropped"])
ANSWERS = response_table()


def request(text):
    return parse_request(text.encode("latin-1"), FATES)


def refusal(text):
    with pytest.raises(MalformedRequest) as caught:
        request(text)
    assert caught.value.detail == str(caught.value)
    return caught.value


LINES = [
    ("GET /", 400),
    ("GET", 400),
    ("", 400),
    ("GET / HTTP/1.1 ", 400),
    (" GET / HTTP/1.1", 400),
    ("GET  / HTTP/1.1", 400),
    ("GET /  HTTP/1.1", 400),
    ("GET\t/ HTTP/1.1", 400),
    ("GET / /HTTP/1.1", 400),
    ("GET /a b HTTP/1.1", 400),
    ("GET /a#b HTTP/1.1", 400),
    ("GET /\x00 HTTP/1.1", 400),
    ("GET /\x7f HTTP/1.1", 400),
    ("GET /a\x0bb HTTP/1.1", 400),
    ("GET /a\rb HTTP/1.1", 400),
    ("GET /a\nb HTTP/1.1", 400),
    ("GET / http/1.1", 400),
    ("GET / Http/1.1", 400),
    ("GET / HTTP/1.1x", 400),
    ("GET / HTTP/1", 400),
    ("GET / HTTP/11", 400),
    ("GET / HTTP/1.10", 400),
    ("GET / HTTP/ 1.1", 400),
    ("GET / HTTPS/1.1", 400),
    ("GET / ICE/1.0", 400),
    ("GET / HTTP/1.2", 505),
    ("GET / HTTP/0.9", 505),
    ("GET / HTTP/2.0", 505),
    ("GET / HTTP/9.9", 505),
    ("PRI * HTTP/2.0", 505),
    ("G(T / HTTP/1.1", 400),
    ("G\xe9T / HTTP/1.1", 400),
    ("G:T / HTTP/1.1", 400),
    (" / HTTP/1.1", 400),
    ("A" * 33 + " / HTTP/1.1", 400),
    ("CONNECT a:443 HTTP/1.1", 405),
    ("TRACE / HTTP/1.1", 405),
    ("GET * HTTP/1.1", 400),
    ("OPTIONS *a HTTP/1.1", 400),
    ("OPTIONS *?a HTTP/1.1", 400),
    ("GET a HTTP/1.1", 400),
    ("GET ?a HTTP/1.1", 400),
    ("GET a:80 HTTP/1.1", 400),
    ("GET ftp://a/ HTTP/1.1", 400),
    ("GET http:// HTTP/1.1", 400),
    ("GET http:///a HTTP/1.1", 400),
    ("GET http://?a HTTP/1.1", 400),
    ("GET http:/a HTTP/1.1", 400),
    ("GET http://u@a/ HTTP/1.1", 400),
    ("GET http://u:p@a/ HTTP/1.1", 400),
    ("GET http://a:/ HTTP/1.1", 400),
    ("GET http://a:b/ HTTP/1.1", 400),
    ("GET http://[::1/ HTTP/1.1", 400),
    ("GET http://a\\b/ HTTP/1.1", 400),
]


@pytest.mark.parametrize(("line", "status"), LINES)
def test_a_bad_request_line_is_refused(line, status):
    assert refusal(f"{line}\r\nHost: a\r\n\r\n").status == status


@pytest.mark.parametrize(
    ("line", "status", "fault"),
    [
        ("CONNECT a:1 HTTP/1.1", 405, RequestFault.METHOD),
        ("GET / HTTP/3.0", 505, RequestFault.VERSION),
        ("GET /", 400, RequestFault.MALFORMED),
    ],
)
def test_a_refusal_names_its_fault(line, status, fault):
    found = refusal(f"{line}\r\nHost: a\r\n\r\n")
    assert (found.status, found.fault) == (status, fault)


HOSTS = ["", " ", "a b", "a,b", "a/b", "u@a", "a:", "a:b", "a:123456", "a?b", "a#b", "[::1", "::1", "[::1]x", "[g::1]",
         "a\tb", "\xe9", "%zz", "a%", "a\\b", '"a"', "[]", "<a>", "a:80:80"]  # fmt: skip
GOOD_HOSTS = [
    "a",
    "A.example:80",
    "127.0.0.1:8080",
    "[::1]",
    "[::1]:80",
    "a_b",
    "a-b.c.",
    "a%20b",
    "xn--a",
    "a!$&'()*+;=~",
]


@pytest.mark.parametrize("host", HOSTS)
def test_an_invalid_host_is_refused(host):
    assert refusal(f"GET / HTTP/1.1\r\nHost:{host}\r\n\r\n").status == 400
    assert refusal(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").status == 400


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_a_valid_host_is_kept_as_it_is(host):
    assert request(f"GET / HTTP/1.1\r\nhOsT:\t{host}\r\n\r\n").host == host.encode()


@pytest.mark.parametrize(
    "host", ["[:1]", "[:::]", "[1::2::3]", "[1.2.3.4]", "[....]", "[1:2:3:4:5:6:7:8:9]", "[12345::]"]
)
def test_a_host_in_brackets_is_an_ipv6_address(host):
    assert refusal(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").status == 400


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_two_hosts_are_refused_even_if_equal(version):
    assert refusal(f"GET / HTTP/{version}\r\nHost: a\r\nHost: a\r\n\r\n").status == 400
    assert refusal(f"GET / HTTP/{version}\r\nHost: a\r\nhost: b\r\n\r\n").status == 400


def test_a_host_is_needed_in_1_1_only():
    assert refusal("GET / HTTP/1.1\r\n\r\n").status == 400
    assert refusal("GET http://a/ HTTP/1.1\r\n\r\n").status == 400
    assert request("GET / HTTP/1.0\r\n\r\n").host is None


FIELDS = [
    ("X : a", 400),
    ("X\t: a", 400),
    (" X: a", 400),
    ("\tX: a", 400),
    (": a", 400),
    ("X", 400),
    ("X a", 400),
    ("X\x00: a", 400),
    ("X\xe9: a", 400),
    ("X(: a", 400),
    ('"X": a', 400),
    ("X/Y: a", 400),
    ("X: a\x00", 400),
    ("X: \x01", 400),
    ("X: a\x0b", 400),
    ("X: a\x1f", 400),
    ("X: a\x7fb", 400),
    ("X: a\nY: b", 400),
    ("X: a\rY: b", 400),
    ("X: a\n", 400),
    ("X: a\r", 400),
    ("X: a\r\n b", 400),
    ("X: a\r\n\tb", 400),
    ("X: a\r\n ", 400),
    ("X:\r\n b", 400),
    ("\nX: a", 400),
    ("\rX: a", 400),
    ("Content-Length: 1\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 1", 400),
    ("Transfer-Encoding: chunked\r\nContent-Length: 0", 400),
    ("Transfer-Encoding: gzip\r\nContent-Length: 1", 400),
    ("Content-Length: 1\r\nContent-Length: 1", 400),
    ("Content-Length: 1\r\ncontent-length: 2", 400),
    ("Content-Length: 1, 1", 400),
    ("Content-Length: 1,", 400),
    ("Content-Length: +1", 400),
    ("Content-Length: -1", 400),
    ("Content-Length: 0x1", 400),
    ("Content-Length: 1.0", 400),
    ("Content-Length: 1e1", 400),
    ("Content-Length: 1 1", 400),
    ("Content-Length: 1_0", 400),
    ("Content-Length: a", 400),
    ("Content-Length:", 400),
    ("Content-Length: \xb2", 400),
    ("Content-Length: " + "9" * 19, 400),
    ("Content-Length: " + "9" * 40, 400),
    ("Transfer-Encoding: gzip", 501),
    ("Transfer-Encoding: identity", 501),
    ("Transfer-Encoding: gzip, chunked", 501),
    ("Transfer-Encoding: xchunked", 501),
    ("Transfer-Encoding: chunkedx", 501),
    ("Transfer-Encoding: chunk", 501),
    ("Transfer-Encoding: 'chunked'", 501),
    ("Transfer-Encoding: chunked, chunked", 400),
    ("Transfer-Encoding: chunked,", 400),
    ("Transfer-Encoding: ,chunked", 400),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: \x0bchunked", 400),
    ("Transfer-Encoding: chunked\x00", 400),
    ("Transfer-Encoding:\r\n chunked", 400),
    ("Transfer-Encoding : chunked", 400),
    ("Transfer-Encoding:", 400),
    ("Connection: Host", 400),
    ("Connection: keep-alive, content-LENGTH", 400),
    ("Connection: close\r\nConnection: Content-Type", 400),
    ("Connection: authorization", 400),
    ("Connection: Cookie", 400),
    ("Connection: X-Forwarded-For", 400),
    ("Connection: x-forwarded-anything", 400),
    ("Connection: forwarded", 400),
    ("Connection: X-User-Id", 400),
    ("Connection: a,\tx-user-id ,b", 400),
    ("Connection: traceparent", 400),
    ("Connection: tracestate", 400),
    ("Connection: X-Request-Id", 400),
]


@pytest.mark.parametrize(("fields", "status"), FIELDS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_bad_field_is_refused(fields, status, place):
    lines = ["Host: a", fields] if place == "after" else [fields, "Host: a"]
    text = "\r\n".join(["POST / HTTP/1.1", *lines, "", ""])
    assert refusal(text).status == status


@pytest.mark.parametrize(
    "fields", ["Transfer-Encoding: gzip, gzip", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"]
)
def test_several_unknown_codings_are_refused(fields):
    assert refusal(f"POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").status in (400, 501)


@pytest.mark.parametrize("coding", ["chunked, gzip", "chunked, identity", "chunked;a=b"])
def test_a_coding_after_chunked_is_refused(coding):
    assert refusal(f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n").status in (400, 501)


@pytest.mark.parametrize("coding", ["chunked", "gzip", "chunked, gzip"])
def test_transfer_encoding_in_1_0_is_refused(coding):
    assert refusal(f"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n").status == 400


@pytest.mark.parametrize(
    "connection", ["transfer-encoding", "Transfer-Encoding", "close, transfer-encoding", "te,TRANSFER-ENCODING"]
)
def test_connection_cannot_hide_a_transfer_encoding(connection):
    text = f"POST / HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\nTransfer-Encoding: chunked\r\n\r\n"
    try:
        head = request(text)
    except MalformedRequest:
        return
    assert head.chunked


@pytest.mark.parametrize("space", [" ", "\t", " \t "])
def test_white_space_around_a_value_is_no_part_of_it(space):
    fields = f"Host:{space}a{space}\r\nContent-Length:{space}5{space}\r\nX-Request-Id:{space}i{space}\r\n"
    head = request(f"POST / HTTP/1.1\r\n{fields}\r\n")
    assert (head.host, head.content_length, head.noted[b"x-request-id"]) == (b"a", 5, (b"i",))
    assert request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked \r\n\r\n").chunked
    answer = parse_response(f"HTTP/1.1 200 OK\r\nContent-Length: 5{space}\r\n\r\n".encode(), ANSWERS)
    assert answer.content_length == 5


def test_both_framings_are_refused_even_if_the_grammar_let_them_pass():
    head = request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head.noted |= {b"content-length": (b"1",), b"transfer-encoding": (b"chunked",)}
    with pytest.raises(MalformedRequest):
        request_head._read_transfer_encoding(head)


def test_a_good_head_passes_byte_for_byte():
    head = request(
        "GET /a%2Fb//c;d?e=%7e&f&&=+ HTTP/1.1\r\nHost: a\r\nx-b: 1\r\nX-A:2\r\nX-B:  3\r\nx-b: 1\r\nAccept:\r\n"
        "X-Raw: \xe9\xff\t\"{}|\\^`<>\r\n!#$%&'*+-.^_`|~09aZ: odd\r\n\r\n"
    )
    assert head.lines == [
        b"x-b: 1",
        b"X-A: 2",
        b"X-B: 3",
        b"x-b: 1",
        b"Accept: ",
        b'X-Raw: \xe9\xff\t"{}|\\^`<>',
        b"!#$%&'*+-.^_`|~09aZ: odd",
    ]
    assert (head.method, head.target) == (b"GET", b"/a%2Fb//c;d?e=%7e&f&&=+")
    assert (head.path, head.query) == (b"/a%2Fb//c;d", b"e=%7e&f&&=+")
    assert (head.content_length, head.chunked, head.has_body, head.keep_alive) == (None, False, False, True)


TARGETS = [
    ("/", "/", "/", ""),
    ("/?", "/?", "/", ""),
    ("/?a?b", "/?a?b", "/", "a?b"),
    ("//evil/a", "//evil/a", "//evil/a", ""),
    ("/../a", "/../a", "/../a", ""),
    ("/\xe9\xff", "/\xe9\xff", "/\xe9\xff", ""),
    ('/"<>\\^`{|}', '/"<>\\^`{|}', '/"<>\\^`{|}', ""),
    ("http://b/c?d", "/c?d", "/c", "d"),
    ("HTTPS://b:1/c", "/c", "/c", ""),
    ("http://b", "/", "/", ""),
    ("http://b?c", "/?c", "/", "c"),
    ("http://[::1]:80/", "/", "/", ""),
    ("http://b/http://c", "/http://c", "/http://c", ""),
    ("/http://c", "/http://c", "/http://c", ""),
]


@pytest.mark.parametrize(("sent", "target", "path", "query"), TARGETS)
def test_a_target_is_read_without_being_changed(sent, target, path, query):
    head = request(f"GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head.target, head.path, head.query) == tuple(part.encode("latin-1") for part in (target, path, query))
    assert head.host == (b"a" if sent.startswith("/") else sent.split("/")[2].split("?")[0].encode())


def test_options_may_ask_about_the_whole_server():
    assert request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path == b"*"


@pytest.mark.parametrize("method", ["GET", "get", "M-SEARCH", "!#$%&'*+-.^_`|~", "A" * 32])
def test_any_token_is_a_method(method):
    assert request(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n").method == method.encode()


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Close", False),
        ("1.1", "CLOSE", False),
        ("1.1", "keep-alive", True),
        ("1.1", "keep-alive, close", False),
        ("1.1", "x,\tclose ,y", False),
        ("1.1", "closed", True),
        ("1.0", None, False),
        ("1.0", "keep-alive", True),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
        ("1.0", ",,", False),
    ],
)
def test_who_keeps_the_connection(version, connection, keep):
    field = "" if connection is None else f"Connection: {connection}\r\n"
    assert request(f"GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n").keep_alive is keep
    answer = parse_response(f"HTTP/{version} 200 OK\r\n{field}\r\n".encode(), ANSWERS)
    assert answer.keep_alive is keep


def test_nominated_fields_are_left_out():
    head = request(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\nX-Named: 2\r\nX-Dropped: 3\r\nx-named: 4\r\nX-Kept: 5\r\n"
        "Connection: x-named\r\nConnection: Expect\r\nExpect: 100-continue\r\n\r\n"
    )
    assert head.lines == [b"X-Kept: 1", b"X-Dropped: 3", b"X-Kept: 5"]
    assert [index for index, _ in head.sourced] == [1]
    assert b"expect" not in head.noted


def test_the_fields_before_and_after_an_upgrade_are_all_seen():
    head = request("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nB: 2\r\n\r\n")
    assert head.lines == [b"A: 1", b"B: 2"]
    assert head.noted[b"upgrade"] == (b"websocket",)


@pytest.mark.parametrize(
    ("version", "fields", "wanted"),
    [
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket", b"websocket"),
        ("1.1", "Connection: keep-alive, upgrade\r\nUpgrade: foo/2", b"foo/2"),
        ("1.1", "Upgrade: websocket", None),
        ("1.1", "Connection: upgrade", None),
        ("1.0", "Connection: upgrade\r\nUpgrade: websocket", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: h2c", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: H2C", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: TLS/1.0", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: HTTP/2.0", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: a, b", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b", None),
        ("1.1", "Connection: upgrade\r\nUpgrade:", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3", None),
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked", None),
    ],
)
def test_which_protocols_may_be_switched_to(version, fields, wanted):
    head = request(f"GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\n")
    assert head.upgrade == wanted


def test_a_list_field_is_taken_apart_over_all_its_lines():
    assert tokens_of([b"a, B", b"", b"\tc "]) == {b"a", b"b", b"", b"c"}


def test_heads_show_what_they_are():
    assert repr(request("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")) == "<RequestHead GET /a>"
    assert repr(parse_response(b"HTTP/1.1 204 X\r\n\r\n", ANSWERS)) == "<ResponseHead 204>"


# responses

BAD_RESPONSES = [
    "",
    "HTTP/1.1",
    "HTTP/1.1 ",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 099 OK",
    "HTTP/1.1 600 OK",
    "HTTP/1.1 000 OK",
    "HTTP/1.1 2xx OK",
    "HTTP/1.1 +20 OK",
    "HTTP/1.1  200 OK",
    "HTTP/1.1\t200 OK",
    "HTTP/1.1 200OK",
    " HTTP/1.1 200 OK",
    "http/1.1 200 OK",
    "HTTP/1.2 200 OK",
    "HTTP/2.0 200 OK",
    "HTTP/0.9 200 OK",
    "HTTP/2 200",
    "ICY 200 OK",
    "HTTP/1.1 200 O\x00K",
    "HTTP/1.1 200 O\nK",
    "HTTP/1.1 200 O\rK",
    "HTTP/1.1 200 O\x7fK",
    "HTTP/1.1 200 OK\r\nX : a",
    "HTTP/1.1 200 OK\r\nX: a\r\n b",
    "HTTP/1.1 200 OK\r\nX: a\nY: b",
    "HTTP/1.1 200 OK\r\nX: a\x00",
    "HTTP/1.1 200 OK\r\nX",
    "HTTP/1.1 200 OK\r\n: a",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1",
    "HTTP/1.1 200 OK\r\nContent-Length: 1, 1",
    "HTTP/1.1 200 OK\r\nContent-Length: -1",
    "HTTP/1.1 200 OK\r\nContent-Length: +1",
    "HTTP/1.1 200 OK\r\nContent-Length: a",
    "HTTP/1.1 200 OK\r\nContent-Length:",
    "HTTP/1.1 200 OK\r\nContent-Length: " + "9" * 19,
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding:",
    "HTTP/1.1 200 OK\r\nContent-Length: 1 ,",
]


@pytest.mark.parametrize("text", BAD_RESPONSES)
def test_a_bad_response_is_refused(text):
    with pytest.raises(MalformedResponse):
        parse_response(f"{text}\r\n\r\n".encode("latin-1"), ANSWERS)


def test_a_good_response_passes_byte_for_byte():
    text = (
        "HTTP/1.0 404 N\xe9t  found\t\r\nx-b: 1\r\nX-B:2\r\nSet-Cookie: a\r\nSet-Cookie: a\r\n"
        "Content-Length: 007\r\n\r\n"
    )
    head = parse_response(text.encode("latin-1"), ANSWERS)
    assert (head.status, head.reason, head.minor) == (404, b"N\xe9t  found\t", 0)
    assert head.lines == [b"x-b: 1", b"X-B: 2", b"Set-Cookie: a", b"Set-Cookie: a", b"Content-Length: 007"]
    assert head.content_length == 7


@pytest.mark.parametrize("line", ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 100 Continue", "HTTP/1.1 599 X"])
def test_a_status_line_may_lack_its_reason(line):
    assert parse_response(f"{line}\r\n\r\n".encode(), ANSWERS).status == int(line[9:12])


def test_a_responses_nominated_fields_are_left_out():
    head = parse_response(
        b"HTTP/1.1 200 OK\r\nConnection: X-Named, Upgrade\r\nUpgrade: a\r\nx-named: 1\r\nX-Kept: 2\r\n\r\n", ANSWERS
    )
    assert head.lines == [b"X-Kept: 2"]


def test_a_response_cannot_speak_for_the_proxy():
    head = parse_response(b"HTTP/1.1 200 OK\r\nX-Cutover-Source: a\r\nX: 1\r\nX-Request-Id: b\r\n\r\n", ANSWERS)
    assert head.lines == [b"X: 1"]
    assert head.noted == {}


def test_a_responses_length_cannot_be_nominated_away():
    try:
        head = parse_response(b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n", ANSWERS)
    except MalformedResponse:
        return
    assert (head.content_length is not None) == (b"Content-Length: 5" in head.lines)


def test_a_chunked_response_is_known():
    head = parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", ANSWERS)
    assert (head.chunked, head.lines) == (True, [])


# a second opinion: the grammar of RFC 9110 and 9112 written again, without the code under test

TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
FIELD_VALUE = frozenset([9, *range(32, 127), *range(128, 256)])
TARGET = frozenset([*range(33, 127), *range(128, 256)]) - {ord("#")}
REG_NAME = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+;=")
HEX = frozenset(b"0123456789abcdefABCDEF")
DIGIT = frozenset(b"0123456789")
UNMENTIONABLE = {b"host", b"authorization", b"cookie", b"traceparent", b"tracestate", b"x-request-id", b"forwarded",
                 b"x-user-id"}  # fmt: skip


class Refused(Exception):
    pass


class Undecided(Exception):
    """Where a parser may do either, or where another test says what it should do."""


def need(condition):
    if not condition:
        raise Refused


def valid_authority(text):
    if text.startswith(b"["):
        address, end, port = text[1:].partition(b"]")
        if not end or (port and not valid_port(port)) or not set(address) <= HEX | set(b":."):
            return False
        try:
            ipaddress.IPv6Address(address.decode("latin-1"))
        except ValueError:
            raise Undecided from None  # has its own test
        return True
    name, colon, port = text.partition(b":")
    if colon and not valid_port(b":" + port):
        return False
    position = 0
    while position < len(name):
        if name[position] == ord("%"):
            if len(name) < position + 3 or not set(name[position + 1 : position + 3]) <= HEX:
                return False
            position += 3
        elif name[position] in REG_NAME:
            position += 1
        else:
            return False
    return bool(name)


def valid_port(text):
    return text[:1] == b":" and 2 <= len(text) <= 6 and set(text[1:]) <= DIGIT


def fields_of(lines):
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        need(colon and name and set(name) <= TCHAR and set(value) <= FIELD_VALUE)
        need(name.lower() not in (b"content_length", b"transfer_encoding"))
        fields.append((name, value.lstrip(b" \t")))
    return fields


def values_of(fields, name):
    found = [value for key, value in fields if key.lower() == name]
    if name in (b"host", b"content-length", b"transfer-encoding") and any(
        value != value.rstrip(b" \t") for value in found
    ):
        raise Undecided
    return found


def framing_of(fields, minor):
    lengths, codings = values_of(fields, b"content-length"), values_of(fields, b"transfer-encoding")
    if codings:
        need(not lengths and minor == b"1" and len(codings) == 1 and codings[0].lower() == b"chunked")
        return "chunked"
    if lengths:
        need(len(lengths) == 1 and 1 <= len(lengths[0]) <= 18 and set(lengths[0]) <= DIGIT)
        return int(lengths[0])
    return None


def connection_of(fields):
    return {token.strip(b" \t").lower() for value in values_of(fields, b"connection") for token in value.split(b",")}


def second_opinion(data):
    """Framing, host and path; raises Refused."""
    start, *lines = data[:-4].split(b"\r\n")
    parts = start.split(b" ")
    need(len(parts) == 3)
    method, target, version = parts
    need(1 <= len(method) <= 32 and set(method) <= TCHAR and target and set(target) <= TARGET)
    need(version in (b"HTTP/1.0", b"HTTP/1.1") and method not in (b"CONNECT", b"TRACE"))
    fields = fields_of(lines)
    framing = framing_of(fields, version[-1:])
    hosts = values_of(fields, b"host")
    need(len(hosts) == 1 or (version == b"HTTP/1.0" and not hosts))
    need(all(map(valid_authority, hosts)))
    host = hosts[0] if hosts else None
    if target == b"*":
        need(method == b"OPTIONS")
    elif not target.startswith(b"/"):
        scheme, separator, rest = target.partition(b"://")
        need(separator and scheme.lower() in (b"http", b"https"))
        host = rest.split(b"/")[0].split(b"?")[0]
        need(valid_authority(host))
        target = rest[len(host) :]
        if method == b"OPTIONS" and not target:
            return framing, host, b"*", mentionable(fields, framing)
        target = target if target.startswith(b"/") else b"/" + target
    return framing, host, target.partition(b"?")[0], mentionable(fields, framing)


def mentionable(fields, framing):
    for token in connection_of(fields):
        need(token not in UNMENTIONABLE and not token.startswith((b"content-", b"x-forwarded-")))
        if token == b"transfer-encoding" and framing == "chunked":
            raise Undecided  # has its own test
    return fields


SEEDS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a?b=c HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\nX-A: b\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x-a\r\nX-A: b\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nUpgrade: h2c\r\nConnection: upgrade\r\nX: y\r\n\r\n",
    b"GET http://b/c?d HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nHost: a\r\nX:\r\nTE: trailers\r\nProxy-Connection: close\r\nKeep-Alive: 1\r\n\r\n",
]
PIECES = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"\n\n",
    b" ",
    b"\t",
    b"\x00",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b",",
    b";",
    b"/",
    b"?",
    b"#",
    b"%",
    b"@",
    b"[",
    b"]",
    b"-",
    b"+",
    b"0",
    b"1",
    b"9",
    b"*",
    b"\\",
    b'"',
    b"a",
    b"Z",
    b"Host: a\r\n",
    b"Host: b\r\n",
    b"host:\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding:chunked\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Connection: host\r\n",
    b"Connection: x-user-id\r\n",
    b"X-User-Id: u\r\n",
    b"chunked",
    b"Content-Length",
    b"Transfer-Encoding",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"http://c",
    b"GET ",
    b"CONNECT",
    b"Expect: 100-continue\r\n",
    b"identity",
    b"Cookie: a=b\r\n",
    b"X-Forwarded-For: 1\r\n",
    b"Connection: close\r\n",
    b", ",
    b"_",
]


@st.composite
def mutated(draw, seeds):
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["insert", "insert", "insert", "delete", "replace", "line"]))
        piece = draw(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=2))
        if kind == "line":
            starts = [0, *(index + 2 for index in range(len(data) - 2) if data[index : index + 2] == b"\r\n")]
            at = draw(st.sampled_from(starts))
            kind = "insert"
        size = draw(st.integers(1, 3)) if kind != "insert" else 0
        data = data[:at] + (b"" if kind == "delete" else piece) + data[at + size :]
    return (data + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"  # as the connection hands it over


HIDDEN = {b"host", b"connection", b"transfer-encoding", b"te", b"upgrade", b"keep-alive", b"proxy-connection",
          b"proxy-authorization", b"proxy-authenticate", b"x-request-id", b"traceparent", b"x-forwarded-for",
          b"x-forwarded-proto", b"x-forwarded-host"}  # fmt: skip


@settings(max_examples=2500, deadline=None)
@given(mutated(SEEDS))
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n")
@example(b"\r\n\r\n")
@example(b"OPTIONS http://c HTTP/1.1\r\nHost: a\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded-For: 1\r\nX_Cutover-A: 1\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: 0, \r\n\r\n")
def test_the_second_opinion_agrees_about_requests(data):
    try:
        expected = second_opinion(data)
    except Undecided:
        return
    except Refused:
        expected = None
    try:
        head = parse_request(data, FATES)
    except MalformedRequest:
        assert expected is None, f"refused a good head: {data!r}"
        return
    assert expected is not None, f"accepted a bad head: {data!r}"
    framing, host, path, fields = expected
    assert ("chunked" if head.chunked else head.content_length) == framing
    assert (head.host, head.path) == (host, path)
    gone = HIDDEN | connection_of(fields)
    assert head.lines == [
        name + b": " + value.rstrip(b" \t")  # RFC 9110, 5.5: white space around a value is no part of it
        for name, value in fields
        if name.lower() not in gone and hyphened(name) not in HIDDEN and not hyphened(name).startswith(b"x-cutover-")
    ]


def hyphened(name):
    """As a server behind CGI reads it."""
    return name.lower().replace(b"_", b"-")


RESPONSE_SEEDS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nX:\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]


def second_opinion_of_response(data):
    start, *lines = data[:-4].split(b"\r\n")
    version, space, rest = start.partition(b" ")
    need(space and version in (b"HTTP/1.0", b"HTTP/1.1"))
    status, reason = rest[:3], rest[3:]
    need(len(status) == 3 and set(status) <= DIGIT and 100 <= int(status) <= 599)
    need(not reason or (reason[:1] == b" " and set(reason) <= FIELD_VALUE))
    fields = fields_of(lines)
    return framing_of(fields, version[-1:]), int(status)


@settings(max_examples=1500, deadline=None)
@given(mutated(RESPONSE_SEEDS))
def test_the_second_opinion_agrees_about_responses(data):
    try:
        expected = second_opinion_of_response(data)
    except Undecided:
        return
    except Refused:
        expected = None
    try:
        head = parse_response(data, ANSWERS)
    except MalformedResponse:
        assert expected is None, f"refused a good head: {data!r}"
        return
    assert expected is not None, f"accepted a bad head: {data!r}"
    assert (("chunked" if head.chunked else head.content_length), head.status) == expected


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_else(data):
    for parse, fates in ((parse_request, FATES), (parse_response, ANSWERS)):
        with contextlib.suppress(MalformedRequest, MalformedResponse):
            parse((data + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n", fates)


def _told(parse, data, fates):
    try:
        head = parse(data, fates)
    except (MalformedRequest, MalformedResponse):
        return None
    return {
        name: getattr(head, name)
        for kind in type(head).__mro__
        for name in getattr(kind, "__slots__", ())
        if name != "fates"
    }


@settings(max_examples=500, deadline=None)
@given(st.lists(mutated(SEEDS + RESPONSE_SEEDS), min_size=1, max_size=3))
def test_a_head_is_read_alike_whatever_has_been_seen_before(heads):
    """What is remembered of lines must be no way to smuggle one past the parser, nor to have a good one refused."""
    for parse, make in ((parse_request, request_table), (parse_response, response_table)):
        warm = make()
        for data in heads * 2:
            assert _told(parse, data, warm) == _told(parse, data, make())


def test_request_lines_are_remembered_in_bounds_and_never_with_a_query():
    for number in range(3000):
        parse_request(b"GET /images/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number, request_table())
    parse_request(b"GET /images?token=secret HTTP/1.1\r\nHost: a\r\n\r\n", request_table())
    parse_request(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 300), request_table())
    assert 0 < len(request_head._seen) <= 1024
    assert not any(b"secret" in line or len(line) > 256 for line in request_head._seen)


@pytest.mark.parametrize("line", [b"GET /a/b HTTP/1.1", b"GET /a/b HTTP/1.0", b"HEAD /a/b HTTP/1.1"])
def test_a_request_line_seen_before_means_the_same(line):
    first, again = (parse_request(line + b"\r\nHost: a\r\n\r\n", request_table()) for _ in range(2))
    assert [getattr(first, name) for name in ("method", "target", "path", "query", "minor", "keep_alive")] == [
        getattr(again, name) for name in ("method", "target", "path", "query", "minor", "keep_alive")
    ]
