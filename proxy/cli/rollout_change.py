"""One change of the rollout, in the file or through the admin API, and what is told about it.

Neighbours: `set` and `rollback` say what is wanted; `settings.edit` and the admin API do it.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.cli.admin_client import AdminClient, AdminError, Unreachable
from proxy.settings.edit import EditResult, NotWritable, RevisionMismatch, edit_rollout
from proxy.settings.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be; None leaves it as it is. `rollback` asks the admin API for one, which always succeeds."""

    percentage: int
    enabled: bool | None = None
    if_match: str | None = None
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """What a configuration says."""

    percentage: object
    enabled: object
    revision: object


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has changed and where. `replaced` are placeholders that plain values have taken the place of."""

    place: str
    old: State
    new: State
    persisted: bool
    replaced: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def make_change(command: str, args: argparse.Namespace, wish: Wish) -> int:
    """Do what is wished where the arguments say, and tell; returns the exit status."""
    try:
        outcome = _change_file(args.config, wish) if args.admin is None else _change_running(args, wish)
    except ConfigError as error:
        print(error, file=sys.stderr)
        print(
            f"cutover {command}: nothing was written; with --admin the change is made in the sidecar's environment",
            file=sys.stderr,
        )
        return 2
    except ValueError as error:
        print(f"cutover {command}: {error}", file=sys.stderr)
        return 2
    except (NotWritable, RevisionMismatch, AdminError, Unreachable) as error:
        print(f"cutover {command}: {_failure(error, args, wish)}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(_as_json(outcome), indent=2))
    else:
        print(_as_line(outcome))
        for note in (*_replacements(outcome), *outcome.notes):
            print(note, file=sys.stderr)
    return 0


def _change_file(path: Path, wish: Wish) -> Outcome:
    result = edit_rollout(path, os.environ, percentage=wish.percentage, enabled=wish.enabled, if_match=wish.if_match)
    rollout = result.after.settings.rollout
    return Outcome(
        place=str(path),
        old=_state(result, before=True),
        new=_state(result, before=False),
        persisted=True,
        replaced=result.replaced,
        notes=tuple(_file_notes(result, rollout.kill_switch_file, wish)),
    )


def _state(result: EditResult, *, before: bool) -> State:
    loaded = result.before if before else result.after
    rollout = loaded.settings.rollout
    return State(rollout.percentage, rollout.enabled, loaded.revision)


def _file_notes(result: EditResult, kill_switch: str | None, wish: Wish) -> Iterator[str]:
    for warning in result.warnings:
        yield f"warning: {warning}"
    if not result.after.settings.rollout.enabled and not wish.rollback:
        yield "warning: rollout.enabled is false, so nobody moves (--enable sets it)"
    if kill_switch is not None and Path(kill_switch).exists() and not wish.rollback:
        yield f"warning: the kill-switch file {kill_switch} exists, so everything goes to legacy all the same"


def _change_running(args: argparse.Namespace, wish: Wish) -> Outcome:
    client = AdminClient.from_arguments(args)
    before = _status_before(client, wish)
    if wish.rollback:
        after = client.ask("POST", "/rollback")
    else:
        body: dict[str, object] = {"percentage": wish.percentage}
        if wish.enabled is not None:
            body["enabled"] = wish.enabled
        condition = {} if wish.if_match is None else {"If-Match": f'"{wish.if_match}"'}
        after = client.ask("PATCH", "/rollout", body, condition)
    notes = [f"note: {after['note']}"] if after.get("note") else []
    if after.get("enabled") is False and not wish.rollback:
        notes.append("warning: enabled is false, so nobody moves (--enable sets it)")
    return Outcome(
        place=client.url,
        old=State(before.get("percentage"), before.get("enabled"), before.get("revision")),
        new=State(after.get("percentage"), after.get("enabled"), after.get("revision")),
        persisted=bool(after.get("persisted")),
        notes=tuple(notes),
    )


def _status_before(client: AdminClient, wish: Wish) -> Mapping[str, object]:
    """What was in force, to be told. A rollback is not to fail for it."""
    try:
        return client.ask("GET", "/status")
    except AdminError:
        if not wish.rollback:
            raise
        return {}


def _failure(error: Exception, args: argparse.Namespace, wish: Wish) -> str:
    if isinstance(error, RevisionMismatch):
        return f"{args.config} is at revision {error.current}, not {wish.if_match}: look at what it says now"
    if isinstance(error, Unreachable):
        return f"{args.admin} is not reachable: {error}"
    if isinstance(error, AdminError):
        return f"{args.admin} refuses: {error}"
    if isinstance(error, NotWritable) and wish.rollback:
        return f"{error}. At once and without the file: cutover rollback --admin URL"
    return str(error)


def _as_line(outcome: Outcome) -> str:
    old, new = outcome.old, outcome.new
    parts = [
        f"{key} {outcome.replaced.get(key, _shown(before))} → {_shown(after)}"
        for key, before, after in (
            ("percentage", old.percentage, new.percentage),
            ("enabled", old.enabled, new.enabled),
        )
        if before != after or key in outcome.replaced
    ]
    if not parts:
        return f"{outcome.place}: nothing to change, percentage is {_shown(new.percentage)} (revision {new.revision})"
    where = f"revision {old.revision} → {new.revision}" if old.revision != new.revision else f"revision {new.revision}"
    return f"{outcome.place}: {', '.join(parts)}, {where}"


def _replacements(outcome: Outcome) -> Iterator[str]:
    for key, placeholder in outcome.replaced.items():
        now = getattr(outcome.new, key)
        yield f"note: rollout.{key} was {placeholder}; it is {_shown(now)} now, whatever the environment says"


def _shown(value: object) -> str:
    if value is None:
        return "?"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_json(outcome: Outcome) -> dict[str, object]:
    def state(each: State) -> dict[str, object]:
        return {"percentage": each.percentage, "enabled": each.enabled, "revision": each.revision}

    return {
        **state(outcome.new),
        "old": state(outcome.old),
        "persisted": outcome.persisted,
        "replaced": dict(outcome.replaced),
        "notes": list(outcome.notes),
    }
