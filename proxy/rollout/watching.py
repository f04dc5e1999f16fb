"""Watches on after the last stage: every check, snapshots at even intervals, into the journal. Changes nothing.

A snapshot holds what was counted since the one before; in between, what is counted is written as `start` does.

Neighbours: `cutover rollout watch` runs it, the report reads its snapshots.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from proxy.rollout.checks import Verdict
from proxy.rollout.decision import State
from proxy.rollout.journal import WITH_STATE, Journal, Kind
from proxy.rollout.judging import Judge, Judgement
from proxy.rollout.measured import measured_as_json
from proxy.rollout.measuring import WATCHING, Measuring
from proxy.rollout.meter import Meter
from proxy.rollout.observers import Observer
from proxy.rollout.place import InForce
from proxy.rollout.plan import Plan
from proxy.rollout.record import Record
from proxy.rollout.stores import Store, StoreError
from proxy.rollout.time_source import TimeSource

_PARTS: Final = 12  # what was counted between two snapshots is written in so many parts


class Watch:
    """Looks every interval, so that a window is whole, and writes a snapshot when one is due."""

    def __init__(self, plan: Plan, store: Store, observer: Observer, journal: Journal, time: TimeSource) -> None:
        self._plan = plan
        self._store = store
        self._observer = observer
        self._journal = journal
        self._time = time
        self._judge = Judge(plan)
        self._record = Record(journal, time)
        self._meter = Meter()
        last = journal.last(*WITH_STATE)
        self._state = State() if last is None else State.from_json(last.data["state"])
        self._in_force: InForce | None = None

    def __repr__(self) -> str:
        return f"<Watch {self._judge!r}>"

    async def run(self, span_s: float, every_s: float, say: Callable[[str], None]) -> bool:
        """Watch for so long; whether every snapshot was GO."""
        began = self._time.monotonic()
        measuring = Measuring(self._record, self._time, max(every_s / _PARTS, self._plan.interval))
        due, good = began + min(every_s, span_s), True
        try:
            while True:
                judgement = await self._look(measuring)
                now = self._time.monotonic()
                measuring.write(self._state, WATCHING, now=now >= due)
                if now >= due:
                    self._write(judgement)
                    say(f"{round(now - began)} s: {judgement.verdict.value}: {judgement.why}")
                    good = good and judgement.verdict is Verdict.GO
                    due += every_s
                    if now - began >= span_s:
                        return good
                await self._time.sleep(min(self._plan.interval, max(due - now, 0.0)))
        finally:
            await self._observer.close()
            await self._store.close()

    async def _look(self, measuring: Measuring) -> Judgement:
        seen = await self._observer.observe()
        with suppress(StoreError):  # its layout hardly changes; what can't be observed is said by the checks
            self._in_force = await self._store.read()
        seen = self._record.with_notes(self._plan, seen)
        layout = None if self._in_force is None else self._in_force.layout
        self._meter.add(self._time.monotonic(), self._time.wall(), seen)
        measuring.see(seen, layout, self._state)
        return self._judge.judge(self._time.monotonic(), seen, layout, replace(self._state, overrides={}, streaks={}))

    def _write(self, judgement: Judgement) -> None:
        places = {} if self._in_force is None else {name: list(share) for name, share in self._in_force.places.items()}
        checks = [check.as_json() for check in judgement.checks]
        facts = {"verdict": judgement.verdict.value, "why": judgement.why, "checks": checks, "places": places}
        if self._in_force is not None:
            facts["measured"] = measured_as_json(self._meter.take(), self._in_force.layout)
        self._journal.add(Kind.SNAPSHOT, self._time.wall(), facts)
