"""What a request costs in cutover, as a multiple of what asyncio costs anyway: steady enough to guard in CI.

Run: `python -m bench.compare.guard`. Two proxies run side by side, as processes on one CPU with their client and
upstream: cutover with everything on, and `floor_proxy`, which passes bytes through and parses nothing. Both get the
same requests from the same loop, in turns; the CPU time of each process tree is read from the kernel. The ratio of
the two depends little on the machine and on what else it does, where microseconds do.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
import yaml

from bench.compare.processes import Program, free_port
from bench.compare.wire import read_head, request_bytes

FLOOR: Final = Path(__file__).parent / "contestants" / "floor_proxy.py"
SCHEDSTAT: Final = Path("/proc/self/schedstat")
CONNECTIONS: Final = 32
WARM: Final = 3000
ROUNDS: Final = 12
REQUESTS: Final = 1500
PATIENCE_S: Final = 30
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 23 Nov 2026 15:54:29 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 500\r\nConnection: keep-alive\r\n\r\n" + b"x" * 500
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU time a request, medians, and the median of the rounds' ratios."""

    cutover_us: float
    floor_us: float
    ratio: float
    rounds: list[float]

    def __str__(self) -> str:
        return (
            f"cutover {self.cutover_us:.1f} µs of CPU a request, asyncio's floor {self.floor_us:.1f} µs: "
            f"ratio {self.ratio:.2f} (rounds {min(self.rounds):.2f} to {max(self.rounds):.2f})"
        )


class Upstream(asyncio.Protocol):
    """Answers each request alike."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._data = transport, b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._data.endswith(b"\r\n\r\n"):
            self._data = b""
            self._transport.write(ANSWER)  # type: ignore[attr-defined]


class Client(asyncio.Protocol):
    """Asks for as long as there is something to ask."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests, self._data = requests, bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self) -> None:
        if (request := next(self._requests, None)) is None:
            self.done.set_result(None)
        else:
            self._transport.write(request)  # type: ignore[attr-defined]

    def again(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self.done = asyncio.get_running_loop().create_future()
        self.ask()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head = read_head(self._data)
        if head is not None and len(self._data) >= head[1] + head[2]:
            self._data.clear()
            if head[0] == 200:
                self.ask()
            else:
                self.done.set_exception(ConnectionError(f"status {head[0]}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed"))


class Lane:
    """One proxy with its clients."""

    def __init__(self, program: Program, clients: list[Client]) -> None:
        self._program, self._clients = program, clients

    async def cost_us(self, count: int) -> float:
        """CPU microseconds of the proxy's process tree for each of `count` requests."""
        requests = iter([request_bytes(f"/images/{n}", f"user-{n % 1000}") for n in range(count)])
        before = self.cpu_s()
        for client in self._clients:
            client.again(requests)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(client.done for client in self._clients))
        return (self.cpu_s() - before) / count * 1e6

    def cpu_s(self) -> float:
        """To the nanosecond where the kernel says so, else to 10 ms."""
        if SCHEDSTAT.exists():
            return run_time_s(self._program.tree())
        return self._program.usage().cpu_s


def run_time_s(pids: list[int]) -> float:
    """CPU seconds of all threads of these processes."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


async def open_lane(program: Program, port: int) -> Lane:
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(program.await_port, port)
    clients = [
        (await loop.create_connection(lambda: Client(iter(())), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)
    ]
    return Lane(program, clients)


async def measure(directory: Path, stack: ExitStack, cpu: int) -> Cost:
    loop = asyncio.get_running_loop()
    upstreams = [await loop.create_server(Upstream, "127.0.0.1", 0, backlog=1000) for _ in range(2)]
    legacy, target = (server.sockets[0].getsockname()[1] for server in upstreams)
    ports = [free_port(), free_port()]
    settings = {
        "listen": f"127.0.0.1:{ports[0]}",
        "admin": {"listen": f"127.0.0.1:{free_port()}"},
        "legacy": {"url": f"http://127.0.0.1:{legacy}"},
        "target": {"url": f"http://127.0.0.1:{target}"},
        "rollout": {"enabled": True, "percentage": 50},
        "limits": {"drain_timeout": "1s"},
    }
    file = directory / "guard.yaml"
    file.write_text(yaml.safe_dump(settings))
    commands = [
        [sys.executable, "-m", "proxy", "run", "-c", str(file)],
        [sys.executable, str(FLOOR), str(ports[1]), str(legacy)],
    ]
    lanes = []
    for number, (command, port) in enumerate(zip(commands, ports, strict=True)):
        program = Program(command, cpus={cpu}, output=directory / f"{number}.out")
        stack.callback(program.stop)
        lanes.append(await open_lane(program, port))
        await lanes[-1].cost_us(WARM)
    pairs = [(await lanes[0].cost_us(REQUESTS), await lanes[1].cost_us(REQUESTS)) for _ in range(ROUNDS)]
    ratios = [round(above / below, 3) for above, below in pairs]
    above, below = (statistics.median(each) for each in zip(*pairs, strict=True))
    return Cost(round(above, 2), round(below, 2), statistics.median(ratios), ratios)


def run() -> Cost:
    """Measure, with every process on one CPU, so that who runs when hardly varies."""
    allowed = os.sched_getaffinity(0)
    cpu = max(allowed)
    os.sched_setaffinity(0, {cpu})
    try:
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            return uvloop.run(measure(Path(directory), stack, cpu))
    finally:
        os.sched_setaffinity(0, allowed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="CPU time of a request, as a multiple of asyncio's own.")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for _ in range(given.runs):
        found = run()
        values = {"cutover_us": found.cutover_us, "floor_us": found.floor_us, "ratio": found.ratio, "text": str(found)}
        print(json.dumps(values) if given.json else found, flush=True)
