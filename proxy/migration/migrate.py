"""`cutover migrate`: every row to an item, several ranges of the key side by side, resumable, while writes go on.

The newest write always wins, given that dual-write commits to PostgreSQL first and then tells DynamoDB:

- an item is put only if there is none, or an older one (`writer`);
- a row that was deleted after it was read could come back as an item that nobody deletes any more. So after a page is
  written its keys are looked up again; whose row is gone is removed, if it is still of the version that was put. A
  deletion that commits after the look-up reaches DynamoDB after the put, and needs no help;
- what a killed run had in flight is looked up in the same way by the next one (`checkpoint`).

Neighbours: `reader`, `convert`, `writer`, `checkpoint`; `repair` does the same for listed keys.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from proxy.migration.addresses import DynamoAddress, PostgresAddress
from proxy.migration.checkpoint import Checkpoint, Counts, InFlight, Page, Reject
from proxy.migration.convert import Converted, Converter, RowRejected
from proxy.migration.errors import MigrationFailed
from proxy.migration.inserts import Way, choose_way
from proxy.migration.keys import Keys
from proxy.migration.mapping_file import LoadedMapping
from proxy.migration.mapping_rules import find_key_faults
from proxy.migration.pace import Pace
from proxy.migration.queries import Key, Shard
from proxy.migration.ranges import Range
from proxy.migration.reader import Reader, Row, open_reader
from proxy.migration.sizes import write_units
from proxy.migration.table import Table, Traffic, open_table
from proxy.migration.writer import Writer
from proxy.migration.writes import Outcome, Write, Written

PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to do. `checkpoint` None: not resumable; `patience_s`: how long a server may be away."""

    source: PostgresAddress
    target: DynamoAddress
    mapping: LoadedMapping
    dry_run: bool = False
    shard: Shard | None = None
    max_wcu: float | None = None
    checkpoint: Path | None = None
    parallel: int = 4
    in_flight: int = 64
    patience_s: float = PATIENCE_S
    way: Way = Way.AUTO

    @property
    def identity(self) -> str:
        """What a checkpoint belongs to."""
        return "\n".join((self.source.shown, self.target.shown, self.mapping.digest, str(self.shard)))


class Watcher(Protocol):
    """Who looks on: a progress bar, metrics."""

    def begin(self, rows: float, before: Counts) -> None:
        """There are about so many rows, and so much was done by runs before."""

    def page(self, counts: Counts, traffic: Traffic) -> None:
        """A page is done; the totals up to now."""


class Nobody:
    """A watcher that does not look."""

    def begin(self, rows: float, before: Counts) -> None:
        """Nothing."""

    def page(self, counts: Counts, traffic: Traffic) -> None:
        """Nothing."""


@dataclass(slots=True)
class Sizes:
    """Of the items that were made."""

    items: int = 0
    total_bytes: int = 0
    largest_bytes: int = 0
    largest_key: Key | None = None

    def add(self, key: Key, size_bytes: int) -> None:
        """Count an item."""
        self.items += 1
        self.total_bytes += size_bytes
        if size_bytes > self.largest_bytes:
            self.largest_bytes, self.largest_key = size_bytes, key


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a run ended; `note` is what was not as it should be, and did not matter."""

    counts: Counts
    seconds: float
    sizes: Sizes
    traffic: Traffic
    resumed: bool = False
    note: str = ""


@dataclass(slots=True)
class _Batch:
    """A page's rows on their way."""

    writes: list[Write] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


