"""The controller in a world without waiting: stages, gates, the way back, people, and other people's changes."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from proxy.rollout.decision import Phase, State
from proxy.rollout.journal import Journal, JournalError, Kind
from proxy.rollout.status import read_status
from tests.rollout.world import CHECKS, World, make_plan


async def run(world: World, most_ticks: int = 500, until: Phase | None = None) -> State:
    """Start, and tick until it is over (or in the phase `until`)."""
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        return await ticks(world, controller, most_ticks, until)


async def ticks(world: World, controller: Any, most: int = 500, until: Phase | None = None) -> State:
    for _ in range(most):
        state: State = await controller.tick()
        if state.phase.is_final or state.phase is until:
            break
        world.time.now += world.plan.interval
    return controller.state


def kinds(world: World) -> list[str]:
    with Journal(world.path) as journal:
        return [entry.kind.value for entry in journal.entries()]


async def test_with_good_traffic_every_stage_is_taken_and_held(world: World) -> None:
    world.good_traffic()
    began = world.time.now
    state = await run(world)
    assert state.phase is Phase.COMPLETED
    assert world.applied == [10, 50, 100]
    assert (world.percentage, world.enabled) == (100, True)
    assert world.time.now - began >= 180


async def test_nothing_is_taken_before_its_hold_is_over(world: World) -> None:
    world.good_traffic()
    at: list[tuple[float, int]] = []
    world.effect = lambda name: at.append((world.time.now, world.percentage)) if name == "after apply" else None
    await run(world)
    times = [when for when, _ in at]
    assert all(later - earlier >= 60 for earlier, later in pairwise(times))


async def test_without_traffic_it_holds_for_ever_and_names_what_is_missing(world: World) -> None:
    state = await run(world, most_ticks=200)
    assert (state.phase, state.stage) == (Phase.JUDGING, 1)
    assert "no data" in state.why


async def test_a_failing_target_is_rolled_back_at_the_hard_limit_at_once(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        state = await ticks(world, controller, 20, Phase.JUDGING)
        world.bad_traffic()
        world.time.now += 5
        state = await controller.tick()
    assert state.phase is Phase.ROLLED_BACK
    assert world.applied == [10, 0]
    assert (world.percentage, world.enabled) == (0, False)
    assert "hard limit" in state.why


async def test_without_a_hard_limit_it_takes_two_failures_in_a_row(tmp_path: Path) -> None:
    world = World(tmp_path, make_plan(checks=[{"name": "errors", "error_ratio_below": 0.01}]))
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        world.bad_traffic()
        world.time.now += 5
        first = await controller.tick()
        assert first.phase is Phase.JUDGING
        assert "1 of 2" in first.why
        world.time.now += 5
        assert (await controller.tick()).phase is Phase.ROLLED_BACK


async def test_a_no_go_may_go_back_to_the_stage_before(tmp_path: Path) -> None:
    world = World(tmp_path, make_plan(on_no_go="previous"))
    world.good_traffic()
    world.effect = lambda name: world.bad_traffic() if name == "after apply" and world.percentage == 50 else None
    state = await run(world)
    assert state.phase is Phase.ROLLED_BACK
    assert world.applied == [10, 50, 10]
    assert world.enabled


async def test_it_waits_for_an_owner_and_a_rehearsal(world: World) -> None:
    world.waived = frozenset()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        state = await controller.tick()
        assert state.phase is Phase.WAITING
        assert state.why == "waiting for owner.approver, owner.on_call, a rehearsal (cutover rollout rehearse)"
        journal.add(Kind.REHEARSAL, 0, {"ok": False})
        assert "a rehearsal" in (await controller.tick()).why
        journal.add(Kind.REHEARSAL, 0, {"ok": True})
        assert (await controller.tick()).why == "waiting for owner.approver, owner.on_call"
    assert world.applied == []


async def test_somebody_may_be_named_in_the_file_while_it_waits(world: World) -> None:
    world.waived = frozenset(("rehearsal",))
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        named = make_plan(owner={"approver": "Ann", "on_call": "Bo"})
        around = replace(controller._around, newest_plan=lambda: named)
        controller = type(controller)(world.plan, around)
        await controller.begin(world.facts())
        assert (await controller.tick()).phase is Phase.SETTLING


async def test_a_full_disk_does_not_keep_users_on_a_failing_target(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        world.bad_traffic()
        world.time.now += 5
        journal._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(JournalError):
            await controller.tick()
    assert (world.percentage, world.enabled) == (0, False)


async def test_a_store_that_hangs_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    world.good_traffic()
    monkeypatch.setattr("proxy.rollout.controller._STORE_PATIENCE_S", 0.01)
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        monkeypatch.setattr(world, "read", never)
        assert "can't be read in time" in (await controller.tick()).why


async def test_approval_waits_for_promote(tmp_path: Path) -> None:
    stages = [{"percentage": 10, "hold": "60s", "approval": True}, {"percentage": 100, "hold": "60s"}]
    world = World(tmp_path, make_plan(stages=stages))
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        assert (await ticks(world, controller, 100, Phase.APPROVAL)).phase is Phase.APPROVAL
        for _ in range(50):
            world.time.now += 5
            await controller.tick()
        assert world.applied == [10]
        journal.add(Kind.ORDER, 0, {"order": "promote"})
        await controller._obey_orders()
        world.time.now += 5
        await controller.tick()
        assert world.applied == [10, 100]


async def orders(world: World, *given: dict[str, Any]) -> tuple[State, list[str]]:
    """Give orders at the first stage's judging, and let them be obeyed."""
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        for order in given:
            journal.add(Kind.ORDER, 0, order)
        await controller._obey_orders()
        assert not await controller._obey_orders(), "each once"
        answers = [entry.data["why"] for entry in journal.entries(Kind.ANSWER)]
        return controller.state, answers


