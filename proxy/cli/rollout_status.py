"""`cutover rollout status` and `watch`: how the rollout does, once or live, and hourly snapshots after it."""

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from proxy.cli.rollout_orders import add_journal_argument
from proxy.cli.screen import Screen, leave_on_sigterm
from proxy.clocks import wall_clock
from proxy.settings.units import parse_duration

_REFRESH_S: Final = 1.0


def _span(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"expected a duration such as 24h, got {text!r}")
    return seconds


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse has no public name for it
    """Declare the arguments."""
    status = commands.add_parser(
        "status",
        help="where the rollout is, and what each check says; live with --watch",
        description="Where the rollout is, and what each check says.",
        epilog="example: cutover rollout status --journal rollout.db --watch",
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    status.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    add_journal_argument(status)
    status.set_defaults(do=show_status)
    watch = commands.add_parser(
        "watch",
        help="watch on after 100 %%: every check, once an hour, into the journal",
        description="Judge every check of a plan and write a snapshot into the journal, once an hour. Changes nothing.",
        epilog="example: cutover rollout watch config/rollout/production.yaml --for 24h",
    )
    watch.add_argument("plan", metavar="PLAN", type=Path, nargs="?", help="the plan; the journal's if not said")
    watch.add_argument("--for", dest="span_s", metavar="T", type=_span, required=True, help="how long, such as 24h")
    watch.add_argument("--every", dest="every_s", metavar="T", type=_span, default=3600.0, help="default 1h")
    watch.add_argument("--journal", metavar="FILE", type=Path, help="instead of the plan's journal")
    watch.set_defaults(do=watch_on)


def show_status(args: argparse.Namespace) -> int:
    """Show it: 0, or 1 when there is no rollout in the journal."""
    from proxy.cli.rollout_table import rollout_lines  # noqa: PLC0415 - `cutover run` does without
    from proxy.rollout.journal import Journal, JournalError  # noqa: PLC0415
    from proxy.rollout.status import read_status  # noqa: PLC0415

    if args.watch:
        leave_on_sigterm()
    try:
        with Journal(args.journal, create=False) as journal:
            if args.json:
                print(json.dumps(read_status(journal), indent=2))
                return 0
            with Screen(sys.stdout, live=args.watch) as screen:
                while True:
                    screen.show(rollout_lines(read_status(journal), wall_clock(), screen.width))
                    if not args.watch:
                        return 0
                    time.sleep(_REFRESH_S)
    except JournalError as error:
        print(f"cutover rollout status: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def watch_on(args: argparse.Namespace) -> int:
    """Watch: 0 when every snapshot is GO, 1 when one is not. Raises ConfigError."""
    from proxy.rollout.journal import Journal, JournalError, Kind  # noqa: PLC0415
    from proxy.rollout.observers import open_observers  # noqa: PLC0415
    from proxy.rollout.plan_file import load_plan  # noqa: PLC0415
    from proxy.rollout.stores import open_store  # noqa: PLC0415
    from proxy.rollout.time_source import SystemTime  # noqa: PLC0415
    from proxy.rollout.watching import Watch  # noqa: PLC0415

    try:
        file = args.plan
        if file is None:
            with Journal(args.journal or Path("rollout.db"), create=False) as journal:
                started = journal.last(Kind.STARTED, Kind.RESUMED)
            if started is None:
                raise JournalError("no rollout has been started: name the plan")
            file = Path(started.data["plan"])
        plan = load_plan(file, os.environ).plan
        with Journal(args.journal or Path(plan.journal)) as journal:
            watch = Watch(plan, open_store(plan, os.environ), open_observers(plan), journal, SystemTime())
            good = asyncio.run(watch.run(args.span_s, args.every_s, lambda line: print(line, flush=True)))
    except JournalError as error:
        print(f"cutover rollout watch: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"cutover rollout watch: {error.name} is missing: pip install 'cutover[rollout]'", file=sys.stderr)
        return 1
    return 0 if good else 1