class Migration:
    """One run over one table."""

    def __init__(self, reader: Reader, table: Table, options: Options, checkpoint: Checkpoint, watch: Watcher) -> None:
        mapping = options.mapping.mapping
        self._reader = reader
        self._table = table
        self._options = options
        self._checkpoint = checkpoint
        self._watch = watch
        self._keys = Keys(mapping, table.key)
        self._converter = Converter(mapping, tuple(table.key))
        way = choose_way(options.way, table.endpoint_url, table.name)
        self._writer = Writer(table, mapping, options.in_flight, inserting=way is Way.INSERT)
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._began_s = self._clock()
        self.sizes = Sizes()

    def __repr__(self) -> str:
        return f"<Migration {self._options.identity!r}: {self._checkpoint.counts}>"

    @property
    def seconds(self) -> float:
        """How long this run has taken."""
        return self._clock() - self._began_s

    async def run(self) -> Outlook:
        """Copy what is left. Raises MigrationFailed; what was done until then stays done."""
        if not self._checkpoint.planned:
            self._checkpoint.set_ranges(await self._reader.plan(self._options.parallel))
        self._watch.begin(self._reader.estimated_rows, self._checkpoint.counts)
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in self._checkpoint.ranges():
                    tasks.create_task(self._copy(part))
        except* MigrationFailed as group:
            raise first_failure(group) from None
        self._checkpoint.finish(self.seconds)
        return self.outlook()

    def outlook(self) -> Outlook:
        """Where it stands."""
        checkpoint = self._checkpoint
        seconds = checkpoint.seconds_before + self.seconds
        given_up = self._writer.inserts_given_up
        note = f"items were put one by one, for they can't be inserted in batches: {given_up}" if given_up else ""
        return Outlook(checkpoint.counts, seconds, self.sizes, self._table.traffic, checkpoint.resumed, note)

    async def _copy(self, part: Range) -> None:
        begun = await self._look_after(self._checkpoint.in_flight(part.number))
        async for rows in self._reader.pages(part):
            batch = self._convert(rows, begun)
            counts = Counts(read=len(rows), rejected=len(batch.rejects))
            counts.write_units = sum(write_units(write.converted.size_bytes) for write in batch.writes)
            if not self._options.dry_run:
                await self._write(part, batch, counts)
            page = Page(part.number, [row.key for row in rows], counts, batch.rejects)
            self._checkpoint.finish_page(page, self.seconds)
            self._watch.page(self._checkpoint.counts, self._table.traffic)
            await asyncio.sleep(0)  # a dry run has no other place where the ranges take turns
        self._checkpoint.finish_range(part.number)

    def _convert(self, rows: Sequence[Row], begun: Mapping[Key, Any]) -> _Batch:
        batch = _Batch()
        for row in rows:
            made = convert_row(self._converter, row)
            if isinstance(made, Reject):
                batch.rejects.append(made)
                continue
            self.sizes.add(row.key, made.size_bytes)
            again = row.key in begun and begun[row.key] == made.version
            batch.writes.append(Write(row.key, made, again))
        return batch

    async def _write(self, part: Range, batch: _Batch, counts: Counts) -> None:
        keys = self._table.key_of
        begin = [InFlight(each.key, keys(each.converted.item), each.converted.version) for each in batch.writes]
        self._checkpoint.begin_page(part.number, begin)
        results = await self._writer.write_all(batch.writes)
        batch.rejects += [
            Reject(each.write.key, None, f"DynamoDB refuses it: {each.reason}")
            for each in results
            if each.outcome is Outcome.REFUSED
        ]
        written = [each for each in results if each.outcome is Outcome.WRITTEN]
        outdated = await self._remove_deleted(written)
        counts.written = len(written) - outdated
        counts.skipped_newer = len(results) - counts.written - sum(each.outcome is Outcome.REFUSED for each in results)
        counts.rejected = len(batch.rejects)

    async def _remove_deleted(self, written: Sequence[Written]) -> int:
        """Take back what was written of rows that have been deleted since they were read; how many."""
        if not written:
            return 0
        there = await self._reader.present([each.write.key for each in written])
        gone = [each.write for each in written if each.write.key not in there]
        for write in gone:
            await self._writer.remove(self._table.key_of(write.converted.item), write.converted.version)
        return len(gone)

    async def _look_after(self, begun: Sequence[InFlight]) -> dict[Key, Any]:
        """What a killed run may have written: remove what has no row any more; the versions of the rest."""
        if not begun:
            return {}
        there = await self._reader.present([each.key for each in begun])
        gone = [each for each in begun if each.key not in there]
        for each in gone:
            await self._writer.remove(each.item_key, each.version)
        self._checkpoint.forget([each.key for each in gone])
        return {each.key: each.version for each in begun}


def convert_row(converter: Converter, row: Row) -> Converted | Reject:
    """The item of a row, or why there is none."""
    if row.undecodable is not None:
        return Reject(row.key, None, row.undecodable)
    try:
        return converter.convert(row.values)
    except RowRejected as exc:
        return Reject(row.key, exc.attribute, exc.reason)


def first_failure(group: BaseExceptionGroup[MigrationFailed]) -> MigrationFailed:
    """The one to tell of: when a server is away, every range finds out."""
    error = group.exceptions[0]
    return error if isinstance(error, MigrationFailed) else first_failure(error)


async def open_both(options: Options, stack: AsyncExitStack) -> tuple[Reader, Table]:
    """Connect to both sides and compare the mapping with each. Raises ConfigError and MigrationFailed."""
    loop = asyncio.get_running_loop()
    pace = Pace(options.max_wcu, loop.time)
    reader = await stack.enter_async_context(
        open_reader(
            options.source,
            options.mapping,
            shard=options.shard,
            connections=options.parallel * 2,
            patience_s=options.patience_s,
        )
    )
    table = await stack.enter_async_context(open_table(options.target, options.patience_s, pace))
    options.mapping.refuse(find_key_faults(options.mapping.mapping, table.key))
    return reader, table


async def run_migration(options: Options, watch: Watcher, keep_rejects: Callable[[Checkpoint], None]) -> Outlook:
    """Migrate. `keep_rejects` is called at the end, however it comes. Raises ConfigError and MigrationFailed."""
    async with AsyncExitStack() as stack:
        reader, table = await open_both(options, stack)
        path = None if options.dry_run else options.checkpoint
        checkpoint = stack.enter_context(Checkpoint(path, options.identity))
        stack.callback(keep_rejects, checkpoint)
        return await Migration(reader, table, options, checkpoint, watch).run()
