"""`${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` inside scalars; `$${` is a literal `${`.

Expanded once: what is put in is never expanded again and never read as YAML. Errors name the placeholder
and never its value or its default. Neighbour: `document` expands every scalar through one `Expander`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.settings.raw import Substituted

LARGEST_FILE_BYTES: Final = 1 << 20

_PLACEHOLDER: Final = re.compile(r"\$(?P<literal>\$\{)|\$\{(?P<body>[^}]*)\}|(?P<unclosed>\$\{)", re.DOTALL)
_ENV: Final = re.compile(r"env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
_FORMS: Final = "write ${env:NAME}, ${env:NAME:-default} or ${file:PATH}, or $${ for a literal ${"


class PlaceholderError(Exception):
    """A placeholder that cannot be expanded."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class Expander:
    """Expands scalars, and remembers which files it read. A relative path counts from `directory`."""

    def __init__(self, env: Mapping[str, str], directory: Path) -> None:
        self._env = env
        self._directory = directory
        self._read: dict[Path, str] = {}

    def __repr__(self) -> str:
        return f"<Expander of {len(self._read)} files in {self._directory}>"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files read so far, in order."""
        return tuple(self._read)

    def expand(self, text: str) -> str:
        """The text with its placeholders replaced: `Substituted` if it had any. Raises PlaceholderError."""
        if "${" not in text:
            return text
        sources: list[str] = []

        def replace(found: re.Match[str]) -> str:
            if found["literal"]:
                return "${"
            if found["unclosed"]:
                raise PlaceholderError("unclosed placeholder: ${ without }", _FORMS)
            source, value = self._value(found["body"])
            sources.append(source)
            return value

        expanded = _PLACEHOLDER.sub(replace, text)
        return Substituted(expanded, tuple(dict.fromkeys(sources))) if sources else expanded

    def _value(self, body: str) -> tuple[str, str]:
        if "${" in body:
            raise PlaceholderError("a placeholder inside a placeholder cannot be expanded")
        if body.startswith("file:") and body != "file:":
            return f"${{{body}}}", self._from_file(body.removeprefix("file:"))
        found = _ENV.fullmatch(body)
        if found is None:
            # what follows the first word may be a secret
            word = re.match(r"[A-Za-z_]{0,20}", body)
            raise PlaceholderError(f"malformed placeholder ${{{word[0] if word else ''}…}}", _FORMS)
        return f"${{env:{found['name']}}}", self._from_env(found["name"], found["default"])

    def _from_env(self, name: str, default: str | None) -> str:
        value = self._env.get(name)
        if default is not None and not value:
            return default
        if value is None:
            raise PlaceholderError(
                f"the environment variable {name} is not set", f"set it, or write ${{env:{name}:-default}}"
            )
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise PlaceholderError(f"the environment variable {name} is not valid UTF-8")
        return value

    def _from_file(self, written: str) -> str:
        path = self._directory / written
        if path not in self._read:
            self._read[path] = _file_text(path, f"${{file:{written}}}")
        return self._read[path]


def _file_text(path: Path, name: str) -> str:
    """The text of a regular file without its trailing newline."""
    try:
        if not path.is_file():
            missing = not path.exists()
            raise PlaceholderError(f"{name}: {'no such file' if missing else 'not a regular file'}")
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise PlaceholderError(f"{name}: {getattr(exc, 'strerror', None) or 'not a usable path'}") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise PlaceholderError(f"{name}: larger than 1 MiB")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise PlaceholderError(f"{name}: not valid UTF-8") from None
