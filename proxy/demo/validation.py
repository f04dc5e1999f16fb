"""The rules for a request's JSON: what may be written, and what exactly is wrong with it.

Pure. Neighbours: `gallery_app` turns `InvalidFieldsError` into a 422 that lists every field at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from proxy.demo.model import ID_PATTERN, Image, next_update_time, to_whole_ms

MAX_DESCRIPTION_CHARS: Final = 20_000
MAX_TAGS: Final = 30
MAX_SAFE_INTEGER: Final = 2**53 - 1  # what a JavaScript client can still hold exactly

Rule = Callable[[Any], str | None]


class InvalidFieldsError(ValueError):
    """A well-formed JSON object that does not describe an image; `problems` maps field to message."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(", ".join(f"{name}: {message}" for name, message in problems.items()))
        self.problems = dict(problems)


def text_problem(value: object, low: int, high: int) -> str | None:
    """Say why `value` is no text of `low` to `high` characters that both databases can hold, else None."""
    if not isinstance(value, str):
        return "must be a string"
    if not low <= len(value) <= high:
        return f"must have {low} to {high} characters"
    # PostgreSQL stores no U+0000, and a lone surrogate has no UTF-8: neither may get into one store only.
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        return "contains a character that cannot be stored"
    return None


def _text(low: int, high: int) -> Rule:
    return lambda value: text_problem(value, low, high)


def _integer(low: int, high: int) -> Rule:
    def check(value: object) -> str | None:
        # A JSON true is a Python int; it is no width.
        if not isinstance(value, int) or isinstance(value, bool):
            return "must be a whole number"
        return None if low <= value <= high else f"must be between {low} and {high}"

    return check


def _url(value: object) -> str | None:
    problem = text_problem(value, 1, 2048)
    if problem is None and not str(value).startswith(("https://", "http://")):
        return "must be an http or https URL"
    return problem


def _identifier(value: object) -> str | None:
    if not isinstance(value, str) or ID_PATTERN.fullmatch(value) is None:
        return "must be 1 to 64 letters, digits, hyphens or underscores"
    return None


def _tags(value: object) -> str | None:
    if not isinstance(value, list) or len(value) > MAX_TAGS:
        return f"must be a list of at most {MAX_TAGS} tags"
    return next((f"a tag {problem}" for tag in value if (problem := text_problem(tag, 1, 64))), None)


def _nullable(rule: Rule) -> Rule:
    return lambda value: None if value is None else rule(value)


@dataclass(frozen=True, slots=True)
class _Field:
    attribute: str
    rule: Rule
    required: bool = False
    default: object = None


_FIELDS: Final = {
    "title": _Field("title", _text(1, 200), required=True),
    "description": _Field("description", _text(0, MAX_DESCRIPTION_CHARS), default=""),
    "url": _Field("url", _url, required=True),
    "thumbnailUrl": _Field("thumbnail_url", _nullable(_url)),
    "tags": _Field("tags", _tags, default=()),
    "albumId": _Field("album_id", _nullable(_identifier)),
    "width": _Field("width", _integer(1, 100_000), required=True),
    "height": _Field("height", _integer(1, 100_000), required=True),
    "sizeBytes": _Field("size_bytes", _integer(0, MAX_SAFE_INTEGER), required=True),
}
_IDENTITY: Final = {"id": _identifier, "userId": _text(1, 128)}
_SERVER_SET: Final = frozenset({"createdAt", "updatedAt"})
"""Accepted and ignored, so that what a GET returned can be sent back in a PUT."""


def parse_changes(document: Mapping[str, Any], *, complete: bool) -> dict[str, Any]:
    """Return the attributes a PUT (`complete`) or PATCH sets; a PUT resets what it leaves out.

    Raises InvalidFieldsError with every problem found.
    """
    problems: dict[str, str] = {}
    changes: dict[str, Any] = {}
    for name, value in document.items():
        field = _FIELDS.get(name)
        if field is None:
            if name not in _IDENTITY and name not in _SERVER_SET:
                problems[name[:64]] = "is not a field of an image"
        elif problem := field.rule(value):
            problems[name] = problem
        else:
            changes[field.attribute] = tuple(value) if name == "tags" else value
    for name, field in _FIELDS.items() if complete else ():
        if name in document:
            continue
        if field.required:
            problems[name] = "is required"
        changes[field.attribute] = field.default
    if problems:
        raise InvalidFieldsError(problems)
    return changes


def new_image(document: Mapping[str, Any], fresh_id: str, now: datetime) -> Image:
    """Build the image a POST describes, with its own id or `fresh_id`. Raises InvalidFieldsError."""
    identity = {"id": fresh_id, **{name: document[name] for name in _IDENTITY if name in document}}
    problems = {
        name: problem or "is required"
        for name, rule in _IDENTITY.items()
        if name not in identity or (problem := rule(identity[name]))
    }
    try:
        changes = parse_changes(document, complete=True)
    except InvalidFieldsError as exc:
        raise InvalidFieldsError(problems | exc.problems) from exc
    if problems:
        raise InvalidFieldsError(problems)
    moment = to_whole_ms(now)
    return Image(id=identity["id"], user_id=identity["userId"], created_at=moment, updated_at=moment, **changes)


def apply_changes(image: Image, changes: Mapping[str, Any], now: datetime) -> Image:
    """Return `image` with `changes` (from `parse_changes`) and a later `updated_at`."""
    return replace(image, **changes, updated_at=next_update_time(image.updated_at, now))


def check_identity(document: Mapping[str, Any], image_id: str) -> None:
    """Refuse a write whose body names another image than its path. Raises InvalidFieldsError."""
    if document.get("id", image_id) != image_id:
        raise InvalidFieldsError({"id": "cannot be changed"})
