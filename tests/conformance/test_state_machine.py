"""Any order of requests, answers, failures, waiting and leaving, compared with a plain model of who gets what.

The model knows: which source is asked, when legacy is asked too, whose answer the client gets, and where nothing
may follow. Every answer names the source and the request it was made for, so that a mixed or misplaced one shows.
"""

import asyncio
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.net.harness import Client, FakeTransport, running

from . import strict

TARGET, LEGACY, PROXY = "image_service", "postgresql", "proxy"
SAFE = {"GET", "HEAD"}
IDEMPOTENT = SAFE | {"PUT"}
LISTED = {404, 503}
STATUSES = {200: b"200 OK", 404: b"404 Not Found", 503: b"503 Busy"}
PATIENT = {
    "legacy": {"timeout": "10m"},
    "limits": {"body_timeout": "2h", "header_timeout": "2h", "keepalive_timeout": "2h"},
}


@dataclass(eq=False)
class Asked:
    """One request as one upstream connection got it."""

    request: "Request"
    source: str
    transport: FakeTransport
    reused: bool
    number: int
    status: int = 0  # once its head has been sent
    framing: str = ""
    told: bytes = b""  # all that went out
    body: bytes = b""
    complete: bool = False
    failed: bool = False

    @property
    def open(self) -> bool:
        return not (self.complete or self.failed or self.request.over or self.transport.closing)


@dataclass(eq=False)
class Request:
    """One request of a client, and what must become of it."""

    number: int
    method: str
    source: str  # asked first
    body: bytes
    asked: list[Asked] = field(default_factory=list)
    due: str | None = None  # the source that must be asked next
    fell_back: bool = False
    spare: Asked | None = None
    committed: Asked | None = None
    outcome: tuple[str, int, bytes] | None = None  # (source, status, body)
    broken: bool = False
    void: bool = False
    replaced: set[str] = field(default_factory=set)

    @property
    def over(self) -> bool:
        return self.outcome is not None or self.broken or self.void

    def finish(self, source: str, status: int, body: bytes) -> None:
        self.outcome = (source, status, b"" if self.method == "HEAD" else body)
        self.due = None

    # what the contract says about each thing an upstream can do

    def on_head(self, asked: Asked) -> None:
        if asked.source == LEGACY:
            self.committed = asked
        elif asked.status in LISTED:
            if self.method in SAFE:
                self.spare, self.due, self.fell_back = asked, LEGACY, True
            else:
                self.committed = asked

    def on_complete(self, asked: Asked) -> None:
        asked.complete = True
        if asked is not self.spare or asked is self.committed:
            self.finish(asked.source, asked.status, asked.body)

    def on_failure(self, asked: Asked, status: int) -> None:
        asked.failed = True
        if asked is self.committed:
            self.broken = True
        elif asked is self.spare:
            self.spare = None
        elif asked.source == LEGACY:
            self._without_legacy(status)
        elif self.method in SAFE:
            self.due, self.fell_back = LEGACY, True
        else:
            self.finish(PROXY, status, b"")

    def _without_legacy(self, status: int) -> None:
        if self.spare is None:
            self.finish(PROXY, status, b"")
            return
        self.committed = self.spare
        if self.spare.complete:
            self.finish(self.spare.source, self.spare.status, self.spare.body)


@dataclass(eq=False)
class Someone:
    """A client and its requests, in order."""

    client: Client
    requests: list[Request] = field(default_factory=list)
    left: bool = False
    slow: bool = False

    @property
    def closed(self) -> bool:
        return any(request.broken for request in self.requests)

    def void_the_rest(self) -> None:
        for request in self.requests:
            request.void = request.void or not request.over


