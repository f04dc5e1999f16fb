"""`cutover demo` as its user runs it, with the real sidecar."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from proxy.cli import demo
from proxy.rollout.journal import Journal, Kind


def parse(*argv):
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(argv)


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name in {"moto", "rich"} else find_spec(name))
    assert demo.execute(parse()) == 2
    error = capsys.readouterr().err
    assert error == "cutover demo: needs the extra: pip install 'cutover[demo]' (missing: moto, rich)\n"
    assert demo.missing_packages(embedded_postgres=True, embedded_dynamodb=False) == ["rich"]


def test_without_the_reports_extra_nothing_begins_that_could_not_be_ended(monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "jinja2" else find_spec(name))
    assert demo.execute(parse("--report", "report")) == 2
    error = capsys.readouterr().err
    assert error == "cutover demo: needs the extra: pip install 'cutover[demo,report]' (missing: jinja2)\n"


def test_the_command_line_alone_loads_nothing_of_the_extra():
    code = "import sys, proxy.cli.demo; print([m for m in ('rich', 'asyncpg', 'aiobotocore') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("argv", [["--duration-scale", "0"], ["--rate", "nan"], ["--rate", "x"]])
def test_wrong_numbers_are_refused(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2


def start(tmp_path, *arguments):
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "proxy", "demo", "--duration-scale", "0.12", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )


def test_the_story_passes_in_front_of_the_real_sidecar_and_leaves_a_journal(tmp_path):
    kept = ("--json", "summary.json", "--journal", "rollout.db", "--report", "report")
    with start(tmp_path, "--rate", "140", *kept) as process:
        output, error = process.communicate(timeout=240)
    assert process.returncode == 0, output + error
    assert [line for line in output.splitlines() if line.lstrip().startswith("PASS")]
    written = tmp_path / "report" / "report.html"
    assert f"written: {written}" in output.splitlines()[-1]
    assert "postgresql" in written.read_text()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["client_errors"], summary["users_off_side"], summary["sources_agree"]) == (0, 0, True)
    phases = summary["phases"]
    assert all(phase["requests"] > 0 for phase in phases)
    killed = next(number for number, phase in enumerate(phases) if phase["title"] == "Image Service killed")
    assert (phases[killed]["percentage"], phases[killed + 1]["percentage"]) == (50, 0)
    assert phases[killed]["covered_reads"] > 0  # the Image Service is dead: legacy stands in
    assert [phase["percentage"] for phase in phases[-3:]] == [10, 50, 100]
    assert phases[-1]["target_reads"] > 0
    assert phases[killed + 1]["target_reads"] == phases[-1]["legacy_reads"] == 0
    harmed, last = summary["rollouts"][summary["harmed"] - 1], summary["rollouts"][-1]
    assert (harmed["phase"], last["phase"]) == ("rolled_back", "completed")
    assert 0 < summary["back_s"] < 10
    with Journal(tmp_path / "rollout.db", create=False) as journal:
        steps = [entry.data["step"]["percentage"] for entry in journal.entries(Kind.DONE)]
        assert steps[-4:] == [0, 10, 50, 100]
        assert any(entry.data["ok"] for entry in journal.entries(Kind.REHEARSAL))
        assert {entry.data["what"] for entry in journal.entries(Kind.MEASURED)} == {"found", "increase"}


def test_a_journal_that_is_there_is_not_written_to(tmp_path, capsys):
    (tmp_path / "rollout.db").touch()
    for path in (tmp_path / "rollout.db", tmp_path / "none" / "rollout.db"):
        with pytest.raises(SystemExit) as caught:
            parse("--journal", str(path))
        assert caught.value.code == 2


def test_sigterm_ends_and_removes_everything(tmp_path):
    with start(tmp_path, "--keep") as process:
        for line in process.stdout:
            if "req/s" in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        open_directories = {psutil.Process(child.pid).cwd() for child in children}
        assert len(children) >= 5
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert error == "cutover demo: interrupted; everything was stopped and removed\n"
    assert time.monotonic() - began < 10
    assert psutil.wait_procs(children, timeout=1)[1] == []
    assert not any(Path(path).exists() for path in open_directories if "cutover-demo" in path)
