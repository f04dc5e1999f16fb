"""Adds users to `users.target` of a configuration file for a while, and takes them out again.

What was there comes back byte for byte, unless somebody else has changed the file meanwhile: then only the users are
taken out. Blocks on files. Neighbours: `rehearsal` times it; `settings.atomic_file` writes.
"""

import hashlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from proxy.settings.atomic_file import FileChanged, NotWritable, locked_directory, refuse_unwritable, replace_file
from proxy.settings.errors import ConfigError
from proxy.settings.load import LoadedSettings, parse_settings


class CohortError(Exception):
    """It can't be done, and the file is as it was; the text says why."""


@dataclass(frozen=True, slots=True)
class Added:
    """The file before and after the users were added."""

    before: bytes
    after: bytes


def digest_of(user: str) -> str:
    """What a journal may hold of a user."""
    return hashlib.sha256(user.encode()).hexdigest()


def add_cohort(path: Path, env: Mapping[str, str], users: Sequence[str]) -> Added:
    """Add them, and enable the rollout if it is not: at 0 % nobody else moves. Raises CohortError."""

    def change(tree: Any) -> None:  # noqa: ANN401 - ruamel's trees have no useful type
        rollout = _section(tree, "rollout")
        rollout["enabled"] = True
        listed = _section(rollout, "users")
        listed["target"] = [*(listed.get("target") or ()), *users]

    return _rewrite(path, env, change, lambda now: _refuse(now, users))


def restore(path: Path, env: Mapping[str, str], added: Added) -> bool:
    """Put the file back as it was before; false, and nothing is done, when it is not the one that was written."""
    try:
        with locked_directory(path.parent):
            if path.read_bytes() != added.after:
                return False
            parse_settings(added.before, path, env)
            replace_file(path, added.before, added.after)
    except FileChanged:
        return False
    except (NotWritable, ConfigError, OSError) as error:
        raise CohortError(str(error)) from error
    return True


def remove_cohort(path: Path, env: Mapping[str, str], digests: Collection[str]) -> None:
    """Take the users with these digests out of a file that somebody else has changed. Raises CohortError."""

    def change(tree: Any) -> None:  # noqa: ANN401 - see above
        listed = _section(_section(tree, "rollout"), "users")
        listed["target"] = [user for user in (listed.get("target") or ()) if digest_of(str(user)) not in digests]

    _rewrite(path, env, change, lambda _now: None)


def _refuse(loaded: LoadedSettings, users: Sequence[str]) -> None:
    """Raise for what would move somebody else, or nobody."""
    rollout = loaded.settings.rollout
    listed = {*rollout.users.target, *rollout.users.legacy}
    if listed.intersection(users):
        raise CohortError("some of the users are in users.target or users.legacy already")
    if not rollout.enabled and rollout.percentage:
        raise CohortError(f"rollout.enabled is false at {rollout.percentage} %: enabling it would move other users")
    if not rollout.enabled and any(one.route == "target" for one in loaded.settings.operations):
        raise CohortError("rollout.enabled is false: enabling it would move the operations with `route: target`")
    if rollout.kill_switch_file is not None and Path(rollout.kill_switch_file).exists():
        raise CohortError("the kill switch is on")


def _rewrite(
    path: Path, env: Mapping[str, str], change: Callable[[Any], None], check: Callable[[LoadedSettings], None]
) -> Added:
    try:
        with locked_directory(path.parent):
            before = path.read_bytes()
            check(parse_settings(before, path, env))
            refuse_unwritable(path)
            yaml = YAML(typ="rt", pure=True)
            yaml.width = 4096
            yaml.preserve_quotes = True  # ruamel takes `::1/128` for plain text; who reads the file next does not
            tree = yaml.load(before.decode("utf-8-sig"))
            change(tree)
            out = io.StringIO()
            yaml.dump(tree, out)
            after = out.getvalue().encode()
            parse_settings(after, path, env)
            replace_file(path, after, before)
    except FileChanged:
        raise CohortError(f"{path} is being changed by somebody else") from None
    except (NotWritable, ConfigError, YAMLError, OSError) as error:
        raise CohortError(str(error)) from error
    return Added(before, after)


def _section(tree: Any, key: str) -> Any:  # noqa: ANN401 - see above
    if tree.get(key) is None:
        tree[key] = {}
    return tree[key]
