"""`python -m proxy.demo.legacy_api`: the gallery's legacy API on PostgreSQL, which dual-writes to the Image Service.

The database's address comes by the environment, not by an argument: it may hold a password, and `ps` shows arguments.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from proxy.demo.dual_write import DualWriter, DualWritingStore
from proxy.demo.gallery_app import MAX_BODY_BYTES, add_gallery_routes, problems_middleware
from proxy.demo.latency import pad_latency
from proxy.demo.postgres_store import PostgresStore, open_pool
from proxy.demo.serve import serve_until_stopped

POSTGRES_URL_VARIABLE: Final = "CUTOVER_DEMO_POSTGRES_URL"


@asynccontextmanager
async def open_app(options: argparse.Namespace) -> AsyncIterator[web.Application]:
    """The application with its pool and its dual-writer, for as long as the context is open."""
    pool = await open_pool(os.environ[POSTGRES_URL_VARIABLE], options.schema)
    async with pool, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        token = options.token_file.read_text().strip()
        writer = DualWriter(session, options.image_service, token)
        # `Any`: aiohttp's middleware type is private.
        padding: Any = pad_latency(options.latency_factor, options.seed)
        app = web.Application(middlewares=[padding, problems_middleware], client_max_size=MAX_BODY_BYTES)
        add_gallery_routes(app, DualWritingStore(PostgresStore(pool), writer))

        async def show_dual_write(_request: web.Request) -> web.Response:
            return web.json_response(writer.status())

        app.router.add_get("/internal/dual-write", show_dual_write)
        async with asyncio.TaskGroup() as tasks:
            delivering = tasks.create_task(writer.run())
            try:
                yield app
            finally:
                delivering.cancel()
                with suppress(asyncio.CancelledError):
                    await delivering


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m proxy.demo.legacy_api")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--image-service", required=True, metavar="URL")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--latency-factor", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    serve_until_stopped(partial(open_app, options), options.port)


if __name__ == "__main__":
    main()
