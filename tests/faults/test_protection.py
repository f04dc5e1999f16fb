"""The circuit breaker, hedging, and the cap on fallbacks, with a target that accepts and never answers."""

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.conftest import Server, StartServer, StartSidecar
from tests.e2e.sidecar import Sidecar, config, eventually
from tests.e2e.upstream import Connection, Seen, Upstream, behaviour
from tests.e2e.wire import Answer, Wire

pytestmark = pytest.mark.serial

TIMEOUT_S = 0.5
OPEN_FOR_S = 1.0
SLACK_S = 1.0
HEDGE_S = 0.2
LEGACY_S = 0.1
CAP = 4


class Load:
    """Numbers of concurrent requests, for the `counted` behaviour."""

    lock = threading.Lock()
    now: int = 0
    most: int = 0


@behaviour
async def counted(upstream: Upstream, connection: Connection, seen: Seen, seconds: str) -> None:
    """Answer after a while; remember how many are being answered at once."""
    from tests.e2e.upstream import BEHAVIOURS  # noqa: PLC0415 - a behaviour that uses another

    Load.now += 1
    Load.most = max(Load.most, Load.now)
    try:
        await BEHAVIOURS["delay"](upstream, connection, seen, seconds)
    finally:
        Load.now -= 1


def timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    start = time.monotonic()
    answer = work()
    return answer, time.monotonic() - start


def does(target: str, legacy: str = "answer") -> dict[str, str]:
    return {"X-User-Id": "u", "X-Target-Does": target, "X-Legacy-Does": legacy}


# the breaker


@pytest.fixture
def breaker(start_server: StartServer, start_sidecar: StartSidecar) -> tuple[Sidecar, Server, Server]:
    legacy, target = start_server("legacy"), start_server("target")
    settings = config(
        legacy.url,
        target.url,
        legacy={"timeout": "10s"},
        target={
            "timeout": f"{TIMEOUT_S}s",
            "circuit_breaker": {"enabled": True, "consecutive": 5, "open_for": f"{OPEN_FOR_S}s", "probes": 3},
        },
    )
    return start_sidecar(settings), legacy, target


def trip(sidecar: Sidecar) -> list[float]:
    """Let a user wait for the black hole until the breaker opens; returns how long each request took."""
    times = []
    with Wire(sidecar.address) as wire:
        for _ in range(5):
            answer, seconds = timed(lambda: wire.ask("GET", "/images/1", does("black-hole")))
            assert (answer.answered_by, answer["X-Cutover-Fallback"]) == ("legacy", "timeout")
            times.append(seconds)
    assert sidecar.metrics().total("cutover_breaker_state", source="image_service") == 2
    return times


def test_before_the_breaker_opens_clients_wait_at_most_the_targets_timeout(
    breaker: tuple[Sidecar, Server, Server],
) -> None:
    times = trip(breaker[0])
    assert max(times) < TIMEOUT_S + SLACK_S
    assert statistics.median(times) < TIMEOUT_S + 0.2


def test_while_the_breaker_is_open_a_request_costs_next_to_nothing_more_than_legacy(
    breaker: tuple[Sidecar, Server, Server],
) -> None:
    sidecar, legacy, target = breaker
    trip(sidecar)
    asked = len(target.seen)

    def sample(address: str, path: str) -> list[float]:
        with Wire(address) as wire:
            wire.ask("GET", path, does("black-hole"))
            return [timed(lambda: wire.ask("GET", path, does("black-hole")))[1] for _ in range(60)]

    through, direct, routed = [], [], []
    end = time.monotonic() + OPEN_FOR_S * 0.8  # afterwards it probes; those cost nobody either, but are seen
    while time.monotonic() < end:
        through += sample(sidecar.address, "/images/1")
        direct += sample(f"127.0.0.1:{legacy.port}", "/images/1")
        routed += sample(sidecar.address, "/kept/1")
    assert len(target.seen) - asked <= 3
    added_ms = (statistics.median(through) - statistics.median(direct)) * 1000
    over_routed_ms = (statistics.median(through) - statistics.median(routed)) * 1000
    print(f"\nopen breaker: {added_ms:+.2f} ms over direct legacy, {over_routed_ms:+.2f} ms over a route to legacy")
    assert added_ms < 15  # the contract's bound is 5 ms, on a quiet machine
    assert over_routed_ms < 5


def test_traffic_returns_within_open_for_and_a_second_and_no_user_waits_for_a_probe(
    breaker: tuple[Sidecar, Server, Server],
) -> None:
    sidecar, _legacy, target = breaker
    trip(sidecar)
    asked = len(target.seen)
    with Wire(sidecar.address) as wire:

        def probed() -> bool:  # probes go into the black hole: each user is answered by legacy all the same, at once
            answer, seconds = timed(lambda: wire.ask("GET", "/images/1", does("black-hole")))
            assert answer.answered_by == "legacy"
            assert answer["X-Cutover-Reason"] == "breaker_open"
            assert seconds < TIMEOUT_S * 0.8
            return len(target.seen) > asked and sidecar.metrics().total("cutover_breaker_state") == 2

        assert eventually(probed, OPEN_FOR_S + TIMEOUT_S + 3)  # probed, failed, open again
        back = time.monotonic()  # from here on the target is well

        def returned() -> bool:
            answer, seconds = timed(lambda: wire.ask("GET", "/images/1", does("delay:0.05")))
            assert seconds < TIMEOUT_S * 0.8
            assert answer["X-Cutover-Fallback"] is None
            return answer.answered_by == "target"

        assert eventually(returned, OPEN_FOR_S + 3)
        took = time.monotonic() - back
    print(f"\ntraffic was back {took:.2f} s after the target (open_for {OPEN_FOR_S} s)")
    assert took < OPEN_FOR_S + 1.0


