"""What is legal and surprising is said, at its line."""

from pathlib import Path

import pytest

from proxy.settings.errors import ConfigWarning
from proxy.settings.load import parse_settings

BASE = "legacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\n"


def warnings_of(text: str, env: dict[str, str] | None = None) -> list[ConfigWarning]:
    return list(parse_settings(text.encode(), Path("c.yaml"), env or {}).warnings)


def test_the_defaults_surprise_nobody() -> None:
    assert warnings_of(BASE) == []


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("admin: {listen: '0.0.0.0:9900'}", 3, "admin.listen", "beyond loopback without admin.token"),
        ("admin: {token: short}", 3, "admin.token", "shorter than 16 characters"),
        (
            "rollout:\n  percentage: 5",
            4,
            "rollout.percentage",
            "is 5 while rollout.enabled is false: nobody moves",
        ),
        ("rollout: {force: {token: short}}", 3, "rollout.force.token", "shorter than 16 characters"),
        ("rollout: {user_id: []}", 3, "rollout.user_id", "nobody moves at a percentage from 1 to 99"),
        (
            "operations: [{name: up, match: POST|GET /}]",
            3,
            "operations[0].route",
            "`up` may send POST to the target: writes fall back only when nothing was sent",
        ),
        (
            "operations: [{name: up, match: POST /, route: legacy, hedge_after: 1s}]",
            3,
            "operations[0].hedge_after",
            "only GET and HEAD are hedged",
        ),
    ],
)
def test_a_surprise_is_a_warning(text: str, line: int, key: str, words: str) -> None:
    (warning,) = warnings_of(BASE + text)
    # a key that is not written has no line
    assert warning.key == key
    assert warning.line == (line if key != "operations[0].route" else None)
    assert words in warning.message


@pytest.mark.parametrize(
    "text",
    [
        "admin: {listen: '0.0.0.0:9900', token: long-enough-to-be-good}",
        "admin: {listen: '[::1]:9900'}",
        "admin: {listen: 'unix:/run/admin.sock'}",
        "rollout: {enabled: true, percentage: 5}",
        "rollout: {user_id: [], anonymous: client_ip}",
        "operations: [{name: up, match: POST /}]\nfallback: {unsafe_methods: true}",
        "operations: [{name: up, match: GET|HEAD|OPTIONS /}]",
    ],
)
def test_what_is_as_it_should_be_is_no_warning(text: str) -> None:
    assert warnings_of(BASE + text) == []


def test_replacing_authorization_is_a_warning() -> None:
    text = "legacy: {url: http://a}\ntarget:\n  url: http://b\n  headers:\n    set: {authorization: x}\n"
    (warning,) = warnings_of(text)
    assert (warning.line, warning.key) == (5, "target.headers.set.authorization")
    assert warning.message == (
        "every user then reaches the target with one credential, so the target must be told the user by a"
        " header the edge vouches for, and a CDN's cache key must contain it"
    )


def test_an_empty_credential_is_a_warning_too() -> None:
    text = "legacy: {url: 'http://a'}\ntarget: {url: http://b, headers: {set: {A: 'Bearer ${env:T:-}'}}}\n"
    (warning,) = warnings_of(text)
    assert "its value is empty" in warning.message
    assert warnings_of(text, {"T": "x"}) == []
