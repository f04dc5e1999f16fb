"""PostgreSQL, read in short statements over a few connections; a lost connection is made again.

Neighbours: `queries` has the SQL. The libraries' exceptions end here: `MigrationFailed` says what a person can do.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg

from proxy.migration.addresses import PostgresAddress
from proxy.migration.errors import MigrationFailed, bad_argument
from proxy.migration.mapping_file import LoadedMapping
from proxy.migration.mapping_rules import Column, Fault
from proxy.migration.pace import backoff_s
from proxy.migration.queries import Key, Queries, Shard, quote_table
from proxy.migration.ranges import Range, split_ranges
from proxy.settings.suggest import nearest

Result = TypeVar("Result")

MOST_ROWS: Final = 500
_FIRST_ROWS: Final = 64
_PAGE_BYTES: Final = 4 << 20
_SAMPLE: Final = 20_000
_STATEMENT_S: Final = 60.0
_CONNECT_S: Final = 10.0
# Text forms that do not depend on how the server or the database is configured.
_SESSION: Final = {"TimeZone": "UTC", "DateStyle": "ISO", "extra_float_digits": "1", "application_name": "cutover"}
_LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that is cut while it is being set up
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
_DESCRIBE: Final = """
SELECT a.attname AS name, format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), NULL) AS type,
       NOT a.attnotnull AS nullable
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
"""
_UNIQUE: Final = """
SELECT array(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) AS k
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k) AS columns
FROM pg_index i
WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""
_RELATION: Final = "SELECT relkind::text AS kind, reltuples FROM pg_class WHERE oid = to_regclass($1)"
_READABLE: Final = ("r", "p", "m")  # tables, partitioned tables, materialized views: what can be sampled
_TABLES: Final = """
SELECT schemaname || '.' || tablename AS name FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A row's key and its columns' values; `undecodable` says why there are none."""

    key: Key
    values: Sequence[Any]
    undecodable: str | None = None


