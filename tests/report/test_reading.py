"""Reading a journal: what the controller wrote, and everything else that a file may hold."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from proxy.report.checks_seen import failed_as_said
from proxy.report.collect import assemble
from proxy.report.composition import compose
from proxy.report.findings import CheckResult, Findings, Run, Topic
from proxy.report.html import render_html
from proxy.report.markdown import render_markdown
from proxy.report.reading import UnreadableJournal, made_fit, read_journal
from proxy.rollout.journal import Journal, JournalError, Kind
from tests.report.hostile import HOSTILE
from tests.report.scene import BEGAN, GalleryWorld, run_controller


def topics(run: Run) -> list[Topic]:
    return [event.topic for event in run.events]


def test_the_stages_of_a_completed_rollout_are_told_with_their_times(completed: Findings) -> None:
    run = completed.run
    assert (run.phase, run.percentage, run.is_over) == ("completed", 100, True)
    assert [(stage.percentage, stage.outcome) for stage in run.stages] == [(10, "GO"), (50, "GO"), (100, "GO")]
    assert run.stages[0].began == BEGAN
    assert all(stage.ended is not None and stage.ended - stage.began >= 4 * 3600 for stage in run.stages)
    assert [stage.results[0].name for stage in run.stages] == ["get p95"] * 3
    assert (run.approver, run.on_call) == ("Ada Lovelace", "Grace Hopper")
    assert topics(run)[0] is Topic.STARTED
    assert Topic.COMPLETED in topics(run)


def test_a_pause_a_gap_and_a_failing_check_are_told_with_how_long_they_lasted(completed: Findings) -> None:
    by_topic = {event.topic: event for event in completed.run.events}
    paused, unseen, failing = by_topic[Topic.PAUSED], by_topic[Topic.UNSEEN], by_topic[Topic.FAILING]
    assert paused.until is not None
    assert 30 * 60 <= paused.until - paused.at <= 50 * 60
    assert "connection refused" in unseen.text
    assert failing.until is not None
    assert failing.until > failing.at


def test_a_rollback_is_told_with_its_reason(failed: Findings) -> None:
    run = failed.run
    assert (run.phase, run.percentage) == ("rolled_back", 0)
    assert [stage.outcome for stage in run.stages] == ["GO", "NO_GO"]
    said = [event.text for event in run.events if event.topic is Topic.NO_GO]
    assert len(said) == 1
    assert "hard limit" in said[0]
    assert [event.text for event in run.events if event.topic is Topic.BACK] == ["Users were taken back to legacy"]


def test_a_check_that_ended_a_stage_is_not_shown_as_it_was_a_tick_before(failed: Findings) -> None:
    by_name = {result.name: result for result in failed.run.stages[-1].results}
    assert (by_name["target errors"].verdict, by_name["target errors"].value) == ("NO_GO", None)
    assert "hard limit" in by_name["target errors"].why
    assert by_name["get p95"].verdict == "GO"


def test_several_checks_in_one_reason_are_each_corrected() -> None:
    before = tuple(CheckResult(name, "GO", 0.1, 1.0, 5, "fine") for name in ("a", "b", "errors"))
    after = failed_as_said(before, "b: 5, must be below 1; errors: 9 of 9 failed")
    assert [result.verdict for result in after] == ["GO", "NO_GO", "NO_GO"]
    assert after[2].why == "9 of 9 failed"


def test_the_measured_figures_are_what_the_world_served(completed: Findings) -> None:
    assert completed.sources is not None
    assert completed.baseline is not None
    assert completed.baseline.pairs["postgresql", "get"].attempts > 1_000_000
    assert sum(one.user_errors or 0 for one in completed.measured) == 2
    assert sum(one.stood_in or 0 for one in completed.measured) == 9 + 420 + 260 + 310 + 31
    assert sum(one.rejected_configs or 0 for one in completed.measured) == 1
    assert sum(one.breaker_trips or 0 for one in completed.measured) == 1
    assert len(completed.snapshots) == 24


async def test_orders_overrides_and_refusals_are_told(tmp_path: Path) -> None:
    world = GalleryWorld(tmp_path, 600, rate=4)
    with Journal(world.path) as journal:
        world.warm_up(1)

        def order(name: str, **more: Any) -> None:
            journal.add(Kind.ORDER, world.time.wall(), {"order": name, **more})

        world.incidents = [
            (1.0, lambda: order("resume")),
            (2.0, lambda: order("promote", check="complaints", reason="support is asleep")),
            (9.0, lambda: order("abort")),
        ]
        await run_controller(world, journal)
    facts = read_journal(world.path)
    run = facts.runs[-1]
    assert run.phase == "aborted"
    assert [event.text for event in run.events if event.topic is Topic.OVERRIDE] == [
        "Check “complaints” was overridden: support is asleep"
    ]
    assert "`resume` was refused" in next(event.text for event in run.events if event.topic is Topic.REFUSED)
    assert run.stages[0].overrides == {"complaints": "support is asleep"}
    assert run.stages[-1].outcome == "aborted"
    assert Topic.BACK in topics(run)


async def test_what_is_under_way_is_told_as_far_as_it_is(tmp_path: Path) -> None:
    world = GalleryWorld(tmp_path, 600)
    with Journal(world.path) as journal:
        await run_controller(world, journal, most=3)
    run = read_journal(world.path).runs[-1]
    assert not run.is_over
    assert [(stage.percentage, stage.ended) for stage in run.stages] == [(10, None)]


def test_a_rollout_that_only_waits_has_no_stage(waiting_journal: Path) -> None:
    facts = read_journal(waiting_journal)
    assert facts.runs[-1].stages == ()
    text = render_html(compose(assemble(waiting_journal, facts, None)))
    assert "No user has been moved" in text
    assert "waiting for owner.approver" in text
    assert text.count("<svg") == 1, "only what was before can be drawn"


def test_no_journal_an_empty_one_and_something_else_are_each_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such journal"):
        read_journal(tmp_path / "none.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(UnreadableJournal, match="is empty"):
        read_journal(tmp_path / "empty.db")
    assert (tmp_path / "empty.db").read_bytes() == b"", "nothing is written into it"
    (tmp_path / "text.db").write_text("not a database at all, and long enough to be taken for one\n" * 20)
    with pytest.raises(JournalError, match="not a database"):
        read_journal(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "other.db").executescript("CREATE TABLE t (a)").connection.close()
    with pytest.raises(JournalError, match="another program"):
        read_journal(tmp_path / "other.db")
    Journal(tmp_path / "new.db").close()
    with pytest.raises(UnreadableJournal, match="no rollout has been started"):
        read_journal(tmp_path / "new.db")


@pytest.mark.parametrize("data", ['{"state": 1}', "[]", "null", '{"plan": "x", "digest": 1, "state": {}}', "{"])
def test_an_entry_that_is_not_as_it_is_written_is_named(tmp_path: Path, data: str) -> None:
    path = tmp_path / "odd.db"
    with Journal(path) as journal:
        journal._connection.execute("INSERT INTO entries (run, at, kind, data) VALUES (1, 0, 'started', ?)", (data,))
    with pytest.raises(UnreadableJournal, match=r"entry 1|damaged"):
        read_journal(path)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Kind.TICK, {"verdict": float("inf")}),
        (Kind.MEASURED, {"to": 1e300}),
        (Kind.MEASURED, {"user_errors": {"failures": -1, "total": 5}}),
        (Kind.MEASURED, {"user_errors": {"failures": 0, "total": 10**400}}),
        (Kind.MEASURED, {"bounds_s": None}),
        (Kind.SNAPSHOT, {"checks": [{}]}),
        (Kind.NOTE, {"text": "x", "value": "many"}),
    ],
)
def test_a_number_that_is_none_is_refused_and_not_reported(
    failed_journal: Path, tmp_path: Path, kind: Kind, change: Any
) -> None:
    path = tmp_path / "odd.db"
    with Journal(failed_journal, create=False) as journal, Journal(path) as odd:
        entries = list(journal.entries(Kind.STARTED, Kind.MEASURED, Kind.TICK))[:6]
        for entry in entries:
            odd.add(entry.kind, entry.at, entry.data, run=1)
        like = next((entry.data for entry in entries if entry.kind is kind), {})
        text = json.dumps({**like, **change})
        odd._connection.execute("INSERT INTO entries (run, at, kind, data) VALUES (1, 1, ?, ?)", (kind.value, text))
    with pytest.raises(UnreadableJournal, match=rf"entry 7 \({kind.value}\)"):
        read_journal(path)


def test_a_journal_that_was_put_away_read_only_is_read(
    failed_journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may(place: Any, mode: int) -> bool:
        return Path(place) != failed_journal.parent

    monkeypatch.setattr("proxy.report.reading.os.access", may)
    opened: list[Path] = []
    journal = Journal
    monkeypatch.setattr("proxy.report.reading.Journal", lambda path, create: (opened.append(path), journal(path))[1])
    assert read_journal(failed_journal).runs[-1].phase == "rolled_back"
    assert opened[0].parent != failed_journal.parent
    assert not opened[0].exists(), "the copy is gone"


def test_hostile_strings_anywhere_in_a_journal_do_no_harm(failed_journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "hostile.db"
    text = " ".join(HOSTILE)
    with Journal(failed_journal, create=False) as journal, Journal(path) as hostile:
        for entry in journal.entries():
            hostile.add(entry.kind, entry.at, _poisoned(entry.data, text), run=entry.run)
    document = compose(assemble(path, read_journal(path), None))
    html, markdown = render_html(document), render_markdown(document, "plots")
    for rendered in (html, markdown):
        rendered.encode()  # no surrogates
        assert "\u202e" not in rendered
        assert "\x1b" not in rendered
    assert "<script" not in html.lower().replace("&lt;script", "")
    assert "<img" not in html.lower()
    assert "\\<script\\>" in markdown
    assert "49" not in html.partition("<title>")[2].partition("</title>")[0], "no template is run"


def _poisoned(value: Any, text: str) -> Any:
    """The same, with foreign strings where people or configurations supply them."""
    if isinstance(value, dict):
        foreign = {"text", "why", "plan", "name", "reason", "operation", "source", "approver"}
        names = {"postgresql": f"postgresql{text}", "image_service": f"image_service{text}"}
        return {
            names.get(key, key): (
                names.get(held, f"{held}{text}")
                if key in foreign and isinstance(held, str)
                else names.get(held, held)
                if isinstance(held, str)
                else _poisoned(held, text)
            )
            for key, held in value.items()
        }
    if isinstance(value, list):
        return [_poisoned(held, text) for held in value]
    return value


def test_texts_are_made_fit_to_be_written() -> None:
    assert made_fit("a\nb\tc") == "a b c"
    assert made_fit("\ud800\u202e\x00") == "\N{REPLACEMENT CHARACTER}" * 3
    assert made_fit("größer → 5 %") == "größer → 5 %"
    assert len(made_fit("x" * 10_000)) < 5000
    assert made_fit({"k\x00": ["\x07", 1, None]}) == {
        "k\N{REPLACEMENT CHARACTER}": ["\N{REPLACEMENT CHARACTER}", 1, None]
    }
