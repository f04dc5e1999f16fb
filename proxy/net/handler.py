"""One request through its five phases: route -> decide -> attempt -> fall back or commit -> record.

The exchange is a set of call-backs on the event loop and starts no task of its own. What to do is decided in
`core`; here it is done. Neighbours: `downstream` starts it and takes what it writes, `attempt` reports to it.
"""

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.core.bucketing import bucket_of
from proxy.core.fallback import (
    Replay,
    RequestFacts,
    Verdict,
    failure_status,
    judge_hold,
    judge_status,
    may_fall_back,
)
from proxy.core.framing import chunk_of, last_chunk
from proxy.core.heads import RequestHead, ResponseHead
from proxy.core.identity import find_user_id
from proxy.core.model import (
    CLIENT_LEFT,
    OUTCOME_CANCELLED,
    OUTCOME_OK,
    PROXY_SOURCE,
    Decision,
    FailureKind,
    FallbackResult,
    Role,
    status_label,
)
from proxy.core.rewrite import Hop, request_bytes, response_bytes, via_line
from proxy.core.routing import Operation, choose_source
from proxy.net.answers import problem
from proxy.net.attempt import Attempt, RequestBody
from proxy.net.plane import DataPlane
from proxy.telemetry.access_log import AccessEntry
from proxy.telemetry.tracing import trace_id_of, valid_request_id, valid_traceparent

if TYPE_CHECKING:
    from proxy.net.downstream import Downstream

_EVENT_STREAM: Final = b"text/event-stream"


