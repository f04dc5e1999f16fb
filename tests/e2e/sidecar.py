"""`cutover run` as a process: started, listened to, asked over its admin port, stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import yaml

from tests.e2e.wire import Answer, ask

ROOT: Final = Path(__file__).resolve().parents[2]
START_S: Final = 30.0
DEADLINE_S: Final = 15.0
T = TypeVar("T")
Labels = frozenset[tuple[str, str]]
_LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"')

OPERATIONS: Final = [
    {"name": "get", "match": "GET /images/{id}"},
    {"name": "list", "match": "GET /images"},
    {"name": "upload", "match": "POST /images"},
    {"name": "update", "match": "PUT|PATCH /images/{id}"},
    {"name": "delete", "match": "DELETE /images/{id}"},
    {"name": "kept", "match": "GET /kept/{id}", "route": "legacy"},
    {"name": "moved", "match": "GET /moved/{id}", "route": "target"},
]


def eventually(look: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """Look again and again until there is something true to see; the last look is returned, or raises."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            found = look()
        except (AssertionError, OSError):
            if time.monotonic() > end:
                raise
        else:
            if found or time.monotonic() > end:
                return found
        time.sleep(0.02)


def config(legacy: str, target: str, /, **changes: Any) -> dict[str, Any]:
    """A configuration for tests: everything to the target, short timeouts, no breaker; `changes` are merged in."""
    base: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "legacy": {"name": "postgresql", "url": legacy, "timeout": "1s"},
        "target": {
            "name": "image_service",
            "url": target,
            "timeout": "1s",
            "host": "preserve",
            "circuit_breaker": {"enabled": False},
        },
        "rollout": {"enabled": True, "percentage": 100},
        "operations": OPERATIONS,
    }
    return merged(base, changes)


def merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` put in, mappings key by key."""
    result = dict(base)
    for key, value in changes.items():
        present = result.get(key)
        result[key] = merged(present, value) if isinstance(present, dict) and isinstance(value, dict) else value
    return result


def command(*arguments: str) -> list[str]:
    """The command line of `cutover`."""
    return [sys.executable, "-m", "proxy", *arguments]


def run_command(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `cutover` to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Sample:
    """One scrape: values by metric name and labels.

    Reads the text itself, because tests scrape often and the library's parser is slow; `test_admin` parses a
    scrape with both.
    """

    def __init__(self, text: str) -> None:
        self.values: dict[tuple[str, Labels], float] = {}
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            key = (name, frozenset(_LABEL.findall(labels)))
            assert key not in self.values, f"{key} twice"
            self.values[key] = float(value)

    def total(self, name: str, **labels: str) -> float:
        """The sum over all label sets that have these labels."""
        wanted = set(labels.items())
        return sum(value for (each, has), value in self.values.items() if each == name and wanted <= has)

    def label_sets(self, name: str) -> list[dict[str, str]]:
        return [dict(has) for each, has in self.values if each == name]


class Sidecar:
    """A running `cutover run`."""

    def __init__(self, file: Path, env: Mapping[str, str] | None = None) -> None:
        self.file = file
        self._out: list[bytes] = []
        self._err: list[bytes] = []
        self.process = subprocess.Popen(
            command("run", "-c", str(file)),
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=_collect, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self._out), (self.process.stderr, self._err))
        ]
        for reader in self._readers:
            reader.start()
        started = self._await_start()
        self.address: str = started["listen"]
        self.admin: str = started["admin"]

    def _await_start(self) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.events("started")
            if found:
                return found[0]
            assert self.process.poll() is None, self.stderr
            return None

        try:
            started = eventually(look, START_S)
            assert started, f"not started: {self.stdout}{self.stderr}"
        except BaseException:
            self.stop()
            raise
        return started

    @property
    def stdout(self) -> str:
        return b"".join(self._out).decode()

    @property
    def stderr(self) -> str:
        return b"".join(self._err).decode()

    def log(self) -> list[dict[str, Any]]:
        """Every line so far; a line that is no JSON object raises."""
        lines = [json.loads(line) for line in tuple(self._out)]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == name]

    def access_line(self, request_id: str) -> dict[str, Any]:
        """Wait for the one access line of a request."""

        def look() -> list[dict[str, Any]]:
            return [line for line in self.events("request") if line["request_id"] == request_id]

        lines = eventually(look, 3)
        assert len(lines) == 1
        return lines[0]

    def ask(self, method: str, target: str, fields: Any = (), body: bytes | None = None) -> Answer:
        return ask(self.address, method, target, fields, body)

    def ask_admin(self, method: str, target: str, body: Any = None, **fields: str) -> Answer:
        sent = [("Host", self.admin), *((name.replace("_", "-"), value) for name, value in fields.items())]
        if body is None:
            return ask(self.admin, method, target, sent, b"" if method != "GET" else None)
        sent.append(("Content-Type", "application/json"))
        return ask(self.admin, method, target, sent, json.dumps(body).encode())

    def set_rollout(self, **change: Any) -> None:
        answer = self.ask_admin("PATCH", "/rollout?persist=false", change)
        assert answer.status == 200, answer.body

    def metrics(self) -> Sample:
        answer = self.ask_admin("GET", "/metrics")
        assert answer.status == 200
        assert len(answer.body) == answer.length
        return Sample(answer.body.decode())

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return [worker["pid"] for worker in self.ask_admin("GET", "/status").json()["workers"]]

    def resident_bytes(self) -> int:
        """Of the supervisor and its workers together."""
        return sum(map(resident_bytes, [self.process.pid, *children(self.process.pid)]))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait for the end; returns the exit status. All output is there then."""
        status = self.process.wait(timeout_s)
        for reader in self._readers:
            reader.join(5)
        return status

    def stop(self) -> None:
        """End it, gently if it lets itself be ended so."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        for reader in self._readers:
            reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def children(pid: int) -> list[int]:
    """The process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_bytes(pid: int) -> int:
    """Of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def _collect(stream: IO[bytes], lines: list[bytes]) -> None:
    for line in stream:
        lines.append(line)  # noqa: PERF402 - each line is to be seen as soon as it is here


def write_config(file: Path, settings: Mapping[str, Any]) -> Path:
    """Write a configuration file."""
    file.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
    return file
