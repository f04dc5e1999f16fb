"""One measurement of one contestant in one scenario: figures by name."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

from bench.compare import wrk
from bench.compare.processes import ROOT
from bench.compare.scenarios import MIB, Scenario
from bench.compare.stage import Runner, Stage
from bench.compare.verify import SMALL
from bench.compare.wire import Connection

Figures = dict[str, float]
SETTLE_S: Final = 6.0  # longer than cutover keeps an idle upstream connection
WARM_IDLE: Final = 20
SAMPLE: Final = 50
BIN_S: Final = 0.25
OUTAGE_WAIT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Extent:
    """How long and how much."""

    seconds: float
    rate: float
    idle_connections: int
    outage_rate: float
    outage_s: tuple[float, float, float]
    """Seconds well, silent, well again."""


def measure_closed(runner: Runner, scenario: Scenario, extent: Extent) -> Figures:
    """As many requests as it takes, by wrk."""
    before = runner.program.usage()
    found = wrk.load(runner.setup.port, scenario.path, scenario.connections, max(extent.seconds, scenario.least_s))
    after = runner.program.usage()
    runner.forget_log()
    cpu_s, mib = after.cpu_s - before.cpu_s, found["bytes"] / MIB
    if not mib:
        raise wrk.LoadFailed(f"no answer within {extent.seconds:g} s")
    whole = {}
    if found["requests"]:  # the largest bodies may all be under way still
        whole = {name: found[name] for name in ("p50_ms", "p99_ms", "p999_ms")}
        whole["cpu_us"] = cpu_s / found["requests"] * 1e6
    return whole | {
        "cpu_us_per_mib": cpu_s / mib * 1e6,
        "cpu_busy": cpu_s / found["seconds"],
        "requests_s": found["requests"] / found["seconds"],
        "mb_s": found["bytes"] / 1e6 / found["seconds"],
        "errors": found["errors"],
        "requests": found["requests"],
        "rss_mib": after.resident_bytes / MIB,
        "pss_mib": after.proportional_bytes / MIB,
    }


def measure_rate(runner: Runner, scenario: Scenario, extent: Extent) -> Figures:
    """Requests that arrive by themselves."""
    before = runner.program.usage()
    rows, late_ms = _open_load(runner, scenario.path, extent.rate, extent.seconds)
    after = runner.program.usage()
    runner.forget_log()
    latencies = sorted(row[1] for row in rows)
    return {
        "cpu_us": (after.cpu_s - before.cpu_s) / len(rows) * 1e6,
        "requests_s": len(rows) / extent.seconds,
        "p50_ms": quantile(latencies, 0.5),
        "p99_ms": quantile(latencies, 0.99),
        "p999_ms": quantile(latencies, 0.999),
        "max_ms": latencies[-1],
        "errors": sum(row[2] != 200 for row in rows),
        "late_p99_ms": late_ms,
        "rss_mib": after.resident_bytes / MIB,
    }


def measure_idle(runner: Runner, extent: Extent) -> Figures:
    """Resident memory of connections that made one request and stay."""
    opened: list[Connection] = []
    try:
        _open(opened, runner.setup.port, WARM_IDLE)
        time.sleep(1)
        before = runner.program.usage()
        _open(opened, runner.setup.port, extent.idle_connections)
        time.sleep(SETTLE_S)
        after = runner.program.usage()
        lost = 0
        for connection in opened[:: max(1, len(opened) // SAMPLE)]:
            try:
                connection.ask(SMALL, "user-1")
            except (OSError, ValueError):
                lost += 1
    finally:
        for connection in opened:
            connection.close()
    return {
        "kib_each": (after.resident_bytes - before.resident_bytes) / 1024 / extent.idle_connections,
        "connections": extent.idle_connections,
        "rss_before_mib": before.resident_bytes / MIB,
        "rss_mib": after.resident_bytes / MIB,
        "errors": lost,
    }


def measure_outage(runner: Runner, stage: Stage, extent: Extent) -> tuple[Figures, list[list[float]]]:
    """The target falls silent and comes back under a steady arrival of requests.

    Returns figures, and a line of time: [second, p50 ms, most ms, errors, answered by legacy] for each quarter.
    """
    well_s, silent_s, again_s = extent.outage_s
    total_s = well_s + silent_s + again_s
    load = _start_open_load(runner, SMALL, extent.outage_rate, total_s)
    try:
        time.sleep(well_s + _STARTS_S)
        stage.target.freeze()
        time.sleep(silent_s)
    finally:
        stage.target.thaw()
    rows, _ = _finish_open_load(load, total_s)
    runner.forget_log()
    hurt = [row for row in rows if row[0] >= well_s - BIN_S]
    slow = [row for row in hurt if row[2] == 200 and row[1] > 100]
    latencies = sorted(row[1] for row in hurt)
    figures = {
        "errors": sum(row[2] != 200 for row in rows),
        "requests": len(rows),
        "slow": len(slow),
        "slow_s": len({int(row[0] / BIN_S) for row in slow}) * BIN_S,
        "p99_ms": quantile(latencies, 0.99),
        "max_ms": latencies[-1],
        "back_s": _back_after(rows, well_s + silent_s),
    }
    return figures, _time_line(rows, total_s)


def quantile(ordered: list[float], share: float) -> float:
    """The value at this share of the ordered values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


