"""The staged rollout on the admin port: what a controller publishes, what people order, and who may do neither."""

import asyncio
import json

import pytest

from proxy.admin import desk as desk_module
from proxy.admin.api import build_admin_app
from proxy.admin.desk import Answer, Desk, Publication
from proxy.admin.problems import Refusal
from tests.admin.test_page import QuietControl

STATUS = {"phase": "judging", "stage": 1, "percentage": 10, "checks": [], "plan": "plan.yaml"}
SAID = {"controller": "one", "status": STATUS}


@pytest.fixture
def control():
    return QuietControl()


@pytest.fixture
def audited():
    return []


@pytest.fixture
async def client(control, audited, aiohttp_client):
    return await aiohttp_client(build_admin_app(control, lambda event, /, **fields: audited.append((event, fields))))


async def publish(client, **changes):
    response = await client.put("/rollout/controller", json={**SAID, **changes})
    assert response.status == 200, await response.text()
    return (await response.json())["orders"]


async def orders_for(client):
    """Publish until an order comes."""
    while True:
        orders = await publish(client)
        if orders:
            return orders
        await asyncio.sleep(0.01)


def give(client, **order):
    return asyncio.ensure_future(client.post("/rollout/orders", json=order))


async def test_an_order_reaches_the_controller_and_its_answer_the_person(client, audited):
    assert await publish(client) == []
    waiting = give(client, order="promote", stage=1)
    [order] = await orders_for(client)
    assert (order["order"], order["stage"], order["keep"]) == ("promote", 1, False)
    assert await publish(client) == [order], "handed out until it is answered"
    assert await publish(client, answers={order["id"]: {"obeyed": True, "why": "promoted"}}) == []
    response = await waiting
    assert (response.status, await response.json()) == (200, {"obeyed": True, "why": "promoted"})
    assert [event for event, _ in audited] == ["rollout_order"]
    again = give(client, order="resume")
    [order] = await orders_for(client)
    await publish(client, answers={order["id"]: {"obeyed": False, "why": "it is not paused"}})
    response = await again
    assert (response.status, (await response.json())["detail"]) == (409, "it is not paused")


async def test_what_is_published_is_shown_with_its_age(client):
    assert (await client.get("/rollout/controller")).status == 404
    await publish(client)
    shown = await (await client.get("/rollout/controller")).json()
    assert shown["phase"] == "judging"
    assert shown["ended"] is False
    assert 0 <= shown["heard_s"] < 5


async def test_without_a_controller_nobody_obeys_and_after_its_end_orders_are_given_back(client):
    assert (await client.post("/rollout/orders", json={"order": "pause"})).status == 409
    await publish(client)
    waiting = give(client, order="pause")
    await orders_for(client)
    await publish(client, ended=True)
    response = await waiting
    assert (response.status, (await response.json())["detail"]) == (409, "the controller has ended")
    assert (await client.post("/rollout/orders", json={"order": "pause"})).status == 409


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"order": "explode"},
        {"order": "pause", "force": True},
        {"order": "pause", "check": "a", "reason": "b"},
        {"order": "promote", "check": "a"},
        {"order": "promote", "check": "a", "reason": " "},
        {"order": "promote", "check": "a", "reason": "b" * 501},
        {"order": "promote", "stage": "1"},
        {"order": "promote", "stage": True},
        {"order": "promote", "keep": True},
        {"order": "abort", "keep": 1},
        ["pause"],
    ],
)
async def test_what_is_no_order_is_refused(client, order):
    await publish(client)
    assert (await client.post("/rollout/orders", json=order)).status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"controller": "one"}', 400),
        (b'{"controller": "one", "status": {"phase": "judging"}}', 400),
        (json.dumps({**SAID, "answers": []}).encode(), 400),
        (json.dumps({**SAID, "answers": {"a": {}}}).encode(), 400),
        (json.dumps({**SAID, "controller": "x" * 81}).encode(), 400),
        (json.dumps({**SAID, "status": {**STATUS, "why": float("nan")}}).encode(), 400),
        (b"[" * 100_000, 400),
        (json.dumps({**SAID, "more": "x" * 300_000}).encode(), 413),
    ],
)
async def test_what_is_no_publication_is_refused(client, body, status):
    response = await client.put("/rollout/controller", data=body, headers={"Content-Type": "application/json"})
    assert response.status == status
    assert (await client.get("/rollout/controller")).status == 404


