"""A rollout that an orchestrator starts again and again runs once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli import rollout_once
from proxy.cli.rollout_once import run_once
from proxy.rollout.checks import Verdict
from proxy.rollout.decision import Phase, State, Step
from proxy.rollout.journal import Journal
from proxy.rollout.record import Record
from proxy.rollout.time_source import SystemTime


@pytest.fixture
def told_to_end(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    waits: list[object] = []
    monkeypatch.setattr(rollout_once.signal, "sigwait", waits.append)
    monkeypatch.setattr(rollout_once.signal, "pthread_sigmask", lambda *_: None)
    return waits


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "rollout.db") as opened:
        yield opened


@pytest.mark.parametrize(
    ("phase", "status"), [(Phase.COMPLETED, 0), (Phase.ROLLED_BACK, 1), (Phase.ABORTED, 1)], ids=str
)
def test_what_is_over_does_not_begin_again_and_stays(
    journal: Journal, tmp_path: Path, told_to_end: list[object], phase: Phase, status: int
) -> None:
    record = Record(journal, SystemTime())
    begun: list[str] = []

    def work() -> int:
        begun.append("once")
        record.begin(State(), {"digest": "d", "stages": [10]})
        record.tick(State(phase=phase), Verdict.HOLD, ())
        return status

    assert run_once(work, journal, tmp_path) == status
    assert run_once(work, journal, tmp_path) == status
    assert begun == ["once"]
    assert len(told_to_end) == 2


def test_what_was_only_stopped_or_has_failed_ends_so_that_it_is_started_again(
    journal: Journal, tmp_path: Path, told_to_end: list[object]
) -> None:
    assert run_once(lambda: 1, journal, tmp_path) == 1, "it could not begin"
    record = Record(journal, SystemTime())
    record.begin(State(), {"digest": "d", "stages": [10]})
    record.tick(State(phase=Phase.JUDGING, percentage=10, enabled=True), Verdict.GO, ())
    assert run_once(lambda: 1, journal, tmp_path) == 1, "stopped"
    step = Step(0, enabled=False, back=True)
    record.intend(step, State(phase=Phase.JUDGING), State(phase=Phase.ROLLED_BACK), "why")
    assert run_once(lambda: 1, journal, tmp_path) == 1, "a step back that may not have been taken is to be taken again"
    assert told_to_end == []
