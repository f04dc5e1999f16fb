"""What becomes of each field, by name, in any spelling."""

import pytest

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
