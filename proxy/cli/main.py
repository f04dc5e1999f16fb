"""The `cutover` command: finds the subcommand, reports what goes wrong in one clear message.

Exit status 0 success, 1 not true or failed, 2 bad usage or configuration. Each subcommand is a module of its own
with NAME, HELP, EXAMPLE, `add_arguments` and `execute`. Only the one that is asked for is loaded: `cutover run` has no
use for what edits a file, nor `cutover set` for the admin port, and each start would pay for all of them.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol, cast

from proxy import __version__

MODULES: Final[Mapping[str, str]] = {
    "run": "run",
    "check": "check",
    "schema": "schema",
    "explain": "explain",
    "set": "set_percentage",
    "rollback": "rollback",
    "status": "status",
    "rollout": "rollout",
    "migrate": "migrate",
    "verify": "verify",
    "report": "report",
    "demo": "demo",
}
"""The module of each command, in the order of the help."""


class Command(Protocol):
    """What a subcommand's module offers."""

    NAME: str
    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def execute(self, args: argparse.Namespace) -> int:
        """Do it; return the exit status. May raise ConfigError."""


def choose_commands(argv: Sequence[str]) -> tuple[str, ...]:
    """The commands whose modules this command line needs; all, where it names none, for the help and the complaint."""
    first = argv[0] if argv else ""
    if first in MODULES:
        return (first,)
    return () if first == "--version" else tuple(MODULES)


def build_parser(names: Iterable[str] = MODULES) -> argparse.ArgumentParser:
    """The parser of the command line: of the whole, or of these commands only."""
    parser = argparse.ArgumentParser(
        prog="cutover",
        epilog="start with: cutover demo",
        description="Moves live traffic from a legacy source to a target source, one hash bucket of users at a time.",
    )
    parser.add_argument("--version", action="version", version=f"cutover {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in names:
        command = cast("Command", import_module(f"proxy.cli.{MODULES[name]}"))
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
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # also while the libraries load
        return 130


def _main(argv: Sequence[str]) -> int:
    parser = build_parser(choose_commands(argv))
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    from proxy.settings.errors import ConfigError  # noqa: PLC0415 - `cutover --version` does without

    try:
        status: int = args.execute(args)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        print(f"cutover: {error.strerror or error}", file=sys.stderr)
        return 1
    return status
