"""Plays clients, upstreams and time over the harness, tells the model what it does, and compares.

Every act ends with `settle`: what each upstream got, what each client got, and which connections are open must by
then be exactly what the model says.
"""

import asyncio
import contextlib
from collections.abc import Callable

from proxy.core.model import FailureKind
from tests.net.harness import FakeTransport, Upstream, running

from . import strict
from .model import (
    BODILESS,
    BODY_TIMEOUT,
    FRESH,
    GONE,
    IDEMPOTENT,
    IDLE_TIMEOUT,
    LEGACY,
    PROXY,
    REQUEST_BUFFER,
    RESPONSE_BUFFER,
    TARGET,
    Asked,
    Person,
    Reach,
    Request,
    Wire,
)

SETTINGS = {
    "fallback": {"request_buffer": REQUEST_BUFFER, "response_buffer": RESPONSE_BUFFER, "hedge_after": None},
    "limits": {"body_timeout": "100s", "stream_idle_timeout": "1h", "header_timeout": "9h", "keepalive_timeout": "9h"},
}
STATUSES = {200: b"200 OK", 204: b"204 No Content", 304: b"304 Not Modified", 404: b"404 Not Found", 503: b"503 Busy"}
PATHS = {"POST": "/images?%d", "PATCH": "/images/%d", "LEGACY": "/legacy?%d", "LEGACY POST": "/legacy?%d"}
SIZES = {"small": 2, "beyond": 40, "huge": 5000}  # times what names the message: over the buffer, over the water mark
WORDS = {
    "garbage": b"garbage\r\n\r\n",
    "600": b"HTTP/1.1 600 No\r\n\r\n",
    "two framings": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
ALL = 1 << 30


class Scene:
    """A world, the people in it, and what the model knows of them."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.loop = asyncio.new_event_loop()
        self.people: list[Person] = []
        self.requests: list[Request] = []
        self.asked: list[Asked] = []
        self.raw: dict[Asked, bytes] = {}
        self.on: dict[FakeTransport, Asked] = {}
        self.idle: dict[FakeTransport, tuple[str, float]] = {}
        self.refusing: dict[str, str] = {}
        self.failed = False
        self.context = running(**SETTINGS)
        self.world = self.run(self.context.__aenter__())
        self.sources: dict[str, Upstream] = {TARGET: self.world.target, LEGACY: self.world.legacy}

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def do(self, action: Callable, *args: object) -> None:
        """Call it where the loop runs, as the proxy's call-backs expect."""

        async def call() -> None:
            action(*args)

        self.run(call())

    @property
    def now(self) -> float:
        return self.world.clock.now

    def close(self) -> None:
        """Everybody reads on and is answered; then everybody goes, and the world looks at what is left."""
        try:
            if self.failed:
                return
            self.end_well()
            self.run(self.context.__aexit__(None, None, None))
            self.check_log()
        finally:
            self.drop()

    def drop(self) -> None:
        with contextlib.suppress(Exception):
            self.run(self.world.tasks.close())
        self.loop.close()

    # clients

    def come(self) -> Person:
        self.do(lambda: self.people.append(Person(self.world.client())))
        return self.people[-1]

    def made(self, method: str, body: str = "none", size: str = "small", minor: int = 1) -> Request:
        number = len(self.requests) + 1
        source = LEGACY if method.startswith("LEGACY") else TARGET
        path = PATHS.get(method, "/images/%d") % number
        verb = {"LEGACY": "GET", "LEGACY POST": "POST"}.get(method, method)
        framing = "length" if not minor and body == "chunked" else body
        content = b"" if framing == "none" else b"[content of %d]" % number * SIZES[size]
        head = b"%b %b HTTP/1.%d\r\nHost: a\r\nX-Request-Id: r-%d\r\n" % (verb.encode(), path.encode(), minor, number)
        if framing == "length":
            head += b"Content-Length: %d\r\n" % len(content)
        elif framing == "chunked":
            head += b"Transfer-Encoding: chunked\r\n"
        wire = Wire(head + b"\r\n", content, framing, cut=1 + len(content) // 3)
        self.requests.append(Request(number, verb, minor, source, wire, self.reach))
        return self.requests[-1]

    def ask(self, person: Person, *requests: Request, but: int = 0) -> None:
        """Send requests at once, except for the last `but` bytes."""
        if person.requests and not person.requests[-1].over:
            self.reach("asks before the answer to another has come")
        if len(requests) > 1:
            self.reach("asks several at once")
        person.requests += requests
        self._send(person, max(sum(request.wire.left for request in requests) - but, 1))

    def go_on_asking(self, person: Person, size: int = ALL) -> None:
        self._send(person, size)

    def _send(self, person: Person, size: int) -> None:
        data = b""
        for request in person.requests:
            wire = request.wire
            part = min(wire.left, size - len(data))
            if part:
                data += wire.data[wire.sent : wire.sent + part]
                wire.sent += part
                request.moved = self.now
        self.do(person.client.transport.feed, data)
        self.settle()

    def stop_reading(self, person: Person, room: int = 0) -> None:
        if not self.refusing:  # or what is answered at once could not be told from what waits
            self.do(person.client.transport.take, room)

    def read_on(self, person: Person) -> None:
        transport = person.client.transport
        if transport.write_paused:
            self.reach("a client that was behind reads on")
            if person.front is not None:
                person.front.moved = self.now
                for asked in person.front.asked:
                    if asked is person.front.committed and asked.open:
                        asked.left = BODY_TIMEOUT if not asked.stream else asked.left
        self.do(transport.take, None)
        self.settle()

    def leave(self, person: Person, how: str) -> None:
        front = person.front
        if front is not None and front.begun:
            state = "before an answer"
            if front.committed is not None:
                state = "behind in reading" if person.client.transport.write_paused else "within an answer"
            elif front.spare is not None or front.fell_back:
                state = "while legacy is asked too"
            elif front.asked and front.asked[-1].wire is not None:
                state = "while its answer is held"
            elif not front.wire.complete:
                state = "within its own body"
            self.reach(f"leaves {state}")
        person.left = True
        person.void_the_rest()
        self.do(person.client.transport.feed_eof if how == "fin" else person.client.transport.reset)
        self.settle()

    # upstreams

    def waiting(self, *, begun: bool | None = None) -> list[Asked]:
        """Those that owe an answer, or the rest of one, and are listened to."""
        found = [asked for asked in self.asked if asked.open and asked.link.reading and not asked.link.closing]
        return [asked for asked in found if begun is None or (asked.wire is not None) is begun]

    def answer(
        self,
        asked: Asked,
        status: int = 200,
        framing: str = "length",
        size: str = "small",
        *,
        upto: float | None = 1.0,
        cut: int = 0,
        interims: int = 0,
        stays: bool = True,
        after: bytes = b"",
        stream: bool = False,
    ) -> None:
        """Begin an answer: its first `cut` bytes, then `upto` that share of what follows its head (None: no more)."""
        asked.status, asked.stream, asked.stays = status, stream, stays
        asked.wire = self._answering(asked, framing, size, interims=interims, after=after)
        wire = asked.wire
        whole = len(wire.data) - wire.head_end
        if not self.say(asked, max(cut, 1) if upto is None else cut) or upto is None:
            return
        if not self.say(asked, wire.head_end + int(whole * upto) - wire.sent):
            return
        if upto == 1.0 and framing == "close":
            self.end_by_close(asked)

    @staticmethod
    def _answering(asked: Asked, framing: str, size: str, *, interims: int, after: bytes) -> Wire:
        request = asked.request
        number = b"%b-%d-%d;" % (asked.source.encode(), request.number, len(request.asked))
        content = number * SIZES[size]
        head = b"HTTP/1.1 %b\r\nX-For: %b\r\n" % (STATUSES[asked.status], number)
        if asked.stream:
            head += b"Content-Type: text/event-stream\r\n"
        if not asked.stays:
            head += b"Connection: close\r\n"
        if asked.status in BODILESS:
            framing = "none"
        elif framing == "length":
            head += b"Content-Length: %d\r\n" % len(content)
        elif framing in ("chunked", "spoiled"):
            head += b"Transfer-Encoding: chunked\r\n"
        if request.method == "HEAD" or framing == "none":
            asked.announces = framing in ("chunked", "spoiled") or (framing == "length" and bool(content))
            framing, content = "none", b""
        lead = tuple(b"HTTP/1.1 103 Early Hints\r\nX-For: %b%d\r\n\r\n" % (number, at + 1) for at in range(interims))
        if framing in ("close", "spoiled"):
            after = b""
        return Wire(head + b"\r\n", content, framing, lead=lead, cut=1 + len(content) // 3, after=after)

    def say(self, asked: Asked, size: int) -> bool:
        """Send more of an answer, in one piece; False if nobody listens any more."""
        wire = asked.wire
        size = min(size, wire.left)
        if size > 0:
            if not asked.link.reading or asked.link.closing or asked.failed or asked.given_up:
                return False
            data = wire.data[wire.sent : wire.sent + size]
            wire.sent += size
            if not asked.complete:
                asked.hear(self.reach)
            if wire.sent > wire.end and wire.framing != "spoiled":
                self.reach("bytes come after the end of an answer")
                self.idle.pop(asked.link, None)
            self.do(asked.link.feed, data)
            self.settle()
        return asked.link.reading and not asked.link.closing

    def end_by_close(self, asked: Asked) -> None:
        if asked.open and asked.link.reading:
            asked.wire.closed = True
            asked.hear(self.reach)
            self.do(asked.link.feed_eof)
            self.settle()

    def go_on_answering(self, asked: Asked, size: int = ALL) -> None:
        if self.say(asked, size) and asked.wire.framing == "close" and not asked.wire.left:
            self.end_by_close(asked)

    def fail(self, asked: Asked, how: str) -> None:
        """Close, reset, or say what is no answer, wherever it stands."""
        wire = asked.wire
        if wire is not None:
            how = "reset" if how in WORDS or (wire.framing == "close" and wire.begun) else how
        if how in WORDS:
            asked.wire = Wire(WORDS[how], b"", "none")
            asked.request.on_failure(asked, "invalid_response")
            self.do(asked.link.feed, WORDS[how])
        else:
            if not asked.request.goes_stale(asked):
                asked.request.on_failure(asked, "reset")
            self.do(asked.link.reset if how == "reset" else asked.link.feed_eof)
        self.settle()

    def disturb(self, transport: FakeTransport, how: str) -> None:
        """Let an upstream close a connection that is not in use, or send on it what nobody asked for."""
        self.reach(f"an unused connection: {how}")
        del self.idle[transport]
        if how == "bytes":
            self.do(transport.feed, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        else:
            self.do(transport.reset if how == "reset" else transport.feed_eof)
        self.settle()
        assert transport.closing, "it is not used again"

    def refuse(self, source: str, how: str | None) -> None:
        """Let nobody connect to that source from now on; or (None) everybody again."""
        if any(person.client.transport.taking is not None for person in self.people):
            how = None
        self.sources[source].failure = None if how is None else FailureKind(how)
        self.refusing.pop(source, None)
        if how is not None:
            self.refusing[source] = how

    # time

    def may_pass(self, seconds: float) -> bool:
        """A stalled client has a time of its own, which the model leaves out."""
        return seconds < 20 or not any(person.client.transport.write_paused for person in self.people)

    def pass_time(self, seconds: float) -> None:
        for person in self.people:
            front = person.front
            uploading = front is not None and front.begun and not front.wire.complete and not person.left
            if uploading and self.now + seconds - front.moved >= BODY_TIMEOUT:
                self._give_up_on(front)
        for asked in list(self.asked):
            if asked.open and self._clock_runs(asked):
                asked.left -= seconds
                if asked.left <= 0:
                    asked.request.on_failure(asked, "timeout")
        self.run(self.world.pass_time(seconds))
        old = [each for each, (_, since) in self.idle.items() if self.now - since > IDLE_TIMEOUT]
        self.settle()
        for transport in old:
            if self.on[transport].complete:
                self.reach("an unused connection grows old")
                assert transport.closing, "it grows old"
                del self.idle[transport]

    def _give_up_on(self, request: Request) -> None:
        self.reach("a request's body comes too slowly")
        request.last = True
        if request.committed is not None:
            request.broken = True
        else:
            request.finish(PROXY, 408, b"")

    def _clock_runs(self, asked: Asked) -> bool:
        request = asked.request
        if request.committed is asked:
            return asked.link.reading  # not while its client is behind
        return (request.wire.complete or asked.judged) and not asked.held_back

    # what must hold

    def settle(self) -> None:
        try:
            self._settle()
        except BaseException:
            self.failed = True
            raise

    def _settle(self) -> None:
        noticed = True
        while noticed:
            self.run(self.world.settle())
            self._note_idle()
            noticed = self._begin_and_void()
            for name, source in self.sources.items():
                for transport in source.transports:
                    if transport.sent:
                        self._take(name, transport)
                        noticed = True
            noticed = self._refuse_the_due() or noticed
        self._check_upstreams()
        for person in self.people:
            if not person.left:
                # A reset takes with it what the client had not read yet.
                with contextlib.suppress(*[strict.Incomplete] * person.client.transport.aborted):
                    self._check(person)

    def _note_idle(self) -> None:
        for asked in self.asked[-20:]:
            if asked.clean and not asked.released:
                asked.released = True
                self.idle[asked.link] = (asked.source, self.now)

    def _begin_and_void(self) -> bool:
        changed = False
        for person in self.people:
            if person.closed:
                person.void_the_rest()
            front = person.front
            behind = person.client.transport.write_paused  # then nothing new is begun for it
            if front is not None and not front.begun and front.wire.begun and not person.left and not behind:
                front.begin()
                front.moved = self.now
                changed = True
        return changed

    def _refuse_the_due(self) -> bool:
        return any(person.front is not None and self._refuse_due(person.front) for person in self.people)

    def _refuse_due(self, request: Request) -> bool:
        if request.due not in self.refusing or self._must_reuse(request, request.due):
            return False
        request.on_refused(request.due, self.refusing[request.due])
        return True

    def _must_reuse(self, request: Request, source: str) -> list[FakeTransport]:
        if source in request.replaced:
            return []
        limit = IDLE_TIMEOUT if request.method in IDEMPOTENT else FRESH
        return [each for each, (name, since) in self.idle.items() if name == source and self.now - since <= limit]

    def _take(self, name: str, transport: FakeTransport) -> None:
        """Look at what an upstream got: the one request that was due there, or more of its body."""
        asked = self.on.get(transport)
        data = bytes(transport.sent)
        transport.sent.clear()
        if asked is None or strict.so_far(self.raw[asked])[1]:
            asked = self._new(name, transport, data)
        self.raw[asked] += data
        message, whole = strict.so_far(self.raw[asked])
        request = asked.request
        assert message.start.partition(b" ")[0].decode() == request.method
        assert request.wire.come.startswith(message.body), "its own content and nothing else"
        assert not whole or request.wire.complete, "it ends when the client has ended it"

    def _new(self, name: str, transport: FakeTransport, data: bytes) -> Asked:
        message, _ = strict.so_far(data)
        path = message.start.split(b" ")[1]
        request = self.requests[int(path.replace(b"?", b"/").rpartition(b"/")[2]) - 1]
        assert message.all(b"x-request-id") == [b"r-%d" % request.number]
        while request.due != name and self._refuse_the_due():
            self._begin_and_void()
        assert request.due == name, f"{request.due} was to be asked, not {name}"
        assert not request.over, "what is over is not asked"
        assert any(person.front is request for person in self.people), "one after another"
        reused = transport in self.on
        fit = self._must_reuse(request, name)
        if reused:
            assert transport in self.idle, "only a connection on which all was well is used again"
            assert name not in request.replaced, "a stale connection is replaced by a fresh one"
            assert transport in fit or request.method in IDEMPOTENT, "too old for what may not be repeated"
            del self.idle[transport]
        else:
            assert not fit, "a connection that is there is used"
            if request.method not in IDEMPOTENT and any(source == name for source, _ in self.idle.values()):
                self.reach("a connection is too old for what may not be repeated")
        asked = Asked(request, name, transport, reused, request.left)
        if len(request.asked) > len(request.replaced) and request.wire.framing != "none":
            self.reach("a request is sent again")
        request.due = None
        request.asked.append(asked)
        self.asked.append(asked)
        self.on[transport] = asked
        self.raw[asked] = b""
        return asked

    def _check_upstreams(self) -> None:
        for asked in self.asked[-40:]:
            link, request = asked.link, asked.request
            if self.on[link] is not asked:
                continue
            if asked.open:
                assert not link.closing, "it is still wanted"
                if request.spare is not asked:  # it has answered and gets no more
                    message, whole = strict.so_far(self.raw[asked])
                    assert message.body == request.wire.come, "all that the client has sent of it"
                    assert whole is request.wire.complete
            elif asked.clean:
                old = link in self.idle and self.now - self.idle[link][1] > IDLE_TIMEOUT
                assert old or link.closing is (link not in self.idle), "kept for another request"
            else:
                assert link.closing, "anything odd ends a connection, and so does being given up"
        for person in self.people:
            front = person.front
            if front is not None and front.committed is not None and front.committed.open:
                behind = person.client.transport.write_paused
                assert front.committed.link.reading is not behind, "an upstream is read no faster than its client reads"
            assert person.left or front is None or front.due is None, f"{front.due} is asked at once"

    def _check(self, person: Person) -> None:
        transport = person.client.transport
        data = bytes(transport.sent + transport.buffer)
        if transport.write_paused:
            self.reach("a client falls behind")
        assert person.client.open is not person.closed, "whether the connection is kept"
        for request in person.requests:
            closing = not request.minor
            for source, at in request.interims:
                answer, data = strict.take_answer(data, request.method.encode(), closed=False)
                assert answer.status == 103
                (told,) = answer.all(b"x-for")
                assert told.startswith(b"%b-%d-" % (source.encode(), request.number))
                assert told.endswith(b";%d" % at)
            if request.outcome is not None:
                answer, data = strict.take_answer(data, request.method.encode(), closed=closing)
                self._check_answer(request, answer, *request.outcome)
            elif request.committed is not None and not request.void:
                self._check_part(request, data, person)
                return
            else:
                assert data == b"", "not a byte of what is not decided"
        assert data == b"", "nothing beyond the answers"

    def _check_answer(self, request: Request, answer: strict.Message, source: str, status: int, body: bytes) -> None:
        self._check_head(request, answer, source, status)
        if source != PROXY:
            assert answer.body == body
        elif request.method != "HEAD":
            assert b'"r-%d"' % request.number in answer.body

    def _check_head(self, request: Request, answer: strict.Message, source: str, status: int) -> None:
        assert (answer.all(b"x-cutover-source"), answer.status) == ([source.encode()], status)
        assert answer.all(b"x-request-id") == [b"r-%d" % request.number]
        assert answer.all(b"x-cutover-fallback") == ([request.fell_back.encode()] if request.fell_back else [])
        assert (answer.all(b"connection") == [b"close"]) is request.last
        if source == PROXY:
            assert answer.all(b"content-type") == [b"application/problem+json"]
        else:
            asked = request.committed
            place = request.asked.index(asked) + 1
            assert answer.all(b"x-for") == [b"%b-%d-%d;" % (source.encode(), request.number, place)]

    def _check_part(self, request: Request, data: bytes, person: Person) -> None:
        """An answer under way, or broken off: what has come so far, and no sign of an end."""
        asked, transport = request.committed, person.client.transport
        if request.broken and transport.aborted:
            assert transport.socket.options, "so that the kernel sends a reset"
        message, whole = strict.so_far(data, request.method.encode())
        self._check_head(request, message, asked.source, asked.status)
        assert not whole, "it has not ended"
        if transport.aborted:
            assert asked.passed.startswith(message.body)
        else:
            assert message.body == asked.passed, "what has come is given on at once, and nothing else"
        if request.broken and not (message.all(b"content-length") or message.all(b"transfer-encoding")):
            assert transport.aborted, "only a reset can tell"
        elif request.broken:
            assert transport.closing, "closed, so that it can be told"

    def end_well(self) -> None:
        """All read on, send the rest, and every upstream answers: then every request has its answer."""
        for source in self.sources:
            self.refuse(source, None)
        rounds = 0
        while self._do_the_rest():
            rounds += 1
            assert rounds < 100, "it comes to an end"
        for person in self.people:
            if not person.left:
                assert all(request.over for request in person.requests), "everybody has an answer"

    def _do_the_rest(self) -> bool:
        """One round of it; False when there was nothing to answer."""
        for person in self.people:
            if not person.left:
                self.read_on(person)
                if person.unfinished is not None and not person.closed:
                    self.go_on_asking(person)
        waiting = self.waiting()
        for asked in waiting:
            if asked.open and asked.wire is None:
                self.answer(asked)
            elif asked.open and (asked.wire.left or asked.wire.framing == "close"):
                self.go_on_answering(asked)
        return bool(waiting)

    def check_log(self) -> None:
        """The log tells the same story: who answered what, and which sources were asked for it."""
        lines = {line["request_id"]: line for line in self.world.access}
        begun = {f"r-{request.number}": request for request in self.requests if request.begun}
        assert lines.keys() == begun.keys()
        for name, request in begun.items():
            line = lines[name]
            sources = sorted(attempt["source"] for attempt in line["attempts"])
            assert sources == sorted(request.attempts), "each attempt once"
            assert line.get("fallback") == request.fell_back
            if request.outcome is not None:
                assert (line["source"], line["status"]) == request.outcome[:2]
            elif request.broken:
                assert (line["source"], line["status"]) == (request.committed.source, request.committed.status)
            else:
                assert line["status"] == GONE
