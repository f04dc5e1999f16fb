"""The command: `python -m bench.compare [--quick]`."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final, NoReturn

from bench.compare import needs, readme, report, wrk
from bench.compare.contestants import CONTESTANTS
from bench.compare.machine import choose_pinning
from bench.compare.processes import ROOT, StartFailed
from bench.compare.results import Results
from bench.compare.run import Plan, run
from bench.compare.scenarios import SCENARIOS

RESULTS: Final = ROOT / "bench" / "results"
QUICK: Final = RESULTS / "quick"
EPILOG: Final = """\
scenarios: {scenarios}
contestants: {contestants}
examples: python -m bench.compare --quick
          python -m bench.compare --scenario c64 --scenario 1MiB --contestant cutover --contestant nginx --rounds 7
"""


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    scenarios, contestants = [x.name for x in SCENARIOS], [x.name for x in CONTESTANTS]
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="cutover beside nginx, HAProxy, Envoy and a plain aiohttp proxy, on this machine.",
        epilog=EPILOG.format(scenarios=", ".join(scenarios), contestants=", ".join(contestants)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a few scenarios, 2 rounds of 1 s: two to three minutes")
    parser.add_argument("--scenario", action="append", choices=scenarios, metavar="NAME", help="only this; repeatable")
    parser.add_argument("--contestant", action="append", choices=contestants, metavar="NAME", help="likewise")
    parser.add_argument("--rounds", type=int, help="of each measurement, interleaved (default 5)")
    parser.add_argument("--seconds", type=float, help="whole seconds for each measurement (default 5)")
    parser.add_argument("--rate", type=float, default=1000, help="requests/s of the open model (default 1000)")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections (default 10000)")
    parser.add_argument("--output", type=Path, help="directory of results (default bench/results, or its quick/)")
    parser.add_argument("--install", action="store_true", help="install what is missing, by apt-get and pip")
    parser.add_argument("--report", action="store_true", help="no run: print and draw the results that are there")
    parser.add_argument("--readme", action="store_true", help="no run: write those results into README.md")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = max(1.0, round(options.seconds or (1 if options.quick else 5)))
    options.output = options.output or (QUICK if options.quick else RESULTS)
    return options


def main() -> int:
    options = parse()
    if options.readme or options.report:
        return show(options)
    signal.signal(signal.SIGTERM, _leave)
    chosen = [x for x in CONTESTANTS if not options.contestant or x.name in options.contestant]
    try:
        lacks = needs.missing(chosen)
        if lacks and options.install:
            needs.install(lacks)
            lacks = needs.missing(chosen)
        for name, command in lacks.items():
            print(f"missing: {name}; {command}", file=sys.stderr)
        needs.require(lacks)
        results = measure(Plan.of(options, chosen))
    except (needs.Missing, StartFailed, wrk.LoadFailed) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted; everything it started is ended", file=sys.stderr)
        return 130
    results.write(options.output)
    return show(options)


def measure(plan: Plan) -> Results:
    pinning = choose_pinning()
    os.sched_setaffinity(0, pinning.load)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory:
        return run(plan, pinning, Path(directory))


def show(options: argparse.Namespace) -> int:
    """Print, draw or write into the README what is in the results' directory."""
    try:
        results = Results.read(options.output)
    except FileNotFoundError as error:
        print(f"bench: {error.filename} is not there; run the benchmark first", file=sys.stderr)
        return 1
    if options.readme:
        try:
            readme.write(results, ROOT / "README.md")
        except readme.NoMarkers as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1
        return 0
    print(report.text(results))
    try:
        from bench.compare import charts  # noqa: PLC0415 - the one part that needs matplotlib
    except ImportError:
        print("\nno charts: pip install matplotlib", file=sys.stderr)
    else:
        charts.draw(results, options.output)
    print(f"\n{options.output}", file=sys.stderr)
    return 0


def _leave(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
