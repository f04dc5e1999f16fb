"""Each limit of contract section 2 with what a client gets that goes over it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e import sidecar as launcher
from tests.e2e.conftest import Gallery, StartServer, StartSidecar
from tests.e2e.sidecar import Sidecar, config, eventually
from tests.e2e.test_failures import Change
from tests.e2e.upstream import MIB
from tests.e2e.wire import Answer, Truncated, Wire, request

pytestmark = pytest.mark.serial

KIB = 1024
SLACK_S = 1.5
LIMITS: dict[str, Any] = {
    "header_bytes": "4KiB",
    "header_count": 20,
    "uri_bytes": "1KiB",
    "body_bytes": "64KiB",
    "header_timeout": "600ms",
    "body_timeout": "600ms",
    "stream_idle_timeout": "700ms",
    "keepalive_timeout": "800ms",
    "connections": 40,
}


def does(target: str = "answer") -> dict[str, str]:
    return {"X-User-Id": "u", "X-Target-Does": target}


@pytest.fixture(scope="module")
def limited(lasting: tuple[StartServer, StartSidecar]) -> Gallery:
    start_server, start_sidecar = lasting
    legacy, target = start_server("legacy"), start_server("target")
    sidecar = start_sidecar(config(legacy.url, target.url, limits=LIMITS, target={"timeout": "5s"}))
    return Gallery(sidecar, legacy, target)


@pytest.fixture(autouse=True)
def _nothing_seen(limited: Gallery) -> None:
    limited.target.forget()
    limited.legacy.forget()
    eventually(lambda: limited.sidecar.metrics().total("cutover_downstream_connections") == 0, 5)


def assert_refused(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Connection"] == "close"
    assert answer["X-Request-Id"]
    problem = answer.json()
    assert problem["status"] == status
    assert {"title", "detail", "request_id"} <= problem.keys()


def errors_of(change: Change) -> dict[str, float]:
    return {dict(labels)["kind"]: value for labels, value in change.of("cutover_client_errors_total").items()}


# sizes


def test_a_request_target_over_uri_bytes_is_a_414(limited: Gallery) -> None:
    target = "/images/" + "a" * (KIB - 8)
    assert limited.sidecar.ask("GET", target, does()).status == 200
    assert_refused(limited.sidecar.ask("GET", target + "a", does()), 414)
    assert len(limited.target.seen) == 1


def test_a_head_over_header_bytes_is_a_431(limited: Gallery) -> None:
    assert limited.sidecar.ask("GET", "/images/1", {**does(), "X-Long": "a" * 3000}).status == 200
    assert_refused(limited.sidecar.ask("GET", "/images/1", {**does(), "X-Long": "a" * 4096}), 431)
    assert len(limited.target.seen) == 1


def test_a_head_over_header_bytes_is_refused_before_its_end_has_come(limited: Gallery) -> None:
    with Wire(limited.sidecar.address, timeout_s=5) as wire:
        wire.send(
            b"GET /images/1 HTTP/1.1\r\nHost: a\r\n" + b"X-Long: aaaaaaaaaaaaaaa\r\n" * 8 + b"X-Y: " + b"a" * 5000
        )
        assert_refused(wire.answer(), 431)


def test_more_fields_than_header_count_is_a_431(limited: Gallery) -> None:
    fields = [("Host", "a"), *((f"X-{number}", "a") for number in range(19))]
    assert limited.sidecar.ask("GET", "/images/1", fields).status == 200
    assert_refused(limited.sidecar.ask("GET", "/images/1", [*fields, ("X-More", "a")]), 431)


def test_a_body_announced_longer_than_body_bytes_is_a_413_at_once(limited: Gallery) -> None:
    assert limited.sidecar.ask("POST", "/images", does(), bytes(64 * KIB)).status == 200
    with Wire(limited.sidecar.address) as wire:
        wire.send(request("POST", "/images", {**does(), "Content-Length": str(64 * KIB + 1)}))
        assert_refused(wire.answer(), 413)
    assert len(limited.target.seen) == 1


def test_a_chunked_body_that_grows_over_body_bytes_is_a_413_and_never_whole_upstream(limited: Gallery) -> None:
    change = Change(limited.sidecar)
    with Wire(limited.sidecar.address) as wire:
        wire.send(request("POST", "/images", {**does(), "Transfer-Encoding": "chunked"}))
        with contextlib.suppress(ConnectionError):
            for _ in range(5):
                wire.send(b"4000\r\n" + bytes(0x4000) + b"\r\n")
        assert_refused(wire.answer(), 413)
        assert wire.is_closed()
    assert not any(seen.whole for seen in limited.target.seen)
    assert limited.legacy.seen == []
    assert errors_of(change) == {"too_large": 1}


# slowness


def test_a_slowloris_in_the_head_is_a_408_however_many_bytes_it_sends(limited: Gallery) -> None:
    change = Change(limited.sidecar)
    start = time.monotonic()
    with Wire(limited.sidecar.address) as wire:
        wire.send(b"GET /images/1 HTTP/1.1\r\nHost: a\r\n")
        answer = _drip(wire, b"X-A: b\r\n")
        assert 0.5 < time.monotonic() - start < 0.6 + SLACK_S
        assert_refused(answer, 408)
        assert wire.is_closed()
    assert limited.target.seen == []
    assert errors_of(change) == {"header_timeout": 1}


def _drip(wire: Wire, endless: bytes) -> Answer:
    """Send a byte now and then until an answer comes."""
    wire.sock.settimeout(0.05)
    for at in range(200):
        with contextlib.suppress(TimeoutError):
            return wire.answer()
        with contextlib.suppress(ConnectionError):
            wire.send(endless[at % len(endless) :][:1])
    raise AssertionError("endless")


def test_a_second_request_is_timed_from_its_own_first_byte(limited: Gallery) -> None:
    with Wire(limited.sidecar.address) as wire:
        assert wire.ask("GET", "/images/1", does()).status == 200
        time.sleep(0.5)
        start = time.monotonic()
        wire.send(b"GET /images/1 HT")
        assert_refused(wire.answer(), 408)
        assert time.monotonic() - start > 0.5


def test_a_connection_that_never_says_anything_closes_without_a_word(limited: Gallery) -> None:
    start = time.monotonic()
    with Wire(limited.sidecar.address) as wire:
        assert wire.sock.recv(100) == b""
    assert time.monotonic() - start < 0.8 + SLACK_S


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_stops_is_a_408_after_body_timeout(limited: Gallery, framing: str) -> None:
    change = Change(limited.sidecar)
    field = ("Content-Length", "10") if framing == "length" else ("Transfer-Encoding", "chunked")
    start = time.monotonic()
    with Wire(limited.sidecar.address) as wire:
        wire.send(request("POST", "/images", [*does().items(), field]) + b"1\r\n")
        assert_refused(wire.answer(), 408)
        assert 0.5 < time.monotonic() - start < 0.6 + SLACK_S
        assert wire.is_closed()
    assert not any(seen.whole for seen in limited.target.seen)
    assert limited.legacy.seen == []
    assert errors_of(change) == {"body_timeout": 1}


def test_a_body_that_makes_progress_may_take_longer_than_body_timeout(limited: Gallery) -> None:
    with Wire(limited.sidecar.address) as wire:
        wire.send(request("POST", "/images", {**does(), "Content-Length": "12"}))
        for _ in range(12):
            time.sleep(0.1)
            wire.send(b"x")
        assert wire.answer().answered_by == "target"


def _unread(wire: Wire, verb: str) -> Answer:
    wire.send(request("GET", "/images/1", does(verb)))
    head = wire.head()
    assert head.status == 200
    return head


@pytest.mark.parametrize("verb", [f"length:{64 * MIB}", f"chunked:{64 * MIB}"])
def test_a_reader_that_stops_is_cut_off_after_body_timeout_and_can_tell(limited: Gallery, verb: str) -> None:
    change = Change(limited.sidecar)
    with Wire(limited.sidecar.address) as wire:
        head = _unread(wire, verb)
        assert eventually(lambda: errors_of(change) == {"slow_reader": 1}, 0.6 + SLACK_S + 3)
        with pytest.raises((Truncated, ConnectionError)):
            wire.body(head)
    assert eventually(lambda: limited.sidecar.metrics().total("cutover_inflight_requests") == 0)


def test_a_reader_that_takes_a_little_now_and_then_is_not_cut_off(limited: Gallery) -> None:
    change = Change(limited.sidecar)
    with Wire(limited.sidecar.address) as wire:
        _unread(wire, f"length:{64 * MIB}")
        for _ in range(10):
            time.sleep(0.2)
            for _ in range(16):
                assert len(wire.sock.recv(65536)) > 0
    assert "slow_reader" not in errors_of(change)


def test_an_upstream_that_stops_after_commit_cuts_the_response_after_body_timeout(limited: Gallery) -> None:
    start = time.monotonic()
    with Wire(limited.sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does("stall:400000")))
        with pytest.raises(Truncated):
            wire.answer()
    assert 0.5 < time.monotonic() - start < 0.6 + SLACK_S


def test_an_event_stream_may_be_silent_for_stream_idle_timeout_and_no_longer(limited: Gallery) -> None:
    start = time.monotonic()
    with Wire(limited.sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does("events")))  # its second event comes after 1.5 s
        with pytest.raises(Truncated) as cut:
            wire.answer()
    assert cut.value.received == 9
    assert 0.6 < time.monotonic() - start < 1.45


def test_an_idle_connection_closes_without_a_word_after_keepalive_timeout(limited: Gallery) -> None:
    with Wire(limited.sidecar.address) as wire:
        assert wire.ask("GET", "/images/1", does()).status == 200
        start = time.monotonic()
        assert wire.sock.recv(100) == b""
        assert 0.7 < time.monotonic() - start < 0.8 + SLACK_S


# numbers


@contextlib.contextmanager
def many(address: str, count: int) -> Iterator[list[Wire]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Wire(address, timeout_s=4)) for _ in range(count)]


def answers_of(wires: list[Wire]) -> list[Answer | Exception]:
    """What each gets for one request; those that were refused get their answer without one."""
    for wire in wires:
        with contextlib.suppress(ConnectionError):
            wire.send(request("GET", "/images/1", does()))
    found: list[Answer | Exception] = []
    for wire in wires:
        try:
            found.append(wire.answer())
        except (Truncated, OSError, AssertionError) as error:
            found.append(error)
    return found


def statuses(found: list[Answer | Exception]) -> dict[object, int]:
    words = [each.status if isinstance(each, Answer) else repr(each)[:60] for each in found]
    return {word: words.count(word) for word in words}


@pytest.fixture
def crowded(start_server: StartServer, start_sidecar: StartSidecar) -> Sidecar:
    legacy, target = start_server("legacy"), start_server("target")
    return start_sidecar(config(legacy.url, target.url, limits={"connections": 40}, target={"timeout": "5s"}))


def test_connections_over_the_limit_get_a_503_and_those_that_are_open_go_on(crowded: Sidecar) -> None:
    with many(crowded.address, 40) as first:
        assert statuses(answers_of(first)) == {200: 40}
        with many(crowded.address, 200) as more:
            refused = answers_of(more)
            assert statuses(refused) == {503: 200}
            for answer in refused:
                assert isinstance(answer, Answer)
                assert_refused(answer, 503)
                assert int(answer["Retry-After"] or 0) >= 1
            assert statuses(answers_of(first)) == {200: 40}
            assert crowded.ask_admin("GET", "/healthz").status == 200
            assert crowded.metrics().total("cutover_client_errors_total", kind="connection_limit") >= 200
        assert statuses(answers_of(first)) == {200: 40}

    def room() -> bool:
        with Wire(crowded.address) as wire:
            return statuses(answers_of([wire])) == {200: 1}

    assert eventually(room, 5)


def test_a_storm_of_connections_that_say_nothing_leaves_the_admin_port_and_open_connections_alive(
    crowded: Sidecar,
) -> None:
    with many(crowded.address, 5) as first:
        assert statuses(answers_of(first)) == {200: 5}
        for _ in range(3):
            with many(crowded.address, 400):
                assert crowded.ask_admin("GET", "/readyz").status == 200
                assert statuses(answers_of(first)) == {200: 5}

    def room() -> bool:
        with Wire(crowded.address) as wire:
            return statuses(answers_of([wire])) == {200: 1}

    assert eventually(room, 5)


# file descriptors


@pytest.fixture
def few_descriptors(
    start_server: StartServer, start_sidecar: StartSidecar, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, int], Sidecar]:
    """Starts a sidecar whose limit of open files is small."""
    usual = launcher.command

    def start(soft: int, hard: int) -> Sidecar:
        script = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"'
        monkeypatch.setattr(launcher, "command", lambda *words: ["bash", "-c", script, "bash", *usual(*words)])
        legacy, target = start_server("legacy"), start_server("target")
        pool = {"max_connections": 32}
        limits = {"connections": 10_000}
        changes: dict[str, Any] = {"legacy": {"pool": pool}, "target": {"pool": pool, "timeout": "5s"}}
        return start_sidecar(config(legacy.url, target.url, limits=limits, **changes))

    return start


def _told_limit(sidecar: Sidecar) -> list[Any]:
    return [line for line in sidecar.events("config_warning") if line["key"] == "limits.connections"]


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(
    few_descriptors: Callable[[int, int], Sidecar],
) -> None:
    sidecar = few_descriptors(256, 1024)
    with open(f"/proc/{sidecar.process.pid}/limits") as limits:  # noqa: PTH123 - no path of ours
        (line,) = [line for line in limits if line.startswith("Max open files")]
    assert line.split()[3:5] == ["1024", "1024"]
    with many(sidecar.address, 400) as wires:
        assert statuses(answers_of(wires)) == {200: 400}


def test_more_clients_than_descriptors_are_refused_with_a_503_and_the_others_are_served(
    few_descriptors: Callable[[int, int], Sidecar],
) -> None:
    sidecar = few_descriptors(256, 256)
    assert eventually(lambda: len(_told_limit(sidecar)) == 1, 5)
    with many(sidecar.address, 40) as first:
        assert statuses(answers_of(first)) == {200: 40}
        with many(sidecar.address, 400) as more:
            # What comes in one burst beyond the last descriptor is closed without a word by the event loop itself.
            found = statuses(answers_of(more))
            assert sidecar.ask_admin("GET", "/healthz").status == 200
            assert statuses(answers_of(first)) == {200: 40}
            assert {200, 503} <= set(found)
            assert found[200] >= 10  # 53 fit into 256 descriptors, 40 are taken
        assert statuses(answers_of(first)) == {200: 40}

    def room() -> bool:
        with Wire(sidecar.address) as wire:
            return statuses(answers_of([wire])) == {200: 1}

    assert eventually(room, 5)
    assert sidecar.process.poll() is None
