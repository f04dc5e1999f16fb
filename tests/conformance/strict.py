"""A second reader of HTTP/1 messages, written from RFC 9112's grammar and sharing nothing with the code under test.

It accepts less than a server must: what cutover writes has one spelling, and anything else is a fault.
"""

import re
from dataclasses import dataclass

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-\"$-~\x80-\xff]+) HTTP/1\.1")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t -~\x80-\xff]*")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"): ([^\x00-\x08\x0a-\x1f\x7f]*)")
CHUNK_LINE = re.compile(rb"(0|[1-9a-f][0-9a-f]*)")

# What cutover adds to a request, whose values differ from run to run.
ADDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"traceparent", b"via",
         b"x-cutover-source")  # fmt: skip


class Broken(AssertionError):
    """The bytes are no sequence of messages as cutover must write them."""


class Incomplete(Exception):
    """The bytes end within a message."""


@dataclass(frozen=True)
class Message:
    """One message, its chunked framing taken off."""

    start: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""
    trailers: tuple[bytes, ...] = ()

    def all(self, name: bytes) -> list[bytes]:
        return [value.rstrip(b" \t") for key, value in self.fields if key.lower() == name]

    @property
    def status(self) -> int:
        return int(self.start[9:12])

    @property
    def plain(self) -> bytes:
        """The bytes without what cutover adds; a chunked body as one chunk, however it was cut."""
        lines = [self.start, *(b"%b: %b" % field for field in self.fields if field[0].lower() not in ADDED)]
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        if not self.all(b"transfer-encoding"):
            return head + self.body
        chunk = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
        return head + chunk + b"0\r\n" + b"".join(line + b"\r\n" for line in self.trailers) + b"\r\n"


def read_requests(data: bytes) -> tuple[list[Message], bytes]:
    """Whole requests at the front of `data`, and what is left: the beginning of another, or nothing."""
    found = []
    while data:
        try:
            message, data = _read_request(data)
        except Incomplete:
            return found, data
        found.append(message)
    return found, b""


def _read_request(data: bytes) -> tuple[Message, bytes]:
    head, rest = _read_head(data, REQUEST_LINE)
    hosts, lengths, codings = head.all(b"host"), head.all(b"content-length"), head.all(b"transfer-encoding")
    _must(len(hosts) == 1, "exactly one Host", head)
    return _read_content(head, rest, lengths, codings, until_close=False)


def read_answers(data: bytes, methods: list[bytes], *, closed: bool) -> tuple[list[Message], bytes]:
    """Whole responses, interim ones included, to requests with these methods; and what is left."""
    found: list[Message] = []
    asked = iter(methods)
    while data:
        try:
            head, rest = _read_head(data, STATUS_LINE)
            if head.status < 200 and head.status != 101:
                _must(not head.all(b"content-length") and not head.all(b"transfer-encoding"), "1xx framing", head)
                found.append(head)
                data = rest
                continue
            message, data = _read_answer(head, rest, next(asked, b"GET"), closed=closed)
            if head.status == 101:
                return [*found, head], data
        except Incomplete:
            return found, data
        found.append(message)
    return found, b""


def _read_answer(head: Message, rest: bytes, method: bytes, *, closed: bool) -> tuple[Message, bytes]:
    lengths, codings = head.all(b"content-length"), head.all(b"transfer-encoding")
    if method == b"HEAD" or head.status in (101, 204, 304):
        _must(head.status != 204 or not (lengths or codings), "204 framing", head)
        _must(len(lengths) + len(codings) <= 1, "one framing", head)
        return head, rest
    bare = not lengths and not codings
    _must(not bare or closed, "the close must end it", head)
    return _read_content(head, rest, lengths, codings, until_close=bare)


def take_answer(data: bytes, method: bytes, *, closed: bool) -> tuple[Message, bytes]:
    """The one answer to `method` (or interim) that must be at the front of `data`, and what follows it."""
    head, rest = _read_head(data, STATUS_LINE)
    if head.status < 200:
        return head, rest
    return _read_answer(head, rest, method, closed=closed)


def so_far(data: bytes, method: bytes | None = None) -> tuple[Message, bool]:
    """A message that may have only begun, with the content that has come of it; and whether it is whole.

    `method` is that of the request answered, None when the message is itself a request. Only one may be there.
    """
    head, rest = _read_head(data, REQUEST_LINE if method is None else STATUS_LINE)
    lengths, codings = head.all(b"content-length"), head.all(b"transfer-encoding")
    _must(len(lengths) + len(codings) <= 1, "one framing at most", head)
    if method == b"HEAD" or (method is not None and head.status in (204, 304)):
        body, whole = b"", True
    elif codings:
        body, whole, rest = _chunks_so_far(rest)
    elif lengths:
        size = int(lengths[0])
        body, whole, rest = rest[:size], len(rest) >= size, rest[size:]
    else:
        body, whole, rest = (b"", True, rest) if method is None else (rest, False, b"")
    _must(rest == b"", "nothing after the end", rest)
    return Message(head.start, head.fields, body), whole


def _chunks_so_far(data: bytes) -> tuple[bytes, bool, bytes]:
    try:
        body, _, rest = _read_chunks(data)
    except Incomplete:
        body = b""
    else:
        return body, True, rest
    while True:
        line, end, data = data.partition(b"\r\n")
        size = int(line, 16) if end else 0
        if not size:
            return body, False, b""
        body += data[:size]
        data = data[size + 2 :]


def _read_head(data: bytes, start: re.Pattern[bytes]) -> tuple[Message, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise Incomplete
    first, *lines = head.split(b"\r\n")
    _must(start.fullmatch(first) is not None, "start line", first)
    fields = []
    for line in lines:
        match = FIELD_LINE.fullmatch(line)
        _must(match is not None, "field line", line)
        fields.append((match[1], match[2]))
    return Message(first, tuple(fields)), rest


def _read_content(
    head: Message, rest: bytes, lengths: list[bytes], codings: list[bytes], *, until_close: bool
) -> tuple[Message, bytes]:
    _must(len(lengths) + len(codings) <= 1, "one framing at most", head)
    if codings:
        _must(codings == [b"chunked"], "chunked", head)
        body, trailers, rest = _read_chunks(rest)
        return Message(head.start, head.fields, body, trailers), rest
    if until_close:
        return Message(head.start, head.fields, rest), b""
    _must(all(re.fullmatch(rb"[0-9]{1,18}", length) for length in lengths), "Content-Length", head)
    size = int(lengths[0]) if lengths else 0
    if len(rest) < size:
        raise Incomplete
    return Message(head.start, head.fields, rest[:size]), rest[size:]


def _read_chunks(data: bytes) -> tuple[bytes, tuple[bytes, ...], bytes]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise Incomplete
        match = CHUNK_LINE.fullmatch(line)
        _must(match is not None, "chunk size", line)
        size = int(line, 16)
        if not size:
            break
        if len(data) < size + 2:
            raise Incomplete
        _must(data[size : size + 2] == b"\r\n", "chunk end", data[: size + 2])
        body, data = body + data[:size], data[size + 2 :]
    trailers = []
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise Incomplete
        if not line:
            return body, tuple(trailers), data
        _must(FIELD_LINE.fullmatch(line) is not None, "trailer", line)
        trailers.append(line)


def _must(holds: bool, what: str, where: object) -> None:
    if not holds:
        raise Broken(f"{what}: {where!r}")
