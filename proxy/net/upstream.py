"""One connection to an upstream: bytes in, a response's parts out, strictly in step with one attempt.

Whatever arrives while no attempt is under way, or after a response's end, belongs to nobody: the connection
is closed and the bytes go nowhere. Neighbours: `pool` lends connections, `attempt` receives the parts.
"""

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, cast

from proxy.core.errors import MalformedBody, MalformedResponse
from proxy.core.framing import BodyReader, UntilClose, response_body
from proxy.core.heads import HEAD_END, ResponseHead
from proxy.core.model import FailureKind
from proxy.core.response_head import ResponseRules, read_response
from proxy.net.tls import ResumingContext

if TYPE_CHECKING:
    from proxy.net.pool import Pool

_MOST_INTERIM: Final = 32  # 1xx heads before a final one; more is a storm


class ResponseSink:
    """An attempt as its connection sees it. After `on_lost` or the last `on_parts` it hears nothing more.

    `upgrade` is the protocol asked for, if a 101 is in order at all. A base class and no protocol: mypyc calls the
    methods of a class without looking them up.
    """

    __slots__ = ("method", "rules", "upgrade")

    def __init__(self, rules: ResponseRules, method: bytes, upgrade: bytes | None) -> None:
        self.rules = rules
        self.method = method
        self.upgrade = upgrade

    def on_interim(self, head: ResponseHead) -> None:
        """A 1xx head arrived."""
        raise NotImplementedError

    def on_parts(self, head: ResponseHead | None, pieces: list[bytes], body: BodyReader | None) -> None:
        """The final head (once, first) and content arrived; `body` None or complete means that was all."""
        raise NotImplementedError

    def on_lost(self, kind: FailureKind, *, stale: bool) -> None:
        """The connection failed. `stale`: it had been pooled and closed before a single byte came back."""
        raise NotImplementedError

    def on_upstream_writable(self, *, writable: bool) -> None:
        """The upstream stopped or resumed taking the request body."""
        raise NotImplementedError


