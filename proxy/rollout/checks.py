"""Verdicts: what the figures say about one check, and about all of them. Pure.

Only figures can pass a check: no data, a gap, NaN and infinity never do. A ratio passes when its upper confidence
bound is within what the plan demands, fails when its lower one is beyond it, and is inconclusive in between. A check
that fails is NO_GO after so many failures in a row; a hard limit at once. Neighbours: `tally` counts, `statistics`
bounds, `judging` asks for all checks at each tick, `decision` acts.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from proxy.rollout.plan import Check, CheckKind
from proxy.rollout.statistics import samples_needed, surely_above, surely_below, upper_bound
from proxy.rollout.tally import Tally
from proxy.settings.units import format_duration


class Verdict(StrEnum):
    """What is to become of the rollout, as far as a check can say."""

    GO = "GO"
    HOLD = "HOLD"
    NO_GO = "NO_GO"


class Finding(Enum):
    """What the figures of one tick say. ABSENT: there is nothing to judge; UNSURE: there is, and it is not enough."""

    PASSES = auto()
    FAILS = auto()
    FAILS_HARD = auto()
    UNSURE = auto()
    ABSENT = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finding, the figures it rests on, and a sentence that says why."""

    finding: Finding
    why: str
    value: float | None = None
    samples: int | None = None
    needed: int | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """What `status` shows of a check."""

    name: str
    verdict: Verdict
    value: float | None
    bound: float
    samples: int | None
    needed: int | None
    eta_s: float | None
    why: str
    required: bool = True

    def as_json(self) -> dict[str, object]:
        """The keys of contract section 10, and `required`."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "value": self.value,
            "bound": self.bound,
            "samples": self.samples,
            "needed": self.needed,
            "eta_s": self.eta_s,
            "why": self.why,
            "required": self.required,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a check that counts requests.

    `window` is what happened within the window, over `span_s` seconds; `recent` since the last tick, so that a
    long good past can't hide a bad present. `beyond_limit` is `recent` held against the hard limit of a quantile.
    `other` is legacy's side of the same window, when it is compared. `gap` says what can't be read.
    `source` is the name of the source that is judged; `unsplit` that the percentage does not bear on it.
    """

    window: Tally
    recent: Tally
    span_s: float
    source: str = ""
    gap: str | None = None
    estimate_s: float | None = None
    beyond_limit: Tally | None = None
    other: Tally | None = None
    unsplit: bool = False


def judge_requests(check: Check, evidence: Evidence, confidence: float, window_s: float) -> Outcome:
    """Judge a check that counts requests; `window_s` is the longest that the window gets."""
    window, allowed = evidence.window, check.failing_share
    total, failures = window.total, window.failures
    needed = max(samples_needed(failures, allowed, confidence) - total, 0)
    eta_s = _eta(needed, total, evidence.span_s, window_s)

    def outcome(finding: Finding, why: str) -> Outcome:
        return Outcome(finding, why, _value(check, evidence), total, needed, eta_s)

    failed = _failure(check, evidence, confidence)
    if failed is not None:
        if evidence.unsplit:
            return outcome(Finding.UNSURE, f"{failed[1]}; going back would change nothing, its route is fixed")
        return outcome(*failed)
    if evidence.gap is not None:
        return outcome(Finding.ABSENT, f"can't be judged: {evidence.gap}")
    facts = _facts(check, evidence)
    if total == 0:
        return outcome(Finding.ABSENT, f"no data: {facts}")
    if not surely_below(failures, total, allowed, confidence):
        return outcome(Finding.UNSURE, f"{facts}; {_still_needed(check, needed, eta_s, evidence, window_s)}")
    if evidence.other is not None and _surely_worse(window, evidence.other, confidence):
        return outcome(Finding.UNSURE, f"{facts}, but legacy is better: {_share_text(check, evidence.other)}")
    return outcome(Finding.PASSES, facts)


def judge_value(check: Check, value: float | None, missing: str = "no data") -> Outcome:
    """Judge a check of one number, None when there is none."""
    if value is None:
        return Outcome(Finding.ABSENT, missing)
    if not math.isfinite(value):
        return Outcome(Finding.ABSENT, f"no number: {value}")
    rising = check.above is not None
    bound, limit = check.bound, check.hard_limit
    side = "above" if rising else "below"
    facts = f"{value:g}, must be {side} {bound:g}"
    if limit is not None and (value <= limit if rising else value >= limit):
        return Outcome(Finding.FAILS_HARD, f"{facts}; beyond the hard limit {limit:g}", value)
    passes = value > bound if rising else value < bound
    return Outcome(Finding.PASSES if passes else Finding.FAILS, facts, value)


def conclude(check: Check, outcome: Outcome, streak: int, failures_before_no_go: int) -> tuple[CheckVerdict, int]:
    """The verdict of a check after so many failures in a row, and how many there are now.

    Without data a streak neither grows nor ends.
    """
    failed = outcome.finding in (Finding.FAILS, Finding.FAILS_HARD)
    now = streak + 1 if failed else streak if outcome.finding is Finding.ABSENT else 0
    why = outcome.why
    if outcome.finding is Finding.FAILS_HARD or (failed and now >= failures_before_no_go):
        verdict = Verdict.NO_GO
    elif failed:
        verdict, why = Verdict.HOLD, f"{why}; failed {now} of {failures_before_no_go} times in a row"
    else:
        verdict = Verdict.GO if outcome.finding is Finding.PASSES else Verdict.HOLD
    shown = CheckVerdict(
        name=check.name,
        verdict=verdict,
        value=outcome.value,
        bound=check.bound,
        samples=outcome.samples,
        needed=outcome.needed,
        eta_s=outcome.eta_s,
        why=why,
        required=check.required,
    )
    return shown, now


