"""The controller's side of the live page: each order once, whoever is killed, and no page that could disturb it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from proxy.rollout import publishing as publishing_module
from proxy.rollout.http import Endpoint
from proxy.rollout.journal import Journal, Kind
from proxy.rollout.pages import open_pages
from proxy.rollout.publishing import Publisher, read_order
from proxy.rollout.time_source import SystemTime
from proxy.settings.addresses import UpstreamUrl
from tests.rollout.servers import serving
from tests.rollout.world import World, make_plan


class Page:
    """A desk that hands out the same orders until they are answered."""

    def __init__(self) -> None:
        self.orders: list[Any] = []
        self.said: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.answer: Any = None

    async def take(self, request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("PUT", "/rollout/controller")
        self.said.append(await request.json())
        self.answers |= self.said[-1]["answers"]
        if self.answer is not None:
            return self.answer
        left = [one for one in self.orders if not isinstance(one, dict) or one.get("id") not in self.answers]
        return web.json_response({"orders": left})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing_module, "_EVERY_S", 0.05)
    monkeypatch.setattr(publishing_module, "_LOOK_S", 0.01)


@pytest.fixture
async def page() -> AsyncIterator[tuple[Page, UpstreamUrl]]:
    handler = Page()
    async with serving(handler.take) as url:
        yield handler, url


@contextlib.asynccontextmanager
async def publishing(journal: Journal, url: UpstreamUrl, said: list[str]) -> AsyncIterator[Publisher]:
    publisher = Publisher(journal, [Endpoint(url, timeout_s=1.0)], SystemTime(), said.append)
    publisher.start()
    yield publisher
    await publisher.close()


async def eventually(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - looks at what others do
            await asyncio.sleep(0.01)


def orders_in(journal: Journal) -> list[dict[str, Any]]:
    return [entry.data for entry in journal.entries(Kind.ORDER)]


async def test_an_order_is_written_once_and_answered_with_what_became_of_it(
    world: World, page: tuple[Page, UpstreamUrl]
) -> None:
    handler, url = page
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await controller.tick()
        handler.orders = [{"id": "a", "order": "pause"}]
        async with publishing(journal, url, []):
            await eventually(lambda: len(handler.said) >= 3)
            assert len(orders_in(journal)) == 1
            assert handler.answers == {}
            await controller._obey_orders()
            await eventually(lambda: handler.answers)
            handler.orders = [{"id": "b", "order": "pause"}]
            await eventually(lambda: len(orders_in(journal)) == 2)
            await controller._obey_orders()
            await eventually(lambda: "b" in handler.answers)
    assert handler.answers["a"] == {"obeyed": True, "why": "paused at 10 %"}
    assert handler.answers["b"] == {"obeyed": False, "why": "it is paused already"}
    last = handler.said[-1]
    assert (last["ended"], last["status"]["phase"]) == (True, "paused")


async def test_a_successor_does_not_write_an_order_again(world: World, page: tuple[Page, UpstreamUrl]) -> None:
    handler, url = page
    with Journal(world.path) as journal:
        controller = world.controller(journal)
        await controller.begin(world.facts())
        await controller.tick()
        handler.orders = [{"id": "a", "order": "promote", "stage": 1}]
        first = Publisher(journal, [Endpoint(url)], SystemTime(), lambda _line: None)
        first.start()
        await eventually(lambda: orders_in(journal))
        await first._tasks.close()  # killed: nobody says its end
        await first._pages[0].close()
        async with publishing(journal, url, []):
            before = len(handler.said)
            await eventually(lambda: len(handler.said) > before + 2)
            assert len(orders_in(journal)) == 1
            await controller._obey_orders()
            await eventually(lambda: "a" in handler.answers)
    assert handler.answers["a"]["obeyed"] is True
    assert len({said["controller"] for said in handler.said}) == 1, "a successor has its name"


@pytest.mark.parametrize(
    "orders",
    [
        [None],
        ["pause"],
        [{"id": "a"}],
        [{"order": "pause"}],
        [{"id": "a", "order": "explode"}],
        [{"id": "a", "order": "promote", "stage": "x"}],
        [{"id": "a", "order": "promote", "check": 3}],
    ],
)
async def test_what_is_no_order_never_gets_into_the_journal(
    world: World, page: tuple[Page, UpstreamUrl], orders: list[Any]
) -> None:
    handler, url = page
    handler.orders = orders
    with Journal(world.path) as journal:
        await world.controller(journal).begin(world.facts())
        async with publishing(journal, url, []):
            await eventually(lambda: len(handler.said) >= 1)
        assert orders_in(journal) == []


@pytest.mark.parametrize("answer", [web.json_response([1]), web.json_response({"orders": 3}), web.Response(text="hi")])
async def test_a_page_that_says_nonsense_is_no_page(
    world: World, page: tuple[Page, UpstreamUrl], answer: web.Response
) -> None:
    handler, url = page
    handler.answer = answer
    with Journal(world.path) as journal:
        await world.controller(journal).begin(world.facts())
        async with publishing(journal, url, []):
            await eventually(lambda: handler.said)
        assert orders_in(journal) == []


async def test_what_cannot_be_reached_is_said_once(world: World) -> None:
    said: list[str] = []
    with Journal(world.path) as journal:
        await world.controller(journal).begin(world.facts())
        gone = UpstreamUrl("http", "127.0.0.1", 1)
        async with publishing(journal, gone, said) as publisher:
            await eventually(lambda: said)
            for _ in range(3):
                await publisher._publish(publisher._pages[0])
    [line] = said
    assert line.startswith("the live page of http://127.0.0.1:1 does not show this rollout: ")


async def test_nothing_is_published_of_a_rollout_that_could_not_begin(
    world: World, page: tuple[Page, UpstreamUrl]
) -> None:
    handler, url = page
    with Journal(world.path) as journal:
        await Publisher(journal, [Endpoint(url)], SystemTime(), lambda _line: None).close()
    assert handler.said == []


def test_an_order_has_types() -> None:
    order = read_order({"order": "abort", "keep": True})
    assert (order.kind, order.keep) == ("abort", True)


@pytest.mark.parametrize(
    ("listen", "sidecars", "shown", "token"),
    [
        ("127.0.0.1:9900", [], ["http://127.0.0.1:9900"], "t"),
        ("0.0.0.0:9900", [], ["http://127.0.0.1:9900"], "t"),
        ("127.0.0.1:0", [], [], None),
        ("127.0.0.1:9900", ["http://127.0.0.1:9901"], ["http://127.0.0.1:9901"], "t"),
        ("127.0.0.1:9900", ["https://sidecar.example"], ["https://sidecar.example"], "t"),
        ("127.0.0.1:9900", ["http://10.0.0.7:9900"], ["http://10.0.0.7:9900"], None),  # no token in the clear
        ("127.0.0.1:9900", ["http://sidecar.example"], ["http://sidecar.example"], None),
    ],
)
def test_the_pages_of_a_file_are_those_that_are_scraped_or_its_own(
    tmp_path: Path, listen: str, sidecars: list[str], shown: list[str], token: str | None
) -> None:
    file = tmp_path / "cutover.yaml"
    urls = {"legacy": {"url": "http://127.0.0.1:1"}, "target": {"url": "http://127.0.0.1:2"}}
    file.write_text(yaml.safe_dump({**urls, "admin": {"listen": listen, "token": "t"}}))
    observe = {"sidecars": sidecars} if sidecars else {"prometheus": "http://127.0.0.1:9090"}
    pages = open_pages(make_plan(apply={"file": str(file)}, observe=observe), {})
    assert [page.name for page in pages] == shown
    assert {page._token for page in pages} <= {token}


def test_the_pages_of_sidecars_have_the_plans_token_and_a_broken_file_has_none(tmp_path: Path) -> None:
    apply = {"sidecars": ["http://10.0.0.7:9900"], "token": "p"}
    [page] = open_pages(make_plan(apply=apply), {})
    assert (page.name, page._token) == ("http://10.0.0.7:9900", "p")
    assert open_pages(make_plan(apply={"file": str(tmp_path / "none.yaml")}), {}) == []
