"""What becomes of each field, by name, in any spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.fields import (
    DROP,
    DROP_FOR_LEGACY,
    DROP_FOR_TARGET,
    DROP_UNTRUSTED,
    NOTE,
    PASS,
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
        assert table[spelling] & DROP


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        (b"Accept", PASS),
        (b"Host", DROP | NOTE),
        (b"Content-Length", NOTE),
        (b"Cookie", NOTE | DROP_FOR_TARGET),
        (b"X-User-Id", NOTE),
        (b"X-Secret", NOTE | DROP),
        (b"X-Old", DROP_FOR_LEGACY),
        (b"X-New", DROP_FOR_TARGET),
        (b"X-Cutover-Force", NOTE | DROP),
        (b"x-cutover-anything", DROP),
        (b"X-Cutover-", DROP),
        (b"X-Cutover", PASS),
        (b"Forwarded", DROP_UNTRUSTED),
        (b"X-Real-IP", DROP_UNTRUSTED),
        (b"X-Forwarded-Port", DROP_UNTRUSTED),
        (b"X-Forwarded-For", DROP | NOTE | DROP_UNTRUSTED),
        (b"Traceparent", DROP | NOTE),
        (b"Trailer", PASS),
    ],
)
def test_a_request_field_has_its_fate(name, fate):
    for spelling in (name, name.upper(), name.lower()):
        assert REQUEST[spelling] == fate


@pytest.mark.parametrize(
    ("name", "fate"),
    [(b"X-Cutover-Source", DROP), (b"X-Request-Id", DROP), (b"X-Forwarded-For", PASS), (b"Age", NOTE), (b"Date", PASS)],
)
def test_a_response_field_has_its_fate(name, fate):
    assert response_table()[name] == fate


def test_identity_fields_are_known():
    assert REQUEST.is_identity(b"x-user-id")
    assert not REQUEST.is_identity(b"cookie")


@given(st.lists(st.binary(min_size=1, max_size=8), max_size=50))
def test_asking_twice_gives_the_same_fate(names):
    table = response_table()
    assert [table[name] for name in names] == [table[name] for name in names]


def test_what_is_remembered_is_bounded():
    table = response_table()
    for number in range(5000):
        table[b"x-%d" % number]
    assert len(table) <= 1024
    assert table[b"TE"] & DROP
    assert "spellings seen" in repr(table)
