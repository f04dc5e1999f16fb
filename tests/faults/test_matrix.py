"""Each failure of the target at each phase of the exchange, for each method and kind of request body.

All cases run once, many at a time, through one sidecar without a breaker; each test then looks at what its case
left behind: what the client got, what each upstream saw, and whether the next request on the same connection and one
on a fresh connection were clean.
"""

import contextlib
import hashlib
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import pytest

from tests.e2e.conftest import Server, StartServer, StartSidecar
from tests.e2e.sidecar import Sidecar, config, eventually
from tests.e2e.upstream import Hosted, Seen, pattern
from tests.e2e.wire import Answer, Truncated, Wire
from tests.faults.target import FaultServer, start_fault_server

PARALLEL: Final = 32
TIMEOUT_S: Final = 1.0
SLACK_S: Final = 4.0  # 32 threads of tests share two noisy cores with the sidecar
BUFFER: Final = "16KiB"
SAFE: Final = ("GET", "HEAD")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
BODIES: Final = {
    "none": None,
    "small": pattern(3, 600),
    "chunked": pattern(7, 900),
    "large": pattern(11, 200_000),
}
KINDS: Final = {"reset": "reset", "close": "reset", "stall": "timeout", "503": "status_503"}
NOT_SENT: Final = {("before_accept", "refused"), ("before_accept", "dropped")}
RESPONSE_BODY: Final = ("after_response_head", "mid_small_body", "mid_large_body", "at_the_end")
BASIC: Final = ("reset", "close", "stall", "garbage", "503", "both_framings")
ODD_HEADS: Final = (
    "status-line",
    "status-999",
    "status-000",
    "two-lengths",
    "negative-length",
    "gzip-te",
    "folded",
    "switching",
    "huge-head",
    "storm",
)


class Case(NamedTuple):
    """One cell of the matrix."""

    phase: str
    failure: str
    framing: str
    method: str
    body: str

    def __str__(self) -> str:
        return "-".join(part for part in self if part)

    @property
    def path(self) -> str:
        return f"/images?{self}" if self.method == "POST" else f"/images/{self}"

    @property
    def content(self) -> bytes:
        return BODIES[self.body] or b""

    @property
    def kind(self) -> str:
        if (self.phase, self.failure) in NOT_SENT:
            return "connect_error"
        return KINDS.get(self.failure.removeprefix("queued_"), "invalid_response")

    @property
    def ends_with_head(self) -> bool:
        """Whether the answer was whole before anything went wrong: HEAD has no content."""
        return self.phase == "after_the_end" or (self.method == "HEAD" and self.phase in RESPONSE_BODY)

    @property
    def commits(self) -> bool:
        return self.phase == "mid_large_body" and not self.ends_with_head

    @property
    def spoils_later(self) -> bool:
        """Whether the failure comes when another request may have got the connection already."""
        return self.ends_with_head and self.failure in ("reset", "close")


FAULTS: Final = {  # by phase, and for a response body by framing
    ("before_accept", ""): ("refused", "dropped", "queued_stall", "queued_reset"),
    ("after_accept", ""): ("reset", "close", "stall", "garbage", "503"),
    ("after_request_head", ""): BASIC,
    ("mid_request_body", ""): BASIC,
    ("before_response_head", ""): BASIC + ODD_HEADS,
    ("mid_response_head", ""): ("reset", "close", "stall", "garbage"),
    **{(phase, "length"): ("reset", "close", "stall") for phase in RESPONSE_BODY},
    **{(phase, "chunked"): ("reset", "close", "stall", "garbage") for phase in RESPONSE_BODY},
    **{(phase, "until_close"): ("reset",) for phase in RESPONSE_BODY},
    ("after_the_end", ""): ("garbage", "second_answer", "reset", "close"),
}


def _faults() -> Iterator[tuple[str, str, str]]:
    for (phase, framing), failures in FAULTS.items():
        for failure in failures:
            yield phase, failure, framing


