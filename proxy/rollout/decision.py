"""What the controller does next: a phase and facts in, the next phase and perhaps a step out.

Pure, and the whole table is here:

| phase | GO and held long enough | HOLD, or not everybody is there | NO_GO | changed by hand |
| --- | --- | --- | --- | --- |
| waiting | first stage, once nothing is missing | waits | - | aborted |
| settling | judging, once settled | settling | not judged yet | aborted |
| judging | next stage, approval, or completed | judging | back, rolled_back | aborted |
| approval | next stage once approved | judging | back, rolled_back | aborted |
| paused | paused | paused | back, rolled_back | aborted |
| rolled_back, completed, aborted | for good | for good | for good | for good |

A step back that could not be taken everywhere is taken again at every tick, whatever the checks say by then.

Time is counted in seconds that were watched, never as a difference of clocks: what nobody saw does not count as
held, and a clock that jumps changes nothing. Neighbours: `controller` supplies facts and takes the steps, `orders`
has the people's side.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, StrEnum, auto
from typing import Any

from proxy.rollout.checks import Verdict
from proxy.rollout.plan import Plan


class Phase(StrEnum):
    """What the rollout does."""

    WAITING = "waiting"
    SETTLING = "settling"
    JUDGING = "judging"
    APPROVAL = "approval"
    PAUSED = "paused"
    ROLLED_BACK = "rolled_back"
    COMPLETED = "completed"
    ABORTED = "aborted"

    @property
    def is_final(self) -> bool:
        """Whether it is over."""
        return self in (Phase.ROLLED_BACK, Phase.COMPLETED, Phase.ABORTED)


class Position(Enum):
    """Where the percentage is, compared with where this rollout has put it."""

    THERE = auto()
    ARRIVING = auto()  # put there, and not in force everywhere yet
    UNKNOWN = auto()  # can't be read, or the sidecars disagree on the configuration
    MOVED = auto()  # somebody else has changed it


@dataclass(frozen=True, slots=True)
class State:
    """Everything the rollout remembers from one tick to the next.

    `stage` counts from 1, and is 0 before the first step; `percentage` and `enabled` are what was last put in force.
    `held_s` is how long the stage was watched. `converged` says that everybody was seen at the percentage.
    `overrides` are checks that count as GO in this stage, and why. `streaks` are failures in a row. `attempted` is the
    percentage of a step that failed, perhaps half done; when that was a step back, `back_phase` and `back_why` say what
    for, and it is taken until it is done. `last_order` is the newest order that was obeyed or refused.
    """

    phase: Phase = Phase.WAITING
    stage: int = 0
    percentage: int = 0
    enabled: bool = False
    held_s: float = 0.0
    converged: bool = True
    approved: bool = False
    resume_to: Phase = Phase.WAITING
    overrides: Mapping[str, str] = field(default_factory=dict)
    streaks: Mapping[str, int] = field(default_factory=dict)
    attempted: int | None = None
    back_phase: str = ""
    back_why: str = ""
    last_order: int = 0
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """What the journal keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "State":
        """What the journal kept."""
        return cls(**{**kept, "phase": Phase(kept["phase"]), "resume_to": Phase(kept["resume_to"])})


@dataclass(frozen=True, slots=True)
class Facts:
    """What one tick has found. `watched_s`: since the last tick, 0 when something could not be seen.

    `missing` is what the first step waits for.
    """

    watched_s: float
    verdict: Verdict
    why: str
    position: Position
    position_why: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A change to be put in force. `back` takes users away from the target: half of it is better than none."""

    percentage: int
    enabled: bool
    back: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state and, when it is only true once something was put in force, the step to it."""

    state: State
    step: Step | None = None


def decide(plan: Plan, state: State, facts: Facts) -> Decision:
    """Decide one tick."""
    if state.phase.is_final:
        return Decision(state)
    if facts.position is Position.MOVED:
        why = f"stopped, nothing was changed: {facts.position_why}"
        return Decision(replace(state, phase=Phase.ABORTED, why=why))
    if state.back_phase:
        return go_back(plan, state, Phase(state.back_phase), state.back_why)
    if facts.position is Position.THERE and not state.converged:
        state = replace(state, converged=True)
    if state.phase is Phase.PAUSED:
        return _paused(plan, state, facts)
    if state.stage == 0:
        return _waiting(plan, state, facts)
    return _watching(plan, state, facts)


def go_back(plan: Plan, state: State, phase: Phase, why: str) -> Decision:
    """Take the users back, to where the plan says; then it is over."""
    before = plan.stages[state.stage - 2].percentage if plan.on_no_go == "previous" and state.stage > 1 else 0
    step = Step(before, enabled=before > 0, back=True)
    state = replace(state, attempted=None, back_phase="", back_why="")
    return Decision(replace(state, phase=phase, percentage=before, enabled=before > 0, why=why), step)


def _waiting(plan: Plan, state: State, facts: Facts) -> Decision:
    if facts.missing:
        return Decision(replace(state, why=f"waiting for {', '.join(facts.missing)}"))
    if facts.position is not Position.THERE:
        return Decision(replace(state, why=f"waiting: {facts.position_why}"))
    return _to_stage(plan, state, 1, "everything is there")


def _watching(plan: Plan, state: State, facts: Facts) -> Decision:
    """Settling, judging and approval are one thing seen at different times."""
    stage = plan.stages[state.stage - 1]
    settling = state.held_s < plan.settle or not state.converged  # what ends with this tick began before it
    if state.converged:
        state = replace(state, held_s=state.held_s + facts.watched_s)
    if settling:
        why = facts.position_why or f"{state.percentage} % is in force, and settling"
        return Decision(replace(state, phase=Phase.SETTLING, why=why))
    if facts.verdict is Verdict.NO_GO:
        return go_back(plan, state, Phase.ROLLED_BACK, facts.why)
    judging = replace(state, phase=Phase.JUDGING, why=facts.position_why or facts.why)
    if facts.position is not Position.THERE or facts.verdict is Verdict.HOLD or state.held_s < stage.hold:
        return Decision(judging)
    if plan.needs_approval(state.stage) and not state.approved:
        return Decision(replace(state, phase=Phase.APPROVAL, why="GO; waiting for somebody to promote"))
    if state.stage == len(plan.stages):
        return Decision(replace(state, phase=Phase.COMPLETED, why="every stage is GO"))
    return _to_stage(plan, state, state.stage + 1, facts.why)


def _paused(plan: Plan, state: State, facts: Facts) -> Decision:
    """Nobody is moved on, and time does not count; a NO_GO still protects the users."""
    if facts.verdict is Verdict.NO_GO and state.stage > 0 and state.held_s >= plan.settle:
        return go_back(plan, state, Phase.ROLLED_BACK, facts.why)
    return Decision(state)


def _to_stage(plan: Plan, state: State, stage: int, why: str) -> Decision:
    percentage = plan.stages[stage - 1].percentage
    begun = State(
        phase=Phase.SETTLING,
        stage=stage,
        percentage=percentage,
        enabled=True,
        converged=False,
        last_order=state.last_order,
        why=why,
    )
    return Decision(begun, Step(percentage, enabled=True))
