"""A CDN's behaviour in front of the Image Service: a small cache that says `X-Cache: Hit from cloudfront`.

A real one is not purged by every write; this one is, so that the demo shows what a cache does to latency and
not what staleness does to users.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from aiohttp import web

from proxy.demo.gallery_app import Handler

HEADER: Final = "X-Cache"
HIT: Final = "Hit from cloudfront"
MISS: Final = "Miss from cloudfront"
_MAX_ENTRIES: Final = 4096
_TTL_S: Final = 30.0
_REMEMBERED_PURGES: Final = 512


class EdgeCache:
    """Successful GET answers by path and query, least recently used out first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, str, bytes]] = OrderedDict()
        self._purges = 0
        self._purged: deque[frozenset[str]] = deque(maxlen=_REMEMBERED_PURGES)

    def __repr__(self) -> str:
        return f"<EdgeCache {len(self._entries)} entries, {self._purges} purges>"

    def find(self, key: str) -> bytes | None:
        """Return a fresh body, or None."""
        entry = self._entries.get(key)
        if entry is None or entry[0] < self._clock():
            self._entries.pop(key, None)
            return None
        self._entries.move_to_end(key)
        return entry[2]

    @property
    def purges(self) -> int:
        """How often something was purged; see `keep`."""
        return self._purges

    def keep(self, key: str, tag: str, body: bytes, purges_before: int) -> None:
        """Keep a body, unless its tag was purged since its read began: it could be older than that write."""
        since = self._purges - purges_before
        if since > len(self._purged) or any(tag in self._purged[-n] for n in range(1, since + 1)):
            return
        self._entries[key] = (self._clock() + _TTL_S, tag, body)
        while len(self._entries) > _MAX_ENTRIES:
            self._entries.popitem(last=False)

    def purge(self, image_id: str, user_id: str) -> None:
        """Forget an image and its user's lists."""
        stale = frozenset((image_id, user_id))
        self._purges += 1
        self._purged.append(stale)
        for key in [key for key, (_, tag, _) in self._entries.items() if tag in stale]:
            del self._entries[key]


def cdn_middleware(cache: EdgeCache) -> object:
    """Return the middleware that answers from `cache` and fills it."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "GET" or not request.path.startswith("/images"):
            return await handler(request)
        key, purges = request.path_qs, cache.purges
        body = cache.find(key)
        if body is not None:
            return web.Response(body=body, content_type="application/json", headers={HEADER: HIT})
        response = await handler(request)
        response.headers[HEADER] = MISS
        if response.status == 200 and isinstance(response, web.Response) and isinstance(response.body, bytes):
            tag = request.match_info.get("id") or request.query["userId"]
            cache.keep(key, tag, response.body, purges)
        return response

    return middleware
