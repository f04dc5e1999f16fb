"""`python -m bench.migration`: how fast `cutover migrate` and `verify` are, beside what they are made of.

The floors are measured in the same run, in turns with what is measured: reading with COPY to nowhere, and writing
items that are ready with bare aiobotocore: one conditional PutItem each, and plain batches of 25, which overwrite newer
items, so that no migration beside dual-write can use them; those both with aiobotocore as it comes and without its
validation of parameters. Once against moto, once against `bench.dynamodb_stub`, where the server costs little and the
client's own processor time shows; only there are batches of INSERT safe, and measured.

`--memory` migrates 10,000 and 1,000,000 generated rows to the stub and compares the peaks of resident memory.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from proxy.cli.main import main as cutover
from proxy.demo.dynamodb_server import start_dynamodb
from proxy.demo.dynamodb_store import BATCH_ITEMS, create_table, open_client, to_item
from proxy.demo.model import Image
from proxy.demo.postgres_server import postgres_home, start_postgres
from proxy.demo.postgres_store import create_schema, load_images
from proxy.demo.processes import Launch, free_port, start_child, wait_listening
from proxy.demo.seed import make_seed

ROOT = Path(__file__).parents[1]
MAPPING = ROOT / "config" / "migration.yaml"
AT_ONCE = 64
READ, PUTS, BATCHES = "read: COPY to nowhere", "write: bare conditional PutItem", "write: bare BatchWriteItem"
UNCHECKED = "write: the same, not validated"
MIGRATE, INSERT = "cutover migrate --writes put", "cutover migrate --writes insert"
AGAIN, VERIFY = ", nothing to do", "cutover verify"
BARE = AioConfig(max_pool_connections=AT_ONCE, retries={"total_max_attempts": 1})
BARE_UNCHECKED = BARE.merge(AioConfig(parameter_validation=False))
GENERATE = """
INSERT INTO images SELECT 'img-' || lpad(n::text, 9, '0'), 'user-' || n % 997, 'Castle: Lighthouse on a Shore ' || n,
  repeat('The base is four plates deep so that the pipes fit under it. ', 3), 'https://images.example.com/' || n,
  'https://images.example.com/t/' || n, ARRAY['moc', 'castle'], 'album-' || n % 400, 4032, 3024, 1000000 + n,
  '2026-01-01 00:00:00Z'::timestamptz + n * interval '1 s', '2026-02-01 00:00:00Z'::timestamptz + n * interval '1 s'
