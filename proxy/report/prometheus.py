"""Asks Prometheus for what the journal did not count: the day before the first step, and each interval since then.

Counts are each sidecar's counters as they stood at the ends of an interval, one taken from the other: with `increase`,
what falls between the last scrape of one interval and the first of the next would be lost, and an error with it.
Histograms, which only give curves and shares, are `increase`d. An interval without samples is no measurement. What
comes back takes the way of the journal's own records (`rollout.measured`), so that both mean the same. Neighbours:
`cutover report` asks, `scraped` makes measurements of the answers,
`collect` fills in.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from proxy.core.model import Role
from proxy.report.collect import Asked
from proxy.report.figures import Measurement
from proxy.report.findings import Run, Sources
from proxy.report.scraped import SIDECAR_LABELS, Points, measurements_of, spans_between
from proxy.report.wording import minute, span
from proxy.rollout.http import Endpoint, Unreachable
from proxy.rollout.reading import BUCKET, Key, bound_label
from proxy.settings.addresses import UpstreamUrl
from proxy.telemetry.exposition import (
    ATTEMPT_DURATION,
    ATTEMPTS,
    BREAKER_STATE,
    DECISIONS,
    FALLBACKS,
    RELOADS,
    REQUESTS,
    SOURCE_INFO,
    TRUNCATED,
)

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_PATIENCE_S: Final = 60.0
_BEFORE_S: Final = 24 * 3600.0
_AFTERWARDS_S: Final = 24 * 3600.0
_LEAST_STEP_S: Final = 60.0  # four scrapes of 15 s, or an increase has nothing to go by
_INTERVALS: Final = 240
_COUNTERS: Final = {one.name: one.labels for one in (ATTEMPTS, DECISIONS, FALLBACKS, RELOADS, REQUESTS, TRUNCATED)}
_HISTOGRAM: Final = {BUCKET: (*ATTEMPT_DURATION.labels, "le")}


class Questions:
    """The questions of one report, to one Prometheus. `selector` narrows its series, as in `job="cutover"`."""

    def __init__(self, endpoint: Endpoint, selector: str | None) -> None:
        self._endpoint = endpoint
        self._selector = f"{{{selector}}}" if selector else ""

    def __repr__(self) -> str:
        return f"<Questions to {self._endpoint!r}>"

    async def sources(self, at: float, back_s: float) -> Sources | None:
        """How the sources are called. Raises Unreachable or Refusal, as the others do."""
        labels = ", ".join(SOURCE_INFO.labels)
        wide = f"max by ({labels}) (last_over_time({SOURCE_INFO.name}{self._selector}[{_seconds(back_s)}]))"
        found = await self._ask("query", {"query": wide, "time": f"{at:.3f}"}, "vector")
        names = {one["metric"].get("role"): one["metric"].get("source") for one in found}
        legacy, target = names.get(Role.LEGACY.value), names.get(Role.TARGET.value)
        return Sources(legacy, target) if legacy and target else None

    async def day_before(self, at: float) -> Points:
        """What everything grew by in the day before a moment."""
        families = {**_COUNTERS, **_HISTOGRAM}
        asked = [self._increase(name, labels, (at, at, _BEFORE_S)) for name, labels in families.items()]
        return _joined(await asyncio.gather(*asked))

    async def histograms(self, began: float, ended: float, step_s: float) -> Points:
        """What the histograms grew by in the `step_s` seconds before each of the times."""
        asked = [self._increase(name, labels, (began, ended, step_s)) for name, labels in _HISTOGRAM.items()]
        return _joined(await asyncio.gather(*asked))

    async def counters(self, began: float, ended: float, step_s: float) -> Points:
        """Each sidecar's counters at each of the times, the sidecar's labels after the counter's own."""
        asked = [self._counter(name, labels, (began, ended, step_s)) for name, labels in _COUNTERS.items()]
        return _joined(await asyncio.gather(*asked))

    async def breakers(self, began: float, ended: float, step_s: float) -> Points:
        """The worst state of each source's circuit breaker within each interval."""
        worst = f"max_over_time({BREAKER_STATE.name}{self._selector}[{_seconds(step_s)}])"
        return await self._range(BREAKER_STATE.name, f"max by (source) ({worst})", ("source",), (began, ended, step_s))

    async def _increase(self, name: str, labels: tuple[str, ...], times: tuple[float, float, float]) -> Points:
        grown = f"increase({name}{self._selector}[{_seconds(times[2])}])"
        return await self._range(name, f"sum by ({', '.join(labels)}) ({grown})", labels, times)

    async def _counter(self, name: str, labels: tuple[str, ...], times: tuple[float, float, float]) -> Points:
        every = (*labels, *SIDECAR_LABELS)
        return await self._range(name, f"sum by ({', '.join(every)}) ({name}{self._selector})", every, times)

    async def _range(
        self, name: str, query: str, labels: tuple[str, ...], times: tuple[float, float, float]
    ) -> dict[Key, Mapping[float, float]]:
        began, ended, step_s = (f"{time:.3f}" for time in times)
        asked = {"query": query, "start": began, "end": ended, "step": step_s}
        found: dict[Key, Mapping[float, float]] = {}
        for one in await self._ask("query_range", asked, "matrix"):
            values = [str(one["metric"].get(label, "")) for label in labels]
            if labels[-1] == "le":
                values[-1] = bound_label(float(values[-1]))
            points = {float(at): float(value) for at, value in one["values"]}
            found[name, *values] = {at: value for at, value in points.items() if math.isfinite(value)}
        return found

    async def _ask(self, what: str, asked: Mapping[str, str], kind: str) -> Sequence[Mapping[str, Any]]:
        body = urlencode(asked).encode()
        answer = await self._endpoint.ask_json("POST", f"/api/v1/{what}", body=body, headers=_FORM)
        data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
        result = data.get("result") if isinstance(data, dict) else None
        if not isinstance(data, dict) or data.get("resultType") != kind or not isinstance(result, list):
            raise Unreachable("what it answers is no result of a query")
        return result


