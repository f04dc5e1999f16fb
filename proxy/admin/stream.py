"""`GET /events`: what the live page shows, as server-sent events (WHATWG HTML, section 9.2).

| event | data |
| --- | --- |
| `hello` | `{"assets"}`: the version of the page that belongs to this program |
| `status` | `{"at", "status"}`: the body of `/status`, about every second |
| `points` | a list of `history` points: all there are at first, then each new one |
| `notables` | a list of `notable` events, likewise |
| `rollout` | the staged rollout as its controller has told it, and `heard_s`; comes while one is told of |
| `bye` | the program ends |

A comment comes when there is nothing else to say. Streams are few (`observer.MAX_STREAMS`); a reader that takes
nothing for `SLOW_S` is dropped, and any stream ends after `LIFE_S`, so that a place is never lost to one that is gone.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from proxy.admin.control import Control
from proxy.admin.desk import Desk
from proxy.admin.guard import is_loopback_host, refuse_cross_site
from proxy.admin.observer import Observer
from proxy.admin.problems import Refusal

HEARTBEAT_S: Final = 5.0
SLOW_S: Final = 10.0
LIFE_S: Final = 900.0
_FULL: Final = "too many live pages are open, or the program ends"
_HEADERS: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a stream tells of; `assets` is the version of the page."""

    observer: Observer
    desk: Desk
    assets: str


async def stream_events(request: web.Request, control: Control, shown: Shown) -> web.StreamResponse:
    """Answer with a stream until the reader goes, is too slow, or the program ends."""
    _refuse_strangers(request, control)
    with shown.observer.watching() as admitted:
        if not admitted:
            raise Refusal(503, _FULL, {"Retry-After": "10"})
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            try:
                await _send_all(response, shown)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
    return response


async def _send_all(response: web.StreamResponse, shown: Shown) -> None:
    """Send what is new to this reader, as often as there is something. Raises TimeoutError for a slow one."""
    ends_at = asyncio.get_running_loop().time() + LIFE_S
    observer, desk = shown.observer, shown.desk
    status = points = notables = rollout = 0
    text = frame("hello", json.dumps({"assets": shown.assets}))
    async for _ in observer.changes(HEARTBEAT_S):
        if observer.history.serial != points:
            text += frame("points", _compact(observer.history.since(points)))
        if observer.notables.serial != notables:
            text += frame("notables", _compact(observer.notables.since(notables)))
        if observer.serial != status:
            text += frame("status", observer.body)
        if desk.serial != rollout:
            text += frame("rollout", desk.body())
        rollout = desk.serial
        status, points, notables = observer.serial, observer.history.serial, observer.notables.serial
        await _send(response, text or ":\n\n")
        text = ""
        if asyncio.get_running_loop().time() >= ends_at:
            return
    await _send(response, frame("bye", "{}"))


def frame(event: str, data: str) -> str:
    """One event; `data` is one line, as JSON is."""
    return f"event: {event}\ndata: {data}\n\n"


async def _send(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(SLOW_S):
        await response.write(text.encode())


def _compact(value: object) -> str:
    return json.dumps(value, default=str, separators=(",", ":"))


def _refuse_strangers(request: web.Request, control: Control) -> None:
    """As for changes: no other site's page, and no name that may have been pointed here for one (see `guard`)."""
    refuse_cross_site(request.headers)
    protected = bool(control.admin_token()) or not control.listens_on_loopback_only()
    host = request.headers.get("Host", "")
    if not protected and request.remote and host and not is_loopback_host(host):
        raise Refusal(403, "without admin.token, Host must be a loopback name or address")
