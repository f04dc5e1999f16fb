"""Tells a program when its configuration may have changed: the file, what it refers to, and the kill switch.

Truth is a signature, the stamp of what each path resolves to; wake-ups by inotify only make it quick, and a poll
sees what they miss. Must not read configurations nor decide what a change means. Neighbours: `settling` decides
when a change may be believed, `inotify` wakes; the program loads the file anew, and is to expect that nothing
that matters has changed.
"""

import asyncio
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from proxy.settings.inotify import Notifier, follow, identified
from proxy.settings.load import LARGEST_FILE_BYTES, LoadedSettings
from proxy.settings.settling import UNKNOWN, Look, Settling, Stamp, settle, settle_presence

POLL_S: Final = 0.5
_AFTER_ARMING_S: Final = 0.05  # by then the kernel watches: look once for what it did not see yet
_RETRY_INOTIFY_S: Final = 10.0
_CLOCK_TICK_S: Final = 0.02  # a file system's clock may be so far behind
_FILE_REFERENCE: Final = re.compile(rb"(?<!\$)\$\{file:([^}\0]+)\}")


class PathKind(Enum):
    """Why a path is watched."""

    CONFIG = "config"
    REFERENCED = "referenced"
    """Named by `${file:…}`."""
    TLS = "tls"
    KILL_SWITCH = "kill_switch"


@dataclass(frozen=True, slots=True)
class Change:
    """The paths that have changed, each with why it is watched."""

    paths: Mapping[Path, PathKind]

    @property
    def configuration(self) -> bool:
        """Whether the configuration is to be loaded again: its file, or one that it refers to, has changed."""
        return any(kind is not PathKind.KILL_SWITCH for kind in self.paths.values())

    @property
    def kill_switch(self) -> bool:
        """Whether a kill-switch file has appeared or gone."""
        return PathKind.KILL_SWITCH in self.paths.values()


def paths_of(loaded: LoadedSettings) -> dict[Path, PathKind]:
    """All that loaded settings depend on."""
    paths = {loaded.path: PathKind.CONFIG}
    for path in loaded.files:
        paths.setdefault(path, PathKind.REFERENCED)
    for source in (loaded.settings.legacy, loaded.settings.target):
        for written in (source.tls.ca_file, source.tls.cert_file, source.tls.key_file):
            if written is not None:
                paths.setdefault(Path(written), PathKind.TLS)
    kill_switch = loaded.settings.rollout.kill_switch_file
    if kill_switch is not None:
        paths.setdefault(Path(kill_switch), PathKind.KILL_SWITCH)
    return paths