async def ask_prometheus(
    url: UpstreamUrl, selector: str | None, run: Run, now: float, least_step_s: float = _LEAST_STEP_S
) -> Asked:
    """Ask for everything about a run. Raises Unreachable or Refusal (`rollout.http`)."""
    async with Endpoint(url, timeout_s=_PATIENCE_S) as endpoint:
        questions = Questions(endpoint, selector)
        began = run.stages[0].began if run.stages else run.ended
        ended = max(min(now, run.ended + _AFTERWARDS_S), began)
        try:
            sources = await questions.sources(ended, ended - began + _BEFORE_S)
            if sources is None:
                return Asked(str(url), None, None, "", problem="it knows no sidecar (does --selector fit?)")
            before = await questions.day_before(began)
            measured: list[Measurement] = []
            step_s = max(least_step_s, math.ceil((ended - began) / _INTERVALS))
            if run.stages and ended - began >= step_s:
                times = (began, ended, step_s)
                counters, histograms, states = await asyncio.gather(
                    questions.counters(*times), questions.histograms(*times), questions.breakers(*times)
                )
                measured = measurements_of(run, sources, spans_between(counters, histograms), states)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Unreachable("what it answers is no result of a query") from error
    text = f"the {span(_BEFORE_S)} up to {minute(began)} UTC, as Prometheus has them"
    whole = [(began - _BEFORE_S, began, {key: points[at] for key, points in before.items() for at in points})]
    baseline = measurements_of(run, sources, whole, {}) if before else []
    return Asked(str(url), sources, baseline[0] if baseline else None, text, tuple(measured))


def _joined(parts: Iterable[Points]) -> Points:
    return {key: points for part in parts for key, points in part.items()}


def _seconds(seconds: float) -> str:
    return f"{max(round(seconds), 1)}s"
