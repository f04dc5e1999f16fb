"""`cutover check FILE`: says whether a configuration is right, and shows it with its defaults filled in.

Prints nothing secret. Neighbours: `settings.load` judges, `settings.effective` shows.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from proxy.settings.effective import effective_settings, effective_yaml
from proxy.settings.errors import ConfigError
from proxy.settings.load import LoadedSettings, load_settings

NAME: Final = "check"
HELP: Final = "validate a configuration and print the effective one, secrets masked"
EXAMPLE: Final = "cutover check config/cutover.yaml"

_BAD_CONFIGURATION: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("file", metavar="FILE", type=Path, nargs="?", help="the configuration file")
    place.add_argument("-c", "--config", metavar="FILE", type=Path, help="the same, as with `run`")
    parser.add_argument("--json", action="store_true", help="print one JSON object, whether valid or not")


def execute(args: argparse.Namespace) -> int:
    """Check and print. Exit status 0 when valid; with --json 2 when not. Otherwise raises ConfigError."""
    file: Path = args.config or args.file
    try:
        loaded = load_settings(file, os.environ)
    except ConfigError as exc:
        if not args.json:
            raise
        problems = [asdict(problem) for problem in exc.problems]
        print(json.dumps({"valid": False, "problems": problems}, indent=2))
        return _BAD_CONFIGURATION
    for warning in loaded.warnings:
        place = f"{file}:{warning.line}" if warning.line is not None else str(file)
        print(f"warning: {place}: {warning.key}: {warning.message}", file=sys.stderr)
    print(_as_json(loaded) if args.json else _as_yaml(loaded), end="")
    return 0


def _as_json(loaded: LoadedSettings) -> str:
    answer = {
        "valid": True,
        "revision": loaded.revision,
        "warnings": [asdict(warning) for warning in loaded.warnings],
        "config": effective_settings(loaded.settings),
    }
    return json.dumps(answer, indent=2) + "\n"


def _as_yaml(loaded: LoadedSettings) -> str:
    return f"# valid; revision {loaded.revision}\n{effective_yaml(loaded.settings)}"
