"""What a verification has found: figures in memory, each difference on disk, so that a table of them costs no memory.

Neighbours: `second_look` decides what counts, `verify` and `verify_http` fill it, `cli.verify` shows it.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import IO, Any, Self

from proxy.migration.compare import Difference
from proxy.migration.files import write_line
from proxy.migration.queries import Key
from proxy.migration.sizes import Item


class Kind(StrEnum):
    """How an item and its row are not the same."""

    MISSING = "missing"  # a row, and no item
    EXTRA = "extra"  # an item, and no row
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look found."""

    kind: Kind
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that was not the same when it was last looked at. `key` None: an item that can be of no row."""

    key: Key | None
    item_key: Item
    verdict: Verdict
    looks: int = 1

    @property
    def id(self) -> object:
        """What a person calls it: the key, or its values where it has several."""
        if self.key is None:
            return {name: next(iter(value.values())) for name, value in self.item_key.items()}
        return self.key[0] if len(self.key) == 1 else list(self.key)


class Findings:
    """Figures and differences; a context, whose end removes what is on disk."""

    def __init__(self) -> None:
        self.compared = 0
        self.counts = dict.fromkeys(Kind, 0)
        self._spool: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by `__exit__`
        self._repairs: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - as above

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        with suppress(OSError):
            self._spool.close()
            self._repairs.close()

    def __repr__(self) -> str:
        return f"<Findings: {self.compared} compared, {dict(self.counts)}>"

    @property
    def mismatches(self) -> int:
        """All that is not the same."""
        return sum(self.counts.values())

    def confirm(self, doubts: Sequence[Doubt]) -> None:
        """These count."""
        for doubt in doubts:
            self.counts[doubt.verdict.kind] += 1
            if doubt.verdict.kind is Kind.EXTRA:
                self.compared += 1  # the others were counted as rows
            for each in doubt.verdict.differences or (_WHOLE[doubt.verdict.kind],):
                write_line(self._spool, {"id": doubt.id, **asdict(each)})
            self._write_repair(doubt)

    def _write_repair(self, doubt: Doubt) -> None:
        line: dict[str, Any] = {"key": None if doubt.key is None else list(doubt.key), "why": doubt.verdict.kind.value}
        if doubt.verdict.differences:
            line["fields"] = [each.field for each in doubt.verdict.differences]
        if doubt.key is None:
            line["item"] = {name: str(next(iter(value.values()))) for name, value in doubt.item_key.items()}
        write_line(self._repairs, line)

    def differences(self) -> Iterator[dict[str, Any]]:
        """Every difference, as the contract has it."""
        yield from _lines(self._spool)

    def repairs(self) -> Iterator[dict[str, Any]]:
        """Every line of a repair list."""
        yield from _lines(self._repairs)

    def write_json(self, file: IO[str], seconds: float) -> None:
        """The whole result as one JSON object, without ever holding it."""
        head: dict[str, Any] = {"compared": self.compared, **{kind.value: self.counts[kind] for kind in Kind}}
        head["seconds"] = round(seconds, 3)
        file.write(json.dumps(head)[:-1] + ', "differences": [')
        for number, difference in enumerate(self.differences()):
            file.write((", " if number else "") + json.dumps(difference))
        file.write("]}\n")


_WHOLE = {
    Kind.MISSING: Difference(None, "present", "absent"),
    Kind.EXTRA: Difference(None, "absent", "present"),
    Kind.DIFFERENT: Difference(None, "present", "present"),
}


def _lines(file: IO[str]) -> Iterator[dict[str, Any]]:
    file.flush()
    file.seek(0)
    for line in file:
        yield json.loads(line)
    file.seek(0, 2)
