"""The live page: `GET /` for browsers, its files under `/static/`, and the stream that it shows.

The files are plain and come with the package. Their address holds a digest of them all, so they may be kept for
ever, and the page itself is asked for anew each time. Nothing is filled in but that digest: what users and upstreams
say reaches the page by `/events` and `fetch`, and the browser is told to take no script, style or markup from there.
Neighbours: `api` registers this, `stream` and `observer` tell what happens.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Final

from aiohttp import hdrs, web

from proxy.admin.control import Control
from proxy.admin.desk import Desk
from proxy.admin.observer import Observer
from proxy.admin.stream import Shown, stream_events

CSP: Final = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
))  # fmt: skip
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
}
_TYPES: Final = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_PAGE: Final = "index.html"
_PLACEHOLDER: Final = b"@ASSETS@"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"
_CHANGING: Final = (hdrs.METH_PATCH, hdrs.METH_POST)
OBSERVER: Final = web.AppKey("observer", Observer)


class Assets:
    """The page's files. `version` is a digest over all of them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        digest = hashlib.sha256()
        for name in sorted(files):
            digest.update(f"{name} {len(files[name])}\n".encode())
            digest.update(files[name])
        self.version = digest.hexdigest()[:16]
        self.files = {name: body.replace(_PLACEHOLDER, self.version.encode()) for name, body in files.items()}

    def __repr__(self) -> str:
        return f"<Assets {self.version} {len(self.files)} files>"


def read_assets() -> Assets:
    """Read the files that came with the package."""
    folder = resources.files("proxy.admin").joinpath("static")
    return Assets({file.name: file.read_bytes() for file in folder.iterdir() if file.name.split(".")[-1] in _TYPES})


class LivePage:
    """Answers for the page. `index` is what a client that wants no HTML is told, `report` hears of failures."""

    def __init__(self, control: Control, desk: Desk, index: str, report: Callable[[str], None]) -> None:
        self._control = control
        self._desk = desk
        self._index = index
        self._assets = read_assets()
        self.observer = Observer(control, _wall_clock, report)

    def __repr__(self) -> str:
        return f"<LivePage {self._assets!r} {self.observer!r}>"

    def register(self, app: web.Application) -> None:
        """Add the routes, and what is to happen at the start and at the end."""
        app[OBSERVER] = self.observer
        app.router.add_get("/", self._answer_root)
        app.router.add_get("/static/{version}/{name}", self._answer_file)
        app.router.add_get("/events", self._answer_events, allow_head=False)
        app.on_response_prepare.extend((self._allow_caching, self._show_changes))
        app.cleanup_ctx.append(self._observe)
        app.on_shutdown.append(self._end_streams)

    async def _answer_root(self, request: web.Request) -> web.Response:
        if wants_html(request.headers.get(hdrs.ACCEPT, "")):
            return self._file(request, _PAGE)
        return web.Response(text=self._index, headers={hdrs.VARY: hdrs.ACCEPT})

    async def _answer_file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if request.match_info["version"] != self._assets.version or name not in self._assets.files or name == _PAGE:
            raise web.HTTPNotFound
        return self._file(request, name)

    async def _answer_events(self, request: web.Request) -> web.StreamResponse:
        return await stream_events(request, self._control, Shown(self.observer, self._desk, self._assets.version))

    def _file(self, request: web.Request, name: str) -> web.Response:
        version = self._assets.version
        headers = {**_PAGE_HEADERS, hdrs.VARY: hdrs.ACCEPT} if name == _PAGE else _PAGE_HEADERS
        if any(tag.value in (version, "*") for tag in request.if_none_match or ()):
            response = web.Response(status=304, headers=headers)
        else:
            body, kind = self._assets.files[name], _TYPES[name.rpartition(".")[2]]
            response = web.Response(body=body, headers=headers, content_type=kind, charset="utf-8")
        response.etag = version
        return response

    async def _allow_caching(self, request: web.Request, response: web.StreamResponse) -> None:
        """After the API's own rule, which is that nothing is stored."""
        if response.etag is not None and response.etag.value == self._assets.version:
            response.headers[hdrs.CACHE_CONTROL] = _ASK_AGAIN if request.path == "/" else _FOR_EVER

    async def _show_changes(self, request: web.Request, response: web.StreamResponse) -> None:
        """Whoever changes something sees it at once."""
        if request.method in _CHANGING and response.status == 200:
            self.observer.look_soon()

    async def _observe(self, _app: web.Application) -> AsyncIterator[None]:
        looking = asyncio.get_running_loop().create_task(self.observer.run())
        yield
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking

    async def _end_streams(self, _app: web.Application) -> None:
        self.observer.close()


def wants_html(accept: str) -> bool:
    """Whether HTML is asked for by name, and plain text is not liked better (RFC 9110, section 12.5.1)."""
    weights = dict(map(_weighed, accept.lower().split(",")))
    html = weights.get("text/html", 0.0)
    return html > 0 and html >= weights.get("text/plain", 0.0)


def _weighed(item: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in item.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0


def _wall_clock() -> float:
    return datetime.now(UTC).timestamp()
