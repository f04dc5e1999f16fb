"""`cutover verify`: whether DynamoDB holds what PostgreSQL does. Arguments to a call, and the result to a person."""

import argparse
import io
import json
import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy.cli.migration_arguments import (
    INTERRUPTED,
    add_addresses,
    expand,
    missing_extra,
    run_until_stopped,
    seconds_from,
    whole,
)
from proxy.settings.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from proxy.migration.findings import Findings
    from proxy.migration.verify import Onlooker

NAME: Final = "verify"
HELP: Final = "prove that DynamoDB holds what PostgreSQL does, both ways and field by field; or compare the two APIs"
EXAMPLE: Final = (
    "cutover verify --from postgresql://gallery@db/gallery --to 'dynamodb://images?region=eu-west-1'"
    " --repair repair.jsonl"
)

_MOST_SHOWN: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_addresses(parser, required=False)
    parser.add_argument(
        "--via", choices=("databases", "http"), default="databases", help="what to ask (default databases)"
    )
    for side in ("legacy", "target"):
        destination = "http_target" if side == "target" else side  # `target` is what --to is kept as
        parser.add_argument(f"--{side}", dest=destination, metavar="URL", help=f"with --via http: the {side} API")
        parser.add_argument(
            f"--{side}-header",
            metavar="'NAME: VALUE'",
            action="append",
            default=[],
            help="sent with each request; '${env:NAME}' and '${file:PATH}' keep a token out of the process list",
        )
    parser.add_argument("--users", metavar="FILE", type=Path, help="with --via http: whose lists, an id a line")
    parser.add_argument(
        "--ignore", metavar="FIELD", action="append", default=[], help="a field that may differ; repeatable"
    )
    parser.add_argument("--sample", metavar="N", type=whole(1, 10**12), help="N random rows and N items, not all")
    parser.add_argument(
        "--delay", metavar="TIME", type=seconds_from, default=2.0, help="before what differs is read again (default 2s)"
    )
    parser.add_argument(
        "--repair", metavar="FILE", type=Path, help="write the list that `cutover migrate --only` takes"
    )
    parser.add_argument("--report", metavar="FILE", type=Path, help="write the result, as with --json, to a file")


def execute(args: argparse.Namespace) -> int:
    """Verify: 0 all the same, 1 not or failed, 2 bad usage. Raises ConfigError."""
    if missing_extra(NAME):
        return 2
    from proxy.migration.errors import MigrationFailed  # noqa: PLC0415 - only with the extra
    from proxy.migration.files import refuse_unwritable  # noqa: PLC0415
    from proxy.migration.findings import Findings  # noqa: PLC0415

    for argument in ("repair", "report"):
        if path := getattr(args, argument):
            refuse_unwritable(f"--{argument}", path)
    try:
        with Findings() as findings:
            seconds = _run(args, findings)
            _write_files(args, findings, seconds)
            _show(args, findings, seconds)
    except MigrationFailed as error:
        print(f"cutover verify: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cutover verify: stopped; nothing is proved", file=sys.stderr)
        return INTERRUPTED
    return 1 if findings.mismatches else 0


def _run(args: argparse.Namespace, findings: "Findings") -> float:
    from proxy.migration.progress import Comparing, Line  # noqa: PLC0415 - only with the extra
    from proxy.telemetry.migration import VerificationMetrics  # noqa: PLC0415

    work = _http if args.via == "http" else _databases
    metrics = VerificationMetrics()
    if args.metrics:
        metrics.serve(*args.metrics)
    with Line("comparing", quiet=args.json) as line:
        seconds: float = run_until_stopped(work(args, findings, Comparing(line, metrics)))
    return seconds


def _databases(args: argparse.Namespace, findings: "Findings", look: "Onlooker") -> Any:  # noqa: ANN401 - a coroutine
    from proxy.migration.addresses import parse_dynamodb, parse_postgres  # noqa: PLC0415 - only with the extra
    from proxy.migration.mapping_file import load_mapping  # noqa: PLC0415
    from proxy.migration.migrate import Options  # noqa: PLC0415
    from proxy.migration.verify import run_verification  # noqa: PLC0415

    _need(args, "--from", "--to")
    options = Options(
        source=parse_postgres(expand("--from", args.source)),
        target=parse_dynamodb(expand("--to", args.target)),
        mapping=load_mapping(args.mapping, os.environ).ignoring(args.ignore),
        parallel=args.parallel,
    )
    return run_verification(options, findings, look, sample=args.sample, delay_s=args.delay)