_STARTS_S: Final = 0.35  # until the generator's first request is due
OpenLoad = subprocess.Popen[str]
Rows = list[list[float]]


def _start_open_load(runner: Runner, path: str, rate: float, seconds: float) -> OpenLoad:
    argv = [sys.executable, "-m", "bench.compare.openload", str(runner.setup.port), path, f"{rate:g}", f"{seconds:g}"]
    return subprocess.Popen(  # noqa: S603 - own arguments; inherits this process's CPUs
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


def _finish_open_load(load: OpenLoad, seconds: float) -> tuple[Rows, float]:
    try:
        printed, _ = load.communicate(timeout=seconds + OUTAGE_WAIT_S)
    except subprocess.TimeoutExpired as expired:
        raise wrk.LoadFailed("the open-model load did not end") from expired
    finally:
        if load.poll() is None:
            load.kill()
            load.communicate()
    found = json.loads(printed or "{}")
    if not found.get("rows"):
        raise wrk.LoadFailed("the open-model load gave no figures")
    return found["rows"], found["late_ms"]


def _open_load(runner: Runner, path: str, rate: float, seconds: float) -> tuple[Rows, float]:
    load = _start_open_load(runner, path, rate, seconds)
    return _finish_open_load(load, seconds)


def _open(opened: list[Connection], port: int, count: int) -> None:
    for number in range(count):
        connection = Connection(port)
        opened.append(connection)
        if connection.ask(SMALL, f"user-{number % 1000}").status != 200:
            raise wrk.LoadFailed(f"connection {number} was not answered by 200")


def _time_line(rows: Rows, total_s: float) -> list[list[float]]:
    bins: list[Rows] = [[] for _ in range(int(total_s / BIN_S))]
    for row in rows:
        bins[min(len(bins) - 1, max(0, int(row[0] / BIN_S)))].append(row)
    line = []
    for at, each in enumerate(bins):
        latencies = sorted(row[1] for row in each) or [0.0]
        errors, legacy = sum(row[2] != 200 for row in each), sum(row[3] == 1 for row in each)
        line.append([at * BIN_S, quantile(latencies, 0.5), latencies[-1], errors, legacy / max(1, len(each))])
    return line


def _back_after(rows: Rows, thawed_s: float) -> float:
    """Seconds from the target's return until it serves its users again; -1 when it did not in the time there was."""
    back = [row[0] for row in rows if row[0] >= thawed_s and row[3] == 2]
    return round(back[0] - thawed_s, 2) if back else -1.0