def _cases() -> Iterator[Case]:
    for fault in _faults():
        for method in METHODS:
            for body in BODIES:
                case = Case(*fault, method, body)
                if body == "none" and case.phase == "mid_request_body":
                    continue  # there is no such moment
                if case.ends_with_head and case.phase != "after_the_end" and case.failure in ("stall", "garbage"):
                    continue  # nothing is wrong yet: it would be the next request's failure
                yield case


CASES: Final = tuple(_cases())


@dataclass
class Result:
    """What a case left behind."""

    answer: Answer | None = None
    error: Exception | None = None
    seconds: float = 0.0
    whole_sent: bool = False
    kept: bool = False
    following: Answer | None = None
    fresh: Answer | None = None
    closed: bool | None = None
    trouble: list[str] = field(default_factory=list)
    target: list[Seen] = field(default_factory=list)
    legacy: list[Seen] = field(default_factory=list)


class Client:
    """Runs one case in two steps, so that the target can be put right between them."""

    def __init__(self, address: str, case: Case) -> None:
        self.address = address
        self.case = case
        self.result = Result()
        self.wire = Wire(address)

    def first(self) -> None:
        case, result = self.case, self.result
        start = time.monotonic()
        try:
            self._send()
            result.answer = self.wire.answer(case.method)
        except (Truncated, OSError) as error:
            result.error = error
        result.seconds = time.monotonic() - start

    def _send(self) -> None:
        case = self.case
        fault = "/".join(case[:3])
        lines = [f"{case.method} {case.path} HTTP/1.1", "Host: gallery.example", f"X-Fault: {fault}", "X-User-Id: u"]
        content = case.content
        if case.body == "chunked":
            lines.append("Transfer-Encoding: chunked")
            content = b"".join(b"%x\r\n%b\r\n" % (300, content[at : at + 300]) for at in range(0, 900, 300))
            content += b"0\r\n\r\n"
        elif case.body != "none":
            lines.append(f"Content-Length: {len(content)}")
        head = "\r\n".join((*lines, "", "")).encode()
        half = len(content) // 2 if case.phase == "mid_request_body" else len(content)
        self.result.whole_sent = self._write(head + content[:half])
        if half < len(content):
            select.select([self.wire.sock], [], [], 0.06)
            self.result.whole_sent = self._write(content[half:])

    def _write(self, data: bytes) -> bool:
        try:
            self.wire.send(data)
        except OSError:  # an answer may be there all the same
            return False
        return True

    def second(self) -> None:
        case, result = self.case, self.result
        answer = result.answer
        says_close = answer is None or (answer["Connection"] or "").lower() == "close"
        result.kept = not says_close
        try:
            if says_close:
                result.closed = self.wire.is_closed()
            else:
                result.following = self.wire.ask("GET", f"/images/{case}-next", {"X-User-Id": "u"})
        except (Truncated, OSError, AssertionError) as error:
            result.trouble.append(f"the next request: {error!r}")
        self.wire.close()
        try:
            with Wire(self.address) as wire:
                result.fresh = wire.ask("GET", f"/images/{case}-fresh", {"X-User-Id": "u"})
        except (Truncated, OSError, AssertionError) as error:
            result.trouble.append(f"a fresh request: {error!r}")