async def test_both_pass_the_guard_of_changes(client, control, audited):
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert (await client.put("/rollout/controller", json=SAID, headers=headers)).status == 403
        assert (await client.post("/rollout/orders", json={"order": "abort"}, headers=headers)).status == 403
    control.local = False
    assert (await client.put("/rollout/controller", json=SAID)).status == 403
    control.token = "secret"
    assert (await client.put("/rollout/controller", json=SAID)).status == 401
    assert (await client.post("/rollout/orders", json={"order": "abort"})).status == 401
    right = {"Authorization": "Bearer secret"}
    assert (await client.put("/rollout/controller", json=SAID, headers=right)).status == 200
    assert {event for event, _ in audited} == {"admin_change_refused"}
    form = await client.post("/rollout/orders", data={"order": "abort"}, headers=right)
    assert form.status == 415


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


async def test_a_desk_belongs_to_one_controller_until_that_is_silent():
    clock = Clock()
    desk = Desk(clock)
    desk.publish(Publication("one", STATUS))
    with pytest.raises(Refusal, match=r"another rollout is shown here \(plan.yaml\)"):
        desk.publish(Publication("two", STATUS))
    clock.now += desk_module.HEARD_FOR_S
    desk.publish(Publication("two", STATUS))
    assert repr(desk) == "<Desk of two, 0 orders wait>"
    desk.publish(Publication("two", STATUS, ended=True))
    desk.publish(Publication("one", STATUS))
    assert desk.shown()["controller"] == "one"


async def test_an_order_that_nobody_takes_is_withdrawn_and_never_handed_out_later(monkeypatch):
    monkeypatch.setattr(desk_module, "PATIENCE_S", 0.01)
    desk = Desk(Clock())
    desk.publish(Publication("one", STATUS))
    with pytest.raises(Refusal, match="withdrawn"):
        await desk.give({"order": "abort"})
    assert desk.publish(Publication("one", STATUS)) == []
    left = asyncio.ensure_future(desk.give({"order": "abort"}))
    await asyncio.sleep(0)
    left.cancel()  # the person closed the page
    await asyncio.gather(left, return_exceptions=True)
    assert desk.publish(Publication("one", STATUS)) == []


async def test_one_that_was_taken_and_not_answered_is_said_to_be(monkeypatch):
    monkeypatch.setattr(desk_module, "PATIENCE_S", 0.05)
    desk = Desk(Clock())
    desk.publish(Publication("one", STATUS))
    waiting = asyncio.ensure_future(desk.give({"order": "abort"}))
    await asyncio.sleep(0)
    [order] = desk.publish(Publication("one", STATUS))
    with pytest.raises(Refusal, match="has taken it"):
        await waiting
    desk.publish(Publication("one", STATUS, {order["id"]: Answer(obeyed=True, why="late")}))


async def test_only_so_many_orders_wait(monkeypatch):
    monkeypatch.setattr(desk_module, "PATIENCE_S", 0.05)
    desk = Desk(Clock())
    desk.publish(Publication("one", STATUS))
    waiting = [asyncio.ensure_future(desk.give({"order": "pause"})) for _ in range(desk_module.MOST_ORDERS + 1)]
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [end.status for end in ends].count(503) == 1


async def test_another_journals_controller_is_not_given_the_orders_for_the_one_before():
    clock = Clock()
    desk = Desk(clock)
    desk.publish(Publication("one", STATUS))
    waiting = asyncio.ensure_future(desk.give({"order": "promote"}))
    await asyncio.sleep(0)
    clock.now += desk_module.HEARD_FOR_S
    assert desk.publish(Publication("two", STATUS)) == []
    assert (await waiting).obeyed is False
