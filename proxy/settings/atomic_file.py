"""Replaces a file by another version of itself: atomically, durably, and one writer at a time.

Knows nothing of configurations. Neighbour: `edit` says what is to be written.
"""

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

LOCK_WAIT_S: Final = 10.0
_LOCK_STEP_S: Final = 0.01
_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS)
_OPTIONAL_ATTRIBUTES: Final = ("security.", "trusted.")  # the system sets them for a new file

_CONFIG_MAP: Final = "where it comes from a Kubernetes ConfigMap, change the ConfigMap"
_WHY: Final = {
    errno.EBUSY: "it is mounted as a single file, which can't be replaced: mount its directory instead, or change the"
    f" file that is mounted; {_CONFIG_MAP}",
    errno.EROFS: f"it is on a read-only file system: change the file that is mounted there; {_CONFIG_MAP}",
    errno.ENOSPC: "there is no space left beside it",
    errno.EDQUOT: "the quota of disk space is used up",
}


class NotWritable(Exception):
    """The file can't be replaced, and is as it was; `detail` is a sentence that says why and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class FileChanged(Exception):
    """Somebody else has changed the file meanwhile; it is as they have made it."""


def refuse_unwritable(path: Path) -> None:
    """Raise NotWritable for a file that can be seen not to be replaceable. Raises FileNotFoundError."""
    if path.is_symlink():
        target = os.readlink(path)  # noqa: PTH115 - as text, to be shown
        if "..data" in Path(target).parts:
            raise NotWritable(f"{path} belongs to a Kubernetes ConfigMap volume: change the ConfigMap")
        raise NotWritable(f"{path} is a symbolic link to {target}: name the file itself")
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotWritable(f"{path} is not a regular file")
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        raise NotWritable(f"{path} can't be written: {_WHY[errno.EROFS]}")
    if not _may(path, os.W_OK):
        raise NotWritable(f"{path} can't be written: it is read-only for this user")
    if not _may(path.parent, os.W_OK | os.X_OK):
        raise NotWritable(
            f"{path} can't be written: its directory {path.parent} is read-only for this user, and a new version is"
            " renamed over the old one"
        )


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


@contextmanager
def locked_directory(directory: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[bool]:
    """Hold the directory's exclusive lock; false where the file system has no locks.

    Waits for other holders; raises NotWritable when they take longer than `wait_s`.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise NotWritable(f"{directory} can't be locked: {_reason(error)}") from error
    try:
        yield _lock(descriptor, directory, time.monotonic() + wait_s)
    finally:
        os.close(descriptor)  # and with it the lock goes


def _lock(descriptor: int, directory: Path, until: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise NotWritable(f"{directory} is locked by another edit that does not end") from None
            time.sleep(_LOCK_STEP_S)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise NotWritable(f"{directory} can't be locked: {_reason(error)}") from error
            return False
        else:
            return True


def replace_file(path: Path, data: bytes, expected: bytes) -> tuple[str, ...]:
    """Put `data` in the place of the file, which still holds `expected`; its mode, owner and attributes are kept.

    Returns the names of extended attributes that could not be kept. When it returns, the new version is on the
    disk. Raises FileChanged or NotWritable, and then nothing has been changed.
    """
    temporary: Path | None = None
    try:
        before = path.stat()
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            lost = _take_after(file.fileno(), path, before)
            os.fsync(file.fileno())
        after = path.stat()
        if (after.st_dev, after.st_ino) != (before.st_dev, before.st_ino) or path.read_bytes() != expected:
            raise FileChanged
        temporary.replace(path)
        temporary = None
    except FileNotFoundError:
        raise FileChanged from None
    except OSError as error:
        raise NotWritable(f"{path} can't be written: {_reason(error)}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)
    return lost


def _take_after(descriptor: int, path: Path, state: os.stat_result) -> tuple[str, ...]:
    """Give the open file the owner, the mode and the attributes of the one at `path`."""
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (state.st_uid, state.st_gid):
        try:
            os.fchown(descriptor, state.st_uid, state.st_gid)
        except PermissionError as error:
            raise NotWritable(
                f"{path} belongs to user {state.st_uid}, group {state.st_gid}, which this user can't give the new"
                " version: edit it as its owner"
            ) from error
    lost = [name for name in _attributes(path) if not _copy_attribute(descriptor, path, name)]
    os.fchmod(descriptor, stat.S_IMODE(state.st_mode))
    return tuple(name for name in lost if not name.startswith(_OPTIONAL_ATTRIBUTES))


def _attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:
        return []


def _copy_attribute(descriptor: int, path: Path, name: str) -> bool:
    try:
        os.setxattr(descriptor, name, os.getxattr(path, name))
    except OSError:
        return False
    return True


def _sync_directory(directory: Path) -> None:
    """Make the rename last; where a file system can't, nothing more can be done."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: OSError) -> str:
    known = _WHY.get(error.errno or 0)
    return known if known is not None else (error.strerror or str(error)).lower()
