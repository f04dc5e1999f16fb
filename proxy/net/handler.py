"""One request through its five phases: route -> decide -> attempt -> fall back or commit -> record.

The exchange is a set of call-backs on the event loop and starts no task of its own. What to do is decided in
`core`; here it is done. Neighbours: `downstream` starts it and takes what it writes, `attempt` reports to it.
"""

from asyncio import TimerHandle
from typing import TYPE_CHECKING, Final

from proxy.core.breaker import counts_as_failure
from proxy.core.fallback import RequestFacts, Verdict, failure_status, judge_hold, may_fall_back
from proxy.core.framing import gather
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
from proxy.core.rewrite import connection_line, exposed_lines, response_bytes, via_line
from proxy.core.routing import Operation
from proxy.net.answers import problem
from proxy.net.arrival import decide, hop_of
from proxy.net.attempt import NO_BODY, Attempt, AttemptOwner, RequestBody
from proxy.net.plane import DataPlane
from proxy.net.probe import Probe
from proxy.net.record import fallback_result, log_request, outcome_of, record_cache
from proxy.net.relay import Relay, is_unbounded
from proxy.telemetry.access_log import Attempt as AttemptRecord

if TYPE_CHECKING:
    from proxy.net.downstream import Downstream

_READS: Final = frozenset((b"GET", b"HEAD"))


