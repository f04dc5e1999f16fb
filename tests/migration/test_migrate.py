"""The whole way, from the real PostgreSQL to the DynamoDB-compatible server: every type, hostile rows, newer items."""

import asyncio

import asyncpg
import pytest

from proxy.migration.errors import MigrationFailed
from proxy.migration.inserts import Way
from proxy.migration.queries import Shard
from proxy.migration.reader import Reader
from proxy.migration.writer import Writer
from proxy.settings.errors import ConfigError
from tests.migration.world import SERVERS, SMALL, SMALL_TABLE, STUB, STUB_TABLE

pytestmark = SERVERS

EVERYTHING = """
table: {schema}.everything
key: [id]
version: updatedAt
attributes:
  id: {{column: id, type: string}}
  updatedAt: {{column: at, type: timestamp}}
  text: {{column: t, type: string}}
  padded: {{column: c, type: string}}
  mood: {{column: m, type: string}}
  uuid: {{column: u, type: string}}
  net: {{column: i, type: string}}
  whole: {{column: b, type: number}}
  exact: {{column: n, type: number}}
  exactText: {{column: n, type: string}}
  real: {{column: f4, type: number}}
  double: {{column: f8, type: number}}
  written: {{column: nt, type: number}}
  flag: {{column: bo, type: boolean}}
  bytes: {{column: by, type: binary}}
  instant: {{column: at, type: timestamp, precision: us}}
  epoch: {{column: at, type: timestamp, format: epoch}}
  berlin: {{column: local, type: timestamp, zone: Europe/Berlin}}
  day: {{column: d, type: date}}
  doc: {{column: j, type: json}}
  docText: {{column: jt, type: json}}
  list: {{column: ta, type: list}}
  set: {{column: ta, type: set}}
  numbers: {{column: na, type: list, items: number}}
  numberSet: {{column: na, type: set, items: number}}
  instants: {{column: tsa, type: list, items: timestamp}}
  locals: {{column: la, type: list, items: timestamp}}
  flags: {{column: boa, type: list, items: boolean}}
  blobs: {{column: bya, type: set, items: binary}}
  moods: {{column: ma, type: list}}
  grid: {{column: grid, type: list, items: number}}
  left: {{column: nothing, type: string}}
  nulled: {{column: nothing, type: string, when_null: "null"}}
  blank: {{column: blank, type: string}}
  blankGone: {{column: blank, type: string, when_empty: omit}}
  emptySet: {{column: ea, type: set}}
  emptyList: {{column: ea, type: list}}
  kind: {{constant: image}}
  rank: {{template: "{{updatedAt}}#{{id}}"}}
"""
EVERYTHING_TABLE = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN label AS text;
CREATE TABLE everything (
  id label COLLATE "C" PRIMARY KEY, at timestamptz NOT NULL, t varchar(40), c char(5), m mood, u uuid, i inet, b bigint,
  n numeric, f4 real, f8 double precision, nt text, bo boolean, by bytea, local timestamp, d date, j jsonb, jt json,
  ta text[], na numeric[], tsa timestamptz[], la timestamp[], boa boolean[], bya bytea[], ma mood[], grid integer[][],
  nothing text, blank text, ea text[]
);
INSERT INTO everything VALUES (
  'a"b\\é👩🏽‍🚀', '2026-03-01 13:00:00.123456+01', 'Cafe' || chr(769), 'ab', 'sad',
  'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
  '10.0.0.1/8', -9223372036854775808, 12345678901234567890123456789012345.678, 0.1, 1e-130::float8, '007.50', true,
  '\\x00ff', '2026-07-01 12:00:00', '2026-02-28', '{"a": [1, 2.50, null, true, {"b": "x"}], "big": 1e40}',
  '{"n": 1.10, "s": "\\u0000"}', '{b,a,b}', '{1.0,1,2.5}', '{2026-01-01 00:00:00Z,NULL}', '{2026-01-01 00:00:00}',
  '{t,f}', ARRAY['\\x01'::bytea, '\\x01'::bytea], '{glad}', '{{1,2},{3,4}}', NULL, '', '{}'
);
"""


async def test_every_type_arrives_without_loss(either_world):
    world = either_world
    await world.create(EVERYTHING_TABLE)
    outlook, rejects = await world.migrate(EVERYTHING)
    assert rejects == []
    assert outlook.counts.written == 1
    (item,) = await world.items()
    numbers = item.pop("numberSet")["NS"]
    assert sorted(map(float, numbers)) == [1.0, 2.5]
    assert sorted(item.pop("set")["SS"]) == ["a", "b"]
    assert item == {
        "id": {"S": 'a"b\\é👩🏽\u200d🚀'},
        "updatedAt": {"S": "2026-03-01T12:00:00.123Z"},
        "text": {"S": "Cafe\u0301"},
        "padded": {"S": "ab   "},
        "mood": {"S": "sad"},
        "uuid": {"S": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
        "net": {"S": "10.0.0.1/8"},
        "whole": {"N": "-9223372036854775808"},
        "exact": {"N": "12345678901234567890123456789012345.678"},
        "exactText": {"S": "12345678901234567890123456789012345.678"},
        "real": {"N": "0.1"},
        "double": {"N": "1E-130"},
        "written": {"N": "7.5"},
        "flag": {"BOOL": True},
        "bytes": {"B": b"\x00\xff"},
        "instant": {"S": "2026-03-01T12:00:00.123456Z"},
        "epoch": {"N": "1772366400123"},
        "berlin": {"S": "2026-07-01T10:00:00.000Z"},
        "day": {"S": "2026-02-28"},
        "doc": {
            "M": {
                "a": {"L": [{"N": "1"}, {"N": "2.5"}, {"NULL": True}, {"BOOL": True}, {"M": {"b": {"S": "x"}}}]},
                "big": {"N": "1E+40"},
            }
        },
        "docText": {"M": {"n": {"N": "1.1"}, "s": {"S": "\0"}}},
        "list": {"L": [{"S": "b"}, {"S": "a"}, {"S": "b"}]},
        "numbers": {"L": [{"N": "1"}, {"N": "1"}, {"N": "2.5"}]},
        "instants": {"L": [{"S": "2026-01-01T00:00:00.000Z"}, {"NULL": True}]},
        "locals": {"L": [{"S": "2026-01-01T00:00:00.000Z"}]},
        "flags": {"L": [{"BOOL": True}, {"BOOL": False}]},
        "blobs": {"BS": [b"\x01"]},
        "moods": {"L": [{"S": "glad"}]},
        "grid": {"L": [{"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "3"}, {"N": "4"}]}]},
        "nulled": {"NULL": True},
        "blank": {"S": ""},
        "emptyList": {"L": []},
        "kind": {"S": "image"},
        "rank": {"S": '2026-03-01T12:00:00.123Z#a"b\\é👩🏽\u200d🚀'},
    }


HOSTILE = """
table: {schema}.hostile
key: [id]
version: null
attributes:
  id: {{column: id, type: string}}
  text: {{column: t, type: string}}
  number: {{column: n, type: number}}
  at: {{column: at, type: timestamp}}
  day: {{column: d, type: date}}
  doc: {{column: j, type: json}}
  set: {{column: ta, type: set}}
  must: {{column: must, type: string, when_null: reject}}
