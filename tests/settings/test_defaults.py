"""Every default is the contract's."""

from pathlib import Path
from typing import Any

from proxy.settings.effective import effective_settings
from proxy.settings.load import load_settings, parse_settings

REPOSITORY = Path(__file__).parents[2]

POOL = {"max_connections": 1024, "max_idle": 64, "idle_timeout": "4s", "max_pending": 10000}
TLS = {"ca_file": None, "cert_file": None, "key_file": None, "server_name": None}
SOURCE = {"connect_timeout": "1s", "strip_prefix": "", "headers": {"set": {}, "remove": []}, "tls": TLS}
PLAIN_OPERATION = {"route": "split", "percentage": None, "timeout": None, "hedge_after": None}

DEFAULTS: dict[str, Any] = {
    "listen": "0.0.0.0:8080",
    "workers": 1,
    "admin": {"listen": "127.0.0.1:9900", "token": None},
    "legacy": {
        **SOURCE,
        "name": "postgresql",
        "url": "http://127.0.0.1:3000",
        "timeout": "30s",
        "host": "preserve",
        "pool": POOL,
    },
    "target": {
        **SOURCE,
        "name": "image_service",
        "url": "https://images.example.com",
        "timeout": "5s",
        "host": "upstream",
        "pool": {**POOL, "max_connections": 256},
        "circuit_breaker": {
            "enabled": True,
            "window": "10s",
            "min_requests": 20,
            "failure_ratio": 0.5,
            "consecutive": 5,
            "open_for": "5s",
            "probes": 3,
        },
    },
    "rollout": {
        "enabled": False,
        "percentage": 0,
        "salt": "",
        "user_id": [
            {"header": "X-User-Id"},
            {"jwt_claim": "sub"},
            {"cookie": "user_id"},
            {"query": "userId"},
        ],
        "anonymous": "legacy",
        "users": {"target": [], "legacy": []},
        "force": {"header": "X-Cutover-Force", "token": None},
        "kill_switch_file": None,
    },
    "operations": [
        {**PLAIN_OPERATION, "name": "get", "match": "GET /images/{id}"},
        {**PLAIN_OPERATION, "name": "list", "match": "GET /images"},
        {**PLAIN_OPERATION, "name": "upload", "match": "POST /images", "route": "legacy"},
        {**PLAIN_OPERATION, "name": "update", "match": "PUT|PATCH /images/{id}", "route": "legacy"},
        {**PLAIN_OPERATION, "name": "delete", "match": "DELETE /images/{id}", "route": "legacy"},
    ],
    "fallback": {
        "enabled": True,
        "statuses": [401, 403, 404, 408, 429, "5xx"],
        "request_buffer": "64KiB",
        "response_buffer": "256KiB",
        "hedge_after": None,
        "max_concurrent": 512,
        "unsafe_methods": False,
    },
    "limits": {
        "header_bytes": "32KiB",
        "header_count": 100,
        "uri_bytes": "8KiB",
        "body_bytes": "100MiB",
        "buffered_bytes": "256MiB",
        "header_timeout": "10s",
        "body_timeout": "30s",
        "stream_idle_timeout": "1h",
        "keepalive_timeout": "1m15s",
        "connections": 10000,
        "drain_timeout": "30s",
        "drain_delay": "0s",
    },
    "forwarded": {"trusted_proxies": ["127.0.0.0/8", "::1/128"], "via": True},
    "expose": True,
    "logging": {"level": "info", "access": "all", "sample": 1.0, "format": "json"},
}

KEYS_IN_ORDER = list(DEFAULTS)


def test_two_urls_are_enough_and_the_rest_is_the_contracts() -> None:
    settings = load_settings(REPOSITORY / "config" / "minimal.yaml", {}).settings
    assert effective_settings(settings) == DEFAULTS


def test_the_keys_come_in_the_contracts_order() -> None:
    settings = load_settings(REPOSITORY / "config" / "minimal.yaml", {}).settings
    shown = effective_settings(settings)
    assert list(shown) == KEYS_IN_ORDER
    assert list(shown["legacy"]) == [
        "name", "url", "timeout", "connect_timeout", "host", "strip_prefix", "headers", "tls", "pool",
    ]  # fmt: skip


def test_the_shipped_example_is_the_defaults_but_for_what_its_target_is_sent() -> None:
    loaded = load_settings(REPOSITORY / "config" / "cutover.yaml", {})
    shown = effective_settings(loaded.settings)
    assert shown["target"].pop("headers") == {"set": {"Authorization": "********"}, "remove": ["Cookie"]}
    expected = {**DEFAULTS, "target": {k: v for k, v in DEFAULTS["target"].items() if k != "headers"}}
    assert shown == expected
    assert {warning.key for warning in loaded.warnings} == {"target.headers.set.Authorization"}


def test_the_shipped_example_follows_the_environment() -> None:
    env = {"USE_IMAGE_SERVICE": "True", "ROLLOUT_PERCENTAGE": "10", "IMAGE_SERVICE_TOKEN": "t0ken"}
    settings = load_settings(REPOSITORY / "config" / "cutover.yaml", env).settings
    assert settings.rollout.enabled is True
    assert settings.rollout.percentage == 10
    assert settings.target.headers.set["Authorization"] == "Bearer t0ken"


def test_values_are_seconds_bytes_and_sets_in_python() -> None:
    text = b"legacy: {url: 'http://a'}\ntarget: {url: 'http://b', timeout: 1m30s}\nlimits: {uri_bytes: 4KiB}\n"
    settings = parse_settings(text, Path("c.yaml"), {}).settings
    assert settings.target.timeout == 90.0
    assert settings.limits.uri_bytes == 4096
    assert settings.fallback.statuses == {401, 403, 404, 408, 429, *range(500, 600)}
    assert settings.fallback.statuses.written == (401, 403, 404, 408, 429, "5xx")
    update = settings.operations[3]
    assert (update.methods, update.path, update.route) == (("PUT", "PATCH"), "/images/{id}", "legacy")
