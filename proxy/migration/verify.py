"""`cutover verify`: every row has its item, every item its row, and both say the same.

Forwards: pages of rows, their items fetched by key and compared: finds missing and different. Backwards: the table
scanned in segments, keys only, and the rows looked up: finds extra. Memory is a few pages, whatever the table's size.
The first look reads eventually consistent, which costs half; `second_look` reads what is in doubt again, consistently.

Neighbours: `reader`, `table`, `convert`, `compare`, `findings`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Protocol

from proxy.migration.checkpoint import Reject
from proxy.migration.compare import Comparer, Difference
from proxy.migration.convert import Converter
from proxy.migration.errors import MigrationFailed
from proxy.migration.findings import Doubt, Findings, Kind, Verdict
from proxy.migration.keys import Keys
from proxy.migration.migrate import Options, convert_row, first_failure, open_both
from proxy.migration.queries import Key
from proxy.migration.reader import MOST_ROWS, Reader, Row
from proxy.migration.second_look import SecondLook
from proxy.migration.sizes import Item
from proxy.migration.table import GET_KEYS, Table

DELAY_S: Final = 2.0
_SCAN_ITEMS: Final = 1000
_SAMPLE_SEGMENTS: Final = 64


class Onlooker(Protocol):
    """Who looks on: a progress bar, metrics."""

    def begin(self, total: float) -> None:
        """There are about so many to compare."""

    def compared(self, findings: Findings) -> None:
        """The figures up to now."""

    def doubted(self, number: int) -> None:
        """So many are to be read again."""


class Verification:
    """One verification of one table."""

    def __init__(self, reader: Reader, table: Table, options: Options, findings: Findings, look: Onlooker) -> None:
        mapping = options.mapping.mapping
        self._reader = reader
        self._table = table
        self._parallel = options.parallel
        self._findings = findings
        self._look = look
        self._keys = Keys(mapping, table.key)
        self._converter = Converter(mapping, tuple(table.key))
        self._comparer = Comparer(mapping)

    def __repr__(self) -> str:
        return f"<Verification of {self._table.name}: {self._findings}>"

    async def run(self, sample: int | None, delay_s: float) -> None:
        """Compare all, or `sample` rows and as many items. Raises MigrationFailed."""
        second = SecondLook(self._examine, self._findings, delay_s, self._look.doubted)
        self._look.begin(min(self._reader.estimated_rows, sample or float("inf")))
        try:
            async with asyncio.TaskGroup() as tasks:
                for pages in await self._forwards(sample):
                    tasks.create_task(self._compare_pages(pages, second))
                for segments, most in self._segments(sample):
                    tasks.create_task(self._look_for_extra(segments, most, second))
            await second.settle()
            self._look.compared(self._findings)
        except* MigrationFailed as group:
            raise first_failure(group) from None
        finally:
            await second.cancel()

    async def _forwards(self, sample: int | None) -> list[AsyncIterator[list[Row]]]:
        if sample is None:
            return [self._reader.pages(part) for part in await self._reader.plan(self._parallel)]
        keys = await self._reader.random_keys(sample)
        return [self._listed(keys[at :: self._parallel]) for at in range(self._parallel)]

    async def _listed(self, keys: Sequence[Key]) -> AsyncIterator[list[Row]]:
        for start in range(0, len(keys), MOST_ROWS):
            rows = await self._reader.rows(keys[start : start + MOST_ROWS])
            if rows:
                yield list(rows.values())

    def _segments(self, sample: int | None) -> Iterable[tuple[list[tuple[int, int]], int | None]]:
        """For each task: the segments (number, of how many) that it scans, and how many items of them at most."""
        if sample is None:
            return [([(at, self._parallel)], None) for at in range(self._parallel)]
        order = [(at, _SAMPLE_SEGMENTS) for at in range(_SAMPLE_SEGMENTS)]
        random.shuffle(order)
        return [(order, sample)]

    async def _compare_pages(self, pages: AsyncIterator[list[Row]], second: SecondLook) -> None:
        async for rows in pages:
            verdicts = await self._judge({row.key: row for row in rows}, [row.key for row in rows], consistent=False)
            doubts = [
                Doubt(row.key, self._keys.item_key(row.key), verdict)
                for row, verdict in zip(rows, verdicts, strict=True)
                if verdict is not None
            ]
            self._findings.compared += len(rows)
            self._look.compared(self._findings)
            await second.add(doubts)

    async def _look_for_extra(self, segments: Iterable[tuple[int, int]], most: int | None, second: SecondLook) -> None:
        seen = 0
        for number, of in segments:
            limit = min(_SCAN_ITEMS, most or _SCAN_ITEMS)
            async for items in self._table.scan(number, of, self._keys.attributes, limit):
                await second.add(await self._without_row(items))
                seen += len(items)
                if most is not None and seen >= most:
                    return

    async def _without_row(self, items: Sequence[Item]) -> list[Doubt]:
        keys = [self._keys.row_key(item) for item in items]
        there = await self._reader.present([key for key in keys if key is not None])
        extra = Verdict(Kind.EXTRA)
        return [
            Doubt(key, self._table.key_of(item), extra)
            for key, item in zip(keys, items, strict=True)
            if key is None or key not in there
        ]

    async def _examine(self, doubts: Sequence[Doubt]) -> list[Verdict | None]:
        """Look again at both sides."""
        of_rows = [doubt.key for doubt in doubts if doubt.key is not None]
        rows = await self._reader.rows(of_rows)
        verdicts = dict(zip(of_rows, await self._judge(rows, of_rows, consistent=True), strict=True))
        foreign = [doubt.item_key for doubt in doubts if doubt.key is None]
        left = {self._keys.of(item) for item in await self._table.get_many(foreign, consistent=True)}
        return [
            verdicts[doubt.key]
            if doubt.key is not None
            else (doubt.verdict if self._keys.of(doubt.item_key) in left else None)
            for doubt in doubts
        ]

    async def _judge(self, rows: dict[Key, Row], keys: Sequence[Key], *, consistent: bool) -> list[Verdict | None]:
        """Compare rows with their items, fetched by key; None where they are the same, or where neither is there."""
        wanted = [self._keys.item_key(key) for key in keys]
        chunks = [wanted[start : start + GET_KEYS] for start in range(0, len(wanted), GET_KEYS)]
        found = await asyncio.gather(*(self._table.get_many(chunk, consistent=consistent) for chunk in chunks))
        items = {self._keys.of(item): item for chunk in found for item in chunk}
        return [
            self._verdict(rows.get(key), items.get(self._keys.of(item_key)))
            for key, item_key in zip(keys, wanted, strict=True)
        ]

    def _verdict(self, row: Row | None, item: Item | None) -> Verdict | None:
        if row is None:
            return None if item is None else Verdict(Kind.EXTRA)
        made = convert_row(self._converter, row)
        kind = Kind.MISSING if item is None else Kind.DIFFERENT
        if isinstance(made, Reject):
            return Verdict(kind, (Difference(made.attribute, f"can't be converted: {made.reason}", None),))
        if item is None:
            return Verdict(kind)
        differences = self._comparer.differences(made.item, item)
        return Verdict(kind, tuple(differences)) if differences else None


async def run_verification(
    options: Options, findings: Findings, look: Onlooker, *, sample: int | None, delay_s: float
) -> float:
    """Verify into `findings`; how many seconds it took. Raises ConfigError and MigrationFailed."""
    began_s = asyncio.get_running_loop().time()
    async with AsyncExitStack() as stack:
        reader, table = await open_both(options, stack)
        await Verification(reader, table, options, findings, look).run(sample, delay_s)
    return asyncio.get_running_loop().time() - began_s
