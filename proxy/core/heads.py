"""Parses the head of a message, strictly, in one pass that also sorts its header fields.

llhttp (through httptools) checks the grammar of the fields; the start line, Host and the framing fields are
checked here, because llhttp is lenient about them (HTTP/0.9, doubled spaces, two Hosts, status 000). It is
given exactly one head and never a body: body ends are `framing`'s business. Whatever is ambiguous is refused,
never normalised (RFC 9112 sections 2.2, 3, 5, 6; RFC 9110 section 7).

Neighbours: `fields` says what becomes of each field; `net.downstream` and `net.upstream` supply the bytes.
"""

import ipaddress
import re
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import httptools

from proxy.core.errors import MalformedRequest, MalformedResponse, RequestFault
from proxy.core.fields import DROP, DROP_SOMETIMES, NOTE, FieldTable

HEAD_END: Final = b"\r\n\r\n"
_START: Final = b"GET / HTTP/1.1\r\n"  # llhttp sees this instead of the start line, which is checked here

_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-\"$-~\x80-\xff]+) HTTP/([0-9])\.([0-9])"
).fullmatch
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*))?").fullmatch
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(.*)", re.DOTALL).fullmatch
_AUTHORITY: Final = re.compile(
    rb"(?:[0-9A-Za-z._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+(?::[0-9]{1,5})?"
    rb"|\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?"
).fullmatch
_TRANSFER_ENCODING: Final = re.compile(rb"\r\n(?i:transfer-encoding):[ \t]*([!-~ \t]*)(?=\r\n)").finditer
_CONTENT_LENGTH: Final = re.compile(rb"\r\n(?i:content-length):").search
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_LENGTH: Final = re.compile(rb"[0-9]{1,18}").fullmatch

_PLAIN_TOKENS: Final = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b""))
_USUAL_TOKENS: Final = {
    value: frozenset((value.lower(),)) for value in (b"keep-alive", b"Keep-Alive", b"close", b"Close")
}  # most Connection fields are one of these: a look-up instead of taking a list apart
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))
_PROTOCOL: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?").fullmatch
_PAST_THE_PROXY: Final = (b"h2", b"http", b"tls")
_NOT_NOMINABLE: Final = frozenset(
    (
        b"host",
        b"transfer-encoding",
        b"authorization",
        b"cookie",
        b"traceparent",
        b"tracestate",
        b"x-request-id",
        b"forwarded",
    )
)
_NOT_NOMINABLE_PREFIXES: Final = (b"content-", b"x-forwarded-")


class RequestHead:
    """One request's head, valid by construction.

    `target` is as sent, `path` its raw path (what is routed and forwarded), `query` without the question mark.
    `lines` are the `name: value` lines to forward, in order; `sourced` the (index, flags) of those that are
    dropped for one source or one kind of peer; `noted` the values of the fields the proxy itself reads, by
    lower-case name. `content_length` is None without one; `upgrade` is the protocol that the client asks to switch
    to, if this connection could carry it.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "fates",
        "keep_alive",
        "lines",
        "method",
        "minor",
        "noted",
        "path",
        "query",
        "sourced",
        "target",
        "upgrade",
    )  # fmt: skip

    def __init__(self, fates: FieldTable) -> None:
        self.fates = fates
        self.lines: list[bytes] = []
        self.sourced: list[tuple[int, int]] = []
        self.noted: dict[bytes, list[bytes]] = {}
        self.method = self.target = self.path = self.query = b""
        self.minor = 1
        self.content_length: int | None = None
        self.chunked = False
        self.keep_alive = True
        self.upgrade: bytes | None = None

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

    def on_header(self, name: bytes, value: bytes) -> None:
        """Llhttp's callback: sorts one field by its fate."""
        fate = self.fates[name]
        if fate:
            if fate & NOTE:
                value = value.rstrip(b" \t")
                self.noted.setdefault(name.lower(), []).append(value)
            if fate & DROP:
                return
            if fate & DROP_SOMETIMES:
                self.sourced.append((len(self.lines), fate))
        self.lines.append(name + b": " + value)


class ResponseHead:
    """One response's head, valid by construction; `lines` and `noted` as in `RequestHead`.

    `content_length` is None without one; `chunked` and `keep_alive` are as the upstream said; `upgrade` is the
    protocol that it switches to, lower-case, if Connection says so too.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "fates",
        "keep_alive",
        "lines",
        "minor",
        "noted",
        "reason",
        "status", "upgrade",
    )  # fmt: skip

    def __init__(self, fates: FieldTable) -> None:
        self.fates = fates
        self.lines: list[bytes] = []
        self.noted: dict[bytes, list[bytes]] = {}
        self.status = 0
        self.reason = b""
        self.minor = 1
        self.content_length: int | None = None
        self.chunked = False
        self.keep_alive = True
        self.upgrade: bytes | None = None

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}>"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Llhttp's callback: sorts one field by its fate."""
        fate = self.fates[name]
        if fate:
            if fate & NOTE:
                value = value.rstrip(b" \t")
                self.noted.setdefault(name.lower(), []).append(value)
            if fate & DROP:
                return
        self.lines.append(name + b": " + value)


