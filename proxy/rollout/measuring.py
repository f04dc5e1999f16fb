"""When what was counted goes into the journal: as it was found, then every so often, at each step and at the end.

Decides nothing about the rollout. Neighbours: `controller` and `watching` show it every tick, `meter` counts,
`measured` gives the shape, `record` keeps.
"""

from typing import Final

from proxy.rollout.decision import State
from proxy.rollout.measured import measured_as_json
from proxy.rollout.meter import Meter
from proxy.rollout.place import Observation
from proxy.rollout.plan import Plan
from proxy.rollout.record import Record
from proxy.rollout.tally import Layout
from proxy.rollout.time_source import TimeSource

WATCHING: Final = "watching"
"""The phase that `cutover rollout watch` says."""

_TIMES_A_STAGE: Final = 120


def choose_spacing(plan: Plan) -> float:
    """Seconds between two entries: a curve's worth of them in the shortest stage, and never more than ticks."""
    return max(plan.interval, min(stage.hold for stage in plan.stages) / _TIMES_A_STAGE)


class Measuring:
    """Keeps the meter of one run; nothing is written before the sources' names are known."""

    def __init__(self, record: Record, time: TimeSource, every_s: float) -> None:
        self._record = record
        self._time = time
        self._every_s = every_s
        self._meter = Meter()
        self._layout: Layout | None = None
        self._found_due = False

    def __repr__(self) -> str:
        return f"<Measuring every {self._every_s:g} s, {self._meter!r}>"

    def begin(self) -> None:
        """A new run: what is found comes first."""
        self._found_due = True

    def see(self, seen: Observation, layout: Layout | None, state: State) -> None:
        """Take what was seen at a tick; before a run's first step, also what was there before it."""
        self._meter.add(self._time.monotonic(), self._time.wall(), seen)
        self._layout = layout or self._layout
        if self._found_due and self._layout is not None and seen.readings:
            self._found_due = False
            found = measured_as_json(self._meter.found(), self._layout)
            self._record.measured({"what": "found", **_standing(state), **found})

    def write(self, state: State, phase: str = "", *, now: bool = False) -> None:
        """Write what was counted since the entry before, when it is due or must be now.

        `state` is where the rollout was meanwhile; `phase` is said instead of its phase.
        """
        due = self._meter.seconds > 0 and (now or self._meter.seconds >= self._every_s)
        if due and self._layout is not None:
            facts = measured_as_json(self._meter.take(), self._layout)
            self._record.measured({"what": "increase", **_standing(state, phase), **facts})


def _standing(state: State, phase: str = "") -> dict[str, object]:
    return {
        "stage": state.stage,
        "percentage": state.percentage if state.enabled else 0,
        "phase": phase or state.phase.value,
    }
