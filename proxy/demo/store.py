"""What the gallery's HTTP handlers ask of a store; PostgreSQL and DynamoDB each keep it.

A store holds no HTTP and no validation. Guarantee of every implementation: lists are ordered by
(created_at, id) descending, ids compared as bytes, so that a cursor means the same place in both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from proxy.demo.model import Cursor, Image


class ImageExistsError(Exception):
    """An image with that id is already there; nothing was written."""


@dataclass(frozen=True, slots=True)
class Written:
    """A committed write; `settled` says whether the other source has it too (None: nobody else is told)."""

    image: Image
    settled: bool | None = None


class GalleryStore(Protocol):
    """Reads and writes of one source."""

    async def get(self, image_id: str) -> Image | None:
        """One image, or None."""

    async def page(self, user_id: str, limit: int, after: Cursor | None) -> list[Image]:
        """Up to `limit` of a user's images after the cursor, newest first."""

    async def insert(self, image: Image) -> Written:
        """Add an image. Raises ImageExistsError."""

    async def update(self, image_id: str, changes: Mapping[str, Any], now: datetime) -> Written | None:
        """Change an image atomically; None when it is not there."""

    async def delete(self, image_id: str, now: datetime) -> Written | None:
        """Remove an image; `updated_at` becomes the time of removal. None when it was not there."""
