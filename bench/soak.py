"""A soak: high load for minutes with random faults in the target, while memory must stay flat.

Run: `python bench/soak.py [--minutes 5] [--clients 300] [--seed 1]`. Exit status 0 when it held, 1 when not.

A few hundred keep-alive clients send mixed methods and bodies through a sidecar that sends everything to the target.
Some requests ask the target for a fault (the header `X-Target-Does`); the target is also killed (SIGKILL) and
restarted every few seconds; some clients read slowly and some leave in the middle. Legacy never fails.

What a client may see, and nothing else:

1. GET and HEAD: status 200 and content that is right to the byte and belongs to this very request, from either
   source, whatever the target did. A GET of more than `response_buffer` may instead end recognisably early
   (no valid end of message), but only if it asked for a fault that strikes after that much content, or if the
   target was killed while it ran.
2. POST, PUT and DELETE: status 200 and the digest of exactly the body that was sent. If the request asked for a fault:
   the target's own status when that was the fault, else 502, or 504 when the fault is silence. If the target was
   killed while it ran (or in the half second before): 502.
3. A connection closes after an answer only if that answer said `Connection: close`, was cut as in 1, was given before
   the request was whole, or is older than `keepalive_timeout`.
4. Clients that leave see nothing. Slow readers see 1.
5. Content that ends with the connection is whole when the connection ends well, and a killed process's connections
   do: a GET that asked for `reset-close-delimited` while the target was killed may get those 1000 bytes.

Everything else is an error: another status (503 among them), wrong or foreign content, a refused connection, a
connection that ends without an answer, an answer that takes longer than 20 s.

Memory is flat when the least-squares line through the resident size, over the last two thirds of the time, rises by
less than 2 MiB a minute and by less than 8 MiB in all.
"""

import argparse
import asyncio
import collections
import contextlib
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.sidecar import Sidecar, config, write_config  # noqa: E402 - the tests' launcher, found by the line above
from tests.e2e.upstream import Upstream, pattern, pattern_sha256  # noqa: E402 - the tests' launcher, found by the line above

MIB: Final = 1024 * 1024
TARGET_TIMEOUT_S: Final = 3
PATIENCE_S: Final = 20.0
KILL_GRACE_S: Final = 0.5
LARGE: Final = 700_000
SLOPE_MIB_A_MINUTE: Final = 2.0
RISE_MIB: Final = 8.0
FAULT_SHARE: Final = 0.04
LEAVE_SHARE: Final = 0.01
STATUSES: Final = {"status:404": 404, "status:429": 429, "status:500": 500, "status:503:3000": 503}
SILENT: Final = frozenset({"black-hole", "head-then-nothing", "stall:1000"})
BROKEN: Final = (
    "reset",
    "hang-up",
    "reset-mid-head",
    "close-mid-head",
    "cut-length:1000",
    "cut-length:1000:reset",
    "cut-chunked:1000",
    "bad-chunk:1000",
    "reset-close-delimited:1000",
    "hints-then-reset",
    "nonsense:status-line",
    "nonsense:cl-and-te",
    "nonsense:two-lengths",
    "nonsense:huge-head",
    "nonsense:storm",
    "nonsense:switching",
)
LATE: Final = ("cut-length:350000", "cut-chunked:400000:reset", "bad-chunk:400000")
FAULTS: Final = (*BROKEN, *STATUSES, *sorted(SILENT))
METHODS: Final = ("GET",) * 70 + ("HEAD",) * 6 + ("POST",) * 14 + ("PUT",) * 6 + ("DELETE",) * 4


class Early(Exception):
    """The connection ended before the message did."""


class Got(NamedTuple):
    """An answer: what matters of it."""

    status: int
    source: str
    closes: bool
    length: int
    sha256: str
    start: bytes
    fallback: str = ""