class ResponseRules(NamedTuple):
    """What a response must keep to: the fates of its fields, and the size of its head."""

    fates: FieldTable
    header_bytes: int
    header_count: int


def parse_request(data: bytes, fates: FieldTable) -> RequestHead:
    """Parse a request head, `data` ending with its empty line.

    Raises MalformedRequest, with the status to answer, for anything that two parsers could read differently.
    """
    head = RequestHead(fates)
    try:
        _parse_request(data, head)
    except MalformedRequest as fault:
        fault.method = head.method
        raise
    return head


def _parse_request(data: bytes, head: RequestHead) -> None:
    line_end = data.find(b"\r\n")
    _read_request_line(data[:line_end], head)
    try:
        httptools.HttpRequestParser(head).feed_data(_START + data[line_end + 2 :])
    except httptools.HttpParserUpgrade:
        pass  # says only that an Upgrade field is there; all fields were seen
    except httptools.HttpParserError as error:
        raise _explained(error, head, data) from error
    _read_target_and_host(head)
    noted = head.noted
    if b"connection" in noted:
        _read_connection(head)
    if b"transfer-encoding" in noted:
        _read_transfer_encoding(head)
    elif b"content-length" in noted:
        head.content_length = _length_of(noted[b"content-length"])
        if head.content_length is None:
            raise MalformedRequest("invalid Content-Length")


def _read_request_line(line: bytes, head: RequestHead) -> None:
    match = _REQUEST_LINE(line)
    if match is None:
        raise MalformedRequest("malformed request line")
    head.method, head.target, major, minor = match.groups()
    if major != b"1" or minor > b"1":
        raise MalformedRequest("only HTTP/1.0 and HTTP/1.1 are spoken", 505, RequestFault.VERSION)
    if minor == b"0":
        head.minor = 0
        head.keep_alive = False
    if head.method in (b"CONNECT", b"TRACE"):
        raise MalformedRequest("CONNECT and TRACE are not served", 405, RequestFault.METHOD)
    path, _, head.query = head.target.partition(b"?")
    head.path = path


def _read_target_and_host(head: RequestHead) -> None:
    """Settle the authority and the path (RFC 9112 sections 3.2 and 3.2.1 to 3.2.4)."""
    hosts = head.noted.get(b"host", ())
    if len(hosts) != 1 and (head.minor or hosts):
        raise MalformedRequest("exactly one Host field is needed")
    if hosts and not _is_authority(hosts[0]):
        raise MalformedRequest("invalid Host")
    if not head.path.startswith(b"/"):
        _read_other_target(head)


def _is_authority(value: bytes) -> bool:
    """Whether it is a host with or without a port (RFC 3986 section 3.2)."""
    match = _AUTHORITY(value)
    if match is None or match[1] is None:
        return match is not None
    try:
        ipaddress.IPv6Address(match[1].decode())
    except ValueError:
        return False
    return True


def _read_other_target(head: RequestHead) -> None:
    if head.target == b"*":
        if head.method != b"OPTIONS":
            raise MalformedRequest("the target * is for OPTIONS only")
        return
    absolute = _ABSOLUTE(head.target)
    if absolute is None or not _is_authority(absolute[1]):
        raise MalformedRequest("invalid request target")
    head.noted[b"host"] = [absolute[1]]
    path, question_mark, head.query = absolute[2].partition(b"?")
    head.path = path or b"/"
    head.target = head.path + question_mark + head.query


def _persistence(head: "RequestHead | ResponseHead") -> AbstractSet[bytes]:
    """Settle whether the connection stays open (RFC 9112 section 9.3); return all that Connection says."""
    values = head.noted[b"connection"]
    usual = _USUAL_TOKENS.get(values[0]) if len(values) == 1 else None
    tokens: AbstractSet[bytes] = tokens_of(values) if usual is None else usual
    if b"close" in tokens:
        head.keep_alive = False
    elif b"keep-alive" in tokens:
        head.keep_alive = True
    return tokens


def _read_connection(head: RequestHead) -> None:
    tokens = _persistence(head)
    if b"upgrade" in tokens:
        head.upgrade = _wanted_protocol(head)
    nominated = tokens - _PLAIN_TOKENS
    if nominated:
        for name in nominated:
            if name in _NOT_NOMINABLE or name.startswith(_NOT_NOMINABLE_PREFIXES) or head.fates.is_identity(name):
                raise MalformedRequest("Connection names a field that is not hop-by-hop")
        _drop_nominated(head, nominated)


