"""Request ids and W3C trace context: making them, and judging those a client sent.

Pure but for the random bits it is given. Neighbours: `net` writes the values as headers, `access_log` as
fields.
Source: W3C Trace Context, section 3.2 (https://www.w3.org/TR/trace-context/#traceparent-header).
"""

import re
from collections.abc import Callable
from typing import Final

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x20-\x7e]*)?"
)
_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")


_STOCK_DIGITS: Final = 80 * 100  # what 100 requests use
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16


class TraceIds:
    """Makes ids from `randbits(n)`, an integer of n random bits (ids are names here, not secrets).

    Hex digits are made for many requests at once: 400 instructions for the ids of one instead of 7,500.
    """

    __slots__ = ("_randbits", "_stock", "_used")

    def __init__(self, randbits: Callable[[int], int]) -> None:
        self._randbits = randbits
        self._stock = b""
        self._used = 0

    def _digits(self, count: int) -> bytes:
        """Fresh lower-case hex digits."""
        start = self._used
        if start + count > len(self._stock):
            self._stock = self._randbits(_STOCK_DIGITS * 4).to_bytes(_STOCK_DIGITS // 2, "big").hex().encode("ascii")
            start = 0
        self._used = start + count
        return self._stock[start : self._used]

    def new_request_id(self) -> bytes:
        """Make a request id: 32 lower-case hex digits."""
        return self._digits(32)

    def new_traceparent(self) -> bytes:
        """Start a sampled trace: `00-<32 hex>-<16 hex>-01`, neither id ever all zero."""
        trace, span = self._digits(32), self._digits(16)
        # All-zero ids are invalid by the specification, and a generator may give them.
        if trace == _NO_TRACE:
            trace = b"0" * 31 + b"1"
        if span == _NO_SPAN:
            span = b"0" * 15 + b"1"
        return b"00-%b-%b-01" % (trace, span)

    def __repr__(self) -> str:
        return f"<TraceIds from {self._randbits!r}>"


def valid_traceparent(value: bytes) -> bool:
    """Whether a `traceparent` may be passed on.

    Version 00 is exactly 55 characters; a later version may go on after a further dash; version ff and
    all-zero ids are invalid; hex digits are lower-case.
    """
    match = _TRACEPARENT.fullmatch(value)
    return match is not None and not (match[2] is not None and value.startswith(b"00"))


def trace_id_of(value: bytes) -> bytes:
    """Take the trace id (32 hex digits) of a valid `traceparent`."""
    return value[3:35]


def valid_request_id(value: bytes) -> bool:
    """Whether a client's request id is kept: 1 to 128 visible ASCII characters."""
    return _REQUEST_ID.fullmatch(value) is not None
