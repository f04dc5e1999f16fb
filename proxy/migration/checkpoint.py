"""How far a migration has come, in one SQLite file (0600): a crash anywhere loses nothing and counts nothing twice.

A page is one transaction: its counts, its rejects and the key it ended with are there together or not at all. Before
a page is written, its keys are noted as in flight: if the process dies, the next run looks after them, for a row that
was deleted meanwhile is in no page any more. Neighbour: `migrate`.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from proxy.migration.errors import MigrationFailed, bad_argument
from proxy.migration.queries import Key
from proxy.migration.ranges import Range

_FORMAT: Final = 1
_SCHEMA: Final = """
CREATE TABLE about (identity TEXT NOT NULL, seconds REAL NOT NULL, finished INTEGER NOT NULL);
CREATE TABLE ranges (number INTEGER PRIMARY KEY, after TEXT, until TEXT, done INTEGER NOT NULL);
CREATE TABLE in_flight (key TEXT PRIMARY KEY, range INTEGER NOT NULL, item_key TEXT NOT NULL, version TEXT NOT NULL);
CREATE TABLE counts (read INTEGER, written INTEGER, skipped_newer INTEGER, rejected INTEGER, write_units INTEGER);
CREATE TABLE rejects (key TEXT NOT NULL, attribute TEXT, reason TEXT NOT NULL);
CREATE INDEX in_flight_by_range ON in_flight (range);
"""


@dataclass(slots=True)
class Counts:
    """The contract's figures; every row read ends in exactly one of the three that follow it."""

    read: int = 0
    written: int = 0
    skipped_newer: int = 0
    rejected: int = 0
    write_units: int = 0

    def add(self, more: "Counts") -> None:
        """Count these as well."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(more, each.name))


@dataclass(frozen=True, slots=True)
class Reject:
    """A row of which no item was made, and why."""

    key: Key
    attribute: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class InFlight:
    """A write that was begun: the row's key, and the item's key and version."""

    key: Key
    item_key: dict[str, Any]
    version: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page that has been written: its keys in order, what became of its rows."""

    range: int
    keys: Sequence[Key]
    counts: Counts
    rejects: Sequence[Reject]


