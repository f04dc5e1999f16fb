"""Parses the head of a response.

Neighbours: `heads` holds the result and reads the fields, `net.upstream` finds the head's end.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import httptools

from proxy.core.errors import MalformedResponse
from proxy.core.fields import FieldTable
from proxy.core.heads import (
    HEAD_END,
    PLAIN_TOKENS,
    ResponseHead,
    connection_tokens,
    length_of,
    settles_simply,
    sort_fields,
)

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*))?").fullmatch
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))


@dataclass(frozen=True, slots=True)
class ResponseRules:
    """What a response must keep to: the fates of its fields, and the size of its head."""

    fates: FieldTable
    header_bytes: int
    header_count: int


def parse_response(data: bytes, fates: FieldTable) -> ResponseHead:
    """Parse a response head, `data` ending with its empty line. Raises MalformedResponse."""
    return read_response(data[: -len(HEAD_END)].split(b"\r\n"), fates)


def read_response(lines: list[bytes], fates: FieldTable) -> ResponseHead:
    """Read a response head from its lines, which are used up.

    Raises MalformedResponse for an invalid status line or field, both Content-Length and Transfer-Encoding,
    two lengths, or a transfer coding other than chunked. Nothing of such a response may be used.
    """
    head = ResponseHead(fates)
    head.minor, head.status, head.reason = _read_status_line(lines.pop(0))
    head.keep_alive = head.minor == 1
    try:
        sort_fields(head, lines)
    except httptools.HttpParserError as error:
        raise MalformedResponse(f"malformed header field: {error}") from error
    noted = head.noted
    if noted:
        _read_response_framing(head, noted)
    return head


@lru_cache(maxsize=256)
def _read_status_line(line: bytes) -> tuple[int, int, bytes]:
    """The minor version, the status and the reason; few differ, so they are remembered."""
    match = _STATUS_LINE(line)
    if match is None:
        raise MalformedResponse("malformed status line")
    return int(match[1]), int(match[2]), match[3] or b""


def _read_response_framing(head: ResponseHead, noted: dict[bytes, tuple[bytes, ...]]) -> None:
    if b"connection" in noted and not settles_simply(head):
        _read_response_connection(head)
    if b"transfer-encoding" in noted:
        if b"content-length" in noted or head.minor == 0:
            raise MalformedResponse("Transfer-Encoding beside Content-Length or in HTTP/1.0")
        codings = noted[b"transfer-encoding"]
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise MalformedResponse("a transfer coding other than chunked")
        head.chunked = True
    elif b"content-length" in noted:
        head.content_length = length_of(head)
        if head.content_length is None:
            raise MalformedResponse("invalid Content-Length")
        if head.status == 205 and head.content_length:
            raise MalformedResponse("content in a 205, where some clients expect none")  # RFC 9110 section 15.3.6


def _read_response_connection(head: ResponseHead) -> None:
    tokens = connection_tokens(head)
    protocols = head.noted.get(b"upgrade", ())
    if b"upgrade" in tokens and len(protocols) == 1:
        head.upgrade = protocols[0].lower()
    nominated = tokens - PLAIN_TOKENS
    if nominated & _FRAMING:
        raise MalformedResponse("Connection names a field that frames the message")
    if nominated:
        head.lines = [line for line in head.lines if line.partition(b":")[0].lower() not in nominated]