@dataclass
class Plan:
    """One request to make."""

    method: str
    path: str
    fault: str = ""
    body: bytes = b""
    chunked: bool = False
    large: str = ""  # the behaviour that answers with LARGE bytes

    @property
    def verb(self) -> str:
        return self.fault or self.large or "answer"

    def bytes(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: soak", "X-User-Id: u", f"X-Target-Does: {self.verb}"]
        if (self.large and not self.fault) or self.fault in LATE:
            lines.append(f"X-Legacy-Does: {self.large or f'length:{LARGE}'}")
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif self.body or self.method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join((*lines, "", "")).encode()
        if not self.chunked:
            return head + self.body
        pieces = [self.body[at : at + 5000] for at in range(0, len(self.body), 5000)]
        return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


@dataclass
class Tally:
    """What happened."""

    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    allowed: collections.Counter[str] = field(default_factory=collections.Counter)
    errors: list[str] = field(default_factory=list)
    left: int = 0
    slow: int = 0
    kills: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def killed_between(self, start: float, end: float) -> bool:
        return any(start - KILL_GRACE_S <= kill <= end for kill in self.kills[-3:])


class Target:
    """An upstream process that can be killed and started again on its port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        arguments = [sys.executable, str(Path(__file__)), "--serve", self.name, "--port", str(self.port)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)  # noqa: S603 - itself
        assert self.process.stdout is not None  # noqa: S101
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None


async def serve(name: str, port: int) -> None:
    upstream = Upstream(name)
    upstream.seen = collections.deque(maxlen=64)  # type: ignore[assignment] - it would remember everything
    print(await upstream.listen(port), flush=True)
    await asyncio.Event().wait()


async def read_answer(reader: asyncio.StreamReader, method: str, pause_s: float = 0.0) -> Got:
    """Read one whole answer. Raises Early when it does not end as its framing says."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            if status >= 200:
                break
        fields = {name.lower(): value.strip() for name, _, value in (x.partition(b":") for x in head.split(b"\r\n"))}
        digest, length, start = hashlib.sha256(), 0, b""
        async for piece in content(reader, fields, method, status):
            digest.update(piece)
            length += len(piece)
            start = start or piece[:200]
            if pause_s:
                await asyncio.sleep(pause_s)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
        raise Early(repr(error)[:200]) from error
    source = fields.get(b"x-cutover-source", b"").decode()
    closes = fields.get(b"connection", b"").lower() == b"close"
    fallback = fields.get(b"x-cutover-fallback", b"").decode()
    return Got(status, source, closes, length, digest.hexdigest(), start, fallback)


async def content(reader: asyncio.StreamReader, fields: dict[bytes, bytes], method: str, status: int):  # noqa: ANN201
    if method == "HEAD" or status in (204, 304):
        return
    if b"content-length" in fields:
        left = int(fields[b"content-length"])
        while left:
            piece = await reader.read(min(left, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece
    else:
        if fields.get(b"transfer-encoding") != b"chunked":
            raise ValueError("no framing")
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")


class Soak:
    """All clients and what they found."""

    def __init__(self, address: str, seed: int, end: float) -> None:
        host, _, port = address.rpartition(":")
        self.host, self.port = host, int(port)
        self.random = random.Random(seed)
        self.end = end
        self.tally = Tally()
        self.large_sha256 = pattern_sha256(LARGE)
        self._numbers = 0

    def plan(self) -> Plan:
        rng = self.random
        self._numbers += 1
        method = rng.choice(METHODS)
        number = self._numbers
        plan = Plan(method, f"/images?n={number}" if method == "POST" else f"/images/{number}")
        if method in ("POST", "PUT"):
            size = rng.choice((0, 10, 1000, 30_000, 65_536, 65_537, 200_000))
            plan.body = pattern(number, size)
            plan.chunked = rng.random() < 0.3
        if rng.random() < FAULT_SHARE:
            plan.fault = rng.choice(FAULTS + LATE if method == "GET" else FAULTS)
        elif method == "GET" and rng.random() < 0.04:
            plan.large = rng.choice((f"length:{LARGE}", f"chunked:{LARGE}"))
        return plan

    async def client(self) -> None:
        """Ask again and again on one connection, on a new one when it had to close."""
        rng = self.random
        await asyncio.sleep(rng.random())
        while time.monotonic() < self.end:
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port, limit=MIB)
            except OSError as error:
                self.tally.errors.append(f"connect: {error!r}")
                await asyncio.sleep(0.5)
                continue
            try:
                while time.monotonic() < self.end and await self._one(reader, writer):
                    await asyncio.sleep(rng.expovariate(20))
            finally:
                writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection can be used on."""
        plan = self.plan()
        if self.random.random() < LEAVE_SHARE:
            await self._leave(plan, reader, writer)
            return False
        start = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(plan.bytes())
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                got: Got | Early = await read_answer(reader, plan.method)
        except TimeoutError:
            self.tally.errors.append(f"{plan.method} {plan.verb}: no answer in {PATIENCE_S} s")
            return False
        except Early as early:
            got = early
        end = time.monotonic()
        self.tally.latencies.append(end - start)
        self._judge(plan, got, killed=self.tally.killed_between(start, end))
        return isinstance(got, Got) and not got.closes and got.status == 200

    async def _leave(self, plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Go in the middle of an upload, of the wait, or of a download."""
        self.tally.left += 1
        data = plan.bytes()
        if plan.method == "GET":
            data = Plan("GET", plan.path, large=f"length:{LARGE * 5}").bytes()
        writer.write(data[: len(data) // 2] if plan.body and self.random.random() < 0.5 else data)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(self.random.random() * 0.2):
                await reader.read(10_000)
                await asyncio.sleep(0.05)

    async def slow_client(self) -> None:
        """Read large answers at about 200 KiB/s."""
        while time.monotonic() < self.end:
            self._numbers += 1
            plan = Plan("GET", f"/images/{self._numbers}", large=f"length:{LARGE}")
            start = time.monotonic()
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port, limit=65536)
            except OSError as error:
                self.tally.errors.append(f"connect: {error!r}")
                continue
            got: Got | Early
            try:
                writer.write(plan.bytes())
                got = await read_answer(reader, "GET", pause_s=0.3)
            except Early as early:
                got = early
            finally:
                writer.transport.abort()
            self.tally.slow += 1
            self._judge(plan, got, killed=self.tally.killed_between(start, time.monotonic()))

    def _judge(self, plan: Plan, got: Got | Early, *, killed: bool) -> None:
        tally = self.tally
        if isinstance(got, Got) and got.status == 200 and self._right(plan, got):
            tally.answers[f"{plan.method} {got.source}"] += 1
            return
        unsafe = plan.method not in ("GET", "HEAD")
        cut = isinstance(got, Early)
        if not unsafe and cut and (plan.fault in LATE or (plan.large and killed)):
            tally.allowed["cut after commit"] += 1
        elif killed and self._ended_by_close(plan, got):
            tally.allowed["content whole by its close, target killed"] += 1
        elif unsafe and isinstance(got, Got) and plan.fault and got.status == self._failed_status(plan):
            tally.allowed[f"unsafe method, fault asked for: {got.status}"] += 1
        elif unsafe and isinstance(got, Got) and killed and got.status == 502:
            tally.allowed["unsafe method, target killed: 502"] += 1
        else:
            now = time.monotonic()
            killed_ago = now - tally.kills[-1] if tally.kills else now
            tally.errors.append(
                f"{plan.method} {plan.path} {plan.verb} body={len(plan.body)}, killed {killed_ago:.2f} s ago: {got!r}"
            )

    @staticmethod
    def _ended_by_close(plan: Plan, got: Got | Early) -> bool:
        if not isinstance(got, Got) or not plan.fault.startswith("reset-close-delimited"):
            return False
        return (got.status, got.length, got.sha256) == (200, 1000, pattern_sha256(1000))

    @staticmethod
    def _failed_status(plan: Plan) -> int:
        return STATUSES.get(plan.fault) or (504 if plan.fault in SILENT else 502)

    def _right(self, plan: Plan, got: Got) -> bool:
        """Whether this is the right content for this very request."""
        if plan.method == "HEAD":
            return got.length == 0
        if plan.large or plan.fault in LATE:
            return (got.length, got.sha256) == (LARGE, self.large_sha256)
        digest = hashlib.sha256(plan.body).hexdigest()
        name = "target" if got.source == "image_service" else "legacy"
        return got.start.decode("latin-1") == f"{name} {plan.method} {plan.path} {len(plan.body)} {digest}"


async def torment(target: Target, soak: Soak) -> None:
    """Kill the target now and then, and start it again."""
    while time.monotonic() < soak.end - 8:
        await asyncio.sleep(soak.random.uniform(6, 14))
        soak.tally.kills.append(time.monotonic())
        target.kill()
        soak.tally.kills[-1] = time.monotonic()
        await asyncio.sleep(soak.random.uniform(0.2, 2))
        await asyncio.to_thread(target.start)


async def watch(sidecar: Sidecar, soak: Soak, sizes: list[tuple[float, float]]) -> None:
    start = time.monotonic()
    while time.monotonic() < soak.end:
        sizes.append((time.monotonic() - start, sidecar.resident_bytes() / MIB))
        await asyncio.sleep(0.5)


def slope(points: list[tuple[float, float]]) -> float:
    """Of the least-squares line, a second."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


async def run(options: argparse.Namespace) -> bool:
    legacy, target = Target("legacy"), Target("target")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        for each in (legacy, target):
            each.start()
            stack.callback(each.kill)
        settings = config(
            f"http://127.0.0.1:{legacy.port}",
            f"http://127.0.0.1:{target.port}",
            legacy={"timeout": "15s"},
            target={
                "timeout": f"{TARGET_TIMEOUT_S}s",
                "circuit_breaker": {"enabled": True, "open_for": "1s", "consecutive": 10},
            },
            logging={"access": "off"},
        )
        sidecar = Sidecar(write_config(Path(directory) / "soak.yaml", settings))
        stack.callback(sidecar.stop)
        seconds = options.minutes * 60
        soak = Soak(sidecar.address, options.seed, time.monotonic() + seconds)
        sizes: list[tuple[float, float]] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(options.clients):
                group.create_task(soak.client())
            for _ in range(options.clients // 20):
                group.create_task(soak.slow_client())
            group.create_task(torment(target, soak))
            group.create_task(watch(sidecar, soak, sizes))
        metrics = sidecar.metrics()
        inflight = metrics.total("cutover_inflight_requests")
        trips = [line for line in sidecar.log() if "breaker" in line["event"]]
        clean = "Traceback" not in sidecar.stderr
    return summarise(options, soak.tally, sizes, inflight=inflight, trips=len(trips), clean=clean)


def summarise(
    options: argparse.Namespace,
    tally: Tally,
    sizes: list[tuple[float, float]],
    *,
    inflight: float,
    trips: int,
    clean: bool,
) -> bool:
    settled = [point for point in sizes if point[0] > sizes[-1][0] / 3]
    rise = slope(settled) * (settled[-1][0] - settled[0][0])
    a_minute = slope(settled) * 60
    flat = a_minute < SLOPE_MIB_A_MINUTE and rise < RISE_MIB
    times = sorted(tally.latencies) or [0.0]
    total = len(times)
    rows = [
        ("minutes, clients", f"{options.minutes:g}, {options.clients} + {options.clients // 20} slow"),
        ("requests", f"{total} ({total / (options.minutes * 60):.0f}/s)"),
        ("latency p50, p99, max", ", ".join(f"{times[int(q * (total - 1))] * 1000:.0f} ms" for q in (0.5, 0.99, 1))),
        *((f"answered: {key}", str(count)) for key, count in sorted(tally.answers.items())),
        *((f"allowed: {key}", str(count)) for key, count in sorted(tally.allowed.items())),
        ("clients that left", str(tally.left)),
        ("slow downloads", str(tally.slow)),
        ("target killed and restarted", str(len(tally.kills))),
        ("breaker events", str(trips)),
        ("resident MiB first, settled, last, most", ", ".join(f"{x:.1f}" for x in _sizes(sizes, settled))),
        ("memory slope, last two thirds", f"{a_minute:+.2f} MiB/min, {rise:+.2f} MiB in all"),
        ("in flight at the end", f"{inflight:g}"),
        ("errors not allowed", str(len(tally.errors))),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    for error in tally.errors[:20]:
        print(f"  not allowed: {error[:400]}")
    held = flat and clean and not tally.errors and inflight == 0
    print("held" if held else f"NOT HELD (memory flat: {flat}, no traceback: {clean}, errors: {len(tally.errors)})")
    return held


def _sizes(sizes: list[tuple[float, float]], settled: list[tuple[float, float]]) -> tuple[float, ...]:
    return sizes[0][1], settled[0][1], sizes[-1][1], max(size for _, size in sizes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Load a sidecar for minutes while its target fails.")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve, given.port))
    else:
        sys.exit(0 if uvloop.run(run(given)) else 1)
