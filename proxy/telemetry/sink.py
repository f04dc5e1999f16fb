"""A file descriptor as a place for log chunks: how to write to it without waiting, if it has a way.

Neighbour: `lines.LineWriter`, the only user.
"""

import contextlib
import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FILE_WRITE: Final = 256 * 1024
PIPE_BYTES: Final = 1024 * 1024
"""Wanted capacity of a pipe: what 50 ms of busy traffic write; the usual 64 KiB are 150 lines."""


@dataclass(frozen=True, slots=True)
class Sink:
    """`write(chunk)` as `os.write`: the bytes taken, `BlockingIOError` when there is no room, `OSError`.

    `may_block` says that `write` may wait instead. Up to `atomic_bytes` in one write are never mixed with another
    process's: PIPE_BUF in a pipe; a file is written under a lock of the kernel's, whatever the size.
    `release` gives up what was opened for the sink; the descriptor it was made of stays open.
    """

    fd: int
    write: Callable[[bytes], int]
    may_block: bool
    atomic_bytes: int = select.PIPE_BUF
    release: Callable[[], None] = lambda: None

    def wait(self, timeout_s: float) -> None:
        """Wait until there may be room again."""
        poller = select.poll()
        poller.register(self.fd, select.POLLOUT)
        poller.poll(timeout_s * 1000)


def open_sink(fd: int) -> Sink:
    """Find the best way to write to `fd`; never fails, and leaves the mode of `fd` as it is.

    The mode belongs to the open file, which other processes share (a shell, a parent), so a pipe or terminal
    is opened anew for non-blocking writes, and a socket is told with each send.
    """
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return _waiting(fd)
    if stat.S_ISREG(mode):
        return _waiting(fd, _FILE_WRITE)
    if stat.S_ISSOCK(mode):
        return _socket(fd)
    try:
        # ENXIO without a reader, EACCES when the pipe is another user's, ENOENT without /proc.
        again = os.open(Path("/proc/self/fd", str(fd)), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return _waiting(fd)
    if stat.S_ISFIFO(mode):
        with contextlib.suppress(OSError):
            if fcntl.fcntl(again, fcntl.F_GETPIPE_SZ) < PIPE_BYTES:
                fcntl.fcntl(again, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return Sink(again, lambda chunk: os.write(again, chunk), may_block=False, release=lambda: os.close(again))


def _waiting(fd: int, atomic_bytes: int = select.PIPE_BUF) -> Sink:
    return Sink(fd, lambda chunk: os.write(fd, chunk), may_block=True, atomic_bytes=atomic_bytes)


def _socket(fd: int) -> Sink:
    duplicate = socket.socket(fileno=os.dup(fd))
    return Sink(
        duplicate.fileno(),
        lambda chunk: duplicate.send(chunk, socket.MSG_DONTWAIT),
        may_block=False,
        release=duplicate.close,
    )
