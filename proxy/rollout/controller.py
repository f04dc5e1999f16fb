"""Runs a rollout: one tick is observe → decide → apply, and everything is in the journal before it is true.

Holds no rule of its own: `judging` judges, `decision` and `orders` decide. Neighbours: `cutover rollout start` makes
it; `stores` and `observers` are asked, `record` remembers, `hooks` tell.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from proxy.rollout.checks import CheckVerdict, Verdict
from proxy.rollout.decision import Decision, Facts, Phase, Position, State, Step, decide
from proxy.rollout.hooks import Hooks
from proxy.rollout.journal import JournalError
from proxy.rollout.judging import Judge, Judgement
from proxy.rollout.measuring import Measuring, choose_spacing
from proxy.rollout.observers import Observer
from proxy.rollout.orders import Refused, obey
from proxy.rollout.place import InForce, Observation, locate
from proxy.rollout.plan import Plan
from proxy.rollout.record import Record, Resumption
from proxy.rollout.stores import Store, StoreError
from proxy.rollout.tally import Layout
from proxy.rollout.time_source import TimeSource

_LOOK_FOR_ORDERS_S: Final = 0.25
_STORE_PATIENCE_S: Final = 12.0  # the file's lock may take ten
_TRY_BACK_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a controller works with. `say` is given a line for people.

    `newest_plan` gives the plan as its file says now, while the first step is still to come.
    """

    store: Store
    observer: Observer
    record: Record
    time: TimeSource
    hooks: Hooks
    say: Callable[[str], None] = lambda _line: None
    newest_plan: Callable[[], Plan] | None = None
    waived: frozenset[str] = frozenset()  # "owner", "rehearsal"


