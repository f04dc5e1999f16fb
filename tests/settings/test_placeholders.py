"""Placeholders are expanded once, typed by the field, and never quoted in an error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.errors import ConfigError
from proxy.settings.load import LoadedSettings, parse_settings
from proxy.settings.placeholders import Expander, PlaceholderError
from proxy.settings.raw import Substituted

BASE = "legacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\n"


def load(text: str, env: dict[str, str] | None = None, directory: Path = Path()) -> LoadedSettings:
    return parse_settings((BASE + text).encode(), directory / "c.yaml", env or {})


def expand(text: str, **env: str) -> str:
    return Expander(env, Path()).expand(text)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${env:A}", "1"),
        ("a-${env:A}-${env:B}", "a-1-two"),
        ("${env:UNSET:-x}", "x"),
        ("${env:EMPTY:-x}", "x"),
        ("${env:EMPTY}", ""),
        ("${env:UNSET:-}", ""),
        ("${env:UNSET:-a:-b}", "a:-b"),
        ("${env:A:-x}", "1"),
        ("$${env:A}", "${env:A}"),
        ("$$${env:A}", "$${env:A}"),
        ("$5 {x} $", "$5 {x} $"),
        ("${env:NESTED}", "${env:A}"),
    ],
)
def test_text_is_expanded_once(text: str, expanded: str) -> None:
    assert expand(text, A="1", B="two", EMPTY="", NESTED="${env:A}") == expanded


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${env:UNSET}", "the environment variable UNSET is not set"),
        ("${foo}", "malformed placeholder ${foo…}"),
        ("${}", "malformed placeholder ${…}"),
        ("${env:}", "malformed placeholder ${env…}"),
        ("${env:1A}", "malformed placeholder ${env…}"),
        ("${env:A-hunter2}", "malformed placeholder ${env…}"),
        ("${file:}", "malformed placeholder ${file…}"),
        ("${env:A", "unclosed placeholder: ${ without }"),
        ("${env:A:-${env:B}}", "a placeholder inside a placeholder cannot be expanded"),
        ("${file:/nowhere/at/all}", "${file:/nowhere/at/all}: no such file"),
        ("${file:/dev}", "${file:/dev}: not a regular file"),
        ("${file:/dev/zero}", "${file:/dev/zero}: not a regular file"),
        ("${file:a\0b}", "${file:a\0b}: "),
        ("${env:HALF}", "the environment variable HALF is not valid UTF-8"),
    ],
)
def test_a_placeholder_that_cannot_be_expanded_says_why(text: str, problem: str) -> None:
    with pytest.raises(PlaceholderError) as caught:
        expand(text, A="1", HALF="\udcff")
    assert caught.value.problem.startswith(problem)


def test_the_reason_comes_with_the_line_and_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        load("rollout:\n  users:\n    target:\n      - ann\n      - ${env:WHO}\n")
    assert str(caught.value) == (
        "c.yaml:7: rollout.users.target[1]: the environment variable WHO is not set;"
        " set it, or write ${env:WHO:-default}"
    )


def test_files_are_relative_to_the_configuration_and_remembered(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("s3cret-and-long-enough\n")
    loaded = load('admin: {token: "${file:secrets/token}"}', directory=tmp_path)
    assert loaded.settings.admin.token == "s3cret-and-long-enough"
    assert loaded.files == (tmp_path / "secrets" / "token",)


@pytest.mark.parametrize(("data", "reason"), [(b"\xff", "not valid UTF-8"), (b"x" * ((1 << 20) + 1), "larger than")])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "token").write_bytes(data)
    with pytest.raises(ConfigError, match=reason):
        load('admin: {token: "${file:token}"}', directory=tmp_path)


def test_the_field_decides_the_type() -> None:
    text = """
rollout: {enabled: "${env:BOOL}", percentage: "${env:INT}", salt: "${env:INT}"}
logging: {sample: "${env:FLOAT}"}
limits: {header_bytes: "${env:SIZE}", header_timeout: "${env:NUMBER}s"}
fallback:
  statuses: ["${env:STATUS}", "${env:CLASS}"]
  unsafe_methods: ${env:BOOL}
  hedge_after: ${env:NONE:-}
admin: {token: "${env:DIGITS}"}
workers: ${env:WORKERS}
expose: ${env:BOOL}
"""
    env = {
        "BOOL": "TRUE", "INT": "15", "FLOAT": "0.25", "SIZE": "1KiB", "NUMBER": "7", "STATUS": "404",
        "CLASS": "5xx", "DIGITS": "00123456789012345678", "WORKERS": "auto",
    }  # fmt: skip
    settings = load(text, env).settings
    assert settings.rollout.enabled is True
    assert settings.rollout.percentage == 15
    assert settings.rollout.salt == "15"
    assert settings.logging.sample == 0.25
    assert settings.limits.header_bytes == 1024
    assert settings.limits.header_timeout == 7.0
    assert settings.fallback.statuses.written == (404, "5xx")
    assert settings.fallback.unsafe_methods is True
    assert settings.fallback.hedge_after is None
    assert settings.admin.token == "00123456789012345678"
    assert settings.workers == "auto"
    assert settings.expose is True


def test_digits_from_the_environment_are_a_user() -> None:
    settings = load('rollout: {users: {target: ["${env:ID}"]}}', {"ID": "007"}).settings
    assert settings.rollout.users.target == ("007",)


def test_no_mark_of_a_substitution_is_left_in_the_settings() -> None:
    settings = load('rollout: {salt: "${env:S}", users: {target: ["${env:S}"]}}', {"S": "x"}).settings
    assert type(settings.rollout.salt) is str
    assert type(settings.rollout.users.target[0]) is str


@pytest.mark.parametrize("value", ["1", "yes", "on", "", "truee"])
def test_a_boolean_from_the_environment_is_true_or_false(value: str) -> None:
    with pytest.raises(ConfigError, match=r"expected true or false, got the value of \$\{env:X\}"):
        load("expose: ${env:X}", {"X": value})


def test_an_empty_substitution_is_null_where_null_is_allowed() -> None:
    settings = load('rollout: {force: {token: "${env:T:-}"}, kill_switch_file: "${env:K:-}"}').settings
    assert settings.rollout.force.token is None
    assert settings.rollout.kill_switch_file is None


def test_what_is_substituted_is_never_read_as_yaml() -> None:
    settings = load("rollout: {salt: '${env:S}'}", {"S": "x, percentage: 100} # ${env:T}"}).settings
    assert settings.rollout.salt == "x, percentage: 100} # ${env:T}"
    assert settings.rollout.percentage == 0


@given(st.text(alphabet="${}e:nvx", max_size=20))
def test_escaped_text_comes_out_as_it_was(text: str) -> None:
    expanded = expand(text.replace("${", "$${"))
    assert expanded == text
    assert not isinstance(expanded, Substituted)
