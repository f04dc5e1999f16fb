"""What happens when the target fails, by kind and method (contract section 4)."""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Gallery, StartServer, StartSidecar
from tests.e2e.sidecar import Sample, Sidecar, config, eventually
from tests.e2e.upstream import MIB, NONSENSE
from tests.e2e.wire import Wire, request

BODY = b"pixels" * 100

# what the target does, and how the attempt fails
SENT = [
    ("black-hole", "timeout"),
    ("head-then-nothing", "timeout"),
    ("reset", "reset"),
    ("hang-up", "reset"),
    ("reset-mid-head", "reset"),
    ("close-mid-head", "reset"),
    ("cut-length:1000:reset", "reset"),
    ("cut-length:1000", "reset"),
    ("cut-chunked:1000", "reset"),
    ("cut-chunked:1000:reset", "reset"),
    ("reset-close-delimited:1000", "reset"),
    ("hints-then-reset", "reset"),
    ("bad-chunk:1000", "invalid_response"),
    *((f"nonsense:{what}", "invalid_response") for what in NONSENSE if what != "bare-lf"),
]
STATUSES = [401, 403, 404, 408, 429, 500, 502, 503, 504, 599]


class Change:
    """How the counters of a sidecar have changed since this was made."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._before = sidecar.metrics()

    def of(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        after = self._sidecar.metrics()
        return {
            tuple(sorted(labels)): value - self._before.values.get((each, labels), 0)
            for (each, labels), value in after.values.items()
            if each == name and value != self._before.values.get((each, labels), 0)
        }


def counted(**labels: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {tuple(sorted(labels.items())): 1}


def attempts(operation: str, target: str, legacy: str | None) -> dict[tuple[tuple[str, str], ...], float]:
    expected = counted(source="image_service", operation=operation, outcome=target)
    if legacy is not None:
        expected |= counted(source="postgresql", operation=operation, outcome=legacy)
    return expected


def does(target: str = "answer", legacy: str = "answer") -> dict[str, str]:
    return {"X-Target-Does": target, "X-Legacy-Does": legacy, "X-User-Id": "u"}


def assert_asked_once(gallery: Gallery, target: str, legacy: str) -> None:
    """Each was asked once; on a pooled connection that closed without a byte once more, by its replacement."""
    for server, what in ((gallery.target, target), (gallery.legacy, legacy)):
        assert len(server.seen) in ((1, 2) if what in ("reset", "hang-up") else (1,))


@pytest.mark.parametrize(
    ("method", "what", "kind"),
    [
        *(("GET", *each) for each in SENT),
        *(("HEAD", *each) for each in SENT if each[0] in ("black-hole", "reset", "nonsense:status-line")),
    ],
)
def test_a_get_falls_back_and_says_why(gallery: Gallery, method: str, what: str, kind: str) -> None:
    change = Change(gallery.sidecar)
    answer = gallery.sidecar.ask(method, "/images/1", does(what))
    assert answer.status == 200
    assert answer["X-Cutover-Fallback"] == kind
    assert answer["X-Cutover-Source"] == "postgresql"
    assert answer["X-Cutover-Reason"] == "percentage"
    if method == "GET":
        assert answer.body.startswith(b"legacy GET /images/1 0 ")
    assert_asked_once(gallery, what, "answer")
    assert change.of("cutover_fallbacks_total") == counted(operation="get", reason=kind, result="served")
    assert change.of("cutover_attempts_total") == attempts("get", kind, "ok")
    assert change.of("cutover_requests_total") == counted(source="postgresql", operation="get", code="200")


def test_lines_of_a_head_that_end_with_a_bare_line_feed_are_an_invalid_response(gallery: Gallery) -> None:
    answer = gallery.sidecar.ask("GET", "/images/1", does("nonsense:bare-lf"))
    assert (answer.answered_by, answer["X-Cutover-Fallback"]) == ("legacy", "invalid_response")


@pytest.mark.parametrize("status", STATUSES)
def test_a_get_falls_back_from_a_status_of_the_list(gallery: Gallery, status: int) -> None:
    change = Change(gallery.sidecar)
    answer = gallery.sidecar.ask("GET", "/images/1", does(f"status:{status}"))
    assert (answer.status, answer.answered_by) == (200, "legacy")
    assert answer["X-Cutover-Fallback"] == f"status_{status}"
    reason = f"status_{status}"
    assert change.of("cutover_fallbacks_total") == counted(operation="get", reason=reason, result="served")
    assert change.of("cutover_attempts_total") == attempts("get", reason, "ok")


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 409, 410, 422])
def test_a_status_not_of_the_list_is_the_answer(gallery: Gallery, status: int) -> None:
    verb = f"bare:{status}" if status in (204, 304) else f"status:{status}"
    change = Change(gallery.sidecar)
    answer = gallery.sidecar.ask("GET", "/images/1", does(verb))
    assert (answer.status, answer["X-Cutover-Source"]) == (status, "image_service")
    assert answer["X-Cutover-Fallback"] is None
    assert gallery.legacy.seen == []
    assert change.of("cutover_fallbacks_total") == {}
    assert change.of("cutover_attempts_total") == attempts("get", "ok", None)


@pytest.mark.parametrize(("what", "kind"), SENT)
def test_a_post_whose_bytes_were_sent_is_not_asked_twice(gallery: Gallery, what: str, kind: str) -> None:
    change = Change(gallery.sidecar)
    answer = gallery.sidecar.ask("POST", "/images", does(what), BODY)
    assert answer.status == (504 if kind == "timeout" else 502)
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["request_id"]) == (answer.status, answer["X-Request-Id"])
    assert {"title", "detail"} <= problem.keys()
    (seen,) = gallery.target.seen
    assert (seen.method, seen.sha256) == ("POST", hashlib.sha256(BODY).hexdigest())
    time.sleep(0.05)  # a second POST would be here by now
    assert [len(gallery.target.seen), len(gallery.legacy.seen)] == [1, 0]
    assert change.of("cutover_fallbacks_total") == counted(operation="upload", reason=kind, result="suppressed")
    assert change.of("cutover_attempts_total") == attempts("upload", kind, None)
    code = str(answer.status)
    assert change.of("cutover_requests_total") == counted(source="proxy", operation="upload", code=code)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_status_of_the_list_is_the_answer_to_a_method_that_may_not_be_replayed(gallery: Gallery, method: str) -> None:
    target = "/images" if method == "POST" else "/images/1"
    change = Change(gallery.sidecar)
    fields = {**does("status:503:3000"), "Idempotency-Key": "k-1"}
    answer = gallery.sidecar.ask(method, target, fields, BODY)
    assert (answer.status, answer["X-Told"], answer.length) == (503, "503", 3000)
    assert answer["X-Cutover-Source"] == "image_service"
    assert [len(gallery.target.seen), len(gallery.legacy.seen)] == [1, 0]
    (labels,) = change.of("cutover_fallbacks_total")
    assert dict(labels)["result"] == "suppressed"


def test_options_falls_back_as_a_safe_method(gallery: Gallery, start_sidecar: StartSidecar) -> None:
    operations = [{"name": "all", "match": "OPTIONS /images/{id}"}]
    sidecar = start_sidecar(config(gallery.legacy.url, gallery.target.url, operations=operations))
    answer = sidecar.ask("OPTIONS", "/images/1", does("reset"))
    assert (answer.answered_by, answer["X-Cutover-Fallback"]) == ("legacy", "reset")


# failures before anything was sent


@pytest.fixture(scope="module")
def refused(lasting: tuple[StartServer, StartSidecar], refusing_port: int) -> Gallery:
    start_server, start_sidecar = lasting
    legacy = start_server("legacy")
    sidecar = start_sidecar(config(legacy.url, f"http://127.0.0.1:{refusing_port}"))
    return Gallery(sidecar, legacy, legacy)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_every_method_falls_back_when_the_target_can_not_be_connected(refused: Gallery, method: str) -> None:
    refused.legacy.forget()
    target, operation = ("/images", "upload") if method == "POST" else ("/images/1", None)
    change = Change(refused.sidecar)
    answer = refused.sidecar.ask(method, target, {}, BODY if method != "GET" else None)
    assert (answer.status, answer.answered_by) == (200, "legacy")
    assert answer["X-Cutover-Fallback"] == "connect_error"
    (seen,) = refused.legacy.seen
    assert seen.sha256 == hashlib.sha256(BODY if method != "GET" else b"").hexdigest()
    assert seen.one("X-Cutover-Source") == b"postgresql"
    if operation:
        expected = counted(operation=operation, reason="connect_error", result="served")
        assert change.of("cutover_fallbacks_total") == expected
        assert change.of("cutover_attempts_total") == attempts(operation, "connect_error", "ok")


def test_a_chunked_post_with_trailers_falls_back_whole_when_nothing_was_sent(refused: Gallery) -> None:
    refused.legacy.forget()
    with Wire(refused.sidecar.address) as wire:
        wire.send(b"POST /images HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        time.sleep(0.1)
        wire.send(b"2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
        assert wire.answer().answered_by == "legacy"
    (seen,) = refused.legacy.seen
    assert (seen.body, seen.chunked, seen.trailers) == (b"abcde", True, [b"X-Sum: 5"])


def test_a_long_post_falls_back_when_nothing_was_sent(refused: Gallery) -> None:
    refused.legacy.forget()
    body = bytes(range(256)) * 4096 * 2
    answer = refused.sidecar.ask("POST", "/images", {}, body)
    assert (answer.status, answer.answered_by) == (200, "legacy")
    assert refused.legacy.seen[0].sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_method_falls_back_when_the_pool_has_no_place(
    start_server: StartServer, start_sidecar: StartSidecar, method: str
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    pool = {"max_connections": 1, "max_pending": 1}
    sidecar = start_sidecar(config(legacy.url, target.url, target={"pool": pool, "timeout": "10s"}))
    change = Change(sidecar)
    with Wire(sidecar.address) as first, Wire(sidecar.address) as second:
        first.send(request("GET", "/images/1", does("delay:1.5")))
        eventually(lambda: len(target.seen) == 1)
        second.send(request("GET", "/images/2", does()))
        eventually(lambda: sidecar.metrics().total("cutover_inflight_requests", source="image_service") == 2)
        answer = sidecar.ask(method, "/images" if method == "POST" else "/images/3", does(), BODY)
        assert (answer.status, answer.answered_by) == (200, "legacy")
        assert answer["X-Cutover-Fallback"] == "overload"
        assert first.answer().answered_by == "target"
        assert second.answer().answered_by == "target"
    operation = "upload" if method == "POST" else "get"
    assert change.of("cutover_fallbacks_total") == counted(operation=operation, reason="overload", result="served")


def test_a_pool_without_a_queue_still_opens_connections_up_to_its_limit(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    target = start_server("target")
    legacy = start_server("legacy")
    pool = {"max_connections": 8, "max_pending": 0}
    sidecar = start_sidecar(config(legacy.url, target.url, target={"pool": pool}))
    assert sidecar.ask("GET", "/images/1").answered_by == "target"


# both fail


@pytest.mark.parametrize(
    ("target", "legacy", "status", "source", "result"),
    [
        ("status:500:1000", "reset", 500, "image_service", "failed"),
        ("status:500:600000", "reset", 500, "image_service", "failed"),
        ("status:500:600000", "black-hole", 500, "image_service", "failed"),
        ("status:404", "nonsense:status-line", 404, "image_service", "failed"),
        ("status:503", "hang-up", 503, "image_service", "failed"),
        ("status:404", "status:404", 404, "postgresql", "confirmed"),
        ("status:500", "status:404", 404, "postgresql", "served"),
        ("status:500", "status:503", 503, "postgresql", "failed"),
        ("reset", "status:503", 503, "postgresql", "failed"),
        ("reset", "reset", 502, "proxy", "failed"),
        ("black-hole", "reset", 502, "proxy", "failed"),
        ("reset", "black-hole", 504, "proxy", "failed"),
        ("black-hole", "black-hole", 504, "proxy", "failed"),
        ("nonsense:two-lengths", "nonsense:two-lengths", 502, "proxy", "failed"),
    ],
)
def test_when_both_fail_the_client_gets_the_best_that_there_is(
    gallery: Gallery, target: str, legacy: str, status: int, source: str, result: str
) -> None:
    change = Change(gallery.sidecar)
    answer = gallery.sidecar.ask("GET", "/images/1", does(target, legacy))
    assert (answer.status, answer["X-Cutover-Source"]) == (status, source)
    assert answer["X-Cutover-Fallback"] is not None
    if source == "proxy":
        assert answer["Content-Type"] == "application/problem+json"
    else:
        assert answer["X-Told"] == str(status)
        assert answer.length == int(target.split(":")[2] if target.count(":") == 2 else 9)
    assert_asked_once(gallery, target, legacy)
    (labels,) = change.of("cutover_fallbacks_total")
    assert dict(labels)["result"] == result


def test_the_answer_to_head_is_a_502_without_content_when_both_fail(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        assert wire.ask("HEAD", "/images/1", does("reset", "reset")).status == 502
        assert wire.ask("GET", "/images/1", does()).status == 200


def test_with_fallback_off_the_targets_failure_is_the_answer(gallery: Gallery, start_sidecar: StartSidecar) -> None:
    settings = config(gallery.legacy.url, gallery.target.url, fallback={"enabled": False}, expose=False)
    sidecar = start_sidecar(settings)
    assert sidecar.ask("GET", "/images/1", does("status:500")).status == 500
    answer = sidecar.ask("GET", "/images/1", does("reset"))
    assert answer.status == 502
    assert [name for name, _ in answer.fields if name.lower().startswith(b"x-cutover")] == []
    assert answer["X-Request-Id"]
    assert gallery.legacy.seen == []


def test_unsafe_methods_with_an_idempotency_key_are_replayed_where_the_configuration_says_so(
    gallery: Gallery, start_sidecar: StartSidecar
) -> None:
    settings = config(gallery.legacy.url, gallery.target.url, fallback={"unsafe_methods": "idempotency_key"})
    sidecar = start_sidecar(settings)
    assert sidecar.ask("POST", "/images", does("reset"), BODY).status == 502
    answer = sidecar.ask("POST", "/images", {**does("reset"), "Idempotency-Key": "k"}, BODY)
    assert (answer.status, answer.answered_by) == (200, "legacy")
    assert gallery.legacy.seen[0].sha256 == hashlib.sha256(BODY).hexdigest()
    long = sidecar.ask("POST", "/images", {**does("reset"), "Idempotency-Key": "k"}, BODY * 1000)
    assert long.status == 502


# connections


def test_a_pooled_connection_that_closes_before_a_byte_is_replaced_unnoticed(gallery: Gallery) -> None:
    sidecar = gallery.sidecar
    with Wire(sidecar.address) as wire:
        assert wire.ask("GET", "/images/1", does()).answered_by == "target"
        change = Change(sidecar)
        for _ in range(5):
            answer = wire.ask("GET", "/images/1", does("hang-up-if-reused"))
            assert (answer.answered_by, answer["X-Cutover-Fallback"]) == ("target", None)
    assert change.of("cutover_fallbacks_total") == {}
    (value,) = change.of("cutover_attempts_total").values()
    assert value == 5
    assert gallery.legacy.seen == []


def test_idle_connections_closed_by_the_upstream_are_not_used_again(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        for _ in range(5):
            assert wire.ask("GET", "/images/1", does()).answered_by == "target"
            assert wire.ask("POST", "/images", does(), BODY).answered_by == "target"
            gallery.target.close_connections()
            eventually(lambda: _idle(gallery.sidecar.metrics()) == 0)


def _idle(sample: Sample) -> float:
    return sample.total("cutover_upstream_connections", source="image_service", state="idle")


def test_a_second_answer_behind_the_first_reaches_nobody(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        for number in range(10):
            answer = wire.ask("GET", f"/images/{number}", does("smuggle"))
            assert answer.body.startswith(f"target GET /images/{number} ".encode())
            answer = wire.ask("GET", f"/images/{number}", does())
            assert answer.body.startswith(f"target GET /images/{number} ".encode())


def test_a_late_answer_does_not_reach_another_request(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        late = wire.ask("GET", "/images/late", does("delay:1.3"))
        assert (late.answered_by, late["X-Cutover-Fallback"]) == ("legacy", "timeout")
        for number in range(10):
            answer = wire.ask("GET", f"/images/{number}", does("delay:0.06"))
            assert answer.body.startswith(f"target GET /images/{number} ".encode())


def test_a_client_that_leaves_cancels_the_attempt_and_is_counted_as_499(gallery: Gallery) -> None:
    change = Change(gallery.sidecar)
    with Wire(gallery.sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does("black-hole")))
        eventually(lambda: len(gallery.target.seen) == 1)
    eventually(lambda: change.of("cutover_requests_total") != {})
    assert change.of("cutover_requests_total") == counted(source="proxy", operation="get", code="499")
    assert change.of("cutover_attempts_total") == attempts("get", "cancelled", None)
    assert change.of("cutover_fallbacks_total") == {}
    assert gallery.sidecar.metrics().total("cutover_inflight_requests") == 0
    assert gallery.legacy.seen == []


def test_a_targets_answer_that_is_not_used_gives_its_connection_back(gallery: Gallery) -> None:
    for _ in range(5):
        answer = gallery.sidecar.ask("GET", "/images/1", does("status:500:3000000"))
        assert (answer.answered_by, answer["X-Cutover-Fallback"]) == ("legacy", "status_500")
        stalled = gallery.sidecar.ask("GET", "/images/1", does("reset-mid-head"))
        assert stalled.answered_by == "legacy"

    def busy() -> float:
        return gallery.sidecar.metrics().total("cutover_upstream_connections", source="image_service", state="busy")

    eventually(lambda: busy() == 0, 5)
    assert busy() == 0


def test_a_target_that_does_not_take_the_body_times_out(gallery: Gallery) -> None:
    body = b"x" * (32 * MIB)
    with Wire(gallery.sidecar.address) as wire:
        wire.send(request("POST", "/images", {**does("deaf"), "Content-Length": str(len(body))}))
        with contextlib.suppress(ConnectionError, TimeoutError):
            wire.sock.settimeout(2.0)
            wire.send(body)
        wire.sock.settimeout(20)
        assert wire.answer().status == 504
    assert gallery.legacy.seen == []


def test_a_target_that_never_says_100_times_out(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address, timeout_s=3) as wire:
        fields = {**does("deaf"), "Expect": "100-continue", "Content-Length": "5"}
        wire.send(request("POST", "/images", fields))
        assert wire.answer().status == 504


def test_a_client_that_sends_its_body_slowly_makes_no_timeout(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        wire.send(b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        for byte in b"slow!":
            time.sleep(0.3)  # 1.5 s in all, more than the attempt's 1 s
            wire.send(bytes((byte,)))
        answer = wire.answer()
    assert (answer.status, answer.answered_by) == (200, "target")


def test_many_failures_at_once_each_fall_back_alone(gallery: Gallery) -> None:
    wrong: list[Any] = []

    def client(number: int) -> None:
        with Wire(gallery.sidecar.address) as wire:
            for turn, (what, kind) in enumerate(SENT[2:12]):
                answer = wire.ask("GET", f"/images/{number}-{turn}", does(what))
                good = answer.body.startswith(f"legacy GET /images/{number}-{turn} ".encode())
                if not good or answer["X-Cutover-Fallback"] != kind:
                    wrong.append((what, answer))

    run_in_threads(client, 16)
    assert wrong == []


def run_in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
