"""Reads what `cutover verify --report FILE` wrote: the proof that the data was migrated, or that it was not.

Neighbours: `collect` names it among the inputs, `conclusions` makes a reservation of what does not agree.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_KINDS: Final = ("missing", "extra", "different")


class UnreadableProof(Exception):
    """Not a result of `cutover verify`; `str` says why, with the file's name."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One comparison of the two sources. `written` is the file's time, in seconds since the epoch."""

    name: str
    written: float
    compared: int
    missing: int
    extra: int
    different: int

    @property
    def mismatches(self) -> int:
        """Items that are not the same on both sides."""
        return self.missing + self.extra + self.different


def read_proof(path: Path) -> Proof:
    """Read one result. Raises UnreadableProof."""
    try:
        with path.open(encoding="utf-8") as file:
            found = json.load(file)
            written = path.stat().st_mtime
    except OSError as error:
        raise UnreadableProof(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise UnreadableProof(f"{path}: not JSON; cutover verify --report FILE writes it") from error
    if not isinstance(found, dict):
        raise UnreadableProof(f"{path}: not a result of cutover verify")
    counts = [_count(path, found, key) for key in ("compared", *_KINDS)]
    return Proof(path.name, written, *counts)


def _count(path: Path, found: dict[str, Any], key: str) -> int:
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UnreadableProof(f"{path}: not a result of cutover verify: “{key}” is no count")
    return value
