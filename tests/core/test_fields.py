"""What becomes of each field, by name, in any spelling."""

from contextlib import suppress

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.fields import (
    DROP,
    DROP_FOR_LEGACY,
    DROP_FOR_TARGET,
    DROP_UNTRUSTED,
    EVENT_STREAM,
    NOTE,
    PASS,
    SECRET,
    TELLS_CACHE,
    request_table,
    response_table,
)
from proxy.core.heads import RequestHead, read_fields, sort_fields

HOP = [b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"upgrade",
       b"connection", b"transfer-encoding"]  # fmt: skip
REQUEST = request_table(
    noted=[b"cookie"],
    identity=iter([b"x-user-id"]),
    secret=[b"x-cutover-force", b"x-secret"],
    legacy_drops=[b"x-old"],
    target_drops=[b"cookie", b"x-new"],
)


@pytest.mark.parametrize("name", HOP)
@pytest.mark.parametrize("table", [REQUEST, response_table()])
def test_hop_by_hop_fields_are_dropped_in_any_spelling(table, name):
    for spelling in (name, name.upper(), name.title()):
        assert table.fate_of(spelling) & DROP


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        (b"Accept", PASS),
        (b"Host", DROP | NOTE),
        (b"Content-Length", NOTE),
        (b"Cookie", NOTE | DROP_FOR_TARGET),
        (b"X-User-Id", NOTE),
        (b"X-Secret", NOTE | DROP | SECRET),
        (b"X-Old", DROP_FOR_LEGACY),
        (b"X-New", DROP_FOR_TARGET),
        (b"X-Cutover-Force", NOTE | DROP | SECRET),
        (b"x-cutover-anything", DROP),
        (b"X-Cutover-", DROP),
        (b"X-Cutover", PASS),
        (b"Forwarded", DROP_UNTRUSTED),
        (b"X-Real-IP", DROP_UNTRUSTED),
        (b"X-Forwarded-Port", DROP_UNTRUSTED),
        (b"X-Forwarded-For", DROP | NOTE | DROP_UNTRUSTED),
        (b"Traceparent", DROP | NOTE),
        (b"Trailer", PASS),
        # Servers after CGI take "_" for "-".
        (b"X_Cutover_Source", DROP),
        (b"X-Cutover_Source", DROP),
        (b"X_Forwarded_For", DROP | DROP_UNTRUSTED),
        (b"X-Forwarded_Port", DROP_UNTRUSTED),
        (b"X_Real_IP", DROP_UNTRUSTED),
        (b"X_Request_Id", DROP),
        (b"X_Secret", DROP),
        (b"X_New", DROP_FOR_TARGET),
        (b"X_User_Id", PASS),
        (b"X_Any", PASS),
    ],
)
def test_a_request_field_has_its_fate(name, fate):
    for spelling in (name, name.upper(), name.lower()):
        assert REQUEST.fate_of(spelling) == fate


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        (b"X-Cutover-Source", DROP),
        (b"X-Request-Id", DROP),
        (b"X-Forwarded-For", PASS),
        (b"Age", NOTE | TELLS_CACHE),
        (b"Date", PASS),
    ],
)
def test_a_response_field_has_its_fate(name, fate):
    assert response_table().fate_of(name) == fate


def test_identity_fields_are_known():
    assert REQUEST.is_identity(b"x-user-id")
    assert not REQUEST.is_identity(b"cookie")


def read(table, line: bytes):
    name, _, value = line.partition(b":")
    return table.read(line, name, value.lstrip())


def test_a_line_is_read_once_and_remembered_as_it_was_sent():
    table = response_table()
    field = read(table, b"Age:  7\t")
    assert (field.fate, field.name, field.values, field.line) == (NOTE | TELLS_CACHE, b"age", (b"7",), b"Age: 7")
    assert table.known == {b"Age:  7\t": field}
    assert repr(field).startswith("<Field b'age'")


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Bearer secret",
        b"cookie: a=b",
        b"Set-Cookie: a=b",
        b"X-Secret: token",
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"X-Long: " + b"x" * 256,
    ],
)
def test_secrets_and_what_never_comes_again_are_not_remembered(line):
    table = request_table(secret=[b"x-secret"])
    read(table, line)
    assert table.known == {}


@pytest.mark.parametrize(
    ("value", "number"), [(b"5", 5), (b"0", 0), (b"9" * 18, 10**18 - 1), (b"9" * 19, -1), (b"+5", -1), (b"5, 5", -1)]
)
def test_a_length_is_read_with_its_line(value, number):
    assert read(response_table(), b"Content-Length: " + value).number == number
    assert read(response_table(), b"X-Other: " + value).number == -1


