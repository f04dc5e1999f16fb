"""`cutover migrate`: the rows of PostgreSQL to items of DynamoDB. Arguments to a call, and the result to a person."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.cli.migration_arguments import (
    INTERRUPTED,
    add_addresses,
    expand,
    missing_extra,
    parse_shard,
    run_until_stopped,
    whole,
)

if TYPE_CHECKING:
    from proxy.migration.checkpoint import Checkpoint
    from proxy.migration.migrate import Options, Outlook

NAME: Final = "migrate"
HELP: Final = "copy a table of PostgreSQL to DynamoDB, resumable, while dual-write goes on; never over a newer item"
EXAMPLE: Final = (
    "cutover migrate --from postgresql://gallery@db/gallery --to 'dynamodb://images?region=eu-west-1'"
    " --mapping config/migration.yaml --dry-run"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_addresses(parser, required=True)
    parser.add_argument("--dry-run", action="store_true", help="read and convert everything, write nothing, estimate")
    parser.add_argument("--only", metavar="FILE", type=Path, help="only the rows of a reject or repair list")
    parser.add_argument(
        "--shard", metavar="i/n", type=parse_shard, help="only the i-th of n parts, from 0: run n of them, anywhere"
    )
    parser.add_argument("--max-wcu", metavar="N", type=whole(1, 10_000_000), help="write units a second at most")
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=Path,
        help="how far it is (default: TABLE.checkpoint, or TABLE.i-of-n.checkpoint)",
    )
    parser.add_argument(
        "--rejects", metavar="FILE", type=Path, help="rows that can't be converted (default: TABLE.rejects.jsonl)"
    )
    parser.add_argument("--in-flight", metavar="N", type=whole(1, 1024), default=64, help="writes at once (default 64)")
    parser.add_argument(
        "--writes",
        choices=("auto", "insert", "put"),
        default="auto",
        help="insert: 25 new items a request, for servers that refuse to INSERT an item that is there, as Amazon's do;"
        " put: each item by itself, safe anywhere; auto (default): insert on Amazon's endpoints, put on others",
    )


def execute(args: argparse.Namespace) -> int:
    """Migrate: 0 all rows, 1 some were rejected or it failed, 2 bad usage. Raises ConfigError."""
    if missing_extra(NAME):
        return 2
    from proxy.migration.errors import MigrationFailed  # noqa: PLC0415 - only with the extra
    from proxy.migration.files import refuse_unwritable  # noqa: PLC0415

    options = _options(args)
    rejects = _rejects_path(args, options)
    refuse_unwritable("--rejects", rejects)
    try:
        outlook = _run(args, options, rejects)
    except MigrationFailed as error:
        print(f"cutover migrate: {error}", file=sys.stderr)
        _say_resumable(args, options)
        return 1
    except KeyboardInterrupt:
        print("cutover migrate: stopped", file=sys.stderr)
        _say_resumable(args, options)
        return INTERRUPTED
    if outlook.note:
        print(f"cutover migrate: note: {outlook.note}", file=sys.stderr)
    print(_as_json(outlook, options) if args.json else _in_words(outlook, options, rejects))
    return 1 if outlook.counts.rejected else 0


def _options(args: argparse.Namespace) -> "Options":
    from proxy.migration.addresses import parse_dynamodb, parse_postgres  # noqa: PLC0415 - only with the extra
    from proxy.migration.inserts import Way  # noqa: PLC0415
    from proxy.migration.mapping_file import load_mapping  # noqa: PLC0415
    from proxy.migration.migrate import Options  # noqa: PLC0415

    target = parse_dynamodb(expand("--to", args.target))
    return Options(
        source=parse_postgres(expand("--from", args.source)),
        target=target,
        mapping=load_mapping(args.mapping, os.environ),
        dry_run=args.dry_run,
        shard=args.shard,
        max_wcu=args.max_wcu,
        checkpoint=args.checkpoint or Path(f"{_stem(args, target.table)}.checkpoint"),
        parallel=args.parallel,
        in_flight=max(args.in_flight, args.parallel),
        way=Way(args.writes),
    )


def _stem(args: argparse.Namespace, table: str) -> str:
    name = table.rpartition("/")[2]
    return f"{name}.{args.shard.index}-of-{args.shard.of}" if args.shard else name


def _rejects_path(args: argparse.Namespace, options: "Options") -> Path:
    whole = Path(f"{_stem(args, options.target.table)}.rejects.jsonl")
    if args.rejects is None and args.only is not None and args.only != whole:
        return Path(f"{args.only}.rejects.jsonl")  # the list of the whole run still holds
    return args.rejects or whole


def _run(args: argparse.Namespace, options: "Options", rejects: Path) -> "Outlook":
    from proxy.migration.migrate import run_migration  # noqa: PLC0415 - only with the extra
    from proxy.migration.progress import Line, Watching  # noqa: PLC0415
    from proxy.migration.repair import run_repair  # noqa: PLC0415
    from proxy.telemetry.migration import MigrationMetrics  # noqa: PLC0415

    metrics = MigrationMetrics()
    if args.metrics:
        metrics.serve(*args.metrics)

    def keep(checkpoint: "Checkpoint") -> None:
        _keep_rejects(checkpoint, rejects)

    with Line("reading" if options.dry_run else "migrating", quiet=args.json) as line:
        watch = Watching(line, metrics)
        if args.only is None:
            return run_until_stopped(run_migration(options, watch, keep))
        return run_until_stopped(run_repair(options, args.only, watch, keep))


def _keep_rejects(checkpoint: "Checkpoint", path: Path) -> None:
    """Write the reject list as it stands; a list of an earlier run that no longer holds goes away."""
    from proxy.migration.files import private_file, write_line  # noqa: PLC0415 - only with the extra

    if not checkpoint.counts.rejected:
        path.unlink(missing_ok=True)
        return
    with private_file(path) as file:
        for reject in checkpoint.rejects():
            write_line(file, {"key": list(reject.key), "attribute": reject.attribute, "reason": reject.reason})


def _say_resumable(args: argparse.Namespace, options: "Options") -> None:
    if not args.dry_run and args.only is None and options.checkpoint and options.checkpoint.exists():
        print(f"run it again to go on: {options.checkpoint} knows how far it came", file=sys.stderr)


def _as_json(outlook: "Outlook", options: "Options") -> str:
    from proxy.migration.estimate import estimate_cost_usd, estimate_times  # noqa: PLC0415 - only with the extra

    counts, sizes = outlook.counts, outlook.sizes
    document: dict[str, object] = {
        "read": counts.read,
        "written": counts.written,
        "skipped_newer": counts.skipped_newer,
        "rejected": counts.rejected,
        "seconds": round(outlook.seconds, 3),
        "write_units": counts.write_units,
    }
    if options.dry_run:
        document["estimate"] = {
            "items": sizes.items,
            "bytes": sizes.total_bytes,
            "largest_bytes": sizes.largest_bytes,
            "cost_usd": round(estimate_cost_usd(counts.write_units), 4),
            "times": [
                {"units_per_s": each.units_per_s, "seconds": round(each.seconds, 1)}
                for each in estimate_times(counts.write_units, options.max_wcu)
            ],
        }
    return json.dumps(document)


def _in_words(outlook: "Outlook", options: "Options", rejects: Path) -> str:
    from proxy.migration.estimate import PRICE_USD_PER_MILLION, estimate_cost_usd, estimate_times  # noqa: PLC0415

    counts, sizes = outlook.counts, outlook.sizes
    rate = f" ({counts.read / outlook.seconds:,.0f} rows/s)" if outlook.seconds else ""
    lines = [
        f"read           {counts.read:>12,}",
        f"written        {counts.written:>12,}" + ("   (dry run)" if options.dry_run else ""),
        f"skipped        {counts.skipped_newer:>12,}   the table had this version, or a newer one",
        f"rejected       {counts.rejected:>12,}" + (f"   see {rejects}" if counts.rejected else ""),
        f"write units    {counts.write_units:>12,}   of the table; each index costs the same again",
        f"time           {_duration(outlook.seconds):>12}{rate}" + ("   all runs together" if outlook.resumed else ""),
    ]
    if options.dry_run:
        average = sizes.total_bytes / sizes.items if sizes.items else 0
        largest = f", of {'|'.join(sizes.largest_key)}" if sizes.largest_key else ""
        lines.append(f"items          {average:>10,.0f} B   on average; the largest {sizes.largest_bytes:,} B{largest}")
        cost = estimate_cost_usd(counts.write_units)
        lines.append(f"cost           {cost:>10,.2f} $   on demand, at ${PRICE_USD_PER_MILLION} a million units")
        lines += [
            f"writes take    {_duration(each.seconds):>12}   at {each.units_per_s:,.0f} units/s"
            for each in estimate_times(counts.write_units, options.max_wcu)
        ]
    if outlook.traffic.throttles:
        lines.append(f"throttled      {outlook.traffic.throttles:>12,}   requests, sent again")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
