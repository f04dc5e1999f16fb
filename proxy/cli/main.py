"""The `cutover` command: finds the subcommand, reports what goes wrong in one clear message.

Exit status 0 success, 1 not true or failed, 2 bad usage or configuration. Each subcommand is a module of its own
with NAME, HELP, EXAMPLE, `add_arguments` and `execute`.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Protocol

from proxy import __version__

try:
    from proxy.cli import (
        check,
        demo,
        explain,
        migrate,
        report,
        rollback,
        rollout,
        run,
        schema,
        set_percentage,
        status,
        verify,
    )
    from proxy.settings.errors import ConfigError
except KeyboardInterrupt:  # Ctrl-C while the libraries load: as everywhere else
    sys.exit(130)


class Command(Protocol):
    """What a subcommand's module offers."""

    NAME: str
    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def execute(self, args: argparse.Namespace) -> int:
        """Do it; return the exit status. May raise ConfigError."""


COMMANDS: tuple[Command, ...] = (
    run,
    check,
    schema,
    explain,
    set_percentage,
    rollback,
    status,
    rollout,
    migrate,
    verify,
    report,
    demo,
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="cutover",
        epilog="start with: cutover demo",
        description="Moves live traffic from a legacy source to a target source, one hash bucket of users at a time.",
    )
    parser.add_argument("--version", action="version", version=f"cutover {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP,
            epilog=f"example: {command.EXAMPLE}",
        )
        command.add_arguments(sub)
        sub.set_defaults(execute=command.execute)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status: int = args.execute(args)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        print(f"cutover: {error.strerror or error}", file=sys.stderr)
        return 1
    return status
