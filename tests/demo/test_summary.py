import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from proxy.demo.display import LineDisplay, Scene, TerminalDisplay, as_clock, as_ms, as_percent, open_display
from proxy.demo.report import added_latency_note, print_report
from proxy.demo.run import mask_password
from proxy.demo.scenes import Phases
from proxy.demo.sidecar import Gate, Seen
from proxy.demo.stats import Record
from proxy.demo.summary import PhaseTimes, RolloutEnd, back_on_legacy_s, summarise, summarise_phase

INSIDE, OUTSIDE = "user-1", "user-3"  # buckets 59 and the one asserted below


def record(user=INSIDE, **facts):
    known = {"user": user, "operation": "get", "started_s": 1.0, "ended_s": 1.1, "status": 200, "source": "postgresql"}
    return Record(**known | facts)


PHASE = PhaseTimes("some", 60, 1.0, 2.0)
TARGET = {"source": "image_service", "cache_hit": True}
RECORDS = [
    record(**TARGET),
    record(**TARGET | {"cache_hit": False, "ended_s": 1.3}),
    record(fallback="reset", ended_s=1.5),
    record(operation="upload", ended_s=1.8),
    record(started_s=1.95, ended_s=2.05, **TARGET),  # under way when the phase ended
    record(started_s=0.5, **TARGET),  # of the phase before
]


def summary_of(records, *, sources_agree=True, factor=0.25):
    return summarise([PHASE], records, [INSIDE], images_compared=7, sources_agree=sources_agree, latency_factor=factor)


def test_a_phase_counts_what_started_in_it():
    phase = summarise_phase(PHASE, RECORDS, [INSIDE])
    assert (phase.requests, phase.legacy_reads, phase.target_reads, phase.covered_reads, phase.writes) == (
        5,
        0,
        3,
        1,
        1,
    )
    assert phase.fallbacks == {"reset": 1}
    assert phase.share == 1.0
    assert phase.users_share == 1.0
    assert phase.target_latency.p95_s == pytest.approx(0.3)
    assert phase.covered_latency.p50_s == pytest.approx(0.5)


def test_latencies_are_compared_with_the_epic_scaled_only_where_padded():
    rows = {(row.source, row.operation): row for row in summary_of(RECORDS).latencies}
    assert rows["postgresql", "upload"].epic_p95_s == pytest.approx(0.625)
    assert rows["image_service", "get"].epic_p95_s == pytest.approx(0.05)
    assert ("postgresql", "get") not in rows  # a fallback's wait is not legacy's fault
    unpadded = {(row.source, row.operation): row for row in summary_of(RECORDS, factor=0.0).latencies}
    assert unpadded["postgresql", "upload"].epic_p95_s == pytest.approx(2.5)


def test_it_passes_only_without_errors_off_side_users_or_differences():
    assert summary_of(RECORDS).passed
    assert summary_of([*RECORDS, record(status=502, source="proxy", error="get: status 502")]).failures == [
        "clients saw 1 errors"
    ]
    assert "wrong source" in summary_of([*RECORDS, record()]).failures[0]
    assert "same images" in summary_of(RECORDS, sources_agree=False).failures[0]
    assert "without traffic" in summary_of([]).failures[0]


def test_the_summary_is_plain_json():
    document = json.loads(json.dumps(summary_of(RECORDS).as_json()))
    assert document["passed"] is True
    assert document["phases"][0]["sides"]["judged"] == 4
    assert document["fallbacks"] == {"reset": 1}


def rolled(*phases, back_s=1.25):
    ends = tuple(RolloutEnd(phase == "completed", phase, "fallbacks: 9 of 9; user errors: 1") for phase in phases)
    return replace(summary_of(RECORDS), rollouts=ends, harmed=1, back_s=back_s)


def test_it_passes_only_when_the_rollout_went_back_from_the_fault_and_was_completed_after_all():
    assert rolled("rolled_back", "completed").passed
    assert rolled("rolled_back", "rolled_back", "completed").passed
    assert "not completed: fallbacks: 9 of 9 (and 1 more)" in rolled("rolled_back", "rolled_back").failures[0]
    assert "nobody was taken back" in rolled("completed", back_s=None).failures[0]
    said = text_of(rolled("rolled_back", "completed"))
    assert "Rollout 1: rolled back by itself, users on PostgreSQL again 1.2 s after the Image Service died" in said
    assert "Rollout 2: completed" in said


