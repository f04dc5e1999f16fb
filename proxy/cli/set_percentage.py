"""`cutover set N`: changes the rollout's percentage, in the file or through the admin API."""

import argparse
import re
from typing import Final

from proxy.cli.admin_client import add_place_arguments
from proxy.cli.rollout_change import Wish, make_change

NAME: Final = "set"
HELP: Final = "set the rollout's percentage in the file, which is applied at once, or through the admin API"
EXAMPLE: Final = "cutover set 25 -c config/cutover.yaml --enable"

_PERCENTAGE: Final = re.compile(r"0|[1-9][0-9]?|100", re.ASCII)


def _percentage(text: str) -> int:
    if not _PERCENTAGE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 100, got {text!r}")
    return int(text)


def _revision(text: str) -> str:
    revision = text.strip().removeprefix('"').removesuffix('"')
    if not revision.isalnum() or not revision.isascii():
        raise argparse.ArgumentTypeError(f"expected a revision such as 3fa9c1d07b22, got {text!r}")
    return revision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("percentage", metavar="N", type=_percentage, help="share of users, a whole number, 0 to 100")
    add_place_arguments(parser)
    parser.add_argument("--enable", action="store_true", help="set rollout.enabled to true as well")
    parser.add_argument(
        "--if-match", metavar="REV", type=_revision, help="only if the configuration still has this revision"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(args: argparse.Namespace) -> int:
    """Change it: 0 done, 1 refused or not possible, 2 bad configuration."""
    wish = Wish(args.percentage, enabled=True if args.enable else None, if_match=args.if_match)
    return make_change(NAME, args, wish)