FROM generate_series(1, $1) n
"""


class Servers:
    """PostgreSQL with a gallery, and a place for tables."""

    def __init__(self, url: str, work: Path, stack: AsyncExitStack) -> None:
        self.url, self.work, self.stack = url, work, stack
        self.tables = 0

    async def fill(self, images: tuple[Image, ...] | int) -> None:
        connection = await asyncpg.connect(self.url)
        await connection.execute("DROP TABLE IF EXISTS images")
        await create_schema(connection, "public")
        if isinstance(images, int):
            await connection.execute(GENERATE, images, timeout=600)
            await connection.execute("ANALYZE images")
        else:
            await load_images(connection, images)
        await connection.close()

    async def moto(self) -> str:
        port = free_port()
        await start_dynamodb(port, self.work, self.stack)
        return f"http://127.0.0.1:{port}"

    async def stub(self) -> str:
        port = free_port()
        argv = [sys.executable, "-m", "bench.dynamodb_stub", str(port)]
        child = start_child(Launch("stub", argv, ROOT, self.work / "stub.log"))
        self.stack.push_async_callback(child.stop, 1.0)
        await wait_listening(child, port)
        return f"http://127.0.0.1:{port}"

    async def table(self, endpoint: str, *, is_stub: bool) -> str:
        self.tables += 1
        name = f"images{self.tables}"
        if not is_stub:  # the stub has one table, whatever it is called
            async with open_client(endpoint) as client:
                await create_table(client, name)
        return name


async def command(servers: Servers, name: str, table: str, endpoint: str, *more: str) -> dict[str, Any]:
    """Run `cutover migrate` or `verify`; its summary, and the peak of its memory."""
    target = f"dynamodb://{table}?region=us-east-1&endpoint={endpoint}"
    argv = [name, "--from", servers.url, "--to", target, "--mapping", str(MAPPING), "--json", *more]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.migration",
        "--measured",
        *argv,
        cwd=servers.work,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    lines = (await process.communicate())[0].splitlines()
    return {**json.loads(lines[0]), **json.loads(lines[1])}


def measured(argv: list[str]) -> int:
    """The command in this process, and then what memory it took."""
    from proxy.migration import migrate, progress, verify  # noqa: F401, PLC0415 - loaded before it is measured

    began_s = time.process_time()
    status = cutover(argv)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mib": peak_mib, "cpu_s": time.process_time() - began_s}))
    return status


async def copy_to_nowhere(url: str) -> float:
    """Seconds to read the table in the fastest way there is."""
    connection = await asyncpg.connect(url)

    async def nowhere(_data: bytes) -> None:
        pass

    began_s = asyncio.get_running_loop().time()
    await connection.copy_from_table("images", output=nowhere, format="binary")
    took_s = asyncio.get_running_loop().time() - began_s
    await connection.close()
    return took_s


async def write_bare(items: list[dict[str, Any]], table: str, endpoint: str, how: str) -> tuple[float, float]:
    """Seconds, by the clock and of the processor, to write items that are ready with aiobotocore and nothing else."""
    config = BARE_UNCHECKED if how == UNCHECKED else BARE
    creating = get_session().create_client("dynamodb", region_name="us-east-1", endpoint_url=endpoint, config=config)
    async with creating as client:

        async def put(mine: Iterator[dict[str, Any]]) -> None:
            for item in mine:
                try:
                    await client.put_item(
                        TableName=table,
                        Item=item,
                        ConditionExpression="attribute_not_exists(#k) OR #v < :v",
                        ExpressionAttributeNames={"#k": "id", "#v": "updatedAt"},
                        ExpressionAttributeValues={":v": item["updatedAt"]},
                    )
                except client.exceptions.ConditionalCheckFailedException:  # the stub has it already
                    raise SystemExit("the table was not empty") from None

        async def put_batch(mine: Iterator[list[dict[str, Any]]]) -> None:
            for batch in mine:
                request = {table: [{"PutRequest": {"Item": item}} for item in batch]}
                await client.batch_write_item(RequestItems=request)

        began_s, began_cpu_s = asyncio.get_running_loop().time(), time.process_time()
        if how != PUTS:
            parts = iter([items[at : at + BATCH_ITEMS] for at in range(0, len(items), BATCH_ITEMS)])
            await asyncio.gather(*(put_batch(parts) for _ in range(AT_ONCE)))
        else:
            every = iter(items)
            await asyncio.gather(*(put(every) for _ in range(AT_ONCE)))
        return asyncio.get_running_loop().time() - began_s, time.process_time() - began_cpu_s


def check(is_right: bool, result: dict[str, Any]) -> None:  # noqa: FBT001 - as an assertion
    """A figure counts only if what it measures was right."""
    if not is_right:
        raise SystemExit(f"not what was expected: {result}")


async def compare(servers: Servers, images: tuple[Image, ...], *, rounds: int, is_stub: bool) -> None:
    """One table of rates: what is measured and its floors, in turns."""
    items = [to_item(image) for image in images]
    await servers.fill(images)
    seconds: dict[str, list[tuple[float, float]]] = {}

    def note(what: str, took_s: float, cpu_s: float) -> None:
        seconds.setdefault(what, []).append((took_s, cpu_s))

    for _ in range(rounds):
        began_cpu_s = time.process_time()
        took_s = await copy_to_nowhere(servers.url)
        note(READ, took_s, time.process_time() - began_cpu_s)
        for how in (PUTS, BATCHES, UNCHECKED):
            # fresh servers, so that no run pays for what another has left
            endpoint = await (servers.stub() if is_stub else servers.moto())
            table = await servers.table(endpoint, is_stub=is_stub)
            note(how, *await write_bare(items, table, endpoint, how))
        for what in (MIGRATE, INSERT) if is_stub else (MIGRATE,):
            endpoint = await (servers.stub() if is_stub else servers.moto())
            table = await servers.table(endpoint, is_stub=is_stub)
            way = what.split()[-2:]
            result = await command(servers, "migrate", table, endpoint, *way)
            check(result["written"] == len(images), result)
            note(what, result["seconds"], result["cpu_s"])
            again = await command(servers, "migrate", table, endpoint, *way)
            check(again["skipped_newer"] == len(images), again)
            note(what + AGAIN, again["seconds"], again["cpu_s"])
        proof = await command(servers, "verify", table, endpoint)
        check(proof["compared"] == len(images) and not proof["differences"], proof)
        note(VERIFY, proof["seconds"], proof["cpu_s"])
    print(f"\n{len(images):,} rows, {'stub' if is_stub else 'moto'}, medians of {rounds}")
    print(f"  {'':<47} {'rows/s':>9} {'rows per CPU second':>20}   seconds")
    rates = {}
    for what, taken in seconds.items():
        rates[what] = [len(images) / median(column) for column in zip(*taken, strict=True)]
        shown = ", ".join(f"{took_s:.2f}" for took_s, _ in taken)
        print(f"  {what:<47} {rates[what][0]:>9,.0f} {rates[what][1]:>20,.0f}   {shown}")
    pairs = [(MIGRATE, PUTS), (MIGRATE, BATCHES), (INSERT, BATCHES), (INSERT, UNCHECKED), (INSERT, READ)]
    for what, floor in [*pairs, (VERIFY, MIGRATE), (VERIFY, INSERT)]:
        if what not in rates or floor not in rates:
            continue
        by_time, by_cpu = (mine / its for mine, its in zip(rates[what], rates[floor], strict=True))
        print(f"  {what} / {floor}: {by_time:.2f} by the clock, {by_cpu:.2f} by processor time", flush=True)


async def memory(servers: Servers, sizes: list[int], *, dry: bool, way: str) -> None:
    """The peaks of memory over the number of rows."""
    for size in sizes:
        await servers.fill(size)
        endpoint = await servers.stub()
        results = []
        if dry:
            read = await command(servers, "migrate", "images", endpoint, "--dry-run")
            results = [("dry run", read, read["read"])]
        else:
            migrated = await command(servers, "migrate", "images", endpoint, "--writes", way)
            proof = await command(servers, "verify", "images", endpoint)
            results += [("migrate", migrated, migrated["written"]), ("verify", proof, proof["compared"])]
        for name, result, count in results:
            print(
                f"{name:<8} {count:>10,} rows  {result['seconds']:>8.1f} s  {count / result['seconds']:>7,.0f} rows/s"
                f"  peak {result['peak_mib']:.0f} MiB  processor {result['cpu_s']:.1f} s",
                flush=True,
            )
        print(f"         {results[0][1]['write_units']:,} write units", flush=True)


async def main(options: argparse.Namespace) -> None:
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "bench")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "bench")
    with tempfile.TemporaryDirectory() as work, postgres_home() as home:
        async with AsyncExitStack() as stack:
            await start_postgres(home, Path(work) / "postgres.log", stack)
            servers = Servers(home.url, Path(work), stack)
            if options.memory:
                await memory(servers, options.memory, dry=options.dry_run, way=options.writes)
                return
            for server, rows in (("moto", options.rows), ("stub", options.rows * 5)):
                if options.against in (server, "both"):
                    images = make_seed(300, rows, 5).images
                    await compare(servers, images, rounds=options.rounds, is_stub=server == "stub")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measured"]:
        sys.exit(measured(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench.migration")
    parser.add_argument("--rows", type=int, default=2000, help="against moto; five times as many against the stub")
    parser.add_argument("--dry-run", action="store_true", help="with --memory: only read and convert")
    parser.add_argument("--writes", choices=("insert", "put"), default="insert", help="with --memory: the way to write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", choices=("moto", "stub", "both"), default="both")
    parser.add_argument("--memory", type=int, nargs="*", metavar="ROWS", help="such as 10000 1000000")
    uvloop.run(main(parser.parse_args()))
