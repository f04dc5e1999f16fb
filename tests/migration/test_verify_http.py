"""The two APIs compared, as users see them: lists, their order, and each item's fields."""

import json
from dataclasses import replace

import pytest
from aiohttp import web

from proxy.migration.api import parse_api
from proxy.migration.errors import MigrationFailed
from proxy.migration.findings import Findings
from proxy.migration.mapping import Http
from proxy.migration.verify_http import HttpOptions, json_differences, run_http_verification
from proxy.settings.errors import ConfigError
from tests.migration.world import Quiet

SHAPE = Http(list="/images?userId={user}&limit=3")


class FakeApi:
    """Items by user, in the order of the list."""

    def __init__(self):
        self.users = {
            user: {f"{user}-{n}": {"id": f"{user}-{n}", "title": "Café", "n": n, "meta": {"a": [1]}} for n in range(7)}
            for user in ("ann", "b&ö")
        }
        self.failures = 0
        self.token = None
        self.hidden = set()  # in `get`, and not in lists

    async def list(self, request):
        self.check(request)
        ids = [item_id for item_id in self.users[request.query["userId"]] if item_id not in self.hidden]
        start = int(request.query.get("cursor", 0))
        end = start + int(request.query["limit"])
        items = [self.users[request.query["userId"]][item_id] for item_id in ids[start:end]]
        return web.json_response({"items": items, "nextCursor": str(end) if end < len(ids) else None})

    async def get(self, request):
        self.check(request)
        for items in self.users.values():
            if request.match_info["id"] in items:
                return web.Response(body=json.dumps(items[request.match_info["id"]]), content_type="application/json")
        raise web.HTTPNotFound

    def check(self, request):
        if self.token and request.headers.get("Authorization") != self.token:
            raise web.HTTPUnauthorized
        if self.failures:
            self.failures -= 1
            raise web.HTTPServiceUnavailable


@pytest.fixture
async def apis(aiohttp_server):
    sides = []
    for _ in range(2):
        api, app = FakeApi(), web.Application()
        app.router.add_get("/images", api.list)
        app.router.add_get("/images/{id}", api.get)
        api.url = str((await aiohttp_server(app)).make_url("")).rstrip("/")
        sides.append(api)
    return sides


async def compared(apis, *, sample=None, headers=(), **changes):
    options = HttpOptions(
        parse_api("--legacy", apis[0].url, ()),
        parse_api("--target", apis[1].url, headers),
        SHAPE,
        users=("ann", "b&ö"),
        patience_s=5.0,
    )
    with Findings() as findings:
        await run_http_verification(replace(options, **changes), findings, Quiet(), sample=sample, delay_s=0.01)
        findings.found = sorted(findings.differences(), key=lambda each: (str(each["id"]), str(each["field"])))
    return findings


async def test_the_same_is_the_same_and_failures_on_the_way_are_retried(apis):
    apis[1].failures = 5
    apis[1].users["ann"]["ann-3"] = {"meta": {"a": [1.0]}, "n": 3.0, "title": "Café", "id": "ann-3"}
    findings = await compared(apis)
    assert (findings.compared, findings.mismatches) == (14, 0)


async def test_missing_extra_different_and_order_are_found(apis):
    del apis[1].users["ann"]["ann-0"]
    del apis[0].users["b&ö"]["b&ö-6"]
    apis[1].users["ann"]["ann-2"]["title"] = "Cafe\u0301"
    apis[1].users["ann"]["ann-3"]["meta"] = {"a": [1, 2], "b": None}
    apis[1].hidden = {"ann-4"}
    moved = apis[1].users["b&ö"].pop("b&ö-0")
    apis[1].users["b&ö"]["b&ö-0"] = moved
    findings = await compared(apis)
    assert (findings.compared, findings.counts["missing"], findings.counts["extra"]) == (14, 1, 1)
    found = {(each["id"], each["field"]): (each["legacy"], each["target"]) for each in findings.found}
    assert found["ann-0", None] == ("present", "absent")
    assert found["b&ö-6", None] == ("absent", "present")
    assert found["ann-2", "title"] == ("Caf\\xe9", "Cafe\\u0301")
    assert found["ann-3", "meta.a"] == ([1], [1, 2])
    assert found["ann-3", "meta.b"] == ("absent", "present")
    assert found["ann-4", "(list)"] == ("present", "absent")
    assert found["b&ö-0", "(place in the list)"] == (0, 5)


async def test_ignored_fields_may_differ(apis):
    for number, item in enumerate(apis[1].users["ann"].values()):
        item["title"], item["meta"] = f"other {number}", {"a": [number]}
    assert (await compared(apis)).counts["different"] == 7
    assert (await compared(apis, ignore=frozenset({"title", "meta.a"}))).mismatches == 0


async def test_a_sample_compares_so_many(apis):
    assert (await compared(apis, sample=5)).compared == 5
    assert (await compared(apis, sample=10)).compared == 10


async def test_a_token_is_sent_and_a_refusal_is_said_without_it(apis):
    apis[1].token = "Bearer hunter2"
    assert (await compared(apis, headers=("Authorization: Bearer hunter2",))).mismatches == 0
    with pytest.raises(MigrationFailed, match=r"status 401; see --target-header") as caught:
        await compared(apis, headers=("Authorization: Bearer wrong",))
    assert "wrong" not in str(caught.value)


async def test_an_api_that_stays_away_ends_it_with_one_message(apis):
    apis[0].failures = 10_000
    with pytest.raises(MigrationFailed, match=r"--legacy: GET .*/images: status 503"):
        await compared(apis, patience_s=0.2)


async def test_an_answer_that_is_no_list_is_said(apis):
    with pytest.raises(MigrationFailed, match='no list of objects "things"'):
        await compared(apis, shape=SHAPE.model_copy(update={"items": "things"}))


@pytest.mark.parametrize("url", ["images", "ftp://x", "http://user:hunter2@host", "http://host?x=1", "http://[::1"])
def test_an_address_that_can_not_be_used_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError) as caught:
        parse_api("--target", url, ())
    assert "hunter2" not in str(caught.value)


def test_numbers_are_compared_by_value_and_nothing_else_is():
    assert not list(json_differences({"a": True}, {"a": True}, frozenset()))
    assert list(json_differences({"a": True}, {"a": "true"}, frozenset()))
    assert list(json_differences({"a": None}, {}, frozenset()))
    assert list(json_differences({"a": [1, 2]}, {"a": [2, 1]}, frozenset()))
