"""Whether the percentage is where this rollout has put it: what the store and the sidecars say, compared. Pure.

Neighbours: `stores` reads what is in force, `observers` the sidecars, `decision` takes the position.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.rollout.decision import Position, State
from proxy.rollout.reading import Reading
from proxy.rollout.tally import Layout


@dataclass(frozen=True, slots=True)
class InForce:
    """What a store holds. `places` maps each of its places to percentage and enabled."""

    places: Mapping[str, tuple[int, bool]]
    revisions: frozenset[str]
    layout: Layout
    kill_switch: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """What one tick has seen. `gaps` are sidecars that can't be read, and why.

    `values` and `missing` are by the names of checks that count no requests.
    """

    readings: Mapping[str, Reading] = field(default_factory=dict)
    gaps: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def gap(self) -> str | None:
        """What can't be read, as a sentence; also when there is nothing to be read at all."""
        if self.gaps:
            return "; ".join(f"{instance}: {why}" for instance, why in self.gaps.items())
        return None if self.readings else "no sidecar is seen"


def locate(state: State, in_force: InForce | str, seen: Observation) -> tuple[Position, str]:
    """The position and, unless it is THERE, why; a text for `in_force` says why it can't be read."""
    if isinstance(in_force, str):
        return Position.UNKNOWN, in_force
    expected = {_share(state.percentage, enabled=state.enabled)}
    if state.attempted is not None:
        expected.add(state.attempted)
    for place, (percentage, enabled) in in_force.places.items():
        if _share(percentage, enabled=enabled) not in expected:
            return Position.MOVED, _moved(place, percentage, state, enabled=enabled)
    if in_force.kill_switch:
        return Position.UNKNOWN, "the kill switch is on: everything goes to legacy"
    elsewhere = {
        instance: reading
        for instance, reading in seen.readings.items()
        if _share(reading.percentage, enabled=reading.enabled) not in expected
    }
    revisions = in_force.revisions.union(*(reading.revisions for reading in seen.readings.values()))
    if elsewhere and state.converged and len(revisions) == 1:
        instance, reading = next(iter(elsewhere.items()))
        return Position.MOVED, _moved(instance, reading.percentage, state, enabled=reading.enabled)
    if seen.gap is not None:
        return Position.UNKNOWN, seen.gap
    if len(revisions) > 1 and state.converged:
        return Position.UNKNOWN, f"the sidecars disagree on the revision: {', '.join(sorted(revisions))}"
    if elsewhere or len(revisions) > 1:
        waiting = ", ".join(elsewhere) or "every sidecar"
        return Position.ARRIVING, f"waiting for {waiting} to take over {state.percentage} %"
    return Position.THERE, ""


def _share(percentage: int, *, enabled: bool) -> int:
    """The share of users that move."""
    return percentage if enabled else 0


def _moved(place: str, percentage: int, state: State, *, enabled: bool) -> str:
    found = f"{percentage} %" if enabled else f"{percentage} % and not enabled"
    return f"{place} is at {found}, and this rollout has put {state.percentage} %: somebody else has changed it"
