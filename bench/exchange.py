"""CPU time of one proxied request inside Python: no sockets, no kernel, no event loop.

Run: `python bench/exchange.py [requests]`. A GET with six header fields and a 500-byte JSON answer goes through
the real connection, exchange, pool and parser objects over transports that only take the bytes.
"""

import asyncio
import gc
import os
import random
import sys
import time
from pathlib import Path

from proxy.core.breaker import Breaker
from proxy.core.model import Role
from proxy.net.downstream import Downstream
from proxy.net.generation import Generation
from proxy.net.memory import BodyMemory
from proxy.net.plane import DataPlane
from proxy.net.pool import Pool, PoolLimits
from proxy.net.upstream import UpstreamConnection
from proxy.settings.load import parse_settings
from proxy.settings.snapshot import compile_snapshot
from proxy.tasks import TaskKeeper
from proxy.telemetry.access_log import AccessLog
from proxy.telemetry.events import EventLog
from proxy.telemetry.lines import LineWriter
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.tracing import TraceIds

CONFIG = """
legacy: {url: "http://127.0.0.1:1"}
target: {url: "http://127.0.0.1:2"}
rollout: {enabled: true, percentage: 50}
logging: {access: %s}
"""
REQUEST = (
    b"GET /images/%d HTTP/1.1\r\nHost: gallery.example\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\n"
    b"Accept-Encoding: gzip\r\nX-User-Id: user-%d\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 15:54:29 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 500\r\nConnection: keep-alive\r\n\r\n" + b"x" * 500
)


class Transport:
    """Takes bytes and drops them."""

    def write(self, data: bytes) -> None:
        self.data = data

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 1) if name == "peername" else None

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return True

    def abort(self) -> None:
        raise RuntimeError("a connection was closed")


class Connector:
    """Connects at once."""

    async def open(self, factory: object) -> UpstreamConnection:
        connection = factory()  # type: ignore[operator]
        connection.connection_made(Transport())
        return connection


def read_in(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """As the event loop does it."""
    size = len(data)
    protocol.get_buffer(-1)[:size] = data
    protocol.buffer_updated(size)


def build(access: str) -> tuple[DataPlane, LineWriter]:
    """A data plane as `app` builds it, over connectors that need no network."""
    loaded = parse_settings((CONFIG % access).encode(), Path("bench.yaml"), {})
    metrics, tasks = Metrics(), TaskKeeper()
    writer = LineWriter(os.open(os.devnull, os.O_WRONLY), metrics.log_lines_dropped)
    limits = PoolLimits(max_connections=64, max_idle=64, idle_timeout_s=60, max_pending=100)
    memory = BodyMemory(1 << 28, 10_000)
    snapshot = compile_snapshot(loaded.settings, loaded.revision)
    legacy, target = (Pool(Connector(), limits, tasks, time.perf_counter, memory) for _ in Role)  # type: ignore[arg-type]
    plane = DataPlane(
        generation=Generation(snapshot, legacy, target, Breaker(snapshot.breaker)),
        memory=memory,
        metrics=metrics,
        access_log=AccessLog(writer, loaded.settings.logging),
        events=EventLog(writer, loaded.settings.logging, time.time),
        ids=TraceIds(random.Random(1).getrandbits),
        clock=time.perf_counter,
        wall_clock=time.time,
    )
    return plane, writer


async def measure(access: str, requests: int) -> float:
    """Microseconds of CPU time for each request."""
    plane, writer = build(access)
    client = Downstream(plane)
    client.connection_made(Transport())  # type: ignore[arg-type]
    data = [REQUEST % (n, n) for n in range(1000)]

    def answer() -> bool:
        for pool in plane.pools.values():
            for connection in pool._busy:
                read_in(connection, ANSWER)
                return True
        return False

    for request in data:  # connect, fill the caches
        read_in(client, request)
        while not answer():
            await asyncio.sleep(0)
    gc.collect()
    gc.freeze()
    start = time.process_time()
    for n in range(requests):
        read_in(client, data[n % 1000])
        if not answer():
            raise RuntimeError("no request went upstream")
        if not n % 500:
            writer.flush()
    return (time.process_time() - start) / requests * 1e6


async def main() -> None:
    """Print the median of five runs, with the access log on and off, and the log's share of the first."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    medians = []
    for access in ("all", "off"):
        runs = sorted([await measure(access, requests) for _ in range(5)])
        medians.append(runs[2])
        print(f"access log {access:3}: median {runs[2]:.1f} us a request (min {runs[0]:.1f}, max {runs[-1]:.1f})")
    print(f"the access log is {(medians[0] - medians[1]) / medians[0]:.0%} of a request's CPU in Python (at most 25 %)")


if __name__ == "__main__":
    asyncio.run(main())
