"""Sizes, keys, comparison, pace, ranges, addresses: what is decided without a server."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.migration.addresses import parse_dynamodb, parse_postgres
from proxy.migration.compare import Comparer
from proxy.migration.convert import Converter, RowRejected
from proxy.migration.estimate import estimate_cost_usd, estimate_times
from proxy.migration.keys import Keys
from proxy.migration.mapping import Mapping
from proxy.migration.mapping_rules import find_key_faults
from proxy.migration.pace import Pace, backoff_s
from proxy.migration.ranges import split_ranges
from proxy.migration.sizes import item_bytes, number_bytes, write_units
from proxy.settings.errors import ConfigError

PLAIN = Mapping.model_validate(
    {
        "table": "things",
        "key": ["a", "b"],
        "version": "at",
        "attributes": {
            "pk": {"template": "THING#{a}"},
            "a": {"column": "a", "type": "string"},
            "b": {"column": "b", "type": "number"},
            "at": {"column": "at", "type": "timestamp"},
            "text": {"column": "t", "type": "string"},
        },
    }
)


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": {"S": "é"}}, 1 + 2),
        ({"é": {"S": ""}}, 2),
        ({"a": {"N": "0"}}, 1 + 1),
        ({"a": {"N": "123"}}, 1 + 3),
        ({"a": {"N": "-1200"}}, 1 + 3),
        ({"a": {"N": "0.0012"}}, 1 + 2),
        ({"a": {"B": b"\x00\xff"}}, 1 + 2),
        ({"a": {"BOOL": True}, "b": {"NULL": True}}, 1 + 1 + 1 + 1),
        ({"a": {"L": []}}, 1 + 3),
        ({"a": {"L": [{"S": "x"}, {"N": "1"}]}}, 1 + 3 + 1 + 1 + 1 + 2),
        ({"a": {"M": {"k": {"S": "x"}}}}, 1 + 3 + 1 + 1 + 1),
        ({"a": {"SS": ["x", "yz"]}, "b": {"NS": ["1"]}}, 1 + 3 + 1 + 2),
    ],
)
def test_an_item_is_as_large_as_the_documentation_says(item, size):
    assert item_bytes(item) == size


def test_write_units_are_kibibytes_begun():
    assert [write_units(size) for size in (0, 1, 1024, 1025, 409_600)] == [1, 1, 1, 2, 400]


@given(st.integers(-(10**37), 10**37))
def test_a_number_is_never_counted_larger_than_its_text(number):
    assert 1 <= number_bytes(str(number)) <= 21


def test_an_item_of_exactly_the_limit_is_made_and_one_byte_more_is_rejected():
    converter = Converter(PLAIN, ["pk"])
    rest = converter.convert(["k", 1, 0, ""]).size_bytes
    assert converter.convert(["k", 1, 0, "x" * (409_600 - rest)]).size_bytes == 409_600
    with pytest.raises(RowRejected, match="409601 bytes"):
        converter.convert(["k", 1, 0, "x" * (409_600 - rest + 1)])


@given(
    st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    st.integers(-(2**63), 2**63 - 1),
)
def test_a_row_key_and_an_item_key_tell_each_other(a, b):
    keys = Keys(PLAIN, {"pk": "S", "b": "N"})
    item_key = keys.item_key((a, str(b)))
    assert item_key == {"pk": {"S": f"THING#{a}"}, "b": {"N": str(b)}}
    assert keys.row_key({**item_key, "a": {"S": a}}) == (a, str(b))
    assert keys.row_key({**item_key, "a": {"S": a + "x"}}) is None
    assert keys.row_key(item_key) is None
    assert set(keys.attributes) == {"pk", "a", "b"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"pk": "S", "b": "N"}, []),
        ({"pk": "S"}, ["several rows would become one item"]),
        ({"pk": "S", "b": "S"}, ["would become N"]),
        ({"a": "S", "b": "N", "text": "S"}, ["key columns only"]),
        ({"id": "S", "a": "S", "b": "N"}, ["not among them"]),
    ],
)
def test_a_key_of_dynamodb_must_be_made_of_the_whole_key_of_the_table(keys, words):
    found = [fault.message for fault in find_key_faults(PLAIN, keys)]
    assert len(found) == len(words)
    assert all(word in message for word, message in zip(words, found, strict=True))


VALUES = st.one_of(
    st.text(max_size=5).map(lambda text: {"S": text}),
    st.integers(-1000, 1000).map(lambda number: {"N": str(number)}),
    st.booleans().map(lambda flag: {"BOOL": flag}),
    st.just({"NULL": True}),
)


@given(
    st.dictionaries(st.sampled_from(["x", "y", "text"]), VALUES), st.dictionaries(st.sampled_from(["x", "y"]), VALUES)
)
def test_items_are_the_same_only_if_every_attribute_is(one, other):
    found = {each.field for each in Comparer(PLAIN).differences(one, other)}
    assert found == {name for name in {*one, *other} if one.get(name) != other.get(name)}


@pytest.mark.parametrize(
    ("legacy", "target", "same"),
    [
        ({"N": "1.50"}, {"N": "1.5"}, True),
        ({"N": "1"}, {"S": "1"}, False),
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}, True),
        ({"NS": ["1", "2.0"]}, {"NS": ["2", "1"]}, True),
        ({"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "2"}, {"N": "1"}]}, False),
        ({"M": {"a": {"N": "1"}, "b": {"S": ""}}}, {"M": {"b": {"S": ""}, "a": {"N": "1.0"}}}, True),
        ({"S": "é"}, {"S": "e\u0301"}, False),
        ({"BOOL": True}, {"BOOL": False}, False),
        ({"N": "12345678901234567890123456789012345678"}, {"N": "12345678901234567890123456789012345679"}, False),
        (None, {"NULL": True}, False),
    ],
)
def test_what_is_the_same(legacy, target, same):
    items = [{"x": value} if value else {} for value in (legacy, target)]
    assert (Comparer(PLAIN).differences(*items) == []) == same


@pytest.mark.parametrize(
    ("target", "same"),
    [
        ("2026-03-01T13:00:00.123+01:00", True),
        ("2026-03-01T12:00:00.123999Z", True),
        ("2026-03-01T12:00:00.124Z", False),
        ("2026-03-01T12:00:00.123", False),
        ("yesterday", False),
    ],
)
def test_a_timestamp_is_compared_by_its_instant(target, same):
    legacy = {"at": {"S": "2026-03-01T12:00:00.123Z"}}
    assert (Comparer(PLAIN).differences(legacy, {"at": {"S": target}}) == []) == same


def test_absent_and_null_are_the_same_where_the_mapping_says_so():
    lenient = Comparer(PLAIN.model_copy(update={"absent_is_null": True}))
    assert lenient.differences({}, {"x": {"NULL": True}}) == []
    assert lenient.differences({}, {"x": {"S": ""}})


def test_long_texts_are_shown_around_the_place_where_they_differ():
    (found,) = Comparer(PLAIN).differences({"x": {"S": "a" * 5000 + "b"}}, {"x": {"S": "a" * 5000 + "c"}})
    assert found.legacy == "…" + "a" * 30 + "b"
    assert found.target == "…" + "a" * 30 + "c"


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@given(st.lists(st.integers(1, 400), min_size=20, max_size=60))
def test_a_limit_is_never_exceeded_by_more_than_a_burst(sizes):
    clock = Clock()
    pace = Pace(1000.0, clock)
    for units in sizes:
        clock.now_s += pace.delay_s(units)
    assert sum(sizes) <= 1000 * clock.now_s + 250 + 1e-6


def test_without_a_limit_nothing_waits_until_the_table_throttles_then_it_adapts():
    clock = Clock()
    pace = Pace(None, clock)
    for _ in range(500):
        assert pace.delay_s(1) == 0.0
        clock.now_s += 0.01  # a hundred a second
    pace.throttled()
    assert 60 < pace.rate < 80
    pace.throttled()  # in the same second: the same news
    assert pace.rate > 60
    for _ in range(200):
        clock.now_s += max(0.05, pace.delay_s(1))
    assert pace.rate > 100
    assert repr(pace).startswith("<Pace ")


def test_a_throttled_limit_comes_back_to_the_limit_and_not_above():
    clock = Clock()
    pace = Pace(100.0, clock)
    pace.delay_s(10)
    clock.now_s += 1
    pace.throttled()
    assert pace.rate < 100
    for _ in range(2000):
        clock.now_s += max(0.05, pace.delay_s(1))
    assert pace.rate == 100


@given(st.integers(0, 1000), st.floats(0, 1))
def test_a_backoff_grows_and_is_bounded(attempt, draw):
    assert 0 <= backoff_s(attempt, draw) <= 10
    assert backoff_s(attempt, 1.0) >= backoff_s(max(attempt - 1, 0), 1.0)


@given(st.lists(st.integers(0, 50), max_size=40).map(sorted), st.integers(1, 12), st.integers(-10, 60))
def test_ranges_hold_every_key_exactly_once(sample, parts, key):
    ranges = split_ranges([(f"{each:03}",) for each in sample], parts)
    text = f"{key + 10:03}"
    holding = [
        each
        for each in ranges
        if (each.after is None or each.after < (text,)) and (each.until is None or (text,) <= each.until)
    ]
    assert len(holding) == 1
    assert 1 <= len(ranges) <= parts


def test_addresses_are_read_and_shown_without_secrets():
    address = parse_postgres("postgresql://gallery:hunter2@db:5432/gallery?sslmode=require")
    assert address.shown == "db:5432/gallery"
    assert "hunter2" not in repr(address)
    target = parse_dynamodb("dynamodb://images?region=eu-west-1&endpoint=http://127.0.0.1:8000/")
    assert (target.table, target.region, target.endpoint) == ("images", "eu-west-1", "http://127.0.0.1:8000")
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/images"
    assert parse_dynamodb(f"dynamodb://{arn}").table == arn


@pytest.mark.parametrize("text", ["mysql://x", "postgresql://h:99999/x", "", "postgresql://u:hunter2@[::1/x"])
def test_a_bad_address_of_postgresql_is_refused_and_not_shown(text):
    with pytest.raises(ConfigError) as caught:
        parse_postgres(text)
    assert "hunter2" not in str(caught.value)


def test_estimates_are_units_over_rate_and_price():
    assert [(each.units_per_s, each.seconds) for each in estimate_times(400_000, None)] == [(4000, 100), (40_000, 10)]
    assert [(each.units_per_s, each.seconds) for each in estimate_times(500, 50)] == [(50, 10)]
    assert estimate_cost_usd(2_000_000) == pytest.approx(1.25)
    assert Decimal(str(estimate_cost_usd(0))) == 0
