"""One request through its five phases: route -> decide -> attempt -> fall back or commit -> record.

The exchange is a set of call-backs on the event loop and starts no task of its own. What to do is decided in
`core`; here it is done. Neighbours: `downstream` starts it and takes what it writes, `attempt` reports to it.
"""

from asyncio import TimerHandle
from typing import TYPE_CHECKING, Final

from proxy.core.breaker import counts_as_failure
from proxy.core.fallback import FallbackPolicy, RequestFacts, Verdict, failure_status, judge_hold, may_fall_back
from proxy.core.framing import chunk_of, last_chunk
from proxy.core.heads import RequestHead, ResponseHead
from proxy.core.model import (
    CLIENT_LEFT,
    OUTCOME_CANCELLED,
    PROXY_SOURCE,
    Decision,
    FailureKind,
    FallbackResult,
    Reason,
    Role,
    status_label,
)
from proxy.core.rewrite import connection_line, exposed_lines, response_bytes, upgrade_lines, via_line
from proxy.core.routing import Operation
from proxy.net.answers import problem
from proxy.net.arrival import decide, hop_of
from proxy.net.attempt import NO_BODY, Attempt, RequestBody
from proxy.net.plane import DataPlane
from proxy.net.probe import Probe
from proxy.net.record import RequestRecord, fallback_result, log_request, outcome_of, record_cache

if TYPE_CHECKING:
    from proxy.net.downstream import Downstream

_READS: Final = frozenset((b"GET", b"HEAD"))
_EVENT_STREAM: Final = b"text/event-stream"


