"""Where the health check asks, and what it makes of an answer."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from proxy import healthcheck
from proxy.healthcheck import Unknown, admin_address, ask_healthz, choose_file, main
from proxy.settings.addresses import TcpAddress, UnixAddress


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["/opt/cutover/bin/python", "/opt/cutover/bin/cutover", "run", "-c", "/a.yaml"], "/a.yaml"),
        (["tini", "--", "cutover", "run", "--config", "b.yaml", ""], "b.yaml"),
        (["cutover", "run", "--config=c.yaml"], "c.yaml"),
        (["init", "-c", "init.conf", "cutover", "run", "-c", "d.yaml"], "d.yaml"),
        (["cutover", "-c"], "/etc/cutover/cutover.yaml"),
        ([], "/etc/cutover/cutover.yaml"),
    ],
)
def test_the_file_is_the_one_that_process_1_was_started_with(command: list[str], file: str) -> None:
    assert choose_file(command) == file


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("legacy: {url: http://a}", TcpAddress("127.0.0.1", 9900)),
        ("", TcpAddress("127.0.0.1", 9900)),
        ("admin: {token: x}", TcpAddress("127.0.0.1", 9900)),
        ("admin: {listen: '0.0.0.0:1234'}", TcpAddress("0.0.0.0", 1234)),
        ("admin:\n  listen: ${env:ADMIN:-127.0.0.1:77}", TcpAddress("127.0.0.1", 77)),
        ("admin: {listen: '${env:SET}'}", TcpAddress("::1", 5)),
        ("admin: {listen: 'unix:/run/a.sock'}", UnixAddress("/run/a.sock")),
    ],
)
def test_the_address_is_the_one_that_the_configuration_says(text: str, address: object, tmp_path: Path) -> None:
    assert admin_address(text, tmp_path / "cutover.yaml", {"SET": "[::1]:5"}) == address


@pytest.mark.parametrize("text", ["legacy: [", "admin: {listen: nowhere}", "admin: {listen: '${env:UNSET}'}"])
def test_where_that_cannot_be_known_it_is_said_and_is_no_failure(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cutover.yaml"
    with pytest.raises(Unknown):
        admin_address(text, file, {})
    file.write_text(text)
    assert main(["cutover", "run", "-c", str(file)]) == 0
    assert main(["cutover", "run", "-c", str(tmp_path / "none.yaml")]) == 0


@contextmanager
def answering(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("status", "result"), [(200, 0), (503, 1)])
def test_only_200_is_healthy(status: int, result: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "status", status)
    with HTTPServer(("127.0.0.1", 0), Handler) as server, answering(server):
        file = tmp_path / "cutover.yaml"
        file.write_text(f"admin: {{listen: '0.0.0.0:{server.server_port}'}}")
        assert main(["cutover", "run", "-c", str(file)]) == result


def test_a_unix_socket_is_asked_too_and_nobody_there_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socketserver.UnixStreamServer(str(path), Handler) as server, answering(server):
        assert ask_healthz(UnixAddress(str(path))) == 200
    path.unlink()
    file = tmp_path / "cutover.yaml"
    file.write_text(f"admin: {{listen: 'unix:{path}'}}")
    assert main(["cutover", "run", "-c", str(file)]) == 1


def test_it_imports_little() -> None:
    assert not {"pydantic", "aiohttp", "uvloop"} & set(vars(healthcheck))
