"""Every row of the table, its bytes whole, byte by byte, and split at every point."""

import pytest

from tests.net.harness import running

from .cases import ANSWERS, DIALOGUES, REQUESTS
from .stage import SETTINGS, play_answer, play_dialogue, play_request, ways_to_cut


def named(rows):
    return [pytest.param(row, id=f"{row.section} {row.name}".replace("§", "s")) for row in rows]


@pytest.mark.parametrize("row", named(REQUESTS))
async def test_a_client_gets_what_its_bytes_deserve_however_they_are_cut(row):
    async with running(**SETTINGS) as world:
        for at, (way, pieces) in enumerate(ways_to_cut(row.sent)):
            try:
                await play_request(world, row, pieces, thorough=at < 2 or at % 4 == 0)
            except AssertionError as error:
                raise AssertionError(f"{way}: {error}") from error


@pytest.mark.parametrize("source", ["legacy", "target"])
@pytest.mark.parametrize("row", named(ANSWERS))
async def test_an_upstreams_bytes_come_to_what_they_may_however_they_are_cut(row, source):
    if source == "target" and not row.on_target:
        pytest.skip("the target's status alone makes legacy answer")
    async with running(**SETTINGS) as world:
        for at, (way, pieces) in enumerate(ways_to_cut(row.says)):
            try:
                await play_answer(world, row, pieces, target=source == "target", thorough=at < 2 or at % 4 == 0)
            except AssertionError as error:
                raise AssertionError(f"{way}: {error}") from error


@pytest.mark.parametrize("byte_by_byte", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("row", named(DIALOGUES))
async def test_both_sides_get_what_their_turns_deserve(row, byte_by_byte):
    async with running(**SETTINGS) as world:
        await play_dialogue(world, row, byte_by_byte=byte_by_byte)


def test_the_table_covers_what_it_should():
    assert len(REQUESTS) + len(ANSWERS) + len(DIALOGUES) >= 150
    rows = [(type(row), row.section, row.name) for row in (*REQUESTS, *ANSWERS, *DIALOGUES)]
    assert len(set(rows)) == len(rows), "each row once"
