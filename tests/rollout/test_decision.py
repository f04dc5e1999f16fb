"""The decision table: each phase with each kind of facts, and whole sequences of them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.rollout.checks import Verdict
from proxy.rollout.decision import Decision, Facts, Phase, Position, State, Step, decide, go_back
from proxy.rollout.orders import Order, OrderKind, Refused, obey
from proxy.rollout.plan import Plan
from tests.rollout.world import make_plan

PLAN = make_plan()
GO, HOLD, NO_GO = Verdict.GO, Verdict.HOLD, Verdict.NO_GO
THERE = Position.THERE
HELD = State(phase=Phase.JUDGING, stage=1, percentage=10, enabled=True, held_s=55.0)


def facts(
    verdict: Verdict = GO, position: Position = THERE, watched_s: float = 5.0, missing: tuple[str, ...] = ()
) -> Facts:
    why = "" if position is THERE else f"it is {position.name}"
    return Facts(watched_s, verdict, verdict.value, position, why, missing)


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.COMPLETED, Phase.ABORTED])
def test_what_is_over_stays_over(phase: Phase) -> None:
    state = replace(HELD, phase=phase)
    for verdict in Verdict:
        for position in Position:
            assert decide(PLAN, state, facts(verdict, position)) == Decision(state)


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.is_final])
def test_a_change_by_hand_ends_every_phase_without_a_step(phase: Phase) -> None:
    found = decide(PLAN, replace(HELD, phase=phase), facts(position=Position.MOVED))
    assert (found.state.phase, found.step) == (Phase.ABORTED, None)
    assert "it is MOVED" in found.state.why


def test_waiting_names_what_is_missing_and_then_takes_the_first_stage() -> None:
    waiting = State()
    assert (
        decide(PLAN, waiting, facts(missing=("an owner", "a rehearsal"))).state.why
        == "waiting for an owner, a rehearsal"
    )
    assert decide(PLAN, waiting, facts(position=Position.UNKNOWN)).step is None
    found = decide(PLAN, waiting, facts(HOLD))
    assert found.step == Step(10, enabled=True)
    assert (found.state.phase, found.state.stage, found.state.converged) == (Phase.SETTLING, 1, False)


def test_settling_ends_when_it_was_watched_long_enough_at_the_percentage() -> None:
    state = State(phase=Phase.SETTLING, stage=1, percentage=10, enabled=True, converged=False)
    state = decide(PLAN, state, facts(position=Position.ARRIVING)).state
    assert (state.held_s, state.phase) == (0.0, Phase.SETTLING)
    for held_s in (5.0, 10.0):
        state = decide(PLAN, state, facts(NO_GO)).state
        assert (state.held_s, state.phase, state.converged) == (held_s, Phase.SETTLING, True)
    assert decide(PLAN, state, facts()).state.phase is Phase.JUDGING
    assert decide(PLAN, state, facts(NO_GO)).state.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize(
    ("held_s", "found", "phase", "step"),
    [
        (54.0, facts(), Phase.JUDGING, None),
        (55.0, facts(), Phase.SETTLING, Step(50, enabled=True)),
        (55.0, facts(watched_s=0.0), Phase.JUDGING, None),
        (99.0, facts(HOLD), Phase.JUDGING, None),
        (99.0, facts(position=Position.UNKNOWN), Phase.JUDGING, None),
        (99.0, facts(position=Position.ARRIVING), Phase.JUDGING, None),
        (20.0, facts(NO_GO), Phase.ROLLED_BACK, Step(0, enabled=False, back=True)),
        (99.0, facts(NO_GO, Position.UNKNOWN), Phase.ROLLED_BACK, Step(0, enabled=False, back=True)),
    ],
)
def test_judging(held_s: float, found: Facts, phase: Phase, step: Step | None) -> None:
    decision = decide(PLAN, replace(HELD, held_s=held_s), found)
    assert (decision.state.phase, decision.step) == (phase, step)


def test_the_last_stage_completes() -> None:
    last = replace(HELD, stage=3, percentage=100)
    assert decide(PLAN, last, facts()).state.phase is Phase.COMPLETED
    assert decide(PLAN, last, facts()).step is None


def test_approval_waits_for_it_goes_on_with_it_and_falls_back_to_judging() -> None:
    plan = make_plan(promotion="manual")
    waiting = decide(plan, HELD, facts()).state
    assert waiting.phase is Phase.APPROVAL
    assert decide(plan, waiting, facts()).state.phase is Phase.APPROVAL
    assert decide(plan, waiting, facts(HOLD)).state.phase is Phase.JUDGING
    assert decide(plan, waiting, facts(NO_GO)).state.phase is Phase.ROLLED_BACK
    approved = obey(plan, waiting, Order(OrderKind.PROMOTE)).state
    assert decide(plan, approved, facts(HOLD)).step is None
    assert decide(plan, approved, facts()).step == Step(50, enabled=True)
    last = replace(HELD, stage=3, percentage=100)
    assert decide(plan, last, facts()).state.phase is Phase.COMPLETED


def test_paused_counts_nothing_and_still_protects() -> None:
    paused = obey(PLAN, replace(HELD, held_s=99.0), Order(OrderKind.PAUSE)).state
    assert decide(PLAN, paused, facts()) == Decision(paused)
    assert decide(PLAN, paused, facts(NO_GO)).state.phase is Phase.ROLLED_BACK
    unsettled = obey(PLAN, replace(HELD, held_s=1.0), Order(OrderKind.PAUSE)).state
    assert decide(PLAN, unsettled, facts(NO_GO)).step is None
    assert decide(PLAN, obey(PLAN, State(), Order(OrderKind.PAUSE)).state, facts(NO_GO)).step is None


def test_where_back_is() -> None:
    previous = make_plan(on_no_go="previous")
    second = replace(HELD, stage=2, percentage=50)
    assert go_back(PLAN, second, Phase.ABORTED, "").step == Step(0, enabled=False, back=True)
    assert go_back(previous, second, Phase.ABORTED, "").step == Step(10, enabled=True, back=True)
    assert go_back(previous, HELD, Phase.ABORTED, "").step == Step(0, enabled=False, back=True)


def test_a_step_back_that_failed_is_taken_until_it_is_done() -> None:
    left = replace(HELD, attempted=0, back_phase="aborted", back_why="aborted")
    for verdict in Verdict:
        found = decide(PLAN, left, facts(verdict, Position.UNKNOWN))
        assert found.step == Step(0, enabled=False, back=True)
        assert (found.state.phase, found.state.back_phase, found.state.attempted) == (Phase.ABORTED, "", None)


def test_orders_after_the_end_are_refused() -> None:
    for kind in OrderKind:
        with pytest.raises(Refused, match="over: completed"):
            obey(PLAN, replace(HELD, phase=Phase.COMPLETED), Order(kind))


def test_a_promotion_that_was_meant_for_another_stage_is_refused() -> None:
    at_two = State(Phase.JUDGING, stage=2, percentage=50, enabled=True)
    with pytest.raises(Refused, match="meant for stage 1, and stage 2 has begun"):
        obey(PLAN, at_two, Order(OrderKind.PROMOTE, stage=1))
    assert obey(PLAN, at_two, Order(OrderKind.PROMOTE, stage=2)).state.approved


def test_promote_before_a_stage_is_refused_and_abort_before_one_changes_nothing() -> None:
    with pytest.raises(Refused, match="no stage has begun"):
        obey(PLAN, State(), Order(OrderKind.PROMOTE))
    assert obey(PLAN, State(), Order(OrderKind.ABORT)).step is None


def test_a_state_survives_the_journal() -> None:
    state = replace(HELD, overrides={"a": "b"}, streaks={"c": 1}, resume_to=Phase.APPROVAL, attempted=50)
    assert State.from_json(state.as_json()) == state


any_facts = st.builds(
    facts,
    verdict=st.sampled_from([GO, GO, GO, HOLD, NO_GO]),
    position=st.sampled_from([THERE, THERE, THERE, THERE, Position.ARRIVING, Position.UNKNOWN, Position.MOVED]),
    watched_s=st.sampled_from([0.0, 1.0, 5.0, 7.5]),
)
any_order = st.builds(
    Order,
    st.sampled_from(list(OrderKind)),
    check=st.sampled_from([None, "get p95", "nothing"]),
    reason=st.sampled_from([None, "why"]),
    keep=st.booleans(),
)
plans = st.builds(
    make_plan,
    promotion=st.sampled_from(["auto", "manual"]),
    on_no_go=st.sampled_from(["zero", "previous"]),
    settle=st.sampled_from(["0s", "10s"]),
)


@settings(max_examples=300, deadline=None)
@given(plan=plans, events=st.lists(any_facts | any_order, max_size=120))
def test_whatever_happens(plan: Plan, events: list[Facts | Order]) -> None:
    """No promotion without GO, the whole hold, and approval where it is asked for; never above the plan."""
    state, watched_s, promoted = State(), 0.0, False
    for event in events:
        before = state
        if isinstance(event, Order):
            try:
                decision = obey(plan, state, event)
            except Refused:
                continue
            promoted = promoted or event.kind is OrderKind.PROMOTE
        else:
            decision = decide(plan, state, event)
            watched_s += event.watched_s
        state, step = decision.state, decision.step
        forward = step is not None and not step.back
        completed = state.phase is Phase.COMPLETED and before.phase is not Phase.COMPLETED
        if completed or (forward and before.stage > 0):
            assert isinstance(event, Facts)
            assert (event.verdict, event.position) == (GO, THERE)
            assert watched_s >= plan.stages[before.stage - 1].hold
            assert promoted or not plan.needs_approval(before.stage)
        if forward:
            assert state.stage == before.stage + 1
            assert step is not None
            assert step.percentage == plan.stages[state.stage - 1].percentage
            watched_s, promoted = 0.0, False
        elif step is not None:
            assert step.percentage < before.percentage
            assert state.phase.is_final
        if before.phase.is_final:
            assert state == before
        assert state.percentage <= (plan.stages[state.stage - 1].percentage if state.stage else 0)


@settings(max_examples=100, deadline=None)
@given(plan=plans, events=st.lists(any_facts | any_order, max_size=60))
def test_it_always_ends_once_all_is_well(plan: Plan, events: list[Facts | Order]) -> None:
    state = State()
    for event in events:
        try:
            state = obey(plan, state, event).state if isinstance(event, Order) else decide(plan, state, event).state
        except Refused:
            continue
    for _ in range(60):
        if state.phase is Phase.PAUSED:
            state = obey(plan, state, Order(OrderKind.RESUME)).state
        if state.phase is Phase.APPROVAL:
            state = obey(plan, state, Order(OrderKind.PROMOTE)).state
        state = decide(plan, state, facts()).state
    assert state.phase.is_final
