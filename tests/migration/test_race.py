"""While dual-write goes on: the newest write always wins, whatever the migration does in between."""

import asyncio
import random

import asyncpg
import pytest

from proxy.migration.writer import Writer
from tests.migration.world import SERVERS, STUB, STUB_TABLE, verified

pytestmark = SERVERS

ROWS = 120


class DualWriter:
    """Writes to PostgreSQL first, then, a little later and in order for each row, to the table."""

    def __init__(self, connection, memory, draw):
        self.connection, self.memory, self.draw = connection, memory, draw
        self.late = {}
        self.done = 0

    async def write(self):
        key = str(self.draw.randrange(ROWS + 20))
        async with self.connection.transaction():
            row = await self.connection.fetchrow("SELECT updated_at FROM things WHERE id = $1 FOR UPDATE", key)
            if row is not None and self.draw.random() < 0.4:
                await self.connection.execute("DELETE FROM things WHERE id = $1", key)
                change = None
            else:
                at = await self.connection.fetchval(
                    "INSERT INTO things VALUES ($1, $2, clock_timestamp()) ON CONFLICT (id) DO UPDATE"
                    " SET body = $2, updated_at = clock_timestamp() RETURNING updated_at",
                    key,
                    f"dual {self.done}",
                )
                change = {
                    "id": {"S": key},
                    "body": {"S": f"dual {self.done}"},
                    "updatedAt": {"S": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")},
                }
        self.late.setdefault(key, []).append(change)
        self.done += 1
        if self.draw.random() < 0.7:
            self.deliver(self.draw.choice(list(self.late)))

    def deliver(self, key):
        for change in self.late.pop(key):
            if change is None:
                self.memory.items.pop(key, None)
            else:
                self.memory.items[key] = change
                self.memory.written += 1

    def deliver_all(self):
        for key in list(self.late):
            self.deliver(key)


@pytest.mark.parametrize("seed", range(4))
async def test_the_newest_write_wins_over_a_migration_on_the_same_rows(stub_world, seed, way, monkeypatch):
    world, draw = stub_world, random.Random(seed)
    await world.create(STUB_TABLE)
    await world.sql.execute(
        f"INSERT INTO things SELECT n::text, 'old', now() - interval '1 day' FROM generate_series(0, {ROWS - 1}) n"
    )
    connection = await asyncpg.connect(world.source, server_settings={"search_path": world.schema, "TimeZone": "UTC"})
    dual = DualWriter(connection, world.memory, draw)
    world.memory.faults = {"lost": 0.05, "error": 0.05}
    write_all = Writer.write_all

    async def with_writes_before_and_after(self, writes):
        async with lock:
            for _ in range(15):
                await dual.write()
        results = await write_all(self, writes)
        async with lock:
            for _ in range(15):
                await dual.write()
        return results

    lock = asyncio.Lock()
    monkeypatch.setattr(Writer, "write_all", with_writes_before_and_after)
    outlook, _ = await world.migrate(STUB, parallel=3, way=way)
    world.memory.faults = {}
    dual.deliver_all()
    rows = {row["id"]: row["body"] for row in await connection.fetch("SELECT id, body FROM things")}
    await connection.close()
    assert dual.done >= 30
    assert {key: item["body"]["S"] for key, item in world.memory.items.items()} == rows
    counts = outlook.counts
    assert counts.read == counts.written + counts.skipped_newer
    findings = await verified(world, STUB)
    assert (findings.mismatches, findings.compared) == (0, len(rows))
