"""The gallery's HTTP API over any `GalleryStore`; both sources serve exactly this.

Must not know which database it talks to. Neighbours: `legacy_api` and `image_service` add what makes them differ.
"""

import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from proxy.demo import validation
from proxy.demo.model import (
    DEFAULT_LIMIT,
    ID_PATTERN,
    MAX_LIMIT,
    InvalidCursorError,
    decode_cursor,
    encode_json,
    encode_page,
    image_as_json,
)
from proxy.demo.store import GalleryStore, ImageExistsError, Written
from proxy.demo.validation import InvalidFieldsError

MAX_BODY_BYTES: Final = 128 * 1024
DUAL_WRITE_HEADER: Final = "X-Dual-Write"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_LOG = logging.getLogger(__name__)


def problem(status: int, title: str, detail: str, errors: dict[str, str] | None = None) -> web.Response:
    """Return an RFC 9457 answer; `errors` names the fields at fault."""
    document: dict[str, Any] = {"title": title, "status": status, "detail": detail}
    if errors:
        document["errors"] = [{"field": field, "message": text} for field, text in errors.items()]
    return web.Response(status=status, body=encode_json(document), content_type="application/problem+json")


def _json_response(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


@web.middleware
async def problems_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into problem+json, so that the two sources also fail alike."""
    try:
        return await handler(request)
    except InvalidFieldsError as exc:
        # The rejected text may be anything, also what UTF-8 cannot carry; it is named, not repeated.
        return problem(422, "Invalid image", "Some fields are not valid.", exc.problems)
    except InvalidCursorError as exc:
        return problem(400, "Bad request", f"cursor: {exc}.")
    except ImageExistsError as exc:
        return problem(409, "Conflict", f"An image with the id {exc} already exists.")
    except web.HTTPRequestEntityTooLarge:
        return problem(413, "Content too large", f"A request body may have at most {MAX_BODY_BYTES} bytes.")
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        answer = problem(exc.status, exc.reason, exc.text or exc.reason)
        if "Allow" in exc.headers:
            answer.headers["Allow"] = exc.headers["Allow"]
        return answer
    except Exception:  # noqa: BLE001 - the boundary of one request: anything unforeseen is a 500
        _LOG.exception("%s %s failed", request.method, request.path)
        return problem(500, "Internal server error", "The request could not be served.")


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read the request's JSON object. Raises HTTPBadRequest, or HTTPRequestEntityTooLarge."""
    body = await request.read()
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError) as exc:
        raise web.HTTPBadRequest(text="The body is not JSON.") from exc
    if not isinstance(document, dict):
        raise web.HTTPBadRequest(text="The body is not a JSON object.")
    return document


def _image_id(request: web.Request) -> str:
    image_id = request.match_info["id"]
    if ID_PATTERN.fullmatch(image_id) is None:
        raise web.HTTPNotFound(text="There is no image with that id.")
    return image_id


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise web.HTTPBadRequest(text=f"limit must be a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class GalleryHandlers:
    """The five operations on one store."""

    def __init__(self, store: GalleryStore, now: Callable[[], datetime] = _utc_now) -> None:
        self._store = store
        self._now = now

    async def get(self, request: web.Request) -> web.Response:
        """`GET /images/{id}`."""
        image = await self._store.get(_image_id(request))
        if image is None:
            raise web.HTTPNotFound(text="There is no image with that id.")
        return _json_response(200, encode_json(image_as_json(image)))

    async def list(self, request: web.Request) -> web.Response:
        """`GET /images?userId=&limit=&cursor=`."""
        user_id = request.query.get("userId")
        if user_id is None or validation.text_problem(user_id, 1, 128):
            raise web.HTTPBadRequest(text="userId is required, with 1 to 128 characters.")
        limit = _limit(request)
        text = request.query.get("cursor")
        after = None if text is None else decode_cursor(text)
        found = await self._store.page(user_id, limit + 1, after)
        return _json_response(200, encode_page(found, limit))

    async def upload(self, request: web.Request) -> web.Response:
        """`POST /images`; the id may be the client's."""
        image = validation.new_image(await read_object(request), f"img-{secrets.token_hex(10)}", self._now())
        written = await self._store.insert(image)
        return self._answer(201, written, {"Location": f"/images/{image.id}"})

    async def update(self, request: web.Request) -> web.Response:
        """`PUT /images/{id}` replaces all fields, `PATCH` the given ones."""
        image_id = _image_id(request)
        document = await read_object(request)
        validation.check_identity(document, image_id)
        changes = validation.parse_changes(document, complete=request.method == "PUT")
        written = await self._store.update(image_id, changes, self._now())
        if written is None:
            raise web.HTTPNotFound(text="There is no image with that id.")
        return self._answer(200, written, {})

    async def delete(self, request: web.Request) -> web.Response:
        """`DELETE /images/{id}`."""
        written = await self._store.delete(_image_id(request), self._now())
        if written is None:
            raise web.HTTPNotFound(text="There is no image with that id.")
        return web.Response(status=204, headers=_settlement(written))

    def _answer(self, status: int, written: Written, headers: dict[str, str]) -> web.Response:
        return _json_response(status, encode_json(image_as_json(written.image)), headers | _settlement(written))


def _settlement(written: Written) -> dict[str, str]:
    if written.settled is None:
        return {}
    return {DUAL_WRITE_HEADER: "settled" if written.settled else "queued"}


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def add_gallery_routes(app: web.Application, store: GalleryStore) -> None:
    """Add the five operations and `GET /healthz`."""
    handlers = GalleryHandlers(store)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/images/{id}", handlers.get)
    app.router.add_get("/images", handlers.list)
    app.router.add_post("/images", handlers.upload)
    app.router.add_put("/images/{id}", handlers.update)
    app.router.add_patch("/images/{id}", handlers.update)
    app.router.add_delete("/images/{id}", handlers.delete)


def operation_of(request: web.Request) -> str | None:
    """Return the epic's name of what is asked, None for anything that is not a gallery operation."""
    if not (request.path == "/images" or request.path.startswith("/images/")):
        return None
    read = "list" if request.path == "/images" else "get"
    writes = {"POST": "upload", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
    return writes.get(request.method, read)
