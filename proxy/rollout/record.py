"""The controller's side of the journal: what to write when, and where to go on after a crash.

Neighbours: `controller` calls it; `journal` keeps; `cutover rollout status` reads the same entries.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from proxy.rollout.checks import CheckVerdict, Verdict
from proxy.rollout.decision import State, Step
from proxy.rollout.journal import WITH_STATE, Entry, Journal, Kind
from proxy.rollout.notes import manual_figures
from proxy.rollout.orders import Order, OrderKind
from proxy.rollout.place import Observation
from proxy.rollout.plan import Plan
from proxy.rollout.time_source import TimeSource


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a run stands. `unfinished` is a step of which nobody knows whether it was taken: `state` if it was."""

    run: int
    state: State
    before: State
    digest: str
    stages: Sequence[int]
    unfinished: Step | None = None


class Record:
    """Writes one run's entries."""

    def __init__(self, journal: Journal, time: TimeSource) -> None:
        self._journal = journal
        self._time = time

    def __repr__(self) -> str:
        return f"<Record in {self._journal!r}>"

    def resumption(self) -> Resumption | None:
        """Where the newest run stands, or None when there is none that goes on."""
        run = self._journal.newest_run()
        last = self._journal.last(*WITH_STATE, run=run) if run else None
        started = self._journal.last(Kind.STARTED, Kind.RESUMED, run=run) if run else None
        if last is None or started is None:
            return None
        state = State.from_json(last.data["state"])
        unfinished = Step(**last.data["step"]) if last.kind is Kind.INTENT else None
        if state.phase.is_final and unfinished is None:
            return None
        before = State.from_json(last.data["before"]) if unfinished is not None else state
        return Resumption(run, state, before, started.data["digest"], started.data["stages"], unfinished)

    def begin(self, state: State, facts: Mapping[str, Any]) -> None:
        """A run begins."""
        self._journal.begin_run(self._time.wall(), {**facts, "state": state.as_json()})

    def resume(self, facts: Mapping[str, Any]) -> None:
        """A controller goes on with the newest run."""
        self._journal.add(Kind.RESUMED, self._time.wall(), facts)

    def tick(self, state: State, verdict: Verdict, checks: Sequence[CheckVerdict]) -> None:
        """A tick that took no step."""
        self._add(Kind.TICK, state, verdict=verdict.value, checks=[check.as_json() for check in checks])

    def intend(self, step: Step, before: State, after: State, why: str) -> None:
        """A step is about to be taken: `after` holds once it is."""
        self._add(Kind.INTENT, after, step=asdict(step), before=before.as_json(), why=why)

    def done(self, step: Step, after: State) -> None:
        """It was taken."""
        self._add(Kind.DONE, after, step=asdict(step))

    def failed(self, step: Step, before: State, why: str) -> None:
        """It could not be taken."""
        self._add(Kind.FAILED, before, step=asdict(step), why=why)

    def answer(self, order: int, state: State, why: str, *, obeyed: bool) -> None:
        """What became of an order."""
        self._add(Kind.ANSWER, state, order=order, obeyed=obeyed, why=why)

    def measured(self, facts: Mapping[str, Any]) -> None:
        """What was counted."""
        self._journal.add(Kind.MEASURED, self._time.wall(), facts)

    def stopped(self, why: str) -> None:
        """The controller ends."""
        self._journal.add(Kind.STOPPED, self._time.wall(), {"why": why})

    def orders(self, after: int) -> Iterator[tuple[int, Order]]:
        """Orders of this run that were given after the one with this id."""
        for entry in self._journal.entries(Kind.ORDER, run=self._journal.newest_run(), after=after):
            yield entry.id, order_in(entry)

    def notes_of_stage(self) -> list[tuple[int, dict[str, Any]]]:
        """The notes of this run since its last step."""
        run = self._journal.newest_run()
        step = self._journal.last(Kind.DONE, Kind.STARTED, run=run)
        return [(one.id, one.data) for one in self._journal.entries(Kind.NOTE, run=run, after=step.id if step else 0)]

    def with_notes(self, plan: Plan, seen: Observation) -> Observation:
        """What was observed, and what people have entered."""
        values, missing = manual_figures(plan, self.notes_of_stage())
        return replace(seen, values={**seen.values, **values}, missing={**seen.missing, **missing})

    def has_rehearsal(self) -> bool:
        """Whether a rehearsal has succeeded, in whichever run."""
        return any(entry.data.get("ok") for entry in self._journal.entries(Kind.REHEARSAL))

    def _add(self, kind: Kind, state: State, **facts: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        self._journal.add(kind, self._time.wall(), {"state": state.as_json(), **facts})


def order_in(entry: Entry) -> Order:
    """The order that an entry holds."""
    data = entry.data
    return Order(
        OrderKind(data["order"]), data.get("check"), data.get("reason"), bool(data.get("keep")), data.get("stage")
    )


def order_as_json(order: Order) -> dict[str, Any]:
    """What an entry holds of an order."""
    return {
        "order": order.kind.value,
        "check": order.check,
        "reason": order.reason,
        "keep": order.keep,
        "stage": order.stage,
    }
