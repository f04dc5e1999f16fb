"""Both ways, against the real servers: what is the same is the same, and nothing else is."""

import asyncio
import json

import pytest

from tests.migration.test_migrate import EVERYTHING, EVERYTHING_TABLE
from tests.migration.world import SERVERS, SMALL, SMALL_TABLE, STUB, STUB_TABLE, verified

pytestmark = SERVERS


async def test_what_was_migrated_is_verified_without_a_mismatch_whatever_its_types(world):
    await world.create(EVERYTHING_TABLE)
    await world.migrate(EVERYTHING)
    findings = await verified(world, EVERYTHING)
    assert (findings.compared, findings.mismatches) == (1, 0)


async def test_the_same_in_another_spelling_is_the_same(world):
    await world.create(EVERYTHING_TABLE)
    await world.migrate(EVERYTHING)
    (item,) = await world.items()
    item |= {
        "written": {"N": "7.50"},
        "updatedAt": {"S": "2026-03-01T13:00:00.123999+01:00"},
        "set": {"SS": ["b", "a"]},
    }
    await world.put(item)
    assert (await verified(world, EVERYTHING)).mismatches == 0


async def break_things(world):
    await world.create(SMALL_TABLE, kind="N")
    await world.sql.execute(
        "INSERT INTO things SELECT n, 'Caf' || chr(233), '2026-01-01 00:00:00Z' FROM generate_series(1, 60) n"
    )
    await world.migrate(SMALL)
    await world.client.delete_item(TableName=world.table, Key={"id": {"N": "7"}})
    at = {"S": "2026-01-01T00:00:00.000000Z"}
    await world.put({"id": {"N": "8"}, "body": {"S": "Cafe\u0301"}, "updatedAt": at})
    await world.put({"id": {"N": "9"}, "body": {"NULL": True}, "updatedAt": at, "more": {"S": "x"}})
    await world.put({"id": {"N": "1000"}, "body": {"S": "x"}, "updatedAt": at})


async def test_missing_extra_and_different_are_found_and_the_list_repairs_them(world, tmp_path):
    await break_things(world)
    findings = await verified(world, SMALL)
    assert (findings.compared, *findings.counts.values()) == (61, 1, 1, 2)
    assert findings.found == [
        {"id": "1000", "field": None, "legacy": "absent", "target": "present"},
        {"id": "7", "field": None, "legacy": "present", "target": "absent"},
        {"id": "8", "field": "body", "legacy": "Caf\\xe9", "target": "Cafe\\u0301"},
        {"id": "9", "field": "body", "legacy": {"S": "Café"}, "target": {"NULL": True}},
        {"id": "9", "field": "more", "legacy": None, "target": "x"},
    ]
    repair = tmp_path / "repair.jsonl"
    repair.write_text("".join(json.dumps(line) + "\n" for line in findings.list))
    outlook, rejects = await world.run(world.options(SMALL), only=repair)
    assert (outlook.counts.read, outlook.counts.written, rejects) == (4, 4, [])
    assert (await verified(world, SMALL)).mismatches == 0


async def test_a_repair_does_not_overwrite_a_newer_item_nor_delete_one_that_is_not_listed_as_extra(world, tmp_path):
    await break_things(world)
    newer = {"id": {"N": "8"}, "body": {"S": "newer"}, "updatedAt": {"S": "2027-01-01T00:00:00.000000Z"}}
    await world.put(newer)
    repair = tmp_path / "repair.jsonl"
    repair.write_text('{"key": ["8"], "why": "different"}\n{"key": ["1000"], "why": "different"}\n7\n{"key": null}\n')
    outlook, _ = await world.run(world.options(SMALL), only=repair)
    items = {item["id"]["N"]: item for item in await world.items()}
    assert items["8"] == newer
    assert "1000" in items
    assert items["7"]["body"] == {"S": "Café"}
    assert (outlook.counts.written, outlook.counts.skipped_newer) == (1, 2)


async def test_ignored_attributes_are_not_compared(world):
    await break_things(world)
    findings = await verified(world, SMALL, ignore=("body", "more"))
    assert (findings.counts["different"], findings.counts["missing"]) == (0, 1)


async def test_a_sample_compares_so_many(stub_world):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 300) n")
    await world.migrate(STUB)
    assert (await verified(world, STUB, sample=50)).compared == 50
    world.memory.items.clear()
    findings = await verified(world, STUB, sample=50)
    assert findings.counts["missing"] == 50


@pytest.mark.parametrize("direction", ["item late", "row late"])
async def test_a_write_on_its_way_is_no_mismatch(stub_world, direction):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 30) n")
    await world.migrate(STUB)
    item = world.memory.items.pop("5")
    if direction == "row late":
        await world.sql.execute("DELETE FROM things WHERE id = '5'")
        world.memory.items["5"] = item
        world.memory.written += 1

    async def settle():
        await asyncio.sleep(0.4)
        if direction == "row late":
            del world.memory.items["5"]
        else:
            world.memory.items["5"] = item

    settling = asyncio.ensure_future(settle())
    findings = await verified(world, STUB, delay_s=1.0)
    await settling
    assert findings.mismatches == 0


async def test_a_flood_of_differences_is_counted_to_the_last(stub_world):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 3000) n")
    findings = await verified(world, STUB, delay_s=0.01)
    assert (findings.compared, findings.counts["missing"], len(findings.found)) == (3000, 3000, 3000)


async def test_a_row_that_can_not_be_converted_is_named_as_such(stub_world):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things VALUES ('1', 'x', 'infinity')")
    findings = await verified(world, STUB)
    assert findings.found == [
        {"id": "1", "field": "updatedAt", "legacy": "can't be converted: is infinite", "target": None}
    ]
