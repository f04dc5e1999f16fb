"""What becomes of each header field on its way through: forwarded, noted, dropped, kept from one source.

A field line that comes again and again (most do: Host, Accept, User-Agent, Server) is worked out once and remembered
as it was sent, in a bounded table: then it costs one dictionary look-up. Of a line that is new each time (ETag, Cookie)
the name is remembered, and only the value's octets are looked at. Neighbours: `heads` reads the lines,
`settings.snapshot` builds the tables.
"""

import re
from collections.abc import Iterable
from typing import Final

PASS: Final = 0
DROP: Final = 1
NOTE: Final = 2
DROP_FOR_LEGACY: Final = 4
DROP_FOR_TARGET: Final = 8
SECRET: Final = 32  # never remembered
DROP_UNTRUSTED: Final = 16  # claims about the client that only a trusted proxy may make
TELLS_CACHE: Final = 64  # what a cache in front of the source said
EVENT_STREAM: Final = 128  # a Content-Type of this value only
DROP_SOMETIMES: Final = DROP_FOR_LEGACY | DROP_FOR_TARGET | DROP_UNTRUSTED
_DROPS: Final = DROP | DROP_SOMETIMES

_MOST_LINES: Final = 4096
_LONGEST_LINE: Final = 256  # bytes; with the number above it bounds what a table remembers
# Not worth remembering, because they differ from request to request; or not to be, because they are secrets.
_FORGOTTEN: Final = frozenset(
    (b"authorization", b"cookie", b"etag", b"idempotency-key", b"last-modified", b"proxy-authorization",
     b"set-cookie", b"traceparent", b"tracestate", b"x-request-id")
)  # fmt: skip

_MOST_NAMES: Final = 512
_LONGEST_NAME: Final = 64  # bytes
_MARK_BAD: Final = bytes(c if c == 9 or 32 <= c != 127 else 0 for c in range(256))  # RFC 9110 section 5.5
# What llhttp reads a meaning into, beyond the grammar of a field: it always judges these itself.
_JUDGED: Final = frozenset((b"connection", b"proxy-connection", b"transfer-encoding", b"upgrade"))

# RFC 9110 section 7.6.1 and, for the two Proxy- fields, 11.7: never forwarded.
_HOP_BY_HOP: Final = {
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"te": DROP,
    b"upgrade": DROP | NOTE,
    b"connection": DROP | NOTE,
    b"transfer-encoding": DROP | NOTE,
}
_REQUEST: Final = {
    **_HOP_BY_HOP,
    b"host": DROP | NOTE,
    b"content-length": NOTE,
    b"expect": NOTE,
    b"idempotency-key": NOTE,
    b"x-request-id": DROP | NOTE,
    b"traceparent": DROP | NOTE,
    b"tracestate": NOTE,
    b"x-forwarded-for": DROP | NOTE,
    b"x-forwarded-proto": DROP | NOTE,
    b"x-forwarded-host": DROP | NOTE,
}
_RESPONSE: Final = {
    **_HOP_BY_HOP,
    b"content-length": NOTE,
    b"content-type": NOTE,
    b"x-request-id": DROP,
    b"x-cache": NOTE | TELLS_CACHE,
    b"cf-cache-status": NOTE | TELLS_CACHE,
    b"age": NOTE | TELLS_CACHE,
}
_LENGTH: Final = re.compile(rb"[0-9]{1,18}").fullmatch
_EVENTS: Final = b"text/event-stream"
_OURS: Final = b"x-cutover-"
_CLAIMS: Final = frozenset((b"forwarded", b"x-real-ip"))
_CLAIM_PREFIX: Final = b"x-forwarded-"


class Field:
    """A field as it was sent, read: `values` holds its one value, `line` is what goes on.

    `number` is a Content-Length in bytes, else -1: also of one that is signed, a list or absurd (RFC 9112 section 6.3).
    A class compiled by mypyc, because several are read for every message: a named tuple's attributes cost 150
    instructions each.
    """

    __slots__ = ("fate", "line", "name", "number", "values")

    def __init__(self, fate: int, name: bytes, value: bytes, line: bytes, number: int) -> None:
        self.fate = fate
        self.name = name
        self.values = (value,)
        self.line = line
        self.number = number

    def __repr__(self) -> str:
        return f"<Field {self.name!r} fate={self.fate}>"


