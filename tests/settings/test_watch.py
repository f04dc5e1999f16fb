"""Watching with real files, with inotify and without."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.settings.inotify import follow
from proxy.settings.load import load_settings, parse_settings
from proxy.settings.watch import Change, ConfigWatcher, PathKind, paths_named_in, paths_of

LATE_S = 3.0
"""Far more than any change takes, for a busy machine."""

SOON_S = 0.45
"""Sooner than the poll would be sure to see it."""

CALM_S = 0.12


@pytest.fixture(params=["inotify", "poll"])
def inotify(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "poll":
        monkeypatch.setattr("proxy.settings.watch.POLL_S", 0.1)
    return request.param == "inotify"


class Seen:
    """What a watcher passed on, collected by a task of its own."""

    def __init__(self, watcher: ConfigWatcher) -> None:
        self.watcher = watcher
        self.changes: list[Change] = []
        self.texts: list[str] = []
        self._read: Path | None = None
        self._more = asyncio.Event()

    async def collect(self) -> None:
        async for change in self.watcher.changes():
            self.changes.append(change)
            self.texts += [path.read_text() for path in change.paths if path.exists()]
            self._more.set()

    async def next(self, timeout_s: float = LATE_S) -> Change:
        count = len(self.changes)
        async with asyncio.timeout(timeout_s):
            while len(self.changes) == count:
                self._more.clear()
                await self._more.wait()
        return self.changes[-1]

    async def until(self, text: str) -> None:
        async with asyncio.timeout(LATE_S):
            while not self.texts or self.texts[-1] != text:
                self._more.clear()
                await self._more.wait()

    async def stays_calm(self) -> None:
        count = len(self.changes)
        await asyncio.sleep(CALM_S)
        assert len(self.changes) == count, self.changes[count:]


@asynccontextmanager
async def watching(watcher: ConfigWatcher) -> AsyncIterator[Seen]:
    async with watcher:
        seen = Seen(watcher)
        task = asyncio.get_running_loop().create_task(seen.collect())
        await asyncio.sleep(0.06)  # the kernel watches by then
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert not [thread for thread in threading.enumerate() if thread.name == "cutover-watch"]


def replace(path: Path, text: str) -> None:
    """As editors and `mv` do."""
    other = path.with_name(f".{path.name}.new")
    other.write_text(text)
    other.replace(path)


def write_in_place(path: Path, text: str) -> None:
    with path.open("r+") as file:
        file.truncate()
        file.write(text)


def move_away_and_write(path: Path, text: str) -> None:
    """As vim does with its default backup."""
    path.replace(path.with_name(f"{path.name}~"))
    path.write_text(text)


def remove_and_write(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("change", [replace, write_in_place, move_away_and_write, remove_and_write])
async def test_every_way_to_change_a_file_is_seen_once(
    tmp_path: Path, inotify: bool, change: Callable[[Path, str], None]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("old\n")
    async with watching(ConfigWatcher({file: PathKind.CONFIG}, inotify=inotify)) as seen:
        for number in range(2):
            change(file, f"new {number}\n")
            found = await seen.next(SOON_S if inotify else LATE_S)
            assert found == Change({file: PathKind.CONFIG})
            assert (found.configuration, found.kill_switch) == (True, False)
            assert seen.texts[-1] == f"new {number}\n"
        await seen.stays_calm()


def config_map(directory: Path, name: str, text: str, number: int) -> None:
    """Publish a version as the kubelet does: a new directory, and one rename of the link `..data` to it."""
    version = directory / f"..2026_{number}"
    version.mkdir()
    (version / name).write_text(text)
    link = directory / "..data_tmp"
    link.symlink_to(version.name)
    link.replace(directory / "..data")


async def test_a_config_map_swap_is_seen_again_and_again(tmp_path: Path, inotify: bool) -> None:
    config_map(tmp_path, "c.yaml", "0", 0)
    file = tmp_path / "c.yaml"
    file.symlink_to("..data/c.yaml")
    async with watching(ConfigWatcher({file: PathKind.CONFIG}, inotify=inotify)) as seen:
        for number in range(1, 4):
            config_map(tmp_path, "c.yaml", str(number), number)  # no newline at its end, but put there as a whole
            await seen.next(SOON_S if inotify else LATE_S)
            assert seen.texts[-1] == str(number)
            await asyncio.sleep(0.06)


async def test_a_directory_that_is_there_later_is_watched_then(tmp_path: Path, inotify: bool) -> None:
    file = tmp_path / "later" / "still" / "c.yaml"
    async with watching(ConfigWatcher({file: PathKind.CONFIG}, inotify=inotify)) as seen:
        file.parent.mkdir(parents=True)
        file.write_text("here\n")
        await seen.until("here\n")
        await asyncio.sleep(0.1)
        replace(file, "again\n")
        await seen.next(SOON_S if inotify else LATE_S)
        file.parent.replace(tmp_path / "away")
        await seen.next()  # gone
        file.parent.mkdir()
        file.write_text("back\n")
        await seen.until("back\n")


@pytest.mark.parametrize("inotify", ["inotify"], indirect=True)
async def test_half_a_file_is_not_passed_on(tmp_path: Path, inotify: bool) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("whole\nrollout: 1\n")
    async with watching(ConfigWatcher({file: PathKind.CONFIG}, inotify=inotify)) as seen:
        with file.open("w") as open_file:
            open_file.write("who")
            open_file.flush()
            await seen.stays_calm()
            open_file.write("le\nrollout: 2\n")
        await seen.next()
        assert seen.texts == ["whole\nrollout: 2\n"]
        file.write_text("no newline")
        await seen.next()
        assert seen.texts[1:] == ["no newline"]


@pytest.mark.parametrize("change", [replace, write_in_place])
@pytest.mark.parametrize("inotify", ["inotify"], indirect=True)
async def test_of_eighty_edits_in_a_second_the_last_one_wins_and_none_starves(
    tmp_path: Path, inotify: bool, change: Callable[[Path, str], None]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("old\n")
    async with watching(ConfigWatcher({file: PathKind.CONFIG}, inotify=inotify)) as seen:
        for number in range(80):
            change(file, f"edit {number}\n")
            await asyncio.sleep(0.01)
        in_time = len(seen.texts)
        await seen.until("edit 79\n")
        assert in_time >= 1
        assert all(text.startswith("edit ") and text.endswith("\n") for text in seen.texts)


async def test_the_kill_switch_is_told_apart_and_at_once(tmp_path: Path, inotify: bool) -> None:
    file, switch = tmp_path / "c.yaml", tmp_path / "kill"
    file.write_text("old\n")
    paths = {file: PathKind.CONFIG, switch: PathKind.KILL_SWITCH}
    async with watching(ConfigWatcher(paths, inotify=inotify)) as seen:
        file.write_text("half")  # pending, and does not hold the switch up
        switch.touch()
        change = await seen.next(SOON_S if inotify else LATE_S)
        assert (change.kill_switch, change.configuration) == (True, False)
        await seen.next()
        switch.write_text("its content does not matter\n")
        await seen.stays_calm()
        switch.unlink()
        change = await seen.next(SOON_S if inotify else LATE_S)
        assert change == Change({switch: PathKind.KILL_SWITCH})


@pytest.mark.parametrize("inotify", ["inotify"], indirect=True)
async def test_a_rotated_secret_is_seen_and_paths_can_change(tmp_path: Path, inotify: bool) -> None:
    (tmp_path / "other").mkdir()
    file, first, second = tmp_path / "c.yaml", tmp_path / "secret", tmp_path / "other" / "secret"
    for path in (file, first, second):
        path.write_text("1")
    async with watching(ConfigWatcher({file: PathKind.CONFIG, first: PathKind.REFERENCED}, inotify=inotify)) as seen:
        first.write_text("2")  # in place, without a newline
        assert (await seen.next()).paths == {first: PathKind.REFERENCED}
        seen.watcher.watch({file: PathKind.CONFIG, second: PathKind.REFERENCED})
        await asyncio.sleep(0.06)
        first.write_text("3")
        replace(second, "2")
        assert (await seen.next(SOON_S if inotify else LATE_S)).paths == {second: PathKind.REFERENCED}
        await asyncio.sleep(0.5)
        assert len(seen.changes) == 2


async def test_what_changes_while_the_program_is_busy_is_passed_on_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("old\n")
    async with ConfigWatcher({file: PathKind.CONFIG}) as watcher:
        changes = watcher.changes()
        replace(file, "1\n")
        await anext(changes)
        replace(file, "2\n")
        watcher.watch({file: PathKind.CONFIG}, read_since=time.time())  # noqa: TID251 - as the program would
        await asyncio.sleep(0.05)
        assert (await asyncio.wait_for(anext(changes), LATE_S)).configuration
        await changes.aclose()


async def test_a_new_path_that_changed_since_the_reading_began_is_passed_on_once(tmp_path: Path) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    old.write_text("1\n")
    await asyncio.sleep(0.06)
    began = time.time()  # noqa: TID251 - as the program would
    fresh.write_text("1\n")
    paths = {old: PathKind.CONFIG, fresh: PathKind.REFERENCED}
    async with watching(ConfigWatcher(paths, read_since=began)) as seen:
        await asyncio.sleep(CALM_S)
        assert [change.paths for change in seen.changes] == [{fresh: PathKind.REFERENCED}]
        seen.watcher.watch(paths, read_since=began)
        await seen.stays_calm()


async def test_without_inotify_it_says_so_once_and_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: str, **_options: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("proxy.settings.inotify.watchfiles.watch", refuse)
    monkeypatch.setattr("proxy.settings.watch._RETRY_INOTIFY_S", 0.0)
    file = tmp_path / "c.yaml"
    file.write_text("old\n")
    said: list[str] = []
    async with watching(ConfigWatcher({file: PathKind.CONFIG}, on_fallback=said.append)) as seen:
        assert "polling" in repr(seen.watcher)
        for number in range(2):
            replace(file, f"{number}\n")
            await seen.next()
    assert len(said) == 1
    assert "watch limit" in said[0]


async def test_closing_and_cancelling_leave_nothing_behind(tmp_path: Path) -> None:
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    watcher = ConfigWatcher({tmp_path / "c.yaml": PathKind.CONFIG})
    seen = Seen(watcher)
    ended = asyncio.get_running_loop().create_task(seen.collect())
    await asyncio.sleep(0.05)
    assert "watching 1 paths, 0 pending" in repr(watcher)
    assert threading.active_count() == threads + 1
    watcher.close()
    watcher.close()
    await asyncio.wait_for(ended, 1)  # closed: the iteration ends
    assert "closed" in repr(watcher)
    cancelled = asyncio.get_running_loop().create_task(Seen(ConfigWatcher({tmp_path: PathKind.TLS})).collect())
    await asyncio.sleep(0.05)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert (threading.active_count(), len(asyncio.all_tasks())) == (threads, tasks)


def test_the_way_to_a_file_leads_over_every_link_and_ends_where_nothing_is(tmp_path: Path) -> None:
    real = tmp_path.resolve()
    (real / "a").mkdir()
    (real / "b" / "deep").mkdir(parents=True)
    (real / "b" / "deep" / "file").touch()
    (real / "a" / "link").symlink_to("../b/deep")
    (real / "a" / "file").symlink_to("link/file")
    (real / "a" / "absolute").symlink_to(real / "b" / "deep" / "file")
    (real / "loop").symlink_to("loop")
    here = {"a": str(real / "a"), "deep": str(real / "b" / "deep"), "top": str(real)}
    assert follow(real / "a" / "file").directories == {here["a"], here["deep"]}
    assert follow(real / "a" / "absolute").directories == {here["a"], here["deep"]}
    assert follow(real / "a" / "link" / ".." / ".." / "a" / "file").directories == {here["a"], here["deep"]}
    assert follow(real / "none" / "at" / "all").directories == {here["top"]}
    assert follow(real / "a" / "file").changed_ns > 0
    assert follow(real / "none").changed_ns == 0
    assert follow(real / "loop").directories == {here["top"]}
    assert follow(f"{real}/nul\0").directories == {here["top"]}


def test_the_paths_of_settings_are_all_that_they_depend_on(tmp_path: Path) -> None:
    for name in ("token", "ca.pem"):
        (tmp_path / name).write_text("secret")
    text = (
        "legacy: {url: 'http://a'}\n"
        "target: {url: 'http://b', tls: {ca_file: ca.pem}}\n"
        "admin: {token: '${file:token}'}\n"
        "rollout: {kill_switch_file: kill, salt: '$${file:no}'}\n"
    )
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert paths_of(load_settings(file, {})) == {
        file: PathKind.CONFIG,
        tmp_path / "token": PathKind.REFERENCED,
        tmp_path / "ca.pem": PathKind.TLS,
        tmp_path / "kill": PathKind.KILL_SWITCH,
    }
    assert paths_named_in(file) == {tmp_path / "token": PathKind.REFERENCED}
    assert paths_named_in(tmp_path / "none") == {}
    assert (
        PathKind.KILL_SWITCH not in paths_of(parse_settings(text.partition("rollout")[0].encode(), file, {})).values()
    )
