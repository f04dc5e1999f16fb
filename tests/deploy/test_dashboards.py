"""The dashboards under deploy/grafana: as the Python says, laid out well, and every query with an answer."""

import http.client
import json
import re
import shutil
import time
from collections.abc import Iterator
from itertools import combinations

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.build import DASHBOARDS, DIRECTORY, render
from proxy.clocks import wall_clock
from proxy.telemetry import exposition
from tests.deploy.monitored import RATE_WINDOW, Prometheus, cloudwatch_names, monitored
from tests.e2e.sidecar import eventually

PROVISIONING = DIRECTORY.parent / "provisioning"
NAMES = {"$job": "cutover", "$legacy": "postgresql", "$target": "image_service"}
DEADLINE_S = 40.0
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not there (Debian: apt-get install prometheus)"
)


def committed(name: str) -> dict:
    return json.loads((DIRECTORY / name).read_text())


def panels(name: str) -> list[dict]:
    return [panel for panel in committed(name)["panels"] if panel["type"] != "row"]


def filled_in(expression: str) -> str:
    """An expression with its variables' values; a minute of CloudWatch is a second here."""
    for variable, value in NAMES.items():
        expression = expression.replace(variable, value)
    return expression.replace("$__rate_interval", RATE_WINDOW).replace(":1m]", ":1s]")


QUERIES = [
    (f"{name}: {panel['title']} {target['refId']}", filled_in(target["expr"]))
    for name in DASHBOARDS
    for panel in panels(name)
    for target in panel["targets"]
]
ANNOTATIONS = [
    (f"{name}: annotation {one['name']}", filled_in(one["expr"]))
    for name in DASHBOARDS
    for one in committed(name).get("annotations", {}).get("list", [])
]
VARIABLES = [
    (f"{name}: variable {one['name']}", filled_in(one["query"]["query"]))
    for name in DASHBOARDS
    for one in committed(name)["templating"]["list"]
    if one["type"] == "query"
]


def test_every_committed_dashboard_is_built_and_every_built_one_committed():
    assert {path.name for path in DIRECTORY.glob("*.json")} == set(DASHBOARDS)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_up_to_date(name: str):
    assert (DIRECTORY / name).read_text() == render(name), "run: python -m deploy.grafana.build"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_survives_the_way_through_grafanas_types(name: str):
    document = committed(name)
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(document)))
    assert again == document


@pytest.mark.parametrize(("where", "expression"), QUERIES + ANNOTATIONS, ids=lambda value: value[:70])
def test_an_expression_is_valid_and_about_what_exists(where: str, expression: str):
    assert "$" not in expression
    promql_parser.parse(expression)
    families = {family.name for family in vars(exposition).values() if isinstance(family, exposition.Family)}
    durations = (exposition.REQUEST_DURATION.name, exposition.ATTEMPT_DURATION.name)
    known = families | {f"{name}{end}" for name in durations for end in ("_bucket", "_sum", "_count")}
    assert set(re.findall(r"\bcutover_\w+", expression)) <= known
    assert set(re.findall(r"\baws_\w+", expression)) <= cloudwatch_names()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_lie_on_the_grid_without_overlap(name: str):
    document = committed(name)
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    places = []
    for panel in document["panels"]:
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        assert x >= 0, panel["title"]
        assert x + w <= 24, panel["title"]
        if panel["type"] == "row":
            assert (w, h) == (24, 1)
        else:
            assert w >= 4, panel["title"]
            assert 4 <= h <= 9, panel["title"]
        places.append((x, y, x + w, y + h))
    for a, b in combinations(places, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], f"{a} and {b}"
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in places)
    assert area == 24 * max(bottom for *_, bottom in places), "no holes"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_moved_to_another_data_source_and_other_names(name: str):
    text = (DIRECTORY / name).read_text()
    assert not re.search("postgresql|image_service", text)
    document = committed(name)
    variables = {one["name"]: one for one in document["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    if "$job" in text:
        assert {"job", "legacy", "target"} <= set(variables)
    for panel in panels(name):
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert document["uid"].startswith("cutover-")


def test_panels_of_latency_lead_to_traces():
    graphs = [panel for panel in panels("comparison.json") if panel["title"].endswith(": latency")]
    assert len(graphs) == 5
    assert all(sum(target.get("exemplar", False) for target in panel["targets"]) == 2 for panel in graphs)


def test_provisioning_leads_to_the_dashboards_and_their_data_source():
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "cutover.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] == "/etc/grafana/dashboards/cutover"
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["exemplarTraceIdDestinations"][0]["name"] == "trace_id"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with monitored(tmp_path_factory.mktemp("monitored")) as (server, sidecar):
        time.sleep(1.5)  # a scrape or two of the percentage before
        change(sidecar.admin, {"percentage": 60})
        yield server


def change(admin: str, document: dict) -> None:
    host, _, port = admin.rpartition(":")
    client = http.client.HTTPConnection(host, int(port), timeout=5)
    client.request("PATCH", "/rollout", json.dumps(document), {"Content-Type": "application/json"})
    assert client.getresponse().status == 200
    client.close()


@needs_prometheus
def test_every_query_of_every_panel_has_data(prometheus: Prometheus):
    end = time.monotonic() + DEADLINE_S
    open_ones = dict(QUERIES + ANNOTATIONS)
    while open_ones and time.monotonic() < end:
        open_ones = {where: query for where, query in open_ones.items() if not prometheus.shows(query)}
        time.sleep(0.5 if open_ones else 0)
    assert open_ones == {}


HAPPENED = {
    "a fallback that was served": 'cutover_fallbacks_total{result="served"}',
    "a fallback that was confirmed": 'cutover_fallbacks_total{result="confirmed"}',
    "a fallback that was suppressed": 'cutover_fallbacks_total{result="suppressed"}',
    "a hedge": "cutover_hedges_total",
    "a breaker that opened": "cutover_breaker_state == 2",
    "users of the open breaker": 'cutover_decisions_total{reason="breaker_open"}',
    "an answer that broke off": "cutover_truncated_responses_total",
    "a refused request": 'cutover_client_errors_total{kind="malformed"}',
    "a hit": 'cutover_upstream_cache_total{result="hit"}',
    "a miss": 'cutover_upstream_cache_total{result="miss"}',
    "an error of legacy": 'cutover_attempts_total{source="postgresql", outcome="status_500"}',
}


@needs_prometheus
@pytest.mark.parametrize("query", HAPPENED.values(), ids=HAPPENED)
def test_the_traffic_had_everything_in_it(prometheus: Prometheus, query: str):
    eventually(lambda: prometheus.shows(f"sum({query}) > 0"))
    assert prometheus.shows(f"sum({query}) > 0")


@needs_prometheus
@pytest.mark.parametrize(("where", "query"), VARIABLES, ids=lambda value: value[:50])
def test_every_variable_has_values(prometheus: Prometheus, where: str, query: str):
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert match is not None
    assert prometheus.ask(f"label/{match[2]}/values", **{"match[]": match[1]})


@needs_prometheus
def test_every_rule_can_be_evaluated_on_real_figures(prometheus: Prometheus):
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 29
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}


@needs_prometheus
def test_exemplars_arrive(prometheus: Prometheus):
    now = wall_clock()
    for name in (exposition.REQUEST_DURATION.name, exposition.ATTEMPT_DURATION.name):
        found = prometheus.ask("query_exemplars", query=f"{name}_bucket", start=now - 60, end=now)
        traces = [one["labels"]["trace_id"] for series in found for one in series["exemplars"]]
        assert traces
        assert all(re.fullmatch("[0-9a-f]{32}", trace) for trace in traces)
