"""`GET /events`: its framing, its bounds, who may read it, and its end."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestServer

from proxy.admin import observer, stream
from proxy.admin.api import build_admin_app
from proxy.admin.control import RolloutOutcome
from proxy.admin.observer import MAX_STREAMS, Observer
from proxy.admin.page import OBSERVER, read_assets
from tests.admin.test_page import QuietControl


@pytest.fixture
def control():
    return QuietControl()


@pytest.fixture
async def client(control, aiohttp_client):
    return await aiohttp_client(build_admin_app(control))


@pytest.fixture
def quick(monkeypatch):
    """Everything that takes seconds takes hundredths of them."""
    monkeypatch.setattr(observer, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(observer, "EVERY_S", 0.05)
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)


async def read_frame(response):
    """(event, data) of the next frame; a comment is (None, None)."""
    text = (await asyncio.wait_for(response.content.readuntil(b"\n\n"), 5)).decode()
    assert text.endswith("\n\n")
    if text.startswith(":"):
        return None, None
    first, second = text.rstrip("\n").split("\n")
    assert first.startswith("event: ")
    assert second.startswith("data: ")
    return first[7:], json.loads(second[6:])


async def read_until(response, event):
    while True:
        name, data = await read_frame(response)
        if name == event:
            return data


async def test_a_stream_begins_with_all_that_is_known(client, control):
    async with client.get("/events") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert await read_frame(response) == ("hello", {"assets": read_assets().version})
        name, points = await read_frame(response)
        assert (name, [point["share"] for point in points]) == ("points", [10])
        name, told = await read_frame(response)
        assert (name, told["status"]) == ("status", control.current)
        assert told["at"] > 1.6e9


async def test_changes_follow_as_they_come(quick, client, control):
    async with client.get("/events") as response:
        await read_until(response, "status")
        control.current["percentage"] = 50
        [event] = await read_until(response, "notables")
        assert event["text"] == "Rollout: 10 % → 50 %"
        assert (await read_until(response, "status"))["status"]["percentage"] == 50
        assert (await read_until(response, "points"))[-1]["share"] == 50


async def test_line_breaks_in_a_status_do_not_break_the_framing(client, control):
    control.current["last_reload"] = {"error": "one\r\n\r\ntwo\n\nevent: bye\ndata: 1\u2028\x00"}
    async with client.get("/events") as response:
        while "last_reload" not in (told := await read_until(response, "status"))["status"]:
            pass
    assert told["status"]["last_reload"] == control.current["last_reload"]


async def test_without_news_a_comment_is_the_heartbeat(client, control, monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.02)
    async with client.get("/events") as response:
        await read_until(response, "status")
        assert (None, None) in [await read_frame(response) for _ in range(5)]


async def test_a_change_is_seen_at_once(client, control):
    async def change_rollout(change):
        control.current["percentage"] = change.percentage
        return RolloutOutcome(change.percentage, enabled=True, revision="0123456789ab", persisted=True)

    control.change_rollout = change_rollout
    async with client.get("/events") as response:
        while (await read_frame(response))[0] is not None:
            if control.statuses == 2:
                break
        began = asyncio.get_running_loop().time()
        assert (await client.patch("/rollout", json={"percentage": 77})).status == 200
        while (await read_until(response, "status"))["status"]["percentage"] != 77:
            pass
        assert asyncio.get_running_loop().time() - began < 0.5


async def test_nobody_watching_means_few_looks(client, control, monkeypatch):
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert control.statuses == 1
    async with client.get("/events") as response:
        await read_until(response, "status")
    assert control.statuses <= 3


async def test_streams_are_few_and_places_are_given_back(client):
    streams = [await client.get("/events") for _ in range(MAX_STREAMS)]
    refused = await client.get("/events")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
    assert "live pages" in (await refused.json())["detail"]
    assert (await client.get("/status")).status == 200
    for each in streams[:2]:
        each.close()
    for _ in range(500):  # the server has yet to see that they are gone
        again = await client.get("/events")
        if again.status == 200:
            break
        await asyncio.sleep(0.01)
    assert again.status == 200
    for each in [*streams, again]:
        each.close()


async def test_a_reader_that_takes_nothing_is_dropped(quick, control, monkeypatch, aiohttp_client):
    monkeypatch.setattr(stream, "SLOW_S", 0.1)
    control.current["padding"] = "x" * 4_000_000
    client = await aiohttp_client(build_admin_app(control))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1024)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    watched = client.app[OBSERVER]
    for state in ("streams=1", "streams=0"):
        for _ in range(500):
            if state in repr(watched):
                break
            await asyncio.sleep(0.01)
        assert state in repr(watched)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(8_000_000)
    writer.close()


async def test_a_stream_ends_some_day_so_that_its_place_is_free(client, monkeypatch):
    monkeypatch.setattr(stream, "LIFE_S", 0.0)
    async with client.get("/events") as response:
        text = await asyncio.wait_for(response.text(), 5)
    assert text.startswith("event: hello\n")
    assert "event: bye" not in text


async def test_at_the_end_of_the_program_streams_say_goodbye_and_end_well(control):
    server = TestServer(build_admin_app(control))
    await server.start_server()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"event: status")
    began = asyncio.get_running_loop().time()
    await server.close()
    rest = await reader.read()
    assert b"event: bye\ndata: {}\n\n" in rest
    assert rest.endswith(b"0\r\n\r\n")
    assert asyncio.get_running_loop().time() - began < 2
    writer.close()


async def test_an_observer_that_closes_admits_nobody():
    watched = Observer(QuietControl(), lambda: 1.0, print)
    watched.close()
    with watched.watching() as admitted:
        assert not admitted
    assert [each async for each in watched.changes(1)] == []


@pytest.mark.parametrize(
    ("headers", "token", "local", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, None, True, 200),
        ({"Sec-Fetch-Site": "cross-site"}, None, True, 403),
        ({"Sec-Fetch-Site": "same-site"}, "s3cret", True, 403),
        ({"Origin": "http://evil.example"}, None, True, 403),
        ({"Host": "rebound.example:9900"}, None, True, 403),
        ({"Host": "rebound.example:9900", "Origin": "http://rebound.example:9900"}, None, True, 403),
        ({"Host": "cutover.internal"}, "s3cret", True, 200),
        ({"Host": "cutover.internal"}, None, False, 200),
        ({"Host": "localhost:1"}, None, True, 200),
    ],
)
async def test_other_sites_and_rebound_names_are_refused_as_for_changes(client, control, headers, token, local, status):
    control.token, control.local = token, local
    async with client.get("/events", headers=headers) as response:
        assert response.status == status
