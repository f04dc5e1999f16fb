"""`cutover status`: how the two sources do, side by side, once or live.

Neighbours: `admin_client` asks, `status_table` lays out, `screen` draws.
"""

import argparse
import json
import sys
import time
from typing import Final

from proxy.cli.admin_client import AdminClient, AdminError, Answer, Unreachable, add_token_argument, admin_url
from proxy.cli.screen import Line, Screen, leave_on_sigterm
from proxy.cli.status_table import not_reachable, status_lines
from proxy.settings.units import parse_duration

NAME: Final = "status"
HELP: Final = "a side-by-side table of the two sources, live with --watch"
EXAMPLE: Final = "cutover status --admin http://127.0.0.1:9900 --watch"

_LEAST_INTERVAL_S: Final = 0.1


def _interval(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds < _LEAST_INTERVAL_S:
        raise argparse.ArgumentTypeError(f"expected a duration of at least 100ms, such as 2s, got {text!r}")
    return seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--admin", metavar="URL", type=admin_url, required=True, help="http://HOST:PORT or unix:/PATH of the admin port"
    )
    add_token_argument(parser)
    parser.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--interval", metavar="T", type=_interval, default=2.0, help="with --watch (default 2s)")
    parser.add_argument("--json", action="store_true", help="print JSON; with --watch an object a line")


def execute(args: argparse.Namespace) -> int:
    """Show it: 0, or 1 when nobody answers. With --watch until Ctrl-C, which is no failure."""
    try:
        client = AdminClient.from_arguments(args)
    except ValueError as error:
        print(f"cutover status: {error}", file=sys.stderr)
        return 2
    if not args.watch:
        return _show_once(client, as_json=args.json)
    leave_on_sigterm()
    try:
        if args.json:
            _print_again_and_again(client, args.interval)
        else:
            _watch(client, args.interval)
    except KeyboardInterrupt:
        return 0
    return 0


def _show_once(client: AdminClient, *, as_json: bool) -> int:
    try:
        status = client.ask("GET", "/status")
    except (AdminError, Unreachable) as error:
        print(f"cutover status: {_failure(client, error)}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(status, indent=2))
        return 0
    screen = Screen(sys.stdout, live=False)
    screen.show(status_lines(status, client.url, _wall_clock(), screen.width))
    return 0


def _print_again_and_again(client: AdminClient, interval_s: float) -> None:
    while True:
        try:
            status: Answer = client.ask("GET", "/status")
        except (AdminError, Unreachable) as error:
            status = {"error": _failure(client, error)}
        print(json.dumps(status), flush=True)
        time.sleep(interval_s)


def _watch(client: AdminClient, interval_s: float) -> None:
    last: Answer | None = None
    gone_since: float | None = None
    with Screen(sys.stdout, live=True) as screen:
        while True:
            now = _wall_clock()
            trouble: list[Line] = []
            try:
                last, gone_since = client.ask("GET", "/status"), None
            except (AdminError, Unreachable) as error:
                gone_since = now if gone_since is None else gone_since
                trouble = not_reachable(client.url, gone_since, str(error))
            table = [] if last is None else status_lines(last, client.url, now, screen.width)
            screen.show(trouble + table)
            time.sleep(interval_s)


def _failure(client: AdminClient, error: Exception) -> str:
    return f"{client.url} is not reachable: {error}" if isinstance(error, Unreachable) else f"{client.url}: {error}"


def _wall_clock() -> float:
    """Seconds since the epoch, to be compared with those that the sidecar tells."""
    return time.time_ns() / 1e9
