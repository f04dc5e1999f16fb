"""The journal: append-only, private, and enough to go on from after a kill at any point."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.rollout.decision import Phase
from proxy.rollout.journal import Journal, JournalError, Kind
from proxy.rollout.lock import AlreadyRunning, controller_lock, is_running
from proxy.rollout.status import read_status
from tests.rollout.world import World, make_plan

ROOT = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs."""


async def play(world: World, kill_at: int | None) -> int:
    """Start or go on, and be killed at the n-th effect; how many there were."""
    effects = 0

    def effect(_name: str) -> None:
        nonlocal effects
        if effects == kill_at:
            effects += 1
            raise Killed
        effects += 1

    world.effect = effect
    real_add = Journal.add

    def add(self: Journal, kind: Kind, at: float, data: dict[str, object], *, run: int | None = None) -> int:
        effect(f"before {kind}")
        number = real_add(self, kind, at, data, run=run)
        effect(f"after {kind}")
        return number

    with pytest.MonkeyPatch.context() as patch, Journal(world.path) as journal:
        patch.setattr(Journal, "add", add)
        journal._connection.execute("PRAGMA synchronous = OFF")  # no disk is lost here, only a process
        controller = world.controller(journal)
        try:
            left = controller._around.record.resumption()
            if left is None:
                if journal.newest_run() and read_status(journal)["phase"] == "completed":
                    return effects
                await controller.begin(world.facts())
            else:
                await controller.resume(left, world.facts())
            for _ in range(200):
                if (await controller.tick()).phase.is_final:
                    break
                world.time.now += world.plan.interval
        except Killed:
            return -1
        return effects


async def test_killed_at_every_single_effect_no_step_is_skipped_or_repeated(tmp_path: Path) -> None:
    """Every write to the journal and every step, before and after it: 10, 50, 100, each seen in its order."""
    stages = [{"percentage": percentage, "hold": "30s"} for percentage in (10, 50, 100)]
    plan = make_plan(stages=stages, settle="5s", window="10s")
    probe = World(tmp_path, plan)
    probe.path = tmp_path / "probe.db"
    probe.good_traffic()
    effects = await play(probe, None)
    assert effects > 50
    for kill_at in range(effects):
        world = World(tmp_path, plan)
        world.path = tmp_path / f"{kill_at}.db"
        world.good_traffic()
        assert await play(world, kill_at) == -1
        await play(world, None)
        with Journal(world.path) as journal:
            done = [entry.data["step"]["percentage"] for entry in journal.entries(Kind.DONE)]
            status = read_status(journal)
        assert status["phase"] == "completed", kill_at
        assert done == [10, 50, 100], kill_at
        assert sorted(set(world.applied)) == [10, 50, 100]
        assert world.applied == sorted(world.applied), "never back and forth"
        assert status["run"] == 1


async def test_killed_during_a_rollback_it_is_finished(tmp_path: Path) -> None:
    for point in ("before apply", "after apply", "before done"):
        world = World(tmp_path)
        world.path = tmp_path / f"{point}.db"
        world.good_traffic()
        with Journal(world.path) as journal:
            controller = world.controller(journal)
            await controller.begin(world.facts())
            for _ in range(6):
                await controller.tick()
                world.time.now += 5
            world.bad_traffic()

            def effect(name: str, point: str = point) -> None:
                if name == point:
                    raise Killed

            world.effect = effect
            if point == "before done":
                controller._around.record.done = lambda *_: effect("before done")  # type: ignore[method-assign]
            with pytest.raises(Killed):
                await controller.tick()
        world.effect = lambda _name: None
        with Journal(world.path) as journal:
            controller = world.controller(journal)
            left = controller._around.record.resumption()
            assert left is not None
            await controller.resume(left, world.facts())
            assert controller.state.phase is Phase.ROLLED_BACK
            assert (world.percentage, world.enabled) == (0, False)
            assert controller._around.record.resumption() is None


