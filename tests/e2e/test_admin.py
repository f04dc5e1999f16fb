"""The admin port (contract sections 6 and 7)."""

import hashlib
from pathlib import Path

import mmh3
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from tests.e2e.conftest import Gallery, StartServer, StartSidecar
from tests.e2e.sidecar import Sample, config, eventually
from tests.e2e.test_failures import does
from tests.e2e.wire import ask

METRICS = {
    "cutover_requests": "counter",
    "cutover_request_duration_seconds": "histogram",
    "cutover_decisions": "counter",
    "cutover_attempts": "counter",
    "cutover_attempt_duration_seconds": "histogram",
    "cutover_fallbacks": "counter",
    "cutover_hedges": "counter",
    "cutover_truncated_responses": "counter",
    "cutover_inflight_requests": "gauge",
    "cutover_downstream_connections": "gauge",
    "cutover_upstream_connections": "gauge",
    "cutover_upstream_cache": "counter",
    "cutover_breaker_state": "gauge",
    "cutover_rollout_percentage": "gauge",
    "cutover_rollout_enabled": "gauge",
    "cutover_config_reloads": "counter",
    "cutover_config_last_reload_successful": "gauge",
    "cutover_config_last_reload_timestamp_seconds": "gauge",
    "cutover_config_info": "gauge",
    "cutover_source_info": "gauge",
    "cutover_client_errors": "counter",
    "cutover_log_lines_dropped": "counter",
    "cutover_build_info": "gauge",
}


@pytest.fixture(scope="module")
def fresh(lasting: tuple[StartServer, StartSidecar]) -> Gallery:
    start_server, start_sidecar = lasting
    legacy, target = start_server("legacy"), start_server("target")
    settings = config(
        legacy.url,
        target.url,
        admin={"token": "admin-token-77"},
        target={"headers": {"set": {"Authorization": "Bearer target-token-77", "X-Api-Key": "api-key-77"}}},
        rollout={"users": {"target": ["vip-77"]}, "force": {"token": "force-token-77"}, "percentage": 50},
    )
    return Gallery(start_sidecar(settings), legacy, target)


def test_counters_add_up_with_what_was_sent(fresh: Gallery) -> None:
    sidecar = fresh.sidecar
    users = [f"user-{number}" for number in range(60)]
    inside = sum(mmh3.hash(user, 0, signed=False) % 100 < 50 for user in users)
    for user in users:
        assert sidecar.ask("GET", "/images/1", {"X-User-Id": user}).status == 200
    for _ in range(7):
        assert sidecar.ask("GET", "/images/1", {**does("reset"), "X-User-Id": "vip-77"}).status == 200
    for _ in range(5):
        assert sidecar.ask("GET", "/elsewhere").status == 200
    sample = sidecar.metrics()
    everything = 60 + 7 + 5
    assert sample.total("cutover_requests_total") == everything
    assert sample.total("cutover_requests_total", source="image_service", code="200") == inside
    assert sample.total("cutover_requests_total", source="postgresql") == everything - inside
    assert sample.total("cutover_request_duration_seconds_count") == everything
    assert sample.total("cutover_decisions_total") == everything
    assert sample.total("cutover_decisions_total", reason="bucket", source="image_service") == inside
    assert sample.total("cutover_decisions_total", reason="listed") == 7
    assert sample.total("cutover_decisions_total", reason="operation", operation="other") == 5
    assert sample.total("cutover_attempts_total") == everything + 7
    assert sample.total("cutover_attempts_total", outcome="reset") == 7
    assert sample.total("cutover_attempt_duration_seconds_count") == everything + 7
    assert sample.total("cutover_fallbacks_total") == 7
    assert sample.total("cutover_fallbacks_total", operation="get", reason="reset", result="served") == 7
    assert sample.total("cutover_inflight_requests") == 0
    eventually(lambda: sidecar.metrics().total("cutover_downstream_connections") == 0)
    assert sidecar.metrics().total("cutover_downstream_connections") == 0
    assert sample.total("cutover_rollout_percentage") == 50
    assert sample.total("cutover_rollout_enabled") == 1


def test_metrics_have_their_names_types_and_bounds_in_both_formats(fresh: Gallery) -> None:
    text = fresh.sidecar.ask_admin("GET", "/metrics")
    assert (text["Content-Type"] or "").startswith("text/plain; version=")
    families = {family.name: family for family in parse_prometheus(text.body.decode())}
    assert {name: families[name].type for name in METRICS if name in families} == METRICS
    parsed = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert parsed == Sample(text.body.decode()).values
    bounds = {labels["le"] for labels in fresh.sidecar.metrics().label_sets("cutover_request_duration_seconds_bucket")}
    assert {0.05, 0.08, 0.1, 0.3, 1.0, 5.0} <= {float(bound) for bound in bounds}
    accept = "application/openmetrics-text; version=1.0.0"
    openmetrics = fresh.sidecar.ask_admin("GET", "/metrics", Accept=accept)
    assert (openmetrics["Content-Type"] or "").startswith("application/openmetrics-text")
    assert "cutover_requests" in {family.name for family in parse_openmetrics(openmetrics.body.decode())}
    for name, labels in Sample(text.body.decode()).values:
        assert "images" not in str(labels) or name == "cutover_source_info" or "image_service" in str(labels)
        assert "vip-77" not in str(labels)


