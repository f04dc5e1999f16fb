"""The admin port: had, given back, and refused when it is another's."""

import socket

import aiohttp
import pytest

from proxy.admin.api import build_admin_app
from proxy.admin.server import AdminServer
from proxy.settings.addresses import TcpAddress, UnixAddress

from .test_api import FakeControl


def make_server(address):
    return AdminServer(build_admin_app(FakeControl()), address)


async def test_it_serves_on_the_port_that_the_system_chose():
    server = make_server(TcpAddress("127.0.0.1", 0))
    assert server.port is None
    assert repr(server) == "<AdminServer 127.0.0.1:0 stopped port=None>"
    await server.start()
    assert repr(server) == f"<AdminServer 127.0.0.1:0 listening port={server.port}>"
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}"
        async with session.get(f"{url}/healthz") as response:
            assert response.status == 200
        async with session.post(f"{url}/rollback") as response:
            assert response.status == 200
    await server.stop()
    assert server.port is None


async def test_a_port_in_use_is_an_oserror_for_the_caller():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = make_server(TcpAddress("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(OSError):
            await server.start()
        await server.stop()


async def test_it_serves_on_a_unix_socket_whatever_the_host_is_called(tmp_path):
    path = tmp_path / "admin.sock"
    server = make_server(UnixAddress(str(path)))
    await server.start()
    assert server.port is None
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get("http://cutover/healthz") as response:
            assert response.status == 200
        async with session.post("http://cutover/rollback") as response:
            assert response.status == 200
        async with session.post("http://cutover/rollback", headers={"Origin": "http://evil"}) as response:
            assert response.status == 403
    await server.stop()
    assert not path.exists()


async def test_stopping_twice_or_before_the_start_does_no_harm():
    server = make_server(TcpAddress("127.0.0.1", 0))
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
