"""Plans whose values are right one by one: what is wrong together, and what will surprise somebody. Pure.

Neighbours: `plan_file` reports each at its line; `plan_words` shows the advice.
"""

from collections.abc import Collection, Iterator
from typing import Final

from proxy.rollout.plan import Check, CheckKind, Plan, Seconds
from proxy.rollout.statistics import samples_needed
from proxy.settings.conflicts import Conflict
from proxy.settings.errors import KeyPath
from proxy.settings.suggest import nearest
from proxy.settings.units import format_duration
from proxy.telemetry.histogram import BOUNDS

_MEASURES: Final = (
    "quantile, error_ratio_below, user_error_ratio_below, fallback_ratio_below, cache_hit_ratio_above, promql,"
    " cloudwatch or manual"
)
_WITH_BOUND: Final = (CheckKind.PROMQL, CheckKind.CLOUDWATCH, CheckKind.MANUAL)


def find_conflicts(plan: Plan, operations: Collection[str] | None) -> tuple[Conflict, ...]:
    """Everything that cannot be; `operations` are those of the configuration, None when they are not known."""
    return (*_in_stages(plan), *_in_places(plan), *_in_checks(plan, operations))


def _in_stages(plan: Plan) -> Iterator[Conflict]:
    if not plan.stages:
        yield Conflict(("stages",), "there must be at least one stage")
    before = 0
    for index, stage in enumerate(plan.stages):
        if stage.percentage <= before:
            yield Conflict(
                ("stages", index, "percentage"),
                f"must be above the stage before it ({before}), got {stage.percentage}",
            )
        before = max(before, stage.percentage)
        if plan.settle + plan.interval > stage.hold:
            least = format_duration(plan.settle + plan.interval)
            yield Conflict(("stages", index, "hold"), f"must be at least settle and one interval together ({least})")
    shortest = min((stage.hold for stage in plan.stages), default=plan.window)
    if plan.window > shortest:
        yield Conflict(("window",), f"must not be longer than the shortest hold ({format_duration(shortest)})")
    if plan.window < plan.interval:
        yield Conflict(("window",), f"must not be shorter than the interval ({format_duration(plan.interval)})")


def _in_places(plan: Plan) -> Iterator[Conflict]:
    observe, apply = plan.observe, plan.apply
    if bool(observe.sidecars) == bool(observe.prometheus):
        yield Conflict(("observe",), "needs sidecars or prometheus, one of the two")
    if sum(map(bool, (apply.sidecars, apply.file, apply.configmap))) != 1:
        yield Conflict(("apply",), "needs file, sidecars or configmap, one of them")
    if apply.configmap is not None and apply.configmap.sidecars.scheme != "http":
        yield Conflict(("apply", "configmap", "sidecars"), "must be the http:// URL of a headless Service")
    if len(set(apply.sidecars)) != len(apply.sidecars):
        yield Conflict(("apply", "sidecars"), "the same sidecar stands there twice")
    if len(set(observe.sidecars)) != len(observe.sidecars):
        yield Conflict(("observe", "sidecars"), "the same sidecar stands there twice: its requests would count twice")
    if observe.selector is not None and not observe.prometheus:
        yield Conflict(("observe", "selector"), "is for prometheus")


def _in_checks(plan: Plan, operations: Collection[str] | None) -> Iterator[Conflict]:
    seen: dict[str, int] = {}
    if not plan.checks:
        yield Conflict(("checks",), "there must be at least one check")
    for index, check in enumerate(plan.checks):
        first = seen.setdefault(check.name.casefold(), index)
        if first != index:
            yield Conflict(("checks", index, "name"), f"the name is taken by checks[{first}]; each needs its own")
        for key, message in (*_in_measure(check), *_in_bound(check), *_in_extras(check)):
            yield Conflict(("checks", index, *key), message)
        operation = check.operation
        if operation is not None and operations is not None and operation not in operations:
            meant = nearest(operation, operations)
            known = f'did you mean "{meant}"?' if meant else f"there are {', '.join(operations)}"
            yield Conflict(("checks", index, "operation"), f"the configuration has no operation `{operation}`; {known}")


