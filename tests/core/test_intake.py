"""Taking heads off the front of what a client has sent."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import MalformedRequest
from proxy.core.fields import request_table
from proxy.core.intake import HeadLimits, take_head

LIMITS = HeadLimits(header_bytes=200, header_count=4, uri_bytes=60)
FATES = request_table()
HEAD = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


def take(data: bytes, limits: HeadLimits = LIMITS):
    return take_head(data, limits, FATES)


def refusal(data: bytes) -> int:
    with pytest.raises(MalformedRequest) as caught:
        take(data)
    return caught.value.status


@given(rest=st.binary(max_size=50))
def test_a_whole_head_is_taken_and_what_follows_is_left(rest):
    head, left = take(HEAD + rest)
    assert head is not None
    assert (head.target, left) == (b"/a", rest)


@pytest.mark.parametrize("end", range(1, len(HEAD)))
def test_a_part_of_a_head_is_kept_as_it_is(end):
    assert take(HEAD[:end]) == (None, HEAD[:end])


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n", b"\r\n" * 4])
def test_empty_lines_before_a_head_are_skipped(lines):
    head, rest = take(lines + HEAD)
    assert head is not None
    assert rest == b""


@pytest.mark.parametrize("lines", [b"\r", b"\r\n", b"\r\n\r"])
def test_what_may_become_an_empty_line_is_kept(lines):
    assert take(lines) == (None, lines)


@pytest.mark.parametrize(
    "lines", [b"\n", b"\r\r", b"\n\r", b"\r" + HEAD, b"\n" + HEAD, b"\r\n\n" + HEAD, b"\r\n" * 5 + HEAD]
)
def test_anything_else_before_a_head_is_refused(lines):
    assert refusal(lines) == 400


@pytest.mark.parametrize("whole", [True, False])
def test_limits_are_exact(whole):
    end = b"\r\n\r\n" if whole else b""
    line = b"GET / HTTP/1.1\r\nHost: a"
    fits = line + b"\r\nX: " + b"x" * (200 - len(line) - 5)
    assert take(fits + end)
    if whole:
        assert refusal(fits + b"x" + end) == 431
    else:
        assert take(fits + b"\r\n\r")
        assert refusal(fits + b"xxxx") == 431
    fields = b"".join(b"\r\nX: %d" % n for n in range(3))
    assert take(line + fields + end)
    assert refusal(line + fields + b"\r\nY: 1" + (end or b"\r\nZ")) == 431
    assert refusal(b"GET /" + b"a" * 150 + (b" HTTP/1.1" + end if whole else b"")) == 414


@pytest.mark.parametrize("space", [b" ", b"\t"], ids=["spaces", "tabs"])
@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"Content-Length", b"Connection", b"Host", b"X-A"])
def test_no_head_within_the_limits_costs_more_than_its_length(name, space):
    """A search that backs over every space took 6 s for this, and a worker that is silent for 5 s is killed."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": " + space * 32_000 + b"\0\r\n\r\n"
    began = time.perf_counter()
    with pytest.raises(MalformedRequest):
        take_head(head, HeadLimits(header_bytes=32_768, header_count=100, uri_bytes=8192), FATES)
    assert time.perf_counter() - began < 1.0, "linear: it takes less than 1 ms"
