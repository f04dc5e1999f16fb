"""A few hundred users of the gallery: an open-model load whose every answer is checked.

Open model: requests start at the times of a Poisson process, whether earlier ones were answered or not, so a slow
source meets the same traffic as a fast one. Users come for a session of some seconds and look at a few of their
own images again and again, which is what gives a CDN its hits; all of them take their turn.

Reads race with writes in a way that is nobody's error: a write that the Image Service has not been told yet. So an
image is read only while nobody writes to it, and not before its upload is settled (the legacy API says so in
`X-Dual-Write`); its title is compared when its last update is settled too.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable
from typing import Final

import aiohttp

from proxy.demo.checks import image_error, object_of, page_error
from proxy.demo.gallery_app import DUAL_WRITE_HEADER
from proxy.demo.seed import Seed, make_description, make_title
from proxy.demo.stats import Record
from proxy.demo.traffic import Answer, KnownImage, Request, User, as_record, deletable

DEFAULT_RATE: Final = 80.0
MIX: Final = {"get": 68, "list": 20, "update": 6, "upload": 4, "delete": 2}
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_EXPECTED: Final = {"get": 200, "list": 200, "upload": 201, "update": 200, "delete": 204}
_PAGE_LIMITS: Final = (None, 50)
_FAVOURITES: Final = 3
_FAVOURED: Final = 0.9
_ACTIVE_USERS: Final = 60
_SESSION_S: Final = 10.0


class Load:
    """The users and their requests; each record goes to `on_record` when the request is over."""

    def __init__(
        self, base_url: str, content: Seed, on_record: Callable[[Record], None], rate: float, seed: int = 5
    ) -> None:
        self._base_url = base_url
        self._on_record = on_record
        self._rate = rate
        self._rng = random.Random(seed)
        users = {user: User(user) for user in content.users}
        for image in content.images:
            users[image.user_id].images.append(KnownImage(image.id, image.title))
        self._users = list(users.values())
        self._rng.shuffle(self._users)
        self._waiting = deque(self._users)
        self._active: deque[User] = deque()
        self._running = True
        self.sent = 0

    def __repr__(self) -> str:
        return f"<Load {self._rate:g}/s by {len(self._users)} users, {self.sent} sent>"

    def stop(self) -> None:
        """Start no more requests; `run` returns when those under way are over."""
        self._running = False

    def slow_down(self, factor: float) -> None:
        """Go on with so much of the traffic."""
        self._rate *= factor

    async def run(self) -> None:
        """Send until `stop`, then wait for the answers."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15)
        async with aiohttp.ClientSession(
            connector=connector, timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            # aiohttp would silently send a GET, PUT or DELETE again whose connection broke; here that is an error.
            session._retry_connection = False  # noqa: SLF001 - no public switch
            await self._arrivals(session)

    async def _arrivals(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        operations, weights = list(MIX), list(MIX.values())
        async with asyncio.TaskGroup() as tasks:
            while self._running:
                due += self._rng.expovariate(self._rate)
                await asyncio.sleep(max(0.0, due - loop.time()))
                operation = self._rng.choices(operations, weights)[0]
                user = self._next_user()
                tasks.create_task(getattr(self, f"_{operation}")(session, user))
                self.sent += 1

    def _next_user(self) -> User:
        """Choose an active user; the one longest active makes room for the next as often as sessions end."""
        while len(self._active) < min(_ACTIVE_USERS, len(self._users) - 1):
            self._active.append(self._waiting.popleft())
        if self._rng.random() < _ACTIVE_USERS / _SESSION_S / self._rate:
            self._waiting.append(self._active.popleft())
            self._active.append(self._waiting.popleft())
        return self._rng.choice(self._active)

    async def _get(self, session: aiohttp.ClientSession, user: User) -> None:
        readable = [known for known in user.images if not known.writing]
        if not readable:
            await self._list(session, user)
            return
        favourite = self._rng.random() < _FAVOURED
        known = self._rng.choice(readable[:_FAVOURITES] if favourite else readable)
        title = known.title

        def wrong(answer: Answer) -> str | None:
            document = object_of(answer.body)
            if error := image_error(document, user.id, known.id):
                return error
            if title is not None and document is not None and document["title"] != title:
                return f"{known.id}: an old title"
            return None

        with known.being_read():
            await self._send(session, Request(user, "get", "GET", f"/images/{known.id}", wrong))

    async def _list(self, session: aiohttp.ClientSession, user: User) -> None:
        limit = self._rng.choices(_PAGE_LIMITS, (19, 1))[0]
        query = {"userId": user.id} | ({} if limit is None else {"limit": str(limit)})

        def wrong(answer: Answer) -> str | None:
            return page_error(answer.body, user.id, limit or 20)

        await self._send(session, Request(user, "list", "GET", "/images", wrong, query))

    async def _upload(self, session: aiohttp.ClientSession, user: User) -> None:
        title = make_title(self._rng)
        document = {
            "userId": user.id,
            "title": title,
            "description": make_description(self._rng),
            "url": "https://images.example.com/upload.jpg",
            "tags": ["moc", "wip"],
            "width": 1920,
            "height": 1080,
            "sizeBytes": self._rng.randint(10_000, 9_000_000),
        }

        def wrong(answer: Answer) -> str | None:
            return image_error(object_of(answer.body), user.id)

        body = json.dumps(document).encode()
        answer = await self._send(session, Request(user, "upload", "POST", "/images", wrong, body=body))
        # One that is not settled is never read: the Image Service may not have it for some seconds.
        if answer is not None and answer.headers.get(DUAL_WRITE_HEADER) == "settled":
            known = KnownImage((object_of(answer.body) or {})["id"], title, uploaded_here=True)
            user.images.append(known)

    async def _update(self, session: aiohttp.ClientSession, user: User) -> None:
        idle = [known for known in user.images if known.idle]
        if not idle:
            await self._list(session, user)
            return
        known, title = self._rng.choice(idle), make_title(self._rng)

        def wrong(answer: Answer) -> str | None:
            return image_error(object_of(answer.body), user.id, known.id)

        body = json.dumps({"title": title}).encode()
        path = f"/images/{known.id}"
        with known.being_written():
            known.title = None
            answer = await self._send(session, Request(user, "update", "PATCH", path, wrong, body=body))
            if answer is not None and answer.headers.get(DUAL_WRITE_HEADER) == "settled":
                known.title = title

    async def _delete(self, session: aiohttp.ClientSession, user: User) -> None:
        owner = next((other for other in self._users if deletable(other)), None)
        if owner is None:
            await self._list(session, user)
            return
        known = next(known for known in owner.images if known.uploaded_here and known.idle)
        owner.images.remove(known)
        await self._send(session, Request(owner, "delete", "DELETE", f"/images/{known.id}", lambda _answer: None))

    async def _send(self, session: aiohttp.ClientSession, request: Request) -> Answer | None:
        """Send one request and record it; the answer is returned only if there was nothing wrong with it."""
        clock = asyncio.get_running_loop().time
        headers = {"X-User-Id": request.user.id}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        started_s = clock()
        answer, error = None, None
        try:
            async with session.request(
                request.method,
                f"{self._base_url}{request.path}",
                params=request.query,
                data=request.body,
                headers=headers,
            ) as response:
                answer = Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            error = f"{type(exc).__name__}: {exc}"[:200]
        ended_s = clock()
        if answer is not None:
            expected = _EXPECTED[request.operation]
            error = f"status {answer.status}" if answer.status != expected else request.wrong(answer)
        self._on_record(as_record(request, answer, error, (started_s, ended_s)))
        return answer if error is None else None
