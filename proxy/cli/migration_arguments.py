"""The arguments that `cutover migrate` and `cutover verify` share, and what both need before they begin."""

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import uvloop

from proxy.settings.errors import ConfigError, ConfigProblem
from proxy.settings.placeholders import Expander, PlaceholderError
from proxy.settings.units import parse_duration

if TYPE_CHECKING:
    from proxy.migration.queries import Shard

Result = TypeVar("Result")

_EXTRA: Final = ("aiobotocore", "asyncpg", "rich")
INTERRUPTED: Final = 130


def missing_extra(command: str) -> bool:
    """Say so if the extra is not installed."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        print(
            f"cutover {command}: needs the extra: pip install 'cutover[migration]' (missing: {names})", file=sys.stderr
        )
    return bool(missing)


def add_addresses(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Where from, where to, and how."""
    parser.add_argument(
        "--from",
        dest="source",
        metavar="URL",
        required=required,
        help="postgresql://USER@HOST/DATABASE; password by PGPASSWORD, or all of it as '${env:NAME}' in single quotes",
    )
    parser.add_argument(
        "--to",
        dest="target",
        metavar="URL",
        required=required,
        help="dynamodb://TABLE?region=REGION[&endpoint=URL]; credentials as with every AWS tool, from the environment",
    )
    parser.add_argument(
        "--mapping", metavar="FILE", type=Path, default=Path("config/migration.yaml"), help="default: %(default)s"
    )
    parser.add_argument("--parallel", metavar="N", type=whole(1, 64), default=4, help="ranges at once (default 4)")
    parser.add_argument(
        "--metrics", metavar="[HOST:]PORT", type=_host_port, help="serve Prometheus metrics while it runs (loopback)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def whole(lowest: int, highest: int) -> "Whole":
    """A type of argument: a whole number within bounds."""
    return Whole(lowest, highest)


class Whole:
    """Reads a whole number within bounds, both included."""

    def __init__(self, lowest: int, highest: int) -> None:
        self._lowest, self._highest = lowest, highest

    def __call__(self, text: str) -> int:
        """The number. Raises ArgumentTypeError."""
        if not (text.isascii() and text.isdigit() and len(text) < 19 and self._lowest <= int(text) <= self._highest):
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {self._lowest} to {self._highest}, got {text!r}"
            )
        return int(text)


def expand(argument: str, text: str) -> str:
    """An address with its placeholders filled in. Raises ConfigError, which shows no value."""
    try:
        return str(Expander(os.environ, Path()).expand(text))
    except PlaceholderError as error:
        raise ConfigError((ConfigProblem(argument, None, "", error.problem, error.hint),)) from None


def seconds_from(text: str) -> float:
    """Read a duration such as `2s`."""
    try:
        return parse_duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a duration such as 2s or 500ms, got {text!r}") from None


def parse_shard(text: str) -> "Shard":
    """Read `2/8`: counted from 0, as Kubernetes counts the pods of an Indexed Job."""
    from proxy.migration.queries import Shard  # noqa: PLC0415 - only with the extra

    index, _, of = text.partition("/")
    numbers = index.isascii() and of.isascii() and index.isdigit() and of.isdigit() and len(text) < 12
    if not numbers or not 0 <= int(index) < int(of) <= 1000:
        raise argparse.ArgumentTypeError(f"expected i/n with i from 0 to n - 1, such as 0/4, got {text!r}")
    return Shard(int(index), int(of))


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port, or HOST:PORT, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def run_until_stopped(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it. SIGTERM and SIGINT end it in order, and raise KeyboardInterrupt."""

    async def stoppable() -> Result:
        task = asyncio.current_task()
        if task is not None and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    try:
        return uvloop.run(stoppable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
