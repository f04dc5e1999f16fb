"""Observers against servers that answer well, slowly, with garbage, or not at all: what can't be had is named."""

import asyncio
import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiobotocore.session import get_session
from aiohttp import web
from moto.server import ThreadedMotoServer

from proxy.rollout.cloudwatch import CloudWatchObserver
from proxy.rollout.observers import open_observers
from proxy.rollout.prometheus import PrometheusObserver
from proxy.rollout.scrape import SidecarObserver
from proxy.settings.addresses import parse_upstream
from proxy.telemetry.labels import LabelSpace
from proxy.telemetry.metrics import Metrics
from tests.rollout.servers import raw_server, serving
from tests.rollout.world import make_plan


def scrape_text(percentage: int = 10) -> bytes:
    metrics = Metrics("1", "3.11")
    space = LabelSpace("postgresql", "image_service", ("get",), revision="abc", percentage=percentage, enabled=True)
    metrics.apply(space)
    metrics.attempted("image_service", "get", "ok", 0.01)
    return metrics.expose()[0]


async def scrape(request: web.Request) -> web.Response:
    assert request.path == "/metrics"
    return web.Response(body=scrape_text(), content_type="text/plain")


async def test_sidecars_are_scraped_and_one_that_is_gone_is_a_gap() -> None:
    async with serving(scrape) as first, serving(scrape) as second:
        gone = parse_upstream("http://127.0.0.1:1")
        observer = SidecarObserver((first, second, gone), 2.0)
        seen = await observer.observe()
        await observer.close()
    assert set(seen.readings) == {str(first), str(second)}
    assert seen.gaps == {str(gone): "connection refused"} or "connect" in seen.gaps[str(gone)]
    assert seen.gap is not None


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def whole(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    ("data", "hang"),
    [
        (b"", False),
        (b"", True),
        (HEAD, True),
        (b"garbage\r\n\r\n", False),
        (whole(b""), False),
        (whole(b"<html>hello</html>\n"), False),
        (whole(b"\xff\xfe"), False),
        (whole(b"cutover_rollout_percentage{{{\n"), False),
        (whole(scrape_text()[:-700]), False),
        (whole(scrape_text().replace(b"cutover_rollout_percentage 10.0", b"cutover_rollout_percentage NaN")), False),
        (HEAD + b"Content-Length: 100000\r\n\r\n" + scrape_text(), False),
        (b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
async def test_a_sidecar_that_answers_badly_is_a_gap(data: bytes, hang: bool) -> None:
    async with raw_server(data, hang=hang) as url:
        observer = SidecarObserver((url,), 0.2)
        seen = await observer.observe()
        await observer.close()
    assert seen.readings == {}
    assert len(seen.gaps[str(url)]) > 5


# Prometheus


def vector(*series: tuple[dict[str, str], str]) -> dict[str, Any]:
    result = [{"metric": labels, "value": [1.0, value]} for labels, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def instance(name: str, percentage: str = "10") -> list[tuple[dict[str, str], str]]:
    at = {"instance": name, "job": "cutover"}
    attempts = {"__name__": "cutover_attempts_total", "source": "t", "operation": "get", "outcome": "ok"}
    bucket = {"__name__": "cutover_attempt_duration_seconds_bucket", "source": "t", "operation": "get", "le": "1"}
    return [
        ({"__name__": "cutover_rollout_percentage", **at}, percentage),
        ({"__name__": "cutover_rollout_enabled", **at}, "1"),
        ({"__name__": "cutover_config_info", "revision": "abc", **at}, "1"),
        ({**attempts, **at}, "7"),
        ({**bucket, **at}, "7"),
    ]


class Prometheus:
    """Answers queries by what they contain."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        query = str((await request.post())["query"])
        self.asked.append(query)
        key = "series" if "__name__" in query else "down" if query.startswith("up") else query
        answer = self.answers.get(key, vector())
        if isinstance(answer, int):
            return web.json_response({"status": "error", "error": "it hurts"}, status=answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        if answer == "slow":
            await asyncio.sleep(30)
        return web.json_response(answer)


async def observed(prometheus: Prometheus, checks: list[dict[str, Any]] | None = None, times: int = 1) -> Any:
    async with serving(prometheus.answer) as url:
        plan = make_plan(
            observe={"prometheus": str(url), "selector": 'job="cutover"'},
            checks=checks or [{"name": "one", "promql": "expression", "below": 1}],
        )
        observer = PrometheusObserver(plan, 0.3)
        for _ in range(times):
            seen = await observer.observe()
        await observer.close()
        return seen


async def test_prometheus_gives_each_sidecars_counters_and_expressions() -> None:
    prometheus = Prometheus(series=vector(*instance("a"), *instance("b")), expression=vector(({}, "0.5")))
    seen = await observed(prometheus)
    assert set(seen.readings) == {"cutover/a", "cutover/b"}
    assert seen.readings["cutover/a"].counters["cutover_attempts_total", "t", "get", "ok"] == 7
    assert seen.readings["cutover/a"].counters["cutover_attempt_duration_seconds_bucket", "t", "get", "1.0"] == 7
    assert (seen.gap, seen.values, seen.missing) == (None, {"one": 0.5}, {})
    assert all('job="cutover"' in query for query in prometheus.asked if query != "expression")


async def test_a_scalar_is_a_value_too() -> None:
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}}
    assert (await observed(Prometheus(expression=scalar))).values == {"one": 3.0}


async def test_a_sidecar_that_prometheus_cannot_scrape_any_more_is_a_gap_and_one_taken_away_is_not() -> None:
    class Changing(Prometheus):
        turns = 0

        async def answer(self, request: web.Request) -> web.Response:
            if "__name__" in str((await request.post())["query"]):
                self.turns += 1
                if self.turns == 2:
                    self.answers["series"] = vector(*instance("a"))
                    down = {"__name__": "up", "job": "cutover", "instance": "b"}
                    self.answers["down"] = vector((down, "0"))
            return await super().answer(request)

    both = vector(*instance("a"), *instance("b"), *instance("c"))
    seen = await observed(Changing(series=both, down=vector()), times=3)
    assert set(seen.readings) == {"cutover/a"}
    assert seen.gaps == {"cutover/b": "Prometheus can't scrape it"}


BAD_ANSWERS: list[Any] = [
    500,
    503,
    "slow",
    b"<html>",
    b"",
    b"[]",
    b"{}",
    b'{"status": "success"}',
    {"status": "success", "data": {"resultType": "matrix", "result": []}},
    {"status": "success", "data": {"resultType": "vector", "result": [1, 2]}},
    {"status": "success", "data": {"resultType": "vector", "result": [{"metric": [], "value": []}]}},
]


@pytest.mark.parametrize("answer", BAD_ANSWERS)
async def test_a_prometheus_that_answers_badly_is_a_gap_and_a_missing_value(answer: Any) -> None:
    seen = await observed(Prometheus(series=answer, expression=answer))
    assert seen.readings == {}
    assert seen.gap
    assert "one" in seen.missing
    assert seen.values == {}


async def test_values_that_are_none_or_many_are_missing_and_nan_is_passed_on_to_be_refused() -> None:
    many = vector(({"a": "1"}, "1"), ({"a": "2"}, "1"))
    assert "2 values" in (await observed(Prometheus(expression=many))).missing["one"]
    assert "0 values" in (await observed(Prometheus(expression=vector()))).missing["one"]
    nan = (await observed(Prometheus(expression=vector(({}, "NaN"))))).values["one"]
    assert nan != nan
    assert (await observed(Prometheus(series=vector()))).gap == "prometheus: it knows no sidecar"
    assert "is nan" in (await observed(Prometheus(series=vector(*instance("a", "NaN"))))).gap


async def test_a_prometheus_that_is_down_is_a_gap() -> None:
    plan = make_plan(observe={"prometheus": "http://127.0.0.1:1"})
    observer = PrometheusObserver(plan, 0.3)
    assert (await observer.observe()).gap
    await observer.close()


async def test_what_no_observer_of_the_plan_can_answer_is_said_by_name() -> None:
    checks = [{"name": "p", "promql": "up", "below": 1}, {"name": "c", "cloudwatch": {"expression": "1"}, "below": 1}]
    everything = open_observers(make_plan(checks=checks))
    seen = await everything.observe()
    await everything.close()
    assert seen.missing == {
        "p": "observe.prometheus is not in the plan",
        "c": "observe.cloudwatch is not in the plan",
    }


# CloudWatch

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


def cloudwatch(endpoint: str, *checks: dict[str, Any], timeout_s: float = 5.0) -> CloudWatchObserver:
    observe = {"sidecars": ["http://a:1"], "cloudwatch": {"region": "eu-west-1", "endpoint": endpoint}}
    nothing: list[dict[str, Any]] = [{"name": "m", "manual": True, "below": 1}]
    named = [{"name": f"c{number}", "below": 1, "cloudwatch": metric} for number, metric in enumerate(checks)]
    return CloudWatchObserver(make_plan(observe=observe, checks=named or nothing), timeout_s, NOW.timestamp)


async def put(endpoint: str, *points: tuple[str, float, int]) -> None:
    async with get_session().create_client("cloudwatch", region_name="eu-west-1", endpoint_url=endpoint) as client:
        for metric, value, minutes_ago in points:
            await client.put_metric_data(
                Namespace="AWS/Lambda",
                MetricData=[
                    {
                        "MetricName": metric,
                        "Value": value,
                        "Timestamp": NOW - datetime.timedelta(minutes=minutes_ago),
                        "Dimensions": [{"Name": "FunctionName", "Value": "images"}],
                    }
                ],
            )


async def test_cloudwatch_metrics_are_put_together_over_their_span(moto: str) -> None:
    await put(moto, ("Errors", 2, 3), ("Errors", 1, 20), ("Errors", 50, 90))
    errors = {"namespace": "AWS/Lambda", "metric": "Errors", "dimensions": {"FunctionName": "images"}}
    missing = {**errors, "metric": "Throttles"}
    observer = cloudwatch(
        moto,
        {**errors, "over": "1h"},
        {**errors, "over": "5m"},
        {**errors, "over": "2h", "statistic": "Maximum"},
        missing,
        {**missing, "empty_is_zero": True},
    )
    seen = await observer.observe()
    assert seen.values == {"c0": 3.0, "c1": 2.0, "c2": 50.0, "c4": 0.0}
    assert seen.missing == {"c3": "CloudWatch has no datapoint"}
    assert seen.gap is not None, "it has no word on sidecars"


async def test_without_metrics_nobody_is_asked() -> None:
    assert (await cloudwatch("http://127.0.0.1:1").observe()).missing == {}


async def test_a_cloudwatch_that_answers_badly_is_missing() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403, body=b"{}")

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        raise AssertionError

    async def garbage(_: web.Request) -> web.Response:
        return web.Response(body=json.dumps([1]).encode())

    errors = {"namespace": "AWS/Lambda", "metric": "Errors"}
    for answer in (refuse, hang, garbage):
        async with serving(answer) as url:
            seen = await cloudwatch(str(url), errors, timeout_s=0.5).observe()
            assert seen.missing["c0"].startswith("CloudWatch: "), answer
            assert seen.values == {}
    seen = await cloudwatch("http://127.0.0.1:1", errors, timeout_s=2.0).observe()
    assert seen.missing["c0"].startswith("CloudWatch: ")
