"""Prometheus: a real one that holds a past, and made-up ones that answer badly."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.report.collect import Asked, assemble
from proxy.report.conclusions import conclude
from proxy.report.findings import Run
from proxy.report.performance import Result, compare
from proxy.report.prometheus import ask_prometheus
from proxy.report.reading import JournalFacts, read_journal
from proxy.rollout.http import Endpoint, Refusal, Unreachable
from proxy.rollout.journal import Journal, Kind
from proxy.rollout.reading import BUCKET, Key
from proxy.settings.addresses import UpstreamUrl, parse_upstream
from proxy.telemetry.exposition import (
    ATTEMPT_DURATION,
    ATTEMPTS,
    BREAKER_STATE,
    CACHE,
    DECISIONS,
    FALLBACKS,
    RELOADS,
    REQUESTS,
    SOURCE_INFO,
)
from tests.report.scene import BEGAN, GalleryWorld, run_controller
from tests.rollout.servers import serving
from tests.rollout.world import LEGACY, TARGET

EVERY_S = 120.0
LABELS = {one.name: one.labels for one in (ATTEMPTS, CACHE, DECISIONS, FALLBACKS, RELOADS, REQUESTS)} | {
    BUCKET: (*ATTEMPT_DURATION.labels, "le")
}


class Past:
    """What a Prometheus would have scraped of a world, as OpenMetrics with times."""

    def __init__(self) -> None:
        self._series: dict[str, dict[str, list[str]]] = {}

    def scrape(self, world: GalleryWorld) -> None:
        at = f"{world.time.wall():.3f}"
        for place, gallery in enumerate(world.galleries):
            for key, value in gallery.counters.items():
                self._add(key[0], self._labels(key, place), f"{value:g} {at}")
            self._add(
                BREAKER_STATE.name, f'{{source="{TARGET}",job="cutover",instance="{place}"}}', f"{gallery.breaker} {at}"
            )
            for source, role in ((LEGACY, "legacy"), (TARGET, "target")):
                labels = f'{{source="{source}",role="{role}",job="cutover",instance="{place}"}}'
                self._add(SOURCE_INFO.name, labels, f"1 {at}")

    @staticmethod
    def _labels(key: Key, place: int) -> str:
        pairs = [*zip(LABELS[key[0]], key[1:], strict=True), ("job", "cutover"), ("instance", str(place))]
        return "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}"

    def _add(self, name: str, labels: str, sample: str) -> None:
        self._series.setdefault(name, {}).setdefault(labels, []).append(sample)

    def text(self) -> str:
        lines = []
        for name, series in self._series.items():
            lines.append(f"# TYPE {name} unknown")
            lines += [f"{name}{labels} {sample}" for labels, samples in series.items() for sample in samples]
        return "\n".join([*lines, "# EOF", ""])


@dataclass(frozen=True)
class Observed:
    """A Prometheus with the past of a rollout, and the rollout's journal: whole, and without its figures."""

    url: UpstreamUrl
    whole: Path
    bare: Path


