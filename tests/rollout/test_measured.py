"""What was counted, as the journal keeps it for the report: each request once, by source and operation, never lost."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rollout.decision import Phase
from proxy.rollout.journal import Journal, Kind
from proxy.rollout.measured import measured_as_json
from proxy.rollout.meter import Meter
from proxy.rollout.place import Observation
from proxy.rollout.reading import Key, Reading
from proxy.rollout.record import Record
from proxy.rollout.watching import Watch
from proxy.telemetry.exposition import CACHE, DECISIONS, RELOADS, REQUESTS, TRUNCATED
from tests.rollout.world import LAYOUT, LEGACY, TARGET, Sidecar, World

KEY: Key = ("cutover_attempts_total", TARGET, "get", "ok")


def seen(*counts: float | None, breaker: int = 0) -> Observation:
    """What sidecars have counted by now; None: it can't be read."""
    up = {
        str(number): Reading({KEY: count}, breakers={TARGET: breaker})
        for number, count in enumerate(counts)
        if count is not None
    }
    return Observation(up, {str(number): "gone" for number, count in enumerate(counts) if count is None})


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 50), st.sampled_from(["seen", "gap", "restart"]), st.booleans()),
        max_size=40,
    )
)
def test_a_meter_gives_every_request_away_once_whatever_restarts_and_gaps_there_are(
    steps: list[tuple[int, int, str, bool]],
) -> None:
    meter, counts, given_away, served = Meter(), [100.0, 200.0], 0.0, 0.0
    meter.add(0, 0, seen(*counts))
    for now, (which, more, event, taken) in enumerate(steps, 1):
        if event == "restart":
            meter.add(now, now, seen(*counts))  # seen before it goes: what was not seen is nobody's to tell
            counts[which] = 0.0
            meter.add(now, now, seen(*counts))
        counts[which] += more
        served += more
        shown: list[float | None] = [*counts]
        if event == "gap":
            shown[which] = None
        meter.add(now, now, seen(*shown))
        if taken:
            given_away += meter.take().increase.get(KEY, 0.0)
    meter.add(999, 999, seen(*counts))
    assert given_away + meter.take().increase.get(KEY, 0.0) == served


def test_a_meter_tells_what_could_not_be_read_and_how_often_a_breaker_was_seen_to_open() -> None:
    meter = Meter()
    for now, (counts, breaker) in enumerate([((1, 1), 0), ((1, None), 2), ((2, 2), 2), ((2, 2), 1), ((2, 2), 2)]):
        meter.add(now, 1000 + now, seen(*counts, breaker=breaker))
    taken = meter.take()
    assert (taken.began, taken.ended, taken.seconds) == (1000, 1004, 4)
    assert taken.gaps == {"1": "gone"}
    assert (taken.breakers[TARGET].worst, taken.breakers[TARGET].opened) == (
        2,
        2,
    )  # once at each: probing in vain opens none
    meter.add(5, 1005, seen(2, 2, breaker=2))
    assert meter.take().breakers[TARGET].opened == 0  # it was open before
    assert repr(meter) == "<Meter of 2 sidecars>"


def sidecar_with_everything() -> Sidecar:
    sidecar = Sidecar()
    sidecar.serve(90, seconds=0.03)
    sidecar.serve(8, seconds=0.2, outcome="timeout")
    sidecar.serve(2, seconds=0.2, outcome="status_404")
    sidecar.serve(40, source=LEGACY, operation="list", seconds=0.3)
    sidecar.fall_back(8, "timeout")
    sidecar.fall_back(2, "status_404", "confirmed")
    sidecar.cache(70, 20)
    sidecar.add((REQUESTS.name, "proxy", "get", "502"), 1)
    sidecar.add((TRUNCATED.name, TARGET, "get"), 3)
    sidecar.add((DECISIONS.name, LEGACY, "get", "breaker_open"), 5)
    sidecar.add((RELOADS.name, "rejected"), 2)
    sidecar.add((CACHE.name, LEGACY, "list", "miss"), 0)
    return sidecar


