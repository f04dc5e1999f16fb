"""Observes CloudWatch metrics by GetMetricData, all of them in one call.

A metric without a datapoint is missing, unless the plan says that it is only published when something happens. Part
of an answer is no answer. Neighbours: `plan.Metric`, `observers`.
"""

import asyncio
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from proxy.clocks import wall_clock
from proxy.rollout.place import Observation
from proxy.rollout.plan import Check, Metric, Plan

_PERIOD_S: Final = 60
_SO_FAR_GOOD: Final = ("Complete", "PartialData")
_COMBINED: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "Sum": sum,
    "SampleCount": sum,
    "Maximum": max,
    "Minimum": min,
    "Average": lambda values: sum(values) / len(values),
}


class CloudWatchObserver:
    """Asks one region. `now` gives seconds since the epoch: CloudWatch knows no other time."""

    def __init__(self, plan: Plan, timeout_s: float, now: Callable[[], float] = wall_clock) -> None:
        assert plan.observe.cloudwatch is not None  # noqa: S101 - `open_observers` asks only then
        self._where = plan.observe.cloudwatch
        self._window_s = plan.window
        self._timeout_s = timeout_s
        self._now = now
        self._checks = [check for check in plan.checks if check.cloudwatch is not None]

    def __repr__(self) -> str:
        return f"<CloudWatchObserver {self._where.region} {len(self._checks)} metrics>"

    async def observe(self) -> Observation:
        """See Observer."""
        if not self._checks:
            return Observation()
        try:
            async with asyncio.timeout(self._timeout_s):
                results = await self._ask()
        except TimeoutError:
            return self._nothing("no answer in time")
        except ClientError as error:
            return self._nothing(str(error.response.get("Error", {}).get("Code", "refused")))
        except Exception as error:  # noqa: BLE001 - the boundary: botocore's parser raises whatever it stumbles over
            return self._nothing(f"its answer can't be read ({type(error).__name__})")
        values: dict[str, float] = {}
        missing: dict[str, str] = {}
        for number, check in enumerate(self._checks):
            found = _value_of(check, results.get(f"m{number}"))
            if isinstance(found, float):
                values[check.name] = found
            else:
                missing[check.name] = found
        return Observation(values=values, missing=missing)

    async def close(self) -> None:
        """See Observer: nothing stays open."""

    def _nothing(self, why: str) -> Observation:
        return Observation(missing={check.name: f"CloudWatch: {why}" for check in self._checks})

    async def _ask(self) -> dict[str, dict[str, Any]]:
        end = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
        longest = max((check.cloudwatch.over or self._window_s) for check in self._checks if check.cloudwatch)
        results: dict[str, dict[str, Any]] = {}
        config = AioConfig(retries={"max_attempts": 1}, connect_timeout=self._timeout_s, read_timeout=self._timeout_s)
        endpoint = None if self._where.endpoint is None else str(self._where.endpoint)
        client = get_session().create_client(
            "cloudwatch", region_name=self._where.region, endpoint_url=endpoint, config=config
        )
        async with client as cloudwatch:
            token: dict[str, str] = {}
            while True:
                answer = await cloudwatch.get_metric_data(
                    MetricDataQueries=[self._query(number, check) for number, check in enumerate(self._checks)],
                    StartTime=end - datetime.timedelta(seconds=max(longest, _PERIOD_S)),
                    EndTime=end,
                    **token,
                )
                for result in answer["MetricDataResults"]:
                    _add(results, result, _since(self._checks, result["Id"], end, self._window_s))
                if not answer.get("NextToken"):
                    return results
                token = {"NextToken": answer["NextToken"]}

    def _query(self, number: int, check: Check) -> dict[str, Any]:
        metric = check.cloudwatch or Metric()
        query: dict[str, Any] = {"Id": f"m{number}", "ReturnData": True}
        if metric.expression is not None:
            return {**query, "Expression": metric.expression, "Period": _PERIOD_S}
        dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]
        named = {"Namespace": metric.namespace, "MetricName": metric.metric, "Dimensions": dimensions}
        return {**query, "MetricStat": {"Metric": named, "Period": _PERIOD_S, "Stat": metric.statistic}}


def _since(checks: Sequence[Check], key: str, end: datetime.datetime, window_s: float) -> datetime.datetime:
    metric = checks[int(key.removeprefix("m"))].cloudwatch or Metric()
    return end - datetime.timedelta(seconds=max(metric.over or window_s, _PERIOD_S))


def _add(results: dict[str, dict[str, Any]], result: Mapping[str, Any], since: datetime.datetime) -> None:
    """Add one page of a metric's datapoints, those that are recent enough."""
    kept = results.setdefault(result["Id"], {"values": [], "status": "Complete"})
    pairs = zip(result.get("Timestamps", ()), result.get("Values", ()), strict=True)
    kept["values"] += [float(value) for at, value in pairs if at >= since]
    if kept["status"] in _SO_FAR_GOOD:
        kept["status"] = result.get("StatusCode", "Complete")


def _value_of(check: Check, result: Mapping[str, Any] | None) -> float | str:
    """The metric's value, or why there is none."""
    metric = check.cloudwatch or Metric()
    if result is not None and result["status"] != "Complete":
        return f"CloudWatch: {result['status']}"
    if result is None or not result["values"]:
        return 0.0 if metric.empty_is_zero else "CloudWatch has no datapoint"
    return float(_COMBINED[metric.statistic](result["values"]))
