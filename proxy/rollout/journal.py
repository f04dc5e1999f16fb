"""What happened, in order and for good: an append-only SQLite file that a controller resumes from.

Every entry is on the disk when `add` returns (WAL, synchronous=FULL), and none is ever changed: triggers refuse it.
A step is three things: INTENT is written, the step is taken, DONE is written. Whoever resumes after the first and
before the last takes the step again, which is no harm: it says where to be, not by how much to go. Orders of other
processes are entries too, obeyed in their order and each once: the entry with the state says up to which.
Neighbours: `controller` writes, the command line and the report read.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

_VERSION: Final = 1
_BUSY_S: Final = 10.0
_COLUMNS: Final = "id, run, at, kind, data"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS entries_by_kind ON entries (kind, run, id);
CREATE TRIGGER IF NOT EXISTS never_updated BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS never_deleted BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""


class Kind(StrEnum):
    """What an entry is about. Those of `WITH_STATE` hold the state under the key `state`."""

    STARTED = "started"  # a run: the plan, what was waived
    RESUMED = "resumed"
    TICK = "tick"  # a state and every check's verdict
    INTENT = "intent"  # a step that is about to be taken, the state before and after
    DONE = "done"  # it was taken
    FAILED = "failed"  # it could not be taken
    ORDER = "order"  # what somebody wants
    ANSWER = "answer"  # what became of it
    NOTE = "note"
    REHEARSAL = "rehearsal"
    MEASURED = "measured"  # what was counted since the entry before, by source and operation
    SNAPSHOT = "snapshot"
    STOPPED = "stopped"  # the controller ended


WITH_STATE: Final = (Kind.STARTED, Kind.TICK, Kind.INTENT, Kind.DONE, Kind.FAILED, Kind.ANSWER)


class JournalError(Exception):
    """The journal can't be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `at` is in seconds since the epoch, for people only; `run` counts from 1, 0 is before any."""

    id: int
    run: int
    at: float
    kind: Kind
    data: dict[str, Any]


class Journal:
    """The journal's file, open. `with` it."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open it. Raises JournalError when it is not there (and not to be made) or no journal."""
        self.path = path
        try:
            if create:
                # made here, so that nobody but its owner can ever read it; SQLite gives its other files the same mode
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            elif not path.is_file():
                raise JournalError(f"{path}: no such journal")
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{path}: {getattr(error, 'strerror', None) or error}") from error

    def __repr__(self) -> str:
        return f"<Journal {self.path}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def add(self, kind: Kind, at: float, data: Mapping[str, Any], *, run: int | None = None) -> int:
        """Append an entry, to the newest run unless said otherwise; returns its id. It is on the disk then."""
        number = self.newest_run() if run is None else run
        try:
            row = self._connection.execute(
                "INSERT INTO entries (run, at, kind, data) VALUES (?, ?, ?, ?)",
                (number, at, kind.value, json.dumps(data, allow_nan=False)),
            )
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error
        return int(row.lastrowid or 0)

    def begin_run(self, at: float, data: Mapping[str, Any]) -> int:
        """Append the start of a new run; returns its number."""
        run = self.newest_run() + 1
        self.add(Kind.STARTED, at, data, run=run)
        return run

    def newest_run(self) -> int:
        """The number of the newest run; 0 before the first."""
        row = self._connection.execute("SELECT run FROM entries ORDER BY id DESC LIMIT 1").fetchone()
        return 0 if row is None else int(row[0])

    def newest_id(self) -> int:
        """The id of the newest entry; 0 for none."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM entries").fetchone()[0])

    def entries(self, *kinds: Kind, run: int | None = None, after: int = 0) -> Iterator[Entry]:
        """Entries in their order, of these kinds (or all), of one run or of all."""
        chosen = kinds or tuple(Kind)
        query = f"SELECT {_COLUMNS} FROM entries WHERE id > ? AND kind IN ({_marks(chosen)})"  # noqa: S608 - marks only
        values: list[object] = [after, *(kind.value for kind in chosen)]
        if run is not None:
            query, values = f"{query} AND run = ?", [*values, run]
        for row in self._connection.execute(f"{query} ORDER BY id", values):
            yield _entry(row)

    def last(self, *kinds: Kind, run: int | None = None) -> Entry | None:
        """The newest entry of these kinds."""
        newest = max((self._newest(kind, run) for kind in kinds), default=0)
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE id = ?", (newest,)).fetchone()  # noqa: S608 - a constant
        return None if row is None else _entry(row)

    def _newest(self, kind: Kind, run: int | None) -> int:
        """The id of the newest entry of a kind, 0 for none; from the index, for a journal holds many ticks."""
        query, values = "SELECT coalesce(max(id), 0) FROM entries WHERE kind = ?", [kind.value]
        if run is not None:
            query, values = f"{query} AND run = ?", [*values, str(run)]
        return int(self._connection.execute(query, values).fetchone()[0])

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise JournalError(f"{self.path} was written by a newer cutover")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            tables = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if tables and not self._has_entries():
                raise JournalError(f"{self.path} is another program's database")
            self._connection.executescript(_SCHEMA)
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _has_entries(self) -> bool:
        found = self._connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'entries'").fetchone()
        return bool(found[0])


def _marks(kinds: tuple[Kind, ...]) -> str:
    return ", ".join("?" * len(kinds))


def _entry(row: tuple[int, int, float, str, str]) -> Entry:
    return Entry(row[0], row[1], row[2], Kind(row[3]), json.loads(row[4]))
