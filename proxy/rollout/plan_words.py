"""A plan in words, with its times, and the samples that each check needs. Pure.

Neighbour: `cutover rollout plan` prints it.
"""

from collections.abc import Iterator
from typing import Final

from proxy.rollout.plan import Check, CheckKind, Plan
from proxy.rollout.plan_file import LoadedPlan
from proxy.rollout.statistics import samples_needed
from proxy.settings.units import format_duration

_RATIOS: Final = {
    CheckKind.ERROR_RATIO: "failed first attempts of {whose} are below {bound} (a 404 that legacy confirms is none)",
    CheckKind.USER_ERROR_RATIO: "5xx and broken-off answers{scope}, as users saw them, are less than {bound}",
    CheckKind.FALLBACK_RATIO: "less than {bound} of what was meant for the target{scope} is answered by legacy",
    CheckKind.CACHE_HIT_RATIO: "more than {bound} of {whose} come from the cache in front of it",
}


def meaning_of(check: Check) -> str:
    """What a check demands, as a sentence without its end."""
    scope = f" of {check.operation}" if check.operation else ""
    whose = f"{check.source or 'target'}'s answers{scope}"
    if check.kind in _RATIOS:
        return _RATIOS[check.kind].format(whose=whose, scope=scope, bound=_percent(check.bound))
    if check.kind is CheckKind.QUANTILE:
        return f"{_percent(check.quantile or 0)} of {whose} take at most {format_duration(check.bound)}"
    side = "below" if check.below is not None else "above"
    what = {
        CheckKind.PROMQL: "PromQL says a value",
        CheckKind.CLOUDWATCH: "CloudWatch says a value",
        CheckKind.MANUAL: "people enter a number (cutover rollout note)",
    }[check.kind]
    return f"{what} {side} {check.bound:g}"


def check_as_json(plan: Plan, check: Check) -> dict[str, object]:
    """A check for machines; `needed` is the number of requests without any failure that give GO."""
    needed = samples_needed(0, check.failing_share, plan.confidence) if check.kind.counts_requests else None
    return {
        "name": check.name,
        "kind": check.kind.value,
        "source": check.source,
        "operation": check.operation,
        "quantile": check.quantile,
        "bound": check.bound,
        "side": "above" if check.is_rising else "below",
        "unit": _unit(check),
        "hard_limit": check.hard_limit,
        "baseline_s": check.baseline,
        "required": check.required,
        "needed": needed,
        "rate_needed": None if needed is None else round(needed / plan.window, 3),
        "means": meaning_of(check),
    }


def _unit(check: Check) -> str:
    """In what its value and its bounds are: seconds, a ratio, or whatever the expression gives."""
    if not check.kind.counts_requests:
        return ""
    return "s" if check.kind is CheckKind.QUANTILE else "ratio"


def plan_as_json(loaded: LoadedPlan) -> dict[str, object]:
    """The plan for machines, every default filled in; secrets are left out."""
    plan = loaded.plan
    starts = _starts(plan)
    return {
        "digest": loaded.digest,
        "stages": [
            {
                "stage": number,
                "percentage": stage.percentage,
                "starts_s": starts[number - 1],
                "hold_s": stage.hold,
                "approval": plan.needs_approval(number),
            }
            for number, stage in enumerate(plan.stages, 1)
        ],
        "total_s": starts[-1] + plan.stages[-1].hold,
        "interval_s": plan.interval,
        "settle_s": plan.settle,
        "window_s": plan.window,
        "confidence": plan.confidence,
        "failures_before_no_go": plan.failures_before_no_go,
        "on_no_go": plan.on_no_go,
        "promotion": plan.promotion,
        "journal": plan.journal,
        "checks": [check_as_json(plan, check) for check in plan.checks],
        "warnings": [str(warning) for warning in loaded.warnings],
    }


def plan_in_words(plan: Plan) -> Iterator[str]:
    """Lines that say what `start` will do."""
    yield from _stages_in_words(plan)
    yield ""
    yield from _rules_in_words(plan)
    yield ""
    sure = _percent(plan.confidence)
    yield f"Checklist, each at {sure} confidence within the last {format_duration(plan.window)} of the stage:"
    for check in plan.checks:
        yield f"  {check.name}: {meaning_of(check)}{'' if check.required else ' (not required)'}"
        yield from (f"      {line}" for line in _details(plan, check))


def _starts(plan: Plan) -> list[float]:
    """When each stage begins at the earliest, in seconds after the start."""
    starts = [0.0]
    for stage in plan.stages[:-1]:
        starts.append(starts[-1] + stage.hold)
    return starts


def _stages_in_words(plan: Plan) -> Iterator[str]:
    starts = _starts(plan)
    total = format_duration(starts[-1] + plan.stages[-1].hold)
    yield f"{len(plan.stages)} stages, {total} when everything is GO at once:"
    for number, (stage, start) in enumerate(zip(plan.stages, starts, strict=True), 1):
        last = number == len(plan.stages)
        then = "completed" if last else f"{plan.stages[number].percentage} %"
        ask = ", after `cutover rollout promote`" if plan.needs_approval(number) else ""
        span = f"{format_duration(stage.hold)} (judged after {format_duration(plan.settle)})"
        yield f"  {number}. at {format_duration(start):>6}  {stage.percentage:>3} %  for {span}, then {then}{ask}"


def _rules_in_words(plan: Plan) -> Iterator[str]:
    back = "0 %, not enabled" if plan.on_no_go == "zero" else "the stage before"
    times = plan.failures_before_no_go
    often = "one failed check is" if times == 1 else f"a check that fails {times} times in a row is"
    yield f"Every {format_duration(plan.interval)} all checks are judged; {often} NO_GO: back to {back}, at once."
    places = plan.observe.sidecars or (plan.observe.prometheus,)
    yield f"Observed at {', '.join(str(place) for place in places)}" + (
        f" and CloudWatch in {plan.observe.cloudwatch.region}." if plan.observe.cloudwatch is not None else "."
    )
    where = plan.apply.file or f"an override on each of {', '.join(str(place) for place in plan.apply.sidecars)}"
    if plan.apply.configmap is not None:
        where = f"the ConfigMap {plan.apply.configmap.name}"
    yield f"Applied to {where}; the journal is {plan.journal}."
    owner = plan.owner
    yield f"Approved by {owner.approver or 'nobody yet'}, on call: {owner.on_call or 'nobody yet'}."


def _details(plan: Plan, check: Check) -> Iterator[str]:
    if check.kind.counts_requests:
        needed = samples_needed(0, check.failing_share, plan.confidence)
        rate = needed / plan.window
        yield f"needs {needed} requests, none on the wrong side: {rate:.2g} a second fill the window"
    if check.hard_limit is not None:
        limit = format_duration(check.hard_limit) if check.kind is CheckKind.QUANTILE else f"{check.hard_limit:g}"
        yield f"beyond {limit} it is NO_GO at once"
    if check.baseline is not None:
        yield f"it was {format_duration(check.baseline)} before the migration"
    if check.compare is not None:
        yield "holds while legacy is surely better in the same window"
    if check.promql is not None:
        yield f"promql: {check.promql}"


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.6g} %"
