"""Restarts under load: workers replaced one after another, again and again; and the whole program, by passed sockets.

Run: `python bench/restart.py [--requests 100000] [--workers 2]`. Exit status 0 when no request failed.

Keep-alive clients ask without a pause and take only whole, right answers (`tests/e2e/load.py` says what a failure is).
"""

import argparse
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.load import Load  # noqa: E402 - the tests' load, found by the line above
from tests.e2e.passing import PassedSocket  # noqa: E402 - as above
from tests.e2e.sidecar import Sidecar, config, eventually, write_config  # noqa: E402 - the tests' launcher

_BETWEEN_S: Final = 0.3


def settings_for(load: Load, workers: int) -> dict[str, Any]:
    settings = config(load.url("legacy"), load.url("target"), workers=workers)
    settings["logging"] = {"access": "off"}
    return settings


def renewed(sidecar: Sidecar, before: set[int], workers: int) -> bool:
    """Whether all workers have been replaced and the old ones are gone."""
    now = sidecar.workers()
    return len(now) == workers and before.isdisjoint(now)


def replace_workers(workers: int, requests: int, directory: Path) -> tuple[Load, int]:
    """SIGUSR2 again and again until so many requests were answered."""
    rounds = 0
    with Load(32) as load:
        sidecar = Sidecar(write_config(directory / "workers.yaml", settings_for(load, workers)))
        try:
            load.start(sidecar.address)
            while load.tally.requests < requests:
                before = set(sidecar.workers())
                sidecar.signal(signal.SIGUSR2)
                if not eventually(partial(renewed, sidecar, before, workers), 30):
                    raise TimeoutError("workers were not replaced")
                rounds += 1
                time.sleep(_BETWEEN_S)
            load.stop()
        finally:
            sidecar.stop()
    return load, rounds


def restart_program(workers: int, requests: int, directory: Path) -> tuple[Load, int]:
    """Start the next program on the same socket, then end the one before with SIGTERM, again and again."""
    rounds = 0
    with Load(32) as load, PassedSocket() as passed:
        file = write_config(directory / "program.yaml", settings_for(load, workers))
        running = passed.start(file)
        try:
            load.start(passed.address)
            while load.tally.requests < requests:
                following = passed.start(file)
                running.signal(signal.SIGTERM)
                if status := running.wait(60):
                    raise RuntimeError(f"exit status {status}")
                running.stop()
                running = following
                rounds += 1
                time.sleep(_BETWEEN_S)
            load.stop()
        finally:
            running.stop()
    return load, rounds


def main(requests: int, workers: int) -> int:
    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        for what, run in (("workers replaced", replace_workers), ("program restarted", restart_program)):
            began = time.perf_counter()
            load, rounds = run(workers, requests, Path(directory))
            tally = load.tally
            print(
                f"{what}: {rounds} times in {time.perf_counter() - began:.0f} s, {tally.requests} requests,"
                f" {len(tally.failures)} failed ({tally.reconnects} times a client was told to reconnect)",
                flush=True,
            )
            for failure in tally.failures[:10]:
                print("   ", failure)
            failures += len(tally.failures)
    return int(failures > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Restarts under load.")
    parser.add_argument("--requests", type=int, default=100_000, help="of each kind")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    sys.exit(main(options.requests, options.workers))
