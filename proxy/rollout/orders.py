"""What people may tell a running rollout, and what becomes of it. Pure.

Neighbours: `journal` brings orders from another terminal, `decision` has the table for everything else.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from proxy.rollout.decision import Decision, Phase, State, go_back
from proxy.rollout.plan import Plan


class OrderKind(StrEnum):
    """The orders there are."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Order:
    """An order. `check` and `reason` are for `promote --override`; `keep` is for an abort that changes nothing.

    `stage` is what a promotion was meant for: it is refused once another has begun.
    """

    kind: OrderKind
    check: str | None = None
    reason: str | None = None
    keep: bool = False
    stage: int | None = None


class Refused(Exception):
    """The order makes no sense now; the text says why."""


def obey(plan: Plan, state: State, order: Order) -> Decision:
    """What an order makes of the rollout. Raises Refused, and then nothing has changed."""
    if state.phase.is_final:
        raise Refused(f"the rollout is over: {state.phase.value}")
    if order.kind is OrderKind.PAUSE:
        return _pause(state)
    if order.kind is OrderKind.RESUME:
        if state.phase is not Phase.PAUSED:
            raise Refused(f"it is not paused but {state.phase.value}")
        return Decision(replace(state, phase=state.resume_to, why="resumed"))
    if order.kind is OrderKind.PROMOTE:
        return _promote(state, order, {check.name for check in plan.checks})
    if order.keep or state.stage == 0:
        return Decision(replace(state, phase=Phase.ABORTED, why=f"aborted at {state.percentage} %, left as it is"))
    return go_back(plan, state, Phase.ABORTED, "aborted")


def _pause(state: State) -> Decision:
    if state.phase is Phase.PAUSED:
        raise Refused("it is paused already")
    return Decision(replace(state, phase=Phase.PAUSED, resume_to=state.phase, why=f"paused at {state.percentage} %"))


def _promote(state: State, order: Order, checks: Collection[str]) -> Decision:
    if state.phase is Phase.PAUSED:
        raise Refused("it is paused: resume it first")
    if state.stage == 0:
        raise Refused(f"no stage has begun: {state.why or 'waiting'}")
    if order.stage is not None and order.stage != state.stage:
        raise Refused(f"it was meant for stage {order.stage}, and stage {state.stage} has begun: look again")
    overrides = state.overrides
    if order.check is not None:
        if order.check not in checks:
            raise Refused(f"there is no check `{order.check}`; there are {', '.join(sorted(checks))}")
        if not order.reason:
            raise Refused("an override needs a reason")
        overrides = {**overrides, order.check: order.reason}
    return Decision(replace(state, approved=True, overrides=overrides, why="promoted by hand, once it is GO"))
