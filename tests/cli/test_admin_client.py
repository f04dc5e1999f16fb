"""Asking the admin API: which addresses and tokens are taken, and what is said when nobody answers rightly."""

import argparse
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.cli.admin_client import AdminClient, AdminError, Unreachable, admin_url


@pytest.mark.parametrize("url", ["http://127.0.0.1:9900", "http://[::1]:9900/", "http://sidecar", "unix:/run/a.sock"])
def test_an_admin_address_is_taken(url: str) -> None:
    assert admin_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9900",
        "https://a",
        "http://",
        "http://a:x",
        "http://a/path",
        "http://u:p@a",
        "unix:relative",
        "http://a?b",
    ],
)
def test_what_is_no_admin_address_is_refused(url: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected http"):
        admin_url(url)


def arguments(token_file: Path | None) -> argparse.Namespace:
    return argparse.Namespace(admin="http://127.0.0.1:1", token_file=token_file)


def test_a_token_file_that_holds_none_is_refused(tmp_path: Path) -> None:
    for content in (b"", b" \n", b"\xff", "é".encode(), b"two\nlines"):
        file = tmp_path / "token"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=str(file)):
            AdminClient.from_arguments(arguments(file))
    with pytest.raises(ValueError, match="no such file"):
        AdminClient.from_arguments(arguments(tmp_path / "none"))


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """Starts a server that answers one request with these bytes; gives its URL."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for thread in threads:
        thread.join(5)
    for listener in listeners:
        listener.close()


def http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def test_an_object_is_the_answer_and_a_problem_is_told(answering: Callable[[bytes], str]) -> None:
    assert AdminClient(answering(http("200 OK", '{"a": 1}'))).ask("GET", "/status") == {"a": 1}
    with pytest.raises(AdminError, match="not now") as caught:
        AdminClient(answering(http("409 Conflict", '{"detail": "not now"}'))).ask("GET", "/status")
    assert caught.value.status == 409
    with pytest.raises(AdminError, match="it answers 500"):
        AdminClient(answering(http("500 Oh", "oh"))).ask("GET", "/status")


@pytest.mark.parametrize("answer", [http("200 OK", "hello"), http("200 OK", "[1]"), b"SSH-2.0\r\n", b""])
def test_what_is_no_admin_api_is_not_reachable(answering: Callable[[bytes], str], answer: bytes) -> None:
    with pytest.raises(Unreachable):
        AdminClient(answering(answer)).ask("GET", "/status")


def test_nobody_there_is_not_reachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no such file"):
        AdminClient(f"unix:{tmp_path}/none").ask("GET", "/status")
    with pytest.raises(Unreachable):
        AdminClient("http://nowhere.invalid:1").ask("GET", "/status")
