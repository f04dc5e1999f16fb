"""Copies of users' reads that find out whether the target is well again. Nobody waits for their answers.

Neighbours: `handler` starts one when the breaker asks for it, `listener` keeps its time.
"""

from proxy.core.breaker import counts_as_failure
from proxy.core.heads import RequestHead, ResponseHead
from proxy.core.model import OUTCOME_CANCELLED, FailureKind, Role
from proxy.core.rewrite import Hop
from proxy.core.routing import Operation
from proxy.net.attempt import NO_BODY, Attempt, AttemptOwner
from proxy.net.generation import Generation
from proxy.net.plane import DataPlane
from proxy.net.record import outcome_of


class Probe(AttemptOwner):
    """One copy of a GET or HEAD on its way to the target; ends with a word to the breaker."""

    __slots__ = ("_attempt", "_generation", "_operation", "_plane", "_round", "_taken")

    def __init__(
        self,
        plane: DataPlane,
        generation: Generation,
        operation: Operation,
        head: RequestHead,
        hop: Hop,
        probe_round: int,
    ) -> None:
        super().__init__(NO_BODY)
        self._plane = plane
        self._generation = generation
        self._operation = operation
        self._round = probe_round
        self._taken = 0
        self._attempt = plane.new_attempt(self, generation, Role.TARGET, operation, head, hop)

    def __repr__(self) -> str:
        return f"<Probe {self._attempt!r}>"

    def start(self) -> None:
        """Send it."""
        self._plane.probes.add(self)
        self._attempt.open()

    def check_deadlines(self, now: float) -> None:
        """Fail it if its time is up."""
        if self._attempt.deadline <= now:
            self._attempt.on_deadline()

    def cancel(self) -> None:
        """Stop it, at the end of the program."""
        self._attempt.cancel()
        self._end(OUTCOME_CANCELLED, failed=None)

    def on_interim(self, head: ResponseHead) -> None:
        """See AttemptOwner: of no interest."""

    def on_upstream_writable(self, attempt: Attempt, *, writable: bool) -> None:
        """See AttemptOwner: there is no body."""

    def on_progress(self, attempt: Attempt) -> None:
        """See AttemptOwner: the content goes nowhere; as much as a response may be held is proof enough."""
        self._taken += sum(map(len, attempt.take()))
        if not attempt.complete and self._taken <= self._generation.snapshot.fallback.response_buffer:
            return
        status = attempt.head.status if attempt.head is not None else 0
        attempt.cancel()
        outcome = outcome_of(self._generation.snapshot.fallback, Role.TARGET, status)
        self._end(outcome, failed=counts_as_failure(None, status))

    def on_attempt_failed(self, attempt: Attempt, kind: FailureKind) -> None:  # noqa: ARG002 - the protocol's
        """See AttemptOwner."""
        self._end(kind, failed=counts_as_failure(kind, None))

    def _end(self, outcome: str, *, failed: bool | None) -> None:
        plane, attempt = self._plane, self._attempt
        plane.probes.discard(self)
        name = attempt.plan.name
        now = plane.clock()
        plane.metrics.inflight[name] -= 1
        plane.metrics.attempted(name, self._operation.name, outcome, now - attempt.started)
        self._generation.breaker.on_probe(self._round, now, failed=failed)
