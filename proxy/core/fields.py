"""What becomes of each header field on its way through: forwarded, noted, dropped, kept from one source.

A field line that comes again and again (most do: Host, Accept, User-Agent, Server) is worked out once and remembered
as it was sent, in a bounded table: then it costs one dictionary look-up. Neighbours: `heads` reads the lines,
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

    def __init__(self, fate: int, name: bytes, value: bytes, line: bytes) -> None:
        self.fate = fate
        self.name = name
        self.values = (value,)
        self.line = line
        self.number = int(value) if name == b"content-length" and _LENGTH(value) else -1

    def __repr__(self) -> str:
        return f"<Field {self.name!r} fate={self.fate}>"


class FieldTable:
    """The fates of fields by name, and the field lines seen lately. Memory is bounded whatever is sent.

    `known` is for look-ups only: a plain dict, because it is asked for every line of every message.
    """

    __slots__ = ("_by_name", "_claims_are_dropped", "_identity", "known")

    def __init__(
        self, by_name: dict[bytes, int], identity: Iterable[bytes] = (), *, claims_are_dropped: bool = False
    ) -> None:
        self.known: dict[bytes, Field] = {}
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

    def read(self, line: bytes, name: bytes, value: bytes) -> Field:
        """Make the field that a line stands for, which a parser has taken apart, and remember it if that is of use."""
        value = value.rstrip(b" \t")
        lower = name.lower()
        fate = self.fate_of(lower)
        if lower == b"content-type" and value.partition(b";")[0].strip().lower() == _EVENTS:
            fate |= EVENT_STREAM
        field = Field(fate, lower, value, b"%b: %b" % (name, value))
        if len(line) <= _LONGEST_LINE and lower not in _FORGOTTEN and not field.fate & SECRET:
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