def test_label_sets_that_can_occur_are_there_at_0_from_the_start(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy = start_server("legacy")
    sample = start_sidecar(config(legacy.url, legacy.url)).metrics()
    for reason in ("connect_error", "tls_error", "timeout", "reset", "invalid_response", "overload", "status_503"):
        for result in ("served", "failed", "suppressed"):
            labels = {"operation": "get", "reason": reason, "result": result}
            assert ("cutover_fallbacks_total", frozenset(labels.items())) in sample.values
    for code in ("200", "401", "403", "404", "408", "429", "500", "502", "503", "504"):
        labels = {"source": "image_service", "operation": "get", "code": code}
        assert sample.values["cutover_requests_total", frozenset(labels.items())] == 0
    assert sample.total("cutover_requests_total") == 0
    assert sample.total("cutover_source_info") == 2
    assert sample.total("cutover_config_info") == 1


def test_health_readiness_and_what_is_not_there(fresh: Gallery) -> None:
    assert fresh.sidecar.ask_admin("GET", "/healthz").status == 200
    assert fresh.sidecar.ask_admin("GET", "/readyz").status == 200
    assert fresh.sidecar.ask_admin("GET", "/").status == 200
    missing = fresh.sidecar.ask_admin("GET", "/nowhere")
    assert (missing.status, missing["Content-Type"]) == (404, "application/problem+json; charset=utf-8")
    assert fresh.sidecar.ask_admin("POST", "/status").status == 405


def test_status_tells_what_is_in_force_and_how_both_sources_do(fresh: Gallery) -> None:
    for _ in range(3):
        fresh.sidecar.ask("GET", "/images/1", {**does("status:500"), "X-User-Id": "vip-77"})
    status = fresh.sidecar.ask_admin("GET", "/status").json()
    assert status["revision"] == hashlib.sha256(fresh.sidecar.file.read_bytes()).hexdigest()[:12]
    assert (status["percentage"], status["enabled"], status["override"]) == (50, True, None)
    assert status["kill_switch"] is False
    assert {"version", "last_reload", "workers", "sources"} <= status.keys()
    assert {worker["revision"] for worker in status["workers"]} == {status["revision"]}
    assert "postgresql" in str(status["sources"])
    assert "image_service" in str(status["sources"])


def test_explain_says_what_then_happens(fresh: Gallery) -> None:
    for number in range(40):
        user = f"user-{number}"
        told = fresh.sidecar.ask_admin("GET", f"/explain?user={user}&method=GET&path=/images/1").json()
        answer = fresh.sidecar.ask("GET", "/images/1", {"X-User-Id": user})
        assert told["source"] == answer["X-Cutover-Source"]
        assert told["reason"] == answer["X-Cutover-Reason"]
        assert told["bucket"] == int(answer["X-Cutover-Bucket"] or -1)
        assert told["moves_at"] == told["bucket"] + 1
    assert fresh.sidecar.ask_admin("GET", "/explain?path=nowhere").status == 400


def test_config_shows_no_secret_and_lists_as_counts(fresh: Gallery) -> None:
    answer = fresh.sidecar.ask_admin("GET", "/config")
    assert answer.status == 200
    for secret in ("admin-token-77", "target-token-77", "api-key-77", "force-token-77", "vip-77"):
        assert secret.encode() not in answer.body
    shown = answer.json()
    assert shown["target"]["timeout"] == "1s"
    assert shown["rollout"]["users"]["target"] == 1


def test_changes_need_the_token_a_good_body_and_the_right_revision(fresh: Gallery) -> None:
    sidecar = fresh.sidecar
    right = "Bearer admin-token-77"
    url = "/rollout?persist=false"
    change = {"percentage": 50}
    assert sidecar.ask_admin("PATCH", url, change).status == 401
    assert sidecar.ask_admin("PATCH", url, change, Authorization="Bearer wrong").status == 401
    assert sidecar.ask_admin("POST", "/rollback").status == 401
    assert sidecar.ask_admin("PATCH", url, change, Authorization=right, Origin="http://evil.example").status == 403
    assert sidecar.ask_admin("PATCH", url, change, Authorization=right, Sec_Fetch_Site="cross-site").status == 403
    for bad in ({"percentage": 101}, {"percentage": "10"}, {"percentage": 1.5}, {"percent": 1}, {}, [], None):
        body = [bad] if bad is None else bad
        assert sidecar.ask_admin("PATCH", url, body, Authorization=right).status == 400
    refused = sidecar.ask_admin("PATCH", url, change, Authorization=right, If_Match='"000000000000"')
    assert refused.status == 412
    revision = sidecar.ask_admin("GET", "/status").json()["revision"]
    accepted = sidecar.ask_admin("PATCH", url, change, Authorization=right, If_Match=f'"{revision}"')
    assert accepted.status == 200
    assert sidecar.ask_admin("GET", "/status").json()["override"]


def test_a_change_over_loopback_without_a_token_must_name_loopback_as_its_host(
    gallery: Gallery, tmp_path: Path
) -> None:
    sidecar = gallery.sidecar
    change = {"percentage": 100}
    assert sidecar.ask_admin("PATCH", "/rollout?persist=false", change).status == 200
    fields = {"Host": "rebound.example", "Content-Type": "application/json"}
    assert ask(sidecar.admin, "PATCH", "/rollout?persist=false", fields, b'{"percentage": 100}').status == 403
