"""`cutover rollback`: everybody back to legacy, in the file or through the admin API."""

import argparse
from typing import Final

from proxy.cli.admin_client import add_place_arguments
from proxy.cli.rollout_change import Wish, make_change

NAME: Final = "rollback"
HELP: Final = "percentage 0 and enabled false: everybody back to legacy with the next request"
EXAMPLE: Final = "cutover rollback --admin http://127.0.0.1:9900"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_place_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(args: argparse.Namespace) -> int:
    """Roll back: 0 done, 1 not possible, 2 bad configuration."""
    return make_change(NAME, args, Wish(0, enabled=False, rollback=True))
