"""One of the two HTTP APIs, asked as its users ask it: a list by pages, and one item. Retries while it is away.

Neighbour: `verify_http`. aiohttp's exceptions end here.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp

from proxy.migration.errors import MigrationFailed, bad_argument
from proxy.migration.mapping import Http
from proxy.migration.pace import backoff_s
from proxy.migration.values import json_number

_TEMPORARY: Final = (408, 425, 429)
_MOST_PAGES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """Where an API is. Headers may hold tokens, and are not shown. `argument` is what it was given by."""

    argument: str
    url: str
    headers: Mapping[str, str] = field(repr=False)


def parse_api(argument: str, url: str, headers: Sequence[str]) -> ApiAddress:
    """Read an address and `Name: value` headers. Raises ConfigError, which shows no value."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0 and not parts.query
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc:
        raise bad_argument(argument, "expected an address such as https://images.example.com, without credentials")
    found = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip() or not header.isprintable():
            raise bad_argument(f"{argument}-header", "expected Name: value")
        found[name.strip()] = value.strip()
    return ApiAddress(argument, url.rstrip("/"), found)


class Api:
    """Asks. `session` is shared by both."""

    def __init__(self, address: ApiAddress, shape: Http, session: aiohttp.ClientSession, patience_s: float) -> None:
        self._address = address
        self._shape = shape
        self._session = session
        self._patience_s = patience_s

    def __repr__(self) -> str:
        return f"<Api {self._address.url}>"

    async def pages(self, user: str | None) -> AsyncIterator[list[dict[str, Any]]]:
        """A list by pages. Raises MigrationFailed, also for a cursor that goes round in circles."""
        path = self._shape.list.replace("{user}", quote(user or "", safe=""))
        cursor: object = None
        for _ in range(_MOST_PAGES):
            joint = "&" if "?" in path else "?"
            parameter = "" if cursor is None else f"{joint}{self._shape.cursor_parameter}={quote(str(cursor), safe='')}"
            page = await self._ask(f"{path}{parameter}")
            items = page.get(self._shape.items) if isinstance(page, dict) else page
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise self._failure(path, f'its answer has no list of objects "{self._shape.items}"')
            yield items
            last = cursor
            cursor = page.get(self._shape.cursor) if isinstance(page, dict) and self._shape.cursor else None
            if cursor is None:
                return
            if cursor == last:
                break
        raise self._failure(path, "its pages do not come to an end")

    async def get(self, item_id: str) -> dict[str, Any] | None:
        """One item, or None. Raises MigrationFailed."""
        path = self._shape.get.replace("{id}", quote(item_id, safe=""))
        item = await self._ask(path, absent_is_none=True)
        if item is not None and not isinstance(item, dict):
            raise self._failure(self._shape.get, "its answer is no object")
        return item

    async def _ask(self, path: str, *, absent_is_none: bool = False) -> Any:  # noqa: ANN401 - JSON
        loop = asyncio.get_running_loop()
        until_s, attempt = loop.time() + self._patience_s, 0
        while True:
            try:
                status, body = await self._send(path)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = str(error) or "no answer in time"
            else:
                if status == 200:
                    return self._parsed(path, body)
                if status in (404, 410) and absent_is_none:
                    return None
                why = f"status {status}"
                if status < 500 and status not in _TEMPORARY:
                    hint = f"; see {self._address.argument}-header" if status in (401, 403) else ""
                    raise self._failure(path, f"{why}{hint}")
            if loop.time() > until_s:
                raise self._failure(path, why)
            await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - no secret
            attempt += 1

    async def _send(self, path: str) -> tuple[int, bytes]:
        url = f"{self._address.url}{path}"
        async with self._session.get(_as_is(url), headers=self._address.headers, allow_redirects=False) as response:
            return response.status, await response.read()

    def _parsed(self, path: str, body: bytes) -> Any:  # noqa: ANN401 - JSON
        try:
            return json.loads(body, parse_int=json_number, parse_float=json_number, parse_constant=json_number)
        except (ValueError, RecursionError):
            raise self._failure(path, "its answer is not JSON") from None

    def _failure(self, path: str, why: str) -> MigrationFailed:
        return MigrationFailed(f"{self._address.argument}: GET {self._address.url}{path.partition('?')[0]}: {why}")


def _as_is(url: str) -> Any:  # noqa: ANN401 - yarl.URL, which aiohttp takes
    from yarl import URL  # noqa: PLC0415 - comes with aiohttp

    return URL(url, encoded=True)
