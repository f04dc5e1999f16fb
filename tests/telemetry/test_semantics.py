"""What each event counts: the table of docs/metrics.md, played on the real data plane.

A row is an event as it is told in the document, a scene that makes it happen, and the differences of *all* counters
over it. `tests/deploy/test_metrics_document.py` keeps the document's table as `written()` has it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.core.model import FailureKind
from proxy.telemetry.histogram import count_of
from tests.net.harness import HIGH_WATER, World, running

LEGACY_ONLY = {"rollout": {"percentage": 0}}
HEDGING = {"fallback": {"hedge_after": "100ms"}}
BREAKER = {"target": {"circuit_breaker": {"enabled": True, "consecutive": 1, "open_for": "5s", "probes": 1}}}
GET = "GET /images/1"
UPLOAD = ("POST /images", "Content-Length: 3")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"

Scene = Callable[[World], Awaitable[None]]
SOURCES = {"image_service": "target", "postgresql": "legacy"}


@dataclass
class Row:
    """`counts`: counter -> what is counted once each, the operation left out; a leading number counts so often."""

    event: str
    scene: Scene
    counts: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)
    before: Scene | None = None  # what must have happened; it is not counted
    probes: int = 0


ROWS: list[Row] = []
COLUMNS = {
    "decisions": "`decisions`",
    "attempts": "`attempts`",
    "requests": "`requests`",
    "fallbacks": "`fallbacks`",
    "others": "others",
}


def row(event: str, settings: dict | None = None, before: Scene | None = None, probes: int = 0, **counts: str):
    """Add a row whose scene is the function below."""

    def add(scene: Scene) -> Scene:
        ROWS.append(Row(event, scene, counts, settings or {}, before, probes))
        return scene

    return add


async def ask(world: World, line: str = GET, *fields: str, body: bytes = b""):
    client = world.client()
    await client.request(line, *fields, body=body)
    return client


# answers


@row("The target answers", decisions="target percentage", attempts="target ok", requests="target 200")
async def _(world):
    await ask(world)
    await world.target.answer()


@row("Legacy answers", LEGACY_ONLY, decisions="legacy percentage", attempts="legacy ok", requests="legacy 200")
async def _(world):
    await ask(world)
    await world.legacy.answer()


@row(
    "The target answers a status that is not in `fallback.statuses`",
    decisions="target percentage",
    attempts="target ok",
    requests="target 409",
)
async def _(world):
    await ask(world)
    await world.target.answer(b"no", "409 Conflict")


@row(
    "Legacy, asked first, answers 404: only the target's 404 is a failure",
    LEGACY_ONLY,
    decisions="legacy percentage",
    attempts="legacy ok",
    requests="legacy 404",
)
async def _(world):
    await ask(world)
    await world.legacy.answer(b"no", "404 Not Found")


@row(
    "Legacy, asked first, answers 500",
    LEGACY_ONLY,
    decisions="legacy percentage",
    attempts="legacy status_500",
    requests="legacy 500",
)
async def _(world):
    await ask(world)
    await world.legacy.answer(b"no", "500 Oh")


@row(
    "Legacy, asked first, does not answer",
    LEGACY_ONLY,
    decisions="legacy percentage",
    attempts="legacy timeout",
    requests="proxy 504",
)
async def _(world):
    await ask(world)
    await world.pass_time(31)


# fallbacks


@row(
    "The target answers 503, legacy 200",
    decisions="target percentage",
    attempts="target status_503, legacy ok",
    requests="legacy 200",
    fallbacks="status_503 served",
)
async def _(world):
    await ask(world)
    await world.target.answer(b"no", "503 Busy")
    await world.legacy.answer()


@row(
    "The target answers 404, and so does legacy: there is nothing to find",
    decisions="target percentage",
    attempts="target status_404, legacy ok",
    requests="legacy 404",
    fallbacks="status_404 confirmed",
)
async def _(world):
    await ask(world)
    await world.target.answer(b"no", "404 Not Found")
    await world.legacy.answer(b"no", "404 Not Found")


@row(
    "The target answers 404, legacy 200: the target lacks an image",
    decisions="target percentage",
    attempts="target status_404, legacy ok",
    requests="legacy 200",
    fallbacks="status_404 served",
)
async def _(world):
    await ask(world)
    await world.target.answer(b"no", "404 Not Found")
    await world.legacy.answer()


@row(
    "The target takes too long, legacy answers",
    decisions="target percentage",
    attempts="target timeout, legacy ok",
    requests="legacy 200",
    fallbacks="timeout served",
)
async def _(world):
    await ask(world)
    await world.pass_time(5.1)
    await world.legacy.answer()


@row(
    "The target can't be connected to, legacy answers",
    decisions="target percentage",
    attempts="target connect_error, legacy ok",
    requests="legacy 200",
    fallbacks="connect_error served",
)
async def _(world):
    world.target.failure = FailureKind.CONNECT_ERROR
    await ask(world)
    await world.legacy.answer()


@row(
    "The target breaks off while its answer is held, legacy answers",
    decisions="target percentage",
    attempts="target reset, legacy ok",
    requests="legacy 200",
    fallbacks="reset served",
)
async def _(world):
    await ask(world)
    await world.target.say(HALF)
    await world.target.reset()
    await world.legacy.answer()


@row(
    "The target answers what is not HTTP, legacy answers",
    decisions="target percentage",
    attempts="target invalid_response, legacy ok",
    requests="legacy 200",
    fallbacks="invalid_response served",
)
async def _(world):
    await ask(world)
    await world.target.say(b"garbage\r\n\r\n")
    await world.legacy.answer()


async def fill_the_pool(world):
    for _ in range(2):
        await ask(world)


@row(
    "There is no place in the target's pool, legacy answers",
    {"target": {"pool": {"max_connections": 1, "max_idle": 1, "max_pending": 1}}},
    before=fill_the_pool,
    decisions="target percentage",
    attempts="target overload, legacy ok",
    requests="legacy 200",
    fallbacks="overload served",
)
async def _(world):
    await ask(world)
    await world.legacy.answer()


@row(
    "The target answers 503, legacy 500: legacy's answer is final",
    decisions="target percentage",
    attempts="target status_503, legacy status_500",
    requests="legacy 500",
    fallbacks="status_503 failed",
)
async def _(world):
    await ask(world)
    await world.target.answer(b"no", "503 Busy")
    await world.legacy.answer(b"no", "500 Oh")


@row(
    "The target answers 503, legacy can't be connected to: the client gets the target's answer",
    decisions="target percentage",
    attempts="target status_503, legacy connect_error",
    requests="target 503",
    fallbacks="status_503 failed",
)
async def _(world):
    world.legacy.failure = FailureKind.CONNECT_ERROR
    await ask(world)
    await world.target.answer(b"no", "503 Busy")


@row(
    "Neither source answers in time",
    decisions="target percentage",
    attempts="target timeout, legacy timeout",
    requests="proxy 504",
    fallbacks="timeout failed",
)
async def _(world):
    await ask(world)
    await world.pass_time(5.1)
    await world.pass_time(31)


@row(
    "Legacy breaks off after a fallback, after commit",
    decisions="target percentage",
    attempts="target timeout, legacy reset",
    requests="legacy 200",
    fallbacks="timeout failed",
    others="truncated: legacy",
)
async def _(world):
    await ask(world)
    await world.pass_time(5.1)
    await world.legacy.say(HALF)
    await world.legacy.reset()


@row(
    "An upload fails after bytes were sent: it may not be asked again",
    decisions="target percentage",
    attempts="target reset",
    requests="proxy 502",
    fallbacks="reset suppressed",
)
async def _(world):
    await ask(world, *UPLOAD, body=b"abc")
    await world.target.reset()


@row(
    "The target answers an upload with 503: the client gets that",
    decisions="target percentage",
    attempts="target status_503",
    requests="target 503",
    fallbacks="status_503 suppressed",
)
async def _(world):
    await ask(world, *UPLOAD, body=b"abc")
    await world.target.answer(b"no", "503 Busy")


@row(
    "The target answers a read with 503 while `fallback.enabled` is false",
    {"fallback": {"enabled": False}},
    decisions="target percentage",
    attempts="target status_503",
    requests="target 503",
    fallbacks="status_503 suppressed",
)
async def _(world):
    await ask(world)
    await world.target.answer(b"no", "503 Busy")


# hedges


@row(
    "The target is slow, legacy is asked too, the target is first",
    HEDGING,
    decisions="target percentage",
    attempts="target ok, legacy cancelled",
    requests="target 200",
    others="hedges: target",
)
async def _(world):
    await ask(world)
    await world.pass_time(0.2)
    await world.target.answer()


@row(
    "The target is slow, legacy is asked too and is first",
    HEDGING,
    decisions="target percentage",
    attempts="target cancelled, legacy ok",
    requests="legacy 200",
    others="hedges: legacy",
)
async def _(world):
    await ask(world)
    await world.pass_time(0.2)
    await world.legacy.answer()


@row(
    "The target is slow, legacy is asked too, then the target fails and legacy answers",
    HEDGING,
    decisions="target percentage",
    attempts="target reset, legacy ok",
    requests="legacy 200",
    fallbacks="reset served",
    others="hedges: legacy",
)
async def _(world):
    await ask(world)
    await world.pass_time(0.2)
    await world.target.reset()
    await world.legacy.answer()


@row(
    "The target is slow, legacy is asked too and fails, the target answers",
    HEDGING,
    decisions="target percentage",
    attempts="target ok, legacy reset",
    requests="target 200",
    others="hedges: target",
)
async def _(world):
    await ask(world)
    await world.pass_time(0.2)
    await world.legacy.reset()
    await world.target.answer()


# clients that leave, answers that break off


@row(
    "The client leaves before commit",
    decisions="target percentage",
    attempts="target cancelled",
    requests="proxy 499",
)
async def _(world):
    (await ask(world)).transport.reset()
    await world.settle()


@row(
    "The client leaves during a fallback",
    decisions="target percentage",
    attempts="target timeout, legacy cancelled",
    requests="proxy 499",
    fallbacks="timeout failed",
)
async def _(world):
    client = await ask(world)
    await world.pass_time(5.1)
    client.transport.reset()
    await world.settle()


@row(
    "The client leaves after commit",
    decisions="target percentage",
    attempts="target cancelled",
    requests="target 499",
)
async def _(world):
    client = await ask(world)
    await world.target.say(ENDLESS)
    client.transport.reset()
    await world.settle()


@row(
    "The client does not take its answer and is cut off after `limits.body_timeout`",
    LEGACY_ONLY,
    decisions="legacy percentage",
    attempts="legacy cancelled",
    requests="legacy 499",
    others="client_errors: slow_reader",
)
async def _(world):
    client = world.client(taking=0)
    await client.request(GET)
    await world.legacy.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 2 * HIGH_WATER)
    await world.pass_time(31)
    await world.settle()


@row(
    "The target breaks off after commit",
    {"fallback": {"response_buffer": 2}},
    decisions="target percentage",
    attempts="target reset",
    requests="target 200",
    others="truncated: target",
)
async def _(world):
    await ask(world)
    await world.target.say(HALF)
    await world.target.reset()


@row(
    "Legacy stalls after commit for `limits.body_timeout`",
    LEGACY_ONLY,
    decisions="legacy percentage",
    attempts="legacy timeout",
    requests="legacy 200",
    others="truncated: legacy",
)
async def _(world):
    await ask(world)
    await world.legacy.say(HALF)
    await world.pass_time(31)


# breaker


async def trip(world):
    await ask(world)
    await world.target.reset()
    await world.legacy.answer()


async def trip_and_wait(world):
    await trip(world)
    await world.pass_time(5.1)


@row(
    "The breaker rejects: legacy answers, which is no fallback",
    BREAKER,
    before=trip,
    decisions="legacy breaker_open",
    attempts="legacy ok",
    requests="legacy 200",
)
async def _(world):
    await ask(world)
    await world.legacy.answer()


@row(
    "The breaker probes: a copy of the read goes to the target and succeeds, legacy answers",
    BREAKER,
    before=trip_and_wait,
    probes=1,
    decisions="legacy breaker_open",
    attempts="legacy ok, target ok",
    requests="legacy 200",
)
async def _(world):
    await ask(world)
    await world.legacy.answer()
    await world.target.answer()


@row(
    "A probe fails",
    BREAKER,
    before=trip_and_wait,
    probes=1,
    decisions="legacy breaker_open",
    attempts="legacy ok, target status_503",
    requests="legacy 200",
)
async def _(world):
    await ask(world)
    await world.legacy.answer()
    await world.target.answer(b"no", "503 Busy")


# refusals


@row("A malformed request is refused", requests="proxy 400", others="client_errors: malformed")
async def _(world):
    await world.client().send(b"GET /images/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")


@row("A method that is not served", requests="proxy 405", others="client_errors: method")
async def _(world):
    await world.client().send(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")


@row("Too long a target", {"limits": {"uri_bytes": 100}}, requests="proxy 414", others="client_errors: uri_too_long")
async def _(world):
    await ask(world, "GET /images/" + "a" * 100)


@row("Too many or too large header fields", requests="proxy 431", others="client_errors: headers_too_large")
async def _(world):
    await ask(world, GET, *(f"X-{n}: a" for n in range(101)))


@row("Another version than 1.0 and 1.1", requests="proxy 505", others="client_errors: version")
async def _(world):
    await world.client().send(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n")


@row("A transfer coding other than chunked", requests="proxy 501", others="client_errors: transfer_coding")
async def _(world):
    await ask(world, "POST /images", "Transfer-Encoding: gzip")


@row("A head that does not end in time", requests="proxy 408", others="client_errors: header_timeout")
async def _(world):
    await world.client().send(b"GET / HTTP/1.1\r\n")
    await world.pass_time(10.1)


@row(
    "A body that is announced as too large", {"limits": {"body_bytes": 2}}, requests="proxy 413",
    others="client_errors: too_large",
)  # fmt: skip
async def _(world):
    await ask(world, *UPLOAD)


@row(
    "A body that turns out to be too large",
    {"limits": {"body_bytes": 2}},
    decisions="target percentage",
    attempts="target cancelled",
    requests="proxy 413",
    others="client_errors: too_large",
)
async def _(world):
    client = await ask(world, "POST /images", "Transfer-Encoding: chunked")
    await client.send(b"3\r\nabc\r\n")


@row(
    "A body of which nothing comes for `limits.body_timeout`",
    decisions="target percentage",
    attempts="target cancelled",
    requests="proxy 408",
    others="client_errors: body_timeout",
)
async def _(world):
    await ask(world, *UPLOAD, body=b"a")
    await world.pass_time(31)


@row(
    "More connections than `limits.connections`",
    {"limits": {"connections": 1}},
    before=lambda world: world.client().send(b""),
    requests="proxy 503",
    others="client_errors: connection_limit",
)
async def _(world):
    world.client()
    await world.settle()


@row(
    "Forwarding headers of somebody who is not trusted are discarded",
    decisions="target percentage",
    attempts="target ok",
    requests="target 200",
    others="client_errors: forwarded_untrusted",
)
async def _(world):
    await ask(world, GET, "X-Forwarded-For: 192.0.2.7")
    await world.target.answer()


# connections


@row(
    "An upgrade, counted when the tunnel ends",
    decisions="target percentage",
    attempts="target ok",
    requests="target 101",
)
async def _(world):
    client = await ask(world, GET, *UPGRADE)
    await world.target.say(SWITCH)
    assert world.answered == {}
    client.transport.feed_eof()
    await world.settle()


async def use_once(world):
    await ask(world)
    await world.target.answer()


@row(
    "A pooled connection turns out to be closed and is replaced",
    before=use_once,
    decisions="target percentage",
    attempts="target ok",
    requests="target 200",
)
async def _(world):
    await ask(world)
    await world.target.reset()
    assert world.target.opened == 2
    await world.target.answer()


# CDN


@row(
    "The answer that the client gets says `X-Cache: Hit from cloudfront`",
    decisions="target percentage",
    attempts="target ok",
    requests="target 200",
    others="cache: target hit",
)
async def _(world):
    await ask(world)
    await world.target.answer(b"ok", "200 OK", "X-Cache: Hit from cloudfront")


@row(
    "The target's answer says so and is not used",
    decisions="target percentage",
    attempts="target status_404, legacy ok",
    requests="legacy 200",
    fallbacks="status_404 served",
)
async def _(world):
    await ask(world)
    await world.target.answer(b"no", "404 Not Found", "X-Cache: Hit from cloudfront")
    await world.legacy.answer()


COUNTERS = ("decisions", "fallbacks", "hedges", "truncated", "cache", "client_errors", "reloads")
NO_OPERATION = {"decisions": 1, "attempts": 1, "requests": 1, "fallbacks": 0, "hedges": 0, "truncated": 1, "cache": 1}


def counted(world: World) -> dict[tuple[str, ...], int]:
    """Every counter that is not 0, the operation left out."""
    state = world.metrics.state
    found: dict[tuple[str, ...], int] = {("log_lines_dropped",): state.log_lines_dropped}
    families = {name: getattr(state, name) for name in COUNTERS}
    families["attempts"] = {labels: count_of(cell) for labels, cell in state.attempts.items()}
    families["requests"] = {labels: count_of(cell) for labels, cell in state.requests.items()}
    for name, family in families.items():
        for labels, count in family.items():
            told = [SOURCES.get(str(label), str(label)) for label in labels]
            if name in NO_OPERATION:
                del told[NO_OPERATION[name]]
            key = (name, *told)
            found[key] = found.get(key, 0) + count
    return {key: count for key, count in found.items() if count}


def expected(row: Row) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    for column, told in row.counts.items():
        for one in told.split(", "):
            name, _, rest = one.partition(": ") if column == "others" else (column, "", one)
            key = (name, *rest.split(" "))
            found[key] = found.get(key, 0) + 1
    return found


def written() -> str:
    """The table as the document has it."""
    lines = ["| event | " + " | ".join(COLUMNS.values()) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for one in ROWS:
        cells = [one.event, *(one.counts.get(column, "") for column in COLUMNS)]
        lines.append("".join(f"| {cell} " if cell else "| " for cell in cells) + "|")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.event)
async def test_an_event_counts_what_the_table_says_and_nothing_else(row: Row):
    async with running(**row.settings) as world:
        world.probes = row.probes
        if row.before is not None:
            await row.before(world)
        before = counted(world)
        await row.scene(world)
        after = counted(world)
        difference = {key: after.get(key, 0) - before.get(key, 0) for key in after | before}
        assert {key: count for key, count in difference.items() if count} == expected(row)
