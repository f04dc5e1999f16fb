"""The Image Service killed and harmed in every way it can be."""

import asyncio
import json

import aiohttp
import pytest

from proxy.demo.compare import compare_sources
from proxy.demo.faults import Faults

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def path(gallery):
    return f"/images/{gallery.content.images[0].id}"


async def exchange(gallery, path, timeout_s=2.0):
    """One GET on a connection of its own; returns everything up to the connection's end, and how that came."""
    port = int(gallery.image_service_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {gallery.service_token}\r\n\r\n".encode()
    )
    received, end = b"", "fin"
    try:
        async with asyncio.timeout(timeout_s):
            while chunk := await reader.read(65536):
                received += chunk
    except TimeoutError:
        end = "silence"
    except ConnectionResetError:
        end = "rst"
    writer.transport.abort()
    return received, end


async def test_without_faults_the_answer_is_whole(gallery, path):
    received, end = await exchange(gallery, path)
    assert received.startswith(b"HTTP/1.1 200")
    assert end == "fin"


async def test_a_reset_is_a_real_rst_without_a_byte(gallery, path):
    await gallery.set_faults(Faults(reset_ratio=1))
    try:
        assert await exchange(gallery, path) == (b"", "rst")
    finally:
        await gallery.set_faults(Faults())


async def test_a_truncated_answer_promises_more_than_it_sends(gallery, path):
    await gallery.set_faults(Faults(truncate_ratio=1))
    try:
        received, end = await exchange(gallery, path)
    finally:
        await gallery.set_faults(Faults())
    head, _, body = received.partition(b"\r\n\r\n")
    promised = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    assert end == "fin"
    assert 0 < len(body) < promised


async def test_a_black_hole_takes_the_request_and_never_answers(gallery, path):
    await gallery.set_faults(Faults(black_hole=True))
    try:
        assert await exchange(gallery, path, timeout_s=0.4) == (b"", "silence")
    finally:
        await gallery.set_faults(Faults())
    assert (await exchange(gallery, path))[1] == "fin"


async def test_errors_come_in_the_ratio_asked_for_and_repeatably(gallery, path):
    async def statuses():
        await gallery.set_faults(Faults(error_ratio=0.5, seed=11))
        return [(await exchange(gallery, path))[0][9:12] for _ in range(20)]

    try:
        first, second = await statuses(), await statuses()
    finally:
        await gallery.set_faults(Faults())
    assert first == second
    assert set(first) == {b"200", b"500"}


async def test_latency_is_added(gallery, path):
    clock = asyncio.get_running_loop().time
    await gallery.set_faults(Faults(latency_ms=300))
    try:
        began_s = clock()
        await exchange(gallery, path)
        assert clock() - began_s >= 0.3
    finally:
        await gallery.set_faults(Faults())


async def test_faults_can_be_seen_and_wrong_ones_are_refused(gallery, http):
    url = f"{gallery.image_service_url}/internal/faults"
    async with http.put(url, json={"latency_ms": -5}, headers=gallery.authorization) as response:
        assert response.status == 422
    async with http.get(url, headers=gallery.authorization) as response:
        assert (await response.json())["latency_ms"] == 0


async def test_after_an_outage_both_sources_converge(gallery, http):
    target = next(image for image in gallery.content.images if image.user_id == "user-007")
    gallery.kill_image_service()
    try:
        with pytest.raises(aiohttp.ClientConnectorError):
            async with http.get(gallery.image_service_url):
                pass
        for title in ("first", "second", "third"):
            async with http.patch(f"{gallery.legacy_url}/images/{target.id}", json={"title": title}) as response:
                assert response.status == 200
                assert response.headers["X-Dual-Write"] == "queued"
        new = {"userId": "user-007", "title": "n", "url": "https://x", "width": 1, "height": 1, "sizeBytes": 0}
        async with http.post(f"{gallery.legacy_url}/images", json=new | {"id": "img-outage"}) as response:
            assert response.status == 201
        async with http.delete(f"{gallery.legacy_url}/images/img-outage") as response:
            assert response.status == 204
        status = await gallery.dual_write_status()
        assert status["pending"] == 5
        assert status["last_error"]
    finally:
        await gallery.start_image_service()
    assert await gallery.wait_converged()
    status = await gallery.dual_write_status()
    assert (status["pending"], status["dropped"], status["refused"]) == (0, 0, 0)
    async with http.get(f"{gallery.image_service_url}/images/{target.id}", headers=gallery.authorization) as response:
        assert json.loads(await response.read())["title"] == "third"
    assert (await compare_sources(gallery))[1]
