"""One client connection: reads requests one after another, starts an exchange for each, writes what it says.

Requests on a connection are served strictly in order; what a client sends ahead is buffered, to a bound.
What is refused here never reaches an upstream. Neighbours: `listener` accepts, `handler` answers.
"""

import asyncio
import socket
import struct
from enum import Enum, auto
from typing import Final, cast

from proxy.core.errors import MalformedBody, MalformedRequest, RequestFault
from proxy.core.fields import DROP_UNTRUSTED
from proxy.core.framing import BodyReader, request_body
from proxy.core.heads import RequestHead
from proxy.core.intake import take_head
from proxy.core.model import OTHER_OPERATION, PROXY_SOURCE
from proxy.net.answers import problem
from proxy.net.generation import Generation
from proxy.net.handler import Exchange
from proxy.net.plane import DataPlane
from proxy.net.record import log_refusal
from proxy.settings.schema import Limits
from proxy.telemetry.metrics import ClientErrorKind

NEVER: Final = float("inf")
_WORTH_JOINING: Final = 16 * 1024  # bytes
_MOST_AHEAD: Final = 64 * 1024  # bytes of pipelined requests
_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 1024 * 1024
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # close with a reset
_FORWARDED_CLAIMS: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"))


class Phase(Enum):
    """What the connection is doing."""

    IDLE = auto()
    """No byte of a next request yet."""
    HEAD = auto()
    """A head has begun."""
    BODY = auto()
    """An exchange runs and its request's body is still coming."""
    ANSWER = auto()
    """An exchange runs, its request is whole."""
    TUNNEL = auto()
    """The protocol was switched: bytes go both ways, unread."""
    CLOSING = auto()
    """The last answer is written; what still arrives is read and thrown away, so that no reset destroys it."""
    CLOSED = auto()