def tokens_of(values: list[bytes]) -> set[bytes]:
    """The lower-case members of a comma-separated list field, over all its lines."""
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def _wanted_protocol(head: RequestHead) -> bytes | None:
    """The protocol to switch to (RFC 9110 section 7.8).

    None for what would carry further HTTP requests past the proxy (h2c and TLS) or has a body: Upgrade is then
    left out, as a server may, and the request goes on as it is.
    """
    protocols = head.noted.get(b"upgrade", [])
    if len(protocols) != 1 or head.minor == 0 or head.noted.keys() & {b"content-length", b"transfer-encoding"}:
        return None
    protocol = protocols[0]
    return None if protocol.lower().startswith(_PAST_THE_PROXY) or not _PROTOCOL(protocol) else protocol


def _drop_nominated(head: RequestHead, nominated: AbstractSet[bytes]) -> None:
    kept: list[bytes] = []
    sourced = dict(head.sourced)
    head.sourced = []
    for index, line in enumerate(head.lines):
        if line.partition(b":")[0].lower() in nominated:
            continue
        if index in sourced:
            head.sourced.append((len(kept), sourced[index]))
        kept.append(line)
    head.lines = kept
    for name in nominated:
        head.noted.pop(name, None)


def _read_transfer_encoding(head: RequestHead) -> None:
    codings = head.noted[b"transfer-encoding"]
    if b"content-length" in head.noted:
        raise MalformedRequest("both Content-Length and Transfer-Encoding")
    if head.minor == 0:
        raise MalformedRequest("Transfer-Encoding in HTTP/1.0")
    if len(codings) != 1 or codings[0].lower() != b"chunked":
        raise _unknown_coding(codings)
    head.chunked = True


def _unknown_coding(codings: list[bytes]) -> MalformedRequest:
    names = tokens_of(codings) - {b"chunked", b""}
    if names and all(_TOKEN(name) for name in names):
        return MalformedRequest("unknown transfer coding", 501, RequestFault.TRANSFER_CODING)
    return MalformedRequest("Transfer-Encoding must be exactly chunked")


def _length_of(values: list[bytes]) -> int | None:
    """The one Content-Length; None when it is doubled, signed, a list or absurd (RFC 9112 section 6.3)."""
    if len(values) != 1 or not _LENGTH(values[0]):
        return None
    return int(values[0])


def _explained(error: Exception, head: RequestHead, data: bytes) -> MalformedRequest:
    """Say what llhttp refused; a transfer coding that it does not know deserves its own status."""
    codings = [match[1] for match in _TRANSFER_ENCODING(data)]
    if codings and head.minor and not _CONTENT_LENGTH(data):
        fault = _unknown_coding(codings)
        if fault.status == 501:
            return fault
    return MalformedRequest(f"malformed header field: {error}")


def parse_response(data: bytes, fates: FieldTable) -> ResponseHead:
    """Parse a response head, `data` ending with its empty line.

    Raises MalformedResponse for an invalid status line or field, both Content-Length and Transfer-Encoding,
    two lengths, or a transfer coding other than chunked. Nothing of such a response may be used.
    """
    line_end = data.find(b"\r\n")
    match = _STATUS_LINE(data[:line_end])
    if match is None:
        raise MalformedResponse("malformed status line")
    head = ResponseHead(fates)
    head.status = int(match[2])
    head.reason = match[3] or b""
    try:
        httptools.HttpRequestParser(head).feed_data(_START + data[line_end + 2 :])
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise MalformedResponse(f"malformed header field: {error}") from error
    if match[1] == b"0":
        head.minor = 0
        head.keep_alive = False
    noted = head.noted
    if noted:
        _read_response_framing(head, noted)
    return head


def _read_response_framing(head: ResponseHead, noted: dict[bytes, list[bytes]]) -> None:
    if b"connection" in noted:
        _read_response_connection(head)
    if b"transfer-encoding" in noted:
        if b"content-length" in noted or head.minor == 0:
            raise MalformedResponse("Transfer-Encoding beside Content-Length or in HTTP/1.0")
        codings = noted[b"transfer-encoding"]
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise MalformedResponse("a transfer coding other than chunked")
        head.chunked = True
    elif b"content-length" in noted:
        head.content_length = _length_of(noted[b"content-length"])
        if head.content_length is None:
            raise MalformedResponse("invalid Content-Length")
        if head.status == 205 and head.content_length:
            raise MalformedResponse("content in a 205, where some clients expect none")  # RFC 9110 section 15.3.6


def _read_response_connection(head: ResponseHead) -> None:
    tokens = _persistence(head)
    protocols = head.noted.get(b"upgrade", [])
    if b"upgrade" in tokens and len(protocols) == 1:
        head.upgrade = protocols[0].lower()
    nominated = tokens - _PLAIN_TOKENS
    if nominated & _FRAMING:
        raise MalformedResponse("Connection names a field that frames the message")
    if nominated:
        head.lines = [line for line in head.lines if line.partition(b":")[0].lower() not in nominated]
