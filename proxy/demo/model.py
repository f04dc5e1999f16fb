"""The LEGO gallery's image, and the exact bytes both sources answer with.

Both stores convert to and from `Image`, and only `encode_*` here turns one into JSON: key order, time format and
escaping cannot differ between the sources. Must not know of HTTP or of either database.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
MAX_CURSOR_CHARS: Final = 256
ONE_MS: Final = timedelta(milliseconds=1)

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


class InvalidCursorError(ValueError):
    """A cursor that no page of this gallery ever handed out."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the gallery. Times are UTC in whole milliseconds, sizes are bytes and pixels."""

    id: str
    user_id: str
    title: str
    description: str
    url: str
    thumbnail_url: str | None
    tags: tuple[str, ...]
    album_id: str | None
    width: int
    height: int
    size_bytes: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last item of a page. A list runs from the newest (created_at, id) to the oldest."""

    created_at: datetime
    id: str


def to_whole_ms(moment: datetime) -> datetime:
    """Drop the microseconds that the JSON format has no room for, before they are stored anywhere."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def format_time(moment: datetime) -> str:
    """`2026-03-01T12:00:00.000Z`; its order as a string is its order in time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Read what `format_time` writes, and nothing else. Raises ValueError."""
    if _TIME.fullmatch(text) is None:
        raise ValueError(f"not a time like 2026-03-01T12:00:00.000Z: {text[:40]!r}")
    return datetime.fromisoformat(text)


def next_update_time(previous: datetime, now: datetime) -> datetime:
    """The `updatedAt` of a write: never equal to or before the last one, whatever the clock does.

    Last-writer-wins compares these, so two writes in one millisecond must still be ordered.
    """
    return max(to_whole_ms(now), previous + ONE_MS)


def image_as_json(image: Image) -> dict[str, Any]:
    """Return the JSON object of one image, keys in the order every answer has them."""
    return {
        "id": image.id,
        "userId": image.user_id,
        "title": image.title,
        "description": image.description,
        "url": image.url,
        "thumbnailUrl": image.thumbnail_url,
        "tags": list(image.tags),
        "albumId": image.album_id,
        "width": image.width,
        "height": image.height,
        "sizeBytes": image.size_bytes,
        "createdAt": format_time(image.created_at),
        "updatedAt": format_time(image.updated_at),
    }


def image_from_json(document: dict[str, Any]) -> Image:
    """Rebuild an image from `image_as_json`'s object. Raises KeyError, TypeError or ValueError on another shape."""
    return Image(
        id=document["id"],
        user_id=document["userId"],
        title=document["title"],
        description=document["description"],
        url=document["url"],
        thumbnail_url=document["thumbnailUrl"],
        tags=tuple(document["tags"]),
        album_id=document["albumId"],
        width=document["width"],
        height=document["height"],
        size_bytes=document["sizeBytes"],
        created_at=parse_time(document["createdAt"]),
        updated_at=parse_time(document["updatedAt"]),
    )


def encode_json(document: object) -> bytes:
    """Serialise compactly as UTF-8; the one place that decides how."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def encode_page(found: Sequence[Image], limit: int) -> bytes:
    """Serialise one page, given up to `limit + 1` images: the one too many only says that there is more."""
    items = found[:limit]
    more = len(found) > limit
    return encode_json(
        {
            "items": [image_as_json(image) for image in items],
            "nextCursor": encode_cursor(items[-1]) if more else None,
        }
    )


def encode_cursor(last: Image) -> str:
    """Return the opaque cursor after `last`; it names a position, not a source, so either source can go on from it."""
    raw = f"{format_time(last.created_at)}|{last.id}".encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Read a cursor. Raises InvalidCursorError."""
    if len(text) > MAX_CURSOR_CHARS:
        raise InvalidCursorError("the cursor is too long")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
        moment, _, image_id = raw.partition("|")
        cursor = Cursor(parse_time(moment), image_id)
    except (binascii.Error, ValueError) as exc:
        raise InvalidCursorError("the cursor is not one that this API returned") from exc
    if ID_PATTERN.fullmatch(cursor.id) is None:
        raise InvalidCursorError("the cursor is not one that this API returned")
    return cursor
