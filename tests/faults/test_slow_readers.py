"""Thousands of clients that ask for much and take little: what is held for them stays within `buffered_bytes`.

pytestmark = pytest.mark.serial

What each request costs besides its body (parsed heads, its state, two connections) comes on top: about 8 KiB, measured.
A quarter of the limit is allowed for it. With 200 KiB each, the kernel takes less than half of it for a reader.
"""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from proxy.net.memory import SMALL_READ
from tests.e2e.conftest import StartServer, StartSidecar
from tests.e2e.sidecar import Sidecar, config, eventually
from tests.e2e.test_bodies import MemoryWatch
from tests.e2e.upstream import MIB
from tests.e2e.wire import request

KIB = 1024
SIZE = 200 * KIB


@contextlib.contextmanager
def slow_readers(sidecar: Sidecar, count: int) -> Iterator[list[socket.socket]]:
    """Clients that have asked for `SIZE` bytes each and whose kernel takes about 4 KiB of it for them."""
    host, _, port = sidecar.address.rpartition(":")
    asked = request("GET", "/images/1", {"X-User-Id": "u", "X-Target-Does": f"length:{SIZE}"})
    with contextlib.ExitStack() as stack:
        readers = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            sock.connect((host, int(port)))
            sock.sendall(asked)
            readers.append(sock)
        yield readers


@pytest.mark.parametrize(("readers", "limit"), [(2_000, 64 * MIB), (10_000, 256 * MIB)])
def test_slow_readers_are_held_within_the_buffered_bytes(
    start_server: StartServer, start_sidecar: StartSidecar, readers: int, limit: int
) -> None:
    assert readers * SMALL_READ <= limit // 2, "what the promise is made for"
    legacy, target = start_server("legacy"), start_server("target")
    changes = {
        "limits": {"buffered_bytes": f"{limit // MIB}MiB", "connections": readers + 100},
        "logging": {"access": "off"},
        "legacy": {"pool": {"max_connections": 100}},
    }
    settings = config(legacy.url, target.url, target={"timeout": "60s", "pool": {"max_connections": 3000}}, **changes)
    sidecar = start_sidecar(settings)
    sidecar.ask("GET", "/images/1", {"X-User-Id": "u"})
    with MemoryWatch(sidecar) as memory, slow_readers(sidecar, readers) as slow:
        eventually(lambda: sidecar.metrics().total("cutover_downstream_connections") >= readers, 60)
        for _ in range(2):
            for sock in slow[:1000]:
                sock.recv(1024)
            time.sleep(1)
        begun = time.monotonic()
        answer = sidecar.ask("GET", "/kept/1")
        seconds = time.monotonic() - begun
    print(f"\n{readers} slow readers of {SIZE // KIB} KiB: grew {memory.growth / MIB:.1f} MiB")
    assert answer.status == 200
    assert seconds < 1
    assert memory.growth > limit * 0.6, "they were no load"
    assert memory.growth < limit * 1.25
    eventually(lambda: sidecar.metrics().total("cutover_downstream_connections") == 0, 30)