class _Name:
    """A field name as it was spelt, which llhttp has passed: what it is in lower case, and its fate."""

    __slots__ = ("fate", "is_kept", "is_length", "is_type", "lower")

    def __init__(self, lower: bytes, fate: int) -> None:
        self.lower = lower
        self.fate = fate
        self.is_length = lower == b"content-length"
        self.is_type = lower == b"content-type"
        self.is_kept = lower not in _FORGOTTEN and not fate & SECRET  # whether its lines are remembered


class FieldTable:
    """The fates of fields by name, and the field lines and names seen lately. Memory is bounded whatever is sent.

    `known` is for look-ups only: a plain dict, because it is asked for every line of every message.
    """

    __slots__ = ("_by_name", "_claims_are_dropped", "_identity", "_names", "known")

    def __init__(
        self, by_name: dict[bytes, int], identity: Iterable[bytes] = (), *, claims_are_dropped: bool = False
    ) -> None:
        self.known: dict[bytes, Field] = {}
        self._names: dict[bytes, _Name] = {}
        self._by_name = by_name
        self._claims_are_dropped = claims_are_dropped
        self._identity = frozenset(identity)

    def __repr__(self) -> str:
        return f"<FieldTable {len(self._by_name)} names, {len(self.known)} lines seen>"

    def fate_of(self, name: bytes) -> int:
        """The fate of a field, its name in any spelling."""
        lower = name.lower()
        fate = self._by_name.get(lower, PASS)
        hyphened = lower.replace(b"_", b"-")
        if hyphened != lower:  # a server after CGI takes it for that one: what may not pass so, may not so either
            fate |= self._by_name.get(hyphened, PASS) & _DROPS
        if hyphened.startswith(_OURS):
            fate |= DROP
        elif self._claims_are_dropped and (hyphened in _CLAIMS or hyphened.startswith(_CLAIM_PREFIX)):
            fate |= DROP_UNTRUSTED
        return fate

    def recall(self, line: bytes) -> Field | None:
        """Make the field that a line stands for if its name is known and its value is plain; else None.

        None says nothing about the line: a parser has to judge it.
        """
        spelt, _, sent = line.partition(b": ")
        name = self._names.get(spelt)
        if name is None or 0 in sent.translate(_MARK_BAD):
            return None
        value = sent.strip(b" \t")
        if not value or (name.is_length and not _LENGTH(value)):
            return None
        return self._make(line, name, value, line if len(value) == len(sent) else b"%b: %b" % (spelt, value))

    def read(self, line: bytes, name: bytes, value: bytes) -> Field:
        """Make the field that a line stands for, which a parser has taken apart, and remember what is of use."""
        known = _Name(name.lower(), self.fate_of(name))
        if len(name) <= _LONGEST_NAME and known.lower not in _JUDGED:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names[name] = known
        value = value.rstrip(b" \t")
        return self._make(line, known, value, b"%b: %b" % (name, value))

    def _make(self, line: bytes, name: _Name, value: bytes, forwarded: bytes) -> Field:
        fate = name.fate
        if name.is_type and value.partition(b";")[0].strip().lower() == _EVENTS:
            fate |= EVENT_STREAM
        number = int(value) if name.is_length and _LENGTH(value) else -1
        field = Field(fate, name.lower, value, forwarded, number)
        if name.is_kept and len(line) <= _LONGEST_LINE:
            if len(self.known) >= _MOST_LINES:
                self.known.clear()
            self.known[line] = field
        return field

    def is_identity(self, name: bytes) -> bool:
        """Whether the lower-case field carries a user id, so that `Connection` may not remove it."""
        return name in self._identity


def request_table(
    *,
    noted: Iterable[bytes] = (),
    identity: Iterable[bytes] = (),
    secret: Iterable[bytes] = (),
    legacy_drops: Iterable[bytes] = (),
    target_drops: Iterable[bytes] = (),
) -> FieldTable:
    """The fates of request fields; all names lower-case.

    `noted`: read by the proxy and forwarded. `identity`: noted, and carrying a user id. `secret`: noted and
    never forwarded. `legacy_drops` and `target_drops`: not forwarded to that source.
    """
    fates = dict(_REQUEST)
    identity = tuple(identity)
    for names, flags in (
        ((*noted, *identity), NOTE),
        (secret, NOTE | DROP | SECRET),
        (legacy_drops, DROP_FOR_LEGACY),
        (target_drops, DROP_FOR_TARGET),
    ):
        for name in names:
            fates[name] = fates.get(name, PASS) | flags
    return FieldTable(fates, identity, claims_are_dropped=True)


def response_table() -> FieldTable:
    """The fates of response fields."""
    return FieldTable(dict(_RESPONSE))
