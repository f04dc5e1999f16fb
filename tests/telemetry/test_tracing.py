"""Ids: made right, and judged by the specification."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.tracing import (
    TraceIds,
    trace_id_of,
    valid_request_id,
    valid_traceparent,
)

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"


@given(st.integers())
def test_new_ids_are_valid(seed):
    ids = TraceIds(random.Random(seed).getrandbits)
    assert re.fullmatch(rb"[0-9a-f]{32}", ids.new_request_id())
    parent = ids.new_traceparent()
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent)
    assert valid_traceparent(parent)
    assert valid_request_id(ids.new_request_id())


def test_new_trace_ids_are_never_all_zero():
    parent = TraceIds(lambda bits: 0).new_traceparent()
    assert parent == b"00-" + b"0" * 31 + b"1-" + b"0" * 15 + b"1-01"
    assert valid_traceparent(parent)


def test_all_bits_are_used():
    ids = TraceIds(lambda bits: 2**bits - 1)
    assert ids.new_request_id() == b"f" * 32
    assert ids.new_traceparent() == b"00-" + b"f" * 32 + b"-" + b"f" * 16 + b"-01"


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b"00-%s-%s-01" % (TRACE, SPAN), True),
        (b"00-%s-%s-00" % (TRACE, SPAN), True),
        (b"00-%s-%s-ff" % (TRACE, SPAN), True),
        (b"cc-%s-%s-01" % (TRACE, SPAN), True),
        (b"cc-%s-%s-01-what-will-be" % (TRACE, SPAN), True),
        (b"cc-%s-%s-01-" % (TRACE, SPAN), True),
        (b"cc-%s-%s-01.what" % (TRACE, SPAN), False),
        (b"cc-%s-%s-01-a\nb" % (TRACE, SPAN), False),
        (b"00-%s-%s-01-more" % (TRACE, SPAN), False),
        (b"00-%s-%s-01-" % (TRACE, SPAN), False),
        (b"ff-%s-%s-01" % (TRACE, SPAN), False),
        (b"00-%s-%s-01" % (TRACE.upper(), SPAN), False),
        (b"00-%s-%s-01" % (b"0" * 32, SPAN), False),
        (b"00-%s-%s-01" % (TRACE, b"0" * 16), False),
        (b"00-%s-%s-1" % (TRACE, SPAN), False),
        (b"00-%s-%s-01\n" % (TRACE, SPAN), False),
        (b" 00-%s-%s-01" % (TRACE, SPAN), False),
        (b"00-%s-%s" % (TRACE, SPAN), False),
        (b"0-%s-%s-01" % (TRACE, SPAN), False),
        (b"00-%sg-%s-01" % (TRACE[:-1], SPAN), False),
        (b"", False),
    ],
)
def test_a_traceparent_is_judged_by_the_specification(value, valid):
    assert valid_traceparent(value) is valid


def test_the_trace_id_is_the_second_field():
    assert trace_id_of(b"00-%s-%s-01" % (TRACE, SPAN)) == TRACE


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b"a", True),
        (b"!~", True),
        (b"a" * 128, True),
        (b"", False),
        (b"a" * 129, False),
        (b"a b", False),
        (b"a\n", False),
        (b"a\x7f", False),
        (b"\xc3\xa9", False),
    ],
)
def test_a_request_id_is_kept_when_it_is_short_and_visible(value, valid):
    assert valid_request_id(value) is valid


def test_repr_names_the_source_of_randomness():
    assert repr(TraceIds(random.Random(1).getrandbits)).startswith("<TraceIds from ")
