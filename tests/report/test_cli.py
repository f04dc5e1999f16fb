"""`cutover report` as people call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.main import main
from proxy.rollout.journal import Journal


def report(*words: str | Path) -> int:
    return main(["report", *map(str, words)])


def test_it_writes_the_two_files_and_the_plots_and_says_the_verdict(
    completed_journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("--journal", completed_journal, "-o", tmp_path / "new" / "dir") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Complete, with reservations: ")
    assert said[1] == f"written: {tmp_path}/new/dir/report.html, {tmp_path}/new/dir/report.md"
    markdown = (tmp_path / "new" / "dir" / "report.md").read_text()
    for plot in ("percentage", "latency", "distributions", "ratios"):
        assert f"(plots/{plot}.svg)" in markdown
        svg = (tmp_path / "new" / "dir" / "plots" / f"{plot}.svg").read_text()
        assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
        assert "var(--" not in svg


def test_a_report_of_a_failure_is_a_report_all_the_same(
    failed_journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("--journal", failed_journal, "-o", tmp_path, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"].startswith("Rolled back to 0 %: ")
    assert said["tone"] == "bad"
    assert [Path(path).name for path in said["files"][:2]] == ["report.html", "report.md"]


def test_the_report_is_not_readable_by_fewer_or_more_than_other_files(waiting_journal: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        report("--journal", waiting_journal, "-o", tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o640


def says(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_without_a_journal_it_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert report("--journal", tmp_path / "none.db", "-o", out) == 1
    assert says(capsys) == f"cutover report: {tmp_path}/none.db: no such journal"
    (tmp_path / "empty.db").touch()
    assert report("--journal", tmp_path / "empty.db", "-o", out) == 1
    assert "is empty" in says(capsys)
    (tmp_path / "text.db").write_text("no database " * 100)
    assert report("--journal", tmp_path / "text.db", "-o", out) == 1
    assert "not a database" in says(capsys)
    Journal(tmp_path / "new.db").close()
    assert report("--journal", tmp_path / "new.db", "-o", out) == 1
    assert "no rollout has been started" in says(capsys)
    assert not out.exists(), "nothing is written"


def test_a_directory_that_cannot_be_written_is_named(
    waiting_journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert report("--journal", waiting_journal, "-o", tmp_path / "file") == 1
    assert str(tmp_path / "file") in says(capsys)
    assert report("--journal", waiting_journal, "-o", "/proc/nowhere") == 1
    assert "/proc/nowhere" in says(capsys)


def test_a_prometheus_that_does_not_answer_is_a_failure_and_nothing_is_written(
    waiting_journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert report("--journal", waiting_journal, "--prometheus", "http://127.0.0.1:1", "-o", out) == 1
    assert says(capsys) == "cutover report: Prometheus at http://127.0.0.1:1: connection refused"
    assert not out.exists()


def test_bad_usage_is_2(waiting_journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        report("--journal", waiting_journal, "--prometheus", "ftp://x")
    assert "--prometheus" in capsys.readouterr().err
    assert report("--journal", waiting_journal, "--selector", 'job="x"', "-o", tmp_path) == 2
    assert says(capsys) == "cutover report: --selector is for --prometheus"


def test_without_the_extra_it_says_how_to_get_it(waiting_journal: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from proxy.cli.main import main;"
        f" sys.exit(main(['report', '--journal', {str(waiting_journal)!r}, '-o', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "cutover report: matplotlib is missing: pip install 'cutover[report]'\n"


def test_other_commands_do_without_the_extra() -> None:
    code = "import sys; from proxy.cli.main import build_parser; build_parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.partition(".")[0] in ("matplotlib", "jinja2", "numpy")]
