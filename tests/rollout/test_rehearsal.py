"""Rehearsals and the watch after 100 %, with a door that answers by what the file says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.rollout.cohort import add_cohort, digest_of, restore
from proxy.rollout.http import Endpoint
from proxy.rollout.journal import Journal, Kind
from proxy.rollout.plan import Plan
from proxy.rollout.rehearsal import RehearsalFailed, Wish, rehearse
from proxy.rollout.time_source import SystemTime
from proxy.rollout.watching import Watch
from proxy.settings.addresses import parse_upstream
from proxy.settings.load import load_settings
from tests.rollout.servers import serving
from tests.rollout.test_stores import CONFIG
from tests.rollout.world import World, make_plan


class Quick(SystemTime):
    """Time that goes a hundred times as fast."""

    def monotonic(self) -> float:
        return super().monotonic() * 100

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


class Door:
    """A sidecar's listening port."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.target_works = True
        self.exposes = True
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        settings = load_settings(self.file, {}).settings
        user = request.headers.get("X-User-Id", "") or request.query.get("uid", "") or request.cookies.get("who", "")
        self.asked.append(user)
        moved = settings.rollout.enabled and user in settings.rollout.users.target and self.target_works
        source = settings.target.name if moved else settings.legacy.name
        return web.Response(status=404, headers={"X-Cutover-Source": source} if self.exposes else {})


@asynccontextmanager
async def scene(tmp_path: Path, config: str = CONFIG) -> AsyncIterator[tuple[Door, Plan, str, Journal]]:
    file = tmp_path / "cutover.yaml"
    await asyncio.to_thread(file.write_text, config)
    door = Door(file)
    async with serving(door.answer) as url:
        with Journal(tmp_path / "j.db") as journal:
            yield door, make_plan(apply={"file": str(file)}), str(url), journal


def last(journal: Journal) -> dict[str, Any]:
    entry = journal.last(Kind.REHEARSAL)
    assert entry is not None
    return entry.data


@pytest.mark.parametrize("way", ["header: X-User-Id", "query: uid", "cookie: who"])
async def test_every_user_goes_there_and_back(tmp_path: Path, way: str) -> None:
    config = CONFIG.replace("  percentage: 0\n", f"  percentage: 0\n  user_id: [{{jwt_claim: sub}}, {{{way}}}]\n", 1)
    async with scene(tmp_path, config) as (door, plan, url, journal):
        facts = await rehearse(plan, Wish(("qa-1", "qa/2"), url, "/images"), journal, Quick(), {})
        assert (facts["ok"], facts["users"]) == (True, 2)
        assert set(door.asked) == {"qa-1", "qa/2"}
        assert await asyncio.to_thread(door.file.read_text) == config
        assert last(journal)["ok"]
        assert "qa-1" not in str([entry.data for entry in journal.entries()]), "the journal holds no user ids"


async def test_a_target_that_does_not_serve_them_fails_it_and_they_are_taken_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as (door, plan, url, journal):
        door.target_works = False
        with pytest.raises(RehearsalFailed, match="the target did not serve every user"):
            await rehearse(plan, Wish(("qa-1",), url, "/images"), journal, Quick(), {})
        assert await asyncio.to_thread(door.file.read_text) == CONFIG
        assert not last(journal)["ok"]


async def test_one_that_was_broken_off_is_taken_back_by_the_next(tmp_path: Path) -> None:
    async with scene(tmp_path) as (door, plan, url, journal):
        await asyncio.to_thread(add_cohort, door.file, {}, ("old-1",))
        journal.add(Kind.REHEARSAL, 0, {"ok": False, "begun": True, "digests": [digest_of("old-1")]})
        await rehearse(plan, Wish(("qa-1",), url, "/images"), journal, Quick(), {})
        assert load_settings(door.file, {}).settings.rollout.users.target == ()


@pytest.mark.parametrize("name", ["cutover.yaml", "minimal.yaml"])
def test_users_are_added_to_a_shipped_configuration_and_nothing_else_changes(tmp_path: Path, name: str) -> None:
    shipped = (Path(__file__).parents[2] / "config" / name).read_text()
    file = tmp_path / name
    file.write_text(shipped)
    before = load_settings(file, {}).settings
    added = add_cohort(file, {}, ["test-user-1", "7"])
    after = load_settings(file, {}).settings
    assert after.rollout.users.target == ("test-user-1", "7")
    rollout = after.rollout.model_copy(update={"enabled": False, "users": before.rollout.users})
    assert after.model_copy(update={"rollout": rollout}) == before
    assert restore(file, {}, added)
    assert file.read_text() == shipped


async def test_what_cannot_be_rehearsed_is_said(tmp_path: Path) -> None:
    async with scene(tmp_path) as (door, plan, url, journal):
        sidecars = make_plan(apply={"sidecars": ["http://a:1"]})
        for other, wish, words in (
            (sidecars, Wish(("a",), url, "/"), "needs apply.file"),
            (plan, Wish((), url, "/"), "expected 1 to 1000 users"),
            (plan, Wish(("a",), "ftp://x", "/"), "--url"),
        ):
            with pytest.raises(RehearsalFailed, match=words):
                await rehearse(other, wish, journal, Quick(), {})
        door.exposes = False
        with pytest.raises(RehearsalFailed, match="X-Cutover-Source"):
            await rehearse(plan, Wish(("a",), url, "/"), journal, Quick(), {})
        with pytest.raises(RehearsalFailed, match="on legacy"):
            await rehearse(plan, Wish(("a",), "http://127.0.0.1:1", "/"), journal, Quick(), {})
        assert journal.last(Kind.REHEARSAL) is None


@pytest.mark.parametrize(
    ("listen", "words"),
    [("127.0.0.1:0", "say --url"), ("unix:/nowhere/x.sock", "on legacy"), ("127.0.0.1:1", "on legacy")],
)
async def test_the_door_is_where_the_configuration_listens(tmp_path: Path, listen: str, words: str) -> None:
    async with scene(tmp_path, f'listen: "{listen}"\n{CONFIG}') as (_, plan, _, journal):
        with pytest.raises(RehearsalFailed, match=words):
            await rehearse(plan, Wish(("a",), None, "/"), journal, Quick(), {})


async def test_a_watch_writes_snapshots_and_says_whether_all_were_good(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.put(100)
    world.good_traffic(500)
    said: list[str] = []
    with Journal(world.path) as journal:
        watch = Watch(world.plan, world, world, journal, world.time)
        assert await watch.run(3600 * 3, 3600, said.append)
        world.traffic = lambda: None
        assert not await watch.run(100, 3600, said.append)
        snapshots = [entry.data for entry in journal.entries(Kind.SNAPSHOT)]
    assert [one["verdict"] for one in snapshots] == ["GO", "GO", "GO", "HOLD"]
    assert snapshots[0]["places"] == {"file": [100, True]}
    assert said[0].startswith("3600 s: GO")


async def test_an_endpoint_over_a_unix_socket(tmp_path: Path) -> None:
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Authorization", ""))

    app.router.add_get("/x", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "a.sock")).start()
    async with Endpoint(parse_upstream(f"unix:{tmp_path}/a.sock"), "token") as endpoint:
        assert await endpoint.ask("GET", "/x") == b"Bearer token"
        assert repr(endpoint).endswith("open>")
    await runner.cleanup()