class Downstream(asyncio.BufferedProtocol):
    """The client's side of the proxy, one instance a connection.

    `deadline` is on the plane's clock; the listener's sweep calls `on_deadline` when it is past.
    `may_keep_alive` is settled anew by each request.
    """

    __slots__ = (
        "_body", "_buffer", "_memory", "_paused", "_paused_body", "_phase", "_plane", "_pumping", "_stalled_at",
        "_thrown_away", "_transport", "_unsent", "deadline", "exchange", "generation", "may_keep_alive", "peer",
        "snapshot", "trusted",
    )  # fmt: skip

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._memory = plane.memory
        self.generation = plane.generation
        self.snapshot = self.generation.snapshot
        self._phase = Phase.IDLE
        self._transport: asyncio.Transport
        self._buffer = b""
        self._body: BodyReader | None = None
        self._pumping = False
        self._paused = False
        self._paused_body = False
        self._stalled_at: int | None = None
        self._unsent = 0
        self._thrown_away = 0
        self.exchange: Exchange | None = None
        self.deadline = NEVER
        self.may_keep_alive = True
        self.peer: bytes | None = None
        self.trusted = False

    def __repr__(self) -> str:
        return f"<Downstream {self.peer!r} {self._phase.name} buffered={len(self._buffer)} {self.exchange!r}>"

    # connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(0)  # what the client does not take at once is held, and counted
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else None
        self.peer = address.encode() if address is not None else None
        self.trusted = self.snapshot.trusts(address)
        plane = self._plane
        plane.connections.add(self)
        self.deadline = plane.clock() + self.snapshot.limits.header_timeout
        if len(plane.connections) > plane.most_connections:
            self._refuse(MalformedRequest("too many connections", 503, RequestFault.CONNECTION_LIMIT), linger=False)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """See asyncio.Protocol."""
        self._phase = Phase.CLOSED
        self._count_unsent(0)
        self._plane.connections.discard(self)
        self._buffer = b""
        if self.exchange is not None:
            self.exchange.on_client_gone()
            self.exchange = None

    def adopt(self, generation: Generation) -> None:
        """Take over what the next request is to be served with."""
        self.generation = generation
        self.snapshot = generation.snapshot
        self.trusted = self.snapshot.trusts(self.peer.decode() if self.peer is not None else None)

    def eof_received(self) -> bool:
        """See asyncio.Protocol: a client that has closed its side while it waits has gone (contract section 4)."""
        if self.exchange is not None:
            self.exchange.on_client_gone()
            self.exchange = None
            self._phase = Phase.CLOSED
            self._transport.abort()
        return False

    # bytes in

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio names it
        """See asyncio.BufferedProtocol."""
        return self._memory.view

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        data = self._memory.view[:nbytes].tobytes()
        phase = self._phase
        if phase is Phase.IDLE or phase is Phase.HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._pump()
            if self._stalled_at is not None:
                self._update_reading()
        elif phase is Phase.BODY:
            self._read_body(data)
        elif phase is Phase.ANSWER:
            self._keep_ahead(data)
        elif phase is Phase.TUNNEL:
            if self.exchange is not None:
                self.exchange.on_tunnel_data(data)
        elif phase is Phase.CLOSING:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_BYTES:
                self._transport.abort()

    def _keep_ahead(self, data: bytes) -> None:
        """Buffer pipelined bytes, and stop reading when there are enough of them."""
        self._buffer += data
        if len(self._buffer) > _MOST_AHEAD:
            self._update_reading()

    def _pump(self) -> None:
        """Start requests from the buffer until one is not answered at once; a loop, so that no depth builds up."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._buffer and self.exchange is None and self._phase in (Phase.IDLE, Phase.HEAD):
                if self._stalled_at is not None or not self._start_request():
                    break
        finally:
            self._pumping = False

    def _start_request(self) -> bool:
        """Start the request at the front of the buffer; False when its head is not whole yet, or refused."""
        generation = self._plane.generation
        if generation is not self.generation:
            self.adopt(generation)
        snapshot = self.snapshot
        head = None
        try:
            head, rest = take_head(self._buffer, snapshot.head_limits, snapshot.request_fates)
            if head is None:
                self._buffer = rest
                if rest[0] not in b"\r\n":  # an empty line after a body begins nothing
                    self._await_head()
                return False
            _check_sizes(head, snapshot.limits)
        except MalformedRequest as fault:
            self._refuse(fault, head)
            return False
        self._buffer = b""
        self._begin(head, rest)
        return True

    def _await_head(self) -> None:
        """A head has begun: it has its time from the first byte on."""
        if self._phase is Phase.IDLE:
            self._phase = Phase.HEAD
            self.deadline = self._plane.clock() + self.snapshot.limits.header_timeout

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        if not self.trusted:
            self._note_untrusted(head)
        self.may_keep_alive = head.keep_alive and not self._plane.draining
        self.exchange = exchange = Exchange(self._plane, self, head)
        body = request_body(head)
        if body is None:
            self._phase = Phase.ANSWER
            self.deadline = NEVER
            self._buffer = rest
            exchange.start()
        else:
            self._body = body
            self._phase = Phase.BODY
            self.deadline = NEVER
            if not exchange.request_body.held_back:
                self.expect_body()
            if rest:
                self._read_body(rest, starting=True)
            if self._serves(exchange):
                exchange.start()

    def _serves(self, exchange: Exchange) -> bool:
        return self.exchange is exchange

    def _note_untrusted(self, head: RequestHead) -> None:
        if not head.told & DROP_UNTRUSTED:
            return
        claims = not _FORWARDED_CLAIMS.isdisjoint(head.noted)
        if claims or (head.sourced and any(fate & DROP_UNTRUSTED for _, fate in head.sourced)):
            plane = self._plane
            plane.metrics.client_erred(ClientErrorKind.FORWARDED_UNTRUSTED)
            if not plane.said_untrusted:
                plane.said_untrusted = True
                plane.events.warning("forwarded_untrusted", peer=(self.peer or b"").decode("latin-1"))

    def expect_body(self) -> None:
        """Bound the time until more of the request body comes."""
        self.deadline = self._plane.clock() + self.snapshot.limits.body_timeout

    def _read_body(self, data: bytes, *, starting: bool = False) -> None:
        body, exchange = self._body, self.exchange
        if body is None or exchange is None:
            return
        pieces: list[bytes] = []
        try:
            used = body.feed(data, pieces)
        except MalformedBody as error:
            self._refuse_body(exchange, 400, str(error), RequestFault.MALFORMED, starting=starting)
            return
        received = exchange.request_body.received + sum(map(len, pieces))
        if received > self.snapshot.limits.body_bytes:
            self._refuse_body(exchange, 413, "body too large", RequestFault.TOO_LARGE, starting=starting)
            return
        if body.complete:
            self._body = None
            self._phase = Phase.ANSWER
            self.deadline = NEVER
            self._buffer = data[used:]
        elif not self._paused_body:
            self.expect_body()
        exchange.on_body(pieces, complete=body.complete, trailers=body.trailers)

    def _refuse_body(
        self, exchange: Exchange, status: int, detail: str, fault: RequestFault, *, starting: bool
    ) -> None:
        """Refuse a request by its body: before the exchange has started nothing has gone upstream."""
        if starting:
            self.exchange = None
            self._refuse(MalformedRequest(detail, status, fault), exchange.head)
        else:
            self._plane.metrics.client_erred(fault)
            exchange.refuse(status, detail)

    # bytes out

    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._transport.write(data)
        if self._stalled_at is not None:  # the transport keeps all of it until the last byte is out
            self._count_unsent(self._unsent + len(data))

    def write_parts(self, parts: list[bytes]) -> None:
        """Send to the client in one system call; large parts as they lie, for copying them would cost more."""
        size = 0
        for part in parts:
            size += len(part)
        if len(parts) == 1:
            self.write(parts[0])
        elif size <= _WORTH_JOINING:
            self.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
            if self._stalled_at is not None:
                self._count_unsent(self._unsent + size)

    def start_tunnel(self) -> None:
        """Pass bytes through from here on, those first that were sent ahead."""
        self._phase = Phase.TUNNEL
        self.may_keep_alive = False
        ahead, self._buffer = self._buffer, b""
        self._update_reading()
        if ahead and self.exchange is not None:
            self.exchange.on_tunnel_data(ahead)

    def on_response_end(self) -> None:
        """Go on to the next request, or close."""
        request_whole = self._phase is Phase.ANSWER
        self.exchange = None
        if self.may_keep_alive and request_whole and not self._plane.draining:
            self._phase = Phase.IDLE
            if self._stalled_at is None:  # else the slow reader's time runs
                self.deadline = self._plane.clock() + self.snapshot.limits.keepalive_timeout
            self._paused_body = False
            if self._buffer:
                self._pump()
            self._update_reading()
        else:
            self._close_gently()

    def _close_gently(self) -> None:
        """Flush and close; what the client still sends is read for a moment, or a reset could eat the answer."""
        self._phase = Phase.CLOSING
        self._buffer = b""
        self._body = None
        self._paused_body = False
        self._update_reading()
        patience = _LINGER_S if self._stalled_at is None else self.snapshot.limits.body_timeout
        self.deadline = self._plane.clock() + patience
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _close_flushed(self) -> None:
        """Close as soon as what is written is out; a reader that takes nothing is cut off."""
        self._phase = Phase.CLOSING
        self.deadline = self._plane.clock() + _LINGER_S
        self._transport.close()

    def break_off(self, *, reset: bool) -> None:
        """Close so that the client can't take the response for whole; with a reset where only that tells."""
        self.exchange = None
        self._phase = Phase.CLOSED
        if reset:
            sock = self._transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()
        else:
            self._close_flushed()

    def _refuse(self, fault: MalformedRequest, head: RequestHead | None = None, *, linger: bool = True) -> None:
        """Answer a request that never became an exchange, and close; at once where the descriptor is what is short."""
        plane = self._plane
        plane.metrics.client_erred(fault.fault)
        plane.metrics.answered(PROXY_SOURCE, OTHER_OPERATION, fault.status, 0.0)
        request_id = plane.ids.new_request_id()
        log_refusal(plane, request_id, fault, head)
        added = b"X-Request-Id: %b\r\nConnection: close\r\n" % request_id
        method = fault.method if head is None else head.method
        self.write(problem(fault.status, fault.detail, request_id, added, with_body=method != b"HEAD"))
        if linger:
            self._close_gently()
        else:
            self._close_flushed()

    # flow control

    def pause_body(self) -> None:
        """Stop reading the request body: the upstream is behind."""
        if self._phase in (Phase.BODY, Phase.TUNNEL) and not self._paused_body:
            self._paused_body = True
            if self._phase is Phase.BODY:
                self.deadline = NEVER
            self._update_reading()

    def resume_body(self) -> None:
        """Read the request body again."""
        if self._paused_body:
            self._paused_body = False
            if self._phase is Phase.BODY:
                self.expect_body()
            self._update_reading()

    def _update_reading(self) -> None:
        waiting = self._phase is Phase.ANSWER or self._stalled_at is not None
        paused = self._paused_body or (waiting and len(self._buffer) > _MOST_AHEAD)
        if paused is self._paused or self._transport.is_closing():
            return
        self._paused = paused
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client reads slowly."""
        self._stalled_at = self._transport.get_write_buffer_size()
        self.deadline = self._plane.clock() + self.snapshot.limits.body_timeout
        if self.exchange is not None:
            self.exchange.on_client_writable(writable=False)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._stalled_at = None
        self._count_unsent(0)
        self._update_reading()
        if self.exchange is not None:
            self.deadline = NEVER
            if self._phase is Phase.BODY and not self._paused_body:
                self.expect_body()
            self.exchange.on_client_writable(writable=True)
        elif self._phase is Phase.IDLE:
            self.deadline = self._plane.clock() + self.snapshot.limits.keepalive_timeout
            self._pump()
        elif self._phase is Phase.CLOSING:
            self.deadline = self._plane.clock() + _LINGER_S

    # time

    def on_deadline(self, now: float) -> None:
        """Act on the passing of `deadline`."""
        if self._stalled_at is not None:
            self._check_stall(now)
        elif self._phase is Phase.HEAD:
            self._refuse(MalformedRequest("the head came too slowly", 408, RequestFault.HEADER_TIMEOUT))
        elif self._phase is Phase.BODY and self.exchange is not None:
            self._plane.metrics.client_erred(RequestFault.BODY_TIMEOUT)
            self.exchange.refuse(408, "the body came too slowly")
        elif self._phase is Phase.CLOSING and self._transport.get_write_buffer_size():
            self._stalled_at = self._transport.get_write_buffer_size()
            self.deadline = now + self.snapshot.limits.body_timeout
        else:
            self._transport.abort()

    def _check_stall(self, now: float) -> None:
        """Give a slow reader time as long as it takes something; close on one that takes nothing."""
        size = self._transport.get_write_buffer_size()
        if self._stalled_at is not None and size < self._stalled_at:
            self._stalled_at = size
            self.deadline = now + self.snapshot.limits.body_timeout
            return
        self._plane.metrics.client_erred(ClientErrorKind.SLOW_READER)
        self._transport.abort()

    def _count_unsent(self, size: int) -> None:
        self._memory.add(size - self._unsent)
        self._unsent = size

    @property
    def stalled(self) -> bool:
        """Whether the client takes no more for now."""
        return self._stalled_at is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._phase is Phase.IDLE

    def drain(self) -> None:
        """Make the request that is under way, or else the next, the last."""
        self.may_keep_alive = False

    def end(self) -> None:
        """Close at the end of a drain; what is still under way, or does not end, is cut off."""
        if self._phase is Phase.IDLE:
            self._close_gently()
        else:
            self._transport.abort()


def _check_sizes(head: RequestHead, limits: Limits) -> None:
    if len(head.target) > limits.uri_bytes:
        raise MalformedRequest("request target too long", 414, RequestFault.URI_TOO_LONG)
    if head.content_length is not None and head.content_length > limits.body_bytes:
        raise MalformedRequest("body too large", 413, RequestFault.TOO_LARGE)
