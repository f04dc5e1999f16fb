"""Bodies of a gibibyte, slow readers and writers, clients that leave, and tunnels: in bounded memory."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from tests.e2e.conftest import Gallery, StartServer, StartSidecar
from tests.e2e.sidecar import Sidecar, config, eventually
from tests.e2e.test_bodies import MemoryWatch
from tests.e2e.upstream import MIB, pattern, pattern_sha256
from tests.e2e.wire import Wire, request

pytestmark = pytest.mark.serial

GIB = 1024 * MIB
PIECE = 256 * 1024
GROWTH = 32 * MIB
LINGER_NONE = struct.pack("ii", 1, 0)


def does(target: str) -> dict[str, str]:
    return {"X-User-Id": "u", "X-Target-Does": target}


@pytest.fixture(scope="module")
def streams(lasting: tuple[StartServer, StartSidecar]) -> Gallery:
    start_server, start_sidecar = lasting
    legacy, target = start_server("legacy"), start_server("target")
    changes = {"limits": {"body_bytes": "4GiB"}, "logging": {"access": "off"}}
    sidecar = start_sidecar(config(legacy.url, target.url, target={"timeout": "10s"}, **changes))
    with Wire(sidecar.address) as wire:  # what a first large body costs once is no growth
        wire.ask("GET", "/images/1", does(f"length:{32 * MIB}"))
    return Gallery(sidecar, legacy, target)


@pytest.fixture(scope="module")
def gib_sha256() -> str:
    return pattern_sha256(GIB)


# large


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_download_of_a_gibibyte_arrives_whole_in_bounded_memory(
    streams: Gallery, framing: str, gib_sha256: str
) -> None:
    with MemoryWatch(streams.sidecar) as memory, Wire(streams.sidecar.address) as wire:
        answer = wire.ask("GET", "/images/1", does(f"{framing}:{GIB}"))
    print(f"\ndownload, {framing}: grew {memory.growth / MIB:.1f} MiB")
    assert (answer.status, answer.framing, answer.length, answer.sha256) == (200, framing, GIB, gib_sha256)
    assert answer["X-Cutover-Source"] == "image_service"
    assert memory.growth < GROWTH


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_of_a_gibibyte_arrives_whole_in_bounded_memory(
    streams: Gallery, framing: str, gib_sha256: str
) -> None:
    field = f"Content-Length: {GIB}" if framing == "length" else "Transfer-Encoding: chunked"
    with MemoryWatch(streams.sidecar) as memory, Wire(streams.sidecar.address) as wire:
        wire.send(f"POST /images HTTP/1.1\r\nHost: a\r\nX-User-Id: u\r\n{field}\r\n\r\n".encode())
        for start in range(0, GIB, PIECE):
            piece = pattern(start, PIECE)
            wire.send(b"%x\r\n%b\r\n" % (PIECE, piece) if framing == "chunked" else piece)
        if framing == "chunked":
            wire.send(b"0\r\n\r\n")
        answer = wire.answer()
    print(f"\nupload, {framing}: grew {memory.growth / MIB:.1f} MiB")
    assert answer.body.decode() == f"target POST /images {GIB} {gib_sha256}"
    assert memory.growth < GROWTH


# slow


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_reader_at_a_kibibyte_a_second_does_not_grow_memory(streams: Gallery, framing: str) -> None:
    with MemoryWatch(streams.sidecar) as memory, Wire(streams.sidecar.address) as wire:
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        wire.send(request("GET", "/images/1", does(f"{framing}:{GIB}")))
        assert wire.head().status == 200
        for _ in range(12):
            assert len(wire.sock.recv(256)) > 0
            time.sleep(0.25)
    print(f"\nslow reader, {framing}: grew {memory.growth / MIB:.1f} MiB")
    assert memory.growth < 8 * MIB


def test_a_writer_at_a_kibibyte_a_second_does_not_grow_memory_and_makes_no_timeout(streams: Gallery) -> None:
    body = pattern(0, 3 * 1024)
    with MemoryWatch(streams.sidecar) as memory, Wire(streams.sidecar.address) as wire:
        wire.send(request("POST", "/images", {**does("answer"), "Content-Length": str(len(body))}))
        for start in range(0, len(body), 256):
            wire.send(body[start : start + 256])
            time.sleep(0.25)
        answer = wire.answer()
    assert answer.body.decode() == f"target POST /images {len(body)} {pattern_sha256(len(body))}"
    assert memory.growth < 4 * MIB


def test_an_upstream_that_reads_nothing_holds_the_upload_back(streams: Gallery) -> None:
    sent = 0
    with MemoryWatch(streams.sidecar) as memory, Wire(streams.sidecar.address) as wire:
        wire.send(request("POST", "/images", {**does("deaf"), "Content-Length": str(GIB)}))
        wire.sock.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while sent < GIB:
                sent += wire.sock.send(pattern(sent, PIECE))
    assert sent < 64 * MIB
    assert memory.growth < 16 * MIB


# leaving


def _leaves(wire: Wire, how: str) -> None:
    if how == "reset":
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    wire.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("moment", ["waiting", "held download", "download", "upload", "held upload"])
def test_a_client_that_leaves_cancels_the_upstreams_work_within_a_tenth_of_a_second(
    streams: Gallery, moment: str, how: str
) -> None:
    took: list[float] = []
    while len(took) < 3 and (not took or took[-1] >= 0.5):  # a machine that stalls says nothing about the proxy
        took.append(_time_to_cancel(streams, moment, how))
    print(f"\nleft while {moment} ({how}): cancelled after {took[-1] * 1000:.0f} ms")
    assert took[-1] < 0.5, took


def _time_to_cancel(streams: Gallery, moment: str, how: str) -> float:
    """Seconds from a client's leaving until its upstream's work has ended."""
    target = streams.target
    target.close_connections()
    wire = Wire(streams.sidecar.address)
    if "upload" in moment:
        size = 1000 if moment == "held upload" else 300_000
        wire.send(request("POST", "/images", {**does("answer"), "Content-Length": str(size * 2)}) + bytes(size))
    else:
        verb = {"waiting": "black-hole", "held download": "drip:1000:20", "download": "drip:100000:20"}[moment]
        wire.send(request("GET", "/images/1", does(verb)))
        if moment == "download":
            time.sleep(0.1)

    def begun() -> bool:
        return len(target.upstream.open) == 1

    assert eventually(begun)
    time.sleep(0.1)
    start = time.monotonic()
    _leaves(wire, how)
    while target.upstream.open and time.monotonic() < start + 5:
        time.sleep(0.001)
        if moment.endswith("download") and _busy(streams.sidecar) == 0:
            break  # this upstream learns of it only by writing; what counts is that the proxy has let go
    took = time.monotonic() - start
    target.close_connections()
    return took


def _busy(sidecar: Sidecar) -> float:
    return sidecar.metrics().total("cutover_upstream_connections", source="image_service", state="busy")


def test_a_client_that_leaves_while_it_was_not_reading_frees_everything_once_it_would_be_written_to(
    streams: Gallery,
) -> None:
    with Wire(streams.sidecar.address) as wire:
        wire.send(request("GET", "/images/1", does(f"length:{GIB}")))
        assert wire.head().status == 200
        time.sleep(0.5)  # everything is full, nobody reads
    eventually(lambda: _busy(streams.sidecar) == 0, 5)
    assert _busy(streams.sidecar) == 0
    assert streams.sidecar.metrics().total("cutover_inflight_requests") == 0


# tunnels


@pytest.fixture
def websocket_port() -> Iterator[int]:
    """An aiohttp server that echoes, on a loop of its own."""

    async def echo(asked: web.Request) -> web.StreamResponse:
        if "websocket" not in asked.headers.get("Upgrade", ""):
            return web.Response(text=f"no upgrade: {asked.headers.get('Upgrade')} {asked.headers.get('Connection')}")
        socket_ = web.WebSocketResponse(max_msg_size=4 * MIB)
        await socket_.prepare(asked)
        async for message in socket_:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket_.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await socket_.send_bytes(message.data)
        return socket_

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_get("/moved/{id}", echo)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, runner.addresses[0][1]

    runner, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield port
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture
def websockets(websocket_port: int, start_server: StartServer, start_sidecar: StartSidecar) -> Sidecar:
    legacy = start_server("legacy")
    changes = {"limits": {"stream_idle_timeout": "2s"}}
    return start_sidecar(config(legacy.url, f"http://127.0.0.1:{websocket_port}", **changes))


async def test_a_websocket_echoes_small_and_large_messages_and_closes_cleanly(websockets: Sidecar) -> None:
    url = f"http://{websockets.address}/moved/ws"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=4 * MIB) as socket_:
        await socket_.send_str("first")
        assert await socket_.receive_str(timeout=5) == "first"
        for number in range(8):
            message = pattern(number, PIECE) * 4
            await socket_.send_bytes(message)
            assert await socket_.receive_bytes(timeout=10) == message
        messages = [b"%d" % number * 1000 for number in range(200)]
        for message in messages:
            await socket_.send_bytes(message)
        assert [await socket_.receive_bytes(timeout=5) for _ in messages] == messages
        assert await socket_.close(code=4001, message=b"done")
        assert socket_.close_code == 1000  # the server's own; 1006 would be an end without a closing handshake
    sample = websockets.metrics()
    assert sample.total("cutover_requests_total", code="101") == 1


async def test_many_websockets_at_once_do_not_mix_their_messages(websockets: Sidecar) -> None:
    url = f"http://{websockets.address}/moved/ws"

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        async with session.ws_connect(url) as socket_:
            for turn in range(20):
                await socket_.send_str(f"{number} {turn}")
                assert await socket_.receive_str(timeout=10) == f"{number} {turn}"

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session, number) for number in range(40)))


async def test_a_silent_websocket_is_closed_after_the_stream_idle_timeout(websockets: Sidecar) -> None:
    url = f"http://{websockets.address}/moved/ws"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket_:
        start = time.monotonic()
        message = await socket_.receive(timeout=8)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
        assert 1.8 < time.monotonic() - start < 4


@pytest.mark.parametrize("token", ["h2c", "HTTP/2.0", "TLS/1.2"])
def test_an_upgrade_that_would_carry_requests_past_the_proxy_is_not_tunnelled(websockets: Sidecar, token: str) -> None:
    with Wire(websockets.address) as wire:
        fields = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": token, "HTTP2-Settings": "AAMAAABkAAQAAP__"}
        answer = wire.ask("GET", "/moved/1", fields)
        assert (answer.status, answer.body.split(b" ")[:3]) == (200, [b"no", b"upgrade:", b"None"])
        assert wire.ask("GET", "/moved/1").status == 200