"""
HOSTILE_TABLE = """
CREATE TABLE hostile (id text PRIMARY KEY, t text, n numeric, at timestamptz, d date, j json, ta text[],
                      must text DEFAULT 'x');
INSERT INTO hostile (id, t) VALUES ('fits', repeat('x', 404900)), ('large', repeat('x', 409600)), ('', 'no key');
INSERT INTO hostile (id, n) VALUES ('nan', 'NaN'), ('infinite', '-Infinity'), ('long', repeat('1', 39)::numeric),
  ('vast', '1e126'), ('zeros', '100e100'), ('tiny', '1e-131');
INSERT INTO hostile (id, at) VALUES ('ever', 'infinity'), ('never', '-infinity'), ('bc', '0044-03-15 BC'),
  ('late', '10000-01-01');
INSERT INTO hostile (id, d) VALUES ('day bc', '0044-03-15 BC'), ('day ever', 'infinity');
INSERT INTO hostile (id, j) VALUES ('half', '{"a": "\\ud800"}'), ('twice', '{"a": 1, "a": 2}'), ('no name', '{"": 1}'),
  ('deep', (repeat('[', 40) || repeat(']', 40))::json), ('deeper', (repeat('[', 3000) || repeat(']', 3000))::json),
  ('plain', '"x"');
