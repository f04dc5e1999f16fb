"""`cutover rollout pause|resume|promote|abort|note`: what people tell a running rollout, by way of its journal."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy.clocks import wall_clock

if TYPE_CHECKING:
    from proxy.rollout.journal import Journal
    from proxy.rollout.orders import Order

_PATIENCE_S: Final = 30.0  # a tick may be under way, and an abort may have to try again
_LOOK_EVERY_S: Final = 0.1
_HELP: Final = {
    "pause": "stay at this percentage until resumed; a NO_GO still rolls back",
    "resume": "go on after a pause",
    "promote": "approve the next stage, which begins once every check is GO",
    "abort": "take the users back, as a NO_GO would, and end",
}


def add_journal_argument(parser: argparse.ArgumentParser) -> None:
    """Declare where the journal is."""
    parser.add_argument(
        "--journal", metavar="FILE", type=Path, default=Path("rollout.db"), help="the journal (default rollout.db)"
    )


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse has no public name for it
    """Declare the arguments."""
    for name, text in _HELP.items():
        parser = commands.add_parser(
            name, help=text, description=text, epilog=f"example: cutover rollout {name} --journal rollout.db"
        )
        if name == "promote":
            parser.add_argument(
                "--override", metavar="CHECK", help="count this check as GO for this stage (journalled)"
            )
            parser.add_argument("--reason", metavar="TEXT", help="why; needed for an override")
        if name == "abort":
            parser.add_argument("--keep", action="store_true", help="leave the percentage as it is")
        add_journal_argument(parser)
        parser.set_defaults(do=give_order, order=name)
    note = commands.add_parser(
        "note",
        help="write a note into the journal, or a number that a manual check waits for",
        description="Write a note; with --check (or a text such as `complaints: 2`) it is a manual check's number.",
        epilog='example: cutover rollout note "support: none" --check complaints --value 0',
    )
    note.add_argument("text", metavar="TEXT", help="the note")
    note.add_argument("--check", metavar="NAME", help="the manual check that it is about")
    note.add_argument("--value", metavar="N", type=_number, default=None, help="how many more (default 1)")
    add_journal_argument(note)
    note.set_defaults(do=write_note)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def give_order(args: argparse.Namespace) -> int:
    """Order it and wait for the answer: 0 obeyed, 1 refused or nobody there, 2 bad usage."""
    from proxy.rollout.journal import Journal, JournalError  # noqa: PLC0415 - `cutover run` does without
    from proxy.rollout.lock import is_running  # noqa: PLC0415
    from proxy.rollout.orders import Order, OrderKind  # noqa: PLC0415

    override, reason = getattr(args, "override", None), getattr(args, "reason", None)
    if (override is None) != (reason is None):
        print("cutover rollout promote: --override and --reason go together", file=sys.stderr)
        return 2
    order = Order(OrderKind(args.order), override, reason, getattr(args, "keep", False))
    try:
        with Journal(args.journal, create=False) as journal:
            if not is_running(args.journal):
                print(f"cutover rollout {args.order}: no controller runs with {args.journal}", file=sys.stderr)
                return 1
            return _order_and_wait(journal, order)
    except JournalError as error:
        print(f"cutover rollout {args.order}: {error}", file=sys.stderr)
        return 1


def _order_and_wait(journal: "Journal", order: "Order") -> int:
    from proxy.rollout.journal import Kind  # noqa: PLC0415
    from proxy.rollout.record import order_as_json  # noqa: PLC0415

    number = journal.add(Kind.ORDER, wall_clock(), order_as_json(order))
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        for entry in journal.entries(Kind.ANSWER, after=number):
            if entry.data["order"] == number:
                obeyed = bool(entry.data["obeyed"])
                print(entry.data["why"], file=sys.stdout if obeyed else sys.stderr)
                return 0 if obeyed else 1
        time.sleep(_LOOK_EVERY_S)
    print(f"cutover rollout {order.kind.value}: it is in the journal, and not obeyed yet", file=sys.stderr)
    return 1


def write_note(args: argparse.Namespace) -> int:
    """Write it: 0 written, 1 not possible."""
    from proxy.rollout.journal import Journal, JournalError, Kind  # noqa: PLC0415
    from proxy.rollout.notes import figure_in  # noqa: PLC0415

    try:
        with Journal(args.journal, create=False) as journal:
            started = journal.last(Kind.STARTED, Kind.RESUMED)
            checks = started.data.get("manual", ()) if started is not None else ()
            data: dict[str, object] = {"text": args.text}
            if args.check is not None:
                if args.check not in checks:
                    known = ", ".join(checks) or "none"
                    print(f"cutover rollout note: no manual check `{args.check}`; there is {known}", file=sys.stderr)
                    return 1
                data |= {"check": args.check, "value": 1.0 if args.value is None else args.value}
            elif (figure := figure_in(args.text, checks)) is not None:
                data |= {"check": figure[0], "value": figure[1] if args.value is None else args.value}
            journal.add(Kind.NOTE, wall_clock(), data)
    except JournalError as error:
        print(f"cutover rollout note: {error}", file=sys.stderr)
        return 1
    counted = f": {data['value']:g} for {data['check']}" if "check" in data else ""
    print(f"noted{counted}")
    return 0
