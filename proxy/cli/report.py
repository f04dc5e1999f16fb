"""`cutover report`: the post-cutover report, from the rollout's journal and, where given, Prometheus."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.cli.rollout_orders import add_journal_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.report.collect import Asked
    from proxy.report.document import Document
    from proxy.report.proof import Proof
    from proxy.report.reading import JournalFacts
    from proxy.settings.addresses import UpstreamUrl

NAME: Final = "report"
HELP: Final = "the post-cutover report, as one HTML page and as Markdown, from the rollout's journal"
EXAMPLE: Final = "cutover report --journal rollout.db -o report"

_FAILED: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_journal_argument(parser)
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        type=_url,
        help="asked for what the journal did not count, and for the day before",
    )
    parser.add_argument("--selector", metavar="LABELS", help="narrows Prometheus' series, such as 'job=\"cutover\"'")
    parser.add_argument(
        "--verify",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a result of `cutover verify --report FILE`, the proof of the migrated data; repeatable",
    )
    parser.add_argument(
        "-o", dest="directory", metavar="DIR", type=Path, default=Path("report"), help="where to (default report)"
    )
    parser.add_argument("--json", action="store_true", help="print what was written, and the verdict, as JSON")


def _url(text: str) -> "UpstreamUrl":
    from proxy.settings.addresses import parse_upstream  # noqa: PLC0415 - `cutover run` does without

    try:
        return parse_upstream(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from None


def execute(args: argparse.Namespace) -> int:
    """Write it: 0 written, whatever it says; 1 when it can't be."""
    from proxy.report.proof import UnreadableProof, read_proof  # noqa: PLC0415
    from proxy.report.reading import UnreadableJournal, read_journal  # noqa: PLC0415
    from proxy.rollout.http import Refusal, Unreachable  # noqa: PLC0415
    from proxy.rollout.journal import JournalError  # noqa: PLC0415

    if args.selector and args.prometheus is None:
        print("cutover report: --selector is for --prometheus", file=sys.stderr)
        return 2
    try:
        facts = read_journal(args.journal)
        asked = _ask(args, facts)
        document = _compose(args.journal, facts, asked, [read_proof(path) for path in args.verify])
        return _write(args, document)
    except (JournalError, UnreadableJournal, UnreadableProof) as error:
        return _fail(str(error))
    except (Unreachable, Refusal) as error:
        return _fail(f"Prometheus at {args.prometheus}: {error}")
    except ImportError as error:
        return _fail(f"{(error.name or '').partition('.')[0]} is missing: pip install 'cutover[report]'")


def _ask(args: argparse.Namespace, facts: "JournalFacts") -> "Asked | None":
    if args.prometheus is None:
        return None
    import asyncio  # noqa: PLC0415

    from proxy.clocks import wall_clock  # noqa: PLC0415
    from proxy.report.prometheus import ask_prometheus  # noqa: PLC0415

    return asyncio.run(ask_prometheus(args.prometheus, args.selector, facts.runs[-1], wall_clock()))


def _compose(journal: Path, facts: "JournalFacts", asked: "Asked | None", proofs: "Sequence[Proof]") -> "Document":
    from proxy.report.collect import assemble  # noqa: PLC0415
    from proxy.report.composition import compose  # noqa: PLC0415

    return compose(assemble(journal, facts, asked, proofs))


def _write(args: argparse.Namespace, document: "Document") -> int:
    from proxy.report.output import write_report  # noqa: PLC0415

    try:
        paths = write_report(document, args.directory)
    except OSError as error:
        where = error.filename or args.directory
        return _fail(f"{where}: {os.strerror(error.errno).lower() if error.errno else error}")
    if args.json:
        files = [str(path) for path in paths]
        print(json.dumps({"verdict": document.verdict, "tone": document.tone.value, "files": files}, indent=2))
    else:
        print(document.verdict)
        print(f"written: {paths[0]}, {paths[1]}")
    return 0


def _fail(text: str) -> int:
    print(f"cutover report: {text}", file=sys.stderr)
    return _FAILED