def paths_named_in(path: Path) -> dict[Path, PathKind]:
    """The files that a configuration refers to by `${file:…}`, as far as they can be told from its text.

    For one that was refused, perhaps for the very reason that such a file is missing: watch these beside the paths
    of the last good one, and the configuration is tried again when the file is there.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES)
    except (OSError, ValueError):
        return {}
    return {path.parent / os.fsdecode(name): PathKind.REFERENCED for name in _FILE_REFERENCE.findall(data)}


@dataclass(slots=True)
class _Watched:
    kind: PathKind
    settling: Settling
    resolved: str


def _ignore(_reason: str) -> None:
    """Say nothing."""


class ConfigWatcher:
    """Watches paths, and says which have changed once the change may be believed.

        began = wall_clock()
        loaded = load_settings(path, env)
        async with ConfigWatcher(paths_of(loaded), read_since=began, on_fallback=say) as watcher:
            async for change in watcher.changes():
                if change.kill_switch:
                    ...  # look whether the file exists
                if change.configuration:
                    began = wall_clock()
                    loaded = load_settings(path, env)  # ConfigError: keep the last; add paths_named_in(path)
                    watcher.watch(paths_of(loaded), read_since=began)

    Guarantees: a path's last state is always passed on, if need be after the program has come back for the next
    change, so that nothing is lost while it loads; states in between may be skipped. A file that was put in place
    as a whole (rename, symlink swap) is passed on at once, one written in place when it has been the same for 30 ms
    and ends with a newline, else after 500 ms without an edit (100 ms when it is another file than before: a rename
    right after the write looks so); one that is edited without end about every 500 ms.
    The kill switch's appearing and going are passed on at once. With inotify a wake-up takes 15 to 30 ms more,
    without at most 500 ms; `on_fallback` is called, once, with the reason when there is no inotify. A network file
    system whose changes are made elsewhere gives no wake-ups and no reason: the poll sees them.

    One consumer at a time. Cancelling it is clean. The thread that waits for the kernel ends with `close`, with the
    `async with` block, or with `changes()` when that is closed; nothing else is left behind. Do not fork while
    watching without an exec.
    """

    def __init__(
        self,
        paths: Mapping[Path, PathKind],
        *,
        read_since: float | None = None,
        on_fallback: Callable[[str], None] = _ignore,
        inotify: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched: dict[Path, _Watched] = {}
        self._on_fallback = on_fallback
        self._inotify = inotify
        self._clock = clock
        self._woken = asyncio.Event()
        self._notifier = Notifier(self._woken.set, self._fall_back)
        self._fell_back = False
        self._closed = False
        self._retry_at: float | None = None
        self._to_arm = True
        self._poll_at = clock()
        self.watch(paths, read_since=read_since)

    def __repr__(self) -> str:
        pending = sum(watched.settling.due is not None for watched in self._watched.values())
        state = "closed" if self._closed else "polling" if self._fell_back or not self._inotify else "watching"
        return f"<ConfigWatcher {state} {len(self._watched)} paths, {pending} pending>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def watch(self, paths: Mapping[Path, PathKind], *, read_since: float | None = None) -> None:
        """Watch these paths instead, from now on; a path watched already goes on where it was.

        A new path that changed at or after `read_since` (seconds since the epoch), when the program began to read
        the files, is passed on once: nobody knows whether the program has read it before or after. Without
        `read_since` the program is to read a file after this call, or not to mind.
        """
        known, self._watched = self._watched, {}
        for path, kind in paths.items():
            watched = known.get(path)
            if watched is None or watched.kind is not kind:
                racy = read_since is not None and follow(path).changed_ns >= (read_since - _CLOCK_TICK_S) * 1e9
                stamp = UNKNOWN if racy and kind is not PathKind.KILL_SWITCH else _stamp(path)
                watched = _Watched(kind, Settling(stamp), os.path.realpath(path))
            self._watched[path] = watched
        self._to_arm = True
        self._woken.set()

    async def changes(self) -> AsyncIterator[Change]:
        """Changes as they settle, until `close`."""
        try:
            while not self._closed:
                self._woken.clear()
                now = self._clock()
                changed = self._look(now)
                if self._to_arm or changed:
                    self._arm(now)
                if changed:
                    yield Change(changed)
                else:
                    await self._sleep()
        finally:
            self._notifier.close()

    def close(self) -> None:
        """Stop watching: `changes()` ends. May be called more than once."""
        self._closed = True
        self._woken.set()
        self._notifier.close()

    async def _sleep(self) -> None:
        """Wait for a wake-up, for the poll, or until a pending change is due for another look."""
        dues = (watched.settling.due for watched in self._watched.values())
        until = min([self._poll_at, *(due for due in dues if due is not None)])
        try:
            async with asyncio.timeout(max(until - self._clock(), 0.0)):
                await self._woken.wait()
        except TimeoutError:
            return

    def _look(self, now: float) -> dict[Path, PathKind]:
        """Look at every path; returns those whose change has settled."""
        if now >= self._poll_at:
            self._poll_at = now + POLL_S
            self._to_arm = True
        changed: dict[Path, PathKind] = {}
        for path, watched in self._watched.items():
            decide = settle_presence if watched.kind is PathKind.KILL_SWITCH else settle
            watched.settling, passed = decide(watched.settling, _look_at(path, watched, now))
            if passed:
                watched.resolved = os.path.realpath(path)
                changed[path] = watched.kind
        return changed

    def _arm(self, now: float) -> None:
        """Let the kernel watch the directories that the paths lead over, if they are others than before."""
        self._to_arm = False
        if not self._inotify:
            return
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._notifier.forget()
        trails = (follow(path).directories for path in self._watched)
        if self._notifier.watch(identified(frozenset().union(*trails))):
            self._poll_at = min(self._poll_at, now + _AFTER_ARMING_S)

    def _fall_back(self, reason: str) -> None:
        self._retry_at = self._clock() + _RETRY_INOTIFY_S
        if not self._fell_back:
            self._fell_back = True
            self._on_fallback(reason)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - half of pathlib's cost, every poll
    except (OSError, ValueError):
        return None
    return Stamp(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _look_at(path: Path, watched: _Watched, now: float) -> Look:
    """Look at a path; what costs more than a stat only when it has changed."""
    passed = watched.settling.passed
    try:
        found = os.stat(path)  # noqa: PTH116 - see _stamp
    except (OSError, ValueError):
        return Look(now, None)
    stamp = Stamp(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
    if stamp == passed or watched.kind is PathKind.KILL_SWITCH:
        return Look(now, stamp)
    new = passed is None or stamp[:2] != passed[:2]
    # A write sets both times to the same; a rename sets the change time alone. An empty file is about to be written.
    put_there = found.st_ctime_ns > found.st_mtime_ns or os.path.realpath(path) != watched.resolved
    moved = new and put_there and found.st_size > 0
    return Look(now, stamp, moved=moved, whole=moved or _ends_with_newline(path, found), new=new)


def _ends_with_newline(path: Path, found: os.stat_result) -> bool:
    if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
        return False
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:
        return False