def test_figures_are_those_of_the_checks_by_source_and_operation() -> None:
    meter = Meter()
    meter.add(0, 0, Observation({"a": Sidecar().reading()}))
    meter.add(60, 60, Observation({"a": sidecar_with_everything().reading()}))
    shown = measured_as_json(meter.take(), LAYOUT)
    figures: dict[tuple[str, str], Any] = {(one["role"], one["operation"]): one for one in shown["figures"]}
    assert set(figures) == {("target", "get"), ("legacy", "list"), ("proxy", "get")}
    attempts = figures["target", "get"]["attempts"]
    assert (attempts["count"], attempts["errors"]) == (100, 8)  # a 404 that legacy confirmed is none
    assert attempts["outcomes"] == {"ok": 90, "status_404": 2, "timeout": 8}
    assert (attempts["p50_s"], attempts["p95_s"]) == (pytest.approx(0.0255, abs=0.001), pytest.approx(0.175, abs=0.01))
    assert sum(attempts["buckets"]) == 100
    assert attempts["buckets"][shown["bounds_s"].index(0.03)] == 90
    assert len(attempts["buckets"]) == len(shown["bounds_s"]) + 1
    assert figures["target", "get"]["cache"] == {"hit": 70, "miss": 20}
    assert figures["target", "get"]["requests"]["errors"] == 3  # broken off
    assert figures["proxy", "get"]["requests"]["codes"] == {"502": 1}
    assert "attempts" not in figures["proxy", "get"]
    assert {"operation": "get", "reason": "timeout", "result": "served", "count": 8} in shown["fallbacks"]
    assert shown["user_errors"] == {"failures": 4, "total": 141}
    assert shown["fallback_ratio"] == {"failures": 13, "total": 105}
    assert (shown["breaker_rejected"], shown["configs"]["rejected"]) == (5, 2)


def measured_in(world: World) -> list[dict[str, Any]]:
    with Journal(world.path) as journal:
        return [entry.data for entry in journal.entries(Kind.MEASURED)]


def attempts_in(entries: list[dict[str, Any]], role: str) -> int:
    figures = [one for entry in entries for one in entry["figures"] if one["role"] == role]
    return sum(one["attempts"]["count"] for one in figures)


async def run_to_the_end(world: World) -> None:
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        state = await controller.run()
    assert state.phase is Phase.COMPLETED


async def test_a_run_tells_what_it_found_and_then_each_request_of_each_stage_once(world: World) -> None:
    [sidecar] = world.sidecars.values()
    sidecar.serve(5000, source=LEGACY, seconds=0.3)
    world.good_traffic(each=80)
    await run_to_the_end(world)
    found, *increases = measured_in(world)
    assert (found["what"], found["stage"], found["from"]) == ("found", 0, None)
    assert attempts_in([found], "legacy") == 5000
    assert attempts_in([found], "target") == 0
    assert {entry["what"] for entry in increases} == {"increase"}
    assert all(later["from"] == earlier["to"] for earlier, later in pairwise(increases))
    assert attempts_in(increases, "legacy") == 0
    assert attempts_in(increases, "target") == sidecar.counters[KEY]
    assert [entry["percentage"] for entry in increases] == sorted(entry["percentage"] for entry in increases)
    assert {entry["stage"] for entry in increases} >= {1, 2, 3}
    assert all(entry["seconds"] >= world.plan.interval for entry in increases)


async def test_what_was_found_is_told_once_also_when_the_controller_is_started_again(world: World) -> None:
    with Journal(world.path) as journal:
        first = world.controller(journal)
        await first.begin(world.facts())
        await first.tick()
    with Journal(world.path) as journal:
        left = Record(journal, world.time).resumption()
        assert left is not None
        second = world.controller(journal)
        await second.resume(left, world.facts())
        world.time.now += 5
        await second.tick()
    assert [entry["what"] for entry in measured_in(world)].count("found") == 1


async def test_a_watch_writes_parts_and_a_snapshot_that_holds_them_together(world: World) -> None:
    world.good_traffic(each=80)
    await run_to_the_end(world)
    before = len(measured_in(world))
    said: list[str] = []
    with Journal(world.path) as journal:
        watch = Watch(world.plan, world, world, journal, world.time)
        assert await watch.run(7200, 3600, said.append)
        snapshots = [entry.data for entry in journal.entries(Kind.SNAPSHOT)]
    parts = measured_in(world)[before:]
    assert [snapshot["verdict"] for snapshot in snapshots] == ["GO", "GO"]
    assert [part["phase"] for part in parts] == ["watching"] * 24
    assert {(part["stage"], part["percentage"]) for part in parts} == {(3, 100)}
    whole = [snapshot["measured"] for snapshot in snapshots]
    assert attempts_in(whole, "target") == attempts_in(parts, "target") > 0
    assert whole[0]["to"] == whole[1]["from"] == parts[11]["to"]
    assert len(said) == 2


async def test_a_watch_is_not_good_when_one_snapshot_is_not(world: World, tmp_path: Path) -> None:
    world.put(100)
    world.bad_traffic(each=80)
    with Journal(world.path) as journal:
        watch = Watch(world.plan, world, world, journal, world.time)
        assert not await watch.run(60, 60, lambda _line: None)
        [snapshot] = journal.entries(Kind.SNAPSHOT)
    assert snapshot.data["verdict"] == "NO_GO"