async def test_pause_holds_and_resume_goes_on(world: World) -> None:
    state, _ = await orders(world, {"order": "pause"})
    assert (state.phase, world.percentage) == (Phase.PAUSED, 10)
    again = World(world.path.parent, make_plan())
    again.path = world.path.with_name("again.db")
    state, _ = await orders(again, {"order": "pause"}, {"order": "resume"})
    assert state.phase is Phase.JUDGING


async def test_abort_takes_users_back_and_keep_does_not(tmp_path: Path) -> None:
    for keep, percentage in ((False, 0), (True, 10)):
        directory = tmp_path / str(keep)
        directory.mkdir()
        world = World(directory)
        state, _ = await orders(world, {"order": "abort", "keep": keep})
        assert (state.phase, world.percentage) == (Phase.ABORTED, percentage)


async def test_orders_that_make_no_sense_are_refused_and_said(world: World) -> None:
    state, answers = await orders(
        world,
        {"order": "resume"},
        {"order": "promote", "check": "get p96", "reason": "x"},
        {"order": "promote", "check": "get p95"},
        {"order": "pause"},
        {"order": "pause"},
        {"order": "promote"},
    )
    assert state.phase is Phase.PAUSED
    assert [answer for answer in answers if "not paused" in answer or "no check `get p96`" in answer]
    assert [answer for answer in answers if "needs a reason" in answer]
    assert [answer for answer in answers if "paused already" in answer]
    assert [answer for answer in answers if "resume it first" in answer]


async def test_an_override_lets_one_check_pass_for_one_stage(tmp_path: Path) -> None:
    checks = [*CHECKS, {"name": "value", "promql": "up", "below": 1}]
    world = World(tmp_path, make_plan(checks=checks))
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 40)
        assert world.applied == [10]
        journal.add(Kind.ORDER, 0, {"order": "promote", "check": "value", "reason": "known"})
        await controller._obey_orders()
        await ticks(world, controller, 60)
        assert world.applied == [10, 50]
        assert controller.state.overrides == {}


