"""What a client of the gallery may never see, and which side each user belongs on.

Pure, and deliberately not built on the sidecar's own code: a mistake there must not excuse itself here.
Neighbours: `load` checks each answer, `story` each phase.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import mmh3

from proxy.demo.stats import LEGACY, PROXY, TARGET, Record, covered_by_legacy

_KEYS = (
    "id",
    "userId",
    "title",
    "description",
    "url",
    "thumbnailUrl",
    "tags",
    "albumId",
    "width",
    "height",
    "sizeBytes",
    "createdAt",
    "updatedAt",
)


def bucket_of(user: str) -> int:
    """Return the bucket, 0 to 99, that contract section 3 gives a user id without salt."""
    return mmh3.hash(user.encode(), 0, signed=False) % 100


def object_of(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object, None when it is something else."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def image_error(document: Any, user: str, image_id: str | None = None) -> str | None:  # noqa: ANN401 - whatever JSON came
    """Say why this is not a whole image of `user` (and, if given, with that id); None when it is."""
    if not isinstance(document, dict) or tuple(document) != _KEYS:
        return "not a whole image"
    if image_id is not None and document["id"] != image_id:
        return f"asked for {image_id}, got {document['id']}"
    if document["userId"] != user:
        return f"an image of {document['userId']} for {user}"
    return None


def page_error(body: bytes, user: str, limit: int) -> str | None:
    """Say why this is not a page of `user`'s images, newest first; None when it is."""
    document = object_of(body)
    if document is None or tuple(document) != ("items", "nextCursor") or not isinstance(document["items"], list):
        return "not a page"
    items = document["items"]
    if len(items) > limit:
        return f"{len(items)} images on a page of {limit}"
    for item in items:
        if error := image_error(item, user):
            return error
    order = [(item["createdAt"], item["id"]) for item in items]
    if order != sorted(set(order), reverse=True):
        return "a page out of order"
    return None


def off_side(record: Record, percentage: int) -> str | None:
    """Say why this answer came from the wrong source at this percentage; None when it came from the right one.

    An answer that legacy gave for a failing target is on the right side: its user was sent to the target first.
    """
    if record.status is None or record.source == PROXY:
        return None  # no answer, or one of the sidecar's own, is a client error and counted as one
    bucket = bucket_of(record.user)
    if record.bucket is not None and record.bucket != bucket:
        return f"{record.user}: bucket {record.bucket} instead of {bucket}"
    inside = record.split and bucket < percentage
    if inside and (record.source == TARGET or covered_by_legacy(record)):
        return None
    if not inside and record.source == LEGACY and record.fallback is None:
        return None
    by = record.source or "nobody named"
    return f"{record.user} (bucket {bucket}): {record.operation} at {percentage} % answered by {by}"


@dataclass(frozen=True, slots=True)
class SideReport:
    """How many answers were judged, and which users got one from the wrong side."""

    judged: int
    users_off_side: tuple[str, ...]
    examples: tuple[str, ...]


def judge_sides(records: Iterable[Record], percentage: int, began_s: float, ended_s: float) -> SideReport:
    """Judge the requests that began and ended between two changes of the percentage.

    One that was under way during a change may rightly have been decided before or after it.
    """
    judged, users, examples = 0, set(), []
    for record in records:
        if record.status is None or record.started_s < began_s or record.ended_s > ended_s:
            continue
        judged += 1
        if error := off_side(record, percentage):
            users.add(record.user)
            examples.append(error)
    return SideReport(judged, tuple(sorted(users)), tuple(examples[:5]))
