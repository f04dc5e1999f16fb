"""Takes the next request head off the front of what a client has sent, within limits.

Pure: bytes in, a head and the rest out. Neighbours: `heads` parses, `net.downstream` supplies bytes and keeps time.
"""

from dataclasses import dataclass
from typing import Final

from proxy.core.errors import MalformedRequest, RequestFault
from proxy.core.fields import FieldTable
from proxy.core.heads import HEAD_END, RequestHead
from proxy.core.request_head import read_request

_MOST_LEADING: Final = 8  # bytes of empty lines before a request line (RFC 9112 section 2.2)
_BESIDE_TARGET: Final = 48  # bytes of a request line: a method, a version and two spaces


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bytes of a head and of a target, and the number of fields."""

    header_bytes: int
    header_count: int
    uri_bytes: int


def take_head(data: bytes, limits: HeadLimits, fates: FieldTable) -> tuple[RequestHead | None, bytes]:
    """The first head in `data`, which is not empty, and what follows it; (None, data) while it is not whole.

    Raises MalformedRequest for what is malformed or over a limit, as soon as that shows.
    """
    if data[0] in b"\r\n":
        data = _without_empty_lines(data)
        if not data.strip(b"\r\n"):
            return None, data
    end = data.find(HEAD_END)
    if end < 0:
        # The last bytes may be the beginning of its end: they count for nothing yet.
        _check(data.split(b"\r\n"), len(data), limits, spare_bytes=len(HEAD_END) - 1, spare_lines=1)
        return None, data
    lines = data[:end].split(b"\r\n")
    _check(lines, end, limits)
    return read_request(lines, fates), data[end + 4 :]


def _without_empty_lines(data: bytes) -> bytes:
    """Skip whole empty lines; what may still become one is left as it is."""
    rest = data.lstrip(b"\r\n")
    empty = data[: len(data) - len(rest)]
    unfinished = b"" if rest else b"\r"
    if len(empty) > _MOST_LEADING or empty.replace(b"\r\n", b"") not in (b"", unfinished):
        raise MalformedRequest("malformed request line")
    return rest or empty


def _check(lines: list[bytes], size: int, limits: HeadLimits, *, spare_bytes: int = 0, spare_lines: int = 0) -> None:
    """Refuse a head, or what there is of it, that is too long; `size` is in bytes."""
    if len(lines[0]) > limits.uri_bytes + _BESIDE_TARGET:
        raise MalformedRequest("request target too long", 414, RequestFault.URI_TOO_LONG)
    if size > limits.header_bytes + spare_bytes:
        raise MalformedRequest("head too large", 431, RequestFault.HEADERS_TOO_LARGE)
    if len(lines) - 1 > limits.header_count + spare_lines:
        raise MalformedRequest("too many header fields", 431, RequestFault.HEADERS_TOO_LARGE)
