"""One generation after another: what a request keeps, what is carried over, what is closed."""

from pathlib import Path

import pytest
import yaml

from proxy.core.breaker import BreakerState
from proxy.core.model import Role
from proxy.net.generation import Generation, Succession
from proxy.net.memory import BodyMemory
from proxy.net.pool import Pool
from proxy.settings.load import parse_settings
from proxy.settings.snapshot import Snapshot, compile_snapshot
from proxy.tasks import TaskKeeper

from .harness import Upstream, World, running

BASE = {
    "legacy": {"url": "http://127.0.0.1:1"},
    "target": {"url": "http://127.0.0.1:2"},
    "rollout": {"enabled": True, "percentage": 100},
}


def merged(base: dict, changes: dict) -> dict:
    result = dict(base)
    for key, value in changes.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


def snapshot(**changes: object) -> Snapshot:
    loaded = parse_settings(yaml.safe_dump(merged(BASE, changes)).encode(), Path("c.yaml"), {})
    return compile_snapshot(loaded.settings, loaded.revision)


@pytest.fixture
def succession() -> Succession:
    return Succession(TaskKeeper(), lambda: 1000.0, BodyMemory(1 << 20, 10))


@pytest.mark.parametrize(
    ("changes", "renewed"),
    [
        ({}, []),
        ({"rollout": {"percentage": 5}}, []),
        ({"legacy": {"timeout": "9s", "name": "old", "host": "upstream"}}, []),
        ({"target": {"headers": {"set": {"X-A": "b"}}, "strip_prefix": "/v1"}}, []),
        ({"legacy": {"url": "http://127.0.0.1:3"}}, [Role.LEGACY]),
        ({"target": {"url": "http://127.0.0.1:2/base"}}, [Role.TARGET]),
        ({"target": {"connect_timeout": "2s"}}, [Role.TARGET]),
        ({"target": {"pool": {"max_idle": 1}}}, [Role.TARGET]),
        ({"legacy": {"tls": {"server_name": "x"}}, "target": {"pool": {"max_idle": 1}}}, [Role.LEGACY, Role.TARGET]),
    ],
)
def test_a_pool_is_carried_over_unless_its_own_settings_changed(
    succession: Succession, changes: dict, renewed: list[Role]
) -> None:
    first, all_new = succession.succeed(snapshot(), {})
    assert all_new == list(Role)
    second, new = succession.succeed(snapshot(**changes), {})
    assert new == renewed
    for role in Role:
        assert (second.pool(role) is first.pool(role)) is (role not in renewed)
    assert second.snapshot is not first.snapshot


def test_other_contents_of_tls_files_make_another_pool(succession: Succession) -> None:
    first, _ = succession.succeed(snapshot(), {Role.TARGET: "one"})
    _, new = succession.succeed(snapshot(), {Role.TARGET: "two"})
    assert new == [Role.TARGET]
    assert first.target._closed


def test_a_file_that_cannot_be_used_changes_nothing(succession: Succession) -> None:
    first, _ = succession.succeed(snapshot(), {})
    broken = snapshot(legacy={"url": "http://127.0.0.1:4"})
    tls = broken.settings.target.tls.model_copy(update={"ca_file": "/nowhere/ca.pem"})
    url = snapshot(target={"url": "https://b"}).settings.target.url
    target = broken.settings.target.model_copy(update={"tls": tls, "url": url})
    settings = broken.settings.model_copy(update={"target": target})
    with pytest.raises(OSError, match="target"):
        succession.succeed(compile_snapshot(settings, "x"), {})
    again, new = succession.succeed(snapshot(), {})
    assert new == []
    assert again.legacy is first.legacy
    assert not first.legacy._closed