class Matrix:
    """Runs the cases."""

    def __init__(self, sidecar: Sidecar, target: FaultServer, legacy: Server, threads: ThreadPoolExecutor) -> None:
        self.sidecar = sidecar
        self.target = target
        self.legacy = legacy
        self.threads = threads
        self.results: dict[Case, Result] = {}

    def run(self) -> None:
        self._in_parallel(case for case in CASES if case.phase not in ("before_accept", "after_accept"))
        for failure in ("reset", "close", "stall", "garbage", "503"):
            self.target.upstream.door = failure
            self._with_target("after_accept", failure, self.target.open_door)
        self.target.shut()
        self._with_target("before_accept", "refused", self.target.listen_again)
        self._queued()
        by_path: dict[str, Result] = {case.path: result for case, result in self.results.items()}
        for server, name in ((self.target, "target"), (self.legacy, "legacy")):
            for seen in server.seen:
                if (result := by_path.get(seen.target.decode())) is not None:
                    getattr(result, name).append(seen)

    def _start(self, cases: Iterable[Case]) -> list[Client]:
        clients = [Client(self.sidecar.address, case) for case in cases]
        self.results.update((client.case, client.result) for client in clients)
        return clients

    def _in_parallel(self, cases: Iterable[Case]) -> None:
        cases = tuple(cases)

        def whole(case: Case) -> tuple[Case, Result]:
            client = Client(self.sidecar.address, case)
            client.first()
            client.second()
            return case, client.result

        self.results.update(self.threads.map(whole, (case for case in cases if not case.spoils_later)))
        for case in cases:
            if case.spoils_later:  # one by one, each on connections of its own
                self.results[case] = whole(case)[1]
                self._empty_pool()

    def _empty_pool(self) -> None:
        self.target.close_connections()

        def idle() -> bool:
            return self.sidecar.metrics().total("cutover_upstream_connections", source="image_service") == 0

        assert eventually(idle)

    def _with_target(self, phase: str, failure: str, put_right: Callable[[], None]) -> None:
        """Run these cases while the target is so; then put it right and look at what comes next."""
        self._empty_pool()
        clients = self._start(case for case in CASES if (case.phase, case.failure) == (phase, failure))
        list(self.threads.map(Client.first, clients))
        put_right()
        list(self.threads.map(Client.second, clients))

    def _queued(self) -> None:
        """Failures between the kernel's acceptance and the program's."""
        with ExitStack() as stack:
            self.target.shut()
            stack.enter_context(self.target.unaccepted(0))
            _fill_backlog(self.target.port, stack)
            self._with_target("before_accept", "dropped", lambda: (stack.close(), self.target.listen_again()))
        with ExitStack() as stack:
            self.target.shut()
            stack.enter_context(self.target.unaccepted(1024))
            self._with_target("before_accept", "queued_stall", lambda: (stack.close(), self.target.listen_again()))
        with ExitStack() as stack:
            self.target.shut()
            stack.enter_context(self.target.unaccepted(1024))
            closing = self.threads.submit(lambda: (time.sleep(TIMEOUT_S / 2), stack.close()))
            self._with_target("before_accept", "queued_reset", lambda: (closing.result(), self.target.listen_again()))


def _fill_backlog(port: int, stack: ExitStack) -> None:
    """Connect until the kernel takes no more."""
    for _ in range(8):
        sock = stack.enter_context(socket.socket())
        sock.settimeout(0.2)
        try:
            sock.connect(("127.0.0.1", port))
        except TimeoutError:
            return
    raise AssertionError("the backlog is never full")


@pytest.fixture(scope="module")
def results(hosted: Hosted, lasting: tuple[StartServer, StartSidecar]) -> dict[Case, Result]:
    start_server, start_sidecar = lasting
    legacy, target = start_server("legacy"), start_fault_server(hosted)
    settings = config(
        legacy.url,
        target.url,
        legacy={"timeout": "10s"},
        target={"timeout": "1s", "connect_timeout": "400ms"},
        fallback={"request_buffer": BUFFER, "response_buffer": BUFFER},
        limits={"body_timeout": "1s"},
        logging={"access": "off"},
    )
    sidecar = start_sidecar(settings)
    try:
        with ThreadPoolExecutor(PARALLEL) as threads:
            matrix = Matrix(sidecar, target, legacy, threads)
            matrix.run()
    finally:
        with contextlib.suppress(OSError):
            target.stop()
    return matrix.results


