"""The legacy source's store: one PostgreSQL table.

Neighbours: `legacy_api` opens the pool, `gallery` calls `create_schema` and `load_images` once.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg

from proxy.demo.model import Cursor, Image
from proxy.demo.store import ImageExistsError, Written
from proxy.demo.validation import apply_changes

COLUMNS: Final = (
    "id",
    "user_id",
    "title",
    "description",
    "url",
    "thumbnail_url",
    "tags",
    "album_id",
    "width",
    "height",
    "size_bytes",
    "created_at",
    "updated_at",
)
_LIST = ", ".join(COLUMNS)

# COLLATE "C": ids must sort as bytes, as they do in a DynamoDB key, or a cursor would skip items in the other source.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id            text COLLATE "C" PRIMARY KEY,
    user_id       text NOT NULL,
    title         text NOT NULL,
    description   text NOT NULL,
    url           text NOT NULL,
    thumbnail_url text,
    tags          text[] NOT NULL,
    album_id      text,
    width         integer NOT NULL,
    height        integer NOT NULL,
    size_bytes    bigint NOT NULL,
    created_at    timestamptz(3) NOT NULL,
    updated_at    timestamptz(3) NOT NULL
);
CREATE INDEX IF NOT EXISTS images_by_user ON images (user_id, created_at DESC, id DESC);
"""

_GET = f"SELECT {_LIST} FROM images WHERE id = $1"  # noqa: S608 - constants of this module only
_LOCK = f"{_GET} FOR UPDATE"
_FIRST_PAGE = f"""
SELECT {_LIST} FROM images WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2
"""  # noqa: S608 - constants of this module only
_NEXT_PAGE = f"""
SELECT {_LIST} FROM images WHERE user_id = $1 AND (created_at, id) < ($3, $4)
ORDER BY created_at DESC, id DESC LIMIT $2
"""  # noqa: S608 - constants of this module only
_INSERT = f"""
INSERT INTO images ({_LIST}) VALUES ({", ".join(f"${n}" for n in range(1, len(COLUMNS) + 1))})
ON CONFLICT (id) DO NOTHING RETURNING id
"""  # noqa: S608 - constants of this module only
_REPLACE = f"""
UPDATE images SET ({_LIST}) = ROW({", ".join(f"${n}" for n in range(1, len(COLUMNS) + 1))}) WHERE id = $1
"""  # noqa: S608 - constants of this module only


def _row(image: Image) -> tuple[Any, ...]:
    return tuple(getattr(image, column) for column in COLUMNS)


def _image(record: Mapping[str, Any]) -> Image:
    return Image(**{**record, "tags": tuple(record["tags"])})


async def open_pool(url: str, schema: str) -> asyncpg.Pool:
    """Return a pool that connects when first used, looking only into `schema`."""
    return await asyncpg.create_pool(
        url, min_size=0, max_size=16, command_timeout=10, server_settings={"search_path": schema}
    )


async def create_schema(connection: asyncpg.Connection, schema: str) -> None:
    """Create the schema (a plain identifier) with its one table, and make it the connection's search path."""
    # json.dumps quotes as SQL does as long as there is nothing to escape, which `schema` guarantees.
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {json.dumps(schema)}")
    await connection.execute(f"SET search_path TO {json.dumps(schema)}")
    await connection.execute(_SCHEMA)


async def load_images(connection: asyncpg.Connection, images: Iterable[Image]) -> None:
    """COPY the seed into the empty table."""
    await connection.copy_records_to_table("images", records=map(_row, images), columns=COLUMNS)
    await connection.execute("ANALYZE images")


class PostgresStore:
    """The gallery in PostgreSQL; keeps the `GalleryStore` protocol."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    def __repr__(self) -> str:
        return f"<PostgresStore {self._pool.get_size()} connections>"

    async def get(self, image_id: str) -> Image | None:
        """One image, or None."""
        record = await self._pool.fetchrow(_GET, image_id)
        return None if record is None else _image(record)

    async def page(self, user_id: str, limit: int, after: Cursor | None) -> list[Image]:
        """Up to `limit` of a user's images after the cursor, newest first."""
        if after is None:
            records = await self._pool.fetch(_FIRST_PAGE, user_id, limit)
        else:
            records = await self._pool.fetch(_NEXT_PAGE, user_id, limit, after.created_at, after.id)
        return [_image(record) for record in records]

    async def insert(self, image: Image) -> Written:
        """Add an image. Raises ImageExistsError."""
        if await self._pool.fetchval(_INSERT, *_row(image)) is None:
            raise ImageExistsError(image.id)
        return Written(image)

    async def update(self, image_id: str, changes: Mapping[str, Any], now: datetime) -> Written | None:
        """Change an image under its row lock; None when it is not there."""
        async with self._pool.acquire() as connection, connection.transaction():
            record = await connection.fetchrow(_LOCK, image_id)
            if record is None:
                return None
            image = apply_changes(_image(record), changes, now)
            await connection.execute(_REPLACE, *_row(image))
            return Written(image)

    async def delete(self, image_id: str, now: datetime) -> Written | None:
        """Remove an image; None when it was not there."""
        record = await self._pool.fetchrow(f"DELETE FROM images WHERE id = $1 RETURNING {_LIST}", image_id)  # noqa: S608 - constants of this module only
        if record is None:
            return None
        image = _image(record)
        return Written(apply_changes(image, {}, now))
