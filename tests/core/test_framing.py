"""Where bodies end, however their bytes are cut."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import MalformedBody
from proxy.core.fields import request_table, response_table
from proxy.core.framing import (
    ChunkedBody,
    CountedBody,
    UntilClose,
    chunk_of,
    last_chunk,
    request_body,
    response_body,
)
from proxy.core.request_head import parse_request
from proxy.core.response_head import parse_response


def read(reader, pieces):
    """Content, how many bytes were the body's, and whether it is complete."""
    out, used = [], 0
    for piece in pieces:
        if reader.complete:
            break
        taken = reader.feed(piece, out)
        assert 0 <= taken <= len(piece)
        assert taken == len(piece) or reader.complete
        used += taken
    return b"".join(out), used, reader.complete


def ways_to_cut(data):
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


GOOD = [
    (b"0\r\n\r\n", b"", []),
    (b"000\r\n\r\n", b"", []),
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc", []),
    (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", []),
    (b"00000000000003\r\nabc\r\n0\r\n\r\n", b"abc", []),
    (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", []),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", []),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", []),
    (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", []),
    (b"3;a\r\nabc\r\n0\r\n\r\n", b"abc", []),
    (b"3;a=b;c\r\nabc\r\n0;d\r\n\r\n", b"abc", []),
    (b"3 ;\ta = b\r\nabc\r\n0\r\n\r\n", b"abc", []),
    (b'3;a="b c;\\"\\\\"\r\nabc\r\n0\r\n\r\n', b"abc", []),
    (b'3;a=""\r\nabc\r\n0\r\n\r\n', b"abc", []),
    (b"1;" + b"a" * 1000 + b"\r\nx\r\n0\r\n\r\n", b"x", []),
    (b"0\r\nX-Sum: 1\r\n\r\n", b"", [b"X-Sum: 1"]),
    (b"0\r\nX-Sum:1  \r\nx-other:\r\n\r\n", b"", [b"X-Sum: 1", b"x-other: "]),
    (b"0\r\nX: " + b"a" * 8000 + b"\r\n\r\n", b"", [b"X: " + b"a" * 8000]),
]


@pytest.mark.parametrize(("wire", "content", "trailers"), GOOD)
def test_a_good_chunked_body_is_read_however_it_is_cut(wire, content, trailers):
    for pieces in ways_to_cut(wire) if len(wire) < 500 else ([wire], [wire[:700], wire[700:]]):
        reader = ChunkedBody()
        assert read(reader, pieces) == (content, len(wire), True)
        assert reader.trailers == trailers


@pytest.mark.parametrize(("wire", "content", "_"), GOOD)
def test_a_good_chunked_body_is_not_complete_before_its_end(wire, content, _):
    if len(wire) < 500:
        for end in range(len(wire)):
            assert read(ChunkedBody(), [wire[:end]])[1:] == (end, False)


@pytest.mark.parametrize("following", [b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"X"])
def test_what_follows_a_chunked_body_is_left_alone(following):
    wire = b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n"
    for at in range(len(wire) + 1):
        content, used, complete = read(ChunkedBody(), [wire[:at], wire[at:] + following] if at else [wire + following])
        assert (content, used, complete) == (b"abc", len(wire), True)


BAD = [
    b"\r\n",
    b"x\r\n",
    b"g\r\n",
    b"0x3\r\n",
    b"+3\r\n",
    b"-3\r\n",
    b" 3\r\n",
    b"3 \r\n",
    b"3\t\r\n",
    b"3 3\r\n",
    b"3_0\r\n",
    b"3.0\r\n",
    b"3;\r\n",
    b"3;;a\r\n",
    b"3;a=\r\n",
    b'3;a="b\r\n',
    b'3;a="\x00"\r\n',
    b"3;a b\r\n",
    b"3;\xff\r\n",
    b"3;a\x0b\r\n",
    b"3\nabc\r\n",
    b"3\rabc\r\n",
    b"3;a\nb\r\n",
    b"3;a\rb\r\n",
    b"3\r\r\nabc\r\n",
    b"1000000000000000\r\n",
    b"ffffffffffffffff\r\n",
    b"0" * 16 + b"\r\n",
    b"1;" + b"a" * 1100 + b"\r\n",
    b"1;" + b"a" * 1100,
    b"3\r\nabcd\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3\r\nabc\r0\r\n\r\n",
    b"3\r\nabc\rX",
    b"3\r\nabcX",
    b"0\r\nbad\r\n",
    b"0\r\n: a\r\n",
    b"0\r\n a: b\r\n",
    b"0\r\na : b\r\n",
    b"0\r\na: b\r\n c\r\n",
    b"0\r\na: \x00\r\n",
    b"0\r\na: \x7f\r\n",
    b"0\r\na: b\nc: d\r\n",
    b"0\r\na: b\rc\r\n",
    b"0\r\n\xff: a\r\n",
    b"0\r\n\nX",
    b"0\r\n\rX",
    b"0\r\nX: " + b"a" * 8200,
    b"0\r\nX: " + b"a" * 8200 + b"\r\n",
    b"0\r\n" + (b"X: " + b"a" * 100 + b"\r\n") * 90,
]


@pytest.mark.parametrize("wire", BAD)
def test_a_bad_chunked_body_is_refused_however_it_is_cut(wire):
    for pieces in ways_to_cut(wire) if len(wire) < 500 else ([wire], [wire[:700], wire[700:]]):
        reader = ChunkedBody()
        with pytest.raises(MalformedBody):
            read(reader, pieces)
        assert not reader.complete


FORBIDDEN = [
    "Host",
    "Authorization",
    "Cookie",
    "Set-Cookie",
    "Connection",
    "Transfer-Encoding",
    "Trailer",
    "TE",
    "Upgrade",
    "Keep-Alive",
    "Cache-Control",
    "Expect",
    "Max-Forwards",
    "Pragma",
    "Range",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Age",
    "Date",
    "Location",
    "Vary",
    "Forwarded",
    "Traceparent",
    "X-Request-Id",
    "X-User-Id",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
    "X-Cutover-Source",
    "X-Forwarded-For",
    "If-Match",
]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_trailer_that_could_change_the_message_is_dropped(name):
    for spelling in (name, name.lower(), name.upper()):
        reader = ChunkedBody()
        read(reader, [b"0\r\nA: 1\r\n%b: evil\r\nB: 2\r\n\r\n" % spelling.encode()])
        assert reader.trailers == [b"A: 1", b"B: 2"]


@pytest.mark.parametrize("space", [b" ", b"\t"], ids=["spaces", "tabs"])
def test_a_bad_trailer_costs_no_more_than_its_length(space):
    """A search that backs over every space took 0.25 s for this; 8 KiB a time would keep a core busy."""
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        with pytest.raises(MalformedBody):
            ChunkedBody().feed(b"0\r\nX-T:" + space * 8000 + b"\0\r\n\r\n", [])
        spent.append(time.perf_counter() - began)
    assert min(spent) < 0.05, "linear: it takes about 0.1 ms"


def cut(data, points):
    edges = [0, *sorted(point % (len(data) + 1) for point in points), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    st.lists(st.integers(0, 10_000), max_size=12),
    st.binary(max_size=40),
    st.lists(st.sampled_from([b"X-A: 1", b"x-b: \xff y", b"X-C: "]), max_size=3),
)
def test_content_goes_through_chunks_unharmed(pieces, points, following, trailers):
    wire = b"".join(map(chunk_of, pieces)) + last_chunk(trailers)
    reader, out, position = ChunkedBody(), [], 0
    for piece in cut(wire + following, points):
        if reader.complete:
            break
        position += reader.feed(piece, out)
    assert b"".join(out) == b"".join(pieces)
    assert position == len(wire)
    assert reader.complete
    assert reader.trailers == trailers


@given(st.binary(max_size=60), st.lists(st.integers(0, 100), max_size=6))
def test_any_bytes_mean_the_same_however_they_are_cut(data, points):
    def verdict(pieces):
        reader = ChunkedBody()
        try:
            return read(reader, pieces), reader.trailers
        except MalformedBody:
            return "malformed"

    whole, single = verdict([data] if data else []), verdict(cut(data, points))
    if "malformed" in (whole, single):
        # Bytes after a fault may or may not have been seen; a fault is a fault either way.
        assert whole == single
    else:
        assert whole == single


@pytest.mark.parametrize("length", [1, 5, 10])
@pytest.mark.parametrize("sent", [b"", b"a", b"abcde", b"abcdefghij", b"abcdefghijklm"])
def test_a_counted_body_ends_at_its_length(length, sent):
    for pieces in ways_to_cut(sent):
        content, used, complete = read(CountedBody(length), [piece for piece in pieces if piece])
        assert content == sent[:length]
        assert used == min(len(sent), length)
        assert complete is (len(sent) >= length)


def test_an_empty_counted_body_is_complete_at_once():
    reader, out = CountedBody(0), []
    assert reader.complete
    assert reader.feed(b"next", out) == 0
    assert out == []


def test_a_counted_body_given_nothing_hands_out_nothing():
    out = []
    assert CountedBody(3).feed(b"", out) == 0
    assert out == []


def test_a_body_until_the_close_takes_everything():
    reader, out = UntilClose(), []
    assert reader.feed(b"abc", out) == 3
    assert (out, reader.complete) == ([b"abc"], False)


def test_readers_show_where_they_are():
    reader = ChunkedBody()
    reader.feed(b"5\r\nab", [])
    assert [repr(one) for one in (reader, CountedBody(3), UntilClose())] == [
        "<ChunkedBody DATA left=3>",
        "<CountedBody 3 bytes to come>",
        "<UntilClose>",
    ]


REQUESTS = [
    ("", None),
    ("Content-Length: 0", None),
    ("Content-Length: 3", CountedBody),
    ("Transfer-Encoding: chunked", ChunkedBody),
]


@pytest.mark.parametrize(("field", "kind"), REQUESTS)
def test_a_request_has_a_body_only_if_a_field_says_so(field, kind):
    lines = f"POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n" + ("\r\n" if field else "")
    head = parse_request(lines.encode(), request_table())
    body = request_body(head)
    assert head.has_body is (kind is not None)
    assert body is None if kind is None else type(body) is kind


RESPONSES = [
    ("GET", 200, "", UntilClose),
    ("GET", 200, "Content-Length: 0", None),
    ("GET", 200, "Content-Length: 3", CountedBody),
    ("GET", 200, "Transfer-Encoding: chunked", ChunkedBody),
    ("HEAD", 200, "Content-Length: 3", None),
    ("HEAD", 200, "Transfer-Encoding: chunked", None),
    ("HEAD", 200, "", None),
    ("GET", 204, "Content-Length: 3", None),
    ("GET", 304, "Transfer-Encoding: chunked", None),
    ("GET", 304, "", None),
    ("GET", 101, "Upgrade: x", UntilClose),
    ("GET", 205, "", UntilClose),
    ("GET", 404, "Content-Length: 3", CountedBody),
]


@pytest.mark.parametrize(("method", "status", "field", "kind"), RESPONSES)
def test_a_response_has_the_body_that_method_status_and_fields_say(method, status, field, kind):
    lines = f"HTTP/1.1 {status} Any\r\n{field}\r\n" + ("\r\n" if field else "")
    body = response_body(parse_response(lines.encode(), response_table()), method.encode())
    assert body is None if kind is None else type(body) is kind
