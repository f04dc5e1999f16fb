"""One request at a time over a plain socket: what the checks and the idle connections need, and no more."""

import socket
from dataclasses import dataclass
from typing import Final

TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What matters of a response."""

    status: int
    backend: str
    body_bytes: int


def request_bytes(path: str, user: str) -> bytes:
    """A GET as the load sends it."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: gallery.example\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\n"
        f"Accept-Encoding: gzip\r\nX-User-Id: {user}\r\n\r\n"
    ).encode()


def read_head(data: bytes | bytearray) -> tuple[int, int, int, str] | None:
    """Status, length of the head, length of the body and backend's name, once the head is complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    fields = {}
    for line in bytes(data[:end]).split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    status = int(data[9:12])
    if b"content-length" not in fields and status not in (204, 304):
        raise ValueError("a response without Content-Length")
    return status, end + 4, int(fields.get(b"content-length", 0)), fields.get(b"x-backend", b"").decode()


class Connection:
    """A keep-alive connection, blocking."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Closing resets: thousands of idle connections leave no port waiting.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def ask(self, path: str, user: str) -> Answer:
        """Raises OSError when there is no answer, and ValueError when it is none."""
        self._socket.sendall(request_bytes(path, user))
        data = bytearray()
        while (head := read_head(data)) is None or len(data) < head[1] + head[2]:
            piece = self._socket.recv(65536)
            if not piece:
                raise ConnectionError("closed before the answer was whole")
            data += piece
        status, start, length, backend = head
        if len(data) != start + length:
            raise ValueError("more than one answer")
        return Answer(status, backend, length)

    def close(self) -> None:
        self._socket.close()
