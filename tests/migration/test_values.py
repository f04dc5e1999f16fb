"""One value at a time, without a server."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.migration.values import (
    Unconvertible,
    format_us,
    json_number,
    number_text,
    read_json,
    read_string,
    set_reader,
    timestamp_reader,
)

FIRST = datetime.min.replace(tzinfo=UTC).replace(tzinfo=None)  # Hypothesis adds the zone itself
LAST = datetime.max.replace(tzinfo=UTC).replace(tzinfo=None)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None))
def test_a_number_keeps_its_value_or_is_refused(number):
    try:
        text = number_text(str(number))
    except Unconvertible:
        digits = len("".join(map(str, number.as_tuple().digits)).strip("0"))
        assert digits > 38 or not Decimal("1e-130") <= abs(number) <= Decimal(
            "9.99999999999999999999999999999999999e125"
        )
    else:
        assert Decimal(text) == number
        assert number_text(text) == text
        assert len(text) <= 45


@given(st.integers(min_value=-(10**38) + 1, max_value=10**38 - 1))
def test_a_whole_number_of_38_digits_is_kept(number):
    assert int(Decimal(number_text(number))) == number


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "x", "", "1" * 39, "1e126", "1e-131", "0x10", "1,5"])
def test_what_is_no_dynamodb_number_is_refused(text):
    with pytest.raises(Unconvertible):
        number_text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", "0"), ("-0", "0"), ("-0.000", "0"), ("1.500", "1.5"), ("007", "7"), ("1e3", "1000"), ("+5", "5"),
        ("-0.05", "-0.05"), ("9.99e125", "9.99E+125"[:0] + "999E+123"), ("1e-130", "1E-130"), ("1000", "1000"),
    ],
)  # fmt: skip
def test_a_number_is_written_in_one_way(text, expected):
    assert number_text(text) == expected


@given(st.datetimes(min_value=FIRST, max_value=LAST))
def test_a_timestamp_is_its_instant_cut_to_the_precision(moment):
    moment = moment.replace(tzinfo=UTC)
    us = (moment - POSTGRES_EPOCH) // timedelta(microseconds=1)
    text = timestamp_reader("iso", "us")(us)["S"]
    assert datetime.fromisoformat(text) == moment
    ms = timestamp_reader("iso", "ms")(us)["S"]
    assert ms == text[:23] + "Z"
    assert timestamp_reader("iso", "s")(us)["S"] == text[:19] + "Z"
    since_1970 = (moment - EPOCH) // timedelta(milliseconds=1)
    assert timestamp_reader("epoch", "ms")(us)["N"] == str(since_1970)


@given(st.lists(st.datetimes(min_value=FIRST), min_size=2, max_size=2))
def test_the_order_of_timestamps_as_text_is_their_order_in_time(moments):
    us = [(each.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) for each in moments]
    texts = [format_us(each, "us") for each in us]
    assert (texts[0] < texts[1]) == (us[0] < us[1])


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), -70_000_000_000_000_000, 260_000_000_000_000_000])
def test_a_timestamp_that_has_no_four_digit_year_is_refused(value):
    with pytest.raises(Unconvertible):
        timestamp_reader("iso", "ms")(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=12,
)


def back(value):
    ((kind, held),) = value.items()
    if kind == "N":
        return int(Decimal(held))
    if kind == "L":
        return [back(each) for each in held]
    if kind == "M":
        return {name: back(each) for name, each in held.items()}
    return None if kind == "NULL" else held


@given(JSON)
def test_json_arrives_as_it_was(tree):
    assert back(read_json(json.dumps(tree))) == tree


def test_a_long_number_in_json_is_refused_rather_than_rounded():
    with pytest.raises(Unconvertible, match="significant digits"):
        read_json('{"a": 0.1234567890123456789012345678901234567890123}')
    assert json_number("1.10") == "1.10"


def test_a_set_holds_each_element_once():
    assert set_reader("SS", read_string)(["b", "a", "b"]) == {"SS": ["a", "b"]}