async def test_a_change_by_hand_stops_it_and_is_said(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        world.put(25)
        state = await controller.tick()
    assert state.phase is Phase.ABORTED
    assert world.percentage == 25
    assert "somebody else has changed it" in state.why


async def test_a_rollback_on_one_sidecar_by_hand_stops_it(tmp_path: Path) -> None:
    world = World(tmp_path, sidecars=2)
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        world.sidecars["sidecar-1"].enabled = False
        state = await controller.tick()
    assert state.phase is Phase.ABORTED
    assert "sidecar-1" in state.why


@pytest.mark.parametrize("trouble", ["revision", "down", "store", "kill_switch"])
async def test_what_cannot_be_seen_whole_holds_and_is_named(tmp_path: Path, trouble: str) -> None:
    world = World(tmp_path, sidecars=2)
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        world.sidecars["sidecar-1"].revision = "other" if trouble == "revision" else world.revision
        world.down = {"sidecar-1": "no answer in time"} if trouble == "down" else {}
        world.store_error = "can't be read" if trouble == "store" else None
        world.kill_switch = trouble == "kill_switch"
        state = await ticks(world, controller, 60)
        assert (state.phase, world.applied) == (Phase.JUDGING, [10])
        words = {"revision": "disagree on the revision", "down": "no answer in time", "store": "can't be read"}
        assert words.get(trouble, "kill switch") in state.why
        assert read_status(journal)["verdict"] == "HOLD"
        world.sidecars["sidecar-1"].revision, world.down, world.store_error = world.revision, {}, None
        world.kill_switch = False
        assert (await ticks(world, controller)).phase is Phase.COMPLETED


async def test_a_failing_target_is_rolled_back_even_while_a_sidecar_is_unseen(tmp_path: Path) -> None:
    world = World(tmp_path, sidecars=2)
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        world.down = {"sidecar-1": "no answer in time"}
        world.bad_traffic()
        world.time.now += 5
        assert (await controller.tick()).phase is Phase.ROLLED_BACK


async def test_a_paused_rollout_still_protects_its_users(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        journal.add(Kind.ORDER, 0, {"order": "pause"})
        await controller._obey_orders()
        assert (await ticks(world, controller, 50)).phase is Phase.PAUSED
        assert world.applied == [10]
        world.bad_traffic()
        world.time.now += 5
        assert (await controller.tick()).phase is Phase.ROLLED_BACK


async def test_a_step_that_fails_is_tried_again_and_said(world: World) -> None:
    world.good_traffic()
    world.apply_error = "read-only"
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        state = await controller.tick()
        assert state.phase is Phase.WAITING
        assert state.why == "10 % was not applied: read-only"
        world.apply_error = None
        assert (await ticks(world, controller)).phase is Phase.COMPLETED


async def test_a_rollback_that_fails_is_tried_again_and_again(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        world.bad_traffic()
        world.apply_error = "unreachable"
        world.time.now += 5
        state = await controller.tick()
        assert state.phase is Phase.JUDGING
        assert "0 % was not applied" in state.why
        world.apply_error = None
        world.time.now += 5
        assert (await controller.tick()).phase is Phase.ROLLED_BACK
    assert world.percentage == 0


async def test_a_rollback_that_was_decided_is_taken_whatever_the_checks_say_by_then(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        world.bad_traffic()
        world.apply_error = "sidecar-1: no answer in time"
        world.time.now += 5
        await controller.tick()
        world.traffic = lambda: None
        world.down = {"sidecar-0": "no answer in time"}
        for _ in range(5):
            world.time.now += 5
            assert (await controller.tick()).phase is Phase.JUDGING
        again = world.controller(journal)
        left = again._around.record.resumption()
        assert left is not None
        await again.resume(left, world.facts())
        world.apply_error = None
        state = await again.tick()
    assert (state.phase, world.percentage) == (Phase.ROLLED_BACK, 0)
    assert "hard limit" in state.why


async def test_it_does_not_begin_where_it_would_lower_the_percentage(world: World) -> None:
    world.put(30)
    with Journal(world.path) as journal, pytest.raises(ValueError, match="never lowers"):
        await world.controller(journal).begin(world.facts())


@pytest.mark.parametrize("jump", [-86400.0, 86400.0, 1e9])
async def test_a_wall_clock_that_jumps_changes_nothing(world: World, jump: float) -> None:
    world.good_traffic()
    began, jumped = world.time.now, [False]

    def leap(_name: str) -> None:
        if not jumped[0]:
            jumped[0] = True
            world.time.wall_offset += jump

    world.effect = leap
    assert (await run(world)).phase is Phase.COMPLETED
    assert 180 <= world.time.now - began < 260


async def test_a_machine_that_slept_has_not_watched(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 20, Phase.JUDGING)
        held = controller.state.held_s
        world.time.now += 3600
        await controller.tick()
        assert controller.state.held_s - held <= 1.5 * world.plan.interval
        assert world.applied == [10]


async def test_run_obeys_orders_between_ticks_and_stops_leaving_the_percentage(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        steps = iter(range(10_000))

        def look() -> None:
            step = next(steps)
            if step == 200:
                journal.add(Kind.ORDER, 0, {"order": "pause"})
            if step == 400:
                controller.stop()

        world.time.on_sleep = look
        state = await controller.run()
    assert state.phase is Phase.PAUSED
    assert world.percentage == 10
    assert "tick" in kinds(world)


async def test_manual_figures_gate_and_complaints_roll_back(tmp_path: Path) -> None:
    world = World(tmp_path, make_plan(checks=[*CHECKS, {"name": "complaints", "manual": True, "below": 1}]))
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await ticks(world, controller, 40)
        assert world.applied == [10]
        assert "nobody has said yet" in controller.state.why
        journal.add(Kind.NOTE, 0, {"text": "none", "check": "complaints", "value": 0})
        await ticks(world, controller, 5)
        assert world.applied == [10, 50]
        journal.add(Kind.NOTE, 0, {"text": "slow", "check": "complaints", "value": 1})
        state = await ticks(world, controller, 40)
    assert state.phase is Phase.ROLLED_BACK
    assert "complaints" in state.why


async def test_the_status_has_the_contracts_shape(world: World) -> None:
    world.good_traffic()
    await run(world, until=Phase.JUDGING)
    with Journal(world.path) as journal:
        status = read_status(journal)
    assert (status["phase"], status["stage"], status["percentage"]) == ("judging", 1, 10)
    assert {"phase", "stage", "percentage", "verdict", "checks"} <= set(status)
    keys = {"name", "verdict", "value", "bound", "samples", "needed", "eta_s", "why"}
    assert all(keys <= set(check) for check in status["checks"])


def test_a_controller_shows_its_state(world: World) -> None:
    with Journal(world.path) as journal:
        assert repr(world.controller(journal)) == "<Controller waiting stage=0 percentage=0 HOLD>"
