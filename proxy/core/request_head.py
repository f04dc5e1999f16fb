"""Parses the head of a request.

Neighbours: `heads` holds the result and reads the fields, `intake` finds the head's end.
"""

import ipaddress
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Final

import httptools

from proxy.core.errors import MalformedRequest, RequestFault
from proxy.core.fields import FieldTable
from proxy.core.heads import (
    HEAD_END,
    PLAIN_TOKENS,
    RequestHead,
    connection_tokens,
    length_of,
    settles_simply,
    sort_fields,
    tokens_of,
)

_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-\"$-~\x80-\xff]+) HTTP/([0-9])\.([0-9])"
).fullmatch
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)(.*)", re.DOTALL).fullmatch
_AUTHORITY: Final = re.compile(
    rb"(?:[0-9A-Za-z._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+(?::[0-9]{1,5})?"
    rb"|\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?"
).fullmatch
_TRANSFER_ENCODING: Final = re.compile(rb"\r\n(?i:transfer-encoding):[ \t]*+([!-~ \t]*+)(?=\r\n)").finditer
_CONTENT_LENGTH: Final = re.compile(rb"\r\n(?i:content-length):").search
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_PROTOCOL: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?").fullmatch
_MOST_REMEMBERED: Final = 1024
_LONGEST_REMEMBERED: Final = 256  # bytes; with the number above it bounds what request lines are remembered
_seen: Final[dict[bytes, tuple[bytes, bytes, bytes, int]]] = {}
"""Method, target, path and minor version of good request lines without a query: most are asked for again."""
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


def parse_request(data: bytes, fates: FieldTable) -> RequestHead:
    """Parse a request head, `data` ending with its empty line. Raises MalformedRequest."""
    return read_request(data[: -len(HEAD_END)].split(b"\r\n"), fates)


def read_request(lines: list[bytes], fates: FieldTable) -> RequestHead:
    """Read a request head from its lines, which are used up.

    Raises MalformedRequest, with the status to answer, for anything that two parsers could read differently.
    """
    head = RequestHead(fates)
    try:
        _parse_request(lines, head)
    except MalformedRequest as fault:
        fault.method = head.method
        raise
    return head


def _parse_request(lines: list[bytes], head: RequestHead) -> None:
    _read_request_line(lines.pop(0), head)
    try:
        sort_fields(head, lines)
    except httptools.HttpParserError as error:
        raise _explained(error, head, lines) from error
    noted = head.noted
    hosts = noted.get(b"host", ())
    if len(hosts) != 1 and (head.minor or hosts):
        raise MalformedRequest("exactly one Host field is needed")
    if hosts and not _is_authority(hosts[0]):
        raise MalformedRequest("invalid Host")
    if head.path[:1] != b"/":
        _read_other_target(head)
    if b"connection" in noted and not settles_simply(head):
        _read_connection(head)
    if b"transfer-encoding" in noted:
        _read_transfer_encoding(head)
    elif b"content-length" in noted:
        head.content_length = length_of(head)
        if head.content_length is None:
            raise MalformedRequest("invalid Content-Length")


def _read_request_line(line: bytes, head: RequestHead) -> None:
    seen = _seen.get(line)
    if seen is None:
        _parse_request_line(line, head)
        if not head.query and len(line) <= _LONGEST_REMEMBERED:  # a query may hold a secret
            if len(_seen) >= _MOST_REMEMBERED:
                _seen.clear()
            _seen[line] = head.method, head.target, head.path, head.minor
    else:
        head.method, head.target, head.path, head.minor = seen
        if not head.minor:
            head.keep_alive = False


def _parse_request_line(line: bytes, head: RequestHead) -> None:
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
    head.path, _, head.query = head.target.partition(b"?")


@lru_cache(maxsize=256)
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
    """Settle the authority and the path of an absolute-form target or an asterisk (RFC 9112 section 3.2)."""
    if head.target == b"*":
        if head.method != b"OPTIONS":
            raise MalformedRequest("the target * is for OPTIONS only")
        return
    absolute = _ABSOLUTE(head.target)
    if absolute is None or not _is_authority(absolute[1]):
        raise MalformedRequest("invalid request target")
    head.noted[b"host"] = (absolute[1],)
    path, question_mark, head.query = absolute[2].partition(b"?")
    head.path = path or (b"*" if head.method == b"OPTIONS" and not question_mark else b"/")
    head.target = head.path + question_mark + head.query


def _read_connection(head: RequestHead) -> None:
    tokens = connection_tokens(head)
    if b"upgrade" in tokens:
        head.upgrade = _wanted_protocol(head)
    nominated = tokens - PLAIN_TOKENS
    if nominated:
        for name in nominated:
            if name in _NOT_NOMINABLE or name.startswith(_NOT_NOMINABLE_PREFIXES) or head.fates.is_identity(name):
                raise MalformedRequest("Connection names a field that is not hop-by-hop")
        drop_fields(head, nominated)


def _wanted_protocol(head: RequestHead) -> bytes | None:
    """The protocol to switch to (RFC 9110 section 7.8).

    None for what would carry further HTTP requests past the proxy (h2c and TLS) or has a body: Upgrade is then
    left out, as a server may, and the request goes on as it is.
    """
    protocols = head.noted.get(b"upgrade", ())
    if len(protocols) != 1 or head.minor == 0 or head.noted.keys() & {b"content-length", b"transfer-encoding"}:
        return None
    protocol = protocols[0]
    return None if protocol.lower().startswith(_PAST_THE_PROXY) or not _PROTOCOL(protocol) else protocol


def drop_fields(head: RequestHead, names: AbstractSet[bytes]) -> None:
    """Leave out fields as if they had not been sent; `names` are lower-case."""
    kept: list[bytes] = []
    sourced = dict(head.sourced)
    head.sourced = []
    for index, line in enumerate(head.lines):
        if line.partition(b":")[0].lower() in names:
            continue
        if index in sourced:
            head.sourced.append((len(kept), sourced[index]))
        kept.append(line)
    head.lines = kept
    for name in names:
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


def _unknown_coding(codings: Sequence[bytes]) -> MalformedRequest:
    names = tokens_of(codings) - {b"chunked", b""}
    if names and all(_TOKEN(name) for name in names):
        return MalformedRequest("unknown transfer coding", 501, RequestFault.TRANSFER_CODING)
    return MalformedRequest("Transfer-Encoding must be exactly chunked")


def _explained(error: Exception, head: RequestHead, lines: Sequence[bytes]) -> MalformedRequest:
    """Say what llhttp refused; a transfer coding that it does not know deserves its own status."""
    data = b"\r\n".join((b"", *lines, b""))
    codings = [match[1] for match in _TRANSFER_ENCODING(data)]
    if codings and head.minor and not _CONTENT_LENGTH(data):
        fault = _unknown_coding(codings)
        if fault.status == 501:
            return fault
    return MalformedRequest(f"malformed header field: {error}")
