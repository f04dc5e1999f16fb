"""Resident memory of a sidecar with idle keep-alive connections.

Run: `python bench/idle_memory.py [COUNT ...]` (default 1000 10000). Each connection makes one request and then stays
open; the file descriptor limit must leave room for them.
"""

import argparse
import contextlib
import gc
import resource
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.sidecar import Sidecar, config, write_config  # noqa: E402 - the tests' launcher, found by the line above
from tests.e2e.upstream import Hosted, Upstream  # noqa: E402 - the tests' launcher, found by the line above

REQUEST: Final = b"GET /images/1 HTTP/1.1\r\nHost: idle\r\nX-User-Id: u\r\n\r\n"
SETTLE_S: Final = 6.0  # longer than an idle upstream connection is kept
KIB: Final = 1024


def open_idle(address: str, count: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Open connections that have each been answered once."""
    host, _, port = address.rpartition(":")
    opened = []
    for _ in range(count):
        sock = stack.enter_context(socket.create_connection((host, int(port)), 10))
        sock.sendall(REQUEST)
        received = b""
        while b"target GET" not in received:
            piece = sock.recv(4096)
            if not piece:
                raise ConnectionError(f"closed after {len(opened)} connections")
            received += piece
        opened.append(sock)
    return opened


def measure(count: int, hosted: Hosted, directory: Path) -> tuple[int, int]:
    """Resident bytes before and with `count` idle connections, of a sidecar of its own."""
    upstream = Upstream("target")
    port = hosted.call(upstream.listen())
    url = f"http://127.0.0.1:{port}"
    limits = {"connections": count + 1000, "keepalive_timeout": "10m"}
    settings = config(url, url, limits=limits, logging={"access": "off"})
    with contextlib.ExitStack() as stack:
        sidecar = Sidecar(write_config(directory / f"idle-{count}.yaml", settings))
        stack.callback(hosted.call, upstream.stop())
        stack.callback(sidecar.stop)
        with contextlib.ExitStack() as warm:
            open_idle(sidecar.address, 20, warm)
        time.sleep(1)
        before = sidecar.resident_bytes()
        open_idle(sidecar.address, count, stack)
        upstream.seen.clear()
        gc.collect()
        time.sleep(SETTLE_S)
        with_them = sidecar.resident_bytes()
        held = sidecar.metrics().total("cutover_downstream_connections")
        if held < count:
            raise ConnectionError(f"only {held:g} connections are open")
    return before, with_them


def main(counts: list[int]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    hosted = Hosted()
    print(f"{'idle connections':>16}  {'before':>9}  {'resident':>9}  {'each':>9}")
    with tempfile.TemporaryDirectory() as directory:
        for count in counts:
            before, with_them = measure(count, hosted, Path(directory))
            each = (with_them - before) / count / KIB
            print(f"{count:>16}  {before / KIB**2:>5.1f} MiB  {with_them / KIB**2:>5.1f} MiB  {each:>5.2f} KiB")
    hosted.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Resident memory with idle connections.")
    parser.add_argument("counts", metavar="COUNT", type=int, nargs="*", default=[1000, 10_000])
    main(parser.parse_args().counts)
