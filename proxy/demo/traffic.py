"""What `load` knows and sends: users, their images as they know them, requests, and the record of an answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.demo.stats import Record

NO_BUCKET: Final = -1


@dataclass(slots=True)
class KnownImage:
    """One image as its user knows it; `title` is None while the two sources may disagree on it."""

    id: str
    title: str | None
    uploaded_here: bool = False
    readers: int = 0
    writing: bool = False

    @property
    def idle(self) -> bool:
        """Whether no request for it is under way."""
        return self.readers == 0 and not self.writing

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """Keep writers away meanwhile."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1

    @contextmanager
    def being_written(self) -> Iterator[None]:
        """Keep readers and other writers away meanwhile."""
        self.writing = True
        try:
            yield
        finally:
            self.writing = False


@dataclass(slots=True)
class User:
    """A user and the images they may touch."""

    id: str
    images: list[KnownImage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Any  # aiohttp's case-insensitive mapping
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What to send, and how to tell a wrong body: `wrong` gets the answer of an expected status."""

    user: User
    operation: str
    method: str
    path: str
    wrong: Callable[[Answer], str | None]
    query: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def deletable(user: User) -> bool:
    """Whether the user has an image that this load uploaded and nobody is using; only such are deleted."""
    return any(known.uploaded_here and known.idle for known in user.images)


def as_record(request: Request, answer: Answer | None, error: str | None, times_s: tuple[float, float]) -> Record:
    """The record of one request; `times_s` are its start and end."""
    if error is not None:
        error = f"{request.operation}: {error}"
    if answer is None:
        return Record(request.user.id, request.operation, *times_s, error=error)
    headers = answer.headers
    bucket, cache = headers.get("X-Cutover-Bucket"), headers.get("X-Cache")
    return Record(
        request.user.id,
        request.operation,
        *times_s,
        status=answer.status,
        source=headers.get("X-Cutover-Source"),
        reason=headers.get("X-Cutover-Reason"),
        # A bucket that is no number is as wrong as a wrong one.
        bucket=None if bucket is None else int(bucket) if bucket.isdecimal() else NO_BUCKET,
        fallback=headers.get("X-Cutover-Fallback"),
        cache_hit=cache.startswith("Hit") if cache is not None else None,
        error=error,
    )
