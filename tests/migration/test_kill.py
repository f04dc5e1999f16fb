"""kill -9 at any moment, and again: nothing is lost, nothing is counted twice, and what was deleted stays deleted."""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

from tests.migration.world import SERVERS, STUB, STUB_TABLE, lines_of

pytestmark = SERVERS

ROWS = 500
BAD = 30


async def until(condition):
    """Wait for something that happens in another process, which has no event for this one."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


async def start(world, directory, *more):
    argv = [
        "--from",
        world.source,
        "--to",
        world.target,
        "--mapping",
        str(world.mapping(STUB)),
        "--json",
        "--writes",
        world.way,
        *more,
    ]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "proxy",
        "migrate",
        *argv,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
    )


async def test_a_killed_migration_goes_on_where_it_was_and_counts_each_row_once(stub_world, tmp_path, way):
    world, draw = stub_world, random.Random(1)
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute(
        "INSERT INTO things SELECT lpad(n::text, 6, '0'), 'x', CASE WHEN n <= $2 THEN 'infinity' ELSE now() END"
        " FROM generate_series(1, $1) n",
        ROWS,
        BAD,
    )
    killed, last = 0, 0
    for _ in range(40):
        process = await start(world, tmp_path, "--in-flight", "8")
        # a moment is a number of requests: the machine may be slow, and the process takes a while to start
        target = last + draw.randrange(1, 160)
        await until(lambda: process.returncode is not None or world.memory.written >= target)  # noqa: B023
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        output = (await process.communicate())[0]
        last = world.memory.written
        if process.returncode != -signal.SIGKILL:
            break
    assert killed >= 3
    assert process.returncode == 1  # some were rejected
    summary = json.loads(output)
    assert (summary["read"], summary["written"], summary["rejected"]) == (ROWS, ROWS - BAD, BAD)
    assert summary["skipped_newer"] == 0
    assert len(world.memory.items) == ROWS - BAD
    rejects = lines_of(tmp_path / f"{world.table}.rejects.jsonl")
    assert sorted(line["key"][0] for line in rejects) == [f"{n:06}" for n in range(1, BAD + 1)]
    for name in (f"{world.table}.rejects.jsonl", f"{world.table}.checkpoint"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


async def test_a_row_deleted_while_the_migration_was_dead_does_not_stay_as_an_item(stub_world, tmp_path, way):
    world = stub_world
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 60) n")
    process = await start(world, tmp_path, "--in-flight", "4")
    await until(lambda: len(world.memory.items) >= 20)
    os.kill(process.pid, signal.SIGKILL)
    await process.communicate()
    victim = next(iter(world.memory.items))  # in no page that is done, and deleted before its dual-write could see it
    await world.sql.execute("DELETE FROM things WHERE id = $1", victim)
    process = await start(world, tmp_path)
    await process.communicate()
    assert process.returncode == 0
    assert victim not in world.memory.items
    assert len(world.memory.items) == 59


async def test_sigterm_ends_it_in_order_and_says_how_to_go_on(stub_world, tmp_path):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 500) n")
    process = await start(world, tmp_path, "--max-wcu", "50")
    await until(lambda: world.memory.items)
    other = await start(world, tmp_path)
    assert b"in use by another migration" in (await other.communicate())[1]
    assert other.returncode == 1
    process.send_signal(signal.SIGTERM)
    _, said = await process.communicate()
    assert process.returncode == 130
    assert said.decode().splitlines() == [
        "cutover migrate: stopped",
        f"run it again to go on: {world.table}.checkpoint knows how far it came",
    ]
    changed = await start(world, tmp_path, "--shard", "0/2", "--checkpoint", f"{world.table}.checkpoint")
    _, said = await changed.communicate()
    assert changed.returncode == 2
    assert b"belongs to an unfinished migration" in said