def test_back_on_legacy_is_the_first_read_that_no_fallback_gave_a_user_who_was_in():
    records = [
        record(started_s=4.0, ended_s=4.1),  # before the fault
        record(started_s=5.1, ended_s=5.2, fallback="reset"),
        record(OUTSIDE, started_s=5.1, ended_s=5.3),  # not one of those who were in
        record(started_s=5.5, ended_s=6.5),
        record(started_s=5.6, ended_s=6.0),
    ]
    assert back_on_legacy_s(records, 5.0, 60) == pytest.approx(1.0)
    assert back_on_legacy_s(records[:3], 5.0, 60) is None


async def test_a_phase_is_judged_from_where_it_was_seen_in_force_to_where_it_last_was(monkeypatch):
    now = 10.0
    monkeypatch.setattr(Phases, "clock", staticmethod(lambda: now))
    console = Console(file=io.StringIO(), width=120)
    with open_display(console, "x") as display:
        phases = Phases(display, [], hold_s=5.0)
        phases.begin()
        phases.name({10: "ten"})
        phases.open("none", 0, "begins", length_s=1.0)
        looks = [Seen(11, 11.1, 0, True), Seen(12, 12.1, 10, False), Seen(13, 13.1, 10, True), Seen(14, 14.1, 10, True)]
        for look in looks:
            now = look.heard_s
            phases.see(look)
        assert (phases.share, phases.share_before) == (10, 0)
        phases.close()
    assert [(one.title, one.began_s, one.ended_s) for one in phases.done] == [("none", 10, 11), ("ten", 13.1, 14)]


def text_of(summary):
    console = Console(file=io.StringIO(), width=120)
    print_report(console, summary)
    return console.file.getvalue()


def test_the_report_ends_with_the_verdict_and_says_what_was_wrong():
    assert text_of(summary_of(RECORDS)).splitlines()[-1].lstrip().startswith("PASS")
    failed = text_of(summary_of([*RECORDS, record(status=502, error="get: status 502"), record()]))
    assert failed.splitlines()[-1].lstrip().startswith("FAIL")
    assert "get: status 502" in failed
    assert "answered by postgresql" in failed


def test_the_report_fits_a_hundred_columns():
    console = Console(file=io.StringIO(), width=100)
    print_report(console, summary_of(RECORDS))
    phases = console.file.getvalue().split("Latency")[0].splitlines()
    assert any(
        line.split() == ["60", "%", "some", "·", "3", "1", "1", "100", "%", "100", "%", "·", "300", "0", "0"]
        for line in phases
    )


def test_the_demo_says_what_it_adds():
    assert "0.25 x" in added_latency_note(0.25)
    assert "No latency is added" in added_latency_note(0)


def test_figures_are_formatted_for_people():
    assert [as_ms(None), as_ms(0.00312), as_ms(0.0479)] == ["·", "3.1", "48"]
    assert [as_percent(None), as_percent(0.105)] == ["·", "10 %"]
    assert as_clock(67.9) == "01:07"


def test_a_password_is_never_shown():
    assert mask_password("postgresql://me:s3cret@db/x") == "postgresql://me:***@db/x"
    assert mask_password("postgresql://me@db:5432/x") == "postgresql://me@db:5432/x"


def scene(clock_s=1.0):
    return Scene(
        title="some",
        percentage=60,
        gate=Gate("judging", "HOLD", "not enough", (("get p90", "HOLD"), ("fallbacks", "GO"))),
        elapsed_s=1.0,
        length_s=5.0,
        now_s=2.0,
        clock_s=clock_s,
        phase_records=RECORDS[:5],
        records=RECORDS,
        users_off_side=0,
    )


def test_a_log_gets_a_line_a_second():
    console = Console(file=io.StringIO(), width=120)
    with open_display(console, "x") as display:
        assert isinstance(display, LineDisplay)
        display.event(0.2, "PATCH /rollout 60 %")
        for tick in range(8):
            display.show(scene(tick / 2))
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "00:00  ==  PATCH /rollout 60 %"
    assert len(lines) == 5
    assert "client errors 0" in lines[1]


def test_a_terminal_gets_a_picture():
    console = Console(file=io.StringIO(), width=110, height=40, force_terminal=True, color_system=None)
    with open_display(console, "heading") as display:
        assert isinstance(display, TerminalDisplay)
        display.event(3.0, "SIGKILL")
        display.show(scene())
    text = console.file.getvalue()
    parts = ("heading", "Image Service, reads", "reset 1", "00:03  SIGKILL", "judging   get p90 HOLD · fallbacks GO")
    assert all(part in text for part in parts)