def test_the_breaker_is_kept_for_the_same_target_and_policy(succession: Succession) -> None:
    first, _ = succession.succeed(snapshot(), {})
    for _ in range(5):
        first.breaker.on_attempt(1000.0, failed=True)
    kept, _ = succession.succeed(snapshot(rollout={"percentage": 1}, target={"pool": {"max_idle": 2}}), {})
    assert kept.breaker.state(1000.0) is BreakerState.REJECTING
    elsewhere, _ = succession.succeed(snapshot(target={"url": "http://127.0.0.1:7"}), {})
    assert elsewhere.breaker.state(1000.0) is BreakerState.ADMITTING
    judged, _ = succession.succeed(
        snapshot(target={"url": "http://127.0.0.1:7", "circuit_breaker": {"consecutive": 9}}), {}
    )
    assert judged.breaker is not elsewhere.breaker


def adopt(world: World, *, target: Pool | None = None, **changes: object) -> Generation:
    """Give the plane the next generation, over the world's upstreams."""
    before = world.plane.generation
    after = Generation(snapshot(**changes), before.legacy, target or before.target, before.breaker)
    world.plane.adopt(after, after.snapshot.limits.connections)
    return after


async def test_a_request_keeps_its_generation_and_the_next_on_its_connection_has_the_new_one() -> None:
    async with running(rollout={"percentage": 100}) as world:
        client = world.client()
        await client.request("GET /images/1", "X-User-Id: u")
        other = Upstream(world, Role.TARGET)
        old = world.plane.generation.target
        adopt(world, target=world._pool(other, world.plane.snapshot.settings.target), expose=False)
        old.close()
        assert old.busy == 1
        await world.target.answer(b"old")
        assert client.response.get(b"x-cutover-source") == b"image_service"
        assert (old.busy, old.idle) == (0, 0)
        assert world.target.last.closing
        await client.request("GET /images/2", "X-User-Id: u")
        await other.answer(b"new")
        assert [response.body for response in client.responses()] == [b"old", b"new"]
        assert client.responses()[1].get(b"x-cutover-source") is None


async def test_a_closed_pool_still_serves_who_waits_for_it() -> None:
    async with running(rollout={"percentage": 100}, target={"pool": {"max_connections": 1}}) as world:
        one, two = world.client(), world.client()
        await one.request("GET /images/1", "X-User-Id: u")
        await two.request("GET /images/2", "X-User-Id: u")
        world.plane.generation.target.close()
        await world.target.answer(b"one")
        assert one.response.body == b"one"
        await world.target.answer(b"two")
        assert two.response.body == b"two"
        assert world.plane.generation.target.idle == 0


async def test_a_fallback_after_a_change_asks_the_legacy_that_the_request_began_with() -> None:
    async with running(rollout={"percentage": 100}) as world:
        client = world.client()
        await client.request("GET /images/1", "X-User-Id: u")
        adopt(world, rollout={"percentage": 0})
        world.plane.generation.legacy.close()
        await world.target.reset()
        await world.legacy.answer(b"from legacy")
        assert client.response.body == b"from legacy"


async def test_limits_trust_and_the_gate_follow_at_once() -> None:
    async with running() as world:
        idle = world.client(("127.0.0.1", 1))
        assert idle.downstream.trusted
        adopt(
            world,
            forwarded={"trusted_proxies": ["10.0.0.0/8"]},
            limits={"connections": 1},
            fallback={"max_concurrent": 3},
        )
        assert not idle.downstream.trusted
        assert idle.downstream.generation is world.plane.generation
        assert repr(world.plane.gate) == "<FallbackGate 0/3 inside, 0 waiting>"
        refused = world.client()
        await world.settle()
        assert b"503" in refused.received[:20]


async def test_a_raised_limit_lets_waiting_fallbacks_in() -> None:
    settings = {"rollout": {"percentage": 100}, "fallback": {"max_concurrent": 1}}
    async with running(**settings) as world:
        clients = [world.client() for _ in range(2)]
        for number, client in enumerate(clients):
            await client.request(f"GET /images/{number}", "X-User-Id: u")
        for transport in tuple(world.target.transports):
            transport.reset()
        await world.settle()
        assert repr(world.plane.gate) == "<FallbackGate 1/1 inside, 1 waiting>"
        adopt(world, rollout={"percentage": 100}, fallback={"max_concurrent": 2})
        await world.settle()
        assert repr(world.plane.gate) == "<FallbackGate 2/2 inside, 0 waiting>"
