"""Where the rows are and where the items go: `postgresql://…` and `dynamodb://TABLE?region=…&endpoint=…`. Pure.

An address may hold a password: it is never shown, only `shown`. Placeholders (`${env:NAME}`, `${file:PATH}`) keep it
out of the process list; the command line expands them before it comes here.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from proxy.migration.errors import bad_argument
from proxy.settings.suggest import nearest

_TABLE: Final = re.compile(
    r"[A-Za-z0-9_.-]{3,255}|arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{3,255}"
)
_REGION: Final = re.compile(r"[a-z0-9-]{3,40}")
_PARAMETERS: Final = ("region", "endpoint")


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A database; `url` is the whole address, secrets included."""

    url: str = field(repr=False)
    shown: str


@dataclass(frozen=True, slots=True)
class DynamoAddress:
    """A table. Region and endpoint None: as the environment says."""

    table: str
    region: str | None
    endpoint: str | None

    @property
    def shown(self) -> str:
        """For people, and to tell one target from another."""
        given = [f"{name}={value}" for name, value in (("region", self.region), ("endpoint", self.endpoint)) if value]
        return f"dynamodb://{self.table}" + (f"?{'&'.join(given)}" if given else "")


def parse_postgres(text: str) -> PostgresAddress:
    """Read `--from`. Raises ConfigError, which does not show the address."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise bad_argument("--from", "not a usable address") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise bad_argument("--from", "expected postgresql://USER@HOST:PORT/DATABASE")
    if "\0" in unquote(text):
        raise bad_argument("--from", "not a usable address")
    host = parts.hostname or dict(parse_qsl(parts.query)).get("host") or "the local socket"
    place = f"{host}:{port}" if port else host
    database = unquote(parts.path.lstrip("/"))
    return PostgresAddress(text, f"{place}/{database}" if database else place)


def parse_dynamodb(text: str) -> DynamoAddress:
    """Read `--to`. Raises ConfigError."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise bad_argument("--to", "not a usable address") from None
    if parts.scheme != "dynamodb":
        raise bad_argument("--to", "expected dynamodb://TABLE?region=REGION")
    table = unquote(text.removeprefix("dynamodb://").partition("?")[0]).rstrip("/")
    if not _TABLE.fullmatch(table):
        raise bad_argument("--to", "expected the name of a table after dynamodb://: 3 to 255 of A-Z a-z 0-9 _ . -")
    found: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _PARAMETERS:
            meant = nearest(name, _PARAMETERS)
            raise bad_argument(
                "--to", f"unknown parameter {quote(name)!r}", f'did you mean "{meant}"?' if meant else None
            )
        found[name] = value
    return DynamoAddress(table, _region(found.get("region")), _endpoint(found.get("endpoint")))


def _region(text: str | None) -> str | None:
    if text is not None and not _REGION.fullmatch(text):
        raise bad_argument("--to", "region: expected one such as eu-west-1")
    return text


def _endpoint(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname is not None and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or "@" in text:
        raise bad_argument("--to", "endpoint: expected an address such as http://127.0.0.1:8000, without credentials")
    return text.rstrip("/")
