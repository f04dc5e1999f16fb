"""Files that hold rows, so that nobody else may read them (0600): JSON lines, whole or not at all.

Neighbours: `migrate` writes rejects and reads `--only`, `verify` writes repairs and reports.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from proxy.migration.errors import bad_argument
from proxy.migration.queries import Key


@contextmanager
def private_file(path: Path) -> Iterator[IO[str]]:
    """A text file that takes the place of `path` when it is complete, mode 0600; before that `path` is as it was."""
    descriptor, name = tempfile.mkstemp(
        prefix=f".{path.name}.", suffix=".tmp", dir=path.parent
    )  # mkstemp makes it 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def refuse_unwritable(argument: str, path: Path) -> None:
    """Say before the work, not after it, that a result can't be written. Raises ConfigError."""
    if path.is_dir():
        raise bad_argument(argument, f"{path} is a directory")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:100]}."):
            pass
    except OSError as error:
        raise bad_argument(argument, f"can't write {path}: {error.strerror}") from None


def write_line(file: IO[str], document: dict[str, Any]) -> None:
    """One JSON object as a line; what has no UTF-8 is escaped."""
    try:
        file.write(json.dumps(document, ensure_ascii=False).encode().decode() + "\n")
    except UnicodeEncodeError:
        file.write(json.dumps(document) + "\n")


@dataclass(frozen=True, slots=True)
class Listed:
    """A row that a list names. `is_extra`: verify found an item and no row."""

    key: Key
    is_extra: bool


def read_list(path: Path, width: int) -> Iterator[Listed]:
    """A reject or repair list, line by line, or plain ids. Raises ConfigError with the line.

    A line whose key is null is of an item that can be of no row, and is for a person to look at.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and (listed := _listed(line, f"{path}:{number}", width)):
                    yield listed
    except OSError as error:
        raise bad_argument("--only", f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise bad_argument("--only", f"{path} is not valid UTF-8") from None


def _listed(line: str, place: str, width: int) -> Listed | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = line.strip()  # a plain id on a line of its own
    is_extra = False
    if isinstance(document, dict):
        is_extra = document.get("why") == "extra"
        if "key" in document and document["key"] is None:
            return None
        document = document.get("key")
    values = document if isinstance(document, list) else [document]
    usable = all(isinstance(value, str | int) and not isinstance(value, bool) for value in values)
    key = tuple(str(value) for value in values)
    if len(values) != width or not usable or any("\0" in value or not _has_utf8(value) for value in key):
        columns = "one value" if width == 1 else f"{width} values"
        raise bad_argument(place, f'expected an object with "key": [{columns}], or an id')
    return Listed(key, is_extra)


def _has_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