class Proxy(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.context = None
        self.people: list[Someone] = []
        self.by_number: dict[int, Request] = {}
        self.asked: list[Asked] = []
        self.used: set[int] = set()
        self.seen: list[FakeTransport] = []

    def run(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def do(self, action, *args) -> None:
        """Call it where the loop runs, as the proxy's call-backs expect."""

        async def call() -> None:
            action(*args)

        self.run(call())

    @initialize()
    def start(self):
        self.context = running(**PATIENT)
        self.world = self.run(self.context.__aenter__())
        self.do(lambda: self.people.extend(Someone(self.world.client()) for _ in range(2)))
        for someone, method in zip(self.people, ("GET", "LEGACY"), strict=True):
            self.do(someone.client.transport.feed, self.made(someone, method, ""))
        self.settle()

    # rules

    @precondition(lambda self: sum(not someone.left for someone in self.people) < 3)
    @rule()
    def a_client_comes(self):
        self.do(lambda: self.people.append(Someone(self.world.client())))

    def someone(self, data) -> Someone | None:
        there = [someone for someone in self.people if not someone.left and not someone.closed]
        return data.draw(st.sampled_from(there)) if there else None

    @rule(
        data=st.data(),
        method=st.sampled_from(["GET", "GET", "HEAD", "PUT", "POST", "LEGACY"]),
        body=st.sampled_from(["", "counted", "chunked"]),
        ahead=st.integers(0, 2),
    )
    def a_client_asks(self, data, method, body, ahead):
        """Ask once, or several times at once."""
        someone = self.someone(data)
        if someone is None:
            return
        sent = b"".join(self.made(someone, method, body) for _ in range(ahead + 1))
        self.do(someone.client.transport.feed, sent)
        self.settle()

    def made(self, someone: Someone, method: str, body: str) -> bytes:
        number = len(self.by_number) + 1
        source = LEGACY if method == "LEGACY" else TARGET
        path = {"LEGACY": "/legacy?%d", "POST": "/images?%d"}.get(method, "/images/%d") % number
        method = "GET" if method == "LEGACY" else method
        content = b"of-%d" % number if body else b""
        request = Request(number, method, source, content, due=source)
        self.by_number[number] = request
        someone.requests.append(request)
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n".encode()
        if body == "counted":
            return head + b"Content-Length: %d\r\n\r\n" % len(content) + content
        if body == "chunked":
            return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        return head + b"\r\n"

    def waiting(self, data, begun: bool | None = None) -> Asked | None:
        """An upstream connection that owes an answer, or the rest of one."""
        found = [asked for asked in self.asked if asked.open and asked.transport.reading]
        found = [asked for asked in found if begun is None or bool(asked.status) is begun]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(
        data=st.data(),
        status=st.sampled_from([200, 200, 200, 404, 503]),
        framing=st.sampled_from(["length", "chunked", "close"]),
        size=st.sampled_from([1, 1, 1, 9000]),
        stop=st.sampled_from(["whole", "whole", "head", "part"]),
        interim=st.booleans(),
        cut=st.integers(1, 60),
    )
    def an_upstream_answers(self, data, status, framing, size, stop, interim, cut):
        """Answer whole, or begin to; the bytes come in two pieces."""
        asked = self.waiting(data, begun=False)
        if asked is None:
            return
        asked.framing = framing
        asked.body = b"%s-%d-%d;" % (asked.source.encode(), asked.request.number, asked.number) * size
        head = b"HTTP/1.1 %b\r\n" % STATUSES[status]
        if framing == "length":
            head += b"Content-Length: %d\r\n" % len(asked.body)
        elif framing == "chunked":
            head += b"Transfer-Encoding: chunked\r\n"
        head += b"\r\n"
        if asked.request.method == "HEAD":
            stop, asked.body = "whole", b""
        content = b"" if asked.request.method == "HEAD" else self.framed(asked)
        keep = {"whole": len(content), "head": 0, "part": min(len(content) // 2, len(asked.body) // 2)}[stop]
        asked.told = content[keep:]
        hints = b"HTTP/1.1 103 Early Hints\r\nX-For: %d\r\n\r\n" % asked.request.number if interim else b""
        asked.status = status
        asked.request.on_head(asked)
        whole = stop == "whole" and (framing != "close" or asked.request.method == "HEAD")
        if whole:
            asked.request.on_complete(asked)
        self.say(asked, hints + head + content[:keep], cut)
        if stop == "whole" and not whole:
            self.end_by_close(asked)

    def framed(self, asked: Asked) -> bytes:
        if asked.framing == "chunked":
            return b"%x\r\n%b\r\n0\r\n\r\n" % (len(asked.body), asked.body)
        return asked.body

    def say(self, asked: Asked, data: bytes, cut: int) -> None:
        for piece in (data[:cut], data[cut:]):
            if piece and not asked.transport.closing:
                self.do(asked.transport.feed, piece)
        self.settle()

    def end_by_close(self, asked: Asked) -> None:
        if asked.open and asked.transport.reading:
            asked.request.on_complete(asked)
            self.do(asked.transport.feed_eof)
            self.settle()

    @rule(data=st.data(), cut=st.integers(1, 60))
    def an_upstream_goes_on(self, data, cut):
        """Send the rest of an answer that was begun."""
        asked = self.waiting(data, begun=True)
        if asked is None:
            return
        if asked.framing == "close":
            self.say(asked, asked.told, cut)
            self.end_by_close(asked)
        else:
            asked.request.on_complete(asked)
            self.say(asked, asked.told, cut)

    @rule(data=st.data(), how=st.sampled_from(["fin", "reset", "garbage", "half a head and fin", "600"]))
    def an_upstream_fails(self, data, how):
        """Fail wherever it stands: silent, or in the middle of an answer."""
        asked = self.waiting(data)
        if asked is None:
            return
        if asked.status and (asked.framing == "close" or how not in ("fin", "reset")):
            how = "reset"
        request = asked.request
        silent = how in ("fin", "reset") and not asked.status
        if silent and asked.reused and request.method in IDEMPOTENT and asked.source not in request.replaced:
            request.replaced.add(asked.source)
            request.due = asked.source
            asked.failed = True
        else:
            request.on_failure(asked, 502)
        words = {
            "garbage": b"garbage\r\n\r\n",
            "600": b"HTTP/1.1 600 No\r\n\r\n",
            "half a head and fin": b"HTTP/1.1 20",
        }
        if how in words:
            self.do(asked.transport.feed, words[how])
        if not asked.transport.closing and how not in ("garbage", "600"):
            self.do(asked.transport.reset if how == "reset" else asked.transport.feed_eof)
        self.settle()

    @rule(data=st.data())
    def a_client_stops_reading(self, data):
        someone = self.someone(data)
        if someone is not None:
            someone.slow = True
            self.do(someone.client.transport.take, 0)

    @rule(data=st.data())
    def a_client_reads_again(self, data):
        someone = self.someone(data)
        if someone is not None:
            self.read_on(someone)

    def read_on(self, someone: Someone) -> None:
        someone.slow = False
        self.do(someone.client.transport.take, None)
        self.settle()

    @rule(data=st.data(), how=st.sampled_from(["fin", "reset"]))
    def a_client_leaves(self, data, how):
        someone = self.someone(data)
        if someone is None or not someone.client.transport.reading:
            return
        someone.left = True
        someone.void_the_rest()
        self.do(someone.client.transport.feed_eof if how == "fin" else someone.client.transport.reset)
        self.settle()
        for request in someone.requests:
            if request.void:
                assert all(asked.transport.closing for asked in request.asked[-1:]), "its attempts are cancelled"

    @rule()
    def the_targets_time_runs_out(self):
        """Past the target's timeout, and far from every other."""
        late = [asked for asked in self.asked if asked.source == TARGET and asked.open]
        for asked in late:
            if asked.request.committed is not asked:
                asked.request.on_failure(asked, 504)
        self.run(self.world.pass_time(6))
        self.settle()

    # what must hold

    def settle(self) -> None:
        for _ in range(4):
            self.run(self.world.settle())
        for someone in self.people:
            if someone.closed:
                someone.void_the_rest()
        for name, source in ((TARGET, self.world.target), (LEGACY, self.world.legacy)):
            for transport in source.transports:
                if transport.sent and not transport.closing:
                    self.take(name, transport)

    def take(self, name: str, transport: FakeTransport) -> None:
        (message,), rest = strict.read_requests(bytes(transport.sent))
        transport.sent.clear()
        assert rest == b"", "one request at a time"
        method, path, _ = message.start.split(b" ")
        request = self.by_number[int(path.replace(b"?", b"/").rpartition(b"/")[2])]
        assert not request.over, "what is over is not asked"
        assert request.due == name, f"{request.due} was to be asked, not {name}"
        assert (method.decode(), message.body) == (request.method, request.body)
        request.due = None
        reused = any(transport is earlier for earlier in self.seen)
        self.seen.append(transport)
        asked = Asked(request, name, transport, reused, len(request.asked) + 1)
        request.asked.append(asked)
        self.asked.append(asked)
        attempts = len(request.asked) - len(request.replaced)
        assert attempts <= 2, "at most two attempts"

    @invariant()
    def each_client_got_its_answers_in_order(self):
        for someone in self.people:
            self.check(someone)

    def check(self, someone: Someone) -> None:
        transport = someone.client.transport
        written = bytes(transport.sent + transport.buffer)
        methods = [request.method.encode() for request in someone.requests]
        found, rest = strict.read_answers(written, methods, closed=False)
        finals = [answer for answer in found if answer.status >= 200]
        expected = [request for request in someone.requests if request.outcome is not None]
        under_way = next((each for each in someone.requests if each.outcome is None), None)
        assert len(finals) <= len(expected), "an answer too many"
        if not someone.slow and not someone.left:
            assert len(finals) == len(expected), "an answer is missing"
            assert (not transport.closing) is not someone.closed
        for answer, request in zip(finals, expected, strict=False):
            self.check_answer(answer, request)
        if rest and not someone.slow and not someone.left:
            assert under_way is not None
            assert under_way.committed is not None, "a part of an answer that was not committed"
            assert rest.startswith(b"HTTP/1.1 %d " % under_way.committed.status)

    def check_answer(self, answer: strict.Message, request: Request) -> None:
        source, status, body = request.outcome
        assert (answer.all(b"x-cutover-source"), answer.status) == ([source.encode()], status)
        if source == PROXY:
            assert answer.all(b"content-type") == [b"application/problem+json"]
        else:
            assert answer.body == body
        assert bool(answer.all(b"x-cutover-fallback")) is request.fell_back

    def teardown(self):
        if self.context is None:
            return
        try:
            self.end_well()
            self.run(self.context.__aexit__(None, None, None))
        finally:
            self.run(self.world.tasks.close())
            self.loop.close()

    def end_well(self) -> None:
        """All read on, and every upstream answers: then every request has its answer."""
        for someone in self.people:
            if not someone.left:
                self.read_on(someone)
        while still := [asked for asked in self.asked if asked.open]:
            for asked in still:
                if not asked.open:
                    continue
                if not asked.status:
                    asked.status, asked.framing, asked.body = 200, "length", b"late"
                    asked.body = b"" if asked.request.method == "HEAD" else asked.body
                    asked.told = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + asked.body
                    asked.request.on_head(asked)
                asked.request.on_complete(asked)
                self.do(asked.transport.feed, asked.told)
                if asked.framing == "close":
                    self.do(asked.transport.feed_eof)
                self.settle()
        for someone in self.people:
            if not someone.left:
                assert all(request.over for request in someone.requests)
                self.check(someone)


Proxy.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class TestEveryClientGetsItsOwnAnswersWhateverHappensInWhateverOrder(Proxy.TestCase):
    pass
