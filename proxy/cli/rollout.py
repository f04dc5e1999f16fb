"""`cutover rollout …`: the staged rollout with GO/HOLD/NO_GO gates; finds the subcommand.

Each is a function that is given its arguments, in `rollout_plan`, `rollout_start`, `rollout_orders` and
`rollout_status`; they import what they need when they run, so that `cutover run` stays small.
"""

import argparse
import sys
from typing import Final

from proxy.cli import rollout_orders, rollout_plan, rollout_start, rollout_status

NAME: Final = "rollout"
HELP: Final = "the staged rollout: stages, gates that say GO, HOLD or NO_GO, automatic rollback"
EXAMPLE: Final = "cutover rollout plan config/rollout/production.yaml"

_BAD_USAGE: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    commands = parser.add_subparsers(dest="rollout_command", metavar="COMMAND")
    rollout_plan.add_command(commands)
    rollout_start.add_commands(commands)
    rollout_orders.add_commands(commands)
    rollout_status.add_commands(commands)
    parser.set_defaults(rollout_parser=parser)


def execute(args: argparse.Namespace) -> int:
    """Do what the subcommand says; its exit status."""
    if args.rollout_command is None:
        args.rollout_parser.print_help(sys.stderr)
        return _BAD_USAGE
    status: int = args.do(args)
    return status
