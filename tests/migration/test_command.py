"""What a person sees: one clear message for each mistake, the exit status, the summary, and files nobody else reads."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from proxy.cli import migration_arguments
from proxy.cli.main import build_parser, main
from proxy.demo.processes import free_port
from tests.migration.world import SERVERS, SMALL, SMALL_TABLE, STUB, STUB_TABLE, lines_of

pytestmark = SERVERS

MIGRATE_KEYS = ["read", "written", "skipped_newer", "rejected", "seconds", "write_units"]
VERIFY_KEYS = ["compared", "missing", "extra", "different", "seconds", "differences"]


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run a command in this process, in a directory of its own; status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    async def run(*argv):
        try:
            status = await asyncio.to_thread(main, [str(each) for each in argv])
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


def addresses(world, mapping):
    return ["--from", world.source, "--to", world.target, "--mapping", world.mapping(mapping)]


async def test_the_summaries_have_exactly_the_contracts_keys(stub_world, run, tmp_path):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things VALUES ('1', 'x', now()), ('2', 'x', 'infinity')")
    where = addresses(world, STUB)
    status, out, _ = await run("migrate", *where, "--json")
    summary = json.loads(out)
    assert list(summary) == MIGRATE_KEYS
    assert (status, summary["read"], summary["written"], summary["rejected"]) == (1, 2, 1, 1)
    status, out, _ = await run(
        "verify", *where, "--json", "--delay", "10ms", "--repair", "r.jsonl", "--report", "v.json"
    )
    result = json.loads(out)
    assert list(result) == VERIFY_KEYS
    assert (status, result["compared"], result["missing"]) == (1, 2, 1)
    assert [list(each) for each in result["differences"]] == [["id", "field", "legacy", "target"]]
    assert json.loads((tmp_path / "v.json").read_text()) == result
    assert lines_of(tmp_path / "r.jsonl") == [{"key": ["2"], "why": "missing", "fields": ["updatedAt"]}]
    private = ["r.jsonl", "v.json", f"{world.table}.rejects.jsonl", f"{world.table}.checkpoint"]
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in private] == [0o600] * 4
    await world.sql.execute("UPDATE things SET updated_at = now() WHERE id = '2'")
    status, out, _ = await run("migrate", *where, "--json", "--only", f"{world.table}.rejects.jsonl")
    assert (status, json.loads(out)["written"]) == (0, 1)
    assert not (tmp_path / f"{world.table}.rejects.jsonl").exists()
    assert (await run("verify", *where, "--json"))[0] == 0
    await world.sql.execute("UPDATE things SET updated_at = 'infinity' WHERE id = '1'")
    await run("migrate", *where)
    whole = (tmp_path / f"{world.table}.rejects.jsonl").read_text()
    (tmp_path / "some").write_text("2\n")
    assert (await run("migrate", *where, "--only", "some"))[0] == 0
    assert (tmp_path / f"{world.table}.rejects.jsonl").read_text() == whole  # another list says nothing about that row


async def test_a_dry_run_writes_nothing_and_says_what_it_will_take(stub_world, run, tmp_path):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, repeat('x', 3000), now() FROM generate_series(1, 50) n")
    status, out, _ = await run("migrate", *addresses(world, STUB), "--dry-run", "--max-wcu", 100)
    assert (status, world.memory.items) == (0, {})
    assert "1.5 s   at 100 units/s" in out
    assert "write units             150" in out
    assert not (tmp_path / f"{world.table}.checkpoint").exists()


async def test_a_secret_of_the_address_comes_from_a_placeholder_and_is_never_shown(stub_world, run, monkeypatch):
    world = stub_world
    await world.create(STUB_TABLE)
    monkeypatch.setenv("DATABASE", world.source.replace("postgres@", "postgres:hunter2@"))
    where = ["--to", world.target, "--mapping", world.mapping(STUB)]
    assert (await run("migrate", "--from", "${env:DATABASE}", *where))[0] == 0
    monkeypatch.setenv("DATABASE", "postgresql://user:hunter2@127.0.0.1:1/x")
    status, out, err = await run("migrate", "--from", "${env:DATABASE}", *where)
    assert status == 1
    assert "127.0.0.1:1/x can't be reached" in err
    monkeypatch.setenv("DATABASE", "mysql://user:hunter2@127.0.0.1:1/x")
    status, out, more = await run("migrate", "--from", "${env:DATABASE}", *where)
    assert status == 2
    assert "hunter2" not in out + err + more


async def test_each_mistake_gets_one_message(stub_world, run):
    world = stub_world
    await world.create(STUB_TABLE)
    where = addresses(world, STUB)
    cases = [
        (["--shard", "3/3"], 2, "expected i/n"),
        (["--max-wcu", "0"], 2, "whole number"),
        (["--checkpoint", "/nowhere/x"], 2, "can't write /nowhere/x"),
        (["--checkpoint", "."], 2, "can't write ."),
        (["--rejects", "/nowhere/x"], 2, "can't write /nowhere/x"),
        (["--only", "absent"], 2, "can't read absent"),
        (["--mapping", "absent"], 2, "absent: no such file"),
        (["--to", "dynamodb://x"], 2, "expected the name of a table"),
        (["--to", "dynamodb://images?regoin=x"], 2, 'did you mean "region"?'),
        (["--to", "dynamodb://images?region=eu-west-1&endpoint=ftp://x"], 2, "endpoint: expected"),
        (["--from", "${env:NOT_SET_AT_ALL}"], 2, "NOT_SET_AT_ALL is not set"),
        (["--from", world.source.replace("/postgres?", "/nobody?")], 1, "no such database"),
    ]
    for arguments, status, words in cases:
        found, out, err = await run("migrate", *where, *arguments)
        assert (found, out) == (status, ""), (arguments, err)
        assert words in err, arguments
        assert "Traceback" not in err
        assert (status == 2 and "usage:" in err) or len(err.strip().splitlines()) == 1, err


async def test_a_table_that_is_not_there_is_said(world, run):
    await world.create(SMALL_TABLE, kind="N")
    world.target = world.target.replace(world.table, "absent")
    status, _, err = await run("migrate", *addresses(world, SMALL))
    assert status == 1
    assert err.startswith("cutover migrate: there is no DynamoDB table dynamodb://absent")
    assert len(err.splitlines()) == 1


async def test_wrong_credentials_are_said(stub_world, run):
    world = stub_world
    await world.create(STUB_TABLE)

    async def refuse(_request):
        code = "com.amazon.coral.service#UnrecognizedClientException"
        return web.json_response({"__type": code, "message": "The security token is invalid."}, status=400)

    app = web.Application()
    app.router.add_post("/", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    world.target = f"dynamodb://images?region=us-east-1&endpoint=http://127.0.0.1:{port}"
    status, _, err = await run("verify", *addresses(world, STUB))
    await runner.cleanup()
    assert status == 1
    assert "refuses these credentials (UnrecognizedClientException)" in err
    assert len(err.splitlines()) == 1


async def test_without_the_extra_one_message_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(migration_arguments, "find_spec", lambda name: None if name == "asyncpg" else sys)
    for command in (["migrate", "--from", "x", "--to", "x"], ["verify"]):
        status, _, err = await run(*command)
        assert (status, err) == (
            2,
            f"cutover {command[0]}: needs the extra: pip install 'cutover[migration]' (missing: asyncpg)\n",
        )


async def test_a_list_with_a_fault_is_refused_before_anything_is_written(stub_world, run, tmp_path):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things VALUES ('1', 'x', now())")
    for line in ('{"key": [1, 2]}', '{"kee": ["1"]}', "[true]", '{"key": ["a\\u0000"]}', '{"key": ["\\ud800"]}'):
        (tmp_path / "list").write_text(f'"1"\n{line}\n')
        status, _, err = await run("migrate", *addresses(world, STUB), "--only", "list")
        assert status == 2
        assert err.startswith("list:2: expected an object")
    assert world.memory.items == {}


async def test_metrics_are_served_while_it_runs(stub_world, run):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 150) n")
    port = free_port()
    running = asyncio.ensure_future(
        run("migrate", *addresses(world, STUB), "--parallel", 1, "--max-wcu", 100, "--metrics", port)
    )
    seen = ""
    while not running.done() and 'cutover_migration_rows_total{result="written"} 64.0' not in seen:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        seen = (await reader.read()).decode()
        writer.close()
        await asyncio.sleep(0.02)
    assert (await running)[0] == 0
    assert 'cutover_migration_rows_total{result="read"}' in seen
    assert 'cutover_migration_rows_total{result="written"} 64.0' in seen


async def test_the_kubernetes_job_gives_arguments_that_are_understood():
    path = Path(__file__).parents[2] / "deploy" / "kubernetes" / "migration-job.yaml"
    job = next(document for document in yaml.safe_load_all(path.read_text()) if document["kind"] == "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    for index in range(job["spec"]["completions"]):
        arguments = [each.replace("$(JOB_COMPLETION_INDEX)", str(index)) for each in container["args"]]
        args = build_parser().parse_args(arguments)
        assert str(args.shard) == f"{index}/{job['spec']['completions']}"
        assert args.source == "${env:MIGRATION_FROM}"
        assert args.metrics == ("0.0.0.0", 9400)