def _expected(case: Case) -> set[str]:
    """What the client may get: `target`, `legacy`, a status, or `cut`."""
    if case.ends_with_head:
        return {"target"}
    if case.kind == "connect_error":
        return {"legacy"}
    if case.commits and case.failure != "garbage":  # garbage may come in one piece with all before it
        return {"cut"}
    failed = {"503"} if case.kind == "status_503" else {"504" if case.kind == "timeout" else "502"}
    if case.commits:
        failed |= {"cut"}
    if case.phase == "after_accept" and case.failure != "stall":
        failed |= {"legacy"}  # the proxy may see it before it has sent anything
    if case.phase == "after_accept" and case.kind == "status_503":
        failed |= {"502"}  # closing on an unread request sends a reset, which may overtake the answer
    if case.method not in SAFE:
        return failed
    # a body known to be longer than the buffer is gone; it may fail before that is known
    return failed | {"legacy"} if case.body == "large" or case.commits else {"legacy"}


def _got(case: Case, result: Result) -> str:
    answer = result.answer
    if answer is None:
        return "cut" if isinstance(result.error, Truncated | ConnectionError) else repr(result.error)
    if answer.status != 200:
        return str(answer.status)
    return {"image_service": "target", "postgresql": "legacy"}[answer["X-Cutover-Source"] or ""]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_client_gets_a_whole_answer_or_can_tell_that_it_did_not(results: dict[Case, Result], case: Case) -> None:
    result = results[case]
    got = _got(case, result)
    assert got in _expected(case), f"{got}: {result}"[:1500]
    answer = result.answer
    if got == "legacy":
        digest = hashlib.sha256(case.content).hexdigest()
        assert answer["X-Cutover-Fallback"] == case.kind or case.phase == "after_accept"
        if case.method != "HEAD":
            assert answer.body.decode() == f"legacy {case.method} {case.path} {len(case.content)} {digest}"
    elif got == "target" and case.phase == "after_the_end" and case.method != "HEAD":
        assert answer.body.startswith(f"target {case.method} {case.path} {len(case.content)} ".encode())
    elif got == "503":
        assert (answer["X-Told"], answer["X-Cutover-Source"]) == ("503", "image_service")
    elif got in ("502", "504"):
        assert answer["Content-Type"] == "application/problem+json"
    assert result.seconds < TIMEOUT_S + SLACK_S


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_upstream_sees_a_request_more_often_than_it_may(results: dict[Case, Result], case: Case) -> None:
    result = results[case]
    targets, legacies = len(result.target), len(result.legacy)
    got = _got(case, result)
    if case.method == "POST":
        assert targets + legacies <= 1
    assert targets <= (2 if case.kind == "reset" and not case.ends_with_head else 1)  # one replaced stale connection
    assert legacies == (1 if got == "legacy" else 0) or case.method in SAFE
    assert legacies <= 1
    digest = hashlib.sha256(case.content).hexdigest()
    for seen in result.legacy if got == "legacy" else ():
        assert (seen.whole, seen.length, seen.sha256) == (True, len(case.content), digest)
    for seen in result.target:
        assert not seen.whole or (seen.length, seen.sha256) == (len(case.content), digest)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_next_request_on_the_same_connection_and_on_a_fresh_one_is_clean(
    results: dict[Case, Result], case: Case
) -> None:
    result = results[case]
    if _answered_early(case):  # the connection may be closed without a word: the request was not whole
        assert result.trouble == [] or result.trouble[0].startswith("the next request")
    else:
        assert result.trouble == []
        assert result.kept or result.closed
    if result.following is not None:
        _assert_clean(result.following, f"/images/{case}-next")
    _assert_clean(result.fresh, f"/images/{case}-fresh")


def _answered_early(case: Case) -> bool:
    return case.phase in ("after_accept", "after_request_head", "mid_request_body") and case.body != "none"


def _assert_clean(answer: Any, path: str) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    assert (answer.status, answer["X-Cutover-Fallback"]) == (200, None)
    assert answer.body.decode() == f"target GET {path} 0 {empty}"