class Checkpoint:
    """An open checkpoint, locked against a second process. `path` None keeps it in memory."""

    def __init__(self, path: Path | None, identity: str) -> None:
        self._path = path
        self.resumed = False
        self.counts = Counts()
        self.seconds_before = 0.0
        if path is not None:
            _make_private(path)
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=0.5)
            self._begin(identity)
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise MigrationFailed(f"{path} is in use by another migration") from None
            raise bad_argument("--checkpoint", f"{path} is no checkpoint of cutover ({error})") from None

    def __repr__(self) -> str:
        return f"<Checkpoint {self._path}: {self.counts}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._db.close()

    def _begin(self, identity: str) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a power cut may undo the last pages, which are then redone
        self._db.execute("BEGIN EXCLUSIVE")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, _FORMAT):
            raise bad_argument("--checkpoint", f"{self._path} was made by another version of cutover")
        about = self._db.execute("SELECT identity, seconds, finished FROM about").fetchone() if found else None
        if about is not None and not about[2]:
            if about[0] != identity:
                raise bad_argument(
                    "--checkpoint",
                    f"{self._path} belongs to an unfinished migration with other addresses, mapping or shard",
                    "finish that one, remove the file, or name another",
                )
            self.resumed = True
            self.seconds_before = about[1]
            self.counts = Counts(*self._db.execute("SELECT * FROM counts").fetchone())
        else:
            self._start_over(identity)
        self._db.execute("COMMIT")

    def _start_over(self, identity: str) -> None:
        tables = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if tables and not self._db.execute("PRAGMA user_version").fetchone()[0]:
            raise bad_argument("--checkpoint", f"{self._path} is a database of something else")
        for (name,) in tables:
            self._db.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.execute("INSERT INTO about VALUES (?, 0, 0)", (identity,))
        self._db.execute("INSERT INTO counts VALUES (0, 0, 0, 0, 0)")
        self._db.execute(f"PRAGMA user_version = {_FORMAT}")

    def ranges(self) -> list[Range]:
        """What is still to be read, each from where it stands; empty before `set_ranges`."""
        rows = self._db.execute("SELECT number, after, until FROM ranges WHERE NOT done ORDER BY number")
        return [Range(number, _key(after), _key(until)) for number, after, until in rows]

    @property
    def planned(self) -> bool:
        """Whether the ranges are there."""
        return bool(self._db.execute("SELECT count(*) FROM ranges").fetchone()[0])

    def set_ranges(self, ranges: Sequence[Range]) -> None:
        """Note the plan, once."""
        rows = [(each.number, _text(each.after), _text(each.until)) for each in ranges]
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO ranges VALUES (?, ?, ?, 0)", rows)
        self._db.execute("COMMIT")

    def begin_page(self, number: int, writes: Sequence[InFlight]) -> None:
        """Note what is about to be written."""
        rows = [
            (_text(each.key), number, json.dumps(_armoured(each.item_key)), json.dumps(_armoured(each.version)))
            for each in writes
        ]
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO in_flight VALUES (?, ?, ?, ?)", rows)
        self._db.execute("COMMIT")

    def in_flight(self, number: int) -> list[InFlight]:
        """What a run that was killed had begun to write in this range."""
        rows = self._db.execute("SELECT key, item_key, version FROM in_flight WHERE range = ?", (number,))
        return [InFlight(tuple(json.loads(key)), _bare(item), _bare(version)) for key, item, version in rows]

    def forget(self, keys: Sequence[Key]) -> None:
        """These are looked after."""
        self._db.execute("BEGIN")
        self._db.executemany("DELETE FROM in_flight WHERE key = ?", [(_text(key),) for key in keys])
        self._db.execute("COMMIT")

    def finish_page(self, page: Page, seconds: float) -> None:
        """The page is written, up to and including its last key."""
        number, after, counts, rejects = page.range, page.keys[-1], page.counts, page.rejects
        self.counts.add(counts)
        rows = [(_text(each.key), each.attribute, each.reason) for each in rejects]
        self._db.execute("BEGIN")
        self._db.execute("UPDATE ranges SET after = ? WHERE number = ?", (_text(after), number))
        self._db.executemany("DELETE FROM in_flight WHERE key = ?", [(_text(key),) for key in page.keys])
        self._db.executemany("INSERT INTO rejects VALUES (?, ?, ?)", rows)
        self._db.execute(
            "UPDATE counts SET read = ?, written = ?, skipped_newer = ?, rejected = ?, write_units = ?",
            tuple(getattr(self.counts, each.name) for each in fields(self.counts)),
        )
        self._db.execute("UPDATE about SET seconds = ?", (self.seconds_before + seconds,))
        self._db.execute("COMMIT")

    def finish_range(self, number: int) -> None:
        """There is no more in this range."""
        self._db.execute("UPDATE ranges SET done = 1 WHERE number = ?", (number,))

    def finish(self, seconds: float) -> None:
        """All is done: the next run with this file starts anew."""
        self._db.execute("UPDATE about SET finished = 1, seconds = ?", (self.seconds_before + seconds,))

    def rejects(self) -> Iterator[Reject]:
        """Every reject so far."""
        for key, attribute, reason in self._db.execute("SELECT key, attribute, reason FROM rejects ORDER BY rowid"):
            yield Reject(tuple(json.loads(key)), attribute, reason)


def _make_private(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise bad_argument("--checkpoint", f"can't write {path}: {error.strerror}") from None


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)


def _text(key: Key | None) -> str | None:
    return None if key is None else _ENCODER.encode(key)


def _key(text: str | None) -> Key | None:
    return None if text is None else tuple(json.loads(text))


def _armoured(value: Any) -> Any:  # noqa: ANN401 - attribute values, whose bytes JSON has not
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return {name: _armoured(each) for name, each in value.items()} if isinstance(value, dict) else value


def _bare(text: str) -> Any:  # noqa: ANN401 - as above
    return json.loads(
        text, object_hook=lambda found: bytes.fromhex(found["hex"]) if isinstance(found.get("hex"), str) else found
    )
