"""Changes the rollout in a configuration file, so that two who do it at once never lose a change silently.

The whole of read, edit, check and write happens under a lock on the file's directory. Must not apply anything: the
watcher sees the new file. Neighbours: `rollout_text` edits the text, `atomic_file` writes, `load` checks; the
command line and the admin API call it (in a thread: it waits for locks and for the disk).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.settings.atomic_file import FileChanged, NotWritable, locked_directory, refuse_unwritable, replace_file
from proxy.settings.errors import ConfigError
from proxy.settings.load import LARGEST_FILE_BYTES, LoadedSettings, parse_settings, revision_of
from proxy.settings.rollout_text import CannotLocate, EditedText, edit_text
from proxy.settings.schema import Settings

__all__ = ["EditResult", "NotWritable", "RevisionMismatch", "edit_rollout"]

_ATTEMPTS: Final = 5
_BOM: Final = b"\xef\xbb\xbf"


class RevisionMismatch(Exception):
    """The file is not (any more) the one that the change was made on: its revision is `current`."""

    def __init__(self, current: str) -> None:
        super().__init__(f"the revision of the file is {current}")
        self.current = current


@dataclass(frozen=True, slots=True)
class EditResult:
    """What an edit has done. `before` and `after` are the settings and the revision; equal if nothing was to do.

    `written` is what each changed key said before, None where it was missing; `replaced` the placeholders
    (`${env:…}`) that a plain value has taken the place of. `warnings` are sentences about the edit; those about
    the configuration are in `after.warnings`.
    """

    before: LoadedSettings
    after: LoadedSettings
    written: Mapping[str, str | None]
    replaced: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether the file was written at all."""
        return self.before.revision != self.after.revision


def edit_rollout(
    path: Path,
    env: Mapping[str, str],
    *,
    percentage: int | None = None,
    enabled: bool | None = None,
    if_match: str | None = None,
) -> EditResult:
    """Set the rollout's percentage, enabled or both in the file; None leaves a value as it is.

    Every other byte stays. When it returns, the new file is in place, valid, and on the disk. `if_match` is the
    revision that the change was made on (None: any). Raises ConfigError for a file that is or would become invalid
    in `env`, RevisionMismatch, or NotWritable, and then has changed nothing. Blocks, for 10 s at most.
    """
    wanted: dict[str, str] = {}
    if enabled is not None:
        wanted["enabled"] = "true" if enabled else "false"
    if percentage is not None:
        wanted["percentage"] = str(percentage)
    if not path.parent.is_dir():
        raise ConfigError.about_file(path, "no such file")
    with locked_directory(path.parent) as locked:
        for _ in range(_ATTEMPTS):
            try:
                result = _edit_once(path, env, wanted, if_match)
            except FileChanged:
                continue
            unlocked = () if locked else (f"{path.parent} can't be locked: another edit at this moment may be lost",)
            return EditResult(result.before, result.after, result.written, result.replaced, result.warnings + unlocked)
    raise NotWritable(f"{path} is being changed all the time by somebody else; nothing was written")


def _edit_once(path: Path, env: Mapping[str, str], wanted: Mapping[str, str], if_match: str | None) -> EditResult:
    """Read, edit, check, write. Raises FileChanged when it is to be done again."""
    data = _read(path)
    current = revision_of(data)
    if if_match is not None and if_match != current:
        raise RevisionMismatch(current)
    before = parse_settings(data, path, env)
    refuse_unwritable(path)
    try:
        edited = edit_text(data.decode("utf-8-sig"), wanted)
    except CannotLocate as error:
        raise NotWritable(f"{path} can't be edited: {error}") from error
    new = (_BOM if data.startswith(_BOM) else b"") + edited.text.encode()
    after = parse_settings(new, path, env)
    _check(path, before.settings, after.settings, edited, wanted)
    lost = replace_file(path, new, data) if new != data else ()
    warnings = [
        f"rollout.{key} has an anchor: the values that refer to it have changed with it" for key in edited.followed
    ]
    warnings += [f"the attribute {name} of {path} could not be kept" for name in lost]
    replaced = {key: text for key, text in edited.written.items() if text is not None and "${" in text}
    return EditResult(before, after, edited.written, replaced, tuple(warnings))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError.about_file(path, "no such file") from None
    except IsADirectoryError:
        raise ConfigError.about_file(path, "is a directory, not a configuration file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ConfigError.about_file(path, f"cannot be read: {reason}") from None


def _check(path: Path, before: Settings, after: Settings, edited: EditedText, wanted: Mapping[str, str]) -> None:
    """Make sure that the new text says what is wanted and, unless an anchor is followed, nothing else new."""
    rollout = before.rollout.model_copy(update=_values(wanted))
    as_wanted = (after.rollout.percentage, after.rollout.enabled) == (rollout.percentage, rollout.enabled)
    if as_wanted and (edited.followed or after == before.model_copy(update={"rollout": rollout})):
        return
    raise NotWritable(f"{path} can't be edited without changing more than the rollout: change it by hand")


def _values(wanted: Mapping[str, str]) -> dict[str, object]:
    return {key: int(text) if key == "percentage" else text == "true" for key, text in wanted.items()}