class _State(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    CLOSED = auto()


class UpstreamConnection(asyncio.BufferedProtocol):
    """An upstream connection; lent to one attempt at a time through `begin`."""

    __slots__ = (
        "_body",
        "_buffer",
        "_interim",
        "_memory",
        "_paused",
        "_pool",
        "_pooled",
        "_sink",
        "_state",
        "_transport",
        "_unsent",
        "blocked",
        "idle_since", "made_at",
        "requests",
    )  # fmt: skip

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._memory = pool.memory
        self._transport: asyncio.Transport | None = None
        self._sink: ResponseSink | None = None
        self._state = _State.IDLE
        self._buffer = b""
        self._body: BodyReader | None = None
        self._interim = 0
        self._paused = False
        self.idle_since = 0.0
        self.made_at = 0.0
        self._pooled = False
        self.blocked = False
        self._unsent = 0
        self.requests = 0

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self._state.name} requests={self.requests}>"

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        return self._state is _State.CLOSED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        if transport.get_extra_info("ssl_object") is None:
            self._transport.set_write_buffer_limits(0)  # what the peer does not take at once is held, and counted
        self.made_at = self._pool.now()

    def begin(self, sink: ResponseSink, request: bytes) -> None:
        """Start an exchange: send `request` (a head, and body bytes if there are any yet)."""
        self._sink = sink
        self._state = _State.HEAD
        self._interim = 0
        self.requests += 1
        self._write(request)

    def send(self, data: bytes) -> None:
        """Send more of the request body."""
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
            if self.blocked:  # the transport keeps all of it until the last byte is out
                self._count_unsent(self._unsent + len(data))

    def rest(self) -> None:
        """Become idle: from here on any byte that arrives is a fault."""
        self.idle_since = self._pool.now()
        if not self._pooled:
            self._pooled = True
            self._remember_session()

    def _remember_session(self) -> None:
        """Let the next connection resume this one's TLS session, of which the ticket has come by now."""
        if self._transport is not None:
            tls = self._transport.get_extra_info("ssl_object")
            if tls is not None and isinstance(tls.context, ResumingContext):
                tls.context.remember(tls)

    def pause(self) -> None:
        """Stop reading: the client is slower than the upstream."""
        if not self._paused and self._transport is not None and self._state is not _State.CLOSED:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._transport is not None:
            self._paused = False
            if self._state is not _State.CLOSED:
                self._transport.resume_reading()

    def finish(self, *, reusable: bool) -> None:
        """End the exchange: back to the pool if nothing odd happened, else closed."""
        self._sink = None
        self._body = None
        if reusable and self._state is _State.IDLE:
            self.resume()
            self._pool.release(self)
        else:
            self.close()

    def close(self) -> None:
        """Close at once; the attempt, if any, is told nothing."""
        if self._closes() and self._transport is not None:
            self._transport.abort()

    def hang_up(self) -> None:
        """Close once what was sent is out, as a tunnel's end must."""
        if self._closes() and self._transport is not None:
            self._transport.close()

    def _closes(self) -> bool:
        self._sink = None
        if self._state is _State.CLOSED:
            return False
        self._state = _State.CLOSED
        self._pool.discard(self)
        return True

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio names it
        """See asyncio.BufferedProtocol."""
        return self._memory.view

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        data = self._memory.view[:nbytes].tobytes()
        if self._state is _State.HEAD:
            self._read_head(data)
        elif self._state is _State.BODY:
            self._read_body(None, data)
        else:
            self.close()

    def _read_head(self, data: bytes) -> None:
        sink = self._sink
        assert sink is not None  # noqa: S101 - HEAD is entered by begin(), which sets it
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(HEAD_END)
            if end < 0:
                self._buffer = data
                if len(data) > sink.rules.header_bytes:
                    self._fail(FailureKind.INVALID_RESPONSE)
                return
            try:
                head = self._parse(sink, data[:end])
            except MalformedResponse:
                self._fail(FailureKind.INVALID_RESPONSE)
                return
            data = data[end + 4 :]
            if head.status >= 200 or head.status == 101:
                break
            sink.on_interim(head)
            if self._sink is not sink:
                return
        self._body = response_body(head, sink.method)
        self._state = _State.BODY
        self._read_body(head, data)

    def _parse(self, sink: ResponseSink, data: bytes) -> ResponseHead:
        rules = sink.rules
        lines = data.split(b"\r\n")
        if len(data) > rules.header_bytes or len(lines) - 1 > rules.header_count:
            raise MalformedResponse("head over its limits")
        head = read_response(lines, rules.fates)
        if head.status == 101:
            if sink.upgrade is None or head.upgrade != sink.upgrade.lower():
                raise MalformedResponse("an upgrade nobody asked for")
        elif head.status < 200:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise MalformedResponse("too many interim responses")
        return head

    def _read_body(self, head: ResponseHead | None, data: bytes) -> None:
        sink, body = self._sink, self._body
        assert sink is not None  # noqa: S101 - BODY follows HEAD of the same exchange
        pieces: list[bytes] = []
        used = 0
        if body is not None and data:
            try:
                used = body.feed(data, pieces)
            except MalformedBody:
                self._fail(FailureKind.INVALID_RESPONSE)
                return
        if body is None or body.complete:
            # Bytes after the end are no part of any response: this one is whole, the connection is done for.
            self._state = _State.IDLE if used == len(data) else _State.BODY
        sink.on_parts(head, pieces, body)

    def _fail(self, kind: FailureKind) -> None:
        sink = self._sink
        stale = self._pooled and self._state is _State.HEAD and not self._buffer and not self._interim
        self.close()
        if sink is not None:
            sink.on_lost(kind, stale=stale and kind is FailureKind.RESET)

    def eof_received(self) -> None:
        """See asyncio.Protocol: the end of the connection ends some bodies and breaks all others."""
        if self._state is _State.BODY and isinstance(self._body, UntilClose) and self._sink is not None:
            self._body.complete = True
            self._sink.on_parts(None, [], self._body)
        elif self._state is not _State.CLOSED:
            self._fail(FailureKind.RESET)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """See asyncio.Protocol."""
        self._count_unsent(0)
        if self._state is not _State.CLOSED:
            self._fail(FailureKind.RESET)

    def _count_unsent(self, size: int) -> None:
        self._memory.add(size - self._unsent)
        self._unsent = size

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.blocked = True
        if self._sink is not None:
            self._sink.on_upstream_writable(writable=False)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.blocked = False
        self._count_unsent(0)
        if self._sink is not None:
            self._sink.on_upstream_writable(writable=True)
