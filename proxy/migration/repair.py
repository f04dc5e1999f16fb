"""`cutover migrate --only FILE`: the rows of a reject or repair list once more, PostgreSQL having the last word.

A row that is there is put unless the table has a *newer* item: an item of the same version is replaced. Where there is
no row, an item is removed, but only for a line that `verify` called "extra", and only if it is still of the version
that was seen. Neighbour: `migrate`.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from proxy.migration.checkpoint import Checkpoint, Counts, Page, Reject
from proxy.migration.convert import Converter
from proxy.migration.files import Listed, read_list
from proxy.migration.keys import Keys
from proxy.migration.migrate import Options, Outlook, Sizes, Watcher, convert_row, open_both
from proxy.migration.queries import Key
from proxy.migration.reader import Reader
from proxy.migration.sizes import write_units
from proxy.migration.table import Table
from proxy.migration.writer import Writer
from proxy.migration.writes import Outcome, Write

_AT_ONCE: Final = 100
Each = TypeVar("Each")


class Repair:
    """One run over a list."""

    def __init__(self, reader: Reader, table: Table, options: Options) -> None:
        mapping = options.mapping.mapping
        self._reader = reader
        self._table = table
        self._version = mapping.version
        self._dry_run = options.dry_run
        self._keys = Keys(mapping, table.key)
        self._converter = Converter(mapping, tuple(table.key))
        self._writer = Writer(table, mapping, options.in_flight, repair=True)
        self.sizes = Sizes()

    def __repr__(self) -> str:
        return f"<Repair of {self._table.name}: {self.sizes.items} items>"

    async def mend(self, listed: list[Listed]) -> tuple[Counts, list[Reject]]:
        """Put or remove these."""
        keys = list(dict.fromkeys(each.key for each in listed))
        rows = await self._reader.rows(keys)
        writes, rejects = [], []
        for row in rows.values():
            made = convert_row(self._converter, row)
            if isinstance(made, Reject):
                rejects.append(made)
            else:
                self.sizes.add(row.key, made.size_bytes)
                writes.append(Write(row.key, made))
        counts = Counts(read=len(keys), rejected=len(rejects))
        counts.write_units = sum(write_units(write.converted.size_bytes) for write in writes)
        if self._dry_run:
            return counts, rejects
        results = await self._writer.write_all(writes)
        refused = [each for each in results if each.outcome is Outcome.REFUSED]
        rejects += [Reject(each.write.key, None, f"DynamoDB refuses it: {each.reason}") for each in refused]
        written = [each.write for each in results if each.outcome is Outcome.WRITTEN]
        there = await self._reader.present([write.key for write in written])
        for write in written:
            if write.key not in there:  # deleted meanwhile
                await self._writer.remove(self._table.key_of(write.converted.item), write.converted.version)
        removed = await self._remove([each.key for each in listed if each.is_extra and each.key not in rows])
        counts.written = sum(write.key in there for write in written) + removed
        counts.rejected = len(rejects)
        counts.skipped_newer = counts.read - counts.written - counts.rejected
        return counts, rejects

    async def _remove(self, keys: list[Key]) -> int:
        """Delete the items of rows that are not there; how many."""
        if not keys:
            return 0
        items = await self._table.get_many([self._keys.item_key(key) for key in keys], consistent=True)
        removed = 0
        for item in items:
            version = item.get(self._version) if self._version else None
            # once more: a row that came back meanwhile keeps its item
            row_key = self._keys.row_key(item)
            if row_key is not None and row_key not in await self._reader.present([row_key]):
                removed += await self._writer.remove(self._table.key_of(item), version)
        return removed


async def run_repair(
    options: Options, listed: Path, watch: Watcher, keep_rejects: Callable[[Checkpoint], None]
) -> Outlook:
    """Mend what is listed in a file. Raises ConfigError and MigrationFailed."""
    for _ in read_list(listed, len(options.mapping.mapping.key)):
        pass  # a list with a fault in its last line is refused before its first is done
    began_s = asyncio.get_running_loop().time()
    async with AsyncExitStack() as stack:
        reader, table = await open_both(options, stack)
        total = stack.enter_context(Checkpoint(None, ""))
        stack.callback(keep_rejects, total)
        repair = Repair(reader, table, options)
        watch.begin(0.0, Counts())
        for some in _chunks(read_list(listed, reader.key_width)):
            counts, rejects = await repair.mend(some)
            total.finish_page(Page(0, [some[-1].key], counts, rejects), 0.0)
            watch.page(total.counts, table.traffic)
        seconds = asyncio.get_running_loop().time() - began_s
        return Outlook(total.counts, seconds, repair.sizes, table.traffic)


def _chunks(listed: Iterator[Each]) -> Iterator[list[Each]]:
    while some := list(islice(listed, _AT_ONCE)):
        yield some
