"""`cutover rollout` as processes: a real sidecar, two upstreams, users that never stop, people at other terminals."""

import json
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli.main import main
from proxy.rollout.journal import Journal, JournalError
from proxy.rollout.status import read_status
from proxy.settings.edit import edit_rollout
from tests.e2e.conftest import StartServer, StartSidecar
from tests.e2e.sidecar import OPERATIONS, Sidecar, command, config, eventually, run_command, write_config
from tests.e2e.wire import ask as ask_once

INTERVAL_S = 1.0
OPERATIONS_SPLIT = [operation for operation in OPERATIONS if operation.get("route") != "target"]


@dataclass
class Users:
    """Asks again and again, each time as another user, over one connection after the other."""

    address: str
    fault: str = "answer"
    answers: list[tuple[float, str, str | None, int]] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(10)

    def _run(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            fields = {"X-User-Id": f"user-{number}", "X-Target-Does": self.fault, "X-Legacy-Does": "answer"}
            try:
                answer = ask_once(self.address, "GET", "/images/1", fields)
            except OSError:
                continue
            source = answer["X-Cutover-Source"] or ""
            self.answers.append((time.monotonic(), source, answer["X-Cutover-Fallback"], answer.status))
            self._end.wait(0.002)


@dataclass
class Stage:
    """Everything that a rollout needs."""

    sidecar: Sidecar
    users: Users
    directory: Path
    config: Path

    @property
    def journal(self) -> Path:
        return self.directory / "rollout.db"

    def plan(self, **changes: Any) -> Path:
        base: dict[str, Any] = {
            "stages": [{"percentage": 50, "hold": "1500ms"}, {"percentage": 100, "hold": "1500ms"}],
            "interval": "300ms",
            "settle": "500ms",
            "window": "1s",
            "observe": {"sidecars": [f"http://{self.sidecar.admin}"]},
            "apply": {"file": str(self.config)},
            "journal": str(self.journal),
            "checks": [
                {"name": "get p95", "operation": "get", "quantile": 0.95, "below": "1s"},
                {"name": "target errors", "source": "target", "error_ratio_below": 0.05, "hard_limit": 0.2},
                {"name": "user errors", "user_error_ratio_below": 0.05},
            ],
        }
        return write_config(self.directory / "plan.yaml", {**base, **changes})

    def start(self, *arguments: str, **changes: Any) -> subprocess.Popen[str]:
        plan = self.plan(**changes)
        return subprocess.Popen(
            command("rollout", "start", str(plan), *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def status(self) -> dict[str, Any]:
        with Journal(self.journal, create=False) as journal:
            return read_status(journal)

    def await_status(self, wanted: Callable[[dict[str, Any]], bool], deadline_s: float = 15) -> dict[str, Any]:
        """Look into the journal until it says what is wanted."""

        def look() -> dict[str, Any] | None:
            try:
                with Journal(self.journal, create=False) as journal:
                    status = read_status(journal)
            except JournalError:
                return None
            return status if wanted(status) else None

        found = eventually(look, deadline_s)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def shared(lasting: tuple[StartServer, StartSidecar]) -> Iterator[tuple[Sidecar, Users]]:
    start_server, start_sidecar = lasting
    legacy, target = start_server("legacy"), start_server("target")
    idle = {"enabled": False, "percentage": 0}
    sidecar = start_sidecar(config(legacy.url, target.url, rollout=idle, operations=OPERATIONS_SPLIT))
    users = Users(sidecar.address)
    users.start()
    yield sidecar, users
    users.stop()


@pytest.fixture
def stage(shared: tuple[Sidecar, Users], tmp_path: Path) -> Stage:
    """Everything as before the rollout."""
    sidecar, users = shared
    users.fault = "answer"
    edit_rollout(sidecar.file, {}, percentage=0, enabled=False)
    sidecar.ask_admin("PATCH", "/rollout", {"percentage": 0, "enabled": False})  # ends an override, too
    eventually(lambda: {source for _, source, _, _ in users.answers[-50:]} == {"postgresql"})
    users.answers.clear()
    return Stage(sidecar, users, tmp_path, sidecar.file)


WAIVED = ("--no-owner", "--no-rehearsal")


def test_a_rollout_runs_through_its_stages_and_a_second_controller_is_refused(stage: Stage) -> None:
    process = stage.start(*WAIVED)
    stage.await_status(lambda status: status["phase"] == "judging")
    second = run_command("rollout", "start", str(stage.directory / "plan.yaml"), *WAIVED)
    assert second.returncode == 1
    assert "a controller runs" in second.stderr
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, out + err
    status = stage.status()
    assert (status["phase"], status["percentage"], status["running"]) == ("completed", 100, False)
    assert {check["verdict"] for check in status["checks"]} == {"GO"}
    assert yaml.safe_load(stage.config.read_text())["rollout"] == {"enabled": True, "percentage": 100}
    assert all(code == 200 for _, _, _, code in stage.users.answers)
    assert stat.S_IMODE(stage.journal.stat().st_mode) == 0o600


def test_a_failing_target_is_rolled_back_within_an_interval_and_a_second(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    process = stage.start(*WAIVED, stages=[{"percentage": 50, "hold": "60s"}], interval=f"{INTERVAL_S}s")
    stage.await_status(lambda status: status["phase"] == "judging" and status["verdict"] == "GO")
    stage.users.fault = "status:503"
    fault_at = time.monotonic()
    out, _ = process.communicate(timeout=15)
    assert process.returncode == 1, out
    assert "rolled_back" in out
    time.sleep(0.2)
    rolled_back_at = _since_when_all_legacy(stage.users.answers)
    took_s = rolled_back_at - fault_at
    record_property("rollback_s", took_s)
    print(f"\nfrom the fault to legacy by the rollout: {took_s:.2f} s at an interval of {INTERVAL_S} s")
    assert took_s < INTERVAL_S + 1
    assert all(code == 200 for _, _, _, code in stage.users.answers), "nobody saw an error"
    assert yaml.safe_load(stage.config.read_text())["rollout"] == {"enabled": False, "percentage": 0}
    assert stage.status()["verdict"] == "NO_GO"


def _since_when_all_legacy(answers: list[tuple[float, str, str | None, int]]) -> float:
    """When the last answer that the target had been asked for was followed by the first one that it had not."""
    last = max(at for at, source, fallback, _ in answers if source == "image_service" or fallback is not None)
    return min(at for at, _, _, _ in answers if at > last)


def test_people_steer_it_from_another_terminal(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stages = [{"percentage": 50, "hold": "1500ms", "approval": True}, {"percentage": 100, "hold": "60s"}]
    process = stage.start(*WAIVED, stages=stages)

    def order(*words: str) -> tuple[int, str]:
        status = main(["rollout", *words, "--journal", str(stage.journal)])
        return status, "".join(capsys.readouterr())

    stage.await_status(lambda status: status["phase"] == "approval")
    assert order("pause") == (0, "paused at 50 %\n")
    assert order("promote") == (1, "it is paused: resume it first\n")
    assert order("resume") == (0, "resumed\n")
    assert order("note", "all well") == (0, "noted\n")
    assert order("promote", "--override", "get p95")[0] == 2
    assert order("promote")[0] == 0
    stage.await_status(lambda status: status["percentage"] == 100)
    shown = order("status")
    assert "[100 %]" in shown[1]
    assert "get p95" in shown[1]
    assert order("abort") == (0, "aborted\n")
    assert process.wait(10) == 1
    process.communicate()
    assert stage.status()["phase"] == "aborted"
    assert yaml.safe_load(stage.config.read_text())["rollout"]["percentage"] == 0
    late = order("pause")
    assert (late[0], "no controller runs" in late[1]) == (1, True)


def test_killed_it_goes_on_and_terminated_it_leaves_the_percentage(stage: Stage) -> None:
    stages = [{"percentage": 50, "hold": "60s"}]
    process = stage.start(*WAIVED, stages=stages)
    stage.await_status(lambda status: status["phase"] == "judging" and status["held_s"] > 1)
    process.kill()
    process.communicate()
    before = stage.status()
    assert not before["running"]
    process = stage.start(*WAIVED, stages=stages)
    after = stage.await_status(lambda status: status["running"] and status["held_s"] > before["held_s"])
    assert (after["run"], after["stage"], after["percentage"]) == (before["run"], 1, 50)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "50 % stays in force" in out
    assert yaml.safe_load(stage.config.read_text())["rollout"] == {"enabled": True, "percentage": 50}


def test_a_change_by_hand_ends_it_with_one(stage: Stage) -> None:
    process = stage.start(*WAIVED, stages=[{"percentage": 50, "hold": "60s"}])
    stage.await_status(lambda status: status["phase"] == "judging")
    assert main(["set", "20", "-c", str(stage.config)]) == 0
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "somebody else has changed it" in out
    assert yaml.safe_load(stage.config.read_text())["rollout"]["percentage"] == 20


def test_overrides_on_the_sidecars_leave_the_file_alone(stage: Stage) -> None:
    before = stage.config.read_bytes()
    stages = [{"percentage": 100, "hold": "60s"}]
    process = stage.start(*WAIVED, stages=stages, apply={"sidecars": [f"http://{stage.sidecar.admin}"]})
    stage.await_status(lambda status: status["phase"] == "judging" and status["verdict"] == "GO")
    override = stage.sidecar.ask_admin("GET", "/status").json()["override"]
    assert (override["percentage"], override["enabled"]) == (100, True)
    assert main(["rollout", "abort", "--journal", str(stage.journal)]) == 0
    process.communicate(timeout=10)
    status = stage.sidecar.ask_admin("GET", "/status").json()
    assert (status["percentage"], status["enabled"]) == (0, False)
    assert stage.config.read_bytes() == before
    assert process.returncode == 1


def test_a_rehearsal_goes_there_and_back_and_start_asks_for_it(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stage.config.read_bytes()
    cohort = stage.directory / "cohort.txt"
    cohort.write_text("qa-1\nqa-2\n")
    stages = [{"percentage": 100, "hold": "2500ms"}]
    plan = stage.plan(owner={"approver": "Ann", "on_call": "Bo"}, stages=stages, window="2500ms")
    url = f"http://{stage.sidecar.address}"
    assert main(["rollout", "rehearse", str(plan), "--users", str(cohort), "--url", url, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["users"] == 2
    assert facts["to_target_s"] > 0
    assert facts["to_legacy_s"] > 0
    assert stage.config.read_bytes() == before
    served = [answer for answer in stage.users.answers if answer[1] != "postgresql"]
    assert not served, "nobody else moved"
    process = subprocess.run(
        command("rollout", "start", str(plan)), capture_output=True, text=True, timeout=30, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert main(["rollout", "watch", str(plan), "--for", "5s", "--every", "2500ms"]) == 0
    assert capsys.readouterr().out.count("GO") == 2


def test_bad_plans_and_journals_are_one_clear_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        status = main(["rollout", *words])
        return (status, *capsys.readouterr())

    plan = tmp_path / "plan.yaml"
    plan.write_text("stages: []\n")
    for name in ("plan", "start"):
        status, _, error = run(name, str(plan))
        assert status == 2
        assert "plan.yaml:1:" in error
    status, out, _ = run("plan", str(plan), "--json")
    assert (status, json.loads(out)["valid"]) == (2, False)
    for name in ("status", "pause", "abort"):
        status, _, error = run(name, "--journal", str(tmp_path / "none.db"))
        assert status == 1
        assert "no such journal" in error
    plan.write_bytes(b"no database at all, and long enough to be looked at as one" * 20)
    assert "rollout status" in run("status", "--journal", str(plan))[2]
    assert run()[0] == 2


def test_the_commands_are_there() -> None:
    shown = run_command("rollout", "--help")
    assert shown.returncode == 0
    for name in ("plan", "start", "status", "pause", "resume", "promote", "abort", "rehearse", "note", "watch"):
        assert f"\n    {name} " in shown.stdout
