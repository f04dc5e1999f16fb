"""Wake-ups from the kernel: which directories to watch for a path, and the thread that waits for them.

A wake-up says that something may have changed and nothing more. Must not decide what that means. Neighbours:
`watch` looks at the files when woken; the `watchfiles` library speaks inotify.
"""

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import watchfiles

STEP_MS: Final = 15  # a wake-up takes one to two steps; a step costs some 50 µs of CPU time
_GROUP_MS: Final = 20
_MOST_LINKS: Final = 40  # the kernel's own limit
_JOIN_S: Final = 5.0

Directory = tuple[str, int, int]
"""A directory's path, device and inode: one made anew under the same path is another one."""


@dataclass(frozen=True, slots=True)
class Trail:
    """What the way to a file leads over.

    `directories` hold the file or one of the symbolic links on the way; where the way ends early, the last
    directory that is there. `changed_ns` is the newest change time of the links and the file, 0 without a file.
    """

    directories: frozenset[str]
    changed_ns: int


def follow(path: str | os.PathLike[str]) -> Trail:
    """Walk to a file, over every symbolic link, without raising anything."""
    rest = [*Path.cwd().joinpath(path).parts[::-1]]  # with each `..`: after a link it is not what the text says
    here, links, newest = os.sep, 0, 0
    directories: set[str] = set()
    while rest:
        name = rest.pop()
        if name == os.sep:
            here = os.sep
            continue
        if name == "..":
            here = os.path.dirname(here)  # noqa: PTH120 - text, each poll
            continue
        place = os.path.join(here, name)  # noqa: PTH118 - text, each poll
        try:
            found = os.lstat(place)
        except (OSError, ValueError):
            return Trail(frozenset({*directories, here}), 0)
        if stat.S_ISLNK(found.st_mode) and links < _MOST_LINKS:
            links += 1
            newest = max(newest, found.st_ctime_ns)
            directories.add(here)
            rest += _parts_of_link(place)[::-1]
        elif rest and stat.S_ISDIR(found.st_mode):
            here = place
        else:
            return Trail(frozenset({*directories, here}), max(newest, found.st_ctime_ns))
    return Trail(frozenset({*directories, here}), newest)


def _parts_of_link(link: str) -> tuple[str, ...]:
    try:
        return Path(link).readlink().parts
    except OSError:  # changed just now
        return ()


def identified(directories: frozenset[str]) -> frozenset[Directory]:
    """The same directories with their identities; those that are gone are left out."""
    found: set[Directory] = set()
    for directory in directories:
        try:
            state = os.stat(directory)  # noqa: PTH116 - every poll
        except OSError:
            continue
        found.add((directory, state.st_dev, state.st_ino))
    return frozenset(found)


class Notifier:
    """Calls `wake` on the event loop when something happens in the directories it was told to watch.

    `failed` is called on the event loop, with a reason, when the kernel can't be asked: no wake-ups come then,
    until `watch` is called for other directories or after `forget`. Each set of directories has a thread of its
    own, which ends within a step (15 ms) of being told to.
    """

    def __init__(self, wake: Callable[[], None], failed: Callable[[str], None]) -> None:
        self._wake = wake
        self._failed = failed
        self._watched: frozenset[Directory] = frozenset()
        self._threads: dict[threading.Thread, threading.Event] = {}

    def __repr__(self) -> str:
        running = sum(thread.is_alive() for thread in self._threads)
        return f"<Notifier {len(self._watched)} directories, {running} threads>"

    def watch(self, directories: frozenset[Directory]) -> bool:
        """Watch these from now on; whether that is a change. To be called on the event loop."""
        if directories == self._watched:
            return False
        self._stop_threads()
        self._watched = directories
        if directories:
            stop = threading.Event()
            loop = asyncio.get_running_loop()
            paths = sorted(path for path, _, _ in directories)
            thread = threading.Thread(target=self._wait, args=(loop, paths, stop), name="cutover-watch", daemon=True)
            self._threads[thread] = stop
            thread.start()
        return True

    def forget(self) -> None:
        """Make the next `watch` start anew, even for the same directories."""
        self._watched = frozenset()

    def close(self) -> None:
        """End every thread; returns when they have ended, which takes a step at most."""
        self.forget()
        self._stop_threads()
        for thread in self._threads:
            thread.join(_JOIN_S)
        self._threads.clear()

    def _stop_threads(self) -> None:
        for thread, stop in list(self._threads.items()):
            stop.set()
            if not thread.is_alive():
                del self._threads[thread]

    def _wait(self, loop: asyncio.AbstractEventLoop, paths: list[str], stop: threading.Event) -> None:
        """Run in the thread: wait for events until `stop` is set."""
        try:
            for _ in watchfiles.watch(
                *paths,
                watch_filter=None,
                debounce=_GROUP_MS,
                step=STEP_MS,
                stop_event=stop,
                rust_timeout=0,
                raise_interrupt=False,
                force_polling=False,
                recursive=False,
            ):
                _call(loop, self._wake)
        except (OSError, RuntimeError) as error:  # the library's own error is a RuntimeError
            if not stop.is_set():
                reason = f"inotify is not to be had: {error}"
                _call(loop, lambda: self._failed(reason))


def _call(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call on the loop's thread, unless the loop has ended."""
    if not loop.is_closed():
        try:
            loop.call_soon_threadsafe(call)
        except RuntimeError:  # closed just now
            return
