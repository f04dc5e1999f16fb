"""Whether both sources hold the same images, asked of their APIs directly, byte for byte."""

import asyncio
from typing import Final

import aiohttp

from proxy.demo.checks import object_of
from proxy.demo.gallery import Gallery

_AT_ONCE: Final = 24


async def compare_sources(gallery: Gallery) -> tuple[int, bool]:
    """Wait for the dual-writes, then walk every user's list in both; return (images compared, all the same)."""
    settled = await gallery.wait_converged()
    gate = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:

        async def compare_user(user: str) -> tuple[int, bool]:
            async with gate:
                legacy = await walk(session, gallery.legacy_url, user, {})
                target = await walk(session, gallery.image_service_url, user, gallery.authorization)
            images = sum(len((object_of(page) or {}).get("items", ())) for page in legacy)
            return images, legacy == target

        results = await asyncio.gather(*(compare_user(user) for user in gallery.content.users))
    return sum(images for images, _ in results), settled and all(same for _, same in results)


async def walk(session: aiohttp.ClientSession, base_url: str, user: str, headers: dict[str, str]) -> list[bytes]:
    """Return all pages of a user's list."""
    pages: list[bytes] = []
    query = {"userId": user, "limit": "100"}
    while True:
        async with session.get(f"{base_url}/images", params=query, headers=headers) as response:
            response.raise_for_status()
            pages.append(await response.read())
        cursor = (object_of(pages[-1]) or {}).get("nextCursor")
        if cursor is None:
            return pages
        query["cursor"] = cursor
