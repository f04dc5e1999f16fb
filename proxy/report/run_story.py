"""Follows one run of a rollout through its entries, and tells its stages and what happened. Pure.

An entry is either of the controller's course (ticks, steps), or of people (orders and what became of them). What is
told is what was written; a stage without a verdict has none. Neighbours: `reading` gives the entries in their order,
`checks_seen` follows the checks.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.report.checks_seen import ChecksSeen, failed_as_said, read_results
from proxy.report.findings import CheckDefinition, CheckUnit, Event, Run, Stage, Topic
from proxy.rollout.decision import Phase
from proxy.rollout.journal import Entry, Kind

_JUDGED: Final = (Phase.JUDGING, Phase.APPROVAL, Phase.PAUSED, Phase.COMPLETED)
_LASTING: Final = {Phase.WAITING: Topic.WAITING, Phase.APPROVAL: Topic.APPROVAL, Phase.PAUSED: Topic.PAUSED}
_UNITS: Final = {"s": CheckUnit.SECONDS, "ratio": CheckUnit.RATIO, "": CheckUnit.NUMBER}
_OUTCOMES: Final = {Phase.ROLLED_BACK: "NO_GO", Phase.ABORTED: "aborted", Phase.COMPLETED: "GO"}


class RunStory:
    """One run, taken entry by entry."""

    def __init__(self, started: Entry) -> None:
        self._number = started.run
        self._facts: Mapping[str, Any] = started.data
        self._state: Mapping[str, Any] = started.data["state"]
        self._began = self._at = started.at
        self._stages: list[Stage] = []
        self._events: list[Event] = []
        self._orders: dict[int, Mapping[str, Any]] = {}
        self._lasting: Event | None = None
        self._checks = ChecksSeen()
        self._say(Topic.STARTED, _started(started.data))
        self._enter(str(self._state["phase"]))

    def __repr__(self) -> str:
        return f"<RunStory of run {self._number}: {len(self._stages)} stages, {len(self._events)} events>"

    def take(self, entry: Entry) -> None:
        """Take the next entry."""
        data, self._at = entry.data, entry.at
        match entry.kind:
            case Kind.RESUMED:
                self._resumed(data)
            case Kind.STOPPED:
                self._say(Topic.STOPPED, f"The controller ended: {data['why']}")
            case Kind.ORDER:
                self._orders[entry.id] = data
            case Kind.TICK:
                self._tick(data)
            case Kind.INTENT:
                self._intend(data)
            case Kind.DONE:
                self._done(data)
            case Kind.FAILED:
                self._say(Topic.FAILED_STEP, f"The step to {data['step']['percentage']} % failed: {data['why']}")
                self._move_to(data["state"])
            case Kind.ANSWER:
                self._answer(data)
            case _:
                pass  # no part of a run's course

    def told(self) -> Run:
        """The run as it stands."""
        phase = Phase(self._state["phase"])
        self._leave()
        if self._stages and self._stages[-1].ended is None:
            self._change_stage(ended=self._at if phase.is_final else None, outcome=_OUTCOMES.get(phase, phase.value))
        owner = self._facts.get("owner") or {}
        return Run(
            number=self._number,
            plan=str(self._facts["plan"]),
            digest=str(self._facts["digest"]),
            began=self._began,
            ended=self._at,
            phase=phase.value,
            is_over=phase.is_final,
            percentage=int(self._state["percentage"]),
            why=str(self._state["why"]),
            planned=tuple(int(one) for one in self._facts["stages"]),
            holds=tuple(float(one) for one in self._facts["holds"]),
            approver=owner.get("approver"),
            on_call=owner.get("on_call"),
            waived=tuple(self._facts.get("waived", ())),
            manual=tuple(self._facts.get("manual", ())),
            definitions=read_definitions(self._facts.get("checks", ())),
            stages=tuple(self._stages),
            events=tuple(sorted([*self._events, *self._checks.episodes(self._at)], key=lambda event: event.at)),
        )

    def _resumed(self, data: Mapping[str, Any]) -> None:
        changed = "" if data["digest"] == self._facts["digest"] else f", with a changed plan ({data['digest']})"
        self._facts = data
        self._say(Topic.RESUMED, f"A controller went on with the run{changed}")

    def _tick(self, data: Mapping[str, Any]) -> None:
        self._move_to(data["state"])
        phase = Phase(self._state["phase"])
        if self._stages and phase in _JUDGED:
            results = read_results(data["checks"])
            self._change_stage(results=results)
            self._checks.take(self._at, results)

    def _intend(self, data: Mapping[str, Any]) -> None:
        if data["step"]["back"] and data["state"]["phase"] == Phase.ROLLED_BACK:
            self._say(Topic.NO_GO, f"NO_GO: {data['why']}")
            if self._stages:  # the tick that judged so took the step, and is not in the journal itself
                self._change_stage(results=failed_as_said(self._stages[-1].results, str(data["why"])))

    def _done(self, data: Mapping[str, Any]) -> None:
        step, after = data["step"], data["state"]
        percentage = int(step["percentage"])
        if step["back"]:
            share = f"{percentage} %" if percentage else "legacy"
            self._say(Topic.BACK, f"Users were taken back to {share}")
            self._end_stage(_OUTCOMES.get(Phase(after["phase"]), "back"))
        else:
            self._end_stage("GO")
            number = int(after["stage"])
            holds = self._facts["holds"]
            hold_s = float(holds[number - 1]) if 0 < number <= len(holds) else None
            self._stages.append(Stage(number, percentage, self._at, hold_s=hold_s))
            self._say(Topic.STEP, f"Stage {number}: {percentage} % of users on the target")
        self._move_to(after)

    def _end_stage(self, outcome: str) -> None:
        if self._stages and self._stages[-1].ended is None:
            self._change_stage(ended=self._at, outcome=outcome)

    def _answer(self, data: Mapping[str, Any]) -> None:
        order = self._orders.get(int(data["order"]), {})
        what = str(order.get("order", "an order"))
        if not data["obeyed"]:
            self._say(Topic.REFUSED, f"`{what}` was refused: {data['why']}")
        elif order.get("check"):
            self._say(Topic.OVERRIDE, f"Check “{order['check']}” was overridden: {order.get('reason')}")
        elif what in ("promote", "abort"):
            self._say(Topic.ABORTED if what == "abort" else Topic.ORDER, f"Somebody ordered `{what}`")
        self._move_to(data["state"])

    def _move_to(self, state: Mapping[str, Any]) -> None:
        """Take over a state, and tell of its phase where it is another."""
        before, self._state = self._state, state
        if self._stages and self._stages[-1].ended is None:
            overrides = {**self._stages[-1].overrides, **state["overrides"]}
            self._change_stage(held_s=float(state["held_s"]), overrides=overrides)
        if state["phase"] != before["phase"]:
            self._leave()
            self._enter(str(state["phase"]), Phase(before["phase"]))
        elif self._lasting is not None and self._lasting.topic is Topic.WAITING and state["why"]:
            self._lasting = replace(self._lasting, text=_capitalised(state["why"]))

    def _enter(self, phase: str, before: Phase = Phase.WAITING) -> None:
        topic, why = _LASTING.get(Phase(phase)), str(self._state["why"])
        if topic is not None:
            self._lasting = Event(self._at, topic, _capitalised(why or phase), self._at)
        elif phase == Phase.JUDGING and self._stages:
            if before is Phase.PAUSED:
                self._say(Topic.PHASE, "Resumed")
            elif before is Phase.SETTLING:
                self._say(Topic.PHASE, f"Stage {self._stages[-1].number} has settled and is judged")
        elif phase == Phase.COMPLETED:
            self._say(Topic.COMPLETED, f"Completed: {why}")
        elif phase == Phase.ABORTED:
            self._say(Topic.ABORTED, f"Aborted: {why}")

    def _leave(self) -> None:
        if self._lasting is not None and self._at > self._lasting.at:
            self._events.append(replace(self._lasting, until=self._at))
        self._lasting = None

    def _change_stage(self, **changes: Any) -> None:  # noqa: ANN401 - fields of a stage
        self._stages[-1] = replace(self._stages[-1], **changes)

    def _say(self, topic: Topic, text: str) -> None:
        self._events.append(Event(self._at, topic, text))


def read_definitions(checks: Any) -> tuple[CheckDefinition, ...]:  # noqa: ANN401 - a list of JSON objects
    """What the journal says about the plan's checks."""
    return tuple(
        CheckDefinition(
            name=str(one["name"]),
            kind=str(one.get("kind", "")),
            source=one.get("source"),
            operation=one.get("operation"),
            quantile=one.get("quantile"),
            bound=one.get("bound"),
            baseline_s=one.get("baseline_s"),
            unit=_UNITS.get(one.get("unit")),
        )
        for one in checks
    )


def _started(data: Mapping[str, Any]) -> str:
    stages = " → ".join(f"{one} %" for one in data["stages"])
    waived = data.get("waived") or ()
    without = f", without {' and '.join(waived)}" if waived else ""
    return f"The rollout was started: {stages} ({data['plan']}, {data['digest']}){without}"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