async def rollout_and_past(directory: Path) -> tuple[Path, Past]:
    """Two short stages; the breaker opens, a configuration is rejected, and a target fails for a while."""
    stages = [{"percentage": 50, "hold": "1h"}, {"percentage": 100, "hold": "1h"}]
    world = GalleryWorld(directory, EVERY_S, stages=stages, settle="0s", window="20m", rate=20)
    past = Past()
    first, second = world.galleries
    world.warm_up(1)
    world.time.wall_offset -= 3600
    world._served_at = world.time.now
    for _ in range(30):  # an hour before the rollout
        past.scrape(world)
        world.time.now += EVERY_S
        world._serve()
    serve = world.traffic

    def serve_and_scrape() -> None:
        serve()
        past.scrape(world)

    world.traffic = serve_and_scrape

    def none() -> None:
        journal.add(Kind.NOTE, world.time.wall(), {"text": "none", "check": "complaints", "value": 0})

    world.incidents = [
        (0.3, none),
        (0.5, lambda: (first.fail(120, "timeout"), setattr(first, "breaker", 2), None)[2]),
        (0.6, lambda: setattr(first, "breaker", 0)),
        (0.8, lambda: second.add((RELOADS.name, "rejected"), 1)),
        (1.3, none),
        (1.5, lambda: second.fail(7, "reset", "failed")),
    ]
    with Journal(world.path) as journal:
        await run_controller(world, journal)
    for _ in range(3):
        world.time.now += EVERY_S
        serve_and_scrape()
    return world.path, past


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.skip("no prometheus and promtool")
    directory = tmp_path_factory.mktemp("prometheus")
    whole, past = asyncio.run(rollout_and_past(directory))
    (directory / "past.om").write_text(past.text())
    data = directory / "data"
    made = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(directory / "past.om"), str(data)]
    subprocess.run(made, check=True, capture_output=True)
    (directory / "prometheus.yml").write_text("global: {}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (directory / "log").open("w") as log, subprocess.Popen(["prometheus", *flags], stderr=log) as process:
        try:
            asyncio.run(_ready(parse_upstream(f"http://127.0.0.1:{port}")))
            yield Observed(parse_upstream(f"http://127.0.0.1:{port}"), whole, _without_figures(whole, directory))
        finally:
            process.terminate()


async def _ready(url: UpstreamUrl) -> None:
    async with Endpoint(url) as endpoint:
        for _ in range(300):
            try:
                await endpoint.ask("GET", "/-/ready")
            except (Unreachable, Refusal):
                await asyncio.sleep(0.1)
            else:
                return
    raise AssertionError("Prometheus does not get ready")


def _without_figures(whole: Path, directory: Path) -> Path:
    """The journal as an older cutover would have written it."""
    path = directory / "bare.db"
    with Journal(whole, create=False) as journal, Journal(path) as bare:
        for entry in journal.entries():
            if entry.kind is not Kind.MEASURED:
                bare.add(entry.kind, entry.at, entry.data, run=entry.run)
    return path


async def ask(url: UpstreamUrl, facts: JournalFacts, selector: str | None = None) -> Asked:
    run: Run = facts.runs[-1]
    return await ask_prometheus(url, selector, run, run.ended + 360, least_step_s=600)


async def test_a_journal_without_figures_gets_them_from_prometheus(observed: Observed) -> None:
    facts = read_journal(observed.bare)
    alone = assemble(observed.bare, facts, None)
    assert {row.result for row in compare(alone)} == {Result.NOT_MEASURED}
    known = assemble(observed.bare, facts, await ask(observed.url, facts, 'job="cutover"'))
    exact = assemble(observed.whole, read_journal(observed.whole), None)
    assert known.sources == exact.sources
    rows = {row.expected.operation: row.result for row in compare(known)}
    assert rows == {row.expected.operation: row.result for row in compare(exact)}
    assert exact.run.phase == "completed"
    theirs, ours = conclude(known).impact, conclude(exact).impact
    assert theirs.answered is not None
    assert ours.answered is not None
    assert theirs.answered == pytest.approx(ours.answered, rel=0.12), "six minutes more"
    assert theirs.user_errors == ours.user_errors == 7, "not one is lost between two intervals"
    assert theirs.fallbacks == ours.fallbacks
    assert (theirs.unsaved, ours.unsaved) == (7, 7)
    assert [sum(one.breaker_trips or 0 for one in which.measured) for which in (known, exact)] == [1, 1]
    assert [sum(one.rejected_configs or 0 for one in which.measured) for which in (known, exact)] == [1, 1]
    assert known.measured[0].began == BEGAN


async def test_before_is_what_prometheus_remembers_of_legacy(observed: Observed) -> None:
    facts = read_journal(observed.bare)
    known = assemble(observed.bare, facts, await ask(observed.url, facts))
    assert known.baseline is not None
    assert known.baseline.pairs["postgresql", "get"].attempts > 1000
    assert "as Prometheus has them" in known.baseline_text
    get = next(row for row in compare(known) if row.expected.operation == "get")
    assert get.before_s == pytest.approx(0.344, rel=0.1)


async def test_what_the_journal_counted_is_not_counted_again(observed: Observed) -> None:
    facts = read_journal(observed.whole)
    alone = assemble(observed.whole, facts, None)
    both = assemble(observed.whole, facts, await ask(observed.url, facts))
    end = alone.measured[-1].ended
    assert [one for one in both.measured if one.ended <= end] == list(alone.measured)


async def test_a_prometheus_that_knows_no_sidecar_is_no_input(observed: Observed) -> None:
    facts = read_journal(observed.bare)
    asked = await ask(observed.url, facts, 'job="another"')
    known = assemble(observed.bare, facts, asked)
    origin = next(one for one in known.origins if one.name == "Prometheus")
    assert not origin.supplied
    assert "knows no sidecar" in origin.text


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[]",
        '{"status": "error", "error": "boom"}',
        '{"status": "success", "data": {"resultType": "vector", "result": [1]}}',
        '{"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}}',
    ],
)
async def test_an_answer_that_is_none_is_one_clear_failure(completed_journal: Path, body: str) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, content_type="application/json")

    async with serving(answer) as url:
        with pytest.raises(Unreachable):
            await ask(url, read_journal(completed_journal))


async def test_numbers_that_are_none_are_gaps(completed_journal: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        form: Any = await request.post()
        if request.path.endswith("/query"):
            names = [{"metric": {"source": source, "role": role}, "value": [0, "1"]} for role, source in ROLES.items()]
            return web.json_response({"status": "success", "data": {"resultType": "vector", "result": names}})
        series = []
        if REQUESTS.name in form["query"]:
            metric = {"source": TARGET, "operation": "get", "code": "200", "instance": "a"}
            values = zip(range(5), ("5", "7", "NaN", "+Inf", "9"), strict=True)
            series = [{"metric": metric, "values": [[BEGAN + 600 * at, value] for at, value in values]}]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": series}})

    async with serving(answer) as url:
        asked = await ask(url, read_journal(completed_journal))
    spans = [(one.began - BEGAN, one.ended - BEGAN, one.answered) for one in asked.measured]
    assert spans == [(0, 600, 2), (600, 2400, 2)]


ROLES = {"legacy": LEGACY, "target": TARGET}
