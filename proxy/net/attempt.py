"""One exchange with one upstream on behalf of one request: send it, collect what comes back, keep its time.

An attempt decides nothing about the request: it tells its exchange what happened (`on_progress`,
`on_attempt_failed`) and stops when told to (`cancel`). It ends exactly once, with one outcome.
Neighbours: `handler` owns it, `pool` lends it a connection, `upstream` feeds it.
"""

from enum import Enum, auto
from typing import Final

from proxy.core.fallback import is_idempotent
from proxy.core.framing import BodyReader, chunk_of, gather, last_chunk
from proxy.core.heads import ResponseHead
from proxy.core.model import FailureKind
from proxy.core.response_head import ResponseRules
from proxy.net.pool import Pool
from proxy.net.upstream import ResponseSink, UpstreamConnection
from proxy.settings.snapshot import SourcePlan

NEVER: Final = float("inf")
_FRESH_ENOUGH_S: Final = 1.0  # a pooled connection older than this is not trusted with a non-idempotent request


class RequestBody:
    """The request body so far, kept for a second attempt while it fits into the replay buffer.

    `kept` is None once it did not fit: then no further attempt is possible. `held_back`: the client sends nothing
    before a 100 (Continue), so it is the upstream that is waited for (RFC 9110 section 10.1.1).
    """

    __slots__ = ("accounted", "chunked", "complete", "held_back", "kept", "received", "trailers")

    def __init__(self, *, complete: bool, chunked: bool, held_back: bool = False) -> None:
        self.complete = complete
        self.held_back = held_back
        self.chunked = chunked
        self.kept: list[bytes] | None = []
        self.received = 0
        self.accounted = 0  # bytes kept, as the process's ledger knows them
        self.trailers: list[bytes] = []

    def __repr__(self) -> str:
        kept = "kept" if self.kept is not None else "not kept"
        return f"<RequestBody {self.received} bytes, {'complete' if self.complete else 'to come'}, {kept}>"

    def framed(self, pieces: list[bytes]) -> bytes:
        """`pieces` as they go on the wire, with the end of the body once it is complete."""
        if not self.chunked:
            return b"".join(pieces)
        chunks = b"".join(map(chunk_of, pieces))
        return chunks + last_chunk(self.trailers) if self.complete else chunks


NO_BODY: Final = RequestBody(complete=True, chunked=False)
"""What every request without a body shares; nobody changes it."""


class OutgoingRequest:
    """What an attempt sends before any body."""

    __slots__ = ("head", "method", "upgrade")

    def __init__(self, method: bytes, head: bytes, upgrade: bytes | None) -> None:
        self.method = method
        self.head = head
        self.upgrade = upgrade

    def __repr__(self) -> str:
        return f"<OutgoingRequest {self.method!r} {len(self.head)} bytes>"


class AttemptOwner:
    """The exchange as its attempts see it: a base class, for mypyc calls its methods without looking them up."""

    __slots__ = ("request_body",)

    def __init__(self, request_body: RequestBody) -> None:
        self.request_body = request_body

    def on_interim(self, head: ResponseHead) -> None:
        """Hear that a 1xx head arrived."""
        raise NotImplementedError

    def on_progress(self, attempt: "Attempt") -> None:
        """Hear that the head or content arrived; look at `attempt.head`, `pieces`, `complete`."""
        raise NotImplementedError

    def on_attempt_failed(self, attempt: "Attempt", kind: FailureKind) -> None:
        """Hear that the attempt ended without a whole response."""
        raise NotImplementedError

    def on_upstream_writable(self, attempt: "Attempt", *, writable: bool) -> None:
        """Hear that an upstream stopped or resumed taking the request body."""
        raise NotImplementedError


class Phase(Enum):
    """Where an attempt stands."""

    WAITING = auto()
    """For a connection: nothing has been sent."""
    SENT = auto()
    ANSWERING = auto()
    """The final head is here."""
    ENDED = auto()


