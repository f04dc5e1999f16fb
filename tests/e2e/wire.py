"""A client that sends exactly the bytes it is given and is strict about what comes back."""

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

PATIENCE_S: Final = 15.0
_KEPT: Final = 1024 * 1024

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


class Truncated(Exception):
    """The message did not end as its framing says."""

    def __init__(self, why: str, received: int) -> None:
        super().__init__(f"{why} after {received} bytes of content")
        self.received = received


@dataclass
class Answer:
    """A whole response. `body` holds its first MiB, `length` and `sha256` tell of all of it."""

    status: int
    reason: bytes
    version: bytes
    fields: list[tuple[bytes, bytes]]
    length: int = 0
    sha256: str = ""
    body: bytes = b""
    framing: str = "none"
    trailers: list[bytes] = field(default_factory=list)
    interim: list["Answer"] = field(default_factory=list)

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    def __getitem__(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0].decode("latin-1") if values else None

    @property
    def answered_by(self) -> str:
        """Which upstream's content this is: `legacy` or `target`."""
        return self.body.split(b" ")[0].decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection to `host:port` or `unix:/path`."""

    def __init__(self, address: str, timeout_s: float = PATIENCE_S) -> None:
        if address.startswith("unix:"):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout_s)
            self.sock.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self.sock = socket.create_connection((host, int(port)), timeout_s)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _more(self) -> bool:
        piece = self.sock.recv(256 * 1024)
        self._buffer += piece
        return bool(piece)

    def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if not self._more():
                raise Truncated("closed inside a head or a chunk line", 0)
        taken, self._buffer = self._buffer[: end + len(mark)], self._buffer[end + len(mark) :]
        return taken

    def head(self) -> Answer:
        """Read one head, interim or final."""
        line, *lines = self._until(b"\r\n\r\n")[:-4].split(b"\r\n")
        version, status, reason = (*line.split(b" ", 2), b"")[:3]
        assert version == b"HTTP/1.1", line
        fields = [(name, value.strip()) for name, _, value in (each.partition(b":") for each in lines)]
        return Answer(int(status), reason, version, fields)

    def answer(self, method: str = "GET") -> Answer:
        """Read one whole response. Raises Truncated or OSError when there is none."""
        interim: list[Answer] = []
        while (answer := self.head()).status < 200:
            interim.append(answer)
        answer.interim = interim
        self.body(answer, method)
        return answer

    def body(self, answer: Answer, method: str = "GET") -> None:
        """Read what follows a head."""
        digest = hashlib.sha256()
        length, coding = answer["Content-Length"], answer["Transfer-Encoding"]
        assert length is None or coding is None
        try:
            if method == "HEAD" or answer.status in (204, 304):
                pass
            elif coding is not None:
                assert coding == "chunked"
                answer.framing = "chunked"
                self._read_chunked(answer, digest)
            elif length is not None:
                answer.framing = "length"
                self._take(answer, digest, int(length))
            else:
                answer.framing = "close"
                self._take(answer, digest, None)
        except (ConnectionError, Truncated) as error:
            raise Truncated(repr(error), answer.length) from error
        answer.sha256 = digest.hexdigest()

    def _read_chunked(self, answer: Answer, digest: Any) -> None:
        while size := int(self._until(b"\r\n"), 16):
            self._take(answer, digest, size)
            assert self._until(b"\r\n") == b"\r\n"
        while (line := self._until(b"\r\n")) != b"\r\n":
            answer.trailers.append(line[:-2])

    def _take(self, answer: Answer, digest: Any, size: int | None) -> None:
        left = size
        while left is None or left > 0:
            if not self._buffer and not self._more():
                if left is None:
                    return
                raise Truncated("closed", answer.length)
            piece = self._buffer if left is None else self._buffer[:left]
            self._buffer = self._buffer[len(piece) :]
            digest.update(piece)
            answer.length += len(piece)
            if len(answer.body) < _KEPT:
                answer.body += piece
            if left is not None:
                left -= len(piece)

    def is_closed(self) -> bool:
        """Wait for the other side's end; False when more bytes came instead."""
        with contextlib.suppress(ConnectionError):
            return not self._buffer and self.sock.recv(1) == b""
        return True

    def ask(self, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        """Send a usual request and read its response; the connection stays open."""
        self.send(request(method, target, fields, body))
        return self.answer(method)


def request(method: str, target: str, fields: Fields = (), body: bytes | None = None, version: str = "1.1") -> bytes:
    """A usual request as bytes."""
    pairs = list(fields.items() if isinstance(fields, Mapping) else fields)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("Host", "gallery.example"))
    if body is not None:
        pairs.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{method} {target} HTTP/{version}\r\n{lines}\r\n".encode("latin-1") + (body or b"")


def ask(address: str, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    with Wire(address) as wire:
        return wire.ask(method, target, fields, body)
