"""Upstreams and sidecars for the end-to-end tests, all of them stopped at the end."""

import itertools
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # --import-mode=importlib adds nothing by itself

from tests.e2e.sidecar import Sidecar, config, write_config
from tests.e2e.upstream import Hosted, Upstream


@dataclass
class Server:
    """An upstream in the tests' process, with blocking calls."""

    upstream: Upstream
    hosted: Hosted
    port: int = 0
    path: str | None = None

    @property
    def url(self) -> str:
        return f"unix:{self.path}" if self.path else f"http://127.0.0.1:{self.port}"

    @property
    def seen(self) -> list[Any]:
        return self.upstream.seen

    def forget(self) -> None:
        self.upstream.seen.clear()

    def close_connections(self) -> None:
        self.hosted.call(self.upstream.close_connections())

    def stop(self) -> None:
        self.hosted.call(self.upstream.stop())


@dataclass
class Gallery:
    """The two sources and the sidecar in front of them."""

    sidecar: Sidecar
    legacy: Server
    target: Server


StartServer = Callable[..., Server]
StartSidecar = Callable[..., Sidecar]


@pytest.fixture(scope="session")
def hosted() -> Iterator[Hosted]:
    loop = Hosted()
    yield loop
    loop.close()


def _server_starter(hosted: Hosted, stack: ExitStack) -> StartServer:
    def start(name: str, port: int = 0, path: str | None = None, tls: ssl.SSLContext | None = None) -> Server:
        upstream = Upstream(name)
        server = Server(upstream, hosted, path=path)
        server.port = hosted.call(upstream.listen(port, path=path, tls=tls))
        stack.callback(server.stop)
        return server

    return start


def _stop_well(sidecar: Sidecar) -> None:
    sidecar.stop()
    assert "Traceback" not in sidecar.stderr, sidecar.stderr[:4000]


def _sidecar_starter(directory: Path, stack: ExitStack) -> StartSidecar:
    numbers = itertools.count()

    def start(settings: dict[str, Any], env: dict[str, str] | None = None) -> Sidecar:
        sidecar = Sidecar(write_config(directory / f"cutover-{next(numbers)}.yaml", settings), env)
        stack.callback(_stop_well, sidecar)
        return sidecar

    return start


@pytest.fixture(scope="session")
def lasting(hosted: Hosted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StartServer, StartSidecar]]:
    """Starters of what lives as long as the session."""
    with ExitStack() as stack:
        yield _server_starter(hosted, stack), _sidecar_starter(tmp_path_factory.mktemp("lasting"), stack)


@pytest.fixture
def start_server(hosted: Hosted) -> Iterator[StartServer]:
    with ExitStack() as stack:
        yield _server_starter(hosted, stack)


@pytest.fixture
def start_sidecar(tmp_path: Path) -> Iterator[StartSidecar]:
    with ExitStack() as stack:
        yield _sidecar_starter(tmp_path, stack)


@pytest.fixture(scope="session")
def shared_gallery(lasting: tuple[StartServer, StartSidecar]) -> Gallery:
    start_server, start_sidecar = lasting
    legacy, target = start_server("legacy"), start_server("target")
    sidecar = start_sidecar(config(legacy.url, target.url))
    return Gallery(sidecar, legacy, target)


@pytest.fixture
def gallery(shared_gallery: Gallery) -> Gallery:
    """A gallery of which every user is answered by the target; shared, so do not change its rollout."""
    shared_gallery.legacy.forget()
    shared_gallery.target.forget()
    return shared_gallery


@pytest.fixture(scope="session")
def refusing_port() -> Iterator[int]:
    """A port that nobody listens on and that nobody else can get."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]