class Exchange:
    """One request and its response. Ends exactly once, with `_record`."""

    __slots__ = (
        "_attempts", "_body_sent", "_bytes_out", "_chunked", "_committed", "_decision", "_downstream", "_facts",
        "_fallback", "_fallback_status", "_has_content", "_head", "_hop", "_interim_100", "_operation", "_plane",
        "_records", "_snapshot", "_spare", "_started", "ended", "request_body",
    )  # fmt: skip

    def __init__(self, plane: DataPlane, downstream: "Downstream", head: RequestHead) -> None:
        self._plane = plane
        self._downstream = downstream
        self._head = head
        self._started = plane.clock()
        self._snapshot = downstream.snapshot
        self.request_body = RequestBody(complete=not head.has_body, chunked=head.chunked)
        self._hop = _hop(plane, downstream, head)
        self._facts = RequestFacts(head.method)
        self._attempts: list[Attempt] = []
        self._records: list[tuple[str, str, int | None, float]] = []
        self._committed: Attempt | None = None
        self._spare: Attempt | None = None  # the target's own answer, should legacy fail too
        self._fallback: str | None = None
        self._fallback_status: int | None = None
        self._chunked = False
        self._has_content = True
        self._interim_100 = False
        self._bytes_out = 0
        self.ended = False
        self._operation: Operation
        self._decision: Decision

    def __repr__(self) -> str:
        state = "ended" if self.ended else "committed" if self._committed else "undecided"
        return f"<Exchange {self._head!r} {state} {self._attempts!r}>"

    # route -> decide -> attempt

    def start(self) -> None:
        """Route, decide and send; may end the exchange before it returns."""
        head, snapshot = self._head, self._snapshot
        self._operation = snapshot.operations.match(head.method, head.path)
        self._decision = decision = self._decide()
        if snapshot.fallback.replay is Replay.WITH_IDEMPOTENCY_KEY:
            self._facts.has_idempotency_key = b"idempotency-key" in head.noted
        self._plane.metrics.decided(snapshot.source(decision.role).name, self._operation.name, decision.reason)
        self._attempt_on(decision.role)

    def _decide(self) -> Decision:
        snapshot = self._snapshot
        policy = snapshot.rollout
        user_id = find_user_id(snapshot.extractors, self._head)
        if user_id is not None:
            bucket = bucket_of(user_id, policy.salt_prefix)
        elif policy.anonymous_by_address:
            bucket = bucket_of(_client_address(self._hop, self._head, snapshot.trusts), policy.salt_prefix)
        else:
            bucket = None
        return choose_source(policy, self._operation, user_id, bucket, self._forced())

    def _forced(self) -> Role | None:
        rule = self._snapshot.force
        wishes = self._head.noted.get(rule.header) if rule is not None else None
        if rule is None or not wishes:
            return None
        role, _, token = wishes[0].partition(b";")
        if not hmac.compare_digest(token.strip(), rule.token):
            return None
        return {b"legacy": Role.LEGACY, b"target": Role.TARGET}.get(role.strip())

    def _attempt_on(self, role: Role) -> None:
        snapshot, plane = self._snapshot, self._plane
        plan = snapshot.source(role)
        attempt = Attempt(
            self,
            role,
            plan.name,
            plane.pools[role],
            method=self._head.method,
            request_head=request_bytes(self._head, plan.face, self._hop),
            fates=snapshot.response_fates,
            header_bytes=snapshot.limits.header_bytes,
            header_count=snapshot.limits.header_count,
            timeout_s=self._operation.timeout_s or plan.timeout_s,
            progress_s=snapshot.limits.body_timeout,
            clock=plane.clock,
        )
        self._attempts.append(attempt)
        plane.metrics.inflight[plan.name] = plane.metrics.inflight.get(plan.name, 0) + 1
        attempt.open()

    # the request body, as it comes

    def on_body(self, pieces: list[bytes], *, complete: bool, trailers: list[bytes]) -> None:
        """Take request content from the client and pass it on."""
        body = self.request_body
        body.complete = complete
        body.trailers = trailers
        for piece in pieces:
            body.received += len(piece)
        sending = [attempt for attempt in self._attempts if attempt.taking_body]
        if body.kept is not None:
            body.kept += pieces
            if body.received > self._snapshot.fallback.request_buffer:
                if sending:
                    body.kept = None
                    self._facts.body_kept = False
                else:
                    self._downstream.pause_body()  # until somebody takes it
        for attempt in sending:
            attempt.send_body(pieces)

    def on_upstream_writable(self, attempt: Attempt, *, writable: bool) -> None:
        """See AttemptOwner: the client is read no faster than the upstream takes its body."""
        if writable:
            body = self.request_body
            if body.kept is not None and body.received > self._snapshot.fallback.request_buffer:
                body.kept = None  # it has just been sent, and is too long to keep
                self._facts.body_kept = False
            self._downstream.resume_body()
        else:
            self._downstream.pause_body()

    # what the attempts report

    def on_interim(self, attempt: Attempt, head: ResponseHead) -> None:
        """See AttemptOwner: 1xx goes on to HTTP/1.1 clients, 100 at most once; it never commits."""
        if self._head.minor == 0 or self._committed is not None:
            return
        if head.status == 100:
            if self._interim_100 or self.request_body.complete:
                return
            self._interim_100 = True
        self._write(response_bytes(head, b"", b""))

    def on_progress(self, attempt: Attempt) -> None:
        """See AttemptOwner: judge what there is of the answer, or pass it on once committed."""
        if attempt.complete and attempt is not self._committed:
            self._end_attempt(attempt)
        if attempt is self._committed:
            self._relay(attempt)
        elif attempt.role is Role.LEGACY:
            self._commit(attempt)  # its answer is final whatever it is
        elif attempt is self._spare:
            self._hold(attempt)
        else:
            self._judge(attempt)

    def _judge(self, attempt: Attempt) -> None:
        head = attempt.head
        assert head is not None  # noqa: S101 - progress starts with the head
        policy = self._snapshot.fallback
        verdict = judge_status(policy, self._facts, head.status)
        if verdict is Verdict.FALL_BACK:
            self._end_attempt(attempt)
            self._spare = attempt
            self._fallback_status = head.status
            self._hold(attempt)
            self._fall_back(status_label(head.status))
            return
        if verdict is Verdict.SUPPRESSED:
            self._plane.metrics.fell_back(self._operation.name, status_label(head.status), FallbackResult.SUPPRESSED)
            self._commit(attempt)
            return
        verdict = judge_hold(
            policy,
            held=attempt.held,
            complete=attempt.complete,
            unbounded=_is_event_stream(head),
            memory_left=self._plane.memory_left,
        )
        if verdict is Verdict.COMMIT:
            self._commit(attempt)
        else:
            self._hold(attempt)

    def _hold(self, attempt: Attempt) -> None:
        """Account for what is held; a spare that grows too long waits where it is."""
        self._plane.held_bytes += attempt.held - attempt.accounted
        attempt.accounted = attempt.held
        if attempt is self._spare and attempt.held > self._snapshot.fallback.response_buffer:
            attempt.pause()

    def _unhold(self, attempt: Attempt) -> None:
        self._plane.held_bytes -= attempt.accounted
        attempt.accounted = 0

    def on_attempt_failed(self, attempt: Attempt, kind: FailureKind) -> None:
        """See AttemptOwner: fall back, fail, or break off what was already committed."""
        self._end_attempt(attempt, kind)
        if attempt is self._committed:
            self._plane.metrics.truncated(attempt.source, self._operation.name)
            self._downstream.break_off(reset=self._ends_by_close(attempt))
            self._record(attempt.source, self._status_of(attempt))
        elif attempt is self._spare:
            self._spare = None
        elif attempt.role is Role.LEGACY:
            if self._spare is not None:
                self._commit(self._spare)
            else:
                self._fail(kind)
        elif may_fall_back(self._snapshot.fallback, self._facts, kind):
            self._fall_back(kind)
        else:
            self._plane.metrics.fell_back(self._operation.name, kind, FallbackResult.SUPPRESSED)
            self._fail(kind)

    # fall back or commit

    def _fall_back(self, reason: str) -> None:
        self._fallback = reason
        self._attempt_on(Role.LEGACY)

    def _commit(self, attempt: Attempt) -> None:
        """Start the final response: from here on nothing can be asked again."""
        head = attempt.head
        assert head is not None  # noqa: S101 - nothing commits without a head
        self._committed = attempt
        for other in self._attempts:
            if other is not attempt:
                self._abandon(other)
        self._unhold(attempt)
        pieces = attempt.take()
        keep_alive, framing = self._choose_framing(attempt, head, pieces)
        added = self._added_lines(head, keep_alive=keep_alive)
        data = response_bytes(head, framing, added)
        self._note_cache(attempt, head)
        if pieces:
            self._bytes_out += sum(map(len, pieces))
            data += b"".join(map(chunk_of, pieces) if self._chunked else pieces)
        if attempt.complete:
            self._write(data + self._ending(attempt) if self._chunked else data)
            self._finish(attempt)
        else:
            attempt.progress_s = self._progress_limit(head)
            attempt.resume()
            self._write(data)  # may pause the attempt again, if the client is slow

    def _choose_framing(self, attempt: Attempt, head: ResponseHead, pieces: list[bytes]) -> tuple[bool, bytes]:
        """Say whether the client's connection stays open, and the framing line (RFC 9112 section 6)."""
        keep_alive = self._downstream.may_keep_alive and self.request_body.complete
        body = attempt.body
        if body is None or head.content_length is not None:
            return keep_alive, b""
        if attempt.complete and not body.trailers:
            return keep_alive, b"Content-Length: %d\r\n" % sum(map(len, pieces))
        if self._head.minor:
            self._chunked = True
            return keep_alive, b"Transfer-Encoding: chunked\r\n"
        self._downstream.may_keep_alive = False
        return False, b""

    def _added_lines(self, head: ResponseHead, *, keep_alive: bool) -> bytes:
        added = b"X-Request-Id: %b\r\n" % self._hop.request_id
        if self._snapshot.via:
            added = via_line(head) + added
        if self._snapshot.expose:
            added = self._exposed() + added
        self._downstream.may_keep_alive = keep_alive
        if not keep_alive:
            added += b"Connection: close\r\n"
        elif not self._head.minor:
            added += b"Connection: keep-alive\r\n"
        return added

    def _exposed(self) -> bytes:
        decision = self._decision
        source = self._committed.source if self._committed is not None else PROXY_SOURCE
        lines = f"X-Cutover-Source: {source}\r\nX-Cutover-Reason: {decision.reason}\r\n"
        if decision.bucket is not None:
            lines += f"X-Cutover-Bucket: {decision.bucket}\r\n"
        if self._fallback is not None:
            lines += f"X-Cutover-Fallback: {self._fallback}\r\n"
        return lines.encode()

    def _ends_by_close(self, attempt: Attempt) -> bool:
        """Whether the client would take the end of the connection for the end of the message."""
        return not self._chunked and attempt.head is not None and attempt.head.content_length is None

    def _relay(self, attempt: Attempt) -> None:
        pieces = attempt.take()
        for piece in pieces:
            self._bytes_out += len(piece)
        data = b"".join(map(chunk_of, pieces) if self._chunked else pieces) if pieces else b""
        if attempt.complete:
            data += self._ending(attempt) if self._chunked else b""
            if data:
                self._write(data)
            self._end_attempt(attempt)
            self._finish(attempt)
        elif data:
            attempt.expect_progress()
            self._write(data)

    @staticmethod
    def _ending(attempt: Attempt) -> bytes:
        return last_chunk(attempt.body.trailers if attempt.body is not None else [])

    def _progress_limit(self, head: ResponseHead) -> float:
        limits = self._snapshot.limits
        return limits.stream_idle_timeout if _is_event_stream(head) else limits.body_timeout

    def _finish(self, attempt: Attempt) -> None:
        self._record(attempt.source, self._status_of(attempt))
        self._downstream.on_response_end()

    def _fail(self, kind: FailureKind) -> None:
        """Answer for a source that did not."""
        status = failure_status(kind)
        who = "Neither source" if self._fallback is not None else "The source"
        self._refuse(status, f"{who} gave no usable answer ({kind}).")

    def refuse(self, status: int, detail: str) -> None:
        """End the request with an error of the proxy's own; after commit, by breaking off."""
        for attempt in self._attempts:
            self._abandon(attempt)
        if self._committed is not None:
            self._downstream.break_off(reset=self._ends_by_close(self._committed))
            self._record(self._committed.source, self._status_of(self._committed))
            return
        self._downstream.may_keep_alive = False
        self._refuse(status, detail)

    def _refuse(self, status: int, detail: str) -> None:
        downstream = self._downstream
        downstream.may_keep_alive = downstream.may_keep_alive and self.request_body.complete
        added = b"X-Request-Id: %b\r\n" % self._hop.request_id
        if self._snapshot.expose:
            added = self._exposed() + added
        if not downstream.may_keep_alive:
            added += b"Connection: close\r\n"
        elif not self._head.minor:
            added += b"Connection: keep-alive\r\n"
        self._write(problem(status, detail, self._hop.request_id, added, with_body=self._head.method != b"HEAD"))
        self._record(PROXY_SOURCE, status)
        downstream.on_response_end()

    # the client's side

    def on_client_gone(self) -> None:
        """Cancel everything: nobody is there to be answered."""
        if self.ended:
            return
        for attempt in self._attempts:
            self._abandon(attempt)
        source = self._committed.source if self._committed is not None else PROXY_SOURCE
        self._record(source, CLIENT_LEFT)

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

    def _write(self, data: bytes) -> None:
        self._downstream.write(data)

    # record

    def _abandon(self, attempt: Attempt) -> None:
        if not attempt.recorded:
            attempt.cancel()
            self._end_attempt(attempt, OUTCOME_CANCELLED)
        self._unhold(attempt)

    def _end_attempt(self, attempt: Attempt, outcome: str | None = None) -> None:
        """Record an attempt, once; `outcome` None means that its response is whole."""
        if attempt.recorded:
            return
        attempt.recorded = True
        status = attempt.head.status if attempt.head is not None else None
        if outcome is None:
            outcome = self._outcome_of(attempt.role, status or 0)
        else:
            self._unhold(attempt)
        seconds = self._plane.clock() - attempt.started
        metrics = self._plane.metrics
        metrics.inflight[attempt.source] -= 1
        metrics.attempted(attempt.source, self._operation.name, outcome, seconds)
        self._records.append((attempt.source, outcome, status, seconds))

    def _outcome_of(self, role: Role, status: int) -> str:
        failed = status >= 500 or (role is Role.TARGET and status in self._snapshot.fallback.statuses)
        return status_label(status) if failed else OUTCOME_OK

    def _note_cache(self, attempt: Attempt, head: ResponseHead) -> None:
        noted = head.noted
        if b"x-cache" in noted or b"cf-cache-status" in noted or b"age" in noted:
            result = "hit" if _was_cache_hit(noted) else "miss"
            self._plane.metrics.cache_looked_up(attempt.source, self._operation.name, result)

    @staticmethod
    def _status_of(attempt: Attempt) -> int:
        return attempt.head.status if attempt.head is not None else 0

    def _record(self, source: str, status: int) -> None:
        """Count and log the request; the last thing that happens to it."""
        self.ended = True
        plane = self._plane
        seconds = plane.clock() - self._started
        plane.metrics.answered(source, self._operation.name, status, seconds)
        if self._fallback is not None:
            plane.metrics.fell_back(self._operation.name, self._fallback, self._fallback_result(status))
        if plane.access_log.enabled:
            self._log(source, status, seconds)
        # Attempts refer to their exchange: without the cycle both go at once, and the garbage collector rests.
        self._attempts.clear()
        self._committed = self._spare = None

    def _fallback_result(self, status: int) -> FallbackResult:
        committed = self._committed
        if committed is None or committed.role is not Role.LEGACY:
            return FallbackResult.FAILED
        if status == self._fallback_status:
            return FallbackResult.CONFIRMED
        return FallbackResult.SERVED if status < 500 and committed.complete else FallbackResult.FAILED

    def _log(self, source: str, status: int, seconds: float) -> None:
        plane, head = self._plane, self._head
        plane.access_log.record(
            AccessEntry(
                ts=plane.wall_clock(),
                request_id=self._hop.request_id,
                trace_id=trace_id_of(self._hop.traceparent),
                method=head.method,
                path=head.path,
                operation=self._operation.name,
                bucket=self._decision.bucket,
                source=source,
                reason=self._decision.reason,
                status=status,
                duration_s=seconds,
                bytes_in=self.request_body.received,
                bytes_out=self._bytes_out,
                attempts=tuple(self._records),
                fallback=self._fallback,
            )
        )