@pytest.mark.parametrize(
    ("value", "streams"),
    [(b"text/event-stream", True), (b"Text/Event-Stream ; charset=utf-8", True), (b"text/event-stream2", False)],
)
def test_an_event_stream_is_told_by_its_type(value, streams):
    assert bool(read(response_table(), b"Content-Type: " + value).fate & EVENT_STREAM) is streams


def test_what_is_remembered_is_bounded():
    table = response_table()
    for number in range(10_000):
        read(table, b"x-%d: a" % number)
    assert len(table.known) <= 4096
    assert "lines seen" in repr(table)


NAMES = [b"ETag", b"etag", b"Cookie", b"X-Secret", b"X-New", b"Content-Length", b"Content-Type", b"Host",
         b"Transfer-Encoding", b"Connection", b"Upgrade", b"Content_Length", b"X-A"]  # fmt: skip
OCTETS = st.binary(max_size=12).filter(lambda value: b"\r\n" not in value)
VALUES = st.one_of(
    OCTETS, st.sampled_from([b" 7", b"  7 \t", b" +7", b"7", b" ", b"", b" text/event-stream", b" a\x7fb"])
)


@given(st.sampled_from(NAMES), VALUES)
@example(b"X-A", b" a\x00")
@example(b"Content-Length", b" " + b"9" * 19)
@example(b"X-A", b" a\n b: c")
def test_a_line_with_a_known_name_is_read_as_the_parser_reads_it_or_left_to_it(name, value):
    line = name + b":" + value
    warm, cold = (request_table(secret=[b"x-secret"], target_drops=[b"x-new"]) for _ in range(2))
    for each in NAMES:
        with suppress(httptools.HttpParserError):
            read_fields(warm, [each + b": 1"])
    warm.known.clear()
    recalled = warm.recall(line)
    if recalled is None:
        return
    (field,) = read_fields(cold, [line])  # raises for what is no field
    for part in ("fate", "name", "values", "line", "number"):
        assert getattr(recalled, part) == getattr(field, part)
    assert warm.known.keys() == cold.known.keys()


@pytest.mark.parametrize(
    "line", [b'ETag: "5"', b"Cookie: a=b", b"Content-Length: 77", b"X-A:  b\t", b"X-A: \xe9", b"Content-Type: a/b"]
)
def test_a_new_value_of_a_known_name_needs_no_parser(line):
    table = response_table()
    name = line.partition(b":")[0]
    assert table.recall(line) is None
    read(table, name + b": 5")
    field = table.recall(line)
    assert field is not None
    assert field.values == (line.partition(b":")[2].strip(),)


@pytest.mark.parametrize("name", [b"Connection", b"Upgrade", b"Transfer-Encoding", b"Proxy-Connection"])
def test_the_parser_always_judges_what_it_reads_a_meaning_into(name):
    table = request_table()
    read(table, name + b": chunked")
    assert table.recall(name + b": close") is None


@pytest.mark.parametrize("name", [b"content_length", b"Transfer_Encoding", b"X A", b"X-A "])
def test_a_name_that_was_refused_is_not_known(name):
    table = request_table()
    for _ in range(2):
        with pytest.raises(httptools.HttpParserError):
            read_fields(table, [name + b": 5"])
        assert table.recall(name + b": 5") is None


def test_the_names_remembered_are_bounded():
    table = response_table()
    for number in range(10_000):
        read(table, b"x-%d: a" % number)
    read(table, b"x" * 65 + b": a")
    recalled = sum(table.recall(b"x-%d: b" % number) is not None for number in range(10_000))
    assert 0 < recalled <= 512
    assert table.recall(b"x" * 65 + b": b") is None


@pytest.mark.parametrize("line", [b" folded", b"\tfolded", b"", b"no colon", b"\x00", b": nameless"])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_line_that_is_no_field_is_refused_whatever_stands_before_it(line, is_known):
    table = request_table()
    if is_known:
        read(table, b"X-A: 0")
    for _ in range(2):
        with pytest.raises(httptools.HttpParserError):
            sort_fields(RequestHead(table), [b"X-A: 1", line, b"X-B: 2"])
        with pytest.raises(httptools.HttpParserError):
            sort_fields(RequestHead(table), [b"X-A: 1", line])
