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


def test_the_story_passes_in_front_of_the_real_sidecar(tmp_path):
    with start(tmp_path, "--json", "summary.json") as process:
        output, error = process.communicate(timeout=60)
    assert process.returncode == 0, output + error
    assert output.splitlines()[-1].lstrip().startswith("PASS")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["client_errors"], summary["users_off_side"], summary["sources_agree"]) == (0, 0, True)
    phases = summary["phases"]
    assert [phase["percentage"] for phase in phases] == [0, 10, 50, 50, 50, 100, 0]
    assert all(phase["sides"]["judged"] > 0 for phase in phases)
    assert phases[3]["covered_reads"] > 0  # the Image Service is dead: legacy stands in
    assert phases[5]["target_reads"] > 0
    assert phases[5]["legacy_reads"] == phases[6]["target_reads"] == 0


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
