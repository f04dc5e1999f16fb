"""Items into the table, each on one condition, so that a newer one is never overwritten.

A page goes in batches of INSERT where that is safe (`inserts`), and what those leave, or everything, by one `PutItem`
for each item, many at once. `BatchWriteItem` takes no condition, and `TransactWriteItems` would make the users' own
writes fail with conflicts (docs/adr/0008, 0009). Neighbours: `table` retries, `pace` paces.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from proxy.migration.inserts import Inserts
from proxy.migration.mapping import Mapping
from proxy.migration.sizes import Item, write_units
from proxy.migration.table import ConditionFailed, Refused, Table
from proxy.migration.writes import Outcome, Write, Written


class Writer:
    """Writes items. With `repair` one of the same version is replaced as well: PostgreSQL has the last word.

    With `inserting`, new items go in batches.
    """

    def __init__(
        self, table: Table, mapping: Mapping, in_flight: int, *, repair: bool = False, inserting: bool = False
    ) -> None:
        self._table = table
        self._version = mapping.version
        self._in_flight = in_flight
        # one for all ranges: while one waits for the last of its page, the others have its places
        self._places = asyncio.Semaphore(in_flight)
        self._inserts = Inserts(table, self._places, in_flight) if inserting else None
        names = {"#k": next(iter(table.key))}
        condition = "attribute_not_exists(#k)"
        self._when_absent = {"ConditionExpression": condition, "ExpressionAttributeNames": names}
        self._when_older = self._when_absent
        if self._version is not None:
            condition += f" OR #v {'<=' if repair else '<'} :v" + (" OR attribute_not_exists(#v)" if repair else "")
            names = {**names, "#v": self._version}
            self._when_older = {"ConditionExpression": condition, "ExpressionAttributeNames": names}

    def __repr__(self) -> str:
        return f"<Writer to {self._table.name}: {self._in_flight} at once>"

    @property
    def inserts_given_up(self) -> str:
        """Why it no longer inserts in batches as it should; empty if it does."""
        return self._inserts.given_up if self._inserts is not None else ""

    async def write_all(self, writes: Sequence[Write]) -> list[Written]:
        """Write all, some at once. When it returns, each has been answered. Raises MigrationFailed."""
        if self._inserts is None or self._inserts.given_up:
            return await self._put_all(writes)
        inserted = await self._inserts.insert_all(writes)
        return [Written(write, Outcome.WRITTEN) for write in inserted.written] + await self._put_all(inserted.left)

    async def _put_all(self, writes: Sequence[Write]) -> list[Written]:
        results: list[Written] = []
        waiting = iter(writes)

        async def work(mine: Iterator[Write]) -> None:
            for write in mine:
                async with self._places:
                    results.append(await self.write(write))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._in_flight, len(writes))):
                tasks.create_task(work(waiting))
        return results

    async def write(self, write: Write) -> Written:
        """Put one item if the table has none, or an older one. Raises MigrationFailed."""
        version = write.converted.version
        await self._table.take_turn(write_units(write.converted.size_bytes))
        request: dict[str, Any] = {"TableName": self._table.name, "Item": write.converted.item}
        if version is None or self._version is None:
            request |= self._when_absent
        else:
            request |= self._when_older
            request["ExpressionAttributeValues"] = {":v": version}
        if write.again:
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            await self._table.ask(lambda: self._table.client.put_item(**request))
        except ConditionFailed as failed:
            if failed.unseen and not write.again:
                return await self.write(Write(write.key, write.converted, again=True))
            own = failed.old is not None and version is not None and failed.old.get(self._version or "") == version
            return Written(write, Outcome.WRITTEN if own else Outcome.SKIPPED)
        except Refused as refused:
            return Written(write, Outcome.REFUSED, str(refused))
        return Written(write, Outcome.WRITTEN)

    async def remove(self, key: Item, version: Any) -> bool:  # noqa: ANN401 - an attribute value
        """Delete an item if it still is of this version (None: has none); false when it is not, or is not there."""
        names = {"#k": next(iter(self._table.key))}
        request: dict[str, Any] = {"TableName": self._table.name, "Key": key}
        if self._version is None:
            request["ConditionExpression"] = "attribute_exists(#k)"
        elif version is None:
            names["#v"] = self._version
            request["ConditionExpression"] = "attribute_exists(#k) AND attribute_not_exists(#v)"
        else:
            names["#v"] = self._version
            request["ConditionExpression"] = "#v = :v"
            request["ExpressionAttributeValues"] = {":v": version}
            del names["#k"]
        await self._table.take_turn(1)
        try:
            await self._table.ask(lambda: self._table.client.delete_item(**request, ExpressionAttributeNames=names))
        except ConditionFailed:
            return False
        return True