def _in_measure(check: Check) -> Iterator[tuple[KeyPath, str]]:
    if not check.kinds:
        yield (), f"says not what to look at: {_MEASURES}"
    elif len(check.kinds) > 1:
        yield (check.kinds[1],) if check.kinds[1] in type(check).model_fields else (), "one check looks at one thing"
    elif check.kind is CheckKind.QUANTILE and (check.below is None or check.above is not None):
        yield ("quantile",), "needs `below`, a duration, and nothing else"
    elif check.kind in _WITH_BOUND and (check.below is None) == (check.above is None):
        yield (check.kind.value,), "needs `below` or `above`, one of the two"
    elif check.kind not in (*_WITH_BOUND, CheckKind.QUANTILE) and (check.below, check.above) != (None, None):
        yield ("below",) if check.below is not None else ("above",), f"{check.kind.value} has its bound already"


def _in_bound(check: Check) -> Iterator[tuple[KeyPath, str]]:
    """Bounds of times must be bounds of the histogram; all others must be plain numbers."""
    limits = (("below", check.below), ("above", check.above), ("hard_limit", check.hard_limit))
    for key, bound in limits:
        if bound is None:
            continue
        is_time = isinstance(bound, Seconds)
        if check.kind is CheckKind.QUANTILE and not is_time:
            yield (key,), "expected a duration such as 50ms"
        elif check.kind is CheckKind.QUANTILE and bound not in BOUNDS:
            yield (key,), f"is no bound of the histogram, so not exactly known; the nearest are {_around(bound)}"
        elif check.kind is not CheckKind.QUANTILE and is_time:
            yield (key,), "expected a plain number"
    above = check.above if check.above is not None else check.cache_hit_ratio_above
    if check.hard_limit is None or not check.kinds:
        return
    if above is None and check.hard_limit <= check.bound:
        yield ("hard_limit",), "must be beyond the bound"
    if above is not None and check.hard_limit >= above:
        yield ("hard_limit",), "must be beyond the bound, that is below it"


def _around(bound: float) -> str:
    below = [each for each in BOUNDS if each < bound][-1:]
    above = [each for each in BOUNDS if each > bound][:1]
    return " and ".join(format_duration(each) for each in (*below, *above))


def _in_extras(check: Check) -> Iterator[tuple[KeyPath, str]]:
    if not check.kind.counts_requests:
        for key in ("source", "operation"):
            if getattr(check, key) is not None:
                yield (key,), f"has no meaning for {check.kind.value}"
    if check.kind is CheckKind.FALLBACK_RATIO and check.source is not None:
        yield ("source",), "fallbacks are the target's: leave it out"
    compared = check.kind in (CheckKind.QUANTILE, CheckKind.ERROR_RATIO) and check.source != "legacy"
    if check.compare is not None and not compared:
        yield ("compare",), "is for the target's quantiles and error ratios"
    if check.baseline is not None and check.kind is not CheckKind.QUANTILE:
        yield ("baseline",), "is for quantiles"
    metric = check.cloudwatch
    if metric is not None and (metric.expression is None) == (metric.namespace is None or metric.metric is None):
        yield ("cloudwatch",), "needs namespace and metric, or an expression"


def find_advice(plan: Plan) -> Iterator[tuple[KeyPath, str]]:
    """What is legal and will surprise somebody."""
    for index, check in enumerate(plan.checks):
        lacking = _observer_lacking(plan, check)
        if lacking is not None:
            effect = "the rollout will HOLD at it" if check.required else "it is left out, as it is not required"
            yield ("checks", index, check.kind.value), f"`{check.name}` needs {lacking}, which is not there: {effect}"
        if check.kind.counts_requests:
            needed = samples_needed(0, check.failing_share, plan.confidence)
            if needed > plan.window * 50:
                yield (
                    ("window",),
                    (
                        f"`{check.name}` needs {needed} requests within {format_duration(plan.window)}, that is"
                        f" {needed / plan.window:.0f} a second: a longer window needs fewer"
                    ),
                )
    for key in ("approver", "on_call"):
        if getattr(plan.owner, key) is None:
            yield ("owner", key), "start HOLDs until somebody is named (--no-owner to go without)"
    if plan.stages and plan.stages[-1].percentage != 100:
        yield ("stages", len(plan.stages) - 1, "percentage"), "the last stage is not 100: some users stay on legacy"


def _observer_lacking(plan: Plan, check: Check) -> str | None:
    if check.kind is CheckKind.PROMQL and not plan.observe.prometheus:
        return "observe.prometheus"
    if check.kind is CheckKind.CLOUDWATCH and plan.observe.cloudwatch is None:
        return "observe.cloudwatch"
    return None