class Reader:
    """Reads one table. Every method tries again while PostgreSQL is away, for `patience_s` at most."""

    def __init__(self, pool: asyncpg.Pool, queries: Queries, rows: float, patience_s: float) -> None:
        self._pool = pool
        self._queries = queries
        self._patience_s = patience_s
        self.estimated_rows = rows
        self.key_width = queries.key_width
        self.retries = 0

    def __repr__(self) -> str:
        return f"<Reader of {self._queries.table}, {self.retries} retries>"

    async def plan(self, parts: int) -> list[Range]:
        """Split the key into ranges of about the same number of rows."""
        percent = min(100.0, 100.0 * _SAMPLE / max(self.estimated_rows, 1.0))
        sample = await self._fetch(self._queries.sample(percent), _SAMPLE)
        return split_ranges([tuple(record) for record in sample], parts)

    async def pages(self, part: Range, *, keys_only: bool = False) -> AsyncIterator[list[Row]]:
        """The rows of a range, in order of the key; a page has about 4 MiB and 500 rows at most."""
        after, limit = part.after, _FIRST_ROWS
        while True:
            statement = self._queries.page(after=after is not None, until=part.until is not None, keys_only=keys_only)
            try:
                records = await self._fetch(statement, limit, *(after or ()), *(part.until or ()))
                rows = [Row(tuple(each[: self.key_width]), each[self.key_width :]) for each in records]
            except (UnicodeDecodeError, asyncpg.DataError) as error:
                if limit > 1:
                    limit = max(1, limit // 8)
                    continue
                rows = await self._undecodable(part, after, error)
            if not rows:
                return
            yield rows
            if len(rows) < limit:
                return
            after, limit = rows[-1].key, _next_limit(limit, rows)

    async def _undecodable(self, part: Range, after: Key | None, error: Exception) -> list[Row]:
        """The one row whose values can't be had, by its key alone."""
        statement = self._queries.page(after=after is not None, until=part.until is not None, keys_only=True)
        records = await self._fetch(statement, 1, *(after or ()), *(part.until or ()))
        reason = "holds text that is not valid UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        return [Row(tuple(record), (), reason) for record in records]

    async def rows(self, keys: Sequence[Key]) -> dict[Key, Row]:
        """The rows with these keys, of those that there are."""
        if not keys:
            return {}
        try:
            records = await self._fetch(self._queries.rows(), *self._columns_of(keys))
        except (UnicodeDecodeError, asyncpg.DataError) as error:
            if len(keys) == 1:
                there = keys[0] in await self.present(keys)
                return {keys[0]: Row(keys[0], (), f"can't be read ({type(error).__name__})")} if there else {}
            middle = len(keys) // 2
            return {**await self.rows(keys[:middle]), **await self.rows(keys[middle:])}
        width = self.key_width
        return {tuple(each[:width]): Row(tuple(each[:width]), each[width:]) for each in records}

    async def present(self, keys: Sequence[Key]) -> set[Key]:
        """Which of these keys there are."""
        if not keys:
            return set()
        try:
            records = await self._fetch(self._queries.present(), *self._columns_of(keys))
        except asyncpg.DataError:  # a key that can't even be one, such as "x" where they are numbers
            if len(keys) == 1:
                return set()
            middle = len(keys) // 2
            return await self.present(keys[:middle]) | await self.present(keys[middle:])
        return {tuple(record) for record in records}

    async def random_keys(self, count: int) -> list[Key]:
        """So many keys, drawn at random."""
        return [tuple(record) for record in await self._fetch(self._queries.random_keys(), count)]

    def _columns_of(self, keys: Sequence[Key]) -> list[list[str]]:
        return [list(column) for column in zip(*keys, strict=True)] if keys else [[] for _ in range(self.key_width)]

    async def _fetch(self, statement: str, *arguments: object) -> list[Any]:
        async def fetch() -> list[Any]:
            return list(await self._pool.fetch(statement, *arguments))

        return await self._patiently(fetch)

    async def _patiently(self, act: Callable[[], Awaitable[Result]]) -> Result:
        loop = asyncio.get_running_loop()
        until_s, attempt = loop.time() + self._patience_s, 0
        while True:
            try:
                return await act()
            except asyncpg.DataError:  # an InterfaceError too, for arguments; never a lost connection
                raise
            except _LOST as error:
                if loop.time() > until_s:
                    raise MigrationFailed(f"PostgreSQL is away: {_reason(error)}") from error
                self.retries += 1
            except asyncpg.PostgresError as error:  # no privilege, a table that is not there any more, …
                raise MigrationFailed(f"PostgreSQL: {error}") from error
            await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - no secret
            attempt += 1


def _next_limit(limit: int, rows: Sequence[Row]) -> int:
    """How many rows the next page may have, if they are like these; twice as many at most."""
    held = sum(len(value) if isinstance(value, str | bytes) else 16 for row in rows for value in row.values)
    fitting = _PAGE_BYTES * len(rows) // max(held, 1)
    return max(1, min(limit * 2, fitting, MOST_ROWS))


@asynccontextmanager
async def open_reader(
    address: PostgresAddress, loaded: LoadedMapping, *, shard: Shard | None, connections: int, patience_s: float
) -> AsyncIterator[Reader]:
    """Connect, and compare the mapping with the table. Raises ConfigError and MigrationFailed."""
    pool = await _open_pool(address, connections)
    try:
        queries, rows = await _describe(pool, loaded, shard)
        yield Reader(pool, queries, rows / (shard.of if shard else 1), patience_s)
    finally:
        pool.terminate()


async def _open_pool(address: PostgresAddress, connections: int) -> asyncpg.Pool:
    try:
        return await asyncpg.create_pool(
            address.url,
            min_size=1,
            max_size=connections,
            init=_init,
            timeout=_CONNECT_S,
            command_timeout=_STATEMENT_S,
            server_settings=_SESSION,
        )
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise MigrationFailed(f"PostgreSQL at {address.shown} refuses these credentials") from error
    except asyncpg.InvalidCatalogNameError as error:
        raise MigrationFailed(f"PostgreSQL at {address.shown}: there is no such database") from error
    except (ValueError, asyncpg.InterfaceError) as error:
        raise bad_argument("--from", "not a usable address: expected postgresql://USER@HOST:PORT/DATABASE") from error
    except (OSError, asyncpg.PostgresError) as error:
        raise MigrationFailed(f"PostgreSQL at {address.shown} can't be reached: {_reason(error)}") from error


async def _init(connection: asyncpg.Connection) -> None:
    # datetime knows neither infinity nor years before 1 and after 9999: microseconds know all
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=lambda value: value, decoder=lambda value: value[0], format="tuple"
    )


async def _describe(pool: asyncpg.Pool, loaded: LoadedMapping, shard: Shard | None) -> tuple[Queries, float]:
    mapping, name = loaded.mapping, quote_table(loaded.mapping.table)
    try:
        relation = await pool.fetchrow(_RELATION, name)
        if relation is None:
            meant = nearest(mapping.table, [record["name"] for record in await pool.fetch(_TABLES)])
            hint = f'did you mean "{meant}"?' if meant else None
            loaded.refuse([Fault(("table",), f'the database has no table "{mapping.table}"', hint)])
        found = await pool.fetch(_DESCRIBE, name)
        unique = await pool.fetch(_UNIQUE, name)
    except (*_LOST, asyncpg.PostgresError) as error:
        raise MigrationFailed(f"PostgreSQL: {_reason(error)}") from error
    columns = {record["name"]: Column(record["name"], record["type"], record["nullable"]) for record in found}
    loaded.check_table(columns)
    if relation["kind"] not in _READABLE:
        loaded.refuse([Fault(("table",), f"{mapping.table} is no table, but a view or a foreign table")])
    if not any(set(record["columns"]) == set(mapping.key) for record in unique):
        joined = ", ".join(mapping.key)
        loaded.refuse([Fault(("key",), f"{mapping.table} has no unique index on exactly ({joined})")])
    return Queries(mapping, columns, shard), max(float(relation["reltuples"]), 0.0)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