def overall(verdicts: Iterable[CheckVerdict], overridden: Mapping[str, str]) -> tuple[Verdict, str]:
    """The verdict of all checks, and who says so. A check in `overridden` counts as GO.

    One that is not required can't hold, but its failure is as good a reason to go back as another's.
    """
    counted = [one for one in verdicts if one.name not in overridden]
    for verdict in (Verdict.NO_GO, Verdict.HOLD):
        said = [one for one in counted if one.verdict is verdict and (one.required or verdict is Verdict.NO_GO)]
        if said:
            return verdict, "; ".join(f"{one.name}: {one.why}" for one in said)
    return Verdict.GO, "every check passes"


def _failure(check: Check, evidence: Evidence, confidence: float) -> tuple[Finding, str] | None:
    """Whether it fails, in the whole window or in what came last, and in which words."""
    limit = _hard_limit(check, evidence)
    if limit is not None and surely_above(limit[0].failures, limit[0].total, limit[1], confidence):
        return Finding.FAILS_HARD, f"beyond the hard limit: {_share_text(check, limit[0])} since the last tick"
    for tally, when in ((evidence.window, ""), (evidence.recent, " since the last tick")):
        if surely_above(tally.failures, tally.total, check.failing_share, confidence):
            return Finding.FAILS, f"{_facts(check, evidence, tally)}{when}"
    return None


def _hard_limit(check: Check, evidence: Evidence) -> tuple[Tally, float] | None:
    """What is held against the hard limit, and the share of failures that is beyond it."""
    if check.hard_limit is None:
        return None
    if check.kind is CheckKind.QUANTILE:
        return None if evidence.beyond_limit is None else (evidence.beyond_limit, check.failing_share)
    rising = check.kind is CheckKind.CACHE_HIT_RATIO
    return evidence.recent, 1.0 - check.hard_limit if rising else check.hard_limit


def _surely_worse(ours: Tally, theirs: Tally, confidence: float) -> bool:
    """Whether our share of failures is surely above what theirs could be. Without their data it is not known."""
    if theirs.total == 0:
        return False
    worst = upper_bound(theirs.failures, theirs.total, confidence)
    return worst < 1.0 and surely_above(ours.failures, ours.total, worst, confidence)


def _value(check: Check, evidence: Evidence) -> float | None:
    """The figure in the check's own unit."""
    if check.kind is CheckKind.QUANTILE:
        return evidence.estimate_s
    if evidence.window.total == 0:
        return None
    ratio = evidence.window.failures / evidence.window.total
    return round(1.0 - ratio if check.kind is CheckKind.CACHE_HIT_RATIO else ratio, 9)


def _facts(check: Check, evidence: Evidence, tally: Tally | None = None) -> str:
    source = f" of {evidence.source}" if evidence.source else ""
    text = f"{_share_text(check, tally or evidence.window)}{source}"
    if evidence.unsplit:
        text += ", which serves this operation whatever the percentage"
    if check.baseline is not None:
        text += f" (before: p{(check.quantile or 0) * 100:g} {format_duration(check.baseline)})"
    return text


def _share_text(check: Check, tally: Tally) -> str:
    if tally.total == 0:
        return "no requests"
    share = tally.failures / tally.total
    if check.kind is CheckKind.QUANTILE:
        within = format_duration(check.bound)
        need = f"{(check.quantile or 0) * 100:g} %"
        return f"{_percent(1 - share)} of {tally.total} within {within} (must be {need})"
    if check.kind is CheckKind.CACHE_HIT_RATIO:
        return f"{_percent(1 - share)} of {tally.total} hit the cache (must be above {_percent(check.bound)})"
    what = "fell back" if check.kind is CheckKind.FALLBACK_RATIO else "failed"
    return f"{tally.failures} of {tally.total} {what}, {_percent(share)} (must be below {_percent(check.bound)})"


def _eta(needed: int, total: int, span_s: float, window_s: float) -> float | None:
    """Seconds until the samples are there at today's traffic; None when the window never holds so many."""
    if needed == 0:
        return 0.0
    if total == 0 or span_s <= 0:
        return None
    rate = total / span_s
    return None if (total + needed) / rate > window_s else round(needed / rate, 1)


def _still_needed(check: Check, needed: int, eta_s: float | None, evidence: Evidence, window_s: float) -> str:
    share = evidence.window.failures / evidence.window.total
    if share >= check.failing_share:
        return "not within the bound, and not surely beyond it"
    text = f"{needed} more are needed to be sure, if none is on the wrong side"
    if eta_s is not None:
        return f"{text}: in {format_duration(round(eta_s))} at today's traffic"
    return f"{text}: at today's traffic a window of {format_duration(window_s)} is too short for them"


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.4g} %"
