"""From a file to settings: reads, validates, and says everything that is wrong with it at once.

Reads the file and those it names by `${file:}`; nothing else, and no environment but the one it is given.
Neighbours: the command line and the reload both come in here; `ConfigError` is the only way to fail.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.settings.advice import find_advice
from proxy.settings.document import Document, read_document
from proxy.settings.errors import ConfigError, ConfigProblem, ConfigWarning, KeyPath, dotted
from proxy.settings.placeholders import Expander
from proxy.settings.problems import validate
from proxy.settings.schema import Settings
from proxy.settings.tls_files import find_unusable
from proxy.settings.written import fingerprint_of
from proxy.settings.yaml_source import YamlError

LARGEST_FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Valid settings and where they came from. `files` are those read for `${file:}`, in their order.

    `rollout_written` tells whether the `rollout` section, as it is written, is the same as another file's.
    """

    settings: Settings
    revision: str
    path: Path
    warnings: tuple[ConfigWarning, ...]
    files: tuple[Path, ...]
    rollout_written: str = ""


def load_settings(path: Path, env: Mapping[str, str]) -> LoadedSettings:
    """Read and check a configuration file. Raises ConfigError with every problem, in line order."""
    return parse_settings(_file_bytes(path), path, env)


def parse_settings(data: bytes, path: Path, env: Mapping[str, str]) -> LoadedSettings:
    """Check a configuration's bytes; `path` names it in messages and its directory holds relative paths.

    Raises ConfigError with every problem, in line order.
    """
    document = _document(data, path, env)
    settings, found = validate(document)
    problems = [*document.problems, *found]
    if settings is not None:
        problems += _unreadable_files(settings, document) or _unusable_files(settings, document)
    if settings is None or problems:
        raise ConfigError(tuple(sorted(problems, key=lambda problem: problem.line or 0)))
    warnings = tuple(
        ConfigWarning(document.line_of(path), dotted(path), message) for path, message in find_advice(settings)
    )
    written = fingerprint_of(data.decode("utf-8-sig"), "rollout")
    return LoadedSettings(settings, revision_of(data), path, warnings, document.files, written)


def revision_of(data: bytes) -> str:
    """The name of a configuration: the first 12 hexadecimal digits of SHA-256 over the file's bytes."""
    return hashlib.sha256(data).hexdigest()[:12]


def _file_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ConfigError.about_file(path, "is a directory, not a configuration file")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError.about_file(path, "no such file") from None
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        reason = getattr(exc, "strerror", None) or "not a usable path"
        raise ConfigError.about_file(path, f"cannot be read: {reason}") from None


def _document(data: bytes, path: Path, env: Mapping[str, str]) -> Document:
    if len(data) > LARGEST_FILE_BYTES:
        raise ConfigError.about_file(path, "is larger than 1 MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ConfigError((ConfigProblem(str(path), line, "", "not valid UTF-8"),)) from None
    try:
        document = read_document(text, path, Expander(env, path.parent))
    except YamlError as exc:
        fault = exc.fault
        raise ConfigError((ConfigProblem(str(path), fault.line, "", fault.problem, fault.hint),)) from None
    if document.tree in (None, {}) and not document.problems:
        problem = ConfigProblem(str(path), 1, "", "the file is empty", "legacy.url and target.url are required")
        raise ConfigError((problem,))
    return document


def _unreadable_files(settings: Settings, document: Document) -> list[ConfigProblem]:
    found = []
    for role in ("legacy", "target"):
        for key in ("ca_file", "cert_file", "key_file"):
            written: str | None = getattr(getattr(settings, role).tls, key)
            reason = None if written is None else _why_unreadable(Path(written))
            if reason is not None:
                place: KeyPath = (role, "tls", key)
                found.append(document.problem(place, f"cannot be read: {reason}"))
    return found


def _unusable_files(settings: Settings, document: Document) -> list[ConfigProblem]:
    found = []
    for role, source in (("legacy", settings.legacy), ("target", settings.target)):
        unusable = find_unusable(source.tls) if source.url.scheme == "https" else None
        if unusable is not None:
            key, problem = unusable
            found.append(document.problem((role, "tls", key), problem))
    return found


def _why_unreadable(path: Path) -> str | None:
    try:
        with path.open("rb"):
            return None
    except OSError as exc:
        return (exc.strerror or "not a usable path").lower()
