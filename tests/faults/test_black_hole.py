"""A real black hole: the target lives in a network namespace whose packets are dropped, new and established.

pytestmark = pytest.mark.serial

Needs root, `ip netns` and `nft`; says why it is skipped where they are missing.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, StartServer, StartSidecar
from tests.e2e.sidecar import ROOT, Sidecar, config, eventually
from tests.e2e.wire import Wire

CONNECT_S = 0.5
TIMEOUT_S = 1.0
SLACK_S = 1.0
ESTABLISHED = "tcp flags & syn == 0"  # without conntrack: all but the first packet of a connection
NET = "10.99.87"
NAMESPACE = f"cutover-{os.getpid()}"
VETH = f"cv{os.getpid() % 10_000_000}"
RULES = """
table inet hole {
    chain input {
        type filter hook input priority 0; policy accept;
        {verdict}
    }
}
"""


def _run(*arguments: str, text: str | None = None) -> None:
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"


class Hole:
    """The target's namespace, and its switch."""

    def __init__(self, stack: ExitStack) -> None:
        for tool in ("ip", "nft"):
            if shutil.which(tool) is None:
                pytest.skip(f"there is no {tool}")
        if os.geteuid() != 0:
            pytest.skip("network namespaces need root")
        try:
            _run("ip", "netns", "add", NAMESPACE)
            stack.callback(_run, "ip", "netns", "del", NAMESPACE)
            _run("ip", "link", "add", VETH, "type", "veth", "peer", "name", f"{VETH}p", "netns", NAMESPACE)
            stack.callback(subprocess.run, ("ip", "link", "del", VETH), capture_output=True, check=False)
            _run("ip", "addr", "add", f"{NET}.1/30", "dev", VETH)
            _run("ip", "link", "set", VETH, "up")
            self._inside("ip", "addr", "add", f"{NET}.2/30", "dev", f"{VETH}p")
            self._inside("ip", "link", "set", f"{VETH}p", "up")
            self._inside("ip", "link", "set", "lo", "up")
            self._inside("nft", "-f", "-", text=RULES.replace("{verdict}", ""))
        except AssertionError as error:
            pytest.skip(f"network namespaces do not work here: {error}")

    @staticmethod
    def _inside(*arguments: str, text: str | None = None) -> None:
        _run("ip", "netns", "exec", NAMESPACE, *arguments, text=text)

    def swallow(self, what: str = "") -> None:
        """Drop every packet that comes in (`what` narrows it)."""
        self._inside("nft", "add", "rule", "inet", "hole", "input", *what.split(), "counter", "drop")

    def spit(self) -> None:
        self._inside("nft", "flush", "chain", "inet", "hole", "input")


@pytest.fixture(scope="module")
def hole() -> Iterator[Hole]:
    with ExitStack() as stack:
        yield Hole(stack)


@pytest.fixture(scope="module")
def target_url(hole: Hole) -> Iterator[str]:
    """The target's process; it listens on every address of the namespace."""
    port = 8080
    program = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[1]); from tests.e2e.upstream import Upstream\n"
        "async def main():\n"
        "    up = Upstream('target')\n"
        f"    server = await asyncio.start_server(up._serve, '{NET}.2', {port}, limit=1 << 20)\n"
        "    print('up', flush=True)\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    command = ("ip", "netns", "exec", NAMESPACE, sys.executable, "-c", program, str(ROOT))
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path("/")) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield f"http://{NET}.2:{port}"
        finally:
            process.kill()


@pytest.fixture
def legacy(start_server: StartServer) -> Server:
    return start_server("legacy")


@pytest.fixture
def sidecar(target_url: str, hole: Hole, legacy: Server, start_sidecar: StartSidecar) -> Iterator[Sidecar]:
    target = {"timeout": f"{TIMEOUT_S}s", "connect_timeout": f"{CONNECT_S}s"}
    yield start_sidecar(config(legacy.url, target_url, legacy={"timeout": "10s"}, target=target))
    hole.spit()


def _timed(wire: Wire, method: str = "GET", body: bytes | None = None) -> tuple[str, str | None, float]:
    start = time.monotonic()
    target = "/images" if method == "POST" else "/images/1"
    answer = wire.ask(method, target, {"X-User-Id": "u"}, body)
    seconds = time.monotonic() - start
    return str(answer.status) if answer.status != 200 else answer.answered_by, answer["X-Cutover-Fallback"], seconds


def test_new_connections_into_a_black_hole_fall_back_within_the_connect_timeout(hole: Hole, sidecar: Sidecar) -> None:
    hole.swallow()
    for method, body in (("GET", None), ("POST", b"pixels"), ("PUT", b"pixels"), ("DELETE", None)):
        with Wire(sidecar.address) as wire:
            source, reason, seconds = _timed(wire, method, body)
        assert (source, reason) == ("legacy", "connect_error")
        assert seconds < CONNECT_S + SLACK_S
    hole.spit()
    _recovers(sidecar)


def test_an_established_connection_into_a_black_hole_falls_back_within_the_timeout(
    hole: Hole, sidecar: Sidecar, legacy: Server
) -> None:
    with Wire(sidecar.address) as wire:
        assert _timed(wire)[0] == "target"
        hole.swallow(ESTABLISHED)
        source, reason, seconds = _timed(wire)
        assert (source, reason) == ("legacy", "timeout")
        assert TIMEOUT_S * 0.9 < seconds < TIMEOUT_S + SLACK_S
        hole.spit()
        assert eventually(lambda: _timed(wire)[0] == "target")
        hole.swallow(ESTABLISHED)
        legacy.forget()
        status, _, seconds = _timed(wire, "POST", b"pixels")  # sent, so not asked again
        assert (status, legacy.seen) == ("504", [])
        assert seconds < TIMEOUT_S + SLACK_S
    hole.spit()
    _recovers(sidecar)


def test_a_target_that_drops_everything_for_a_while_is_used_again_without_a_restart(
    hole: Hole, sidecar: Sidecar
) -> None:
    with Wire(sidecar.address) as wire:
        assert _timed(wire)[0] == "target"
        for _ in range(2):
            hole.swallow()
            for _ in range(3):
                source, _, seconds = _timed(wire)
                assert source == "legacy"
                assert seconds < TIMEOUT_S + SLACK_S
            hole.spit()
            _recovers(sidecar)


def _recovers(sidecar: Sidecar) -> None:
    def well() -> bool:
        with Wire(sidecar.address) as wire:
            return _timed(wire)[0] == "target"

    assert eventually(well, 3)
