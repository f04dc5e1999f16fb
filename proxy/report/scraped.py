"""From counters as Prometheus remembers them to measurements, interval by interval. Pure.

Neighbours: `prometheus` asks, `rollout.history` says what restarts mean, `collect` fills with what is made here.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from proxy.core.model import Role
from proxy.report.figures import Measurement
from proxy.report.findings import Run, Sources
from proxy.report.measured import read_record
from proxy.rollout.history import increases
from proxy.rollout.measured import measured_as_json
from proxy.rollout.meter import Breaker, Metered
from proxy.rollout.reading import Key
from proxy.rollout.tally import Layout

SIDECAR_LABELS: Final = ("job", "instance")
"""What tells sidecars apart; in the keys of counters they come last."""

_REJECTING: Final = 2

Points = Mapping[Key, Mapping[float, float]]
"""Values by series and time."""

Span = tuple[float, float, Mapping[Key, float]]
"""From when to when, and what was counted."""


def spans_between(counters: Points, histograms: Points) -> list[Span]:
    """Each interval, from one moment of which anything is known to the next, and what was counted in it."""
    by_sidecar: dict[float, dict[Key, dict[Key, float]]] = {}
    for key, points in counters.items():
        for at, value in points.items():
            sidecar, own = key[-len(SIDECAR_LABELS) :], key[: -len(SIDECAR_LABELS)]
            by_sidecar.setdefault(at, {}).setdefault(sidecar, {})[own] = value
    spans: list[Span] = []
    last: dict[Key, dict[Key, float]] = {}
    began: float | None = None
    for at, sidecars in sorted(by_sidecar.items()):
        grown: dict[Key, float] = {}
        for sidecar, now in sidecars.items():
            for key, increase in increases(last.get(sidecar), now):
                grown[key] = grown.get(key, 0.0) + increase
            last[sidecar] = now
        if began is not None:
            grown.update({key: points[at] for key, points in histograms.items() if at in points})
            spans.append((began, at, grown))
        began = at
    return spans


def measurements_of(run: Run, sources: Sources, spans: Iterable[Span], states: Points) -> list[Measurement]:
    """A measurement of each span; `states` are the breakers' worst states, by the spans' ends."""
    layout = Layout({Role.LEGACY: sources.legacy, Role.TARGET: sources.target}, {})
    found, rejecting = [], False
    for began, ended, grown in spans:
        worst = int(max((points[ended] for points in states.values() if ended in points), default=0))
        breaker = Breaker(worst, int(worst == _REJECTING and not rejecting))
        rejecting = worst == _REJECTING
        metered = Metered(grown, ended, began, ended - began, breakers={sources.target: breaker})
        standing = {"what": "increase", "stage": 1, "phase": "", "percentage": _percentage(run, began, ended)}
        found.append(read_record(run.number, {**standing, **measured_as_json(metered, layout)}).measurement)
    return found


def _percentage(run: Run, began: float, ended: float) -> int:
    """What was in force for most of an interval; 0 before the first step and after a step back."""
    middle = (began + ended) / 2
    for stage in reversed(run.stages):
        if middle >= stage.began:
            went_back = stage.ended is not None and middle >= stage.ended and run.percentage != stage.percentage
            return run.percentage if went_back else stage.percentage
    return 0
