"""Large bodies, byte for byte, in bounded memory; and bodies that are cut."""

import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest

from tests.e2e.conftest import Gallery, StartSidecar
from tests.e2e.sidecar import Sidecar, config, eventually
from tests.e2e.test_failures import Change, counted, does
from tests.e2e.upstream import MIB, pattern, pattern_sha256
from tests.e2e.wire import Answer, Truncated, Wire, request

LARGE = 64 * MIB
GROWTH = 32 * MIB


class MemoryWatch:
    """The largest resident size seen while it runs, over that at its start."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._first = self._most = sidecar.resident_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._most = max(self._most, self._sidecar.resident_bytes())

    @property
    def growth(self) -> int:
        return self._most - self._first


@pytest.fixture(scope="module")
def large_sha256() -> str:
    return pattern_sha256(LARGE)


def pieces() -> Iterator[bytes]:
    for start in range(0, LARGE, 256 * 1024):
        yield pattern(start, 256 * 1024)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("source", ["target", "legacy"])
def test_a_large_upload_arrives_whole_in_bounded_memory(
    gallery: Gallery, framing: str, source: str, large_sha256: str
) -> None:
    path = "/images" if source == "target" else "/elsewhere"
    field = f"Content-Length: {LARGE}" if framing == "length" else "Transfer-Encoding: chunked"
    with MemoryWatch(gallery.sidecar) as memory, Wire(gallery.sidecar.address) as wire:
        wire.send(f"POST {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n".encode())
        for piece in pieces():
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
        if framing == "chunked":
            wire.send(b"0\r\n\r\n")
        answer = wire.answer()
    assert (answer.status, answer.answered_by) == (200, source)
    assert answer.body.endswith(f" {LARGE} {large_sha256}".encode())
    assert memory.growth < GROWTH


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close-delimited"])
def test_a_large_download_arrives_whole_in_bounded_memory(
    gallery: Gallery, framing: str, version: str, large_sha256: str
) -> None:
    with MemoryWatch(gallery.sidecar) as memory, Wire(gallery.sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does(f"{framing}:{LARGE}"), version=version))
        answer = wire.answer()
    assert (answer.status, answer.length, answer.sha256) == (200, LARGE, large_sha256)
    expected = "length" if framing == "length" else "chunked" if version == "1.1" else "close"
    assert answer.framing == expected
    assert answer["X-Cutover-Source"] == "image_service"
    assert memory.growth < GROWTH


def test_a_slow_reader_holds_the_upstream_back_and_makes_no_timeout(gallery: Gallery) -> None:
    change = Change(gallery.sidecar)
    with MemoryWatch(gallery.sidecar) as memory, Wire(gallery.sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does(f"length:{LARGE}")))
        answer = wire.head()
        time.sleep(1.5)  # more than the attempt's timeout
        assert memory.growth < GROWTH
        wire.body(answer)
    assert answer.length == LARGE
    assert change.of("cutover_truncated_responses_total") == {}


def test_a_slow_upstream_holds_the_client_back(gallery: Gallery) -> None:
    with MemoryWatch(gallery.sidecar) as memory, Wire(gallery.sidecar.address, timeout_s=1.0) as wire:
        wire.send(b"POST /images HTTP/1.1\r\nHost: a\r\nX-Target-Does: refuse-body\r\n")
        wire.send(b"Content-Length: %d\r\n\r\n" % LARGE)
        answer = wire.answer()
    assert answer.status == 417
    assert memory.growth < GROWTH


def test_a_body_of_the_size_of_the_buffers_is_right_to_the_byte(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        for size in (1, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 600_000):
            expected = pattern_sha256(size)
            for framing in ("length", "chunked"):
                answer = wire.ask("GET", "/images/1", does(f"{framing}:{size}"))
                assert (answer.length, answer.sha256) == (size, expected)
                assert answer["X-Cutover-Source"] == "image_service"
            body = b"".join(pattern(start, min(65_536, size - start)) for start in range(0, size, 65_536))
            answer = wire.ask("POST", "/images", does(), body)
            assert answer.body.endswith(hashlib.sha256(body).hexdigest().encode())


# cut short

HELD = 100_000
STREAMED = 600_000


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("what", [f"cut-length:{HELD}", f"cut-chunked:{HELD}", f"reset-close-delimited:{HELD}"])
def test_a_response_cut_while_it_is_held_falls_back(gallery: Gallery, what: str, version: str) -> None:
    change = Change(gallery.sidecar)
    with Wire(gallery.sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does(what), version=version))
        answer = wire.answer()
    assert (answer.status, answer.answered_by) == (200, "legacy")
    assert answer["X-Cutover-Fallback"] == "reset"
    assert change.of("cutover_truncated_responses_total") == {}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("source", ["target", "legacy"])
@pytest.mark.parametrize(
    "what",
    [
        f"cut-length:{STREAMED}",
        f"cut-length:{STREAMED}:reset",
        f"cut-chunked:{STREAMED}",
        f"cut-chunked:{STREAMED}:reset",
        f"bad-chunk:{STREAMED}",
        f"reset-close-delimited:{STREAMED}",
    ],
)
def test_a_response_cut_while_it_streams_never_ends_validly(
    gallery: Gallery, what: str, source: str, version: str
) -> None:
    path, operation = ("/images/1", "get") if source == "target" else ("/kept/1", "kept")
    change = Change(gallery.sidecar)
    with Wire(gallery.sidecar.address) as wire:
        wire.send(request("GET", path, does(what, what), version=version))
        with pytest.raises(Truncated) as truncated:
            wire.answer()
    assert truncated.value.received <= STREAMED
    name = "image_service" if source == "target" else "postgresql"
    expected = counted(source=name, operation=operation)
    eventually(lambda: change.of("cutover_truncated_responses_total") == expected)
    assert change.of("cutover_truncated_responses_total") == expected
    assert change.of("cutover_fallbacks_total") == {}
    kind = "invalid_response" if what.startswith("bad") else "reset"
    assert change.of("cutover_attempts_total") == counted(source=name, operation=operation, outcome=kind)


def test_a_committed_response_may_take_longer_than_the_timeout_while_it_makes_progress(gallery: Gallery) -> None:
    answer = gallery.sidecar.ask("GET", "/images/1", does("drip:300000:2"))
    assert (answer.length, answer["X-Cutover-Source"]) == (3_000_000, "image_service")


def test_a_response_that_stops_after_commit_is_broken_off_after_body_timeout(
    gallery: Gallery, start_sidecar: StartSidecar
) -> None:
    limits = {"body_timeout": "500ms"}
    sidecar = start_sidecar(config(gallery.legacy.url, gallery.target.url, limits=limits))
    change = Change(sidecar)
    with Wire(sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does(f"stall:{STREAMED}")))
        with pytest.raises(Truncated):
            wire.answer()
    assert change.of("cutover_truncated_responses_total") == counted(source="image_service", operation="get")
    assert change.of("cutover_attempts_total") == counted(source="image_service", operation="get", outcome="timeout")


def test_a_client_that_takes_nothing_is_given_up_after_body_timeout(
    gallery: Gallery, start_sidecar: StartSidecar
) -> None:
    limits = {"body_timeout": "500ms"}
    sidecar = start_sidecar(config(gallery.legacy.url, gallery.target.url, limits=limits))
    with Wire(sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does(f"length:{LARGE}")))
        eventually(lambda: sidecar.metrics().total("cutover_client_errors_total", kind="slow_reader") == 1)
        with pytest.raises(Truncated):
            wire.answer()
    sample = sidecar.metrics()
    assert sample.total("cutover_inflight_requests") == 0
    assert sample.total("cutover_upstream_connections", state="busy") == 0


def test_an_http_1_0_upstream_is_understood(gallery: Gallery) -> None:
    for size in (10, STREAMED):
        answer = gallery.sidecar.ask("GET", "/images/1", does(f"old:{size}"))
        assert (answer.sha256, answer["Via"]) == (pattern_sha256(size), "1.0 cutover")


def test_an_event_stream_flows_at_once(gallery: Gallery) -> None:
    with Wire(gallery.sidecar.address) as wire:
        before = time.monotonic()
        wire.send(request("GET", "/images/1", does("events")))
        head: Answer = wire.head()
        assert time.monotonic() - before < 1.2  # the second event comes after 1.5 s
        wire.body(head)
    assert head.body == b"data: 1\n\ndata: 2\n\n"