class Controller:
    """One rollout, from its start or from where it was left."""

    def __init__(self, plan: Plan, around: Surroundings) -> None:
        self._plan = plan
        self._around = around
        self._judge = Judge(plan)
        self._measuring = Measuring(around.record, around.time, choose_spacing(plan))
        self._state = State()
        self._verdict = Verdict.HOLD
        self._checks: tuple[CheckVerdict, ...] = ()
        self._last_look: float | None = None
        self._in_force: InForce | None = None
        self._stop = asyncio.Event()
        self._said = ""
        self._told: tuple[Phase, int, int] | None = None

    def __repr__(self) -> str:
        state = self._state
        return (
            f"<Controller {state.phase.value} stage={state.stage} percentage={state.percentage} {self._verdict.value}>"
        )

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def checks(self) -> tuple[CheckVerdict, ...]:
        """The verdicts of the last tick."""
        return self._checks

    def stop(self) -> None:
        """End soon, and leave the percentage as it is."""
        self._stop.set()

    async def begin(self, facts: Mapping[str, Any]) -> None:
        """Start a new run from what is in force. Raises StoreError or ValueError when it can't begin there."""
        in_force = await self._around.store.read()
        shares = {percentage if enabled else 0 for percentage, enabled in in_force.places.values()}
        if len(shares) > 1:
            raise ValueError(
                f"the percentages differ ({', '.join(map(str, sorted(shares)))}): make them the same first"
            )
        share, first = shares.pop(), self._plan.stages[0].percentage
        if share > first:
            raise ValueError(f"{share} % is in force, and the first stage is {first} %: a rollout never lowers it")
        self._state = State(percentage=share, enabled=share > 0)
        self._around.record.begin(self._state, facts)
        self._measuring.begin()

    async def resume(self, left: Resumption, facts: Mapping[str, Any]) -> None:
        """Go on with a run; a step that may not have been taken is taken again."""
        self._state = left.before
        self._around.record.resume(facts)
        step = left.unfinished
        if step is None:
            return
        if not step.back and not await self._may_still_take(step):
            return  # the next tick says that somebody else has changed it
        self._around.say(f"taking the step to {step.percentage} % again: it was not known to be done")
        await self._take(step, left.before, left.state)

    async def _may_still_take(self, step: Step) -> bool:
        """Whether what is in force is what was before the step or after it, everywhere."""
        in_force = await self._around.store.read()
        known = {self._state.percentage if self._state.enabled else 0, step.percentage}
        return all((share if enabled else 0) in known for share, enabled in in_force.places.values())

    async def run(self) -> State:
        """Tick until it is over or stopped."""
        time = self._around.time
        while not self._state.phase.is_final and not self._stop.is_set():
            began = time.monotonic()
            await self.tick()
            while not self._state.phase.is_final and not self._stop.is_set():
                left_s = began + self._plan.interval - time.monotonic()
                if left_s <= 0 or await self._obey_orders():
                    break
                await time.sleep(min(left_s, _LOOK_FOR_ORDERS_S))
        self._measuring.write(self._state, now=True)
        return self._state

    async def tick(self) -> State:
        """Observe, decide, apply."""
        around = self._around
        in_force, seen = await asyncio.gather(self._read_store(), around.observer.observe())
        now = around.time.monotonic()
        seen = around.record.with_notes(self._plan, seen)
        if isinstance(in_force, InForce):
            self._in_force = in_force
        layout = None if self._in_force is None else self._in_force.layout
        self._measuring.see(seen, layout, self._state)
        judgement = self._judge_now(now, seen, layout)
        position, position_why = locate(self._state, in_force, seen)
        facts = Facts(
            watched_s=self._watched_s(now, whole=seen.gap is None and position is not Position.UNKNOWN),
            verdict=judgement.verdict,
            why=judgement.why,
            position=position,
            position_why=position_why,
            missing=self._missing(),
        )
        self._checks = judgement.checks
        self._verdict = self._shown_verdict(judgement, position)
        await self._carry_out(decide(self._plan, self._state, facts), judgement.streaks)
        return self._state

    async def _read_store(self) -> InForce | str:
        try:
            async with asyncio.timeout(_STORE_PATIENCE_S):
                return await self._around.store.read()
        except StoreError as error:
            return str(error)
        except TimeoutError:
            return "what is in force can't be read in time"

    def _judge_now(self, now: float, seen: Observation, layout: Layout | None) -> Judgement:
        """Judge; while settling only by way of a rehearsal, of which nothing is kept."""
        judgement = self._judge.judge(now, seen, layout, self._state)
        if self._state.held_s < self._plan.settle or not self._state.converged:
            self._judge.begin()
            return replace(judgement, streaks={})
        return judgement

    def _watched_s(self, now: float, *, whole: bool) -> float:
        """Seconds since the last look that were watched; never more than a tick and a half, whatever clocks do."""
        last, self._last_look = self._last_look, now
        if last is None or not whole:
            return 0.0
        return min(max(now - last, 0.0), 1.5 * self._plan.interval)

    def _missing(self) -> tuple[str, ...]:
        """What the first step waits for; the plan's file is read again, for somebody may have been named."""
        if self._state.stage > 0:
            return ()
        if self._around.newest_plan is not None:
            self._plan = self._around.newest_plan()
        owner, waived = self._plan.owner, self._around.waived
        missing = []
        if "owner" not in waived:
            missing += [f"owner.{key}" for key in ("approver", "on_call") if getattr(owner, key) is None]
        if "rehearsal" not in waived and not self._around.record.has_rehearsal():
            missing.append("a rehearsal (cutover rollout rehearse)")
        return tuple(missing)

    @staticmethod
    def _shown_verdict(judgement: Judgement, position: Position) -> Verdict:
        if judgement.verdict is Verdict.GO and position is not Position.THERE:
            return Verdict.HOLD
        return judgement.verdict

    async def _carry_out(self, decision: Decision, streaks: Mapping[str, int]) -> None:
        after = decision.state
        if decision.step is not None:
            await self._take(decision.step, self._state, after)
            return
        self._state = replace(after, streaks=dict(streaks))
        self._around.record.tick(self._state, self._verdict, self._checks)
        self._measuring.write(self._state)
        self._tell()

    async def _take(self, step: Step, before: State, after: State) -> None:
        """Write the intent, take the step, write that it is done."""
        record = self._around.record
        try:
            record.intend(step, before, after, after.why)
        except JournalError:
            if step.back:  # a full disk must not keep users on a failing target
                await self._apply(step)
            raise
        why = await self._apply(step)
        if why is None:
            self._state = after
            record.done(step, after)
            self._measuring.write(before, now=True)
            self._judge.begin()
        else:
            text = f"{step.percentage} % was not applied: {why}"
            self._state = replace(before, attempted=step.percentage, why=text)
            if step.back:
                self._state = replace(self._state, back_phase=after.phase.value, back_why=after.why)
            record.failed(step, self._state, why)
        self._tell()

    async def _apply(self, step: Step) -> str | None:
        """Take the step, a step back several times if need be; why not, or None."""
        why = ""
        for attempt in range(3 if step.back else 1):
            if attempt:
                await self._around.time.sleep(_TRY_BACK_AGAIN_S)
            try:
                await self._around.store.apply(step)
            except StoreError as error:
                why = str(error)
            else:
                return None
        return why

    async def _obey_orders(self) -> bool:
        """Obey what people have ordered since; whether there was anything."""
        obeyed = False
        for number, order in list(self._around.record.orders(self._state.last_order)):
            obeyed = True
            before = replace(self._state, last_order=number)
            try:
                decision = obey(self._plan, before, order)
            except Refused as refusal:
                self._state = before
                self._around.record.answer(number, self._state, str(refusal), obeyed=False)
                continue
            if decision.step is not None:
                await self._take(decision.step, before, decision.state)
            else:
                self._state = decision.state
            why = self._state.why
            self._around.record.answer(number, self._state, why, obeyed=self._state.attempted is None)
            self._tell()
        return obeyed

    def _tell(self) -> None:
        """Tell people of what is new."""
        state = self._state
        line = f"{state.phase.value}: stage {state.stage}, {state.percentage} %, {self._verdict.value}: {state.why}"
        news = (state.phase, state.stage, state.percentage)
        if line != self._said:
            self._around.say(line)
        if self._told != news:
            self._around.hooks.tell(
                {
                    "event": "transition",
                    "at": self._around.time.wall(),
                    "phase": state.phase.value,
                    "stage": state.stage,
                    "percentage": state.percentage,
                    "verdict": self._verdict.value,
                    "why": state.why,
                    "checks": [check.as_json() for check in self._checks],
                }
            )
        self._said, self._told = line, news
