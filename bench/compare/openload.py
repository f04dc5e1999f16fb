"""An open-model load: requests arrive when they arrive, however long the earlier ones take.

Run: `python -m bench.compare.openload PORT PATH RATE SECONDS`. Arrivals are a Poisson process with a fixed seed, so
every contestant gets the same. A latency counts from the moment the request should have been sent, so a stall of
proxy or generator delays all that arrived in it (no coordinated omission). A request takes a free keep-alive
connection or opens one. Prints JSON: `rows` of [arrival s, latency ms, status (0: none), backend], `late_ms`.
"""

import asyncio
import ctypes
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Final

import uvloop

from bench.compare.wire import read_head, request_bytes

USERS: Final = 1000
PATIENCE_S: Final = 5.0
MOST_CONNECTIONS: Final = 8000
STEP_NS: Final = 200_000
_CLOCK_MONOTONIC: Final = 1
_CODES: Final = {"": 0, "legacy": 1, "target": 2}


class Ticker:
    """A file descriptor that becomes readable every 200 us: the loop's own timers know only milliseconds."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        spec = (ctypes.c_long * 4)(0, STEP_NS, 0, STEP_NS)
        if self.fd < 0 or libc.timerfd_settime(self.fd, 0, spec, None):
            raise OSError(ctypes.get_errno(), "timerfd")

    def clear(self) -> None:
        os.read(self.fd, 8)


@dataclass
class Outcome:
    """One request: when it was due and what came of it."""

    due: float
    latency_s: float = 0.0
    status: int = 0
    backend: str = ""
    sent: float = 0.0
    over: bool = False


@dataclass
class Load:
    """The whole load: its plan, its free connections, what came."""

    port: int
    requests: list[bytes]
    free: list["Client"] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    open: int = 0
    under_way: int = 0
    openings: set[asyncio.Task[None]] = field(default_factory=set)

    def send(self, outcome: Outcome) -> None:
        """Send one request now, on a free connection or a new one."""
        self.outcomes.append(outcome)
        self.under_way += 1
        request = self.requests[len(self.outcomes) % len(self.requests)]
        while self.free:
            client = self.free.pop()
            if not client.closed:
                client.send(outcome, request)
                return
        if self.open >= MOST_CONNECTIONS:
            self.finish(outcome)
            return
        task = asyncio.get_running_loop().create_task(self._open(outcome, request))
        self.openings.add(task)
        task.add_done_callback(self.openings.discard)

    async def _open(self, outcome: Outcome, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, client = await loop.create_connection(lambda: Client(self), "127.0.0.1", self.port)
        except OSError:
            self.finish(outcome)
        else:
            client.send(outcome, request)

    def finish(self, outcome: Outcome, status: int = 0, backend: str = "") -> None:
        if not outcome.over:
            outcome.over = True
            outcome.latency_s = time.monotonic() - outcome.due
            outcome.status, outcome.backend = status, backend
            self.under_way -= 1

    def give_up_old(self) -> None:
        """Who waited longer than the patience goes."""
        now = time.monotonic()
        for outcome in self.outcomes[-MOST_CONNECTIONS:]:
            if not outcome.over and now - outcome.due > PATIENCE_S:
                self.finish(outcome)


class Client(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load, self._outcome, self._data = load, Outcome(0.0, over=True), bytearray()
        self._head: tuple[int, int, int, str] | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._load.open += 1

    def send(self, outcome: Outcome, request: bytes) -> None:
        self._outcome = outcome
        outcome.sent = time.monotonic()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._head is None:
            self._head = read_head(self._data)
        if self._head is not None and len(self._data) >= self._head[1] + self._head[2]:
            status, _, _, backend = self._head
            late = self._outcome.over  # given up: this connection's answer is nobody's
            self._load.finish(self._outcome, status, backend)
            self._head = None
            self._data.clear()
            if late:
                self._transport.close()
            else:
                self._load.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.closed = True
        self._load.open -= 1
        self._load.finish(self._outcome)


async def run(port: int, path: str, rate: float, seconds: float) -> dict[str, object]:
    """Load, wait for the last answers, return the rows."""
    loop = asyncio.get_running_loop()
    load = Load(port, [request_bytes(path, f"user-{n}") for n in range(USERS)])
    ticker, arrivals, over = Ticker(), random.Random(1), asyncio.Event()
    start = time.monotonic() + 0.05
    due = start + arrivals.expovariate(rate)

    def tick() -> None:
        nonlocal due
        ticker.clear()
        now = time.monotonic()
        while due <= now and due < start + seconds:
            load.send(Outcome(due))
            due += arrivals.expovariate(rate)
        if due >= start + seconds and not load.under_way:
            over.set()

    loop.add_reader(ticker.fd, tick)
    while not over.is_set():
        load.give_up_old()
        await asyncio.sleep(0.05)
    loop.remove_reader(ticker.fd)
    rows = [
        [round(x.due - start, 4), round(x.latency_s * 1000, 3), x.status, _CODES.get(x.backend, 0)]
        for x in load.outcomes
    ]
    late = sorted(x.sent - x.due for x in load.outcomes if x.sent) or [0.0]
    return {"rows": rows, "late_ms": round(late[int(0.99 * (len(late) - 1))] * 1000, 3)}


if __name__ == "__main__":
    _, given_port, given_path, given_rate, given_seconds = sys.argv
    print(json.dumps(uvloop.run(run(int(given_port), given_path, float(given_rate), float(given_seconds)))))
