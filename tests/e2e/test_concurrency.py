"""A thousand clients while the target dies and comes back: nobody notices."""

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartSidecar
from tests.e2e.sidecar import config

pytestmark = pytest.mark.serial

CLIENTS = 1000
REQUESTS = 7
PAUSE_S = 0.6


class Process:
    """An upstream that can be killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        script = str(Path(__file__).with_name("upstream.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, "--name", self.name, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def processes() -> Iterator[tuple[Process, Process]]:
    legacy, target = Process("legacy"), Process("target")
    yield legacy, target
    legacy.kill()
    target.kill()


class Load:
    """Clients with a connection each, which check every answer."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def client(self, number: int) -> None:
        await asyncio.sleep(number * 2 / CLIENTS)
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            for turn in range(REQUESTS):
                await self._ask(reader, writer, f"/images/{number}-{turn}")
                await asyncio.sleep(PAUSE_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be counted
            self.wrong.append(f"client {number}: {error!r}")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nX-User-Id: u\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields[b"Content-Length"]))
        who = body.split(b" ")[0].decode()
        source = {"legacy": b"postgresql", "target": b"image_service"}[who]
        if (
            not head.startswith(b"HTTP/1.1 200 ")
            or not body.startswith(f"{who} GET {path} 0 ".encode())
            or fields[b"X-Cutover-Source"] != source
            or (who == "legacy") != (b"X-Cutover-Fallback" in fields)
        ):
            self.wrong.append(f"{path}: {head!r} {body!r}")
        self.answers[who] += 1


async def run_load(load: Load, target: Process) -> None:
    loop = asyncio.get_running_loop()
    clients = [loop.create_task(load.client(number)) for number in range(CLIENTS)]
    for total in (CLIENTS * 2, CLIENTS * 5):
        while sum(load.answers.values()) < total and not all(client.done() for client in clients):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await asyncio.to_thread(target.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(target.start)
    await asyncio.wait_for(asyncio.gather(*clients), 90)


def test_a_thousand_clients_get_every_answer_while_the_target_is_killed_and_restarted(
    processes: tuple[Process, Process], start_sidecar: StartSidecar
) -> None:
    legacy, target = processes
    settings = config(
        legacy.url, target.url, target={"timeout": "20s", "connect_timeout": "10s"}, legacy={"timeout": "30s"}
    )
    sidecar = start_sidecar(settings)
    load = Load(sidecar.address)
    asyncio.run(run_load(load, target))
    assert load.wrong == []
    assert sum(load.answers.values()) == CLIENTS * REQUESTS
    assert load.answers["legacy"] > 0
    assert load.answers["target"] > load.answers["legacy"]
    sample = sidecar.metrics()
    assert sample.total("cutover_requests_total") == CLIENTS * REQUESTS
    assert sample.total("cutover_requests_total", code="200") == CLIENTS * REQUESTS
    assert sample.total("cutover_fallbacks_total", result="served") == load.answers["legacy"]
    assert sample.total("cutover_inflight_requests") == 0
    assert sample.total("cutover_upstream_connections", state="busy") == 0
    assert sidecar.process.poll() is None
