"""`cutover set`, `rollback` and `check` of a file, and what is said without a sidecar."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli.main import main

TEXT = """\
legacy: {url: 'http://a'}
target: {url: 'http://b'}
rollout:
  enabled: false
  percentage: 5
"""


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


class Run:
    """Runs a command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ended:
        try:
            status = main(arguments)
        except SystemExit as end:  # argparse's way
            status = int(end.code or 0)
        printed = self._capsys.readouterr()
        return Ended(status, printed.out, printed.err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    return path


def rollout(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text())["rollout"])


def test_set_changes_the_file_says_so_in_a_line_and_warns_while_nobody_moves(run: Run, file: Path) -> None:
    before = file.read_text()
    ended = run("set", "25", "-c", str(file))
    assert ended.returncode == 0
    assert file.read_text() == before.replace("percentage: 5", "percentage: 25")
    (line,) = ended.stdout.splitlines()
    assert "percentage 5 → 25, revision " in line
    assert "enabled is false" in ended.stderr
    ended = run("set", "25", "-c", str(file), "--enable", "--json")
    told = json.loads(ended.stdout)
    assert (told["old"]["enabled"], told["enabled"], told["percentage"], told["persisted"]) == (False, True, 25, True)
    assert ended.stderr == ""
    again = run("set", "25", "-c", str(file), "--if-match", told["revision"])
    assert (again.returncode, "nothing to change" in again.stdout) == (0, True)


def test_set_says_when_it_replaces_a_placeholder(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARE", "7")
    file.write_text(file.read_text().replace("percentage: 5", "percentage: ${env:SHARE:-5}"))
    ended = run("set", "0", "-c", str(file))
    assert "percentage ${env:SHARE:-5} → 0" in ended.stdout
    assert "rollout.percentage was ${env:SHARE:-5}; it is 0 now" in ended.stderr


def test_rollback_in_the_file(run: Run, file: Path) -> None:
    run("set", "25", "-c", str(file), "--enable")
    ended = run("rollback", "-c", str(file))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "percentage 25 → 0, enabled true → false" in ended.stdout
    assert (rollout(file)["percentage"], rollout(file)["enabled"]) == (0, False)


@pytest.mark.parametrize("number", ["-1", "101", "5.5", "05", "five", "\uff11"])
def test_a_percentage_that_is_none_is_bad_usage(run: Run, file: Path, number: str) -> None:
    ended = run("set", number, "-c", str(file))
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert rollout(file)["percentage"] == 5


@pytest.mark.parametrize("place", [(), ("-c", "x", "--admin", "http://a"), ("--admin", "ftp://a")])
def test_exactly_one_right_place_is_needed(run: Run, place: tuple[str, ...]) -> None:
    assert run("rollback", *place).returncode == 2


def test_what_can_not_be_done_in_the_file_is_told(run: Run, file: Path, tmp_path: Path) -> None:
    ended = run("set", "9", "-c", str(file), "--if-match", "000000000000")
    assert (ended.returncode, "is at revision" in ended.stderr) == (1, True)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    ended = run("set", "9", "-c", str(link))
    assert (ended.returncode, "symbolic link" in ended.stderr) == (1, True)
    data = tmp_path / "..data"
    data.symlink_to(tmp_path)
    link.unlink()
    link.symlink_to(data / file.name)
    ended = run("rollback", "-c", str(link))
    assert (ended.returncode, "change the ConfigMap" in ended.stderr) == (1, True)
    assert "cutover rollback --admin" in ended.stderr, "the way that is open at 3 a.m."
    file.write_text(file.read_text() + "rolout: 1\n")
    ended = run("set", "9", "-c", str(file))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{file}:{len(file.read_text().splitlines())}: rolout: unknown key")
    assert rollout(file)["percentage"] == 5


def test_check_takes_the_file_either_way(run: Run, file: Path) -> None:
    assert run("check", "-c", str(file)).stdout == run("check", str(file)).stdout != ""
    assert run("check").returncode == run("check", str(file), "-c", str(file)).returncode == 2


def test_status_of_nobody_is_exit_1_and_bad_usage_exit_2(run: Run, tmp_path: Path) -> None:
    ended = run("status", "--admin", f"unix:{tmp_path}/none")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "not reachable: no such file" in ended.stderr
    for wrong in (("--interval", "1ms"), ("--interval", "2"), ("--token-file", f"{tmp_path}/none")):
        ended = run("status", "--admin", "http://127.0.0.1:1", *wrong)
        assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
