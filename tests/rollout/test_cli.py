"""The commands that need no controller: notes, tables, and what is refused."""

from pathlib import Path

import pytest

from proxy.cli.main import main
from proxy.cli.rollout_table import rollout_lines
from proxy.rollout.journal import Journal, Kind
from proxy.rollout.notes import figure_in
from proxy.rollout.status import read_status
from tests.rollout.world import CHECKS, World, make_plan


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("complaints: 2", ("complaints", 2.0)),
        ("complaints: 0, asked support", ("complaints", 0.0)),
        ("Complaint: images are slow", ("complaints", 1.0)),
        ("complaints=3", ("complaints", 3.0)),
        ("complaints came in", None),
        ("all well", None),
        ("support: none", None),
    ],
)
def test_a_note_may_hold_a_figure(text: str, figure: tuple[str, float] | None) -> None:
    assert figure_in(text, ["complaints"]) == figure


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    world = World(tmp_path, make_plan(checks=[*CHECKS, {"name": "complaints", "manual": True, "below": 1}]))
    world.good_traffic()
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        for _ in range(6):
            await controller.tick()
            world.time.now += 5
    return world.path


def test_notes_are_written_and_counted(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--journal", str(journal))
    assert main(["rollout", "note", "all well", *where]) == 0
    assert main(["rollout", "note", "complaints: 0", *where]) == 0
    assert main(["rollout", "note", "ticket 12", "--check", "complaints", *where]) == 0
    assert main(["rollout", "note", "none", "--check", "complaints", "--value", "0", *where]) == 0
    assert main(["rollout", "note", "x", "--check", "praise", *where]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "noted",
        "noted: 0 for complaints",
        "noted: 1 for complaints",
        "noted: 0 for complaints",
    ]
    assert "no manual check `praise`; there is complaints" in shown.err
    with Journal(journal) as read:
        assert len(list(read.entries(Kind.NOTE))) == 4


def test_the_status_is_laid_out_for_people(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "status", "--journal", str(journal)]) == 0
    shown = capsys.readouterr().out
    for piece in (
        "judging at 10 %",
        "[10 %] 50 % ",
        "HOLD  complaints",
        "GO    get p95",
        "does not run",
        "of 1m, watched",
    ):
        assert piece in shown, shown
    with Journal(journal) as read:
        status = read_status(read)
    lines = rollout_lines({**status, "overrides": {"get p95": "known"}, "unfinished_step": {"percentage": 50}}, 0)
    text = "\n".join("".join(part for part, _ in line) for line in lines)
    assert "override   get p95: known" in text
    assert "to 50 %, under way" in text


def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["watch", "--for", "never"], ["note", "x", "--value", "-1"], ["start"], ["promte"]):
        with pytest.raises(SystemExit) as ended:
            main(["rollout", *words])
        assert ended.value.code == 2
    assert main(["rollout", "watch", "--for", "1s", "--journal", str(tmp_path / "none.db")]) == 1
    assert main(["rollout", "note", "x", "--journal", str(tmp_path / "none.db")]) == 1
    assert "no such journal" in capsys.readouterr().err
