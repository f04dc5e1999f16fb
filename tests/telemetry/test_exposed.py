"""What a scrape of a working data plane holds: bounded series, and exemplars."""

import pickle
import re
import string

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.engine import label_space
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.histogram import BOUNDS, latest
from proxy.telemetry.labels import LabelSpace
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.state import MetricsState
from proxy.telemetry.tracing import trace_id_of
from tests.net.harness import running

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
DURATIONS = ("cutover_request_duration_seconds", "cutover_attempt_duration_seconds")


def ready(world):
    """The world's metrics, with every label set that its configuration allows, as a worker makes them."""
    world.metrics.apply(label_space(world.plane.snapshot))
    return world.metrics


def series(metrics):
    text = metrics.expose("")[0].decode()
    return {
        (sample.name, *sorted(sample.labels.items()))
        for family in parse_text(text)
        for sample in family.samples
        if sample.name.startswith("cutover_")
    }


HOSTILE = [
    "x" * 3000,
    "%00%0a%22",
    '"}\n',
    "☃",
    "../../etc/passwd",
    "${env:HOME}",
    "<script>alert(1)</script>",
    "cutover_requests_total{source=",
]
METHODS = ["GET", "HEAD", "OPTIONS", "PROPFIND", "X" * 32, "get", "M-SEARCH", "DELETE", "GeT", "TRACE", "CONNECT"]


def hostile_requests():
    """Requests that differ in everything a client can choose."""
    safe = set(string.ascii_letters + string.digits + "/%._-~")
    for number, text in enumerate(HOSTILE * 4):
        path = "".join(c if c in safe else f"%{ord(c) % 256:02x}" for c in text)
        value = "".join(c if c.isprintable() and ord(c) < 256 else "?" for c in text)
        fields = [f"X-User-Id: {value}{number}", f"User-Agent: {value}", f"X-{number}: {value}"]
        fields += [f"Cookie: user_id={number}; s={value[:50]}", f"X-Request-Id: {value[:200]}{number}"]
        fields += [f"traceparent: {value[:60]}", f"X-Cutover-Force: target;{value[:50]}", f"Via: 1.1 {value[:50]}"]
        fields += [f"X-Forwarded-For: {value[:50]}", f"Accept: {value[:50]}"]
        for method in METHODS:
            yield method, f"/images/{path}{number}", fields
            yield method, f"/{number}{path}", fields
        yield "GET", f"/images?userId={path}{number}", fields


async def test_no_client_can_make_a_series():
    async with running(fallback={"statuses": [404, "5xx"]}) as world:
        metrics = ready(world)
        before = series(metrics)
        sent = 0
        for method, target, fields in hostile_requests():
            client = world.client()
            head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: gallery.test", *fields, "", ""])
            await client.send(head.encode("latin-1"))
            for upstream in (world.target, world.legacy):
                if upstream.transports and b"\r\n\r\n" in upstream.last.sent:
                    upstream.last.sent.clear()
                    await upstream.answer(b"", "200 OK", f"X-Cache: {sent}", f"X-{sent}: {sent}", f"Age: x{sent}")
            client.transport.reset()
            await world.settle()
            sent += 1
        assert sent > 700
        assert sum(world.answered.values()) == sent
        known = {(source, code) for source, _, code in world.answered}
        assert known <= {("image_service", 200), ("postgresql", 200), ("proxy", 400), ("proxy", 405), ("proxy", 499)}
        assert series(metrics) == before


async def test_a_source_adds_a_series_for_each_code_at_most():
    async with running(fallback={"statuses": ["5xx"]}) as world:
        metrics = ready(world)
        before = series(metrics)
        client = world.client()
        for code in range(210, 230):
            await client.request("GET /images/1")
            await world.target.answer(b"", f"{code} {code}")
        added = series(metrics) - before
        assert {name for name, *_ in added} == {"cutover_requests_total"}
        assert len(added) == 20


# exemplars


