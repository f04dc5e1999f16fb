"""`cutover run`: the sidecar in the foreground, until SIGTERM or SIGINT."""

import argparse
import os
import sys
from pathlib import Path

from proxy.supervisor.run import run
from proxy.supervisor.sockets import StartFailed

NAME = "run"
HELP = "run the sidecar in the foreground, until SIGTERM or SIGINT"
EXAMPLE = "cutover run -c config/cutover.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, required=True, help="configuration file")


def execute(args: argparse.Namespace) -> int:
    """Serve; 1 when it can't, a port being taken for example. Raises ConfigError."""
    try:
        return run(args.config, os.environ)
    except StartFailed as failure:
        print(f"cutover: {failure}", file=sys.stderr)
        return 1
