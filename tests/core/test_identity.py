"""Where a user id is found, and what is none."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.fields import request_table
from proxy.core.identity import Extractor, IdKind, claim_of, find_user_id
from proxy.core.request_head import parse_request

FATES = request_table(identity=[b"x-user-id"], noted=[b"cookie", b"authorization"])
HEADER = Extractor(IdKind.HEADER, b"x-user-id")
CLAIM = Extractor(IdKind.JWT_CLAIM, b"sub")
COOKIE = Extractor(IdKind.COOKIE, b"user_id")
QUERY = Extractor(IdKind.QUERY, b"userId")


def head(*lines, target="/"):
    text = "\r\n".join([f"GET {target} HTTP/1.1", "Host: a", *lines, "", ""])
    return parse_request(text.encode("latin-1"), FATES)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def bearer(claims, scheme="Bearer"):
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return f"Authorization: {scheme} {b64(b'{}').decode()}.{b64(payload).decode()}.c2ln"


HEADERS = [
    (["X-User-Id: alice"], b"alice"),
    (["x-USER-id: alice"], b"alice"),
    (["X-User-Id:  \t alice \t"], b"alice"),
    (["X-User-Id: a b"], b"a b"),
    (['X-User-Id: "alice"'], b'"alice"'),
    (["X-User-Id: \xe9\xff"], b"\xe9\xff"),
    (["X-User-Id: one", "X-User-Id: two"], b"one"),
    (["X-User-Id:", "X-User-Id: two"], None),
    (["X-User-Id:"], None),
    (["X-User-Id:  \t"], None),
    ([], None),
    (["X-User-Idx: alice"], None),
]


@pytest.mark.parametrize(("lines", "user"), HEADERS)
def test_a_header_is_an_id_as_opaque_bytes_its_first_line_trimmed(lines, user):
    assert (find_user_id([HEADER], head(*lines)) or None) == user


COOKIES = [
    (["Cookie: user_id=alice"], b"alice"),
    (["Cookie: a=b; user_id=alice; c=d"], b"alice"),
    (["Cookie: a=b;user_id=alice;c=d"], b"alice"),
    (["Cookie: a=b;  user_id = alice ;"], b"alice"),
    (['Cookie: user_id="alice"'], b'"alice"'),
    (["Cookie: user_id=a=b"], b"a=b"),
    (["Cookie: user_id=a%20b"], b"a%20b"),
    (["Cookie: user_id=\xff"], b"\xff"),
    (["Cookie: user_id=one; user_id=two"], b"one"),
    (["Cookie: a=b", "Cookie: user_id=alice"], b"alice"),
    (["Cookie: user_id=; user_id=two"], None),
    (["Cookie: user_id"], None),
    (["Cookie: User_Id=alice"], None),
    (["Cookie: xuser_id=alice"], None),
    (["Cookie: a=user_id=alice"], None),
    (["Cookie: ;;;="], None),
    (["Cookie:"], None),
    ([], None),
]


@pytest.mark.parametrize(("lines", "user"), COOKIES)
def test_a_cookie_is_an_id_its_quotes_kept(lines, user):
    assert (find_user_id([COOKIE], head(*lines)) or None) == user


QUERIES = [
    ("/?userId=alice", b"alice"),
    ("/?a=b&userId=alice&c=d", b"alice"),
    ("/?userId=a+b%20c%2Bd", b"a b c+d"),
    ("/?userId=%61%6Cice", b"alice"),
    ("/?userId=%e6%97%a5", "日".encode()),
    ("/?userId=%FF", b"\xff"),
    ("/?userId=\xff", b"\xff"),
    ("/?user%49d=alice", b"alice"),
    ("/?userId=one&userId=two", b"one"),
    ("/?userId=a=b", b"a=b"),
    ("/?userId=a;b", b"a;b"),
    ("/?userId=%00", b"\x00"),
    ("/?userId=&userId=two", None),
    ("/?userId", None),
    ("/?userId=%", None),
    ("/?userId=%4", None),
    ("/?userId=%zz", None),
    ("/?userId=a%2", None),
    ("/?%zz=a&userId=alice", b"alice"),
    ("/?userid=alice", None),
    ("/?xuserId=alice", None),
    ("/?&&&=&", None),
    ("/?", None),
    ("/", None),
    ("/?a?userId=b&userId=c", b"c"),
    ("http://b/?userId=alice", b"alice"),
]


@pytest.mark.parametrize(("target", "user"), QUERIES)
def test_a_query_value_is_form_decoded(target, user):
    assert (find_user_id([QUERY], head(target=target)) or None) == user


TOKENS = [
    (bearer({"sub": "alice"}), b"alice"),
    (bearer({"sub": "alice"}, "bearer"), b"alice"),
    (bearer({"sub": "alice"}, "BEARER  "), b"alice"),
    (bearer({"sub": " alice "}), b" alice "),
    (bearer({"sub": "日本語"}), "日本語".encode()),
    (bearer({"sub": 42}), b"42"),
    (bearer({"sub": -7}), b"-7"),
    (bearer(b'{"sub": 42.0}'), b"42"),
    (bearer(b'{"sub": 4.2e1}'), b"42"),
    (bearer(b'{"sub": 1e5}'), b"100000"),
    (bearer(b'{"sub": 1.50}'), b"1.5"),
    (bearer(b'{"sub": 12345678901234567890123}'), b"12345678901234567890123"),
    (bearer(b'{"sub": "one", "sub": "two"}'), b"two"),
    (bearer(b'{"sub": 1e400}'), None),
    (bearer(b'{"sub": 1e-400}'), None),
    (bearer(b'{"sub": ' + b"9" * 5000 + b"}"), None),
    (bearer(b'{"sub": 1e99999999999999999999}'), None),
    (bearer(b'{"sub": NaN}'), None),
    (bearer(b'{"sub": Infinity}'), None),
    (bearer({"sub": True}), None),
    (bearer({"sub": None}), None),
    (bearer({"sub": ["a"]}), None),
    (bearer({"sub": {"a": 1}}), None),
    (bearer({"sub": ""}), None),
    (bearer(b'{"sub": "\\ud800"}'), None),
    (bearer({"other": "alice"}), None),
    (bearer(b'["sub"]'), None),
    (bearer(b'"sub"'), None),
    (bearer(b"{"), None),
    (bearer(b"\xff\xfe"), None),
    (bearer(b""), None),
    (bearer(b"[" * 20_000), None),
    (bearer(b'{"a":' * 4_000), None),
    (bearer({"sub": "alice"}, "Basic"), None),
    ("Authorization: Bearer", None),
    ("Authorization: Bearer abc", None),
    ("Authorization: Bearer a.b", None),
    ("Authorization: Bearer a.b.c.d", None),
    ("Authorization: Bearer a.!!!!.c", None),
    ("Authorization: Bearer a.\xff\xff.c", None),
    ("Authorization: Bearer a.eyJ.c", None),
    ("Authorization: Bearer ..", None),
    ("X-Other: b", None),
]


@pytest.mark.parametrize(("line", "user"), TOKENS)
def test_a_claim_of_a_bearer_token_is_an_id(line, user):
    assert (find_user_id([CLAIM], head(line)) or None) == user


def test_two_long_numbers_that_differ_are_two_users():
    digits = "0.12345678901234567890123456789"
    first, second = (claim_of(b64(b'{"sub": %b}' % (digits + last).encode()), b"sub") for last in ("1", "2"))
    assert first is None or first != second


@given(st.binary(max_size=200))
def test_no_token_however_broken_raises(payload):
    for form in (payload, b64(payload)):
        claim = claim_of(form, b"sub")
        assert claim is None or isinstance(claim, bytes)


@given(st.text(max_size=30).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_a_string_claim_is_its_utf_8(text):
    assert claim_of(b64(json.dumps({"sub": text}).encode()), b"sub") == text.encode()


ORDER = [HEADER, CLAIM, COOKIE, QUERY]


@pytest.mark.parametrize(
    ("lines", "target", "user"),
    [
        (["X-User-Id: h", bearer({"sub": "j"}), "Cookie: user_id=c"], "/?userId=q", b"h"),
        (["X-User-Id: ", bearer({"sub": "j"}), "Cookie: user_id=c"], "/?userId=q", b"j"),
        ([bearer({"sub": None}), "Cookie: user_id=c"], "/?userId=q", b"c"),
        (["Cookie: user_id="], "/?userId=q", b"q"),
        ([], "/?userId=%zz", None),
    ],
)
def test_the_first_place_with_an_id_wins(lines, target, user):
    assert find_user_id(ORDER, head(*lines, target=target)) == user


def test_without_places_there_is_no_id():
    assert find_user_id([], head("X-User-Id: a")) is None