def _http(args: argparse.Namespace, findings: "Findings", look: "Onlooker") -> Any:  # noqa: ANN401 - a coroutine
    from proxy.migration.api import parse_api  # noqa: PLC0415 - only with the extra
    from proxy.migration.mapping_file import load_mapping  # noqa: PLC0415
    from proxy.migration.verify_http import HttpOptions, run_http_verification  # noqa: PLC0415

    _need(args, "--legacy", "--target")
    shape = load_mapping(args.mapping, os.environ).mapping.http
    users = _users(args.users)
    if ("{user}" in shape.list) != bool(users):
        problem = f"the mapping's http.list is {shape.list}"
        hint = "name a file of user ids" if not users else "put {user} there, or leave --users out"
        raise ConfigError((ConfigProblem("--users", None, "", problem, hint),))
    options = HttpOptions(
        parse_api("--legacy", expand("--legacy", args.legacy), _headers("--legacy-header", args.legacy_header)),
        parse_api("--target", expand("--target", args.http_target), _headers("--target-header", args.target_header)),
        shape,
        users=users,
        ignore=frozenset((*shape.ignore, *args.ignore)),
        parallel=args.parallel,
    )
    return run_http_verification(options, findings, look, sample=args.sample, delay_s=args.delay)


def _headers(argument: str, given: list[str]) -> list[str]:
    return [expand(argument, header) for header in given]


def _need(args: argparse.Namespace, *names: str) -> None:
    given = {"--from": args.source, "--to": args.target, "--legacy": args.legacy, "--target": args.http_target}
    missing = [name for name in names if not given[name]]
    unused = [name for name, value in given.items() if value and name not in names]
    if missing or unused:
        problem = "is required" if missing else f"is not used with --via {args.via}"
        raise ConfigError((ConfigProblem((missing or unused)[0], None, "", problem),))


def _users(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not valid UTF-8"
        raise ConfigError((ConfigProblem("--users", None, "", f"can't read {path}: {reason}"),)) from None
    return tuple(dict.fromkeys(line for line in lines if line))


def _write_files(args: argparse.Namespace, findings: "Findings", seconds: float) -> None:
    from proxy.migration.files import private_file, write_line  # noqa: PLC0415 - only with the extra

    if args.repair:
        with private_file(args.repair) as file:
            for line in findings.repairs():
                write_line(file, line)
    if args.report:
        with private_file(args.report) as file:
            findings.write_json(file, seconds)


def _show(args: argparse.Namespace, findings: "Findings", seconds: float) -> None:
    if args.json:
        findings.write_json(sys.stdout, seconds)
        return
    rate = f"   {findings.compared / seconds:,.0f}/s" if seconds else ""
    what = "a sample" if args.sample else "all"
    print(f"compared       {findings.compared:>12,}   {what}, both ways, in {seconds:.1f} s{rate}")
    for kind, number in findings.counts.items():
        print(f"{kind.value:<14} {number:>12,}   {_MEANINGS[args.via][kind.value]}")
    if findings.mismatches:
        _show_differences(findings)
        if args.repair:
            print(f"repair with    cutover migrate … --only {args.repair}")
    else:
        print("the same: no missing, no extra and no different item")


_MEANINGS: Final = {
    "databases": {
        "missing": "rows that have no item",
        "extra": "items that have no row",
        "different": "items that are not what their row says",
    },
    "http": {
        "missing": "items that only legacy has",
        "extra": "items that only the target has",
        "different": "items that the two answer differently",
    },
}


def _show_differences(findings: "Findings") -> None:
    from rich.console import Console  # noqa: PLC0415 - only with the extra
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("id", "field", "legacy", "target", box=None, pad_edge=False, header_style="bold")
    for each in islice(findings.differences(), _MOST_SHOWN):
        cells = (each["id"], each["field"] or "(item)", each["legacy"], each["target"])
        table.add_row(*(Text(_cell(cell)) for cell in cells))
    shown = io.StringIO()
    width = None if sys.stdout.isatty() else 160
    console = Console(file=shown, width=width or Console().width, force_terminal=sys.stdout.isatty())
    console.print(table)
    print("", *(line.rstrip() for line in shown.getvalue().splitlines()), sep="\n")
    left = sum(1 for _ in findings.differences()) - _MOST_SHOWN
    if left > 0:
        print(f"… and {left:,} more: --report FILE has all")


def _cell(value: object) -> str:
    """A value on one line, fit for a terminal."""
    if value is None:
        return "(absent)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if not text:
        return "(empty)"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
