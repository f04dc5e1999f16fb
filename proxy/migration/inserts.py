"""Items into the table 25 at a time, each only if there is none with its key: PartiQL's INSERT in batches.

DynamoDB judges each statement by itself and answers for each; where an item is there it says `DuplicateItem` and
changes nothing. So this writes what is new, and leaves the rest to `writer`, which puts it on a condition: what is
there already, what DynamoDB does not take, and everything once inserts turn out not to be allowed.

Not every server that speaks DynamoDB's protocol refuses a duplicate, and one that does not would overwrite a newer
item: so by itself this is used on Amazon's own endpoints only (docs/adr/0009).
Source: Amazon DynamoDB API Reference, BatchExecuteStatement, BatchStatementRequest, BatchStatementError.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from proxy.migration.sizes import write_units
from proxy.migration.table import Attempts, Denied, Refused, Table
from proxy.migration.writes import Write

BATCH_ITEMS: Final = 25  # DynamoDB's limit
BATCH_BYTES: Final = 1024 * 1024  # of items; no limit is documented, and BatchWriteItem's is 16 MB
_STATEMENT_CHARACTERS: Final = 8192
_PLAIN_NAME: Final = re.compile(
    r"[\w .:#/@$-]+", re.ASCII
)  # of others it is not documented how a statement quotes them

_DUPLICATE: Final = "DuplicateItem"
_DENIED: Final = "AccessDenied"
_THROTTLES: Final = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError", "RequestLimitExceeded"})
_TEMPORARY: Final = frozenset({"InternalServerError", "TransactionConflict"})
_NO_SUCH_OPERATION: Final = frozenset({"UnknownOperationException", "UnknownOperation", "UnsupportedOperation"})

_AMAZON: Final = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws", "api.amazonwebservices.com.cn")


class Way(StrEnum):
    """How items are written; `auto` chooses by the endpoint."""

    AUTO = "auto"
    INSERT = "insert"
    PUT = "put"


def choose_way(way: Way, endpoint_url: str, table: str) -> Way:
    """INSERT or PUT, for a client that talks to this endpoint. A table given as an ARN is put to."""
    if way is not Way.AUTO:
        return way
    host = (urlsplit(endpoint_url).hostname or "").rstrip(".")
    is_amazon = any(host == suffix or host.endswith(f".{suffix}") for suffix in _AMAZON)
    return Way.INSERT if is_amazon and ":" not in table else Way.PUT


@dataclass(slots=True)
class Inserted:
    """What became of a page: written, or left to be put one by one."""

    written: list[Write]
    left: list[Write]
    duplicates: int = 0

    def add(self, more: "Inserted") -> None:
        """Count these as well."""
        self.written += more.written
        self.left += more.left
        self.duplicates += more.duplicates


class Inserts:
    """Sends batches to one table. `given_up` says why it does no more; empty while it does."""

    def __init__(self, table: Table, places: asyncio.Semaphore, at_once: int) -> None:
        self._table = table
        self._places = places
        self._at_once = at_once
        self._statements: dict[tuple[str, ...], str | None] = {}
        self.given_up = ""

    def __repr__(self) -> str:
        return f"<Inserts to {self._table.name}{': ' if self.given_up else ''}{self.given_up}>"

    def statement(self, item: Mapping[str, Any]) -> str | None:
        """The statement that inserts an item with these attributes, in their order; None if there can't be one."""
        names = tuple(item)
        if names not in self._statements:
            self._statements[names] = _make_statement(self._table.name, names)
        return self._statements[names]

    async def insert_all(self, writes: Sequence[Write]) -> Inserted:
        """Insert a page. When it returns, each batch has been answered. Raises MigrationFailed."""
        total, fresh = Inserted([], []), deque[Write]()
        for write in writes:
            (total.left if write.again or not self.statement(write.converted.item) else fresh).append(write)
        if fresh and not self.given_up:
            first = await self._send_next(fresh)
            total.add(first)
            # a table that has the first ones has the others, too: to be told so by each costs a request and its units
            if first.duplicates * 2 <= first.duplicates + len(first.written):
                await self._insert_rest(fresh, total)
        total.left += fresh
        return total

    async def _insert_rest(self, fresh: deque[Write], total: Inserted) -> None:
        async def work() -> None:
            while fresh and not self.given_up:
                total.add(await self._send_next(fresh))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._at_once, -(-len(fresh) // BATCH_ITEMS))):
                tasks.create_task(work())

    async def _send_next(self, fresh: deque[Write]) -> Inserted:
        async with self._places:
            batch, units = _cut(fresh, self._table.most_units)
            if not batch:
                return Inserted([], [])
            await self._table.take_turn(units)
            return await self._send(batch)

    async def _send(self, batch: Sequence[Write]) -> Inserted:
        """Send until each statement is answered for good."""
        done, waiting, attempt = Inserted([], []), list(batch), 0
        clock = asyncio.get_running_loop().time
        began_s = clock()
        while waiting:
            attempts = Attempts()
            request = [{"Statement": self.statement(i), "Parameters": [*i.values()]} for i in map(_item, waiting)]
            send = partial(self._table.client.batch_execute_statement, Statements=request)
            try:
                answer = await self._table.ask(send, attempts)
            except (Denied, Refused) as error:
                if isinstance(error, Denied) or error.code in _NO_SUCH_OPERATION:
                    self._give_up(str(error))
                done.left += [_in_doubt(write) if attempts.unseen else write for write in waiting]
                return done
            before = len(waiting)
            waiting = self._sort(waiting, answer["Responses"], done, is_unseen=attempts.unseen > 0)
            if waiting:
                if len(waiting) < before:
                    began_s, attempt = clock(), 0
                await self._table.pause(began_s, attempt, "it does not take what is sent", len(waiting))
                await self._table.take_turn(sum(write_units(write.converted.size_bytes) for write in waiting))
                attempt += 1
        return done

    def _sort(
        self, sent: Sequence[Write], responses: Sequence[Mapping[str, Any]], done: Inserted, *, is_unseen: bool
    ) -> list[Write]:
        """Note what is answered for good; what is to be sent again."""
        again = []
        for write, response in zip(sent, responses, strict=True):
            error = response.get("Error")
            if error is None:
                done.written.append(write)
                continue
            code = error.get("Code", "")
            if code in _THROTTLES:
                self._table.throttled()
                again.append(_in_doubt(write) if is_unseen else write)
            elif code in _TEMPORARY:
                again.append(_in_doubt(write))
            else:
                if code == _DENIED:
                    self._give_up(f"DynamoDB denies access: {error.get('Message', '')}")
                done.duplicates += code == _DUPLICATE
                done.left.append(_in_doubt(write) if is_unseen else write)
        return again

    def _give_up(self, why: str) -> None:
        self.given_up = self.given_up or why


def _make_statement(table: str, names: Sequence[str]) -> str | None:
    if not all(map(_PLAIN_NAME.fullmatch, names)):
        return None
    fields = ", ".join(f"'{name}': ?" for name in names)
    statement = f'INSERT INTO "{table}" VALUE {{{fields}}}'
    return statement if len(statement) <= _STATEMENT_CHARACTERS else None


def _cut(fresh: deque[Write], most_units: float) -> tuple[list[Write], int]:
    """Take the next batch off, one item at least; and its write units."""
    batch: list[Write] = []
    held_bytes, units = 0, 0
    while fresh and len(batch) < BATCH_ITEMS:
        size_bytes = fresh[0].converted.size_bytes
        more = write_units(size_bytes)
        if batch and (held_bytes + size_bytes > BATCH_BYTES or units + more > most_units):
            break
        batch.append(fresh.popleft())
        held_bytes, units = held_bytes + size_bytes, units + more
    return batch, units


def _item(write: Write) -> dict[str, Any]:
    return write.converted.item


def _in_doubt(write: Write) -> Write:
    """It may have been written by an attempt whose answer was not seen."""
    return replace(write, again=True)
