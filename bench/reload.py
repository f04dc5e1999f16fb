"""How long after a file was written every worker answers by it, under full load; and whether anybody noticed.

Run: `python bench/reload.py [--reloads 250] [--many 1000] [--workers 1 2]`. Exit status 0 when no request failed.

The percentage goes from 0 to 100 and back; the latency of a change is the time from just before the write to the last
answer by the old percentage. The clients ask without a pause, so that the processors are never idle.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.load import Load  # noqa: E402 - the tests' load, found by the line above
from tests.e2e.sidecar import Sidecar, config, write_config  # noqa: E402 - the tests' launcher

_QUIET_S: Final = 0.08  # of the new source alone, before a change counts as complete
_GIVE_UP_S: Final = 10.0
_OTHER: Final = {"legacy": "target", "target": "legacy"}


def change_by_rename(file: Path, text: str) -> None:
    """As editors and `cutover set` do it."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, file)  # noqa: PTH105 - the system call by its name


def change_in_place(file: Path, text: str) -> None:
    """As a shell's `>` does it."""
    file.write_text(text)


def latency_s(load: Load, began: float, new: str) -> float:
    """Wait until only the new source has answered for a while; how long the old one went on answering."""
    tally, old = load.tally, _OTHER[new]
    while True:
        now = time.perf_counter()
        if tally.last.get(new, 0.0) > began and now - max(tally.last.get(old, 0.0), began) > _QUIET_S:
            return max(tally.last.get(old, 0.0) - began, 0.0)
        if now - began > _GIVE_UP_S:
            raise TimeoutError(f"no change to {new} within {_GIVE_UP_S:.0f} s")
        time.sleep(0.002)


def measure(workers: int, how: str, reloads: int, directory: Path, clients: int = 32) -> tuple[list[float], Load]:
    """Latencies of so many changes, and the load that went on meanwhile."""
    change = {"rename": change_by_rename, "in place": change_in_place}[how]
    with Load(clients) as load:
        settings = config(load.url("legacy"), load.url("target"), workers=workers, rollout={"percentage": 0})
        settings["logging"] = {"access": "off"}
        sidecar = Sidecar(write_config(directory / f"{workers}-{how.replace(' ', '')}.yaml", settings))
        try:
            text = sidecar.file.read_text()
            load.start(sidecar.address)
            time.sleep(0.5)
            found = []
            for number in range(reloads):
                percentage = 0 if number % 2 else 100
                began = time.perf_counter()
                change(sidecar.file, text.replace("percentage: 0", f"percentage: {percentage}"))
                found.append(latency_s(load, began, "target" if percentage else "legacy"))
            load.stop()
        finally:
            sidecar.stop()
        return found, load


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main(workers: list[int], reloads: int, many: int) -> int:
    failures = 0
    heads = ("workers", "written", "reloads", "p50", "p99", "max", "requests", "failed")
    print("{:>7} {:>9} {:>8} {:>8} {:>8} {:>8} {:>10} {:>7}".format(*heads))
    with tempfile.TemporaryDirectory() as directory:
        for count in workers:
            for how, times in (("rename", max(reloads, many if count == workers[-1] else 0)), ("in place", reloads)):
                began = time.perf_counter()
                found, load = measure(count, how, times, Path(directory))
                rate = load.tally.requests / (time.perf_counter() - began)
                p50, p99, most = (1000 * value for value in (quantile(found, 0.5), quantile(found, 0.99), max(found)))
                print(
                    f"{count:>7} {how:>9} {len(found):>8} {p50:>5.0f} ms {p99:>5.0f} ms {most:>5.0f} ms"
                    f" {load.tally.requests:>10} {len(load.tally.failures):>7}   ({rate:.0f} requests/s)",
                    flush=True,
                )
                for failure in load.tally.failures[:5]:
                    print("   ", failure)
                failures += len(load.tally.failures)
    return int(failures > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Reload latency under load.")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--reloads", type=int, default=250)
    parser.add_argument("--many", type=int, default=1000, help="reloads with the most workers, by rename")
    options = parser.parse_args()
    sys.exit(main(options.workers, options.reloads, options.many))
