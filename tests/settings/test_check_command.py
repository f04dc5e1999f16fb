"""`cutover check` and `cutover schema`."""

import argparse
import json
from pathlib import Path

import pytest
import yaml

from proxy.cli import check, schema
from proxy.settings.errors import ConfigError

VALID = "legacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\nrollout: {percentage: 5}\n"


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.execute(parser.parse_args(words))


@pytest.fixture
def valid(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(VALID)
    return path


def test_a_valid_file_is_shown_with_its_defaults(valid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(valid)) == 0
    printed = capsys.readouterr()
    assert yaml.safe_load(printed.out)["legacy"]["timeout"] == "30s"
    assert printed.err == (
        f"warning: {valid}:3: rollout.percentage: is 5 while rollout.enabled is false: nobody moves\n"
    )


def test_a_valid_file_as_json(valid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(valid), "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is True
    assert len(answer["revision"]) == 12
    assert answer["warnings"][0]["line"] == 3
    assert answer["config"]["rollout"]["percentage"] == 5


def test_an_invalid_file_is_an_error_for_the_dispatcher(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        run(str(tmp_path / "nowhere.yaml"))


def test_an_invalid_file_as_json(valid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    valid.write_text(VALID + "rolout: 1\n")
    assert run(str(valid), "--json") == 2
    assert json.loads(capsys.readouterr().out) == {
        "valid": False,
        "problems": [
            {
                "file": str(valid),
                "line": 4,
                "key": "rolout",
                "problem": "unknown key",
                "hint": 'did you mean "rollout"?',
            }
        ],
    }


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    schema.add_arguments(parser)
    assert schema.execute(parser.parse_args([])) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "cutover configuration"