class Exchange:
    """One request and its response. Ends exactly once, with `_record`."""

    __slots__ = (
        "_attempts", "_bytes_out", "_chunked", "_committed", "_decision", "_downstream", "_fallback",
        "_fallback_status", "_head", "_hedge_timer", "_hedged", "_hop", "_operation", "_plane", "_records",
        "_said_continue", "_second", "_snapshot", "_spare", "_started", "ended", "request_body",
    )  # fmt: skip

    def __init__(self, plane: DataPlane, downstream: "Downstream", head: RequestHead) -> None:
        self._plane = plane
        self._downstream = downstream
        self._head = head
        self._started = plane.clock()
        self._snapshot = snapshot = downstream.snapshot
        self.request_body = RequestBody(complete=False, chunked=head.chunked) if head.has_body else NO_BODY
        self._hop = hop_of(plane, head, downstream.peer, trusted=downstream.trusted)
        self._operation: Operation = snapshot.operations.match(head.method, head.path)
        self._decision: Decision = decide(snapshot, self._operation, head, self._hop)
        self._attempts: list[Attempt] = []
        self._records: list[tuple[str, str, int | None, float]] = []
        self._committed: Attempt | None = None
        self._spare: Attempt | None = None  # the target's own answer, should legacy fail too
        self._second: Attempt | None = None  # on legacy, when the first was on the target
        self._hedged = False
        self._hedge_timer: TimerHandle | None = None
        self._fallback: str | None = None
        self._fallback_status: int | None = None
        self._chunked = False
        self._said_continue = False
        self._bytes_out = 0
        self.ended = False

    def __repr__(self) -> str:
        state = "ended" if self.ended else "committed" if self._committed else "undecided"
        return f"<Exchange {self._head!r} {state} {self._attempts!r}>"

    def start(self) -> None:
        """Send the request to the source decided on; may end the exchange before it returns."""
        plane, operation = self._plane, self._operation
        if self._decision.role is Role.TARGET:
            if not plane.breaker.admits(self._started):
                self._avoid_target()
            else:
                hedge_after_s = operation.hedge_after_s or self._snapshot.hedge_after_s
                if hedge_after_s is not None and self._is_plain_read and self._snapshot.fallback.enabled:
                    self._hedge_timer = plane.call_later(hedge_after_s, self._hedge)
        decision = self._decision
        plane.metrics.decided(self._snapshot.source(decision.role).name, operation.name, decision.reason)
        self._new_attempt(decision.role).open()

    @property
    def _is_plain_read(self) -> bool:
        return self._head.method in _READS and self.request_body is NO_BODY and self._head.upgrade is None

    def _avoid_target(self) -> None:
        """Send the user to legacy while the breaker rejects, and perhaps a copy to the target to see how it is."""
        plane = self._plane
        self._decision = Decision(Role.LEGACY, Reason.BREAKER_OPEN, self._decision.bucket)
        probe_round = plane.breaker.wants_probe(self._started) if self._is_plain_read else 0
        if probe_round:
            Probe(plane, self._snapshot, self._operation, self._head, self._hop, probe_round).start()

    # attempt

    def _new_attempt(self, role: Role) -> Attempt:
        attempt = self._plane.new_attempt(self, self._snapshot, role, self._operation, self._head, self._hop)
        self._attempts.append(attempt)
        return attempt

    def _ask_legacy_too(self) -> None:
        """The second attempt, of a fallback or a hedge; there is never a third."""
        self._second = self._new_attempt(Role.LEGACY)
        self._plane.gate.enter(self._second)

    def _hedge(self) -> None:
        """Start legacy too: the target has not answered by now, and whoever is first answers the user."""
        if not self.ended and self._committed is None and self._second is None:
            self._hedged = True
            self._ask_legacy_too()

    def on_body(self, pieces: list[bytes], *, complete: bool, trailers: list[bytes]) -> None:
        """Take request content from the client and pass it on."""
        body = self.request_body
        body.complete = complete
        body.trailers = trailers
        for piece in pieces:
            body.received += len(piece)
        if body.kept is not None:
            body.kept += pieces
        sending = [attempt for attempt in self._attempts if attempt.taking_body]
        for attempt in sending:
            attempt.send_body(pieces)
        if sending:
            self._forget_long_body()
        elif body.received > self._snapshot.fallback.request_buffer:
            self._downstream.pause_body()  # until somebody takes it

    def _forget_long_body(self) -> None:
        """Keep no copy of a body too long to send again; whoever takes it has all of it so far."""
        body = self.request_body
        if body.received > self._snapshot.fallback.request_buffer:
            body.kept = None

    def on_upstream_writable(self, *, writable: bool) -> None:
        """See AttemptOwner: the client is read no faster than the upstream takes its body."""
        if writable:
            self._forget_long_body()
            self._downstream.resume_body()
        else:
            self._downstream.pause_body()

    def on_interim(self, head: ResponseHead) -> None:
        """See AttemptOwner: 1xx goes on to HTTP/1.1 clients, 100 at most once; it never commits."""
        if self._head.minor == 0 or self._committed is not None:
            return
        if head.status == 100:
            if self._said_continue or self.request_body.complete:
                return
            self._said_continue = True
        self._downstream.write(response_bytes(head, b"", b""))

    def on_progress(self, attempt: Attempt) -> None:
        """See AttemptOwner: judge what there is of the answer, or pass it on once committed."""
        if attempt is self._committed:
            self._relay(attempt)
            return
        if attempt.complete:
            self._end_attempt(attempt)
        if attempt.plan.role is Role.LEGACY:
            self._commit(attempt)  # its answer is final whatever it is
        elif attempt is self._spare:
            self._hold(attempt)
        else:
            self._judge(attempt)

    # fall back or commit

    def _judge(self, attempt: Attempt) -> None:
        """Decide about the target's answer as far as it has come."""
        head, policy = attempt.head, self._snapshot.fallback
        assert head is not None  # noqa: S101 - progress starts with the head
        if head.status in policy.statuses:
            self._fallback_status = head.status
            self._end_attempt(attempt)
            if self._fall_back_if_allowed(policy, None, status_label(head.status), spare=attempt):
                return
            self._commit(attempt)
            return
        verdict = judge_hold(
            policy,
            held=attempt.held,
            complete=attempt.complete,
            unbounded=_is_unbounded(head),
            memory_left=self._plane.memory_left,
        )
        if verdict is Verdict.COMMIT:
            self._commit(attempt)
        else:
            self._hold(attempt)

    def on_attempt_failed(self, attempt: Attempt, kind: FailureKind) -> None:
        """See AttemptOwner: fall back, fail, or break off what was already committed."""
        self._end_attempt(attempt, kind)
        if attempt is self._committed:
            self._break_off(attempt)
        elif attempt is self._spare:
            self._spare = None
        elif attempt.plan.role is Role.LEGACY:
            if self._spare is not None:
                self._commit(self._spare)
            elif not self._hedge_goes_on():
                self._fail(kind)
        elif not self._fall_back_if_allowed(self._snapshot.fallback, kind, kind):
            self._fail(kind)

    def _fall_back_if_allowed(
        self, policy: FallbackPolicy, kind: FailureKind | None, reason: str, spare: Attempt | None = None
    ) -> bool:
        """Ask legacy if `core` allows it; `spare` is the target's own answer, should legacy fail too."""
        key = b"idempotency-key" in self._head.noted
        facts = RequestFacts(self._head.method, key, self.request_body.kept is not None)
        if not may_fall_back(policy, facts, kind):
            self._plane.metrics.fell_back(self._operation.name, reason, FallbackResult.SUPPRESSED)
            return False
        second = self._second
        if second is not None and second.recorded:
            return False  # a hedge asked legacy already, and it failed
        self._fallback = reason
        if spare is not None:
            self._spare = spare
            self._hold(spare)
        if second is None:
            self._ask_legacy_too()
        return True

    def _hedge_goes_on(self) -> bool:
        """Whether the target is still being asked, although legacy, hedging it, has failed."""
        return self._hedged and any(not attempt.recorded for attempt in self._attempts)

    def _hold(self, attempt: Attempt) -> None:
        """Account for what is held; a spare that grows too long waits where it is."""
        self._plane.held_bytes += attempt.held - attempt.accounted
        attempt.accounted = attempt.held
        if attempt is self._spare and attempt.held > self._snapshot.fallback.response_buffer:
            attempt.pause()

    def _release_hold(self, attempt: Attempt) -> None:
        if attempt.accounted:
            self._plane.held_bytes -= attempt.accounted
            attempt.accounted = 0

    def _commit(self, attempt: Attempt) -> None:
        """Start the final response: from here on nothing can be asked again."""
        head = attempt.head
        assert head is not None  # noqa: S101 - nothing commits without a head
        self._committed = attempt
        for other in self._attempts:
            if other is not attempt:
                self._abandon(other)
        if self._hedged:
            self._plane.metrics.hedged(self._operation.name, attempt.plan.name)
        self._release_hold(attempt)
        pieces = attempt.take()
        framing = self._choose_framing(attempt, head, pieces)
        data = response_bytes(
            head, framing, self._added_lines(head.status, via_line(head) if self._snapshot.via else b"")
        )
        if pieces:
            data += self._framed(pieces)
        record_cache(self._plane, attempt.plan.name, self._operation.name, head)
        if attempt.complete:
            self._downstream.write(data + self._ending(attempt) if self._chunked else data)
            self._finish(attempt, head.status)
        else:
            limits = self._snapshot.limits
            attempt.progress_s = limits.stream_idle_timeout if _is_unbounded(head) else limits.body_timeout
            attempt.resume()
            self._downstream.write(data)  # may pause the attempt, if the client is slow
            if head.status == 101:
                self._downstream.start_tunnel()

    def _choose_framing(self, attempt: Attempt, head: ResponseHead, pieces: list[bytes]) -> bytes:
        """Settle how the client will know the end of the message; return the line that says so (RFC 9112 section 6)."""
        body = attempt.body
        if head.status == 101:
            return upgrade_lines(head.noted[b"upgrade"][0])
        if body is None or head.content_length is not None:
            return b""
        if attempt.complete and not body.trailers:
            return b"Content-Length: %d\r\n" % sum(map(len, pieces))
        if self._head.minor:
            self._chunked = True
            return b"Transfer-Encoding: chunked\r\n"
        self._downstream.may_keep_alive = False  # HTTP/1.0: the end of the connection
        return b""

    def _added_lines(self, status: int, via: bytes = b"") -> bytes:
        """The lines that the proxy adds to a response; settles whether the client's connection stays open."""
        downstream, decision = self._downstream, self._decision
        keep_alive = downstream.may_keep_alive and self.request_body.complete
        downstream.may_keep_alive = keep_alive
        lines = via + b"X-Request-Id: %b\r\n" % self._hop.request_id
        if status != 101:
            lines += connection_line(self._head, keep_alive=keep_alive)
        if self._snapshot.expose:
            source = self._committed.plan.name if self._committed is not None else PROXY_SOURCE
            return exposed_lines(source, decision.reason, decision.bucket, self._fallback) + lines
        return lines

    def _framed(self, pieces: list[bytes]) -> bytes:
        for piece in pieces:
            self._bytes_out += len(piece)
        if self._chunked:
            return b"".join(map(chunk_of, pieces))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @staticmethod
    def _ending(attempt: Attempt) -> bytes:
        return last_chunk(attempt.body.trailers if attempt.body is not None else [])

    def _relay(self, attempt: Attempt) -> None:
        """Pass on what has come of the committed answer."""
        pieces = attempt.take()
        data = self._framed(pieces) if pieces else b""
        if attempt.complete:
            if self._chunked:
                data += self._ending(attempt)
            if data:
                self._downstream.write(data)
            self._end_attempt(attempt)
            self._finish(attempt, self._status_of(attempt))
        elif data:
            attempt.expect_progress()
            self._downstream.write(data)

    def _finish(self, attempt: Attempt, status: int) -> None:
        self._record(attempt.plan.name, status)
        self._downstream.on_response_end()

    def _break_off(self, attempt: Attempt) -> None:
        """End a committed response that can't be completed, so that the client can't take it for whole."""
        self._plane.metrics.truncated(attempt.plan.name, self._operation.name)
        ends_by_close = not self._chunked and (attempt.head is None or attempt.head.content_length is None)
        self._downstream.break_off(reset=ends_by_close)
        self._record(attempt.plan.name, self._status_of(attempt))

    def _fail(self, kind: FailureKind) -> None:
        """Answer for a source that did not."""
        who = "Neither source" if self._fallback is not None else "The source"
        self._answer_problem(failure_status(kind), f"{who} gave no usable answer ({kind}).")

    def refuse(self, status: int, detail: str) -> None:
        """End the request with an error of the proxy's own; after commit, by breaking off."""
        for attempt in self._attempts:
            self._abandon(attempt)
        if self._committed is not None:
            self._break_off(self._committed)
            return
        self._downstream.may_keep_alive = False
        self._answer_problem(status, detail)

    def _answer_problem(self, status: int, detail: str) -> None:
        head = self._head
        self._downstream.write(
            problem(status, detail, self._hop.request_id, self._added_lines(status), with_body=head.method != b"HEAD")
        )
        self._record(PROXY_SOURCE, status)
        self._downstream.on_response_end()

    # the client's side

    def on_tunnel_data(self, data: bytes) -> None:
        """Pass on bytes of the protocol that was switched to."""
        if self._committed is not None:
            self._committed.send_through(data)

    def on_client_gone(self) -> None:
        """Cancel everything: nobody is there to be answered."""
        if self.ended:
            return
        tunnel = self._committed
        if tunnel is not None and self._status_of(tunnel) == 101:
            tunnel.hang_up()  # either side may end a tunnel
            self._end_attempt(tunnel)
            self._record(tunnel.plan.name, 101)
            return
        for attempt in self._attempts:
            self._abandon(attempt)
        committed = self._committed
        self._record(committed.plan.name if committed is not None else PROXY_SOURCE, CLIENT_LEFT)

    def on_client_writable(self, *, writable: bool) -> None:
        """Read the upstream no faster than the client takes the answer."""
        attempt = self._committed
        if attempt is not None:
            if writable:
                attempt.resume()
            else:
                attempt.pause()

    def check_deadlines(self, now: float) -> None:
        """Tell attempts whose time is up."""
        for attempt in tuple(self._attempts):
            if attempt.deadline <= now:
                attempt.on_deadline()

    # record

    @staticmethod
    def _status_of(attempt: Attempt) -> int:
        return attempt.head.status if attempt.head is not None else 0

    def _abandon(self, attempt: Attempt) -> None:
        attempt.cancel()
        self._end_attempt(attempt, OUTCOME_CANCELLED)

    def _end_attempt(self, attempt: Attempt, outcome: str | None = None) -> None:
        """Record an attempt, once; `outcome` None means that its status tells."""
        if outcome is not None:
            self._release_hold(attempt)
        if attempt.recorded:
            return
        attempt.recorded = True
        status = attempt.head.status if attempt.head is not None else None
        name = attempt.plan.name
        kind = outcome if isinstance(outcome, FailureKind) else None
        if outcome is None:
            outcome = outcome_of(self._snapshot.fallback, attempt.plan.role, status or 0)
        plane = self._plane
        now = plane.clock()
        seconds = now - attempt.started
        plane.metrics.inflight[name] -= 1
        plane.metrics.attempted(name, self._operation.name, outcome, seconds)
        self._records.append((name, outcome, status, seconds))
        if attempt.plan.role is Role.TARGET:
            if outcome != OUTCOME_CANCELLED:
                failed = counts_as_failure(kind, status)
                if failed is not None:
                    plane.breaker.on_attempt(now, failed=failed)
        elif attempt is self._second:
            plane.gate.leave(attempt)

    def _record(self, source: str, status: int) -> None:
        """Count and log the request; the last thing that happens to it."""
        self.ended = True
        plane, operation = self._plane, self._operation.name
        seconds = plane.clock() - self._started
        plane.metrics.answered(source, operation, status, seconds)
        if self._fallback is not None:
            committed = self._committed
            role = committed.plan.role if committed is not None else None
            complete = committed is not None and committed.complete
            result = fallback_result(self._fallback_status, role, status, complete=complete)
            plane.metrics.fell_back(operation, self._fallback, result)
        if plane.access_log.enabled:
            log_request(
                plane,
                RequestRecord(
                    head=self._head,
                    hop=self._hop,
                    operation=operation,
                    decision=self._decision,
                    source=source,
                    status=status,
                    seconds=seconds,
                    bytes_in=self.request_body.received,
                    bytes_out=self._bytes_out,
                    attempts=tuple(self._records),
                    fallback=self._fallback,
                ),
            )
        if self._hedge_timer is not None:
            self._hedge_timer.cancel()
        # Attempts refer to their exchange: without the cycle both go at once, and the garbage collector rests.
        self._attempts.clear()
        self._committed = self._spare = self._second = None


def _is_unbounded(head: ResponseHead) -> bool:
    """Whether the response flows for as long as it likes: an event stream or a tunnel."""
    if head.status == 101:
        return True
    types = head.noted.get(b"content-type")
    return types is not None and types[0].partition(b";")[0].strip().lower() == _EVENT_STREAM