def _hop(plane: DataPlane, downstream: "Downstream", head: RequestHead) -> Hop:
    noted = head.noted
    request_ids = noted.get(b"x-request-id")
    request_id = request_ids[0] if request_ids and valid_request_id(request_ids[0]) else None
    parents = noted.get(b"traceparent")
    kept = parents[0] if parents and len(parents) == 1 and valid_traceparent(parents[0]) else None
    return Hop(
        address=downstream.peer,
        trusted=downstream.trusted,
        request_id=request_id or plane.ids.new_request_id(),
        traceparent=kept or plane.ids.new_traceparent(),
    )


def _client_address(hop: Hop, head: RequestHead, trusts: Callable[[str | None], bool]) -> bytes:
    """The client's address: the last in X-Forwarded-For that no trusted proxy vouches to be its own."""
    address = hop.address or b""
    if not hop.trusted:
        return address
    chain = b",".join(head.noted.get(b"x-forwarded-for", ())).split(b",")
    for claimed in reversed([entry.strip() for entry in chain if entry.strip()]):
        address = claimed
        if not trusts(claimed.decode("latin-1")):
            break
    return address


def _is_event_stream(head: ResponseHead) -> bool:
    types = head.noted.get(b"content-type")
    return types is not None and types[0].partition(b";")[0].strip().lower() == _EVENT_STREAM


def _was_cache_hit(noted: dict[bytes, list[bytes]]) -> bool:
    for name in (b"x-cache", b"cf-cache-status"):
        if name in noted:
            return b"hit" in noted[name][0].lower()
    return noted[b"age"][0] not in (b"", b"0")
