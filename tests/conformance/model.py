"""A plain model of cutover: who is asked, how often, and what each client has got by now.

Written from the contract (sections 4 and 5) alone. It knows nothing of the product's code, of event loops or of
transports: it is told how many bytes of which message have come across, who has gone and how much time has passed,
and says what must have come of it. Whatever happens that deserves a name is told to `reach`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

TARGET, LEGACY, PROXY = "image_service", "postgresql", "proxy"
SAFE = {"GET", "HEAD"}
IDEMPOTENT = SAFE | {"PUT", "DELETE"}
LISTED = {404, 503}  # of fallback.statuses
BODILESS = {204, 304}
REQUEST_BUFFER = 120
RESPONSE_BUFFER = 600
TIMEOUT = {TARGET: 5.0, LEGACY: 30.0}
BODY_TIMEOUT = 100.0
STREAM_IDLE_TIMEOUT = 3600.0
IDLE_TIMEOUT = 4.0  # of a pooled connection
FRESH = 1.0  # how long a pooled connection may have been idle to be good enough for a method that is not idempotent
GONE = 499

Reach = Callable[[str], None]


class Wire:
    """One message, and how much of it has gone out: what of it is known on the other side by then."""

    def __init__(
        self,
        head: bytes,
        content: bytes,
        framing: str,
        *,
        lead: tuple[bytes, ...] = (),
        cut: int = 0,
        after: bytes = b"",
    ) -> None:
        """`lead`: interim heads. `cut`: chunks of this many bytes (0: one). `after`: bytes beyond the end.

        `framing` is none, length, chunked, close, or spoiled: chunked, with garbage for its last chunk.
        """
        self.framing = framing
        self.content = content
        self.lead_ends = []
        data = b""
        for each in lead:
            data += each
            self.lead_ends.append(len(data))
        data += head
        self.head_end = len(data)
        self.pieces: list[tuple[int, int]] = []  # where content begins in the message, and how much
        if framing in ("chunked", "spoiled"):
            size = cut or len(content)
            for at in range(0, len(content), size):
                piece = content[at : at + size]
                data += b"%x\r\n" % len(piece)
                self.pieces.append((len(data), len(piece)))
                data += piece + b"\r\n"
            data += b"zz\r\n" if framing == "spoiled" else b"0\r\n\r\n"
        elif framing != "none":
            self.pieces.append((len(data), len(content)))
            data += content
        self.end = len(data)
        self.data = data + after
        self.sent = 0
        self.closed = False  # the close that ends a message of that framing

    @property
    def left(self) -> int:
        return len(self.data) - self.sent

    @property
    def leads(self) -> int:
        return sum(self.sent >= end for end in self.lead_ends)

    @property
    def begun(self) -> bool:
        return self.sent >= self.head_end

    @property
    def come(self) -> bytes:
        """The content that has come across."""
        size = sum(max(0, min(size, self.sent - start)) for start, size in self.pieces)
        return self.content[:size]

    @property
    def complete(self) -> bool:
        if self.framing == "close":
            return self.closed
        return self.framing != "spoiled" and self.sent >= self.end

    @property
    def spoiled(self) -> bool:
        return self.framing == "spoiled" and self.sent >= self.end


@dataclass(eq=False, repr=False)
class Asked:
    """One request as one upstream connection got it."""

    request: "Request"
    source: str
    link: object  # the connection
    reused: bool
    left: float  # seconds until its time is up
    status: int = 0
    stream: bool = False  # an event stream
    stays: bool = True  # it does not say Connection: close
    wire: Wire | None = None  # its answer, once it has begun to give one
    passed: bytes = b""  # the content that cutover has taken as good
    leads: int = 0
    judged: bool = False  # its head has come
    complete: bool = False
    got_all: bool = False  # of the request, when it had answered
    announces: bool = False  # its head announces content that must not follow
    failed: bool = False
    released: bool = False  # for another request

    @property
    def open(self) -> bool:
        """Whether anybody still waits for what it has to say."""
        return not (self.complete or self.failed or self.given_up)

    @property
    def given_up(self) -> bool:
        request = self.request
        return request.over or (request.committed is not None and request.committed is not self)

    @property
    def held_back(self) -> bool:
        """Whether it is kept for the case that legacy fails, and too long to be read on."""
        request = self.request
        return request.spare is self and request.committed is None and len(self.passed) > RESPONSE_BUFFER

    @property
    def clean(self) -> bool:
        """Whether its connection may serve another request."""
        wire = self.wire
        if wire is None or not self.complete or not self.stays or wire.framing == "close" or wire.sent > wire.end:
            return False
        return self.got_all and not self.announces

    def __repr__(self) -> str:
        return f"<{self.request!r} on {self.source}>"

    def hear(self, reach: Reach) -> None:
        """More of its answer has come, in one piece."""
        wire, request = self.wire, self.request
        assert wire is not None
        while self.leads < wire.leads:
            self.leads += 1
            if request.minor:
                request.interims.append((self.source, self.leads))
                reach("an interim answer is passed on")
        if wire.spoiled:
            request.on_failure(self, "invalid_response")
            return
        self.passed = wire.come
        if wire.begun and not self.judged:
            self.judged = True
            request.on_head(self)
        if wire.begun and not self.failed:
            request.on_content(self)
        if wire.complete and not self.complete:
            self.complete = True
            if request.spare is not self:
                self.got_all = request.wire.complete
            request.on_complete(self)
        if request.committed is self and not self.complete:
            self.left = STREAM_IDLE_TIMEOUT if self.stream else BODY_TIMEOUT


@dataclass(eq=False, repr=False)
class Request:
    """One request of a client, and what must become of it."""

    number: int
    method: str
    minor: int
    source: str  # asked first
    wire: Wire
    reach: Reach
    due: str | None = None  # the source that must be asked now
    left: float = 0.0  # for whom is due
    asked: list[Asked] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    interims: list[tuple[str, int]] = field(default_factory=list)
    fell_back: str | None = None
    spare: Asked | None = None
    committed: Asked | None = None
    outcome: tuple[str, int, bytes] | None = None  # (source, status, body)
    last: bool = False  # the client's connection ends with it
    broken: bool = False
    void: bool = False
    begun: bool = False
    moved: float = 0.0  # when the client last sent something of it

    @property
    def over(self) -> bool:
        return self.outcome is not None or self.broken or self.void

    def __repr__(self) -> str:
        return f"<{self.method} {self.number}>"

    @property
    def replayable(self) -> bool:
        """Whether it can be sent from its start: nobody has taken it yet, or it is short enough to be kept."""
        return not self.asked or len(self.wire.come) <= REQUEST_BUFFER

    def begin(self) -> None:
        self.begun = True
        self.ask(self.source)

    def ask(self, source: str) -> None:
        self.due, self.left = source, TIMEOUT[source]
        self.attempts.append(source)
        assert len(self.attempts) <= 2

    def on_head(self, asked: Asked) -> None:
        if asked.source == LEGACY:
            self.commit(asked)
        elif asked.status in LISTED:
            if not (self.method in SAFE and self.replayable):
                self.reach("a listed status of a request that may not be repeated is its answer")
                self.commit(asked)
                return
            self.spare, asked.got_all = asked, self.wire.complete
            self.fall_back(f"status_{asked.status}")
        elif asked.stream:
            self.reach("an event stream commits at its head")
            self.commit(asked)

    def on_content(self, asked: Asked) -> None:
        outgrown = len(asked.passed) > RESPONSE_BUFFER and not asked.wire.complete
        if self.committed is None and asked is not self.spare and outgrown:
            self.reach("an answer commits as it outgrows the buffer")
            self.commit(asked)
        if asked.held_back:
            self.reach("the target's own answer grows too long and waits")

    def on_complete(self, asked: Asked) -> None:
        if asked is self.spare and asked is not self.committed:
            return
        if self.committed is None:
            self.commit(asked)
        self.finish(asked.source, asked.status, asked.passed)

    def commit(self, asked: Asked) -> None:
        self.committed = asked
        self.last = self.last or not self.minor or not self.wire.complete
        asked.left = STREAM_IDLE_TIMEOUT if asked.stream else BODY_TIMEOUT

    def finish(self, source: str, status: int, body: bytes) -> None:
        self.last = self.last or not self.minor or not self.wire.complete
        self.outcome = (source, status, b"" if self.method == "HEAD" else body)
        self.due = None
        if not self.wire.complete:
            self.reach("answered before its body had come")
        if self.method == "HEAD":
            self.reach("HEAD answered by the proxy" if source == PROXY else "HEAD answered")
        if source != PROXY and status in BODILESS:
            self.reach("an answer that has no body")
        if source == TARGET and self.spare is None and self.committed is not None:
            if self.committed.reused:
                self.reach("a reused connection answers")
            if len(self.asked) == 2:
                self.reach("a stale connection is replaced, unnoticed")
            if len(body) > RESPONSE_BUFFER:
                self.reach(f"an answer beyond the buffer is given whole, {self.committed.wire.framing}")

    def fall_back(self, reason: str) -> None:
        self.fell_back = reason
        self.reach(f"falls back: {reason.partition('_')[0]}")
        if self.wire.framing != "none":
            whole = "whole" if self.wire.complete else "while it is being sent"
            self.reach(f"falls back with a {self.wire.framing} body, {whole}")
        if self.interims:
            self.reach("falls back after an interim answer")
        if self.spare is None and self.asked and self.asked[-1].passed:
            self.reach("falls back from a part of an answer that nobody saw")
        self.ask(LEGACY)

    def on_refused(self, source: str, reason: str) -> None:
        """No connection to the source that was due could be made; nothing was sent."""
        self.due = None
        sent = any(asked.source == source for asked in self.asked)
        if sent:
            self.reach("a stale connection can't be replaced")
        self._on_failure(source, reason, nothing_sent=not sent)

    def on_failure(self, asked: Asked, kind: str) -> None:
        asked.failed = True
        if asked is self.committed:
            self.broken = True
            what = (
                "the target's own answer" if asked is self.spare else "legacy" if asked.source == LEGACY else "target"
            )
            self.reach(f"broken after commit: {what}, {kind.partition('_')[0]}")
            self.reach(f"broken after commit, {asked.wire.framing if self.minor else 'to an HTTP/1.0 client'}")
        elif asked is self.spare:
            self.spare = None
            self.reach("the target's own answer breaks while legacy is asked")
        else:
            self._on_failure(asked.source, kind, nothing_sent=False)

    def _on_failure(self, source: str, kind: str, *, nothing_sent: bool) -> None:
        status = 504 if kind == "timeout" else 502
        if source == LEGACY:
            if self.spare is not None:
                self.commit(self.spare)
                whole = "whole" if self.spare.complete else "under way"
                self.reach(f"legacy fails and the target's own answer is given, {whole}")
                if self.spare.complete:
                    self.finish(self.spare.source, self.spare.status, self.spare.passed)
            else:
                self.reach(f"{'both fail' if self.fell_back else 'legacy fails alone'}: {status}")
                self.finish(PROXY, status, b"")
        elif self.replayable and (nothing_sent or self.method in SAFE):
            if self.method not in SAFE:
                self.reach("what may not be repeated falls back as nothing was sent")
            self.fall_back(kind)
        else:
            if self.method not in SAFE:
                self.reach(f"what may not be repeated fails: {status}")
            if not self.replayable:
                self.reach("a request too long to be repeated fails")
            self.finish(PROXY, status, b"")

    def goes_stale(self, asked: Asked) -> bool:
        """Whether a connection that now closes is replaced as if it had never been."""
        if not asked.reused or asked.wire is not None:
            return False
        if self.method not in IDEMPOTENT:
            self.reach("a stale connection is not replaced for what may not be repeated")
            return False
        if asked.source in self.replaced or not self.replayable:
            return False
        self.replaced.add(asked.source)
        asked.failed = True
        self.due, self.left = asked.source, asked.left
        self.reach(f"a stale connection of {'legacy' if asked.source == LEGACY else 'the target'} is replaced")
        return True


@dataclass(eq=False, repr=False)
class Person:
    """A client and its requests, in order."""

    client: object
    requests: list[Request] = field(default_factory=list)
    left: bool = False

    def __repr__(self) -> str:
        return f"<client of {self.requests!r}>"

    @property
    def front(self) -> Request | None:
        """The request whose turn it is."""
        return next((request for request in self.requests if not request.over), None)

    @property
    def unfinished(self) -> Request | None:
        """The request of which there is more to send."""
        return next((request for request in self.requests[-1:] if request.wire.left), None)

    @property
    def closed(self) -> bool:
        """Whether cutover has ended the connection."""
        return any(request.broken or (request.outcome is not None and request.last) for request in self.requests)

    def void_the_rest(self) -> None:
        for request in self.requests:
            request.void = request.void or not request.over
            if request.void:
                request.due = None
