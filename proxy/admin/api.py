"""The admin API (contract section 6): HTTP around `Control`, and nothing else.

Every answer is JSON, problem+json or a scrape, is not to be stored, and is not to be sniffed. Neighbours:
`guard` says who may change, `wishes` reads what is wanted, `server` listens.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from aiohttp import hdrs, web

from proxy.admin import staged
from proxy.admin.control import Control, NotPersistable, RevisionMismatch, RolloutOutcome
from proxy.admin.desk import Desk
from proxy.admin.guard import check_change
from proxy.admin.page import LivePage
from proxy.admin.problems import Refusal, problem
from proxy.admin.wishes import MAX_BODY_BYTES, read_change

CONTROL: Final = web.AppKey("control", Control)

_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "cutover",  # and not what it is made of
}
_INDEX: Final = """\
cutover admin

GET   /           the live page, for browsers
GET   /events     what it shows, as server-sent events
GET   /healthz    200 while the process works
GET   /readyz     200 when serving, 503 while starting or draining
GET   /metrics    Prometheus or OpenMetrics text
GET   /status     what is in force and how both sources do
GET   /explain    ?user=ID&method=GET&path=/images/1
GET   /config     the effective configuration
PATCH /rollout    {"percentage": 10} and/or {"enabled": true}
POST  /rollback   percentage 0 and enabled false, at once
GET   /rollout/controller   the staged rollout, as its controller tells it
POST  /rollout/orders       {"order": "pause"}; or resume, promote, abort
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Audit(Protocol):
    """Takes note of a change or of its refusal: `EventLog.info` and the like."""

    def __call__(self, event: str, /, **fields: object) -> None:
        """Write the event."""


AUDIT: Final = web.AppKey("audit", Audit)


def build_admin_app(control: Control, audit: Audit = lambda _event, /, **_fields: None) -> web.Application:
    """Make the application that answers for `control`; changes, done or refused, are told to `audit`."""
    app = web.Application(middlewares=[_answer_problems], client_max_size=MAX_BODY_BYTES)
    app[CONTROL] = control
    app[AUDIT] = audit
    app.on_response_prepare.append(_add_security_headers)
    app[staged.DESK] = desk = Desk(time.monotonic)
    LivePage(control, desk, _INDEX, lambda error: audit("live_page_failed", error=error)).register(app)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/status", _status)
    app.router.add_get("/explain", _explain)
    app.router.add_get("/config", _config)
    app.router.add_patch("/rollout", _audited(_change_rollout))
    app.router.add_post("/rollback", _audited(_roll_back))
    app.router.add_put("/rollout/controller", _guarded(staged.publish))
    app.router.add_get("/rollout/controller", staged.show)
    app.router.add_post("/rollout/orders", _guarded(staged.order, noted=True))
    return app


async def _healthz(_request: web.Request) -> web.Response:
    return _json({"status": "ok"})


async def _readyz(request: web.Request) -> web.Response:
    if request.app[CONTROL].ready():
        return _json({"status": "ready"})
    return problem(503, "starting or draining")


async def _metrics(request: web.Request) -> web.Response:
    body, content_type = await request.app[CONTROL].expose_metrics(request.headers.get(hdrs.ACCEPT, ""))
    # As a header: the content type has parameters of its own, which `content_type=` would refuse.
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


async def _status(request: web.Request) -> web.Response:
    control = request.app[CONTROL]
    return _json(await control.status(), revision=control.revision())


async def _explain(request: web.Request) -> web.Response:
    query = request.query
    path = query.get("path", "/images/1")
    if not path.startswith("/"):
        raise Refusal(400, "path must start with /")
    method = query.get("method", "GET")
    try:
        return _json(request.app[CONTROL].explain(query.get("user") or None, method, path))
    except ValueError as error:
        raise Refusal(400, str(error)) from None


async def _config(request: web.Request) -> web.Response:
    control = request.app[CONTROL]
    return _json(control.effective_config(), revision=control.revision())


async def _change_rollout(request: web.Request) -> RolloutOutcome:
    if request.content_type != "application/json":
        raise Refusal(415, "the body must be application/json")
    # The framework's own limit, `client_max_size`, answers 413 to what is longer.
    body = await request.read()
    change = read_change(body, request.query, request.headers.get(hdrs.IF_MATCH))
    return await request.app[CONTROL].change_rollout(change)


async def _roll_back(request: web.Request) -> RolloutOutcome:
    return await request.app[CONTROL].roll_back()


def _audited(change: Callable[[web.Request], Awaitable[RolloutOutcome]]) -> Handler:
    """Let a change pass the guard first, and take note of it in any case."""

    async def handle(request: web.Request) -> web.StreamResponse:
        audit = request.app[AUDIT]
        facts = {"remote": request.remote or "unix", "request": f"{request.method} {request.path}"}
        try:
            check_change(request.headers, request.app[CONTROL], over_unix=not request.remote)
            outcome = await change(request)
        except (Refusal, RevisionMismatch, NotPersistable) as refusal:
            audit("admin_change_refused", **facts, why=str(refusal))
            raise
        audit("admin_change", **facts, **_as_fields(outcome))
        return _json(_as_fields(outcome), revision=outcome.revision)

    return handle


def _guarded(change: Handler, *, noted: bool = False) -> Handler:
    """Let what the controller and people say about a staged rollout pass the same guard; `noted` if it is an order."""

    async def handle(request: web.Request) -> web.StreamResponse:
        audit = request.app[AUDIT]
        facts = {"remote": request.remote or "unix", "request": f"{request.method} {request.path}"}
        try:
            check_change(request.headers, request.app[CONTROL], over_unix=not request.remote)
            response = await change(request)
        except Refusal as refusal:
            audit("admin_change_refused", **facts, why=str(refusal))
            raise
        if noted:
            audit("rollout_order", **facts)
        return response

    return handle


def _as_fields(outcome: RolloutOutcome) -> dict[str, object]:
    fields: dict[str, object] = {
        "percentage": outcome.percentage,
        "enabled": outcome.enabled,
        "revision": outcome.revision,
        "persisted": outcome.persisted,
    }
    return fields if outcome.note is None else {**fields, "note": outcome.note}


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal, ours and the framework's, into problem+json."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return problem(refusal.status, refusal.detail, refusal.headers)
    except RevisionMismatch as mismatch:
        return problem(412, str(mismatch), {hdrs.ETAG: f'"{mismatch.current}"'})
    except NotPersistable as refusal:
        return problem(409, refusal.detail)
    except web.HTTPNotFound:
        return problem(404, "there is nothing here; GET / lists the endpoints")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem(405, f"use {allowed}", {hdrs.ALLOW: allowed})
    except web.HTTPException as error:
        return problem(error.status, error.reason)
    except Exception as error:  # noqa: BLE001 - the boundary: one answer fails, the admin port stays
        request.app[AUDIT]("admin_request_failed", request=request.path, error=repr(error))
        return problem(500, "this request could not be answered; the log says why")


async def _add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_SECURITY_HEADERS)


def _json(body: Mapping[str, object], revision: str | None = None) -> web.Response:
    response = web.json_response(body, dumps=lambda value: json.dumps(value, default=str) + "\n")
    if revision:
        response.etag = revision
    return response