class Attempt(ResponseSink):
    """One exchange with one upstream.

    `pieces` is content received and not yet taken by the exchange, `held` its length in bytes, `accounted` what
    the process's ledger knows of that. `complete` means the response is whole by its framing. `deadline` is on
    the plane's clock, `NEVER` while it does not run. `recorded` is set by the exchange. `sent`: something of the
    request has gone out, if only on a connection that was replaced.
    """

    __slots__ = (
        "_clock", "_connection", "_owner", "_pool", "_remaining_s", "_replaced", "_request_head", "_sent_whole",
        "accounted", "body", "complete", "deadline", "head", "held", "opened", "phase", "pieces", "plan",
        "progress_s", "recorded", "sent", "started",
    )  # fmt: skip

    def __init__(
        self,
        owner: AttemptOwner,
        plan: SourcePlan,
        pool: Pool,
        rules: ResponseRules,
        request: OutgoingRequest,
        timeout_s: float,
    ) -> None:
        """`timeout_s` bounds the attempt until commit."""
        super().__init__(rules, request.method, request.upgrade)
        self._owner = owner
        self.plan = plan
        self._pool = pool
        self._request_head = request.head
        self._clock = pool.now
        self._connection: UpstreamConnection | None = None
        self._replaced = False
        self._sent_whole = False
        self._remaining_s = timeout_s
        self.progress_s = timeout_s
        self.started = now = pool.now()
        self.deadline = now + timeout_s
        self.phase = Phase.WAITING
        self.head: ResponseHead | None = None
        self.body: BodyReader | None = None
        self.pieces: list[bytes] = []
        self.held = 0
        self.accounted = 0
        self.complete = False
        self.recorded = False
        self.sent = False
        self.opened = False

    def __repr__(self) -> str:
        return f"<Attempt on {self.plan.name} {self.phase.name} held={self.held}>"

    def open(self) -> None:
        """Ask for a connection and send the request; the exchange may be called back before this returns."""
        self.opened = True
        limit = NEVER if is_idempotent(self.method) else _FRESH_ENOUGH_S
        self._acquire(self.started, limit)

    def _acquire(self, now: float, idle_at_most_s: float) -> None:
        connection = self._pool.acquire(self, now, idle_at_most_s)
        if connection is not None:
            self.on_connection(connection)

    def on_connection(self, connection: UpstreamConnection) -> None:
        """See pool.Waiter: send the head and what is here of the body, in one write."""
        self._connection = connection
        self.phase = Phase.SENT
        self.sent = True
        body = self._owner.request_body
        if body is NO_BODY:
            self._sent_whole = True
            connection.begin(self, self._request_head)
            return
        self._sent_whole = body.complete
        connection.begin(self, self._request_head + body.framed(body.kept or []))
        if not body.complete and not body.held_back and not connection.blocked:
            self._stop_clock()
        self._owner.on_upstream_writable(self, writable=not connection.blocked)

    def on_unconnected(self, kind: FailureKind) -> None:
        """See pool.Waiter."""
        self._fail(kind)

    def send_body(self, pieces: list[bytes]) -> None:
        """Send body content that has just arrived; while waiting for a connection it stays in `RequestBody`."""
        if self._connection is None:
            return
        body = self._owner.request_body
        data = body.framed(pieces)
        if data:
            self._connection.send(data)
        self._sent_whole = body.complete
        if self.head is None:
            if body.complete:
                self._start_clock()
            elif not self._connection.blocked:
                self._stop_clock()

    def send_through(self, data: bytes) -> None:
        """Send bytes of the protocol that was switched to."""
        if self._connection is not None:
            self._connection.send(data)
            self.expect_progress()

    def hang_up(self) -> None:
        """End a tunnel from the client's side: what the client sent still goes out."""
        if self._connection is not None:
            self._connection.hang_up()
            self._connection = None
        self.cancel()

    @property
    def taking_body(self) -> bool:
        """Whether the upstream is there to take the request body."""
        return self._connection is not None

    def _stop_clock(self) -> None:
        if self.deadline != NEVER:
            self._remaining_s = max(self.deadline - self._clock(), 0.0)
            self.deadline = NEVER

    def _start_clock(self) -> None:
        if self.deadline == NEVER:
            self.deadline = self._clock() + self._remaining_s

    def on_upstream_writable(self, *, writable: bool) -> None:
        """See upstream.ResponseSink: while the upstream does not take the body, the time that runs is its own."""
        if self._owner.request_body.complete and self.upgrade is None:
            return
        if self.head is None:
            if writable and not self._owner.request_body.held_back:
                self._stop_clock()
            else:
                self._start_clock()
        self._owner.on_upstream_writable(self, writable=writable)

    def on_interim(self, head: ResponseHead) -> None:
        """See upstream.ResponseSink: after a 100 it is the client's turn."""
        self._owner.on_interim(head)
        body = self._owner.request_body
        connection = self._connection
        if not body.complete and not body.held_back and connection is not None and not connection.blocked:
            self._stop_clock()

    def on_parts(self, head: ResponseHead | None, pieces: list[bytes], body: BodyReader | None) -> None:
        """See upstream.ResponseSink."""
        if head is not None:
            self.head = head
            self.body = body
            self.phase = Phase.ANSWERING
            self._start_clock()  # whatever the client still sends, the rest of the answer is the upstream's to give
        if pieces:
            for piece in pieces:
                self.held += len(piece)
            self.pieces += pieces
            gather(self.pieces)
        if body is None or body.complete:
            self.complete = True
            self._release()
        self._owner.on_progress(self)

    def _release(self) -> None:
        """Give the connection back; it is fit for another request only if both messages ended well.

        Where a head announces content that must not follow (HEAD, 204, 304), an upstream that sends it all the same
        would answer the next request with it: such a connection is not used again.
        """
        connection, head = self._connection, self.head
        self._connection = None
        self.phase = Phase.ENDED
        self.deadline = NEVER
        if connection is not None and head is not None:
            may_go_on = self.body is None and head.announces_content
            connection.finish(reusable=head.keep_alive and self._sent_whole and not may_go_on)

    def on_lost(self, kind: FailureKind, *, stale: bool) -> None:
        """See upstream.ResponseSink: a stale pooled connection is replaced once, unnoticed; all else is failure."""
        self._connection = None
        body_kept = self._owner.request_body.kept is not None
        if stale and not self._replaced and is_idempotent(self.method) and body_kept:
            self._replaced = True
            self.phase = Phase.WAITING
            self._start_clock()
            self._acquire(self._clock(), -1.0)  # no pooled one is fresh enough
            return
        self._fail(kind)

    def on_deadline(self) -> None:
        """Fail because time is up."""
        if self.phase is not Phase.WAITING:
            self._fail(FailureKind.TIMEOUT)
        elif self.opened and not self._pool.full:
            self._fail(FailureKind.CONNECT_ERROR)
        else:
            self._fail(FailureKind.OVERLOAD)

    def _fail(self, kind: FailureKind) -> None:
        self.cancel()
        self._owner.on_attempt_failed(self, kind)

    def cancel(self) -> None:
        """Stop; the exchange hears nothing more of this attempt."""
        if self.phase is Phase.WAITING:
            self._pool.give_up(self)
        self.phase = Phase.ENDED
        self.deadline = NEVER
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def take(self) -> list[bytes]:
        """Hand over the content received so far."""
        pieces = self.pieces
        if pieces:
            self.pieces = []
            self.held = 0
        return pieces

    def expect_progress(self) -> None:
        """After commit: bound the time without progress instead of the whole."""
        self.deadline = NEVER if self.complete else self._clock() + self.progress_s

    def pause(self) -> None:
        """Stop reading; a side paused by backpressure makes no timeout."""
        if self._connection is not None:
            self._connection.pause()
            if self.head is not None:
                self.deadline = NEVER

    def resume(self) -> None:
        """Read again."""
        if self._connection is not None:
            self._connection.resume()
            self.expect_progress()
