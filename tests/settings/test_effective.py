"""What is shown can be written to a file and means the same."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.settings.effective import effective_settings, effective_yaml
from proxy.settings.load import parse_settings
from proxy.settings.schema import Settings
from proxy.settings.units import format_duration, format_size

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
TOKENS = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    ["${env:X}", "$${", "true", "007", "0o17", "1e3", "~", "on", "1:30", "- a", "#", "'", '"']
)
DURATIONS = st.integers(1, 10**8).map(lambda ms: format_duration(ms / 1000))
SIZES = st.integers(1, 1 << 40).map(format_size)
USERS = st.lists(TEXTS.map(str.strip).filter(bool), max_size=3, unique=True)


def escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return {key: escaped(item) for key, item in value.items()} if isinstance(value, dict) else value


OPERATIONS = st.builds(
    dict,
    match=st.sampled_from(["GET /images/{id}", "PUT|PATCH /x", "GET /"]),
    route=st.sampled_from(["split", "legacy", "target"]),
    percentage=st.none() | st.integers(0, 100),
    timeout=st.none() | DURATIONS,
)
CONFIGURATIONS = st.fixed_dictionaries(
    {
        "legacy": st.fixed_dictionaries(
            {"url": st.sampled_from(["http://a", "https://b:8443/x", "unix:/run/a.sock", "http://[::1]:1"])},
            optional={
                "timeout": DURATIONS,
                "host": st.sampled_from(["preserve", "upstream", "h.example:81"]),
                "strip_prefix": st.sampled_from(["", "/api", "/a/b"]),
                "pool": st.fixed_dictionaries({}, optional={"max_idle": st.integers(0, 99)}),
            },
        ),
        "target": st.fixed_dictionaries(
            {"url": st.just("https://t")},
            optional={
                "circuit_breaker": st.fixed_dictionaries({"failure_ratio": st.floats(0.01, 1), "window": DURATIONS})
            },
        ),
    },
    optional={
        "listen": st.sampled_from(["127.0.0.1:0", "[::1]:80", "unix:/run/c.sock"]),
        "workers": st.integers(1, 256) | st.just("auto"),
        "rollout": st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "percentage": st.integers(0, 100),
                "salt": TEXTS,
                "user_id": st.lists(
                    st.fixed_dictionaries({"header": TOKENS})
                    | st.fixed_dictionaries({"query": TEXTS.filter(lambda text: text != "" and text.isprintable())}),
                    max_size=2,
                ),
                "users": st.fixed_dictionaries({"target": USERS}),
            },
        ),
        "operations": st.dictionaries(NAMES.filter(lambda name: name != "other"), OPERATIONS, max_size=3).map(
            lambda named: [{"name": name, **rest} for name, rest in named.items()]
        ),
        "fallback": st.fixed_dictionaries(
            {},
            optional={
                "statuses": st.lists(st.integers(400, 599) | st.sampled_from(["4xx", "5xx"]), max_size=4),
                "unsafe_methods": st.sampled_from([True, False, "idempotency_key"]),
                "request_buffer": SIZES,
            },
        ),
        "limits": st.fixed_dictionaries({}, optional={"body_bytes": SIZES, "header_timeout": DURATIONS}),
        "expose": st.booleans(),
        "logging": st.fixed_dictionaries({"sample": st.floats(0, 1), "access": st.sampled_from(["all", "off"])}),
    },
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONFIGURATIONS)
def test_valid_settings_survive_being_shown_and_read_again(values: dict[str, Any]) -> None:
    configured = Settings.model_validate(values)
    shown = effective_yaml(configured)
    again = parse_settings(shown.encode(), Path("c.yaml"), {}).settings
    assert again == configured
    assert effective_yaml(again) == shown


def test_a_literal_placeholder_is_shown_so_that_it_stays_one() -> None:
    values = {"legacy": {"url": "http://a"}, "target": {"url": "http://b"}, "rollout": {"salt": "${env:X}"}}
    assert effective_settings(Settings.model_validate(values))["rollout"]["salt"] == "$${env:X}"


def test_user_lists_can_be_shown_as_counts() -> None:
    values = {
        "legacy": {"url": "http://a"},
        "target": {"url": "http://b"},
        "rollout": {"users": {"target": ["ann", "bob"]}},
    }
    configured = Settings.model_validate(values)
    assert effective_settings(configured, user_lists="counts")["rollout"]["users"] == {
        "target": 2,
        "legacy": 0,
    }
    assert effective_settings(configured)["rollout"]["users"] == {"target": ["ann", "bob"], "legacy": []}


def test_relative_paths_count_from_the_file_and_are_shown_whole(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    text = """
legacy: {url: http://a}
target: {url: http://b, tls: {ca_file: ca.pem}}
rollout: {kill_switch_file: KILL}
"""
    shown = effective_settings(parse_settings(text.encode(), tmp_path / "c.yaml", {}).settings)
    assert shown["target"]["tls"]["ca_file"] == str(tmp_path / "ca.pem")
    assert shown["rollout"]["kill_switch_file"] == str(tmp_path / "KILL")
