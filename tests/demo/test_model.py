import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.demo.dynamodb_store import from_item, sort_key, to_item
from proxy.demo.model import (
    ID_PATTERN,
    InvalidCursorError,
    decode_cursor,
    encode_cursor,
    encode_json,
    encode_page,
    format_time,
    image_as_json,
    image_from_json,
    next_update_time,
    parse_time,
)
from proxy.demo.seed import make_seed

IMAGES = make_seed(10, 200).images
IMAGE = IMAGES[0]
WHOLE_MS = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - hypothesis wants naive bounds
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


def test_the_keys_of_an_image_come_in_the_documented_order():
    assert list(image_as_json(IMAGE)) == (
        [
            "id",
            "userId",
            "title",
            "description",
            "url",
            "thumbnailUrl",
            "tags",
            "albumId",
            "width",
            "height",
            "sizeBytes",
            "createdAt",
            "updatedAt",
        ]
    )


def test_times_have_milliseconds_and_a_z():
    assert format_time(datetime(2026, 3, 1, 12, tzinfo=UTC)) == "2026-03-01T12:00:00.000Z"


@pytest.mark.parametrize("text", ["2026-03-01", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000+00:00", "x", ""])
def test_no_other_time_format_is_read(text):
    with pytest.raises(ValueError, match="not a time"):
        parse_time(text)


@given(WHOLE_MS, WHOLE_MS)
def test_times_sort_as_strings_as_they_do_in_time(one, other):
    assert (format_time(one) < format_time(other)) == (one < other)
    assert parse_time(format_time(one)) == one


@given(WHOLE_MS, st.from_regex(ID_PATTERN, fullmatch=True))
def test_a_cursor_names_its_position_whatever_it_is(moment, image_id):
    cursor = decode_cursor(encode_cursor(replace(IMAGE, id=image_id, created_at=moment)))
    assert (cursor.created_at, cursor.id) == (moment, image_id)


@given(st.text(max_size=300))
def test_any_other_text_is_an_invalid_cursor_and_never_another_error(text):
    with suppress(InvalidCursorError):
        decode_cursor(text)


@pytest.mark.parametrize("image", IMAGES[:40], ids=lambda image: image.id)
def test_nothing_is_lost_through_json_or_a_dynamodb_item(image):
    assert image_from_json(json.loads(encode_json(image_as_json(image)))) == image
    assert from_item(to_item(image)) == image


def test_the_largest_sizes_survive_as_dynamodb_numbers():
    huge = replace(IMAGE, size_bytes=2**53 - 1)
    assert to_item(huge)["sizeBytes"] == {"N": "9007199254740991"}
    assert from_item(to_item(huge)).size_bytes == 2**53 - 1


def test_the_index_key_sorts_by_time_then_by_id_as_bytes():
    pairs = [(image.created_at, image.id) for image in IMAGES]
    assert sorted(pairs) == sorted(pairs, key=lambda pair: sort_key(*pair).encode())


def test_one_image_too_many_means_there_is_a_next_page():
    assert json.loads(encode_page(IMAGES[:3], 2))["nextCursor"] == encode_cursor(IMAGES[1])
    assert json.loads(encode_page(IMAGES[:2], 2))["nextCursor"] is None
    assert encode_page([], 5) == b'{"items":[],"nextCursor":null}'


def test_two_writes_in_one_millisecond_are_still_ordered():
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert next_update_time(now, now) > now
    assert next_update_time(now, datetime(2020, 1, 1, tzinfo=UTC)) > now