def test_methods_that_may_not_be_replayed_go_straight_to_legacy_while_the_breaker_is_open(
    breaker: tuple[Sidecar, Server, Server],
) -> None:
    sidecar, legacy, target = breaker
    trip(sidecar)
    asked = len(target.seen)
    legacy.forget()
    for method, path in (("POST", "/images"), ("PUT", "/images/1"), ("DELETE", "/images/1")):
        answer, seconds = timed(lambda m=method, p=path: sidecar.ask(m, p, does("black-hole"), b"pixels"))
        assert (answer.status, answer.answered_by) == (200, "legacy")
        assert seconds < TIMEOUT_S * 0.8
    assert [seen.method for seen in legacy.seen] == ["POST", "PUT", "DELETE"]
    time.sleep(OPEN_FOR_S)  # now it would probe, but not with these
    assert sidecar.ask("POST", "/images", does("black-hole"), b"pixels").answered_by == "legacy"
    assert len(target.seen) == asked


def test_all_clients_of_a_black_hole_are_served_while_it_lasts(breaker: tuple[Sidecar, Server, Server]) -> None:
    sidecar, _legacy, _target = breaker
    waits: list[float] = []

    def client(_number: int) -> None:
        with Wire(sidecar.address) as wire:
            for _ in range(40):
                answer, seconds = timed(lambda: wire.ask("GET", "/images/1", does("black-hole")))
                assert (answer.status, answer.answered_by) == (200, "legacy")
                waits.append(seconds)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(client, range(16)))
    slow = [seconds for seconds in waits if seconds > TIMEOUT_S * 0.8]
    assert max(waits) < TIMEOUT_S + SLACK_S
    assert len(slow) <= 32  # those that were under way when it opened, and no others


# hedging


def test_with_hedging_no_get_waits_longer_than_the_hedge_and_legacys_own_time(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    settings = config(
        legacy.url,
        target.url,
        legacy={"timeout": "10s"},
        target={"timeout": "5s"},
        fallback={"hedge_after": f"{int(HEDGE_S * 1000)}ms"},
    )
    sidecar = start_sidecar(settings)
    waits: list[float] = []

    def client(_number: int) -> None:
        with Wire(sidecar.address) as wire:
            for what in ("black-hole", "head-then-nothing", "delay:3", "black-hole"):
                fields = does(what, f"delay:{LEGACY_S}")
                answer, seconds = timed(lambda fields=fields: wire.ask("GET", "/images/1", fields))
                assert (answer.status, answer.answered_by) == (200, "legacy")
                waits.append(seconds)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(client, range(8)))
    print(f"\nhedged: median {statistics.median(waits):.3f} s, longest {max(waits):.3f} s")
    assert statistics.median(waits) < HEDGE_S + LEGACY_S + 0.1
    assert max(waits) < HEDGE_S + LEGACY_S + SLACK_S
    answer, seconds = timed(lambda: sidecar.ask("GET", "/images/1", does("answer", "delay:5")))
    assert (answer.answered_by, seconds < HEDGE_S + SLACK_S) == ("target", True)
    legacy.forget()
    assert sidecar.ask("POST", "/images", does("delay:0.4"), b"pixels").answered_by == "target"
    assert legacy.seen == []


# the cap


@pytest.mark.parametrize("what", ["status:500", "reset", "black-hole"])
def test_no_more_fallbacks_than_the_cap_reach_legacy_at_once_and_the_others_wait_and_are_served(
    start_server: StartServer, start_sidecar: StartSidecar, what: str
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    settings = config(
        legacy.url,
        target.url,
        legacy={"timeout": "10s"},
        target={"timeout": "300ms"},
        fallback={"max_concurrent": CAP},
    )
    sidecar = start_sidecar(settings)
    Load.now = Load.most = 0

    def client(number: int) -> Any:
        return sidecar.ask("GET", f"/images/{number}", does(what, "counted:0.05"))

    with ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(client, range(48)))
    assert {(answer.status, answer.answered_by) for answer in answers} == {(200, "legacy")}
    assert Load.most == CAP


def test_a_fallback_that_waits_longer_than_legacys_timeout_is_given_up(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    settings = config(legacy.url, target.url, legacy={"timeout": "1s"}, fallback={"max_concurrent": 1})
    sidecar = start_sidecar(settings)

    def client(number: int) -> tuple[int, float]:
        fields = does("reset", "black-hole")
        answer, seconds = timed(lambda: sidecar.ask("GET", f"/images/{number}", fields))
        return answer.status, seconds

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(client, range(8)))
    assert {status for status, _ in found} <= {502, 503, 504}
    assert max(seconds for _, seconds in found) < 1.0 + SLACK_S
    assert len(legacy.seen) <= 8
    eventually(lambda: sidecar.metrics().total("cutover_inflight_requests") == 0)
    answer = sidecar.ask("GET", "/images/9", does("reset"))
    assert (answer.status, answer.answered_by) == (200, "legacy")  # the gate lets in again
