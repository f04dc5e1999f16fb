"""What can be said about a configuration file: problems that refuse it, and warnings that do not.

Must not know how the file is read. Neighbours: `load` raises `ConfigError`; the command line prints it and
exits 2; a reload logs it and keeps the last good snapshot.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

KeyPath = tuple[str | int, ...]
"""Where a value is in the file: `("operations", 2, "percentage")`; the root is `()`."""

_LONGEST_KEY: Final = 200


def dotted(path: KeyPath) -> str:
    """A key path as people write it, `operations[2].percentage`; unprintable characters are escaped."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{_printable(part)}" if text else _printable(part)
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"


def _printable(key: str) -> str:
    return key if key.isprintable() else repr(key)[1:-1]


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One reason why a file is refused. `line` counts from 1; None when the file could not be read at all."""

    file: str
    line: int | None
    key: str
    problem: str
    hint: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = f"{self.key}: " if self.key else ""
        advice = f"; {self.hint}" if self.hint else ""
        return f"{place}: {subject}{self.problem}{advice}"


class ConfigError(Exception):
    """A configuration that must not be used. Carries every problem, in line order; as text, one a line."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    @classmethod
    def about_file(cls, path: Path, problem: str, hint: str | None = None) -> "ConfigError":
        """A single problem with the file as a whole."""
        return cls((ConfigProblem(str(path), None, "", problem, hint),))

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """Something legal that will surprise somebody. `line` is None when the key is not written in the file."""

    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.key}: {self.message}"
