"""`python -m proxy.demo.image_service`: the new source, on DynamoDB behind a CDN, open to its service token only."""

import argparse
import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.demo.cdn import EdgeCache, cdn_middleware
from proxy.demo.dynamodb_store import DynamoDBStore, open_client
from proxy.demo.faults import FaultInjector, parse_faults
from proxy.demo.gallery_app import (
    MAX_BODY_BYTES,
    Handler,
    add_gallery_routes,
    problem,
    problems_middleware,
    read_object,
)
from proxy.demo.model import Image, image_from_json, parse_time
from proxy.demo.serve import serve_until_stopped
from proxy.demo.store import Written


def token_middleware(token: str) -> object:
    """Return the middleware that answers 401 to everything without `Authorization: Bearer TOKEN`."""
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if request.path != "/healthz" and not hmac.compare_digest(given, expected):
            answer = problem(401, "Unauthorized", "A service token is required.")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        return await handler(request)

    return middleware


class InternalHandlers:
    """What the legacy API (dual-write) and the demo (faults) may ask for."""

    def __init__(self, store: DynamoDBStore, cache: EdgeCache, injector: FaultInjector) -> None:
        self._store = store
        self._cache = cache
        self._injector = injector

    async def put_image(self, request: web.Request) -> web.Response:
        """Take a dual-written image, times included; the last writer wins."""
        try:
            image = image_from_json(await read_object(request))
        except (KeyError, TypeError, ValueError) as exc:
            raise web.HTTPUnprocessableEntity(text=f"Not a whole image: {exc!r}.") from exc
        applied = await self._store.put_if_newer(image)
        self._cache.purge(image.id, image.user_id)
        return web.json_response({"applied": applied})

    async def delete_image(self, request: web.Request) -> web.Response:
        """Take a dual-written removal."""
        image_id = request.match_info["id"]
        try:
            deleted_at = parse_time(request.query["deletedAt"])
            user_id = request.query["userId"]
        except (KeyError, ValueError) as exc:
            raise web.HTTPBadRequest(text="deletedAt and userId are required.") from exc
        applied = await self._store.delete_if_older(image_id, deleted_at)
        self._cache.purge(image_id, user_id)
        return web.json_response({"applied": applied})

    async def show_faults(self, _request: web.Request) -> web.Response:
        """Show the faults in force."""
        return web.json_response(self._injector.as_json())

    async def put_faults(self, request: web.Request) -> web.Response:
        """Replace the faults in force."""
        self._injector.switch(parse_faults(await read_object(request)))
        return web.json_response(self._injector.as_json())


class PurgingStore(DynamoDBStore):
    """The store behind the public API: whoever writes there also purges the CDN."""

    def __init__(self, client: Any, table: str, cache: EdgeCache) -> None:  # noqa: ANN401 - botocore's clients have no static type
        super().__init__(client, table)
        self._cache = cache

    async def insert(self, image: Image) -> Written:
        """Add an image. Raises ImageExistsError."""
        return self._purge(await super().insert(image))

    async def update(self, image_id: str, changes: Mapping[str, Any], now: datetime) -> Written | None:
        """Change an image; None when it is not there."""
        written = await super().update(image_id, changes, now)
        return None if written is None else self._purge(written)

    async def delete(self, image_id: str, now: datetime) -> Written | None:
        """Remove an image; None when it was not there."""
        written = await super().delete(image_id, now)
        return None if written is None else self._purge(written)

    def _purge(self, written: Written) -> Written:
        self._cache.purge(written.image.id, written.image.user_id)
        return written


@asynccontextmanager
async def open_app(options: argparse.Namespace) -> AsyncIterator[web.Application]:
    """The application with its DynamoDB client, for as long as the context is open."""
    cache = EdgeCache(asyncio.get_running_loop().time)
    injector = FaultInjector()
    token = options.token_file.read_text().strip()
    async with open_client(options.dynamodb) as client:
        store = PurgingStore(client, options.table, cache)
        # Outermost first; `Any`: aiohttp's middleware type is private.
        middlewares: list[Any] = [
            injector.middleware(),
            token_middleware(token),
            problems_middleware,
            cdn_middleware(cache),
        ]
        app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
        add_gallery_routes(app, store)
        internal = InternalHandlers(store, cache, injector)
        app.router.add_put("/internal/images/{id}", internal.put_image)
        app.router.add_delete("/internal/images/{id}", internal.delete_image)
        app.router.add_get("/internal/faults", internal.show_faults)
        app.router.add_put("/internal/faults", internal.put_faults)
        yield app


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m proxy.demo.image_service")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dynamodb", required=True, metavar="URL")
    parser.add_argument("--table", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    options = parser.parse_args()
    serve_until_stopped(partial(open_app, options), options.port)


if __name__ == "__main__":
    main()
