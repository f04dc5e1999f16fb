"""Asks a sidecar's admin API, over TCP or a Unix socket, and shares the options that say which.

Neighbours: the commands with `--admin`. No proxy of the environment is used and no redirect followed: a token must
go nowhere else.
"""

import argparse
import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

TOKEN_VARIABLE: Final = "CUTOVER_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT_S: Final = 10.0  # a change may wait for the file's lock and for every worker
_LARGEST_ANSWER_BYTES: Final = 16 << 20
_FORMS: Final = "expected http://HOST:PORT or unix:/PATH"

Answer = dict[str, object]


class AdminError(Exception):
    """The admin API said no; `status` is its HTTP status and the text its reason."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Unreachable(Exception):
    """Nobody answers there, or not as an admin API does; the text is one short reason."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class AdminClient:
    """One admin API; each question has a connection of its own."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self._token = token
        self._path = url.removeprefix("unix:") if url.startswith("unix:") else None
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> Self:
        """The client that the options ask for. Raises ValueError with a sentence about a token that can't be had."""
        return cls(args.admin, _read_token(args.token_file))

    def __repr__(self) -> str:
        return f"<AdminClient {self.url}>"

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """The JSON object that is answered. Raises AdminError or Unreachable."""
        sent = {"Accept": "application/json", **(headers or {})}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            content = json.dumps(body)
        status, data = self._exchange(method, path, content, sent)
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if status != http.client.OK:
            detail = answer.get("detail") if isinstance(answer, dict) else None
            raise AdminError(status, str(detail or f"it answers {status}"))
        if not isinstance(answer, dict):
            raise Unreachable("what answers there is no admin API")
        return answer

    def _exchange(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read(_LARGEST_ANSWER_BYTES)
        except TimeoutError:
            raise Unreachable("no answer in time") from None
        except OSError as error:
            raise Unreachable((error.strerror or str(error)).lower()) from error
        except http.client.HTTPException as error:
            raise Unreachable("what answers there does not speak HTTP") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._path is not None:
            return _UnixConnection(self._path)
        return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)


def admin_url(text: str) -> str:
    """Check an `--admin` argument."""
    if text.startswith("unix:/"):
        return text
    try:
        parts = urlsplit(text)
        fit = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        raise argparse.ArgumentTypeError(f"{_FORMS}, got {text!r}") from None
    if not fit or parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{_FORMS}, got {text!r}")
    return text


def add_token_argument(parser: argparse.ArgumentParser) -> None:
    """Declare where the admin token comes from: never the command line, which others can read."""
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help=f"holds the admin token; otherwise the environment's {TOKEN_VARIABLE}",
    )


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where a change is to be made: in a file or through the admin API."""
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("-c", "--config", metavar="FILE", type=Path, help="change this configuration file")
    place.add_argument(
        "--admin", metavar="URL", type=admin_url, help="or ask this admin API: http://HOST:PORT or unix:/PATH"
    )
    add_token_argument(parser)


def _read_token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ValueError(f"{file} can't be read: {reason.lower()}") from None
    if not token or not token.isascii() or not token.isprintable():
        raise ValueError(f"{file} holds no token")
    return token
