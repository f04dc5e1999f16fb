"""The command line (contract section 1)."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import mmh3
import pytest
import yaml

from tests.e2e.sidecar import config, run_command, write_config

# Known answers: user, salt, bucket (two of them published for Unleash's normalised values, less one).
VECTORS = [
    ("user-1", "", 59),
    ("user-1", "gallery-2026", 83),
    ("123", "gr1", 72),
    ("999", "groupX", 24),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_config(tmp_path / "c.yaml", config("http://127.0.0.1:1", "http://127.0.0.1:2"))


def test_help_lists_the_commands_and_each_has_an_example() -> None:
    ended = run_command("--help")
    assert ended.returncode == 0
    for command in ("run", "check", "schema", "explain"):
        assert command in ended.stdout
    for command in ("run", "explain"):
        helped = run_command(command, "--help")
        assert helped.returncode == 0
        assert f"cutover {command}" in helped.stdout.split("example:")[1]


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("run", "--nothing")])
def test_bad_usage_is_exit_2_without_a_traceback(arguments: tuple[str, ...]) -> None:
    ended = run_command(*arguments)
    assert ended.returncode == 2
    assert ended.stderr
    assert "Traceback" not in ended.stderr


def test_check_prints_a_configuration_that_check_accepts_and_no_secret(tmp_path: Path) -> None:
    settings = config(
        "http://127.0.0.1:1",
        "http://127.0.0.1:2",
        admin={"token": "hidden-token"},
        target={"headers": {"set": {"Authorization": "Bearer hidden-bearer"}}},
    )
    ended = run_command("check", str(write_config(tmp_path / "c.yaml", settings)))
    assert ended.returncode == 0
    assert "hidden" not in ended.stdout + ended.stderr
    assert "Authorization" in ended.stderr  # the warning about one credential for all
    again = tmp_path / "again.yaml"
    again.write_text(ended.stdout)
    assert run_command("check", str(again)).returncode == 0


def test_check_as_json_tells_valid_from_invalid(file: Path, tmp_path: Path) -> None:
    ended = run_command("check", str(file), "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["valid"]) == (0, True)
    assert told["config"]["rollout"]["percentage"] == 100
    bad = tmp_path / "bad.yaml"
    bad.write_text("legacy: {url: 'http://a'}\ntarget: {url: 'http://b', timeot: 1s}\n")
    ended = run_command("check", str(bad), "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["valid"]) == (2, False)
    assert (told["problems"][0]["line"], told["problems"][0]["key"]) == (2, "target.timeot")


def test_schema_is_a_json_schema_of_the_file(file: Path) -> None:
    ended = run_command("schema")
    assert ended.returncode == 0
    schema: dict[str, Any] = json.loads(ended.stdout)
    jsonschema.validate(yaml.safe_load(file.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"legacy": {"url": "http://a"}, "target": {"url": "http://b", "timeot": "1s"}}, schema)


def test_explain_gives_the_known_buckets(tmp_path: Path) -> None:
    for salt in {salt for _, salt, _ in VECTORS}:
        settings = config("http://127.0.0.1:1", "http://127.0.0.1:2", rollout={"percentage": 50, "salt": salt})
        file = write_config(tmp_path / f"{salt or 'none'}.yaml", settings)
        for user, its_salt, bucket in VECTORS:
            if its_salt != salt:
                continue
            assert mmh3.hash(f"{salt}:{user}" if salt else user, 0, signed=False) % 100 == bucket
            ended = run_command("explain", "-c", str(file), "--user", user, "--json")
            told = json.loads(ended.stdout)
            assert (ended.returncode, told["bucket"], told["moves_at"]) == (0, bucket, bucket + 1)
            assert told["source"] == ("image_service" if bucket < 50 else "postgresql")
            assert told["reason"] == "bucket"


def test_explain_for_people_says_bucket_source_reason_and_when_the_user_moves(tmp_path: Path) -> None:
    settings = config("http://127.0.0.1:1", "http://127.0.0.1:2", rollout={"percentage": 50})
    file = write_config(tmp_path / "c.yaml", settings)
    ended = run_command("explain", "-c", str(file), "--user", "alice", "--method", "GET", "--path", "/images/1")
    assert ended.returncode == 0
    for word in ("alice", "5", "image_service", "bucket", "6 %"):
        assert word in ended.stdout
    kept = run_command("explain", "-c", str(file), "--user", "alice", "--path", "/kept/1")
    assert "postgresql" in kept.stdout
    assert "operation" in kept.stdout
    wrong = run_command("explain", "-c", str(file), "--user", "alice", "--path", "nowhere")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)
    assert wrong.stderr
