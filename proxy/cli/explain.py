"""`cutover explain`: where a user's request would go, and why."""

import argparse
import json
import os
import sys
from pathlib import Path

from proxy.explain import explain
from proxy.settings.load import load_settings
from proxy.settings.snapshot import compile_snapshot

NAME = "explain"
HELP = "say where a user's request goes, why, and at which percentage the user moves"
EXAMPLE = "cutover explain -c config/cutover.yaml --user alice --path /images/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, required=True, help="configuration file")
    parser.add_argument("--user", metavar="ID", required=True, help="the user id; an empty one is anonymous")
    parser.add_argument("--method", default="GET", help="request method (default GET)")
    parser.add_argument("--path", default="/images/1", help="request path (default /images/1)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(args: argparse.Namespace) -> int:
    """Print the explanation. Raises ConfigError."""
    loaded = load_settings(args.config, os.environ)
    snapshot = compile_snapshot(loaded.settings, loaded.revision)
    kill_switch = loaded.settings.rollout.kill_switch_file
    if kill_switch is not None and Path(kill_switch).exists():
        snapshot = snapshot.with_kill_switch(engaged=True)
    try:
        facts = explain(snapshot, args.user, args.method, args.path)
    except ValueError as error:
        print(f"cutover explain: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    print(f"user        {facts['user'] or '(none)'}")
    print(f"request     {facts['method']} {facts['path']}  (operation {facts['operation']})")
    print(f"bucket      {'-' if facts['bucket'] is None else facts['bucket']}")
    print(f"goes to     {facts['source']}  ({facts['role']})")
    print(f"reason      {facts['reason']}: {facts['because']}")
    print(f"percentage  {facts['percentage']}, {'enabled' if facts['enabled'] else 'not enabled'}")
    print(f"moves at    {_moves(facts)}")
    return 0


def _moves(facts: dict[str, object]) -> str:
    if facts["moves_at"] is None:
        return f"no percentage: {facts['stays']}"
    return f"{facts['moves_at']} % and above"
