"""Batches of INSERT: where they are used, what each answer leads to, and that they never replace an item."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.migration.addresses import parse_dynamodb
from proxy.migration.convert import Converted
from proxy.migration.errors import MigrationFailed
from proxy.migration.inserts import BATCH_BYTES, BATCH_ITEMS, Way, _cut, _make_statement, choose_way
from proxy.migration.sizes import write_units
from proxy.migration.table import Denied, Refused, open_table
from proxy.migration.writes import Write
from tests.migration.world import SERVERS, STUB, STUB_TABLE

pytestmark = SERVERS

AMAZON = [
    "https://dynamodb.eu-west-1.amazonaws.com",
    "https://123456789012.ddb.eu-west-1.amazonaws.com",
    "https://dynamodb.cn-north-1.amazonaws.com.cn",
    "https://vpce-1a2b-3c4d.dynamodb.us-east-1.vpce.amazonaws.com",
    "https://dynamodb.us-east-1.api.aws",
    "https://DynamoDB.eu-west-1.amazonaws.com.:443/",
]
OTHERS = [
    "http://127.0.0.1:8000",
    "http://localhost.localstack.cloud:4566",
    "https://amazonaws.com.example.org",
    "https://notamazonaws.com",
    "https://example.org/dynamodb.eu-west-1.amazonaws.com",
    "https://dynamodb.eu-west-1.amazonaws.com@example.org",
    "",
]


async def test_it_inserts_on_amazons_endpoints_only_unless_it_is_told_to():
    assert [choose_way(Way.AUTO, url, "images") for url in AMAZON] == [Way.INSERT] * len(AMAZON)
    assert [choose_way(Way.AUTO, url, "images") for url in OTHERS] == [Way.PUT] * len(OTHERS)
    for url in AMAZON + OTHERS:
        assert choose_way(Way.PUT, url, "images") is Way.PUT
        assert choose_way(Way.INSERT, url, "images") is Way.INSERT
    assert choose_way(Way.AUTO, AMAZON[0], "arn:aws:dynamodb:eu-west-1:123456789012:table/images") is Way.PUT


async def test_the_endpoint_that_counts_is_the_one_that_the_client_uses(stub_world, monkeypatch):
    address = parse_dynamodb("dynamodb://images?region=us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", stub_world.endpoint)
    async with open_table(address, 1.0) as table:
        assert choose_way(Way.AUTO, table.endpoint_url, table.name) is Way.PUT


async def test_a_statement_names_what_it_can_and_is_not_made_of_anything_else():
    assert _make_statement("a.b-c_D", ["id", "@x #1"]) == """INSERT INTO "a.b-c_D" VALUE {'id': ?, '@x #1': ?}"""
    for name in ("it's", 'say "x"', "a\\b", "a?b", "a{b", "größe", "a\nb", ""):
        assert _make_statement("images", ["id", name]) is None, name
    assert _make_statement("images", [f"attribute{at:03}" for at in range(500)]) is None  # above 8192 characters
    assert _make_statement("images", [f"attribute{at:03}" for at in range(400)]) is not None


@given(st.lists(st.integers(1, 409_600), max_size=120), st.sampled_from([1.25, 100.0, float("inf")]))
async def test_batches_hold_every_item_once_in_order_and_keep_their_bounds(sizes, most_units):
    writes = [Write((str(at),), Converted({}, size, None)) for at, size in enumerate(sizes)]
    left, cut = deque(writes), []
    while left:
        batch, units = _cut(left, most_units)
        assert 1 <= len(batch) <= BATCH_ITEMS
        assert units == sum(write_units(each.converted.size_bytes) for each in batch)
        assert len(batch) == 1 or units <= most_units
        assert len(batch) == 1 or sum(each.converted.size_bytes for each in batch) <= BATCH_BYTES
        cut += batch
    assert cut == writes


async def test_where_duplicates_are_not_refused_an_insert_overwrites_so_the_tests_of_safety_can_fail(
    stub_world, monkeypatch
):
    world = stub_world
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things VALUES ('1', 'row', '2026-01-01 00:00:00Z')")
    newer = {"id": {"S": "1"}, "body": {"S": "newer"}, "updatedAt": {"S": "2026-02-01T00:00:00.000000Z"}}
    insert = world.memory._insert

    def overwrite(statement, parameters):
        world.memory.items.clear()
        return insert(statement, parameters)

    monkeypatch.setattr(world.memory, "_insert", overwrite)
    for way, body in ((Way.AUTO, "newer"), (Way.PUT, "newer"), (Way.INSERT, "row")):
        world.memory.items["1"] = newer
        await world.migrate(STUB, way=way)
        assert world.memory.items["1"]["body"] == {"S": body}, way


class Counting:
    """Counts the requests to a stub, and may answer some itself."""

    def __init__(self, memory, monkeypatch, answer=None):
        self.counts = {}
        self.real, self.own = memory.answer, answer
        monkeypatch.setattr(memory, "answer", self.answer)

    def answer(self, operation, request):
        self.counts[operation] = self.counts.get(operation, 0) + 1
        own = self.own(operation, request) if self.own else None
        return self.real(operation, request) if own is None else own


async def fill(world, rows=300):
    await world.create(STUB_TABLE)
    await world.sql.execute("INSERT INTO things SELECT n::text, 'x', now() FROM generate_series(1, $1) n", rows)
    world.way = Way.INSERT


async def test_new_items_take_a_request_for_25_and_present_ones_one_batch_of_a_page(stub_world, monkeypatch):
    await fill(stub_world)
    counting = Counting(stub_world.memory, monkeypatch)
    first, _ = await stub_world.migrate(STUB, parallel=1)
    assert first.counts.written == 300
    assert counting.counts.get("PutItem", 0) == 0
    assert 12 <= counting.counts["BatchExecuteStatement"] <= 16  # the last of a page is not full
    counting.counts.clear()
    again, _ = await stub_world.migrate(STUB, parallel=1)
    assert (again.counts.written, again.counts.skipped_newer) == (0, 300)
    assert counting.counts["PutItem"] == 300
    assert counting.counts["BatchExecuteStatement"] <= 4


def failing(code):
    def answer(operation, request):
        if operation != "BatchExecuteStatement":
            return None
        error = {"Error": {"Code": code, "Message": "because"}}
        return {"Responses": [error for _ in request["Statements"]]}

    return answer


async def test_without_the_permission_every_item_is_put_and_it_is_said(stub_world, monkeypatch):
    await fill(stub_world)
    counting = Counting(stub_world.memory, monkeypatch, failing("AccessDenied"))
    outlook, rejects = await stub_world.migrate(STUB, parallel=1)
    assert (outlook.counts.written, rejects) == (300, [])
    assert counting.counts["BatchExecuteStatement"] == 1
    assert outlook.note == (
        "items were put one by one, for they can't be inserted in batches: DynamoDB denies access: because"
    )


@pytest.mark.parametrize(
    ("refusal", "is_said"),
    [
        (Denied("no"), True),
        (Refused("unknown", "UnknownOperationException"), True),
        (Refused("Provided list of item keys contains duplicates", "ValidationException"), False),
    ],
)
async def test_a_batch_that_is_refused_as_a_whole_is_put(stub_world, monkeypatch, refusal, is_said):
    await fill(stub_world)

    async def refuse(self, send, attempts=None):
        if attempts is not None:
            raise refusal
        return await ask(self, send)

    table = type(await table_of(stub_world))
    ask = table.ask
    monkeypatch.setattr(table, "ask", refuse)
    outlook, _ = await stub_world.migrate(STUB)
    assert outlook.counts.written == 300
    assert bool(outlook.note) is is_said


async def table_of(world):
    async with open_table(parse_dynamodb(world.target), 1.0) as table:
        return table


@pytest.mark.parametrize("code", ["ValidationError", "ItemCollectionSizeLimitExceeded", "SomethingNew"])
async def test_a_statement_that_is_refused_leaves_the_reason_to_putitem(stub_world, monkeypatch, code):
    await fill(stub_world, 30)
    Counting(stub_world.memory, monkeypatch, failing(code))
    outlook, _ = await stub_world.migrate(STUB)
    assert (outlook.counts.written, outlook.note) == (30, "")


async def test_statements_that_are_throttled_for_ever_end_it_with_one_message(stub_world, monkeypatch):
    await fill(stub_world, 30)
    Counting(stub_world.memory, monkeypatch, failing("ProvisionedThroughputExceeded"))
    with pytest.raises(MigrationFailed, match="is away: it does not take what is sent"):
        await stub_world.run(stub_world.options(STUB, patience_s=0.3))


async def test_an_own_write_whose_answer_was_lost_counts_as_written(stub_world):
    await fill(stub_world, 200)
    stub_world.memory.faults = {"lost": 0.5}
    outlook, _ = await stub_world.migrate(STUB)
    assert (outlook.counts.written, outlook.counts.skipped_newer) == (200, 0)


async def test_a_newer_item_that_comes_between_a_lost_answer_and_the_next_attempt_stays(stub_world, monkeypatch):
    await fill(stub_world, 1)
    newer = {"id": {"S": "1"}, "body": {"S": "new"}, "updatedAt": {"S": "2999-01-01T00:00:00.000000Z"}}
    seen = []

    def lose_first(operation, request):
        if operation == "BatchExecuteStatement" and not seen:
            seen.append(counting.real(operation, request))
            stub_world.memory.items["1"] = newer
            return {"Responses": [{"Error": {"Code": "InternalServerError", "Message": "carried out, in fact"}}]}
        return None

    counting = Counting(stub_world.memory, monkeypatch, lose_first)
    outlook, _ = await stub_world.migrate(STUB)
    assert seen == [{"Responses": [{}]}]
    assert stub_world.memory.items == {"1": newer}
    assert (outlook.counts.written, outlook.counts.skipped_newer) == (0, 1)
