"""`cutover rollout plan`: what a plan will do, in words."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from proxy.settings.errors import ConfigError

_BAD_PLAN: Final = 2


def add_command(commands: Any) -> None:  # noqa: ANN401 - argparse has no public name for it
    """Declare the arguments."""
    parser = commands.add_parser(
        "plan",
        help="check a plan and explain it, with its times and the requests that each check needs",
        description="Check a plan and explain it, with its times and the requests that each check needs.",
        epilog="example: cutover rollout plan config/rollout/production.yaml",
    )
    parser.add_argument("plan", metavar="PLAN", type=Path, help="the plan")
    parser.add_argument("--json", action="store_true", help="print one JSON object, whether valid or not")
    parser.set_defaults(do=explain)


def explain(args: argparse.Namespace) -> int:
    """Explain it: 0 when valid; with --json 2 when not. Otherwise raises ConfigError."""
    from proxy.rollout.plan_file import load_plan  # noqa: PLC0415 - `cutover run` does without
    from proxy.rollout.plan_words import plan_as_json, plan_in_words  # noqa: PLC0415

    try:
        loaded = load_plan(args.plan, os.environ)
    except ConfigError as error:
        if not args.json:
            raise
        print(json.dumps({"valid": False, "problems": [asdict(problem) for problem in error.problems]}, indent=2))
        return _BAD_PLAN
    if args.json:
        print(json.dumps({"valid": True, **plan_as_json(loaded)}, indent=2))
        return 0
    for line in plan_in_words(loaded.plan):
        print(line)
    for warning in loaded.warnings:
        place = f"{args.plan}:{warning.line}" if warning.line is not None else str(args.plan)
        print(f"warning: {place}: {warning.key}: {warning.message}", file=sys.stderr)
    return 0