INSERT INTO hostile (id, ta) VALUES ('null in set', '{a,NULL}'), ('grid', '{{a},{b}}'), ('empty text', '{""}');
INSERT INTO hostile (id, must) VALUES ('null', NULL);
"""


async def test_what_can_not_be_converted_is_rejected_with_its_reason_and_the_rest_arrives(either_world):
    world = either_world
    await world.create(HOSTILE_TABLE)
    dry, foreseen = await world.migrate(HOSTILE, dry_run=True)
    outlook, rejects = await world.migrate(HOSTILE)
    reasons = {each.key[0]: (each.attribute, each.reason) for each in rejects}
    assert reasons == {each.key[0]: (each.attribute, each.reason) for each in foreseen}
    assert dry.counts.written == 0
    assert {each["id"]["S"] for each in await world.items()} == {"fits", "zeros", "plain", "empty text"}
    assert outlook.counts.rejected == len(reasons) == outlook.counts.read - outlook.counts.written
    expected = {
        "large": (None, "bytes"),
        "": ("id", "missing or empty"),
        "nan": ("number", "NaN"),
        "infinite": ("number", "infinite"),
        "long": ("number", "39 significant digits"),
        "vast": ("number", "beyond"),
        "tiny": ("number", "beyond"),
        "ever": ("at", "infinite"),
        "never": ("at", "infinite"),
        "bc": ("at", "years 1 to 9999"),
        "late": ("at", "years 1 to 9999"),
        "day bc": ("day", "years 1 to 9999"),
        "day ever": ("day", "infinite"),
        "half": ("doc", "half a Unicode character"),
        "twice": ("doc", "same key twice"),
        "no name": ("doc", "empty key"),
        "deep": ("doc", "deeper than 32"),
        "deeper": ("doc", "deeper than 32"),
        "null in set": ("set", "NULL"),
        "grid": ("set", "dimensions"),
        "null": ("must", "NULL"),
    }
    assert reasons.keys() == expected.keys()
    for key, (attribute, words) in expected.items():
        assert reasons[key][0] == attribute, key
        assert words in reasons[key][1], key


async def test_a_newer_item_is_never_overwritten_and_an_older_one_is(either_world):
    world = either_world
    await world.create(SMALL_TABLE, kind="N")
    await world.sql.execute(
        "INSERT INTO things SELECT n, 'row', '2026-01-01 00:00:00Z'::timestamptz + n * interval '1 us'"
        " FROM generate_series(0, 9) n"
    )
    same = "2026-01-01T00:00:00.000003Z"
    for key, at in ((1, "2026-01-01T00:00:00.000002Z"), (2, "2025-12-31T23:59:59.999999Z"), (3, same)):
        await world.put({"id": {"N": str(key)}, "body": {"S": "dual"}, "updatedAt": {"S": at}})
    await world.put({"id": {"N": "4"}, "body": {"S": "dual"}})
    outlook, _ = await world.migrate(SMALL)
    bodies = {int(item["id"]["N"]): item["body"]["S"] for item in await world.items()}
    assert [bodies[key] for key in range(6)] == ["row", "dual", "row", "dual", "dual", "row"]
    assert (outlook.counts.written, outlook.counts.skipped_newer) == (7, 3)
    again, _ = await world.migrate(SMALL)
    assert (again.counts.written, again.counts.skipped_newer) == (0, 10)


async def test_ranges_and_shards_together_are_every_row_once(stub_world, way):
    world = stub_world
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute(
        "INSERT INTO things SELECT md5(n::text), 'x', now() FROM generate_series(1, 900) n; ANALYZE things"
    )
    shards = [await world.migrate(STUB, shard=Shard(index, 3), parallel=5) for index in range(3)]
    assert sum(outlook.counts.read for outlook, _ in shards) == 900
    assert sum(outlook.counts.written for outlook, _ in shards) == 900
    assert len(world.memory.items) == 900
    assert min(outlook.counts.read for outlook, _ in shards) > 200


@pytest.mark.parametrize("fault", ["error", "cut", "lost"])
async def test_a_table_that_fails_every_third_request_gets_every_item_and_each_counts_once(stub_world, fault, way):
    world = stub_world
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 300) n")
    world.memory.faults = {fault: 0.33}
    outlook, rejects = await world.migrate(STUB)
    assert rejects == []
    assert len(world.memory.items) == 300
    assert (outlook.counts.written, outlook.counts.skipped_newer) == (300, 0)
    # a request that is cut off is one retry, whether it has one item or 25
    assert outlook.traffic.retries > (50 if way is Way.PUT or fault == "error" else 2)
    assert outlook.traffic.throttles == 0


async def test_a_table_that_throttles_is_written_to_at_the_rate_that_it_takes(stub_world, way):
    world = stub_world
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 1200) n")
    world.memory.faults = {"capacity": 400.0}
    outlook, rejects = await world.migrate(STUB)
    assert rejects == []
    assert outlook.counts.written == len(world.memory.items) == 1200
    assert outlook.traffic.throttles > 0
    # three seconds at 400 a second; without pacing, most requests would have been refused
    assert outlook.traffic.throttles < 1200


async def test_a_limit_of_write_units_is_kept(stub_world, way):
    world = stub_world
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute(
        "INSERT INTO things SELECT n::text, repeat('x', 1500), now() FROM generate_series(1, 400) n"
    )
    outlook, _ = await world.migrate(STUB, max_wcu=400.0)
    assert outlook.counts.write_units == 800
    assert outlook.seconds > 800 / 400 - 0.3


async def test_a_table_that_stays_away_ends_it_with_one_message(stub_world, way):
    world = stub_world
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 5) n")
    options = world.options(STUB, patience_s=0.3)
    world.memory.faults = {"error": 1.0}
    with pytest.raises(MigrationFailed, match="is away"):
        await world.run(options)


async def test_postgresql_connections_that_are_cut_are_made_again(stub_world):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 2500) n")
    cuts, begun = [], asyncio.Event()

    class Cutting:
        def begin(self, rows, before):
            pass

        def page(self, counts, traffic):
            cuts.append(counts.read)
            begun.set()

    async def cut():
        await world.sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cutover'"
        )

    watch = Cutting()
    running = asyncio.ensure_future(world.migrate(STUB, watch))
    await begun.wait()
    while not running.done():
        await cut()
        await asyncio.sleep(0.2)
    outlook, _ = await running
    assert outlook.counts.read == outlook.counts.written == 2500
    assert cuts[-1] == 2500


async def test_a_row_deleted_after_it_was_read_does_not_come_back(stub_world, monkeypatch, way):
    world = stub_world
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, 50) n")
    write_all = Writer.write_all

    async def delete_before(self, writes):
        # the deletion commits, and its dual-write finds nothing to delete, before the item is put
        await world.sql.execute("DELETE FROM things WHERE id = '7'")
        return await write_all(self, writes)

    monkeypatch.setattr(Writer, "write_all", delete_before)
    outlook, _ = await world.migrate(STUB, parallel=1)
    assert "7" not in world.memory.items
    assert len(world.memory.items) == 49
    assert (outlook.counts.written, outlook.counts.skipped_newer) == (49, 1)


async def test_a_row_that_came_back_newer_keeps_its_item(stub_world, monkeypatch, way):
    world = stub_world
    world.way = way
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things VALUES ('7', 'old', '2026-01-01 00:00:00Z')")
    newer = {"id": {"S": "7"}, "body": {"S": "new"}, "updatedAt": {"S": "2026-01-02T00:00:00.000000Z"}}
    present = Reader.present

    async def come_back_after(self, keys):
        await world.sql.execute("DELETE FROM things")
        there = await present(self, keys)
        world.memory.items["7"] = newer  # its row is in PostgreSQL again by now, too
        return there

    monkeypatch.setattr(Reader, "present", come_back_after)
    await world.migrate(STUB)
    assert world.memory.items == {"7": newer}


async def test_text_that_is_not_utf_8_rejects_its_row_only(world):
    await world.sql.execute("DROP DATABASE IF EXISTS ascii")
    await world.sql.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'")
    world.source = world.source.replace("/postgres?", "/ascii?")
    connection = await asyncpg.connect(world.source)
    mine, world.sql = world.sql, connection
    await world.create(SMALL_TABLE, kind="N")
    await connection.execute(
        "INSERT INTO things SELECT n, CASE n WHEN 70 THEN convert_from('\\xff', 'SQL_ASCII') ELSE 'x' END, now()"
        " FROM generate_series(1, 100) n"
    )
    outlook, rejects = await world.migrate(SMALL)
    await connection.close()
    world.sql = mine
    assert [each.key for each in rejects] == [("70",)]
    assert 'invalid byte sequence for encoding "UTF8"' in rejects[0].reason
    assert outlook.counts.written == 99


FAULTS = {
    "unknown column": ("column: body", "column: bdy", 'has no column "bdy"; did you mean "body"?'),
    "nullable key": ("key: [id]", "key: [body]", "may be NULL"),
    "missing key": ("key: [id]", "key: [idd]", 'is made of "idd"; did you mean "id"?'),
    "no unique key": ("key: [id]", "key: [id, updated_at]", "no attribute of type string or number"),
    "unknown table": (".things", ".thinks", "has no table"),
    "another type": ("body, type: string", "body, type: boolean", "of which no boolean can be made"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_mapping_that_does_not_fit_the_table_is_refused_with_its_line(world, name):
    await world.create(SMALL_TABLE, kind="N")
    right, wrong, words = FAULTS[name]
    with pytest.raises(ConfigError) as caught:
        await world.migrate(SMALL.replace(right, wrong))
    text = str(caught.value)
    assert words in text
    assert "mapping.yaml:" in text


async def test_a_key_of_dynamodb_that_the_mapping_does_not_make_is_refused(world):
    await world.create(SMALL_TABLE, key="pk", kind="S")
    with pytest.raises(ConfigError, match='DynamoDB\'s key "pk" is not among them'):
        await world.migrate(SMALL)


async def test_a_key_of_dynamodb_of_another_type_is_refused(world):
    await world.create(SMALL_TABLE, key="id", kind="S")
    with pytest.raises(ConfigError, match="is DynamoDB's key of type S, and would become N"):
        await world.migrate(SMALL)
