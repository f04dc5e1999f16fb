"""docs/metrics.md says what is: every metric and its labels, what each event counts, the CDN's words."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.engine import label_space
from proxy.telemetry import exposition
from proxy.telemetry.histogram import BOUNDS
from proxy.telemetry.upstream_cache import HIT_WORDS, MISS_WORDS, NEITHER_WORDS
from tests.net.harness import running
from tests.telemetry.test_semantics import written

TEXT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


async def test_every_metric_is_documented_and_exposed_with_exactly_these_labels():
    documented = {}
    for line in TEXT.splitlines():
        match = re.match(r"\| `(cutover_\w+)` \| (counter|gauge|histogram) \| ([\w, ]*) ?\|", line)
        if match:
            documented[match[1]] = (match[2], {*re.findall(r"\w+", match[3])})
    families = [family for family in vars(exposition).values() if isinstance(family, exposition.Family)]
    assert {family.name: set(family.labels) for family in families} == {
        name: labels for name, (_, labels) in documented.items()
    }
    async with running() as world:
        world.metrics.apply(label_space(world.plane.snapshot))
        text = world.metrics.expose("")[0].decode()
    found = {family.name: family for family in parse_text(text) if family.name.startswith("cutover_")}
    assert set(found) == {name.removesuffix("_total") for name in documented}
    for name, (kind, labels) in documented.items():
        family = found[name.removesuffix("_total")]
        assert family.type == kind, name
        assert family.samples, name
        for sample in family.samples:
            assert {*sample.labels} - {"le"} == labels, sample


def test_the_processes_own_metrics_are_documented():
    class Nothing(exposition.ProcessTree):
        """Of this process alone."""

    exposed = {family.name for family in Nothing(tuple).collect()}
    assert {name.removesuffix("_total") for name in re.findall(r"`(process_\w+)`", TEXT)} == exposed


def test_the_table_of_events_is_the_one_that_is_tested():
    _, opening, rest = TEXT.partition("<!-- events: tests/telemetry/test_semantics.py -->\n")
    table, closing, _ = rest.partition("<!-- end of events -->\n")
    assert opening
    assert closing
    assert table == written(), f"the table should read:\n{written()}"


def test_the_words_of_cdns_are_those_that_count():
    _, _, section = TEXT.partition("| words | result |")
    told = [set(re.findall(r"`([^`]+)`", line.split("|")[1])) for line in section.splitlines()[2:5]]
    assert told == [set(HIT_WORDS), set(MISS_WORDS), set(NEITHER_WORDS)]


def test_the_bounds_are_those_of_the_histograms():
    (told,) = re.findall(r"The bounds are ([\d., ]+) ms,\s+([\d, ]+) and (\d+) s, inclusive", TEXT)
    milliseconds, seconds, last = told
    found = [float(one) / 1000 for one in milliseconds.split(", ")] + [float(one) for one in seconds.split(", ")]
    assert [*found, float(last)] == pytest.approx(list(BOUNDS))
