"""Epic 3's dual-write: what the legacy API commits, the Image Service is told, in order, until it has it.

PostgreSQL is the truth: a write is answered when PostgreSQL has it, whatever the Image Service does. Writes wait
in memory, which is enough for a demo and no more: they are lost with the process, and above `max_pending` dropped
and counted. Neighbours: `legacy_api` serves `status()`, `image_service` takes the writes.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Final

import aiohttp

from proxy.demo.model import Cursor, Image, encode_json, format_time, image_as_json
from proxy.demo.store import GalleryStore, Written

MAX_PENDING: Final = 10_000
SETTLE_S: Final = 0.3  # how long a write's answer waits for the other source
_RETRY_FIRST_S: Final = 0.05
_RETRY_MAX_S: Final = 0.5
_LOCKS: Final = 64
_BACKLOG: Final = 16


class Kind(StrEnum):
    """What the Image Service is told."""

    PUT = "put"
    DELETE = "delete"


class _Outcome(Enum):
    TAKEN = "taken"
    REFUSED = "refused"
    RETRY = "retry"


@dataclass(slots=True)
class _Pending:
    kind: Kind
    image: Image
    done: asyncio.Event = field(default_factory=asyncio.Event)


class DualWriter:
    """A bounded queue of writes and the one task that delivers them in order."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, max_pending: int = MAX_PENDING) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._max_pending = max_pending
        self._queue: deque[_Pending] = deque()
        self._filled = asyncio.Event()
        self._counts = {"delivered": 0, "refused": 0, "retries": 0, "dropped": 0}
        self._last_error: str | None = None

    def __repr__(self) -> str:
        return f"<DualWriter pending={len(self._queue)} {self._counts} last_error={self._last_error!r}>"

    def status(self) -> dict[str, Any]:
        """`pending` 0 means both sources agree, as long as `dropped` and `refused` are 0 too."""
        return {"pending": len(self._queue), **self._counts, "last_error": self._last_error}

    def enqueue(self, kind: Kind, image: Image) -> asyncio.Event | None:
        """Queue a committed write and return what is set on delivery; None when there is no room."""
        if len(self._queue) >= self._max_pending:
            self._counts["dropped"] += 1
            return None
        pending = _Pending(kind, image)
        self._queue.append(pending)
        self._filled.set()
        return pending.done

    async def wait_settled(self, done: asyncio.Event | None) -> bool:
        """Wait a moment for a delivery; not at all while deliveries are failing or are being caught up on."""
        if done is None or self._last_error is not None or len(self._queue) > _BACKLOG:
            return False
        try:
            async with asyncio.timeout(SETTLE_S):
                await done.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Deliver for ever; one at a time, so the order of commits is kept."""
        delay_s = _RETRY_FIRST_S
        while True:
            if not self._queue:
                self._filled.clear()
                await self._filled.wait()
            pending = self._queue[0]
            outcome = await self._deliver(pending)
            if outcome is _Outcome.RETRY:
                self._counts["retries"] += 1
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _RETRY_MAX_S)
                continue
            delay_s = _RETRY_FIRST_S
            self._queue.popleft()
            if outcome is _Outcome.TAKEN:
                self._last_error = None
                self._counts["delivered"] += 1
                pending.done.set()
            else:
                self._counts["refused"] += 1

    async def _deliver(self, pending: _Pending) -> _Outcome:
        image = pending.image
        url = f"{self._url}/internal/images/{image.id}"
        if pending.kind is Kind.PUT:
            sending = self._session.put(url, data=encode_json(image_as_json(image)), headers=self._headers)
        else:
            query = {"deletedAt": format_time(image.updated_at), "userId": image.user_id}
            sending = self._session.delete(url, params=query, headers=self._headers)
        try:
            async with sending as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            self._last_error = f"{type(exc).__name__}: {exc}"[:200]
            return _Outcome.RETRY
        if status < 300:
            return _Outcome.TAKEN
        self._last_error = f"status {status}"
        # Only an answer that no later attempt can change is final; anything else keeps the order and waits.
        return _Outcome.REFUSED if status in {400, 404, 413, 422} else _Outcome.RETRY


class DualWritingStore:
    """A `GalleryStore` that commits in `primary` and then tells the Image Service."""

    def __init__(self, primary: GalleryStore, writer: DualWriter) -> None:
        self._primary = primary
        self._writer = writer
        # Without these, two commits to one image could be queued the other way round.
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]

    async def get(self, image_id: str) -> Image | None:
        """One image, or None."""
        return await self._primary.get(image_id)

    async def page(self, user_id: str, limit: int, after: Cursor | None) -> list[Image]:
        """Up to `limit` of a user's images after the cursor, newest first."""
        return await self._primary.page(user_id, limit, after)

    async def insert(self, image: Image) -> Written:
        """Add an image to both. Raises ImageExistsError."""
        async with self._lock(image.id):
            written = await self._primary.insert(image)
            done = self._writer.enqueue(Kind.PUT, written.image)
        return Written(written.image, await self._writer.wait_settled(done))

    async def update(self, image_id: str, changes: Mapping[str, Any], now: datetime) -> Written | None:
        """Change an image in both; None when it is not there."""
        async with self._lock(image_id):
            written = await self._primary.update(image_id, changes, now)
            if written is None:
                return None
            done = self._writer.enqueue(Kind.PUT, written.image)
        return Written(written.image, await self._writer.wait_settled(done))

    async def delete(self, image_id: str, now: datetime) -> Written | None:
        """Remove an image from both; None when it was not there."""
        async with self._lock(image_id):
            written = await self._primary.delete(image_id, now)
            if written is None:
                return None
            done = self._writer.enqueue(Kind.DELETE, written.image)
        return Written(written.image, await self._writer.wait_settled(done))

    def _lock(self, image_id: str) -> asyncio.Lock:
        return self._locks[hash(image_id) % _LOCKS]
