"""A secret appears in no error, no dump and no repr."""

import json
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from proxy.settings.effective import effective_settings, effective_yaml
from proxy.settings.errors import ConfigError
from proxy.settings.load import parse_settings
from proxy.settings.schema import Settings

SECRET = "hunter2-hunter2-hunter2"

TEXT = """\
legacy: {url: 'http://a', headers: {set: {X-Api-Key: hunter2-hunter2-hunter2, X-Plain: visible}}}
target:
  url: http://b
  headers:
    set: {Authorization: "Bearer ${env:SECRET}", X-Env: "${env:SECRET}", Cookie: hunter2-hunter2-hunter2}
admin: {token: "${env:SECRET}"}
rollout: {force: {token: hunter2-hunter2-hunter2}}
"""


def test_secrets_are_real_for_the_proxy_and_masked_for_everybody_else() -> None:
    settings = parse_settings(TEXT.encode(), Path("c.yaml"), {"SECRET": SECRET}).settings
    assert settings.target.headers.set["Authorization"] == f"Bearer {SECRET}"
    assert settings.admin.token == SECRET
    assert f"{settings.rollout.force.token}" == SECRET

    shown = effective_settings(settings)
    assert shown["legacy"]["headers"]["set"] == {"X-Api-Key": "********", "X-Plain": "visible"}
    assert shown["admin"]["token"] == "********"
    for dump in (json.dumps(shown), effective_yaml(settings), repr(settings), str(settings)):
        assert SECRET not in dump
        assert "visible" in dump


def test_secrets_stay_masked_after_a_copy_to_another_process() -> None:
    settings = parse_settings(TEXT.encode(), Path("c.yaml"), {"SECRET": SECRET}).settings
    copied = pickle.loads(pickle.dumps(settings))
    assert copied == settings
    assert SECRET not in repr(copied)


@pytest.mark.parametrize(
    "text",
    [
        f"admin: {{token: 'a {SECRET}'}}",
        f"admin: {{token: [{SECRET}]}}",
        f"admin: '{SECRET}'",
        "admin: {token: 1234567890123}",
        "admin: {token: 01234567890123}",
        "admin: {listen: '${env:SECRET}'}",
        "workers: ${env:SECRET}",
        "expose: ${env:SECRET}",
        "rollout: {percentage: '${env:SECRET}', salt: '${env:SECRET'}",
        "rollout: {percentage: '1${env:UNSET:-hunter2-hunter2-hunter2}'}",
        "rollout: {users: ['${env:SECRET}'], anonymous: '${env:SECRET}'}",
        "rollout: {user_id: [{'header': 'a ${env:SECRET}'}], users: {target: '${env:SECRET}'}}",
        "limits: {body_bytes: '${env:SECRET}', body_timeout: '${env:SECRET}'}",
        "logging: {sample: '${env:SECRET}', level: '${env:SECRET}'}",
        "fallback: {statuses: ['${env:SECRET}'], unsafe_methods: '${env:SECRET}', enabled: '${env:SECRET}'}",
        "operations: [{name: '${env:SECRET}', match: '${env:SECRET}', route: '${env:SECRET}'}]",
        "forwarded: {trusted_proxies: ['${env:SECRET}']}",
        f'rollout: {{salt: "${{foo:{SECRET}}}"}}',
        f'rollout: {{salt: "${{env:A-{SECRET}}}"}}',
        f'rollout: {{salt: "${{env:A:-{SECRET}"}}',
    ],
)
def test_no_error_quotes_a_secret(text: str) -> None:
    base = "legacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\n"
    with pytest.raises(ConfigError) as caught:
        parse_settings((base + text).encode(), Path("c.yaml"), {"SECRET": SECRET})
    for said in (str(caught.value), repr(caught.value), repr(caught.value.problems)):
        assert SECRET not in said
        assert "1234567890123" not in said
    assert caught.value.__cause__ is None


def test_no_error_quotes_a_secret_header_or_a_password() -> None:
    text = f"""
legacy: {{url: 'http://ann:{SECRET}@a'}}
target: {{url: http://b, headers: {{set: {{A: 'é {SECRET}'}}}}}}
"""
    with pytest.raises(ConfigError) as caught:
        parse_settings(text.encode(), Path("c.yaml"), {})
    assert len(caught.value.problems) == 2
    assert SECRET not in str(caught.value)


def test_validating_without_the_loader_quotes_no_value_either() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"legacy": {"url": "http://a"}, "target": SECRET})
    assert SECRET not in str(caught.value)
