"""Reading what a request wants: the body of `PATCH /rollout`, `If-Match`, `persist`. Pure.

Each raises `Refusal(400, ...)` with a sentence that says what was expected.
"""

import json
from collections.abc import Mapping
from typing import Final

from proxy.admin.control import RolloutChange
from proxy.admin.problems import Refusal

MAX_BODY_BYTES: Final = 4096
_KEYS: Final = ("percentage", "enabled")


def read_change(body: bytes, query: Mapping[str, str], if_match: str | None) -> RolloutChange:
    """Read a change of the rollout, strictly: nothing unknown, nothing twice, nothing guessed."""
    wish = _object(body)
    unknown = [key for key in wish if key not in _KEYS]
    if unknown:
        raise Refusal(400, f"unknown key {json.dumps(unknown[0][:64])}: percentage and enabled can be changed")
    if not wish:
        raise Refusal(400, "nothing to change: give percentage, enabled or both")
    return RolloutChange(
        percentage=_percentage(wish["percentage"]) if "percentage" in wish else None,
        enabled=_boolean(wish["enabled"]) if "enabled" in wish else None,
        if_match=read_if_match(if_match),
        persist=read_persist(query),
    )


def read_if_match(value: str | None) -> str | None:
    """Read the one revision of an `If-Match`, quoted or bare; None for `*` and when there is none."""
    if value is None or value.strip() == "*":
        return None
    revision = value.strip()
    if len(revision) >= 2 and revision[0] == revision[-1] == '"':
        revision = revision[1:-1]
    if not revision or '"' in revision or "," in revision:
        raise Refusal(400, "If-Match must be one revision, as given by ETag, or *")
    return revision


def read_persist(query: Mapping[str, str]) -> bool:
    """Read `?persist=`: true unless it says false."""
    value = query.get("persist", "true").lower()
    if value not in ("true", "false"):
        raise Refusal(400, "persist must be true or false")
    return value == "true"


def _object(body: bytes) -> dict[str, object]:
    try:
        wish = json.loads(body.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not valid JSON") from None
    if not isinstance(wish, dict):
        raise Refusal(400, 'the body must be a JSON object such as {"percentage": 10}')
    return wish


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise Refusal(400, f"duplicate key {json.dumps(key[:64])}")
        found[key] = value
    return found


def _percentage(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise Refusal(400, "percentage must be a whole number from 0 to 100")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refusal(400, "enabled must be true or false")
    return value
