"""Observes a fleet through Prometheus' HTTP API: each sidecar's counters as it last scraped them, and PromQL.

The counters are asked for as they are, one series per sidecar, and not as `increase(…)`, which extrapolates: a gate
counts requests exactly. A sidecar that Prometheus finds down (`up` is 0) is a gap; one that it does not look for any
more was taken away, and what it counted stays counted. Neighbours: `reading`, `observers`.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from proxy.rollout.http import Endpoint, Refusal, Unreachable
from proxy.rollout.place import Observation
from proxy.rollout.plan import CheckKind, Plan
from proxy.rollout.reading import NAMES, NotReadable, Reading, Sample, read_samples

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_PLACE: Final = "prometheus"


class PrometheusObserver:
    """Asks one Prometheus."""

    def __init__(self, plan: Plan, timeout_s: float) -> None:
        self._endpoint = Endpoint(plan.observe.prometheus, timeout_s=timeout_s)
        selector = f"{{{plan.observe.selector}}}" if plan.observe.selector else ""
        matcher = f'__name__=~"{"|".join(sorted(NAMES))}"'
        self._series = f"{{{matcher}{', ' + plan.observe.selector if plan.observe.selector else ''}}}"
        self._down = f"up{selector} == 0"
        self._expressions = {
            check.name: check.promql for check in plan.checks if check.kind is CheckKind.PROMQL and check.promql
        }
        self._known: set[str] = set()

    def __repr__(self) -> str:
        return f"<PrometheusObserver {self._endpoint.name} knows {len(self._known)} sidecars>"

    async def observe(self) -> Observation:
        """See Observer."""
        (readings, gaps), answers = await asyncio.gather(
            self._sidecars(), asyncio.gather(*(self._value(expression) for expression in self._expressions.values()))
        )
        named = dict(zip(self._expressions, answers, strict=True))
        return Observation(
            readings=readings,
            gaps=gaps,
            values={name: answer for name, answer in named.items() if isinstance(answer, float)},
            missing={name: answer for name, answer in named.items() if isinstance(answer, str)},
        )

    async def close(self) -> None:
        """See Observer."""
        await self._endpoint.close()

    async def _sidecars(self) -> tuple[dict[str, Reading], dict[str, str]]:
        try:
            series, down = await asyncio.gather(self._query(self._series), self._query(self._down))
            by_instance: dict[str, list[Sample]] = {}
            for instance, sample in _samples(series):
                by_instance.setdefault(instance, []).append(sample)
            readings, gaps = _read_all(by_instance)
            missed = {instance for instance, _ in _samples(down)}
        except (Unreachable, Refusal, NotReadable) as error:
            return {}, {_PLACE: str(error)}
        self._known |= readings.keys()
        for instance in missed & (self._known - readings.keys()):
            gaps[instance] = "Prometheus can't scrape it"
        if not readings and not gaps:
            gaps[_PLACE] = "it knows no sidecar"
        return readings, gaps

    async def _value(self, expression: str) -> float | str:
        """The one number of an expression, or why there is none."""
        try:
            result = await self._query(expression)
            if len(result) != 1:
                return f"PromQL gives {len(result)} values, not one"
            return _number(result[0])
        except (Unreachable, Refusal, NotReadable) as error:
            return f"Prometheus: {error}"

    async def _query(self, expression: str) -> Sequence[Mapping[str, Any]]:
        body = urlencode({"query": expression}).encode()
        answer = await self._endpoint.ask_json("POST", "/api/v1/query", body=body, headers=_FORM)
        data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
        result = data.get("result") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(result, list):
            raise Unreachable("what it answers is no result of a query")
        if data.get("resultType") == "scalar":
            return [{"metric": {}, "value": result}]
        if data.get("resultType") != "vector" or not all(isinstance(one, dict) for one in result):
            raise Unreachable(f"it gives no numbers but a {data.get('resultType')}")
        return result


def _read_all(by_instance: Mapping[str, list[Sample]]) -> tuple[dict[str, Reading], dict[str, str]]:
    readings, gaps = {}, {}
    for instance, samples in by_instance.items():
        try:
            readings[instance] = read_samples(samples)
        except NotReadable as error:
            gaps[instance] = str(error)
    return readings, gaps


def _samples(result: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Sample]]:
    for series in result:
        labels = series.get("metric")
        if not isinstance(labels, dict):
            raise NotReadable("a series has no labels")
        instance = "/".join(str(labels[name]) for name in ("job", "instance") if name in labels)
        yield instance, Sample(str(labels.get("__name__", "")), labels, _number(series))


def _number(series: Mapping[str, Any]) -> float:
    try:
        return float(series["value"][1])
    except (KeyError, IndexError, TypeError, ValueError):
        raise NotReadable("a series has no value") from None
