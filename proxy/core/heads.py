"""What a message's head holds once it is read, and what requests and responses have in common.

llhttp (through httptools) checks the grammar of the fields, of those whose name it has passed before only where the
value is not plain; the start line, Host and the framing fields are checked by `request_head` and `response_head`,
because llhttp is lenient about them (HTTP/0.9, doubled spaces, two Hosts, status 000). It is given exactly one head and
never a body: body ends are `framing`'s business. Whatever is ambiguous is refused, never normalised (RFC 9112 sections
2.2, 3, 5, 6; RFC 9110 section 7).

Neighbour: `fields` says what becomes of each field.
"""

from collections.abc import Sequence
from typing import Final

import httptools

from proxy.core.fields import DROP, DROP_SOMETIMES, NOTE, Field, FieldTable

HEAD_END: Final = b"\r\n\r\n"
PLAIN_TOKENS: Final = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b""))
"""Members of Connection that name no field to remove."""

_MISSPELT: Final = frozenset((b"content_length", b"transfer_encoding"))
"""Servers after CGI take "_" for "-", and would see another end of the message."""

_START: Final = b"GET / HTTP/1.1\r\n"  # llhttp sees this instead of the start line, which is not its business
_USUAL_CONNECTION: Final = {b"keep-alive": True, b"Keep-Alive": True, b"close": False, b"Close": False}
"""Most Connection fields are one of these: whether the connection stays open, without taking a list apart."""


class Head:
    """What both kinds of head hold, valid by construction.

    `lines` are the `name: value` lines to forward, in order; `sourced` the (index, flags) of those that are
    dropped for one source or one kind of peer; `noted` the values of the fields the proxy itself reads, by
    lower-case name. `told` holds the flags of all fields together, `announced` the number of the last Content-Length.
    `content_length` is None without one; `minor` is that of HTTP/1.x.
    """

    __slots__ = (
        "announced", "chunked", "content_length", "fates", "keep_alive", "lines", "minor", "noted", "sourced", "told",
        "upgrade",
    )  # fmt: skip

    def __init__(self, fates: FieldTable) -> None:
        self.fates = fates
        self.lines: list[bytes] = []
        self.sourced: list[tuple[int, int]] = []
        self.noted: dict[bytes, tuple[bytes, ...]] = {}
        self.minor = 1
        self.told = 0
        self.announced = -1
        self.content_length: int | None = None
        self.chunked = False
        self.keep_alive = True
        self.upgrade: bytes | None = None


class RequestHead(Head):
    """One request's head.

    `target` is as sent, `path` its raw path (what is routed and forwarded), `query` without the question mark.
    `upgrade` is the protocol that the client asks to switch to, if this connection could carry it.
    """

    __slots__ = ("method", "path", "query", "target")

    def __init__(self, fates: FieldTable) -> None:
        super().__init__(fates)
        self.method = self.target = self.path = self.query = b""

    def __repr__(self) -> str:
        return f"<RequestHead {self.method.decode('latin-1')} {self.target[:80].decode('latin-1')}>"

    @property
    def has_body(self) -> bool:
        """Whether a body follows (RFC 9112 section 6.3: a request has one only if a field says so)."""
        return self.chunked or bool(self.content_length)

    @property
    def host(self) -> bytes | None:
        """The authority asked for: of an absolute-form target, else of Host (RFC 9112 section 3.2.2)."""
        hosts = self.noted.get(b"host")
        return hosts[0] if hosts else None


class ResponseHead(Head):
    """One response's head; `upgrade` is the protocol that it switches to, lower-case, if Connection says so too."""

    __slots__ = ("reason", "status")

    def __init__(self, fates: FieldTable) -> None:
        super().__init__(fates)
        self.status = 0
        self.reason = b""

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}>"

    @property
    def announces_content(self) -> bool:
        """Whether it speaks of content, which must not follow all the same after HEAD, 204 and 304."""
        return self.chunked or bool(self.content_length)


def sort_fields(head: Head, lines: Sequence[bytes]) -> None:
    """Sort field lines into `head`, each by its fate. Raises httptools.HttpParserError for one that is none."""
    known = head.fates.known
    fields: list[Field] = []
    for line in lines:
        field = known.get(line)
        if field is None:
            field = head.fates.recall(line)
            if field is None:
                fields = read_fields(head.fates, lines)
                break
        fields.append(field)
    kept, noted, told = head.lines, head.noted, 0
    for field in fields:
        fate = field.fate
        if fate:
            told |= fate
            if fate & NOTE:
                name = field.name
                noted[name] = noted[name] + field.values if name in noted else field.values
                if field.number >= 0:
                    head.announced = field.number
            if fate & DROP:
                continue
            if fate & DROP_SOMETIMES:
                head.sourced.append((len(kept), fate))
        kept.append(field.line)
    head.told = told


def read_fields(table: FieldTable, lines: Sequence[bytes]) -> list[Field]:
    """Let llhttp read the lines that the table does not know. Raises httptools.HttpParserError.

    Each line is one field or refused: what llhttp would take for a continuation, or for the end, is no field.
    """
    known = table.known
    fields = {line: known.get(line) for line in lines}
    unknown = [line for line, field in fields.items() if field is None]
    found = _Found()
    try:  # noqa: SIM105 - `suppress` was measured at 0.2 us
        httptools.HttpRequestParser(found).feed_data(_START + b"\r\n".join(unknown) + HEAD_END)
    except httptools.HttpParserUpgrade:
        pass  # says only that an Upgrade field is there; all fields were seen
    if len(found.fields) != len(unknown):
        raise httptools.HttpParserError("a line that is no field")
    if any(b"_" in name and name.lower() in _MISSPELT for name, _ in found.fields):
        raise httptools.HttpParserError("a framing field spelt with an underscore")
    read = {line: table.read(line, *field) for line, field in zip(unknown, found.fields, strict=True)}
    return [fields[line] or read[line] for line in lines]


class _Found:
    """Takes the fields from llhttp."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools.HttpRequestParser."""
        self.fields.append((name, value))


def settles_simply(head: Head) -> bool:
    """Settle whether the connection stays open, if Connection is one of the usual lines that say nothing else."""
    values = head.noted[b"connection"]
    keep_alive = _USUAL_CONNECTION.get(values[0]) if len(values) == 1 else None
    if keep_alive is None:
        return False
    head.keep_alive = keep_alive
    return True


def connection_tokens(head: Head) -> set[bytes]:
    """Settle whether the connection stays open (RFC 9112 section 9.3); return all that Connection says."""
    tokens = tokens_of(head.noted[b"connection"])
    if b"close" in tokens:
        head.keep_alive = False
    elif b"keep-alive" in tokens:
        head.keep_alive = True
    return tokens


def tokens_of(values: Sequence[bytes]) -> set[bytes]:
    """The lower-case members of a comma-separated list field, over all its lines."""
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def length_of(head: Head) -> int | None:
    """The one Content-Length; None when it is doubled or no number (RFC 9112 section 6.3)."""
    return head.announced if len(head.noted[b"content-length"]) == 1 and head.announced >= 0 else None