def exemplars(metrics):
    """(family, source, operation, bound) -> exemplar, from OpenMetrics as a parser reads it."""
    body, content_type = metrics.expose(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    return {
        (family.name, sample.labels["source"], sample.labels["operation"], sample.labels["le"]): sample.exemplar
        for family in parse_openmetrics(body.decode())
        for sample in family.samples
        if sample.exemplar is not None
    }


async def test_each_bucket_has_the_last_request_that_fell_into_it():
    async with running() as world:
        client = world.client()
        for number, seconds in enumerate((0.004, 0.19, 0.0045)):
            await client.request("GET /images/1", f"traceparent: 00-{number + 1:032x}-b7ad6b7169203331-01")
            await world.pass_time(seconds)
            await world.target.answer()
        found = exemplars(world.metrics)
        for name in DURATIONS:
            fast, slow = found[name, "image_service", "get", "0.005"], found[name, "image_service", "get", "0.2"]
            assert fast.labels == {"trace_id": f"{3:032x}"}
            assert fast.value == pytest.approx(0.0045)
            assert slow.labels == {"trace_id": f"{2:032x}"}
            assert float(fast.timestamp) - float(slow.timestamp) == pytest.approx(0.0045, abs=0.002)
        assert len(found) == 4
        traces = {line["trace_id"] for line in world.access}
        assert {one.labels["trace_id"] for one in found.values()} <= traces
        for (_, _, _, bound), one in found.items():
            assert one.value <= float(bound)


async def test_the_plain_text_format_has_none():
    async with running() as world:
        await world.client().request("GET /images/1", f"traceparent: {PARENT}")
        await world.target.answer()
        text = world.metrics.expose("")[0].decode()
        assert TRACE not in text
        assert list(parse_text(text))
        assert TRACE in world.metrics.expose(OPENMETRICS)[0].decode()


async def test_a_fallback_shows_its_trace_at_both_sources_and_a_cancelled_attempt_shows_none():
    async with running() as world:
        client = world.client()
        await client.request("GET /images/1", f"traceparent: {PARENT}")
        await world.target.answer(b"no", "503 Busy")
        await world.legacy.answer()
        await client.request("GET /images?x=1", f"traceparent: {PARENT}")
        client.transport.reset()
        await world.settle()
        shown = {(name, source, operation) for name, source, operation, _ in exemplars(world.metrics)}
        assert shown == {
            ("cutover_attempt_duration_seconds", "image_service", "get"),
            ("cutover_attempt_duration_seconds", "postgresql", "get"),
            ("cutover_request_duration_seconds", "postgresql", "get"),
            ("cutover_request_duration_seconds", "proxy", "list"),
        }


@pytest.mark.parametrize("claimed", ["nonsense", f"ff{PARENT[2:]}", PARENT.upper(), PARENT + '" evil="', "0" * 55])
async def test_a_trace_id_is_always_32_hex_digits(claimed):
    async with running() as world:
        await world.client().request("GET /images/1", f"traceparent: {claimed}")
        await world.target.answer()
        for one in exemplars(world.metrics).values():
            assert re.fullmatch("[0-9a-f]{32}", one.labels["trace_id"])
            assert one.labels["trace_id"] != TRACE


def worker(parent, seconds, at):
    metrics = Metrics()
    metrics.answered("postgresql", "get", 200, seconds, parent, at)
    metrics.attempted("postgresql", "get", "ok", seconds, parent, at)
    return pickle.loads(pickle.dumps(metrics.snapshot()))


def shown(state):
    body, _ = Exposition(lambda: state, "1", "3").render(OPENMETRICS)
    found = [sample.exemplar for family in parse_openmetrics(body.decode()) for sample in family.samples]
    return [one.labels["trace_id"] for one in found if one is not None]


def test_of_several_workers_the_latest_request_is_shown():
    early, late = (f"00-{digit * 32}-{'b' * 16}-01".encode() for digit in "12")
    total = MetricsState()
    for state in (worker(early, 0.2, 5.0), worker(late, 0.16, 7.0), worker(early, 0.2, 6.0)):
        total.merge(state)
    assert shown(total) == ["2" * 32, "2" * 32]
    assert total.request_traces["postgresql", "get", 200][10] == (late, 0.16, 7.0)


def test_of_an_ended_worker_the_counts_are_kept_and_no_example():
    total = MetricsState()
    total.merge_counters(worker(PARENT.encode(), 0.2, 5.0))
    assert shown(total) == []
    assert total.requests["postgresql", "get", 200][10] == 1


def test_a_snapshot_keeps_its_examples():
    metrics = Metrics()
    metrics.attempted("postgresql", "get", "ok", 0.2, PARENT.encode(), 1.0)
    copy = metrics.snapshot()
    metrics.attempted("postgresql", "get", "ok", 0.2, b"00-" + b"1" * 52, 2.0)
    assert shown(copy) == [TRACE]


def test_what_a_new_snapshot_creates_is_the_cell_that_is_counted_in():
    metrics = Metrics()
    metrics.answered("postgresql", "get", 200, 0.2)
    metrics.apply(LabelSpace("postgresql", "image_service", ("get",)))
    metrics.answered("postgresql", "get", 200, 0.2)
    assert sum(metrics.state.requests["postgresql", "get", 200][: len(BOUNDS)]) == 2
    metrics.answered("postgresql", "get", 503, 0.2)  # created by the snapshot, first counted now
    assert sum(metrics.state.requests["postgresql", "get", 503][: len(BOUNDS)]) == 1


def test_the_latest_of_two_is_kept_bucket_by_bucket():
    first, second = (b"a", 0.1, 1.0), (b"b", 0.1, 2.0)
    assert latest([first, None, second, first], [second, first, first, None]) == [second, first, second, first]
    assert trace_id_of(PARENT.encode()).decode() == TRACE