async def test_a_change_by_hand_while_it_was_dead_is_noticed(tmp_path: Path) -> None:
    for kill_at_step in (False, True):
        world = World(tmp_path)
        world.path = tmp_path / f"{kill_at_step}.db"
        world.good_traffic()
        with Journal(world.path) as journal:
            controller = world.controller(journal)
            await controller.begin(world.facts())
            if kill_at_step:

                def killed(name: str) -> None:
                    if name == "before apply":
                        raise Killed

                world.effect = killed
                with pytest.raises(Killed):
                    await controller.tick()
            else:
                await controller.tick()
        world.effect = lambda _name: None
        world.put(33)
        with Journal(world.path) as journal:
            controller = world.controller(journal)
            left = controller._around.record.resumption()
            assert left is not None
            await controller.resume(left, world.facts())
            assert (await controller.tick()).phase is Phase.ABORTED
        assert world.percentage == 33


async def test_an_order_is_obeyed_once_even_if_killed_at_its_step(world: World) -> None:
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await controller.tick()
        journal.add(Kind.ORDER, 0, {"order": "abort"})

        def killed(name: str) -> None:
            if name == "after apply":
                raise Killed

        world.effect = killed
        with pytest.raises(Killed):
            await controller._obey_orders()
        world.effect = lambda _name: None
        again = world.controller(journal)
        left = again._around.record.resumption()
        assert left is not None
        await again.resume(left, world.facts())
        assert again.state.phase is Phase.ABORTED
        assert not await again._obey_orders()
    assert world.applied == [10, 0, 0]


def test_nothing_in_it_can_be_changed(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        number = journal.add(Kind.NOTE, 1.0, {"text": "x"})
    raw = sqlite3.connect(tmp_path / "j.db")
    for statement in ("UPDATE entries SET data = '{}'", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(statement)
    assert raw.execute("SELECT id, data FROM entries").fetchall() == [(number, '{"text": "x"}')]
    raw.close()


def test_only_its_owner_reads_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Journal(tmp_path / "j.db") as journal, controller_lock(tmp_path / "j.db"):
            journal.add(Kind.NOTE, 1.0, {})
            files = sorted(tmp_path.iterdir())
            assert len(files) == 4
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(before)


def test_it_is_durable_and_read_while_it_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal, Journal(tmp_path / "j.db", create=False) as reader:
        assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        journal.add(Kind.NOTE, 1.0, {"text": "one"})
        assert [entry.data["text"] for entry in reader.entries(Kind.NOTE)] == ["one"]
        assert reader.last(Kind.ORDER) is None


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such journal"):
        Journal(tmp_path / "none.db", create=False)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE things (a)")
    other.commit()
    other.close()
    with pytest.raises(JournalError, match="another program's"):
        Journal(tmp_path / "other.db")
    (tmp_path / "text.db").write_text("not a database " * 100)
    with pytest.raises(JournalError):
        Journal(tmp_path / "text.db")
    with pytest.raises(JournalError):
        Journal(tmp_path / "missing" / "j.db")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(JournalError, match="newer cutover"):
        Journal(tmp_path / "newer.db")
    with Journal(tmp_path / "empty.db") as journal, pytest.raises(JournalError, match="no rollout"):
        read_status(journal)


def test_one_controller_at_a_time_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    assert not is_running(path)
    with controller_lock(path):
        assert is_running(path)
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"), controller_lock(path):
            pass
    assert not is_running(path)
    code = (
        "import os, signal, sys; from pathlib import Path; from proxy.rollout.lock import controller_lock\n"
        "with controller_lock(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False).returncode == -9
    with controller_lock(path):
        assert is_running(path)


def test_a_process_killed_in_the_middle_of_writing_leaves_whole_entries(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    code = (
        "import sys; from pathlib import Path; from proxy.rollout.journal import Journal, Kind\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(10**6):\n"
        "    journal.add(Kind.NOTE, 0, {'number': number, 'filler': 'x' * 2000})\n"
        "    print(number, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(30)]
    process.kill()
    said += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    with Journal(path) as journal:
        numbers = [entry.data["number"] for entry in journal.entries(Kind.NOTE)]
    assert numbers == list(range(len(numbers)))
    acknowledged = [int(line) for line in said if line.endswith("\n")]
    assert len(numbers) >= len(acknowledged), "what was said to be written is there"
    assert json.dumps(numbers)
