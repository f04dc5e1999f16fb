"""Where a body ends: counted, chunked, or at the close of the connection (RFC 9112 section 6.3).

The readers take bytes in any portions, hand out the content without its framing, and say where in the last
portion the message ended, so that what follows is never mistaken for it. Strict: a chunk-size line, a chunk
end or a trailer that breaks the grammar raises MalformedBody; nothing is guessed.

Neighbours: `heads` says which kind of body follows; `net.downstream` and `net.upstream` feed the bytes.
"""

import re
from enum import Enum, auto
from typing import Final, Protocol

from proxy.core.errors import MalformedBody
from proxy.core.fields import PASS, FieldTable
from proxy.core.heads import RequestHead, ResponseHead

_MOST_SIZE_LINE: Final = 1024  # a size with its extensions
_MOST_TRAILER_BYTES: Final = 8192
_MOST_PIECES: Final = 64
_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    rb"(?:[ \t]*=[ \t]*(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*\"))?)*"
).fullmatch
_TRAILER_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*+([\t -~\x80-\xff]*)").fullmatch
# RFC 9110 section 6.5.1: what decides framing, routing, authentication or content handling is never a trailer.
_NOT_TRAILERS: Final = frozenset(
    (b"host", b"authorization", b"cookie", b"set-cookie", b"connection", b"transfer-encoding", b"trailer", b"te",
     b"upgrade", b"keep-alive", b"cache-control", b"expect", b"max-forwards", b"pragma", b"range", b"www-authenticate",
     b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"age", b"date", b"location", b"vary",
     b"forwarded", b"traceparent", b"x-request-id", b"x-user-id")
)  # fmt: skip
_NOT_TRAILER_PREFIXES: Final = (b"content-", b"x-cutover-", b"x-forwarded-", b"if-")


def gather(pieces: list[bytes]) -> None:
    """Make one of many pieces: content in tiny chunks would cost twenty times its size to hold, piece by piece."""
    if len(pieces) > _MOST_PIECES:
        pieces[:] = (b"".join(pieces),)


class BodyReader(Protocol):
    """Takes a body's bytes as they come."""

    complete: bool
    trailers: list[bytes]

    def feed(self, data: bytes, out: list[bytes]) -> int:
        """Append the content found in `data` to `out`; return how many bytes of `data` were the body's.

        Fewer than len(data) only once `complete`. Raises MalformedBody.
        """


class CountedBody:
    """A body of a known length."""

    __slots__ = ("complete", "remaining", "trailers")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.complete = length == 0
        self.trailers: list[bytes] = []

    def __repr__(self) -> str:
        return f"<CountedBody {self.remaining} bytes to come>"

    def feed(self, data: bytes, out: list[bytes]) -> int:
        """See BodyReader."""
        size = len(data)
        if size < self.remaining:
            self.remaining -= size
            if size:
                out.append(data)
            return size
        taken = self.remaining
        self.remaining = 0
        self.complete = True
        if taken:
            out.append(data if taken == size else data[:taken])
        return taken


class UntilClose:
    """A response body that the end of the connection ends; it is complete when the connection says so."""

    __slots__ = ("complete", "trailers")

    def __init__(self) -> None:
        self.complete = False
        self.trailers: list[bytes] = []

    def __repr__(self) -> str:
        return "<UntilClose>"

    def feed(self, data: bytes, out: list[bytes]) -> int:
        """See BodyReader."""
        out.append(data)
        return len(data)


class _At(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    DONE = auto()


class ChunkedBody:
    """A chunked body (RFC 9112 section 7.1), its chunk extensions read over and left out.

    `trailers` are the trailer lines fit to be forwarded; those that RFC 9110 section 6.5.1 forbids are dropped, and
    those that mean something to the proxy or may not pass as fields by `fates`.
    """

    __slots__ = ("_at", "_fates", "_left", "_pending", "_trailer_bytes", "complete", "trailers")

    def __init__(self, fates: FieldTable | None = None) -> None:
        self._at = _At.SIZE
        self._fates = fates
        self._left = 0
        self._pending = b""
        self._trailer_bytes = 0
        self.complete = False
        self.trailers: list[bytes] = []

    def __repr__(self) -> str:
        return f"<ChunkedBody {self._at.name} left={self._left}>"

    def feed(self, data: bytes, out: list[bytes]) -> int:
        """See BodyReader."""
        carried = len(self._pending)
        if carried:
            data = self._pending + data
            self._pending = b""
        position, size = 0, len(data)
        while position < size and self._at is not _At.DONE:
            if self._at is _At.DATA:
                position = self._take_data(data, position, out)
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._keep_partial_line(data[position:])
                position = size
                break
            self._take_line(data[position:end])
            position = end + 2
        gather(out)
        self.complete = self._at is _At.DONE
        return position - carried

    def _take_data(self, data: bytes, position: int, out: list[bytes]) -> int:
        piece = data[position : position + self._left]
        out.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._at = _At.DATA_END
        return position + len(piece)

    def _keep_partial_line(self, partial: bytes) -> None:
        """Hold an unfinished line, having refused what no longer can become a good one."""
        limit = _MOST_TRAILER_BYTES if self._at is _At.TRAILERS else _MOST_SIZE_LINE
        if len(partial) > limit:
            raise MalformedBody("overlong line in a chunked body")
        if b"\n" in partial or b"\r" in partial[:-1]:
            raise MalformedBody("bare CR or LF in a chunked body")
        if self._at is _At.DATA_END and partial != b"\r":
            raise MalformedBody("chunk longer than its size")
        self._pending = partial

    def _take_line(self, line: bytes) -> None:
        if self._at is _At.SIZE:
            match = _SIZE_LINE(line) if len(line) <= _MOST_SIZE_LINE else None
            if match is None:
                raise MalformedBody("invalid chunk size line")
            self._left = int(match[1], 16)
            self._at = _At.DATA if self._left else _At.TRAILERS
        elif self._at is _At.DATA_END:
            if line:
                raise MalformedBody("chunk longer than its size")
            self._at = _At.SIZE
        elif line:
            self._take_trailer(line)
        else:
            self._at = _At.DONE

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        match = _TRAILER_LINE(line)
        if match is None or self._trailer_bytes > _MOST_TRAILER_BYTES:
            raise MalformedBody("invalid trailer")
        name = match[1].lower()
        if name in _NOT_TRAILERS or name.startswith(_NOT_TRAILER_PREFIXES):
            return
        if self._fates is None or self._fates.fate_of(name) == PASS:
            self.trailers.append(match[1] + b": " + match[2].rstrip(b" \t"))


def request_body(head: RequestHead) -> BodyReader | None:
    """The reader for a request's body, or None when it has none."""
    if head.chunked:
        return ChunkedBody(head.fates)
    if head.content_length:
        return CountedBody(head.content_length)
    return None


def response_body(head: ResponseHead, method: bytes) -> BodyReader | None:
    """The reader for the body of a final response to `method`, or None when there can be none."""
    if method == b"HEAD" or head.status in (204, 304):
        return None
    if head.status == 101:
        return UntilClose()  # no body, but bytes of another protocol
    if head.chunked:
        return ChunkedBody(head.fates)
    if head.content_length is not None:
        return CountedBody(head.content_length) if head.content_length else None
    return UntilClose()


LAST_CHUNK: Final = b"0\r\n\r\n"


def chunk_of(piece: bytes) -> bytes:
    """One chunk holding `piece`, which is not empty."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body with its trailer lines."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"\r\n".join(trailers) + b"\r\n\r\n"
