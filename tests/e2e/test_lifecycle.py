"""Start, stop, and what is logged meanwhile (contract sections 8 and 9)."""

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Gallery, StartServer, StartSidecar
from tests.e2e.sidecar import ROOT, command, config, eventually, run_command, write_config
from tests.e2e.test_failures import does
from tests.e2e.wire import Truncated, Wire, request

# start


@pytest.mark.parametrize("key", ["listen", "admin.listen"])
def test_a_port_in_use_is_one_line_on_standard_error_and_exit_1(tmp_path: Path, key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        change = {"listen": address} if key == "listen" else {"admin": {"listen": address}}
        settings = config("http://127.0.0.1:1", "http://127.0.0.1:1", **change)
        ended = run_command("run", "-c", str(write_config(tmp_path / "c.yaml", settings)))
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert address in line
    assert "in use" in line
    assert "Traceback" not in ended.stdout


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("legacy: {url: 'http://a'}\ntarget:\n  url: http://b\n  timeot: 5s\n", 4, "target.timeot"),
        (
            "legacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\nrollout:\n  percentage: 101\n",
            4,
            "rollout.percentage",
        ),
        ("legacy: {url: 'http://a'}\nlegacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\n", 2, "legacy"),
        ("legacy: {url: 'http://a'}\ntarget:\n  url: ftp://b\n", 3, "target.url"),
        ("legacy: {url: 'http://a'}\n", None, "target"),
        ("legacy: [\n", None, ""),
    ],
)
def test_a_bad_configuration_is_named_by_file_line_and_key_and_exit_2(
    tmp_path: Path, text: str, line: int | None, key: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    commands = [("run", "-c", str(file)), ("check", str(file)), ("explain", "-c", str(file), "--user", "u")]
    for arguments in commands if key == "target.timeot" else commands[:1]:
        ended = run_command(*arguments)
        assert ended.returncode == 2
        assert (f"{file}:{line}: {key}" if line else str(file)) in ended.stderr
        assert key in ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stdout == ""


def test_a_configuration_that_is_not_there_or_lacks_a_secret_is_exit_2(tmp_path: Path) -> None:
    ended = run_command("run", "-c", str(tmp_path / "nowhere.yaml"))
    assert (ended.returncode, "nowhere.yaml" in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)
    file = tmp_path / "c.yaml"
    file.write_text("legacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\nadmin:\n  token: ${file:/nowhere/token}\n")
    ended = run_command("run", "-c", str(file))
    assert (ended.returncode, "admin.token" in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)


def test_a_ca_file_that_is_not_there_is_one_clear_message(tmp_path: Path) -> None:
    tls = {"ca_file": "/nowhere/ca.pem"}
    settings = config("http://127.0.0.1:1", "https://127.0.0.1:1", target={"tls": tls})
    ended = run_command("run", "-c", str(write_config(tmp_path / "c.yaml", settings)))
    assert ended.returncode in (1, 2)
    assert "tls" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_upstreams_that_are_down_at_the_start_are_named_and_used_as_they_appear(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    with socket.socket() as one, socket.socket() as two:
        for sock in (one, two):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
        ports = [sock.getsockname()[1] for sock in (one, two)]
        sidecar = start_sidecar(config(*(f"http://127.0.0.1:{port}" for port in ports)))
        lines = eventually(lambda: len(sidecar.events("upstream_unreachable")) == 2) and sidecar.events(
            "upstream_unreachable"
        )
        assert {(line["source"], line["kind"]) for line in lines} == {
            ("postgresql", "connect_error"),
            ("image_service", "connect_error"),
        }
        assert sidecar.ask_admin("GET", "/readyz").status == 200
        for method, path in (("GET", "/images/1"), ("POST", "/images"), ("GET", "/kept/1")):
            answer = sidecar.ask(method, path, {}, b"b" if method == "POST" else None)
            assert (answer.status, answer["Content-Type"]) == (502, "application/problem+json")
    start_server("legacy", ports[0])
    answer = sidecar.ask("GET", "/images/1")
    assert (answer.status, answer.answered_by, answer["X-Cutover-Fallback"]) == (200, "legacy", "connect_error")
    start_server("target", ports[1])
    answer = sidecar.ask("GET", "/images/1")
    assert (answer.status, answer.answered_by) == (200, "target")


# stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_in_flight_finish_and_ends_with_exit_0(
    start_server: StartServer, start_sidecar: StartSidecar, number: signal.Signals
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    sidecar = start_sidecar(config(legacy.url, target.url, target={"timeout": "10s"}))
    with Wire(sidecar.address) as idle, Wire(sidecar.address) as busy, Wire(sidecar.address) as large:
        assert idle.ask("GET", "/images/1").status == 200
        busy.send(request("GET", "/images/2", does("delay:1.2")))
        large.send(request("GET", "/images/3", does("drip:40000:1.2")))
        eventually(lambda: len(target.seen) == 3)
        sidecar.signal(number)
        assert eventually(lambda: sidecar.ask_admin("GET", "/readyz").status == 503)
        assert sidecar.ask_admin("GET", "/healthz").status == 200
        assert idle.is_closed()
        answer = busy.answer()
        assert (answer.status, answer.answered_by) == (200, "target")
        assert answer["Connection"] == "close"
        assert large.answer().length == 400_000
        with pytest.raises(OSError, match="refused"):
            Wire(sidecar.address)
    assert sidecar.wait() == 0
    assert sidecar.stderr == ""
    assert [line["event"] for line in sidecar.log()][-1] == "stopped"
    assert len(sidecar.events("request")) == 3


def test_during_the_drain_delay_requests_are_served_and_told_to_close(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    sidecar = start_sidecar(config(legacy.url, target.url, limits={"drain_delay": "2s"}))
    with Wire(sidecar.address) as open_before:
        assert open_before.ask("GET", "/images/1").status == 200
        sidecar.signal(signal.SIGTERM)
        assert eventually(lambda: sidecar.ask_admin("GET", "/readyz").status == 503)
        assert sidecar.ask("GET", "/images/2").status == 200
        assert open_before.ask("GET", "/images/3").status == 200
    assert sidecar.wait() == 0


def test_what_does_not_end_within_the_drain_timeout_is_closed(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    target = start_server("target")
    settings = config(target.url, target.url, target={"timeout": "60s"}, limits={"drain_timeout": "400ms"})
    sidecar = start_sidecar(settings)
    with Wire(sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does("black-hole")))
        eventually(lambda: len(target.seen) == 1)
        sidecar.signal(signal.SIGTERM)
        with pytest.raises((Truncated, ConnectionError)):
            wire.answer()
    assert sidecar.wait() == 0


# logs


SECRETS = {
    "user": "user-SECRETUSER",
    "cookie": "SECRETCOOKIE",
    "bearer": "SECRETBEARER",
    "force": "SECRETFORCE",
    "admin": "SECRETADMIN",
    "target": "SECRETTARGET",
    "query": "SECRETQUERY",
}
FIELDS = {
    "ts", "level", "event", "request_id", "trace_id", "method", "path", "operation", "bucket", "source", "reason",
    "status", "duration_ms", "bytes_in", "bytes_out", "attempts",
}  # fmt: skip


def test_every_request_is_one_line_of_json_that_tells_no_secret(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    settings = config(
        legacy.url,
        target.url,
        admin={"token": "${env:ADMIN_TOKEN}"},
        target={"headers": {"set": {"Authorization": "Bearer ${env:TARGET_TOKEN}"}}},
        rollout={"force": {"token": SECRETS["force"]}, "users": {"target": [SECRETS["user"]]}},
        logging={"level": "debug"},
    )
    env = {"ADMIN_TOKEN": SECRETS["admin"], "TARGET_TOKEN": SECRETS["target"]}
    sidecar = start_sidecar(settings, env)
    fields = {
        "X-User-Id": SECRETS["user"],
        "Cookie": f"session={SECRETS['cookie']}",
        "Authorization": f"Bearer {SECRETS['bearer']}",
        "X-Cutover-Force": f"target;{SECRETS['force']}",
    }
    cases = [
        ("GET", "answer", "answer", None),
        ("GET", "reset", "answer", "reset"),
        ("GET", "status:503", "answer", "status_503"),
        ("GET", "reset", "reset", "reset"),
        ("POST", "answer", "answer", None),
        ("POST", "status:500", "answer", None),
    ]
    for index, (method, at_target, at_legacy, fallback) in enumerate(cases):
        path = f"/images/{index}" if method == "GET" else "/images"
        sent = {**fields, **does(at_target, at_legacy), "X-Request-Id": f"r-{index}", "X-User-Id": SECRETS["user"]}
        answer = sidecar.ask(method, f"{path}?token={SECRETS['query']}", sent, b"12345" if method == "POST" else None)
        line = sidecar.access_line(f"r-{index}")
        assert line.keys() >= FIELDS
        assert line.get("fallback") == fallback
        assert ("fallback" in line) is (fallback is not None)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)", line["ts"])
        assert re.fullmatch(r"[0-9a-f]{32}", line["trace_id"])
        assert (line["method"], line["path"], line["status"]) == (method, path, answer.status)
        assert line["operation"] == ("get" if method == "GET" else "upload")
        assert (line["reason"], line["bucket"]) == ("forced", int(answer["X-Cutover-Bucket"] or -1))
        assert line["source"] == answer["X-Cutover-Source"]
        assert line["bytes_in"] == (5 if method == "POST" else 0)
        if line["source"] != "proxy":
            assert line["bytes_out"] == answer.length
        assert line["duration_ms"] > 0
        sources = [attempt["source"] for attempt in line["attempts"]]
        assert sources == ["image_service", "postgresql"][: 2 if fallback else 1]
        for attempt in line["attempts"]:
            assert attempt.keys() == {"source", "outcome", "status", "ms"}
            assert attempt["ms"] >= 0
        first = line["attempts"][0]
        verb = at_target.partition(":")
        assert first["outcome"] == (
            "ok" if verb[0] == "answer" else "reset" if verb[0] == "reset" else f"status_{verb[2]}"
        )
        assert first["status"] == (200 if verb[0] == "answer" else int(verb[2]) if verb[2] else None)
    with Wire(sidecar.address) as wire:
        wire.send(f"GET  /{SECRETS['query']} HTTP/1.1\r\nCookie: {SECRETS['cookie']}\r\n\r\n".encode())
        assert wire.answer().status == 400
    assert sidecar.ask_admin("PATCH", "/rollout", {"percentage": 1}).status == 401
    bearer = f"Bearer {SECRETS['admin']}"
    for _ in range(2):
        change = sidecar.ask_admin("PATCH", "/rollout?persist=false", {"percentage": 1}, Authorization=bearer)
        assert change.status == 200
    for path in ("/config", "/status", "/metrics", "/"):
        assert_tells_nothing(sidecar.ask_admin("GET", path).body.decode())
    sidecar.signal(signal.SIGTERM)
    assert sidecar.wait() == 0
    assert {"started", "request", "draining", "stopped", "rollout_changed"} <= {line["event"] for line in sidecar.log()}
    assert len(sidecar.events("request")) >= len(cases)
    assert_tells_nothing(sidecar.stdout + sidecar.stderr)


def assert_tells_nothing(text: str) -> None:
    assert [secret for secret in SECRETS.values() if secret in text] == []


def test_a_log_reader_that_does_not_read_slows_nothing(gallery: Gallery, tmp_path: Path) -> None:
    settings = config(gallery.legacy.url, gallery.target.url)
    file = write_config(tmp_path / "c.yaml", settings)
    read_end, write_end = os.pipe()
    try:
        started = start_with_stdout(file, write_end)
        os.close(write_end)
        write_end = -1
        address = first_line(read_end)["listen"]
        path = "/images/" + "x" * 1000
        with Wire(address) as wire:
            for _ in range(2000):
                assert wire.ask("GET", path, does()).status == 200
    finally:
        os.close(read_end)  # nobody reads any more
        if write_end >= 0:
            os.close(write_end)
    with Wire(address) as wire:
        assert wire.ask("GET", path, does()).status == 200
    started.terminate()
    assert started.wait(20) == 0


def first_line(descriptor: int) -> dict[str, str]:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(descriptor, 1)
    found: dict[str, str] = json.loads(line)
    return found


def start_with_stdout(file: Path, descriptor: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command("run", "-c", str(file)), cwd=ROOT, stdout=descriptor)
