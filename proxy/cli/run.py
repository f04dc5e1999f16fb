"""`cutover run`: the sidecar in the foreground, until SIGTERM or SIGINT."""

import argparse
import os
import sys
from pathlib import Path

import uvloop

from proxy.app import StartFailed, run
from proxy.settings.load import load_settings

NAME = "run"
HELP = "run the sidecar in the foreground, until SIGTERM or SIGINT"
EXAMPLE = "cutover run -c config/cutover.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, required=True, help="configuration file")


def execute(args: argparse.Namespace) -> int:
    """Serve; 1 when a port can't be had. Raises ConfigError."""
    loaded = load_settings(args.config, os.environ)
    try:
        uvloop.run(run(loaded))
    except StartFailed as failure:
        print(f"cutover: {failure}", file=sys.stderr)
        return 1
    return 0
