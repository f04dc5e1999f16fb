"""The listening sockets: opened or inherited once, kept for as long as the program lives, lent to workers.

A slot's socket outlives its workers, so connections in its backlog wait for the replacement instead of being reset.
Neighbours: `run` opens them, `process` passes them on; `proxy.systemd` finds inherited ones.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from proxy.settings.addresses import ListenAddress, TcpAddress, UnixAddress


class StartFailed(Exception):
    """The program can't start; the message is one clear line."""


class Sockets:
    """One listening socket for each slot; for a Unix socket, and for a single inherited one, the same for all."""

    def __init__(self, slots: Sequence[socket.socket], path: Path | None = None) -> None:
        """`path` is what is to be removed at the end."""
        self.slots = tuple(slots)
        self._path = path
        self._identity = _identity(path)

    def __repr__(self) -> str:
        return f"<Sockets {self.address} of {len(set(self.slots))} for {len(self.slots)} slots>"

    @property
    def address(self) -> str:
        """Where clients connect, a port 0 replaced by the real one."""
        return address_of(self.slots[0])

    def close(self) -> None:
        """Accept no more once the workers have let go of theirs too."""
        for sock in set(self.slots):
            sock.close()
        if self._path is not None and self._identity == _identity(self._path):
            with contextlib.suppress(OSError):
                self._path.unlink()


def open_sockets(address: ListenAddress, slots: int, backlog: int) -> Sockets:
    """Bind and listen. Raises OSError (EADDRINUSE when anybody else listens there, in whatever way)."""
    if isinstance(address, UnixAddress):
        sock = _open_unix(address.path, backlog)
        return Sockets([sock] * slots, Path(address.path))
    with contextlib.ExitStack() as failing:
        if slots > 1:
            # A socket that others may share does not fail when somebody else shares it already; one of its own does.
            _bind_tcp(address, shared=False).close()
        opened = [failing.enter_context(_bind_tcp(address, shared=slots > 1))]
        same = TcpAddress(address.host, int(opened[0].getsockname()[1]))
        opened += [failing.enter_context(_bind_tcp(same, shared=True)) for _ in range(slots - 1)]
        for sock in opened:
            sock.listen(backlog)
        failing.pop_all()
    return Sockets(opened)


def share_inherited(inherited: Sequence[socket.socket], slots: int) -> Sockets:
    """Spread sockets that were passed in over the slots; with one for each slot, none is shared."""
    for sock in inherited:
        sock.setblocking(False)  # noqa: FBT003 - the socket module takes it so
    return Sockets([inherited[slot % len(inherited)] for slot in range(max(slots, len(inherited)))])


def address_of(sock: socket.socket) -> str:
    """A socket's address as a configuration writes it."""
    if sock.family == socket.AF_UNIX:
        name = sock.getsockname()
        return f"unix:{os.fsdecode(name)}"
    host, port = sock.getsockname()[:2]
    return str(TcpAddress(host, port))


def _bind_tcp(address: TcpAddress, *, shared: bool) -> socket.socket:
    family, kind, proto, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(where)
        sock.setblocking(False)  # noqa: FBT003 - the socket module takes it so
    except BaseException:
        sock.close()
        raise
    return sock


def _open_unix(path: str, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket() and not _is_answered(path):
            Path(path).unlink()
        sock.bind(path)
        sock.listen(backlog)
        sock.setblocking(False)  # noqa: FBT003 - the socket module takes it so
    except BaseException:
        sock.close()
        raise
    return sock


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _identity(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found is not None else None
