"""`cutover set` and `cutover rollback` through the admin API."""

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from proxy.cli.main import main
from tests.e2e.conftest import StartSidecar
from tests.e2e.sidecar import Sidecar, config, eventually, run_command

LEGACY, TARGET = "http://127.0.0.1:1", "http://127.0.0.1:2"


def rollout(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text())["rollout"])


def run_here(*arguments: str) -> CompletedProcess[str]:
    """Run `cutover` in this process, which is quicker; the sidecar is a process of its own."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as end:  # argparse's way
            code = int(end.code or 0)
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def status(sidecar: Sidecar) -> dict[str, Any]:
    return dict(json.loads(sidecar.ask_admin("GET", "/status").body))


def test_through_the_admin_api_the_change_is_in_force_when_the_command_ends(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(config(LEGACY, TARGET, rollout={"enabled": False, "percentage": 5}))
    url = f"http://{sidecar.admin}"
    ended = run_here("set", "25", "--admin", url)
    assert ended.returncode == 0, ended.stderr
    assert "percentage 5 → 25" in ended.stdout
    assert "enabled is false" in ended.stderr
    assert status(sidecar)["percentage"] == 25
    ended = run_here("set", "30", "--admin", url, "--enable", "--json")
    told = json.loads(ended.stdout)
    assert (told["percentage"], told["enabled"], told["old"]["percentage"]) == (30, True, 25)
    assert rollout(sidecar.file)["percentage"] == (30 if told["persisted"] else 5)
    ended = run_here("set", "40", "--admin", url, "--if-match", "000000000000")
    assert (ended.returncode, "refuses" in ended.stderr, status(sidecar)["percentage"]) == (1, True, 30)
    ended = run_here("rollback", "--admin", url)
    assert (ended.returncode, "percentage 30 → 0, enabled true → false" in ended.stdout) == (0, True)
    assert (status(sidecar)["percentage"], status(sidecar)["enabled"]) == (0, False)
    sidecar.stop()
    ended = run_here("rollback", "--admin", url)
    assert (ended.returncode, "not reachable" in ended.stderr) == (1, True)


def test_a_token_comes_from_a_file_or_the_environment_over_a_unix_socket(
    start_sidecar: StartSidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "admin.sock"
    start_sidecar(config(LEGACY, TARGET, admin={"listen": f"unix:{socket}", "token": "hidden-token"}))
    eventually(socket.exists)
    token = tmp_path / "token"
    token.write_text("hidden-token\n")
    refused = run_here("set", "9", "--admin", f"unix:{socket}")
    assert (refused.returncode, "Bearer" in refused.stderr) == (1, True)
    ways = [run_here("set", "9", "--admin", f"unix:{socket}", "--token-file", str(token))]
    monkeypatch.setenv("CUTOVER_ADMIN_TOKEN", "hidden-token")
    ways.append(run_here("rollback", "--admin", f"unix:{socket}"))
    for ended in ways:
        assert ended.returncode == 0, ended.stderr
        assert "hidden" not in ended.stdout + ended.stderr
    token.write_text("")
    assert run_here("rollback", "--admin", f"unix:{socket}", "--token-file", str(token)).returncode == 2


def test_ctrl_c_while_the_libraries_load_is_no_traceback(tmp_path: Path) -> None:
    package = tmp_path / "aiohttp"  # one of them, interrupted
    package.mkdir()
    (package / "__init__.py").write_text("raise KeyboardInterrupt\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ended = run_command("run", "-c", "config/minimal.yaml", env={"PYTHONPATH": paths})
    assert (ended.returncode, ended.stderr) == (130, "")