class Exchange(AttemptOwner):
    """One request and its response. Ends exactly once, with `_record`.

    `records` tells of the attempts that have ended; `fallback` is why legacy was asked after the target.
    """

    __slots__ = (
        "_attempts", "_downstream", "_fallback_status", "_generation", "_hedge_timer", "_hedged", "_relay",
        "_said_continue", "_second", "_snapshot", "_spare", "_started", "decision", "ended", "fallback", "head", "hop",
        "operation", "plane", "records",
    )  # fmt: skip

    def __init__(self, plane: DataPlane, downstream: "Downstream", head: RequestHead) -> None:
        super().__init__(_body_of(head) if head.has_body else NO_BODY)
        self.plane = plane
        self._downstream = downstream
        self.head = head
        self._started = plane.clock()
        self._generation = downstream.generation
        self._snapshot = snapshot = downstream.snapshot
        self.hop = hop_of(plane, head, downstream.peer, trusted=downstream.trusted)
        self.operation: Operation = snapshot.operations.match(head.method, head.path)
        self.decision: Decision = decide(snapshot, self.operation, head, self.hop)
        self._attempts: list[Attempt] = []
        self.records: list[AttemptRecord] = []
        self._relay: Relay | None = None  # once committed
        self._spare: Attempt | None = None  # the target's own answer, should legacy fail too
        self._second: Attempt | None = None  # on legacy, when the first was on the target
        self._hedged = False
        self._hedge_timer: TimerHandle | None = None
        self.fallback: str | None = None
        self._fallback_status: int | None = None
        self._said_continue = False
        self.ended = False

    def __repr__(self) -> str:
        state = "ended" if self.ended else "committed" if self._relay else "undecided"
        return f"<Exchange {self.head!r} {state} {self._attempts!r}>"

    def start(self) -> None:
        """Send the request to the source decided on; may end the exchange before it returns."""
        plane, operation = self.plane, self.operation
        if self.decision.role is Role.TARGET:
            if not self._generation.breaker.admits(self._started):
                self._avoid_target()
            else:
                hedge_after_s = operation.hedge_after_s or self._snapshot.hedge_after_s
                if hedge_after_s is not None and self._is_plain_read and self._snapshot.fallback.enabled:
                    self._hedge_timer = plane.call_later(hedge_after_s, self._hedge)
        decision = self.decision
        plane.metrics.decided(self._snapshot.source(decision.role).name, operation.name, decision.reason)
        self._new_attempt(decision.role).open()

    @property
    def bytes_out(self) -> int:
        """Content sent to the client."""
        return self._relay.bytes_out if self._relay is not None else 0

    @property
    def _is_plain_read(self) -> bool:
        return self.head.method in _READS and self.request_body is NO_BODY and self.head.upgrade is None

    def _avoid_target(self) -> None:
        """Send the user to legacy while the breaker rejects, and perhaps a copy to the target to see how it is."""
        generation = self._generation
        self.decision = Decision(Role.LEGACY, Reason.BREAKER_OPEN, self.decision.bucket)
        probe_round = generation.breaker.wants_probe(self._started) if self._is_plain_read else 0
        if probe_round:
            Probe(self.plane, generation, self.operation, self.head, self.hop, probe_round).start()

    # attempt

    def _new_attempt(self, role: Role) -> Attempt:
        attempt = self.plane.new_attempt(self, self._generation, role, self.operation, self.head, self.hop)
        self._attempts.append(attempt)
        return attempt

    def _ask_legacy_too(self) -> None:
        """The second attempt, of a fallback or a hedge; there is never a third."""
        self._second = self._new_attempt(Role.LEGACY)
        self.plane.gate.enter(self._second)

    def _hedge(self) -> None:
        """Start legacy too: the target has not answered by now, and whoever is first answers the user."""
        if not self.ended and self._relay is None and self._second is None:
            self._hedged = True
            self._ask_legacy_too()

    def on_body(self, pieces: list[bytes], *, complete: bool, trailers: list[bytes]) -> None:
        """Take request content from the client and pass it on."""
        body = self.request_body
        body.complete = complete
        body.held_back = False
        body.trailers = trailers
        size = sum(map(len, pieces))
        body.received += size
        if body.kept is not None:
            body.kept += pieces
            gather(body.kept)
            body.accounted += size
            self.plane.memory.add(size)
        sending = [attempt for attempt in self._attempts if attempt.taking_body and attempt is not self._spare]
        for attempt in sending:
            attempt.send_body(pieces)
        if sending:
            self._forget_long_body()
        elif self._body_too_long:
            self._downstream.pause_body()  # until somebody takes it

    @property
    def _body_too_long(self) -> bool:
        """Whether the request body so far is more than may be kept for a second attempt."""
        return self.request_body.received > self._snapshot.fallback.request_buffer or self.plane.memory.tight

    def _forget_long_body(self) -> None:
        """Keep no copy of a body too long to send again; whoever takes it has all of it so far."""
        if self._body_too_long:
            self._forget_body()

    def _forget_body(self) -> None:
        body = self.request_body
        if body.kept:
            body.kept = None
            self.plane.memory.add(-body.accounted)
            body.accounted = 0

    def on_upstream_writable(self, attempt: Attempt, *, writable: bool) -> None:
        """See AttemptOwner: the client is read no faster than the upstream takes its body."""
        if attempt is self._spare:
            return  # it has given its answer and gets no more
        self._forget_long_body()
        if writable:
            self._downstream.resume_body()
        else:
            self._downstream.pause_body()

    def on_interim(self, head: ResponseHead) -> None:
        """See AttemptOwner: 1xx goes on to HTTP/1.1 clients, 100 at most once; it never commits."""
        if self.head.minor == 0 or self._relay is not None:
            return
        if head.status == 100:
            if self._said_continue or self.request_body.complete:
                return
            self._said_continue = True
            self.request_body.held_back = False
            self._downstream.expect_body()
        self._downstream.write(response_bytes(head, b"", b""))

    def on_progress(self, attempt: Attempt) -> None:
        """See AttemptOwner: judge what there is of the answer, or pass it on once committed."""
        if attempt.complete:
            self._end_attempt(attempt)
        relay = self._relay
        if relay is not None:
            relay.pass_on()
            if attempt.complete:
                self._finish(relay)
            return
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
            if self._fall_back_if_allowed(attempt, None, status_label(head.status)):
                return
            self._commit(attempt)
            return
        verdict = judge_hold(
            policy,
            held=attempt.held,
            complete=attempt.complete,
            unbounded=is_unbounded(head),
            memory_left=not self.plane.memory.tight,
        )
        if verdict is Verdict.COMMIT:
            self._commit(attempt)
        else:
            self._hold(attempt)

    def on_attempt_failed(self, attempt: Attempt, kind: FailureKind) -> None:
        """See AttemptOwner: fall back, fail, or break off what was already committed."""
        self._end_attempt(attempt, kind)
        if self._relay is not None:
            self._break_off(self._relay)
        elif attempt is self._spare:
            self._spare = None
        elif attempt.plan.role is Role.LEGACY:
            if self._spare is not None:
                self._commit(self._spare)
            elif not self._hedge_goes_on():
                self._fail(kind)
        elif not self._fall_back_if_allowed(attempt, kind, kind):
            self._fail(kind)

    def _fall_back_if_allowed(self, attempt: Attempt, kind: FailureKind | None, reason: str) -> bool:
        """Ask legacy if `core` allows it.

        `kind` is None for an answer with a status that counts as failed; it is kept, should legacy fail too.
        """
        key = b"idempotency-key" in self.head.noted
        facts = RequestFacts(self.head.method, key, self.request_body.kept is not None, attempt.sent)
        if not may_fall_back(self._snapshot.fallback, facts, kind):
            self.plane.metrics.fell_back(self.operation.name, reason, FallbackResult.SUPPRESSED)
            return False
        second = self._second
        if second is not None and second.recorded:
            return False  # a hedge asked legacy already, and it failed
        self.fallback = reason
        if kind is None:
            self._spare = attempt
            self._hold(attempt)
        if second is None:
            self._ask_legacy_too()
        return True

    def _hedge_goes_on(self) -> bool:
        """Whether the target is still being asked, although legacy, hedging it, has failed."""
        return self._hedged and any(not attempt.recorded for attempt in self._attempts)

    def _hold(self, attempt: Attempt) -> None:
        """Account for what is held; a spare that grows too long waits where it is."""
        self.plane.memory.add(attempt.held - attempt.accounted)
        attempt.accounted = attempt.held
        if attempt is self._spare and attempt.held > self._snapshot.fallback.response_buffer:
            attempt.pause()

    def _release_hold(self, attempt: Attempt) -> None:
        if attempt.accounted:
            self.plane.memory.add(-attempt.accounted)
            attempt.accounted = 0

    def _commit(self, attempt: Attempt) -> None:
        """Start the final response: from here on nothing can be asked again."""
        head, snapshot, plane = attempt.head, self._snapshot, self.plane
        assert head is not None  # noqa: S101 - nothing commits without a head
        self._relay = relay = Relay(attempt, head, self._downstream)
        for other in self._attempts:
            if other is not attempt:
                self._abandon(other)
        if self._hedged:
            plane.metrics.hedged(self.operation.name, relay.source)
        self._release_hold(attempt)
        record_cache(plane, relay.source, self.operation.name, head)
        lines = relay.choose_framing(self.head.minor)
        if relay.ends_by_close or head.status == 101:
            self._downstream.may_keep_alive = False
        lines += self._added_lines(relay.source, head)
        relay.start(lines, snapshot.limits.stream_idle_timeout if is_unbounded(head) else snapshot.limits.body_timeout)
        if attempt.complete:
            self._finish(relay)

    def _added_lines(self, source: str, answer: ResponseHead | None) -> bytes:
        """The lines that the proxy adds to a response; settles whether the client's connection stays open."""
        downstream, decision = self._downstream, self.decision
        keep_alive = downstream.may_keep_alive and self.request_body.complete
        downstream.may_keep_alive = keep_alive
        lines = b"X-Request-Id: %b\r\n" % self.hop.request_id
        if answer is not None and self._snapshot.via:
            lines = via_line(answer) + lines
        if answer is None or answer.status != 101:
            lines += connection_line(self.head, keep_alive=keep_alive)
        if self._snapshot.expose:
            return exposed_lines(source, decision.reason, decision.bucket, self.fallback) + lines
        return lines

    def _finish(self, relay: Relay) -> None:
        self._record(relay.source, relay.status)
        self._downstream.on_response_end()

    def _break_off(self, relay: Relay) -> None:
        """End a committed response that can't be completed, so that the client can't take it for whole."""
        self.plane.metrics.truncated(relay.source, self.operation.name)
        self._downstream.break_off(reset=relay.ends_by_close)
        self._record(relay.source, relay.status)

    def _fail(self, kind: FailureKind) -> None:
        """Answer for a source that did not."""
        if self.fallback is None:
            detail = f"The source gave no usable answer ({kind})."
        else:
            detail = f"Neither source gave a usable answer (target: {self.fallback}, legacy: {kind})."
        self._answer_problem(failure_status(kind), detail)

    def refuse(self, status: int, detail: str) -> None:
        """End the request with an error of the proxy's own; after commit, by breaking off."""
        for attempt in self._attempts:
            self._abandon(attempt)
        if self._relay is not None:
            self._break_off(self._relay)
            return
        self._downstream.may_keep_alive = False
        self._answer_problem(status, detail)

    def _answer_problem(self, status: int, detail: str) -> None:
        head = self.head
        self._downstream.write(
            problem(
                status,
                detail,
                self.hop.request_id,
                self._added_lines(PROXY_SOURCE, None),
                with_body=head.method != b"HEAD",
            )
        )
        self._record(PROXY_SOURCE, status)
        self._downstream.on_response_end()

    # the client's side

    def on_tunnel_data(self, data: bytes) -> None:
        """Pass on bytes of the protocol that was switched to."""
        if self._relay is not None:
            self._relay.attempt.send_through(data)

    def on_client_gone(self) -> None:
        """Cancel everything: nobody is there to be answered."""
        if self.ended:
            return
        relay = self._relay
        if relay is not None and relay.status == 101:
            relay.attempt.hang_up()  # either side may end a tunnel
            self._end_attempt(relay.attempt)
            self._record(relay.source, relay.status)
            return
        for attempt in self._attempts:
            self._abandon(attempt)
        self._record(relay.source if relay is not None else PROXY_SOURCE, CLIENT_LEFT)

    def on_client_writable(self, *, writable: bool) -> None:
        """Read the upstream no faster than the client takes the answer."""
        if self._relay is not None:
            if writable:
                self._relay.attempt.resume()
            else:
                self._relay.attempt.pause()

    def check_deadlines(self, now: float) -> None:
        """Tell attempts whose time is up."""
        for attempt in tuple(self._attempts):
            if attempt.deadline <= now:
                attempt.on_deadline()

    # record

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
        plane = self.plane
        now = plane.clock()
        seconds = now - attempt.started
        plane.metrics.inflight[name] -= 1
        plane.metrics.attempted(name, self.operation.name, outcome, seconds, self.hop.traceparent, now)
        self.records.append((name, outcome, status, seconds))
        if attempt.plan.role is Role.TARGET:
            if outcome != OUTCOME_CANCELLED:
                failed = counts_as_failure(kind, status)
                if failed is not None:
                    self._generation.breaker.on_attempt(now, failed=failed)
        elif attempt is self._second:
            plane.gate.leave(attempt)

    def _record(self, source: str, status: int) -> None:
        """Count and log the request; the last thing that happens to it."""
        self.ended = True
        plane, operation = self.plane, self.operation.name
        now = plane.clock()
        seconds = now - self._started
        plane.metrics.answered(source, operation, status, seconds, self.hop.traceparent, now)
        if self.fallback is not None:
            answer = self._relay.attempt if self._relay is not None else None
            role = answer.plan.role if answer is not None else None
            complete = answer is not None and answer.complete
            result = fallback_result(self._fallback_status, role, status, complete=complete)
            plane.metrics.fell_back(operation, self.fallback, result)
        if plane.access_log.enabled:
            log_request(self, source, status, seconds)
        if self._hedge_timer is not None:
            self._hedge_timer.cancel()
        self._forget_body()
        # Attempts refer to their exchange: without the cycle both go at once, and the garbage collector rests.
        self._attempts.clear()
        self._relay = self._spare = self._second = None


def _body_of(head: RequestHead) -> RequestBody:
    expected = head.noted.get(b"expect")
    held_back = head.minor == 1 and expected is not None and expected[0].lower() == b"100-continue"
    return RequestBody(complete=False, chunked=head.chunked, held_back=held_back)
