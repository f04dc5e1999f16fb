"""One controller per journal: a lock on a file beside it, which the system frees with its holder.

Neighbour: `cutover rollout start` takes it; `status` asks whether somebody has it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRunning(Exception):
    """Another controller has the journal."""


@contextmanager
def controller_lock(journal: Path) -> Iterator[None]:
    """Be the only controller of a journal. Raises AlreadyRunning at once when there is one."""
    descriptor = os.open(_lock_path(journal), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise AlreadyRunning(f"a controller runs with {journal} already (process {holder or '?'})") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_running(journal: Path) -> bool:
    """Whether a controller has the journal now."""
    try:
        descriptor = os.open(_lock_path(journal), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_path(journal: Path) -> Path:
    real = journal.resolve()  # by whichever name it is called
    return real.with_name(f"{real.name}.lock")
