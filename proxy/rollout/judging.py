"""All checks of one tick: the figures so far, a verdict each, and one for all. Pure: time is given in.

Neighbours: `history` and `tally` count, `checks` judges one, `controller` asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.core.model import Role
from proxy.rollout.checks import (
    CheckVerdict,
    Evidence,
    Outcome,
    Verdict,
    conclude,
    judge_requests,
    judge_value,
    overall,
)
from proxy.rollout.decision import State
from proxy.rollout.history import History, Span
from proxy.rollout.place import Observation
from proxy.rollout.plan import Check, CheckKind, Plan
from proxy.rollout.tally import Layout, beyond, estimate_quantile, tally

_NO_LAYOUT: Final = "the configuration can't be read"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Every check's verdict, the one of all, why, and the failures in a row by check."""

    checks: tuple[CheckVerdict, ...]
    verdict: Verdict
    why: str
    streaks: Mapping[str, int]


class Judge:
    """Remembers figures from tick to tick."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._history = History(plan.window)

    def __repr__(self) -> str:
        return f"<Judge of {len(self._plan.checks)} checks, {self._history!r}>"

    def begin(self) -> None:
        """Judge by what happens from now on."""
        self._history.begin()

    def judge(self, now: float, seen: Observation, layout: Layout | None, state: State) -> Judgement:
        """Take what was seen at a tick, and judge; `now` is monotonic, in seconds."""
        self._history.add(now, seen.readings)
        window, recent = self._history.span(self._plan.window), self._history.latest()
        checks, streaks = [], {}
        for check in self._plan.checks:
            outcome = self._outcome(check, seen, layout, window, recent)
            shown, streak = conclude(check, outcome, state.streaks.get(check.name, 0), self._plan.failures_before_no_go)
            checks.append(shown)
            if streak:
                streaks[check.name] = streak
        verdict, why = overall(checks, state.overrides)
        return Judgement(tuple(checks), verdict, why, streaks)

    def _outcome(self, check: Check, seen: Observation, layout: Layout | None, window: Span, recent: Span) -> Outcome:
        if not check.kind.counts_requests:
            return judge_value(check, seen.values.get(check.name), seen.missing.get(check.name, "no data"))
        if layout is None:
            return judge_value(check, None, _NO_LAYOUT)
        evidence = gather_evidence(check, layout, window, recent, seen.gap)
        return judge_requests(check, evidence, self._plan.confidence, self._plan.window)


def gather_evidence(check: Check, layout: Layout, window: Span, recent: Span, gap: str | None) -> Evidence:
    """What two spans say about a check."""
    role = layout.serving(check)
    source = layout.names[role]
    beyond_limit = estimate = None
    if check.kind is CheckKind.QUANTILE:
        estimate = estimate_quantile(check.quantile or 0.0, window.increase, source, check.operation)
        if check.hard_limit is not None:
            beyond_limit = beyond(check.hard_limit, recent.increase, source, check.operation)
    compared = check.compare is not None and role is Role.TARGET
    # What users saw of a fixed operation does depend on the rollout when its checks name no source.
    unsplit = layout.is_unsplit(check) and role is Role.LEGACY
    whole = check.kind in (CheckKind.USER_ERROR_RATIO, CheckKind.FALLBACK_RATIO) and check.operation is None
    return Evidence(
        window=tally(check, window.increase, layout),
        recent=tally(check, recent.increase, layout),
        span_s=window.seconds,
        source="" if whole and check.source is None else source,
        gap=gap,
        estimate_s=estimate,
        beyond_limit=beyond_limit,
        other=tally(check, window.increase, layout, Role.LEGACY) if compared else None,
        unsplit=unsplit,
    )
