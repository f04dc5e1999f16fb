"""Reads a rollout's journal: one pass over its entries, each run apart. Changes nothing and concludes nothing.

Whatever strings it holds are made fit to be written: no control characters, no lone surrogates, none that turn the
direction of writing. Neighbours: `run_story` follows one run, `measured` reads its figures, `collect` asks.
"""

import math
import os
import shutil
import sqlite3
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from proxy.report.checks_seen import read_results, unit_in
from proxy.report.findings import CheckUnit, Note, Rehearsal, Run, Snapshot
from proxy.report.measured import Record, read_record
from proxy.report.run_story import RunStory
from proxy.report.wording import LATEST_S
from proxy.rollout.journal import Entry, Journal, Kind

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_LONGEST_TEXT: Final = 4000  # characters; a note is no book, and a page must stay one
_UNFIT: Final = ("Cc", "Cs", "Cf", "Co", "Cn")
_LINE_ENDS: Final = "\n\r\t"
_JOINERS: Final = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


class UnreadableJournal(Exception):
    """There is nothing to be reported in it; the text says why."""


@dataclass(slots=True)
class JournalFacts:
    """Everything that the journal holds, in order. `units` are what the checks' values are, by name."""

    runs: list[Run] = field(default_factory=list)
    rehearsals: list[Rehearsal] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    measured: list[Record] = field(default_factory=list)
    units: dict[str, CheckUnit] = field(default_factory=dict)


def read_journal(path: Path) -> JournalFacts:
    """Read it. Raises JournalError (no journal) or UnreadableJournal."""
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableJournal(f"{path} is empty: no rollout has been started with it")
    try:
        with _openable(path) as file, Journal(file, create=False) as journal:
            facts = _read(journal.entries(), path)
    except (sqlite3.Error, ValueError, RecursionError) as error:
        raise UnreadableJournal(f"{path} is damaged: {error}") from error
    if not facts.runs:
        raise UnreadableJournal(f"{path}: no rollout has been started with it")
    return facts


@contextmanager
def _openable(path: Path) -> Iterator[Path]:
    """The journal where SQLite can open it: a copy when it was put away where nothing can be written."""
    if not path.is_file() or os.access(path.parent, os.W_OK):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="cutover-report-") as directory:
        for part in (path, path.with_name(f"{path.name}-wal")):
            if part.is_file():
                shutil.copyfile(part, Path(directory, part.name))
        yield Path(directory, path.name)


def _read(entries: Iterator[Entry], path: Path) -> JournalFacts:
    facts = JournalFacts()
    story: RunStory | None = None
    for entry in entries:
        try:
            if not 0 <= entry.at <= LATEST_S:
                raise ValueError("a time that is none")
            fit = replace(entry, data=made_fit(entry.data))
            _learn_units(fit, facts.units)
            if entry.kind is Kind.STARTED:
                _end(story, facts)
                story = RunStory(fit)
            elif not _take_aside(fit, facts) and story is not None:
                story.take(fit)
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            what = f"{path}: entry {entry.id} ({entry.kind.value}) is not as cutover writes it"
            raise UnreadableJournal(what) from error
    _end(story, facts)
    for run in facts.runs:
        facts.units.update((check.name, check.unit) for check in run.definitions if check.unit is not None)
    return facts


def _learn_units(entry: Entry, units: dict[str, CheckUnit]) -> None:
    for check in entry.data.get("checks", ()) if entry.kind in (Kind.TICK, Kind.SNAPSHOT) else ():
        if check["name"] not in units:
            unit = unit_in(check["why"])
            if unit is not None:
                units[check["name"]] = unit


def _end(story: RunStory | None, facts: JournalFacts) -> None:
    if story is not None:
        facts.runs.append(story.told())


def _take_aside(entry: Entry, facts: JournalFacts) -> bool:
    """Take what belongs to no run's course; whether it was that."""
    data = entry.data
    match entry.kind:
        case Kind.NOTE:
            facts.notes.append(_note(entry))
        case Kind.REHEARSAL if not data.get("begun"):
            facts.rehearsals.append(_rehearsal(entry))
        case Kind.REHEARSAL:
            pass  # it has begun; how it ended is an entry of its own
        case Kind.MEASURED:
            facts.measured.append(read_record(entry.run, data))
        case Kind.SNAPSHOT:
            facts.snapshots.append(_snapshot(entry))
        case _:
            return False
    return True


def _note(entry: Entry) -> Note:
    data = entry.data
    check, value = data.get("check"), data.get("value")
    return Note(entry.run, entry.at, str(data["text"]), check, None if value is None else float(value))


def _rehearsal(entry: Entry) -> Rehearsal:
    data = entry.data
    return Rehearsal(
        entry.at,
        bool(data.get("ok")),
        data.get("users"),
        data.get("to_target_s"),
        data.get("to_legacy_s"),
        str(data.get("why", "")),
    )


def _snapshot(entry: Entry) -> Snapshot:
    data = entry.data
    places = {str(name): int(share[0]) if share[1] else 0 for name, share in data.get("places", {}).items()}
    return Snapshot(entry.run, entry.at, str(data["verdict"]), str(data["why"]), read_results(data["checks"]), places)


def made_fit(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The same, every string in it fit for a text file that people read. Raises ValueError for NaN and infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number that is none")
    if isinstance(value, str):
        return _fit_text(value)
    if isinstance(value, dict):
        return {_fit_text(key): made_fit(held) for key, held in value.items()}
    if isinstance(value, list):
        return [made_fit(held) for held in value]
    return value


def _fit_text(text: str) -> str:
    if text.isascii() and text.isprintable() and len(text) <= _LONGEST_TEXT:
        return text
    cut = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    return "".join(_fit_character(character) for character in cut)


def _fit_character(character: str) -> str:
    if character in _LINE_ENDS:
        return " "
    if character in _JOINERS or unicodedata.category(character) not in _UNFIT:
        return character
    return _REPLACEMENT
