"""`python -m proxy.healthcheck`: is the sidecar in this container alive? For the image's HEALTHCHECK and the like.

Asks `/healthz` at the `admin.listen` of the configuration that process 1 was started with (`-c FILE`), as written
there now. Imports little, because it runs every few seconds. A configuration that can't be read says nothing about
the process, which goes on with the last good one: that is no failure here, or a mistake in a file would make an
orchestrator restart a sidecar that serves into one that can't start. Neighbour: the Dockerfile.
"""

import http.client
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from proxy.settings.addresses import ListenAddress, TcpAddress, UnixAddress, parse_listen
from proxy.settings.document import read_document
from proxy.settings.placeholders import Expander
from proxy.settings.yaml_source import YamlError

_DEFAULT_FILE: Final = "/etc/cutover/cutover.yaml"
_DEFAULT_ADMIN: Final = TcpAddress("127.0.0.1", 9900)
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask, not where to listen
_TIMEOUT_S: Final = 2.0


class Unknown(Exception):
    """Where to ask can't be known; the text says why."""


def choose_file(command: Sequence[str]) -> str:
    """The configuration file in the command line of `cutover run`, whatever stands before it (an init, say)."""
    command = command[command.index("run") :] if "run" in command else command
    for before, word in pairwise(command):
        if before in ("-c", "--config"):
            return word
    for word in command:
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return _DEFAULT_FILE


def admin_address(text: str, path: Path, env: Mapping[str, str]) -> ListenAddress:
    """Where `admin.listen` is in a configuration's text. Raises Unknown."""
    try:
        document = read_document(text, path, Expander(env, path.parent))
    except YamlError as error:
        raise Unknown(f"{path} can't be read: {error.fault.problem}") from None
    admin = document.tree.get("admin") if isinstance(document.tree, dict) else None
    written = admin.get("listen") if isinstance(admin, dict) else None
    if written is None:
        return _DEFAULT_ADMIN
    try:
        return parse_listen(str(written))
    except ValueError as error:
        raise Unknown(f"admin.listen of {path} is not valid: {error}") from None


def ask_healthz(address: ListenAddress, timeout_s: float = _TIMEOUT_S) -> int:
    """The status that `/healthz` is answered with. Raises OSError or HTTPException."""
    if isinstance(address, UnixAddress):
        connection = http.client.HTTPConnection("localhost", timeout=timeout_s)
        connection.sock = socket.socket(socket.AF_UNIX)
    else:
        connection = http.client.HTTPConnection(_ANY.get(address.host, address.host), address.port, timeout=timeout_s)
    try:
        if isinstance(address, UnixAddress):
            connection.sock.settimeout(timeout_s)
            connection.sock.connect(address.path)
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def main(command: Sequence[str] | None = None) -> int:
    """0 when it is alive or can't be asked for, 1 when it does not answer as it should."""
    try:
        if command is None:
            command = Path("/proc/1/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        path = Path(choose_file(command))
        address = admin_address(path.read_text(encoding="utf-8-sig"), path, os.environ)
    except (OSError, ValueError, Unknown) as reason:
        print(f"not asked: {reason}", file=sys.stderr)  # noqa: T201 - a command prints
        return 0
    try:
        status = ask_healthz(address)
    except (OSError, http.client.HTTPException) as error:
        print(f"{address} does not answer: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{address} answers {status}")  # noqa: T201
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main())
