"""One real gallery (PostgreSQL, moto, both APIs) for the whole session; tests undo what they switch on."""

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from proxy.demo.gallery import Gallery, GalleryOptions


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gallery() -> AsyncIterator[Gallery]:
    async with Gallery(GalleryOptions(users=30, images=400)) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session
